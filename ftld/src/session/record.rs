//! What is kept of a session between the daemon's lives.
//!
//! Owns the stored form. Must not know how it is stored or what moves a session on.

use ftl_core::agent::Spent;
use ftl_core::diff::UpperNode;
use ftl_core::event::Bytes;
use ftl_core::id::{ApplyId, Digest, SessionId, SnapshotId};
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
    /// What was asked for in the last of them.
    #[serde(default)]
    pub asked: String,
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
    /// What the session's origin had applied when this one branched off, oldest first. Whether it still
    /// stands is asked of the journals: the origin may take it back, and may be forgotten then.
    #[serde(default)]
    pub came_with: Vec<Apply>,
    /// What the session changed before its upper layer.
    #[serde(default)]
    pub stack: Stack,
    /// The checkpoint whose work that is; 0 is the snapshot.
    #[serde(default)]
    pub at: u32,
    /// The work after each turn, oldest first. Those that were gone back from are among them.
    #[serde(default)]
    pub checkpoints: Vec<Checkpoint>,
    /// Layers that the session has frozen.
    #[serde(default)]
    pub frozen: u32,
    /// Layers that were made of several of the session's.
    #[serde(default)]
    pub folded: u32,
    /// The application or undoing under way; after a crash its journal says whether it happened.
    pub pending: Option<Pending>,
    /// What the gate has said last.
    #[serde(default)]
    pub gate: Option<Gate>,
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

impl Pending {
    /// The id of its own journal.
    #[must_use]
    pub fn journal(&self) -> &ApplyId {
        match self {
            Self::Apply(apply) => &apply.id,
            Self::Undo { journal, .. } => journal,
        }
    }
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
    /// Tests that a model writes.
    #[serde(default)]
    pub tests: TestsSpec,
    /// Whether the human talks to the agent on its own terminal; `argv` has further arguments for it then.
    #[serde(default)]
    pub interactive: bool,
}

impl Spec {
    /// Whether the human's own commands are all that runs, the agent's terminal among them.
    #[must_use]
    pub fn is_by_hand(&self) -> bool {
        self.interactive || self.agent == crate::agent::MANUAL
    }
}

/// What is wanted of generated tests.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TestsSpec {
    /// The model that writes them; none when there are to be none.
    pub model: Option<String>,
    /// How often the agent is told of what fails.
    pub fix: u32,
    /// Whether a configured model is not to be used.
    pub off: bool,
    /// Whether it may be the model that does the work.
    pub same_model: bool,
}

/// What the gate has said of a session's work.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Gate {
    /// What was tried.
    pub digest: Digest,
    /// Whether something ran and all of it passed.
    pub ready: bool,
    /// Why, in one sentence.
    pub why: String,
    /// The whole work that it is about: of another it says nothing.
    pub of: Option<Digest>,
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
    /// What the session has contributed where the steps say something else: they may lead to what holds the
    /// human's own edits too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub took: Vec<(RelPath, Option<Node>)>,
    /// Whether it was taken back.
    pub undone: bool,
    /// The name of the user who approved it; empty when an earlier version applied it.
    #[serde(default)]
    pub by: String,
}

/// Layers that a session's earlier turns left. They are immutable, and sessions may share them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Stack {
    /// The layers, the one on top first.
    pub layers: Vec<Layer>,
    /// What they hold together, a [`Work`] kept as a blob under this hash; `None` when they hold nothing, or
    /// could not be read.
    pub work: Option<ftl_core::id::Hash>,
}

impl Stack {
    /// Whether there are layers and nobody knows what they hold.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        self.work.is_none() && !self.layers.is_empty()
    }
}

/// One frozen layer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Layer {
    /// Its directory's name among the layers.
    pub name: String,
    /// What it has on disk, bytes.
    pub bytes: u64,
}

/// The work after a turn, which can be gone back to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its number: 1 for the first, never used again.
    pub number: u32,
    /// The checkpoint that the turn began with; 0 is the snapshot.
    pub parent: u32,
    /// The turn after which it was made.
    pub turn: u32,
    /// When, microseconds since the Unix epoch.
    pub time_us: i64,
    /// What was asked for in the turn.
    pub text: String,
    /// Digest over what could be approved then.
    pub digest: Option<Digest>,
    /// How many changes that were.
    pub entries: u64,
    /// The work.
    pub stack: Stack,
}

/// The captured work: all that layers change together.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Work {
    /// Its paths.
    pub upper: Vec<(RelPath, UpperNode)>,
    /// Changed paths that the ignore rules leave out; a directory stands for all in it.
    pub left_out: Vec<RelPath>,
    /// What could not be read and is not part of the diff, one sentence each.
    pub unread: Vec<String>,
    /// The files that the workspace had beside the base's.
    pub seen: Vec<(RelPath, Node)>,
}

impl Record {
    /// A session that has just been created.
    #[must_use]
    pub fn new(id: SessionId, project: Project, spec: Spec, now_us: i64) -> Self {
        Self {
            id,
            project,
            spec,
            state: State::Created,
            reason: String::new(),
            created_us: now_us,
            updated_us: now_us,
            base: None,
            dotenv: Vec::new(),
            shadows: std::collections::BTreeMap::new(),
            turns: 0,
            asked: String::new(),
            conversation: None,
            spent: Spent::default(),
            work: None,
            digest: None,
            applies: Vec::new(),
            came_with: Vec::new(),
            stack: Stack::default(),
            at: 0,
            checkpoints: Vec::new(),
            frozen: 0,
            folded: 0,
            pending: None,
            gate: None,
        }
    }

    /// The contents in the store that hold this session's work. They, those they lie on, and every content
    /// that is named in any of them, must stay as long as the session.
    pub fn works(&self) -> impl Iterator<Item = ftl_core::id::Hash> {
        let kept = self.checkpoints.iter().filter_map(|checkpoint| checkpoint.stack.work);
        [self.work, self.stack.work].into_iter().flatten().chain(kept)
    }

    /// What the gate has said of the work as it is now: of all of it, as "approve all" would apply it.
    #[must_use]
    pub fn word(&self) -> Option<&Gate> {
        self.gate.as_ref().filter(|gate| gate.of.is_some() && gate.of == self.digest)
    }

    /// The names of the layers that this session needs.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        let stacks = self.checkpoints.iter().map(|checkpoint| &checkpoint.stack);
        let layers = std::iter::once(&self.stack).chain(stacks).flat_map(|stack| &stack.layers);
        layers.map(|layer| layer.name.as_str())
    }

    /// The applications and undoings whose journals this session may ask about.
    pub fn journals(&self) -> impl Iterator<Item = ApplyId> {
        let pending = match &self.pending {
            None => Vec::new(),
            Some(Pending::Apply(apply)) => vec![apply.id.clone()],
            Some(Pending::Undo { apply, journal }) => vec![apply.clone(), journal.clone()],
        };
        self.applies.iter().chain(&self.came_with).map(|apply| apply.id.clone()).chain(pending)
    }

    /// The checkpoint of a number; `None` for 0, the snapshot, and for one that is not there.
    #[must_use]
    pub fn checkpoint(&self, number: u32) -> Option<&Checkpoint> {
        self.checkpoints.iter().find(|checkpoint| checkpoint.number == number)
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
