//! Verbs with which a human looks and decides.

use std::path::PathBuf;

use clap::Args;

use super::help;

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
}

/// Look at a session's changes, choose among them and decide, on the terminal
#[derive(Debug, Args)]
#[command(after_help = help::REVIEW)]
pub(crate) struct Review {
    /// Session, or a unique beginning of its id [default: the newest of the project]
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// One question after another instead of a screen, as for a screen reader
    #[arg(long)]
    pub(crate) plain: bool,
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
    /// Only this path and what is beneath it (may be given again)
    #[arg(long = "path", value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
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
}

/// Take back what was applied last
#[derive(Debug, Args)]
pub(crate) struct Undo {
    /// Session, or a unique beginning of its id [default: the last one applied in the project]
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
}
