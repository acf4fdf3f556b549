//! Kiro CLI, one process per turn.
//!
//! It is in no registry, so its command line was tried only with a stand-in. It prints text for people and
//! takes the task as an argument; the newest conversation of the directory is what a follow-up continues.

use std::ffi::{OsStr, OsString};

use ftl_core::agent::Spent;

use super::{AgentAdapter, CommandSpec, EventStream, TurnSpec};

/// The adapter.
pub(super) struct Kiro;

impl AgentAdapter for Kiro {
    fn name(&self) -> &'static str {
        "kiro"
    }

    fn program(&self) -> Option<&OsStr> {
        Some(OsStr::new("kiro-cli"))
    }

    fn keys(&self) -> &'static [&'static str] {
        &["KIRO_API_KEY"]
    }

    fn hosts(&self) -> &'static [&'static str] {
        &["q.us-east-1.amazonaws.com"]
    }

    fn turn(&self, turn: &TurnSpec<'_>) -> Option<CommandSpec> {
        let mut argv = vec![turn.program.map_or_else(|| "kiro-cli".into(), OsString::from)];
        argv.extend(["chat", "--no-interactive", "--trust-all-tools"].map(OsString::from));
        if turn.turn > 1 {
            argv.push("--resume".into());
        }
        if let Some(model) = &turn.settings.model {
            argv.extend(["--model".into(), model.into()]);
        }
        // A task that begins with a dash is no option.
        argv.extend(["--".into(), turn.task.into()]);
        Some(CommandSpec { argv, ..CommandSpec::default() })
    }

    fn interactive(&self, turn: &TurnSpec<'_>) -> Option<CommandSpec> {
        let mut argv = vec![turn.program.map_or_else(|| "kiro-cli".into(), OsString::from)];
        argv.extend(["chat", "--trust-all-tools"].map(OsString::from));
        if turn.turn > 1 {
            argv.push("--resume".into());
        }
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
    fn a_follow_up_resumes_and_the_task_stands_last() {
        let settings = AgentSettings::default();
        let turn = TurnSpec { task: "-x", turn: 1, conversation: None, settings: &settings, program: None };
        let first = Kiro.turn(&turn).unwrap().argv;
        assert_eq!(first, ["kiro-cli", "chat", "--no-interactive", "--trust-all-tools", "--", "-x"]);
        let again = Kiro.turn(&TurnSpec { turn: 2, ..turn }).unwrap().argv;
        assert_eq!(again[4..], ["--resume", "--", "-x"]);
    }
}
