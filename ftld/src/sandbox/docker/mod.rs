//! The `docker` backend: containers of an engine that speaks Docker's API.
//!
//! Owns what is asked of an engine. Must not know sessions or agents. Reading order: [`endpoint`] says
//! where an engine may be, [`transport`] reaches it, [`engine`] is what the rest asks, [`containers`] and
//! [`images`] are the questions, [`failure`] is what can go wrong. [`setup`] makes the image, [`probe`] finds
//! out whether directories can be shared, [`examine`] tells what works, [`known`] what is known to be unsafe.

pub mod attached;
mod containers;
pub mod endpoint;
pub mod engine;
pub mod examine;
mod failure;
pub mod images;
pub mod known;
pub mod probe;
pub mod setup;
mod transport;
