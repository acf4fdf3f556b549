//! What happened in a session: past-tense facts that watchers see and that are kept.
//!
//! Owns the closed list of facts and their stored form (JSON, so that an old daemon's events stay
//! readable). Must not know who watches or where events are kept.

use serde::{Deserialize, Serialize};

use crate::id::{ApplyId, Digest, SessionId, SnapshotId};
use crate::lifecycle::State;

/// One numbered fact.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Whose.
    pub session: SessionId,
    /// 1 for the session's first event, without gaps.
    pub seq: u64,
    /// Microseconds since the Unix epoch.
    pub time_us: i64,
    /// What.
    #[serde(flatten)]
    pub kind: Kind,
}

/// What happened.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Kind {
    /// The session exists.
    SessionCreated {
        /// Project directory, absolute.
        project: Bytes,
        /// Agent's name.
        agent: String,
        /// Sandbox backend's name.
        sandbox: String,
        /// First instruction.
        task: String,
    },
    /// It stands elsewhere.
    StateChanged {
        /// Where.
        state: State,
        /// Why; empty when there is nothing to say.
        reason: String,
    },
    /// A stage ended.
    StageFinished {
        /// Which.
        stage: Stage,
        /// Microseconds.
        elapsed_us: u64,
    },
    /// The project was read.
    SnapshotTaken {
        /// Its id.
        snapshot: SnapshotId,
        /// Files in it.
        files: u64,
        /// Their bytes.
        bytes: u64,
        /// Secret-bearing paths that stayed outside; at most [`LISTED`].
        secrets: Vec<Excluded>,
        /// How many paths the ignore rules kept outside.
        ignored: u64,
        /// Paths that could not be read; at most [`LISTED`].
        unreadable: Vec<Excluded>,
    },
    /// The sandbox is up.
    SandboxReady {
        /// Backend's name.
        backend: String,
        /// Protections in force.
        enforced: Vec<String>,
        /// Limits that are not, with the reason.
        unenforced: Vec<String>,
    },
    /// A turn began.
    TurnStarted {
        /// 1 for the task itself.
        turn: u32,
        /// The instruction.
        text: String,
    },
    /// The agent said something.
    AgentText {
        /// The words.
        text: String,
        /// Whether the text goes on.
        fragment: bool,
    },
    /// The agent began to use a tool.
    ToolStarted {
        /// The call's id.
        id: String,
        /// Tool's name.
        name: String,
        /// Its most telling argument.
        detail: String,
    },
    /// The tool ended.
    ToolFinished {
        /// The call's id.
        id: String,
        /// Whether it succeeded.
        ok: bool,
        /// Microseconds.
        elapsed_us: u64,
    },
    /// Raw output of a program that sends no events.
    Output {
        /// The bytes.
        data: Bytes,
        /// Whether it is standard error.
        stderr: bool,
    },
    /// Tokens and cost of the turn.
    Usage {
        /// Read by the model.
        input_tokens: u64,
        /// Written by the model.
        output_tokens: u64,
        /// Millionths of a US dollar; 0 when unknown.
        cost_micro_usd: u64,
    },
    /// The agent's own account.
    AgentFinished {
        /// Whether it says that it succeeded.
        ok: bool,
        /// What it says.
        message: String,
        /// Exit status; 128 plus the signal when a signal ended it.
        exit_code: i32,
    },
    /// Something a human should know that stopped nothing.
    Notice {
        /// How much it matters.
        level: Level,
        /// One sentence.
        text: String,
    },
    /// The work was frozen and compared.
    WorkCaptured {
        /// What to approve, when something can be.
        digest: Option<Digest>,
        /// Entries that can be approved.
        entries: u64,
        /// Entries that are refused.
        refused: u64,
        /// Changed paths that the ignore rules leave out.
        ignored: u64,
    },
    /// The human approved.
    Approved {
        /// The digest that was shown.
        digest: Digest,
        /// The chosen paths; empty means everything.
        paths: Vec<Bytes>,
    },
    /// Approved bytes are in the project.
    Applied {
        /// For undo.
        apply: ApplyId,
        /// How many paths.
        paths: u64,
    },
    /// What was applied was taken back.
    Undone {
        /// What was taken back.
        apply: ApplyId,
        /// How many paths.
        paths: u64,
    },
    /// The human said no.
    Rejected {
        /// Why; empty when not said.
        why: String,
    },
    /// The state of the work after a turn can be gone back to.
    Checkpointed {
        /// Its number in the session.
        checkpoint: u32,
        /// Changes that can be approved there.
        entries: u64,
    },
    /// The work is that of an earlier checkpoint again; the later ones stay.
    Rewound {
        /// Where it stood.
        from: u32,
        /// Where it stands.
        to: u32,
    },
    /// The session began as another one's work.
    Branched {
        /// The other session.
        from: SessionId,
        /// Its checkpoint.
        checkpoint: u32,
    },
    /// Checks of a selection began, in sandboxes of their own.
    ChecksBegun {
        /// What to approve when they are to land.
        digest: Digest,
        /// The snapshot of the project that they are tried over.
        base: SnapshotId,
        /// The checks' names.
        checks: Vec<String>,
    },
    /// A check of a selection ended.
    CheckEnded {
        /// Of what.
        digest: Digest,
        /// The check's name.
        name: String,
        /// The command.
        command: String,
        /// The file that the command was guessed from; empty when it is configured.
        guessed_from: String,
        /// `passed`, `failed`, `could_not_run` or `nothing_ran`.
        verdict: String,
        /// Why; empty when it passed.
        why: String,
        /// Of a failure: `regression`, `before` or `unknown`.
        since: String,
        /// What there is to say about that.
        since_why: String,
        /// Microseconds.
        elapsed_us: u64,
        /// Whether it was known already and did not run again.
        remembered: bool,
        /// The last of what it printed.
        tail: Bytes,
        /// Of a generated test: what it checks, in its model's words.
        #[serde(default)]
        covers: String,
    },
    /// All checks of a selection ended.
    ChecksEnded {
        /// Of what.
        digest: Digest,
        /// Whether something ran and all of it passed.
        ready: bool,
        /// Why.
        why: String,
        /// The whole work, when nothing less was tried.
        #[serde(default)]
        of: Option<Digest>,
    },
    /// A model is asked for tests of the turn's task.
    TestsAsked {
        /// The model.
        model: String,
        /// What the project tests with.
        framework: String,
    },
    /// A model has written tests.
    TestsWritten {
        /// The model.
        model: String,
        /// Their paths.
        paths: Vec<String>,
        /// Whether they take the place of files that could not run.
        adapted: bool,
    },
    /// A model has written no tests that can be used; nothing is called ready.
    TestsNotWritten {
        /// The model.
        model: String,
        /// Why.
        why: String,
    },
    /// The agent is told of what failed.
    FixAsked {
        /// The round, from 1.
        round: u32,
        /// Rounds at most.
        of: u32,
    },
    /// A request that no rule allows waits for the human.
    EgressAsked {
        /// Number of the question in its session.
        ask: u64,
        /// Method; empty for a name that was asked for.
        method: String,
        /// Host and port.
        authority: String,
        /// Path without query.
        path: String,
        /// The rule that would allow it, as it is written.
        rule: String,
        /// How long it waits, milliseconds.
        patience_ms: u64,
    },
    /// A question is answered.
    EgressAnswered {
        /// Its number.
        ask: u64,
        /// `once`, `session`, `always`, `no` or `nobody`.
        answer: String,
    },
    /// A request was refused; no byte of it left.
    EgressRefused {
        /// Method; empty for a name that was asked for.
        method: String,
        /// Host and port, or what stood in their place.
        authority: String,
        /// Path without query.
        path: String,
        /// A code.
        reason: String,
        /// The rule that decided; empty when none fitted.
        rule: String,
        /// How the human can allow it; empty when that cannot be.
        hint: String,
        /// Refusals of this kind since the last such event.
        count: u64,
    },
    /// A credential travelled to a host for the first time in this turn.
    CredentialUsed {
        /// Its name.
        name: String,
        /// Host and port.
        authority: String,
    },
    /// What left the sandbox in this turn.
    EgressTotals {
        /// Requests that were forwarded.
        requests: u64,
        /// Requests and names that were refused.
        refused: u64,
        /// Bytes of the requests' bodies.
        bytes_up: u64,
        /// Bytes of the responses' bodies.
        bytes_down: u64,
        /// Hosts that were reached; at most [`LISTED`].
        authorities: Vec<String>,
        /// Names of the credentials that travelled.
        credentials: Vec<String>,
    },
}

/// A stage of a turn whose time is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Reading the project.
    Snapshot,
    /// Building the sandbox.
    Sandbox,
    /// The project's setup command.
    Setup,
    /// The agent at work.
    Agent,
    /// Reading and comparing the work.
    Diff,
    /// Writing approved bytes.
    Apply,
}

/// How much a notice matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Good to know.
    Info,
    /// Something is not as one would wish.
    Warning,
}

/// A path that stayed outside a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Excluded {
    /// Path beneath the root.
    pub path: Bytes,
    /// The rule as written, or the error.
    pub rule: String,
    /// Where the rule stands.
    pub source: String,
}

/// How many excluded paths an event lists at most.
pub const LISTED: usize = 50;

/// Bytes that need not be UTF-8; stored as a string when they are, as base64 otherwise.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Bytes(pub Vec<u8>);

// === impl Stage, Level ===

impl Stage {
    /// The stage's name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Sandbox => "sandbox",
            Self::Setup => "setup",
            Self::Agent => "agent",
            Self::Diff => "diff",
            Self::Apply => "apply",
        }
    }
}

impl Level {
    /// The level's name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
        }
    }
}

// === impl Bytes ===

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Text(String),
    Base64 { base64: String },
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64::Engine as _;
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Stored::Base64 { base64: base64::engine::general_purpose::STANDARD.encode(&self.0) }
                .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::Engine as _;
        match Stored::deserialize(deserializer)? {
            Stored::Text(text) => Ok(Self(text.into_bytes())),
            Stored::Base64 { base64 } => base64::engine::general_purpose::STANDARD
                .decode(base64)
                .map(Self)
                .map_err(serde::de::Error::custom),
        }
    }
}

/// `#[serde(with)]` for a plain byte vector in the form of [`Bytes`].
pub mod as_bytes {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Bytes;

    /// Stores the bytes.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        Bytes::from(bytes).serialize(serializer)
    }

    /// Reads them back.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        Bytes::deserialize(deserializer).map(|bytes| bytes.0)
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_back_as_it_was_stored() {
        let event = Event {
            session: SessionId::from_random([3; 10]),
            seq: 7,
            time_us: 1_700_000_000_000_000,
            kind: Kind::Output { data: Bytes(vec![b'a', 0xff, 0]), stderr: true },
        };
        let stored = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&stored).unwrap(), event);
        assert!(stored.contains(r#""type":"output""#), "{stored}");
    }
}
