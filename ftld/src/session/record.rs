//! What is kept of a session between the daemon's lives.
//!
//! Owns the stored form. Must not know how it is stored or what moves a session on.

use ftl_core::event::Bytes;
use ftl_core::id::{ApplyId, Digest, SessionId, SnapshotId};
use ftl_core::lifecycle::State;
use ftl_core::tree::{Node, RelPath};
use serde::{Deserialize, Serialize};

/// A session as it stands.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: SessionId,
    /// The project, as it was when the session began.
    pub project: Project,
    /// What was asked for.
    pub spec: Spec,
    /// Where it stands.
    pub state: State,
    /// Why it stands there; empty when there is nothing to say.
    pub reason: String,
    /// Creation, microseconds since the Unix epoch.
    pub created_us: i64,
    /// Last change, microseconds since the Unix epoch.
    pub updated_us: i64,
    /// The snapshot that the work started from.
    pub base: Option<SnapshotId>,
    /// Turns begun.
    pub turns: u32,
    /// The agent's own id of the conversation, for follow-ups.
    pub conversation: Option<String>,
    /// The work as last captured; kept as a blob under this hash.
    pub work: Option<ftl_core::id::Hash>,
    /// Digest over what can be approved now.
    pub digest: Option<Digest>,
    /// What was applied to the project, oldest first.
    pub applies: Vec<Apply>,
    /// The application or undoing under way; after a crash its journal says whether it happened.
    pub pending: Option<Pending>,
}

/// Something that a crash may have interrupted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pending {
    /// Approved bytes are being written.
    Apply(Apply),
    /// An application is being taken back, under a journal of its own.
    Undo {
        /// The application.
        apply: ApplyId,
        /// The undoing's journal.
        journal: ApplyId,
    },
}

/// A project directory and its identity.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Project {
    /// Absolute path.
    pub root: Bytes,
    /// Device it lies on.
    pub dev: u64,
    /// Inode of the directory.
    pub ino: u64,
}

/// What was asked for when the session was started.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// Agent's name.
    pub agent: String,
    /// Sandbox backend's name.
    pub sandbox: String,
    /// First instruction.
    pub task: String,
    /// Program and arguments for the agent `command`.
    pub argv: Vec<Bytes>,
    /// The human's PATH.
    pub search_path: Vec<Bytes>,
}

/// One application of approved bytes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Apply {
    /// Its id, which is also its journal's.
    pub id: ApplyId,
    /// The digest that was approved.
    pub digest: Digest,
    /// What it changed.
    pub landed: Vec<Landed>,
    /// Whether it was taken back.
    pub undone: bool,
}

/// A path that an application changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Landed {
    /// Which.
    pub path: RelPath,
    /// What stands there since; `None` when it was deleted.
    pub now: Option<Node>,
}

/// The captured work: how the workspace differs from the base.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Work {
    /// Paths that differ.
    pub changed: Vec<Changed>,
    /// Changed paths that the ignore rules leave out.
    pub ignored: u64,
}

/// A path of the workspace that differs from the base.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Changed {
    /// Which.
    pub path: RelPath,
    /// What is there.
    pub now: Now,
}

/// What stands at a changed path.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Now {
    /// Nothing.
    Absent,
    /// Something that can be approved.
    Node(Node),
    /// Something that never can: its kind's name, and its permission bits.
    Special {
        /// `socket`, `fifo`, `character device`, `block device` or `setuid file`.
        kind: String,
        /// All twelve mode bits.
        mode: u32,
    },
}

impl Record {
    /// What stands at a path of the project since the last application that touched it, when one did.
    #[must_use]
    pub fn landed(&self, path: &RelPath) -> Option<&Option<Node>> {
        let applied = self.applies.iter().rev().filter(|apply| !apply.undone);
        applied.flat_map(|apply| &apply.landed).find(|landed| landed.path == *path).map(|landed| &landed.now)
    }
}
