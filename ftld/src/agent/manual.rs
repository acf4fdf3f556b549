//! The agent `manual`: nobody but the human, who runs commands in the sandbox.

use std::ffi::OsStr;

use ftl_core::agent::Spent;

use super::{AgentAdapter, CommandSpec, EventStream, MANUAL, TurnSpec};

/// The adapter.
pub(super) struct Manual;

impl AgentAdapter for Manual {
    fn name(&self) -> &'static str {
        MANUAL
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
