//! The `docker` backend: containers of an engine that speaks Docker's API.
//!
//! Owns what is asked of an engine. Must not know sessions or agents. Reading order: [`endpoint`] says
//! where an engine may be, [`transport`] reaches it, [`engine`] is what the rest asks, [`containers`] and
//! [`images`] are the questions, [`failure`] is what can go wrong.

pub mod attached;
mod containers;
pub mod endpoint;
pub mod engine;
mod failure;
mod images;
mod transport;
