//! The agents for which nothing is started: `manual`, where the human runs the commands, and `builtin`, FTL's own.
//!
//! For the latter the session asks the model itself and runs in the sandbox what that calls: no program of the host,
//! and no key in the sandbox.

use std::ffi::OsStr;

use ftl_core::agent::Spent;

use super::{AgentAdapter, CommandSpec, EventStream, TurnSpec};

/// The adapter, by its agent's name.
pub(super) struct Nothing(pub(super) &'static str);

impl AgentAdapter for Nothing {
    fn name(&self) -> &'static str {
        self.0
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
