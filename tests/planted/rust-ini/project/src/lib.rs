//! Settings of the program.

pub mod ini;
