//! The agent `command`: any program, from the request or the configuration.
//!
//! `{task}` in an argument is replaced by the task, every time it occurs; the program also finds the task
//! in `FTL_TASK` and the turn's number in `FTL_TURN`. A program named by a path with `/` that is not
//! absolute lies in the project; any other is found on the host.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use ftl_core::agent::Spent;

use super::{AgentAdapter, AgentError, CommandSpec, EventStream, TurnSpec};

/// What stands for the task.
const TASK: &[u8] = b"{task}";

/// The adapter, with what it runs.
pub(super) struct Command {
    argv: Vec<OsString>,
}

impl Command {
    /// An adapter for that command line.
    pub(super) fn new(argv: &[OsString]) -> Result<Self, AgentError> {
        match argv.first() {
            Some(program) if !program.is_empty() => Ok(Self { argv: argv.to_vec() }),
            _ => Err(AgentError::NoCommand),
        }
    }
}

impl AgentAdapter for Command {
    fn name(&self) -> &'static str {
        "command"
    }

    fn program(&self) -> Option<&OsStr> {
        let program = &self.argv[0];
        let in_project = program.as_bytes().contains(&b'/') && !Path::new(program).is_absolute();
        (!in_project).then_some(program)
    }

    fn turn(&self, turn: &TurnSpec<'_>) -> Option<CommandSpec> {
        let program = turn.program.map_or(&*self.argv[0], Path::as_os_str).to_owned();
        let arguments = self.argv[1..].iter().map(|argument| with_task(argument, turn.task));
        Some(CommandSpec {
            argv: std::iter::once(program).chain(arguments).collect(),
            env: super::env(&[("FTL_TASK", turn.task), ("FTL_TURN", &turn.turn.to_string())]),
            ..CommandSpec::default()
        })
    }

    fn stream(&self, _before: Spent) -> Option<Box<dyn EventStream + Send>> {
        None
    }
}

/// An argument with the task in its place. What the task itself holds is not replaced again.
fn with_task(argument: &OsStr, task: &str) -> OsString {
    let mut rest = argument.as_bytes();
    let mut whole = Vec::with_capacity(rest.len());
    while let Some(at) = rest.windows(TASK.len()).position(|window| window == TASK) {
        whole.extend_from_slice(&rest[..at]);
        whole.extend_from_slice(task.as_bytes());
        rest = &rest[at + TASK.len()..];
    }
    whole.extend_from_slice(rest);
    OsString::from_vec(whole)
}

#[cfg(test)]
mod tests {
    use ftl_core::config::AgentSettings;

    use super::*;

    fn command(argv: &[&str]) -> Command {
        Command::new(&argv.iter().map(OsString::from).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn the_task_takes_its_place_once() {
        let settings = AgentSettings::default();
        let turn = TurnSpec {
            task: "say {task}",
            turn: 2,
            conversation: None,
            settings: &settings,
            program: Some(Path::new("/found/tool")),
        };
        let spec =
            command(&["tool", "-m", "{task}", "a{task}b{task}", "{task", "plain"]).turn(&turn).unwrap();
        assert_eq!(
            spec.argv,
            ["/found/tool", "-m", "say {task}", "asay {task}bsay {task}", "{task", "plain"]
        );
        assert_eq!(spec.env, super::super::env(&[("FTL_TASK", "say {task}"), ("FTL_TURN", "2")]));
        let raw = OsString::from_vec(b"\xff{task}".to_vec());
        assert_eq!(with_task(&raw, "t").into_vec(), b"\xfft");
    }

    #[test]
    fn programs_of_the_project_are_not_looked_for_on_the_host() {
        assert_eq!(command(&["./agent.sh"]).program(), None);
        assert_eq!(command(&["bin/agent"]).program(), None);
        assert_eq!(command(&["agent"]).program(), Some(OsStr::new("agent")));
        assert_eq!(command(&["/opt/agent"]).program(), Some(OsStr::new("/opt/agent")));
        assert_eq!(Command::new(&[]).err(), Some(AgentError::NoCommand));
        assert_eq!(Command::new(&["".into()]).err(), Some(AgentError::NoCommand));
    }
}
