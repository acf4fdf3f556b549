//! Verbs with states: snapshots, and what sessions were after each turn.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::help;
use super::tool::age;

/// List, take, compare and restore states: snapshots and sessions' checkpoints
#[derive(Debug, Args)]
#[command(after_help = help::SNAPSHOTS, subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
pub(crate) struct Snapshots {
    /// Which of these; nothing lists.
    #[command(subcommand)]
    pub(crate) verb: Option<SnapshotsVerb>,
}

/// What to do with snapshots.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotsVerb {
    List(ListSnapshots),
    Create(CreateSnapshot),
    Show(ShowSnapshot),
    Diff(DiffSnapshots),
    Restore(RestoreSnapshot),
    Branch(BranchSession),
    Push(PushSnapshots),
    Pull(PullSnapshots),
    Clean(CleanSnapshots),
    /// Read the whole store again and name what is damaged
    Verify,
}

/// List the project's snapshots, newest first
#[derive(Debug, Args, Default)]
pub(crate) struct ListSnapshots {
    /// Those of every project
    #[arg(long)]
    pub(crate) all: bool,
    /// Those in your bucket instead of those here
    #[arg(long)]
    pub(crate) remote: bool,
}

/// Send the project's snapshots to your bucket; only what it does not have travels
#[derive(Debug, Args)]
#[command(after_help = help::PUSH)]
pub(crate) struct PushSnapshots {
    /// Only this one; its id or a unique beginning of it
    #[arg(value_name = "SNAPSHOT", conflicts_with = "all")]
    pub(crate) snapshot: Option<String>,
    /// Those of every project
    #[arg(long)]
    pub(crate) all: bool,
    /// Look for every object in the bucket, and send what it has lost
    #[arg(long)]
    pub(crate) verify: bool,
}

/// Fetch the project's snapshots from your bucket; only what is not here travels
#[derive(Debug, Args)]
#[command(after_help = help::PULL)]
pub(crate) struct PullSnapshots {
    /// Only this one, of whatever project; its id or a unique beginning of it
    #[arg(value_name = "SNAPSHOT", conflicts_with = "all")]
    pub(crate) snapshot: Option<String>,
    /// Those of every project
    #[arg(long)]
    pub(crate) all: bool,
    /// List it under this project, wherever it was taken
    #[arg(long, requires = "snapshot")]
    pub(crate) here: bool,
}

/// Take a snapshot of the project; an unchanged project gives the same id
#[derive(Debug, Args)]
pub(crate) struct CreateSnapshot {
    /// List every path that stayed outside, with the rule that decided
    #[arg(long)]
    pub(crate) explain: bool,
}

/// List what is in a state, and what could not be read
#[derive(Debug, Args)]
pub(crate) struct ShowSnapshot {
    /// Snapshot (or a unique beginning of its id), SESSION, or SESSION@N
    #[arg(value_name = "STATE")]
    pub(crate) snapshot: String,
}

/// Show what differs between two states
#[derive(Debug, Args)]
pub(crate) struct DiffSnapshots {
    /// Snapshot (or a unique beginning of its id), SESSION, or SESSION@N
    #[arg(value_name = "BEFORE")]
    pub(crate) before: String,
    /// The same
    #[arg(value_name = "AFTER")]
    pub(crate) after: String,
    /// One line per path, without the lines that changed
    #[arg(long)]
    pub(crate) stat: bool,
}

/// Write a state into a new directory, or go back to it in a session or in the project
#[derive(Debug, Args)]
#[command(after_help = help::RESTORE)]
pub(crate) struct RestoreSnapshot {
    /// Snapshot (or a unique beginning of its id), SESSION, or SESSION@N
    #[arg(value_name = "STATE")]
    pub(crate) snapshot: String,
    /// Where to.
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Where a state is restored: one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Place {
    /// Directory to create; it must not exist, or be empty
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) to: Option<PathBuf>,
    /// Session to take back to one of its own checkpoints, STATE being SESSION@N or N
    #[arg(long, value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// Make a session that takes the project back; it waits for your review
    #[arg(long)]
    pub(crate) into_project: bool,
}

/// Remove snapshots that no session needs, and what only they had
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub(crate) struct CleanSnapshots {
    /// All but the newest N
    #[arg(long, value_name = "N", group = "which")]
    pub(crate) last: Option<u32>,
    /// Those older than this, such as `12h`, `30d` or `8w`
    #[arg(long, value_name = "AGE", group = "which", value_parser = age)]
    pub(crate) older_than: Option<i64>,
    /// All of them
    #[arg(long, group = "which")]
    pub(crate) all: bool,
    /// Those of every project, not only of this one
    #[arg(long)]
    pub(crate) every_project: bool,
    /// Only say what would go
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Begin another session with the same work, to try two ways
#[derive(Debug, Args)]
#[command(after_help = help::BRANCH)]
pub(crate) struct BranchSession {
    /// Session, or a unique beginning of its id; SESSION@N for its work after an earlier turn
    #[arg(value_name = "SESSION[@N]")]
    pub(crate) session: String,
}

/// Take a session's work back by a turn or more
#[derive(Debug, Args)]
#[command(after_help = help::REWIND)]
pub(crate) struct Rewind {
    /// Session, or a unique beginning of its id; SESSION@N for exactly this checkpoint
    #[arg(value_name = "SESSION[@N]")]
    pub(crate) session: String,
    /// Turns to go back [default: 1]
    #[arg(value_name = "TURNS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) turns: Option<u32>,
}

/// Make a git branch of a session's turns, one commit each, in the project's repository
#[derive(Debug, Args)]
#[command(after_help = help::EXPORT)]
pub(crate) struct Export {
    /// Session, or a unique beginning of its id [default: the newest of the project]
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// Name of the new branch
    #[arg(long, value_name = "NAME")]
    pub(crate) git_branch: String,
}
