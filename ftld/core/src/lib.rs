//! FTL's decisions, as values.
//!
//! Owns: what a tree, a diff, an approval, a plan, a session's life and a configuration *are*, and every
//! rule about them. Must not know: files, processes, sockets, time, randomness, protobuf. All of these
//! arrive as arguments.
//!
//! Reading order: [`id`] and [`tree`] are the vocabulary; [`event`] and [`lifecycle`] say how a session
//! goes; [`diff`], [`refuse`], [`lint`] and [`review`] turn an agent's work into something a human can
//! approve; [`select`] makes contents of chosen hunks, [`three`] merges them with the human's own edits, and
//! [`merge`] plans what an approval writes. [`config`] and [`agent`] read foreign text. [`egress`] and
//! [`credential`] decide what may leave a sandbox, and with which credential. [`llm`], [`opinion`] and [`tester`]
//! are what the daemon itself asks models.

pub mod agent;
pub mod blame;
pub mod builtin;
pub mod chain;
pub mod config;
pub mod credential;
pub mod diff;
pub mod egress;
pub mod event;
pub mod frames;
pub mod history;
pub mod hunk;
pub mod id;
pub mod landed;
pub mod lifecycle;
pub mod lint;
pub mod llm;
pub mod merge;
pub mod oauth;
pub mod opinion;
pub mod refuse;
pub mod retention;
pub mod review;
pub mod s3;
pub mod screen;
pub mod scrub;
pub mod select;
pub mod sigv4;
pub mod stack;
pub mod tester;
pub mod three;
pub mod tree;
pub mod verify;
pub mod warm;
