//! Verbs with which a human looks and decides.

use std::path::PathBuf;

use clap::Args;

use super::{Choose, help};

/// Show what a session would change, with the digest to approve
#[derive(Debug, Args)]
#[command(after_help = help::DIFF)]
pub(crate) struct Diff {
    /// Session, or a unique beginning of its id [default: the newest of the project]
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// One line per path, without the lines that changed
    #[arg(long)]
    pub(crate) stat: bool,
    /// What approving these parts would write into the project as it is now, with its own digest
    #[arg(long)]
    pub(crate) preview: bool,
    /// A patch that `git apply` takes; the default where standard output is no terminal
    #[arg(long, conflicts_with = "stat")]
    pub(crate) patch: bool,
    /// Parts of the work; any of them is a preview.
    #[command(flatten)]
    pub(crate) choose: Choose,
}

/// Say which turn and tool call made each hunk, and what had been fetched by then
#[derive(Debug, Args)]
#[command(after_help = help::BLAME)]
pub(crate) struct Blame {
    /// Session, or a unique beginning of its id
    #[arg(value_name = "SESSION")]
    pub(crate) session: String,
    /// A path that the session changed
    #[arg(value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    pub(crate) path: PathBuf,
}

/// Look at a session's changes, choose among them and decide, on the terminal
#[derive(Debug, Args)]
#[command(after_help = help::REVIEW)]
pub(crate) struct Review {
    /// Session, or a unique beginning of its id [default: the newest of the project]
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
}

/// Run the project's checks on what was selected, in clean sandboxes, before it lands
#[derive(Debug, Args)]
#[command(after_help = help::TEST)]
pub(crate) struct Test {
    /// Session, or a unique beginning of its id [default: the newest of the project]
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// Run also what is known already of the same bytes and the same command
    #[arg(long)]
    pub(crate) again: bool,
    /// Parts of the work.
    #[command(flatten)]
    pub(crate) choose: Choose,
}

/// Apply a session's changes to the project
#[derive(Debug, Args)]
#[command(after_help = help::APPROVE)]
pub(crate) struct Approve {
    /// Session, or a unique beginning of its id [default: the newest of the project]
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// Digest of the diff that you saw, at least 12 characters of it
    #[arg(long, value_name = "DIGEST")]
    pub(crate) digest: Option<String>,
    /// Run the project's checks on it first, as `ftlctl test`, and apply it only when they pass
    #[arg(long)]
    pub(crate) test: bool,
    /// Parts of the work.
    #[command(flatten)]
    pub(crate) choose: Choose,
}

/// Say no to a session's changes; the work is kept until the session is removed
#[derive(Debug, Args)]
pub(crate) struct Reject {
    /// Session, or a unique beginning of its id [default: the newest of the project]
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) why: String,
    /// Hand the reason to the agent as its next instruction
    #[arg(long, requires = "why")]
    pub(crate) go_on: bool,
}

/// List what was applied: when, by whom, from which session
#[derive(Debug, Args)]
pub(crate) struct Applied {
    /// Session, or a unique beginning of its id [default: every session of the project]
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// Of every project
    #[arg(long, conflicts_with = "session")]
    pub(crate) all: bool,
}

/// Take back what was applied last
#[derive(Debug, Args)]
#[command(after_help = help::UNDO)]
pub(crate) struct Undo {
    /// Session, or a unique beginning of its id [default: the last one applied in the project]
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// Where you have edited since: take back what can be taken back around your edits
    #[arg(long)]
    pub(crate) merge: bool,
    /// Digest of what --merge showed, at least 12 characters of it
    #[arg(long, value_name = "DIGEST", requires = "merge")]
    pub(crate) digest: Option<String>,
}
