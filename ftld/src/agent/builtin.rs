//! The agent `builtin`, FTL's own: no program of the host, and no key in the sandbox.
//!
//! The session asks the model itself and runs in the sandbox what the model calls; it has nothing to start.

use std::ffi::OsStr;

use ftl_core::agent::Spent;

use super::{AgentAdapter, BUILTIN, CommandSpec, EventStream, TurnSpec};

/// The adapter.
pub(super) struct Builtin;

impl AgentAdapter for Builtin {
    fn name(&self) -> &'static str {
        BUILTIN
    }

    fn program(&self) -> Option<&OsStr> {
        None
    }

    fn turn(&self, _turn: &TurnSpec<'_>) -> Option<CommandSpec> {
        None
    }

    fn stream(&self, _before: Spent) -> Option<Box<dyn EventStream + Send>> {
        None
    }
}
