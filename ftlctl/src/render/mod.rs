//! From the API's messages to text and JSON.
//!
//! Owns how everything looks. Must not know connections, files or terminals: messages in, text out.

pub(crate) mod alike;
mod binary;
pub(crate) mod blame;
pub(crate) mod check;
pub(crate) mod diff;
pub(crate) mod egress;
pub(crate) mod escape;
pub(crate) mod event;
pub(crate) mod json;
pub(crate) mod measure;
pub(crate) mod model;
pub(crate) mod patch;
pub(crate) mod progress;
pub(crate) mod style;
pub(crate) mod surface;
pub(crate) mod table;
