//! Keys and what they do, as tables.
