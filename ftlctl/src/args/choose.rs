//! What of a session's work is meant, on the command line.
//!
//! Owns the words of a selection. Must not know what the daemon makes of it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

/// Parts of the work, and what becomes of them.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Parts of the work")]
pub(crate) struct Choose {
    /// Only this path and what is beneath it (may be given again, like all of these)
    #[arg(long = "path", value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Only this hunk of a file, by its number or id, or only some of its lines, counted from 1
    #[arg(long = "hunk", value_name = "PATH:HUNK[:LINES]")]
    pub(crate) hunks: Vec<OsString>,
    /// This hunk, with what FILE holds in place of all its lines
    #[arg(long = "edited", value_name = "PATH:HUNK=FILE")]
    pub(crate) edited: Vec<OsString>,
    /// Where you and the session changed the same lines: yours
    #[arg(long, value_name = "PATH[:CONFLICT]")]
    pub(crate) ours: Vec<OsString>,
    /// The session's
    #[arg(long, value_name = "PATH[:CONFLICT]")]
    pub(crate) theirs: Vec<OsString>,
    /// Yours, then the session's
    #[arg(long, value_name = "PATH[:CONFLICT]")]
    pub(crate) both: Vec<OsString>,
    /// Let a finding pass, and say why
    #[arg(long, value_name = "FINDING=WHY")]
    pub(crate) accept: Vec<String>,
}

impl Choose {
    /// Whether nothing is said.
    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.is_whole_paths()
    }

    /// Whether at most whole paths are named.
    pub(crate) fn is_whole_paths(&self) -> bool {
        let words = [&self.hunks, &self.edited, &self.ours, &self.theirs, &self.both];
        words.iter().all(|words| words.is_empty()) && self.accept.is_empty()
    }
}
