//! Times of events, and what lies between them.

pub mod search;
pub mod span;
