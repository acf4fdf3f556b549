//! A scheduler's configuration.

pub mod duration;
