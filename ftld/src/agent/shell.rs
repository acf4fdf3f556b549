//! The agent `shell`: the task is a script for the POSIX shell.
//!
//! The simplest agent, and what tests drive. A failing command does not end the script, as in any shell;
//! the script's last status is the agent's.

use std::ffi::OsStr;

use ftl_core::agent::Spent;

use super::{AgentAdapter, CommandSpec, EventStream, TurnSpec};

/// The adapter.
pub(super) struct Shell;

impl AgentAdapter for Shell {
    fn name(&self) -> &'static str {
        "shell"
    }

    fn program(&self) -> Option<&OsStr> {
        None
    }

    fn turn(&self, turn: &TurnSpec<'_>) -> Option<CommandSpec> {
        // A script may begin with a dash; standard input stays free for its commands.
        let argv = ["/bin/sh", "-c", "--", turn.task].map(Into::into).to_vec();
        Some(CommandSpec { argv, ..CommandSpec::default() })
    }

    fn stream(&self, _before: Spent) -> Option<Box<dyn EventStream + Send>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use ftl_core::config::AgentSettings;

    use super::*;

    #[test]
    fn a_script_runs_whatever_it_begins_with() {
        let settings = AgentSettings::default();
        for (task, output) in
            [("echo one; false; echo two", "one\ntwo\n"), ("-x 2>/dev/null; echo three", "three\n")]
        {
            let turn = TurnSpec { task, turn: 1, conversation: None, settings: &settings, program: None };
            let spec = Shell.turn(&turn).unwrap();
            let ran = std::process::Command::new(&spec.argv[0]).args(&spec.argv[1..]).output().unwrap();
            assert_eq!(String::from_utf8(ran.stdout).unwrap(), output);
        }
    }
}
