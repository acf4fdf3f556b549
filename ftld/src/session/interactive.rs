//! The session's agent on a terminal that its human sits at.
//!
//! Owns what is run for that. Must not know the terminal ([`super::terminal`] does).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::driver::root;
use super::exec::ExecSpec;
use super::record::{Record, Spec};
use super::{Error, prepare, trust};
use crate::agent::{AgentAdapter, TurnSpec};
use crate::app::Parts;

/// What the agent takes the terminal for, whatever the human's is: pictures are sent, not its bytes.
const TERM: &str = "xterm-256color";

/// Runs the project's setup, then the program that the other arguments name.
const SET_UP: &str = "/bin/sh -c -- \"$0\" </dev/null && exec \"$@\"";

/// Fills in a command that is to be the session's agent; another is left as it is.
///
/// # Errors
/// When the agent has no terminal, or its program cannot be had.
pub(super) fn complete(parts: &Parts, record: &Record, spec: &mut ExecSpec) -> Result<(), Error> {
    if !spec.of_agent {
        return Ok(());
    }
    let settings = trust::settings(parts, &root(&record.project.root))?;
    let adapter = prepare::adapter(&record.spec, &settings)?;
    let program = prepare::program(parts, record, &settings, &*adapter)?;
    let agent_settings = settings.agent_settings(adapter.name());
    let turn = TurnSpec {
        task: &record.spec.task,
        turn: record.turns,
        conversation: record.conversation.as_deref(),
        settings: &agent_settings,
        program: program.as_deref(),
    };
    let found = adapter.interactive(&turn).ok_or_else(|| none(&*adapter))?;
    let more = std::mem::take(&mut spec.argv);
    // On the same terminal, where the human sees what it says.
    let setup =
        settings.setup.iter().flat_map(|script| ["/bin/sh", "-c", SET_UP, script].map(OsString::from));
    spec.argv = setup.chain(found.argv).collect();
    spec.argv.extend(more);
    if record.turns <= 1 {
        spec.argv.extend(record.spec.argv.iter().map(|word| OsString::from_vec(word.0.clone())));
    }
    spec.env = found.env;
    spec.terminal.get_or_insert((24, 80));
    TERM.clone_into(&mut spec.term);
    Ok(())
}

/// Refuses a session on the terminal of an agent that has none.
///
/// # Errors
/// When it has none.
pub(super) fn check(spec: &Spec, adapter: &dyn AgentAdapter) -> Result<(), Error> {
    let settings = ftl_core::config::AgentSettings::default();
    let turn = TurnSpec { task: "", turn: 1, conversation: None, settings: &settings, program: None };
    match spec.interactive && adapter.interactive(&turn).is_none() {
        true => Err(none(adapter)),
        false => Ok(()),
    }
}

fn none(adapter: &dyn AgentAdapter) -> Error {
    Error::NotInteractive { agent: adapter.name().to_owned() }
}
