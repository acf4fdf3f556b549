//! Verbs that start, list and end sessions.

use std::ffi::OsString;

use clap::Args;

use super::generated::Tester;
use super::help;

/// Give an agent a task in a sandbox, then review what it changed
#[derive(Debug, Args)]
#[command(after_help = help::CODE)]
pub(crate) struct Code {
    /// What to do; for the agent `shell`, a script
    #[arg(value_name = "TASK")]
    pub(crate) task: String,
    /// Agent: claude-code, codex, aider, opencode, gemini, kiro, builtin, shell or command [default: the configured one]
    #[arg(long, value_name = "AGENT", conflicts_with = "session")]
    pub(crate) agent: Option<String>,
    /// Sandbox: native or auto [default: the configured one]
    #[arg(long, value_name = "SANDBOX", conflicts_with = "session")]
    pub(crate) sandbox: Option<String>,
    /// Go on in this session instead of starting one
    #[arg(long, value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// Which tests are written beside the agent.
    #[command(flatten)]
    pub(crate) tester: Tester,
    /// What to do when the work is done.
    #[command(flatten)]
    pub(crate) end: End,
}

/// What to do when the work is done.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct End {
    /// Do not ask; leave the work for a later review
    #[arg(long, conflicts_with = "yes")]
    pub(crate) no_review: bool,
    /// Approve everything without asking
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Run any command or interactive agent in a sandbox, then review what it changed
#[derive(Debug, Args)]
#[command(after_help = help::RUN)]
pub(crate) struct Run {
    /// Sandbox: native or auto [default: the configured one]
    #[arg(long, value_name = "SANDBOX")]
    pub(crate) sandbox: Option<String>,
    /// What to do when the work is done.
    #[command(flatten)]
    pub(crate) end: End,
    /// Agent (claude, codex, opencode, gemini, aider, kiro) or program, and arguments; after `--` a program in any case
    #[arg(value_name = "AGENT|CMD", required = true, trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,
    /// Whether `--` stands in front of the command.
    #[arg(skip)]
    pub(crate) is_program: bool,
}

/// Run a command in a session's sandbox; stdio and exit status pass through
#[derive(Debug, Args)]
#[command(after_help = help::EXEC)]
pub(crate) struct Exec {
    /// Session, or a unique beginning of its id [default: the newest of the project]
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// Program and arguments
    #[arg(value_name = "CMD", required = true, last = true)]
    pub(crate) command: Vec<OsString>,
}

/// List sessions, or what one was after each turn
#[derive(Debug, Args)]
pub(crate) struct Sessions {
    /// Those of every project
    #[arg(long)]
    pub(crate) all: bool,
    /// The checkpoints of this session instead: its work after each turn
    #[arg(long, value_name = "SESSION", conflicts_with = "all")]
    pub(crate) checkpoints: Option<String>,
    /// Also what each of them keeps between its turns, and how much that is
    #[arg(long, conflicts_with = "checkpoints")]
    pub(crate) verbose: bool,
}

/// Names a session.
#[derive(Debug, Args)]
pub(crate) struct SessionArg {
    /// Session, or a unique beginning of its id [default: the newest of the project]
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
}

/// Forget a session that has ended
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Session, or a unique beginning of its id
    #[arg(value_name = "SESSION")]
    pub(crate) session: String,
    /// Also throw away work that waits for review
    #[arg(long)]
    pub(crate) discard: bool,
}

/// Forget what a session keeps between its turns: home, conversation, caches
#[derive(Debug, Args)]
#[command(after_help = help::WIPE)]
pub(crate) struct Wipe {
    /// Session, or a unique beginning of its id
    #[arg(value_name = "SESSION")]
    pub(crate) session: String,
    /// Also its work and its checkpoints; the next turn begins with the session's snapshot
    #[arg(long)]
    pub(crate) workspace: bool,
    /// Also throw away work that waits for review
    #[arg(long, requires = "workspace")]
    pub(crate) discard: bool,
}
