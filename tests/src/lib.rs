//! The test kit.
//!
//! Owns what several tests need: [`world`] is a throw-away home with the real programs in it, [`client`]
//! speaks the API over the real socket, [`project`] makes projects, [`repo`] finds this repository's files.
//! Must not hold assertions about the product; those are in the tests.

pub mod client;
pub mod project;
pub mod repo;
pub mod world;
