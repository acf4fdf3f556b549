//! What is kept of a session between the daemon's lives.
//!
//! Owns the stored form. Must not know how it is stored or what moves a session on.

use ftl_core::agent::Spent;
use ftl_core::diff::UpperNode;
use ftl_core::event::Bytes;
use ftl_core::id::{ApplyId, Digest, SessionId, SnapshotId};
use ftl_core::landed::Landed;
use ftl_core::lifecycle::State;
use ftl_core::merge::Step;
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
    /// The project's `.env` files at that time, beneath its root, the one that counts most first.
    #[serde(default)]
    pub dotenv: Vec<Bytes>,
    /// Shadows of credentials by name: the session's own, the same in every turn.
    #[serde(default)]
    pub shadows: std::collections::BTreeMap<String, String>,
    /// Turns begun.
    pub turns: u32,
    /// The agent's own id of the conversation, for follow-ups.
    pub conversation: Option<String>,
    /// What the conversation's turns have used together.
    #[serde(with = "spent")]
    pub spent: Spent,
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
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
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
    /// When it began, microseconds since the Unix epoch.
    pub time_us: i64,
    /// What it changed.
    pub steps: Vec<Step>,
    /// Whether it was taken back.
    pub undone: bool,
}

/// The captured work: the session's frozen upper layer.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Work {
    /// Its paths.
    pub upper: Vec<(RelPath, UpperNode)>,
    /// Changed paths that the ignore rules leave out.
    pub ignored: u64,
    /// What could not be read and is not part of the diff, one sentence each.
    #[serde(default)]
    pub unread: Vec<String>,
    /// The files that the workspace had beside the base's.
    #[serde(default)]
    pub seen: Vec<(RelPath, Node)>,
}

impl Record {
    /// What stands at the paths that applications changed.
    #[must_use]
    pub fn landed(&self) -> Landed {
        let applied = self.applies.iter().filter(|apply| !apply.undone).flat_map(|apply| &apply.steps);
        applied.map(|step| (step.path.clone(), step.after.clone())).collect()
    }

    /// The newest application that was not taken back.
    #[must_use]
    pub fn last_apply(&self) -> Option<&Apply> {
        self.applies.iter().rev().find(|apply| !apply.undone)
    }
}

/// How usage is stored: three numbers.
mod spent {
    use ftl_core::agent::Spent;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(spent: &Spent, serializer: S) -> Result<S::Ok, S::Error> {
        [spent.input_tokens, spent.output_tokens, spent.cost_micro_usd].serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Spent, D::Error> {
        let [input_tokens, output_tokens, cost_micro_usd] = <[u64; 3]>::deserialize(deserializer)?;
        Ok(Spent { input_tokens, output_tokens, cost_micro_usd })
    }
}
