//! Writing approved bytes to a project, and taking them back.
//!
//! Owns the journal, the order of writing, and that nothing outside the project's root is ever touched:
//! every path is opened beneath the root's own descriptor, through no link and onto no other mount. A crash
//! at any point leaves a journal from which [`Merge::recover`] restores the old state; once the journal says
//! `done` the new state stands, and whatever fails afterwards is told and changes nothing. Must not know where contents are kept ([`Blobs`] does), what was decided
//! (an [`Approval`] is the proof), or which session is in what state.
//!
//! ```text
//! observe ─> pre-images kept ─> journal written ─> steps ─> directories flushed ─> journal renamed to done
//!                               └──────── a crash here is rolled back ────────┘
//! ```

mod attributes;
mod engine;
mod journal;
mod leftover;
mod links;
mod locked;
mod recover;
mod root;
mod step;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use ftl_core::id::{ApplyId, Hash, SessionId};
use ftl_core::merge::Conflicts;
use ftl_core::tree::RelPath;

use journal::Journals;
pub use root::{Identity, Root, Seen};

/// Where contents come from and pre-images go.
pub trait Blobs: Sync {
    /// Writes a content into an empty file, holes as holes, and says the hash of what it wrote.
    ///
    /// # Errors
    /// When the content is missing, or the file cannot be written.
    fn write_to(&self, hash: Hash, target: &File) -> io::Result<Hash>;

    /// Keeps all that a file holds and says its hash. When it returns, the content survives a power cut.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn keep(&self, file: &File) -> io::Result<Hash>;
}

/// The engine, with its directory of journals.
pub struct Merge {
    journals: Journals,
    probe: Box<Probe>,
    /// One application at a time in this daemon; a lock on the root keeps others out.
    turn: Mutex<()>,
    /// Which project an application is to, where somebody else than its journal says it.
    projects: Mutex<BTreeMap<ApplyId, Identity>>,
}

/// Called at every [`Point`]. An error stops the engine dead, as if the machine had stopped.
pub type Probe = dyn Fn(Point) -> io::Result<()> + Send + Sync;

/// A place at which a crash must do no harm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    /// Pre-images are kept; nothing else happened.
    Kept,
    /// The journal is written.
    Recorded,
    /// A step's new content stands beside the old.
    Prepared(usize),
    /// What stands at the step's path is as expected; it was not touched yet.
    Checked(usize),
    /// What stood at the step's path lies under a temporary name.
    Displaced(usize),
    /// A step is done.
    Stepped(usize),
    /// All steps are done and flushed.
    Flushed,
    /// The journal says `done`.
    Committed,
}

/// What an application did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// Its id, for undo.
    pub id: ApplyId,
    /// Paths that were written or deleted, sorted.
    pub paths: Vec<RelPath>,
    /// Paths that were left as they are.
    pub left_alone: Vec<LeftAlone>,
}

/// A path that was left as it is although it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftAlone {
    /// Which.
    pub path: RelPath,
    /// Why.
    pub why: &'static str,
}

/// An application that a crash had cut short.
#[derive(Debug)]
pub struct Recovered {
    /// Which.
    pub id: ApplyId,
    /// Whose; `None` when its journal cannot be read.
    pub session: Option<SessionId>,
    /// Paths that were put back.
    pub restored: Vec<RelPath>,
    /// Paths that someone else has written since; they are left as they are.
    pub foreign: Vec<RelPath>,
    /// Why it could not be finished. The journal stays for the next time.
    pub failed: Option<MergeError>,
}

/// Why nothing was applied, or why it could not be taken back.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The operating system said no.
    #[error("cannot {act} {path}")]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what, escaped.
        path: String,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The host is not what the plan was made for. Nothing was touched, or everything was put back.
    #[error(transparent)]
    Changed(#[from] Conflicts),
    /// A directory that is to become something else holds more than the session knew.
    #[error("{path} is to be replaced but holds {holds}, which is not part of the change")]
    Holds {
        /// The directory.
        path: RelPath,
        /// One thing in it.
        holds: RelPath,
    },
    /// A program with rights of its own would get other content.
    #[error("{path} has set-id bits or capabilities, which must not come to content that an agent wrote")]
    Privileged {
        /// The program.
        path: RelPath,
    },
    /// The plan was not made from this approval.
    #[error("the plan is not of this approval")]
    NotApproved,
    /// The store gave other bytes than were approved.
    #[error("the store's content for {path} is damaged")]
    Damaged {
        /// Where it was to be written.
        path: RelPath,
    },
    /// The project's directory is another one than when the session began.
    #[error("{} is no longer the directory that the session started in", path.display())]
    Replaced {
        /// The project's root.
        path: PathBuf,
    },
    /// Another program applies changes to the project.
    #[error("another program is writing to {}", path.display())]
    Busy {
        /// The project's root.
        path: PathBuf,
    },
    /// No application with this id can be undone.
    #[error("there is no application {id} to undo")]
    Unknown {
        /// Which.
        id: ApplyId,
    },
    /// It was undone before.
    #[error("application {id} is undone already")]
    AlreadyUndone {
        /// Which.
        id: ApplyId,
    },
    /// It failed, and what was done could not be put back as a whole.
    #[error("not everything could be put back{}", list(foreign))]
    Partly {
        /// Paths that someone else has written meanwhile; empty when the way back itself failed.
        foreign: Vec<RelPath>,
        /// Why it failed.
        #[source]
        source: Box<MergeError>,
    },
    /// An earlier application to the project was not put back, and still cannot be.
    #[error("the earlier application {id} failed halfway and cannot be put back")]
    Unfinished {
        /// Which.
        id: ApplyId,
        /// Why it cannot.
        #[source]
        source: Box<MergeError>,
    },
    /// With the change in place, a link would lead to somewhere else on the host. Everything was put back.
    #[error("the symbolic link {path} would lead out of the project")]
    LinkLeaves {
        /// The link.
        path: RelPath,
    },
    /// A node that the change replaces or removes may not be touched, whoever asks. Nothing was touched.
    #[error("{path} is {mark} (chattr {flag}), so nothing was written")]
    Locked {
        /// The node, or the directory that it stands in.
        path: String,
        /// What is set on it.
        mark: &'static str,
        /// The option of chattr that sets it.
        flag: &'static str,
    },
    /// What an application has done before it was cut short cannot be known.
    #[error("the journal {} of an application that was cut short cannot be read", path.display())]
    Unreadable {
        /// The journal.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// The probe stopped it.
    #[error("stopped")]
    Stopped,
}

fn list(paths: &[RelPath]) -> String {
    let shown: Vec<_> = paths.iter().take(5).map(ToString::to_string).collect();
    if shown.is_empty() { String::new() } else { format!(": someone else wrote {}", shown.join(", ")) }
}

/// Says what was tried on which path.
fn io_error<E: Into<io::Error>>(act: &'static str, path: impl ToString) -> impl FnOnce(E) -> MergeError {
    move |source| MergeError::Io { act, path: path.to_string(), source: source.into() }
}

#[cfg(test)]
mod tests;
