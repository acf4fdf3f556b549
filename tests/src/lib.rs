//! The test kit.
//!
//! Owns what several tests need: [`world`] is a throw-away home with the real programs in it, [`client`]
//! speaks the API over the real socket, [`project`] makes projects, [`repo`] finds this repository's files.
//! [`upstream`] is the network that the programs reach, [`model`] a language model's service, [`server`] runs servers that others wrote, [`online`]
//! is a session with both, [`keyring`] a keyring of its own, [`engine`] a container engine of its own,
//! [`engines`] those of other kinds,
//! [`counted`] a way to it that counts, [`tmux`] is a terminal,
//! [`leaks`] looks for what must not be in one, [`measure`] takes times for the benchmarks,
//! [`earlier`] is what they are compared with, [`planted`] has tasks with planted bugs.
//! Must not hold assertions about the product; those are in the tests.

pub mod client;
pub mod counted;
pub mod doors;
pub mod earlier;
pub mod engine;
pub mod engines;
pub mod keyring;
pub mod leaks;
pub mod measure;
pub mod model;
pub mod online;
pub mod planted;
pub mod project;
pub mod repo;
pub mod server;
pub mod tmux;
pub mod upstream;
pub mod world;
