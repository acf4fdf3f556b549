//! Agent programs: one adapter each.
//!
//! Owns how an agent is started and continued, which parser reads it, and where its program lies on the
//! host. Must not know sandboxes, sessions or how processes run: it says what is to be run, and reads
//! what came out.
//!
//! An adapter gets no real credential. The session's shadow of a key is in the environment under the key's
//! own name; a program whose model is served inside the sandbox gets [`PLACEHOLDER`].

mod aider;
mod claude_code;
mod codex;
mod command;
mod find;
mod gemini;
mod install;
mod kiro;
mod none;
mod opencode;
mod shell;
mod tools;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use ftl_core::agent::{AgentEvent, LineParser, Spent, Stream};
use ftl_core::config::AgentSettings;

pub use find::{Search, find_program};
pub use install::Found;
pub use tools::{Tools, tools};

/// FTL's own agent: the session asks its model, and runs in the sandbox what that calls.
pub const BUILTIN: &str = "builtin";

/// The agent that runs no program: only the human's own commands.
pub const MANUAL: &str = "manual";

/// Every agent's name.
pub const NAMES: [&str; 10] =
    ["claude-code", "codex", "aider", "opencode", "gemini", "kiro", BUILTIN, "command", MANUAL, "shell"];

/// What stands in for a key where a program wants one. It is worth nothing.
pub const PLACEHOLDER: &str = "ftl-placeholder-not-a-key";

/// One agent program.
pub trait AgentAdapter: Send + Sync {
    /// The agent's name.
    fn name(&self) -> &'static str;

    /// The program to find on the host before a turn; `None` when the sandbox has all it needs.
    fn program(&self) -> Option<&OsStr>;

    /// Names of the credentials that its vendor takes, any of which will do; empty when it needs none.
    fn keys(&self) -> &'static [&'static str] {
        &[]
    }

    /// Hosts of its vendor that it must reach, with TLS.
    fn hosts(&self) -> &'static [&'static str] {
        &[]
    }

    /// What to run for a turn; `None` when the human runs the commands.
    fn turn(&self, turn: &TurnSpec<'_>) -> Option<CommandSpec>;

    /// What to run on a terminal that the human sits at, with the conversation of earlier turns and without any
    /// task; `None` when it has no such thing.
    fn interactive(&self, _turn: &TurnSpec<'_>) -> Option<CommandSpec> {
        None
    }

    /// The reader of a turn's standard output, when the program sends events; otherwise the output is for
    /// the human as it is. `before` is the sum of what the conversation's earlier turns told as usage.
    fn stream(&self, before: Spent) -> Option<Box<dyn EventStream + Send>>;
}

/// Reads what an agent's program writes to its standard output.
pub trait EventStream {
    /// What the next bytes say.
    fn feed(&mut self, chunk: &[u8]) -> Vec<AgentEvent>;

    /// What is still to be told when there are no more bytes.
    fn end(&mut self) -> Vec<AgentEvent>;
}

/// One turn of an agent.
#[derive(Clone, Copy, Debug)]
pub struct TurnSpec<'a> {
    /// What the agent is to do.
    pub task: &'a str,
    /// 1 for the first turn in this home directory.
    pub turn: u32,
    /// The conversation to continue, as the agent named it.
    pub conversation: Option<&'a str>,
    /// How the human wants the agent to be run.
    pub settings: &'a AgentSettings,
    /// Where [`AgentAdapter::program`] was found.
    pub program: Option<&'a Path>,
}

/// A program to run in the sandbox.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CommandSpec {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Variables on top of the sandbox's own.
    pub env: Vec<(OsString, OsString)>,
    /// What the program finds on its standard input, which ends after it.
    pub stdin: Vec<u8>,
    /// Files to write into the home directory first, by their paths in it. Only a first turn has any:
    /// later the agent owns the directory, and a link in it could lead a writer anywhere.
    pub home_files: Vec<(PathBuf, Vec<u8>)>,
}

/// Why an agent cannot be run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// No agent has that name.
    #[error("there is no agent {name:?}")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The agent `command` was not told what to run.
    #[error("the agent `command` has no command to run")]
    NoCommand,
    /// The program is nowhere.
    #[error("the program `{name}` was not found")]
    NotFound {
        /// What was looked for.
        name: String,
        /// Where, in this order.
        looked: Vec<PathBuf>,
    },
    /// The program's files cannot be shown to a sandbox.
    #[error("the program {} cannot be used in a sandbox: {why}", program.display())]
    Unusable {
        /// Which.
        program: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// A directory from the configuration cannot be shown to a sandbox.
    #[error("the tool directory {} cannot be used: {why}", dir.display())]
    ToolDir {
        /// Which.
        dir: PathBuf,
        /// Why not.
        why: &'static str,
    },
}

/// The adapter of that name; `command` is what the agent `command` runs.
///
/// # Errors
/// When there is none, or the agent `command` has nothing to run.
pub fn adapter(name: &str, command: &[OsString]) -> Result<Box<dyn AgentAdapter>, AgentError> {
    match name {
        "aider" => Ok(Box::new(aider::Aider)),
        BUILTIN => Ok(Box::new(none::Nothing(BUILTIN))),
        "claude-code" => Ok(Box::new(claude_code::ClaudeCode)),
        "codex" => Ok(Box::new(codex::Codex)),
        "gemini" => Ok(Box::new(gemini::Gemini)),
        "kiro" => Ok(Box::new(kiro::Kiro)),
        "opencode" => Ok(Box::new(opencode::Opencode)),
        "command" => Ok(Box::new(command::Command::new(command)?)),
        MANUAL => Ok(Box::new(none::Nothing(MANUAL))),
        "shell" => Ok(Box::new(shell::Shell)),
        _ => Err(AgentError::Unknown { name: name.chars().take(80).collect() }),
    }
}

impl AgentError {
    /// What the human can do; empty when there is nothing.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { .. } => {
                let names: Vec<_> = NAMES.into_iter().filter(|name| *name != MANUAL).collect();
                format!("the agents are {}", names.join(", "))
            }
            Self::NoCommand => "set `command` in the configuration, or use `ftlctl run -- CMD`".to_owned(),
            Self::NotFound { name, looked } => format!(
                "install `{name}`, or set its path in ~/.ftl/config; your PATH and the usual places of npm, \
                 pipx and the like were looked through, {} directories",
                looked.len()
            ),
            Self::Unusable { .. } => "install it in a directory of its own".to_owned(),
            Self::ToolDir { .. } => "correct `tool_dirs` in ~/.ftl/config".to_owned(),
        }
    }
}

impl<P: LineParser> EventStream for Stream<P> {
    fn feed(&mut self, chunk: &[u8]) -> Vec<AgentEvent> {
        self.push(chunk)
    }

    fn end(&mut self) -> Vec<AgentEvent> {
        Self::end(self)
    }
}

/// Environment variables from text.
fn env(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_adapter() {
        for name in NAMES {
            assert_eq!(adapter(name, &["x".into()]).unwrap().name(), name);
        }
        let Err(error) = adapter("goose", &[]) else { panic!("goose is not supported") };
        assert_eq!(error.to_string(), "there is no agent \"goose\"");
        assert!(error.hint().contains("codex"));
    }
}
