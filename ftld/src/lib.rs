//! FTL's daemon as a library, so that tests run it in process.
//!
//! Reading order: [`app`] says what there is; [`session`] is the product's story; the folders below it
//! are what the story uses, and do not know each other; [`grpc`] is the outside. ARCHITECTURE.md beside
//! this crate's manifest is the map.

pub mod app;
pub mod session;

pub mod agent;
pub mod audit;
pub mod config;
pub mod egress;
pub mod history;
pub mod llm;
pub mod merge;
pub mod pipe;
pub mod policy;
mod private;
pub mod s3;
pub mod sandbox;
pub mod snapshot;
pub mod vault;
pub mod verify;

pub mod clock;
pub mod db;
pub mod dial;
pub mod grpc;
pub mod home;
