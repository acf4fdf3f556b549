//! A program's manual.

pub mod layout;
