//! What can go wrong with a session, seen from outside it.
//!
//! Owns the one list that the API's status table is exhaustive over.

use std::io;
use std::path::PathBuf;

use ftl_core::id::SessionId;
use ftl_core::lifecycle::{Misstep, Refusal};

use super::ask::ModelError;
use super::project::ProjectError;
use crate::agent::AgentError;
use crate::audit::AuditError;
use crate::config::ConfigFileError;
use crate::db::DbError;
use crate::egress::EgressError;
use crate::merge::MergeError;
use crate::policy::PolicyFileError;
use crate::sandbox::SandboxError;
use crate::snapshot::SnapshotError;
use crate::snapshot::remote::RemoteError;
use crate::vault::VaultError;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No session has this id or prefix.
    #[error("there is no session {text}")]
    NoSuchSession {
        /// What was asked for.
        text: String,
    },
    /// The project has no session.
    #[error("this project has no session")]
    NoSessionOfProject,
    /// A prefix fits several sessions.
    #[error("{text} fits {count} sessions")]
    AmbiguousSession {
        /// The prefix.
        text: String,
        /// How many it fits.
        count: usize,
    },
    /// The session's task has ended, because the session was removed or the daemon ends.
    #[error("session {session} has ended")]
    Gone {
        /// Which.
        session: SessionId,
    },
    /// The session's state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The driver took a step that does not exist.
    #[error("a defect in FTL")]
    Misstep(#[from] Misstep),
    /// The directory cannot be a project.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// A configuration cannot be used.
    #[error("the configuration cannot be used")]
    Config(#[from] ConfigFileError),
    /// A setting asks for what this version does not do.
    #[error("the configuration asks for something that this version does not do: {what}")]
    Unsupported {
        /// The setting.
        what: String,
    },
    /// There is a configuration already.
    #[error("{path} is there already")]
    AlreadyThere {
        /// The file.
        path: String,
    },
    /// There is no configuration to trust.
    #[error("the project has no .ftlconfig to trust")]
    NothingToTrust,
    /// The agent cannot work.
    #[error("the agent cannot be started")]
    Agent(#[from] AgentError),
    /// The agent's vendor wants a key, and there is none.
    #[error("{agent} needs a key of its vendor, and FTL has none: {}", names.join(" or "))]
    NoKey {
        /// Which agent.
        agent: &'static str,
        /// The names under which it is looked for.
        names: &'static [&'static str],
    },
    /// A credential cannot be had or kept.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The human's rules cannot be changed.
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    /// The egress proxy cannot serve the session.
    #[error("the egress proxy cannot serve the session")]
    Egress(#[from] EgressError),
    /// A rule is none.
    #[error("{rule:?} is not a rule")]
    BadRule {
        /// What was written.
        rule: String,
        /// What is wrong with it.
        #[source]
        source: ftl_core::egress::rule::RuleError,
    },
    /// A request to judge is none.
    #[error("{url:?} cannot be judged")]
    BadUrl {
        /// What was written.
        url: String,
        /// What is wrong with it.
        #[source]
        source: ftl_core::egress::asked::AskedError,
    },
    /// Nobody is there who could be told.
    #[error("the session has no agent that could go on")]
    NoAgent,
    /// The agent has no terminal that the human could sit at.
    #[error("{agent} has no terminal of its own")]
    NotInteractive {
        /// Which agent.
        agent: String,
    },
    /// No program of the session's agent has a terminal now.
    #[error("no terminal is open in session {session}")]
    NoTerminal {
        /// Which session.
        session: SessionId,
    },
    /// The session's agent has a terminal already.
    #[error("the agent of session {session} has a terminal already")]
    HasTerminal {
        /// Which session.
        session: SessionId,
    },
    /// The task is empty.
    #[error("the task is empty")]
    EmptyTask,
    /// No backend of that name.
    #[error("there is no sandbox backend {name}")]
    NoSuchSandbox {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// The sandbox cannot be had.
    #[error("the sandbox cannot be had")]
    Sandbox(#[from] SandboxError),
    /// A file of the project cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// What the agent `builtin` and its model have said cannot be kept or read.
    #[error("the agent's conversation in {} cannot be used", path.display())]
    Conversation {
        /// Its file.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The sandbox's home cannot be made.
    #[error("cannot make the sandbox's home {}", path.display())]
    Home {
        /// Where.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The note of a model's call that is under way cannot be kept.
    #[error("cannot keep the note {}", path.display())]
    CallNote {
        /// Which.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A program is not in the sandbox.
    #[error("there is no program {program:?} in the sandbox that can be run")]
    NoProgram {
        /// Which.
        program: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The project's setup command failed.
    #[error("the project's setup command failed with status {code}")]
    Setup {
        /// Its exit status.
        code: i32,
    },
    /// The human stopped the turn before the agent began.
    #[error("stopped before the agent began: {why}")]
    Stopped {
        /// Who or what stopped it.
        why: &'static str,
    },
    /// The turn that was asked for failed before it began.
    #[error("{reason}")]
    TurnFailed {
        /// Why, in one line.
        reason: String,
    },
    /// The digest is not the one that was shown.
    #[error("nothing was applied")]
    Approve(#[from] ftl_core::review::ApproveRefused),
    /// The human chose from a diff that is not the session's work any more.
    #[error("nothing was applied: the session's work is another now than what was shown")]
    AnotherWork,
    /// What was selected cannot be proposed.
    #[error("the selection cannot be taken")]
    Propose(#[from] ftl_core::review::ProposeError),
    /// The project has changed meanwhile.
    #[error("the project has changed since the snapshot")]
    Conflicts(#[from] ftl_core::merge::Conflicts),
    /// Something in what would be written holds the approval.
    #[error("{} until {} accepted: {}", holds(.held.len()), is(.held.len()), .held.join("; "))]
    Held {
        /// What and where, each a part of a sentence without the value.
        held: Vec<String>,
    },
    /// The human has edited the same lines since they were applied.
    #[error("{} edited since in the same lines: {}", paths(.at.len()), .at.join(", "))]
    UndoConflicts {
        /// Where, each a path with its lines.
        at: Vec<String>,
    },
    /// The approved bytes cannot be written.
    #[error("the change cannot be applied")]
    Merge(#[from] MergeError),
    /// What was applied cannot be taken back.
    #[error("what was applied cannot be taken back")]
    Undo(#[source] MergeError),
    /// Nothing of the session is applied.
    #[error("nothing of this session is applied to the project")]
    NothingToUndo,
    /// Snapshot or blobs.
    #[error("the snapshot store cannot do this")]
    Store(#[from] SnapshotError),
    /// The human's configuration names no bucket.
    #[error("no bucket is configured for snapshots")]
    NoRemote,
    /// There is no key pair for the bucket.
    #[error("there is no key pair for the bucket")]
    NoRemoteKey,
    /// Snapshots cannot be sent or fetched.
    #[error("the snapshots did not all travel")]
    Remote(#[from] RemoteError),
    /// The bucket has no snapshot of this id or prefix.
    #[error("the bucket has no snapshot {text}")]
    NoSuchRemoteSnapshot {
        /// What was asked for.
        text: String,
    },
    /// No snapshot has this id or prefix.
    #[error("there is no snapshot {text}")]
    NoSuchSnapshot {
        /// What was asked for.
        text: String,
    },
    /// A prefix fits several snapshots.
    #[error("{text} fits more than one snapshot")]
    AmbiguousSnapshot {
        /// The prefix.
        text: String,
    },
    /// A session has no checkpoint of this number.
    #[error("session {session} has no checkpoint {number}")]
    NoSuchCheckpoint {
        /// Which session.
        session: SessionId,
        /// What was asked for.
        number: u32,
    },
    /// A session has fewer turns.
    #[error("the session cannot go back {turns} turns: it has fewer")]
    TooFarBack {
        /// What was asked for.
        turns: u32,
    },
    /// What a checkpoint holds could not be read when it was made.
    #[error("what checkpoint {number} holds could not be read, so nobody can say what it is")]
    UnreadableCheckpoint {
        /// Which.
        number: u32,
    },
    /// A session has more layers than can be mounted, and they could not be folded.
    #[error("the session has {layers} layers, and they could not be made fewer")]
    Layers {
        /// How many.
        layers: usize,
    },
    /// What a session's last turn left could not be read when the turn ended.
    #[error("what the last turn of session {session} left could not be read, so nobody can say what it is")]
    UnreadWork {
        /// Which session.
        session: SessionId,
    },
    /// The project's history cannot be read or written.
    #[error(transparent)]
    History(#[from] crate::history::HistoryError),
    /// A model is not asked, or its answer is none.
    #[error(transparent)]
    Model(#[from] Box<ModelError>),
    /// The generated tests of a session cannot be read or kept.
    #[error("the generated tests in {} cannot be read or kept", path.display())]
    Tests {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Nothing says what a project tests with.
    #[error("the project has no sources of a language that tests are written in")]
    NoFramework,
    /// There is no generated test of that name.
    #[error("the session has no generated test {path:?}")]
    NoSuchTest {
        /// What was asked for; empty for any.
        path: String,
    },
    /// Generated tests could not be put into the work.
    #[error("the generated tests could not be put into the session's work: {why}")]
    NotKept {
        /// What the sandbox said.
        why: String,
    },
    /// A generated test has no place in the work.
    #[error("{path} has no place in the work: something above it is no directory")]
    NoPlace {
        /// Where it would stand.
        path: String,
    },
    /// Stored state.
    #[error("the session's state cannot be kept")]
    Db(#[from] DbError),
    /// The audit log refuses; nothing happens without it.
    #[error("the audit log cannot be written")]
    Audit(#[from] AuditError),
    /// A blocking part of the work was interrupted.
    #[error("the work was interrupted")]
    Interrupted,
}

impl From<ModelError> for Error {
    fn from(error: ModelError) -> Self {
        Self::Model(Box::new(error))
    }
}

fn paths(count: usize) -> String {
    if count == 1 { "one path was".to_owned() } else { format!("{count} paths were") }
}

fn holds(count: usize) -> String {
    if count == 1 {
        "a finding holds the approval".to_owned()
    } else {
        format!("{count} findings hold the approval")
    }
}

fn is(count: usize) -> &'static str {
    if count == 1 { "it is" } else { "they are" }
}
