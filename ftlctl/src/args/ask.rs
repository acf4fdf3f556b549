//! Verbs that ask a model.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::help;

/// Ask a model about a session's changes; its answer is an opinion and changes nothing
#[derive(Debug, Args)]
#[command(after_help = help::ASK, allow_missing_positional = true)]
pub(crate) struct Ask {
    /// Session, or a unique beginning of its id [default: the newest of the project]
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// What you want to know
    #[arg(value_name = "QUESTION")]
    pub(crate) question: String,
    /// What the model is shown.
    #[command(flatten)]
    pub(crate) show: Show,
}

/// Have another model review a session's changes; its opinion approves nothing
#[derive(Debug, Args)]
#[command(after_help = help::OPINION)]
pub(crate) struct Opinion {
    /// Session, or a unique beginning of its id [default: the newest of the project]
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// The model may be the one that did the work
    #[arg(long)]
    pub(crate) same_model: bool,
    /// What the model is shown.
    #[command(flatten)]
    pub(crate) show: Show,
}

/// What of the work a model is shown.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Only this path and what is beneath it (may be given again)
    #[arg(long = "file", value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) files: Vec<PathBuf>,
    /// Only this hunk, by its id, or by its file and number (may be given again)
    #[arg(long = "hunk", value_name = "ID|PATH:NUMBER")]
    pub(crate) hunks: Vec<OsString>,
}
