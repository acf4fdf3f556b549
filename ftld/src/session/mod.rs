//! Sessions: one agent at work on one project, from its snapshot to the human's decision.
//!
//! Deciding is pure and elsewhere ([`ftl_core::lifecycle`], [`ftl_core::review`]); [`driver`] does;
//! [`publish`] tells. One task owns one session: everything that changes it goes through that task's
//! inbox, so that nothing about a session needs a lock.
//!
//! This module owns the registry of those tasks. It must not know what a command does.

mod applied;
pub mod appraise;
pub mod ask;
pub mod blame;
mod branch;
mod builtin;
mod captured;
pub mod check;
mod checkpoint;
pub mod checks;
mod decide;
mod driver;
mod error;
mod exec;
mod export;
mod folding;
pub mod full;
mod history;
mod interactive;
pub mod kept;
mod layers;
pub mod looked;
mod made_home;
mod model_call;
pub mod outlet;
mod own_settings;
mod packages;
mod point;
pub mod prepare;
pub mod project;
mod propose;
pub mod publish;
mod ready;
mod readying;
pub mod record;
pub mod recover;
pub mod remote;
pub mod secrets;
mod seen;
mod stand;
mod standing;
pub mod taking;
pub mod terminal;
pub mod tester;
pub mod trust;
mod turn;
mod undo;
pub mod warm;
pub mod watching;
mod wipe;
pub mod wishes;
mod workspace;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ftl_core::id::{ApplyId, SessionId};
use ftl_core::lifecycle::{Refusal, State};
use ftl_core::tree::RelPath;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

pub use self::applied::Application;
pub use self::checkpoint::Back;
use self::driver::answer;
pub use self::driver::told;
pub use self::error::Error;
pub use self::exec::{ExecInput, ExecOutput, ExecSpec};
pub use self::point::{Compared, Point, compare};
pub use self::propose::{Asked, Proposed};
pub use self::ready::Readiness;
use self::record::{Record, Spec};
pub use self::undo::{Undo, Undone, WouldUndo};
pub use self::wipe::{Keeps, Wiping};
pub use self::workspace::Reviewed;
use crate::app::Parts;

/// All sessions.
pub struct Sessions {
    parts: Arc<Parts>,
    desk: Mutex<Desk>,
    tasks: TaskTracker,
}

/// Where each session's task takes its commands.
#[derive(Default)]
struct Desk {
    inboxes: HashMap<SessionId, mpsc::Sender<Command>>,
    /// Sessions of an earlier daemon that are not at rest yet.
    unsettled: Vec<recover::Unsettled>,
    /// Set once the daemon ends: no task is begun any more.
    closed: bool,
}

/// What a session's task is asked to do. Every command is answered.
enum Command {
    /// Begin a turn with this instruction; answered with the last event's number before it.
    Say { text: String, reply: Reply<u64> },
    /// Run a command in the sandbox; answered once it runs or cannot.
    Exec {
        spec: ExecSpec,
        input: mpsc::Receiver<ExecInput>,
        output: mpsc::Sender<ExecOutput>,
        reply: Reply<()>,
    },
    /// End the turn and keep the work; answered when the session is idle.
    Stop { why: &'static str, reply: Reply<Record> },
    /// What would change.
    Review { reply: Reply<Arc<Reviewed>> },
    /// What approving a selection would write.
    Preview { asked: Asked, reply: Reply<Arc<Proposed>> },
    /// Apply approved bytes.
    Approve { digest: String, asked: Asked, reply: Reply<Outcome> },
    /// Say no; the agent may be told why and go on.
    Reject { why: String, go_on: bool, reply: Reply<Record> },
    /// Take back the last application.
    Undo { how: Undo, reply: Reply<Undone> },
    /// Take the work back to an earlier turn.
    Rewind { back: Back, reply: Reply<Record> },
    /// Forget what the session keeps between its turns; answered with what went, bytes.
    Wipe { wiping: Wiping, reply: Reply<(Record, u64)> },
    /// Make the sandbox of the next turn.
    Ready { anew: bool, reply: Reply<Readiness> },
    /// Begin another session with the same work.
    Branch { checkpoint: Option<u32>, reply: Reply<SessionId> },
    /// Look at what is left to review: an application that the session came with was taken back.
    LookAgain { reply: Reply<()> },
    /// Come to rest: an earlier daemon ended in the middle, and at this one's start it could not be done.
    Settle { foreign: Vec<RelPath>, reply: Reply<()> },
    /// Tell what came of checks.
    HearChecks { reply: Reply<()> },
    /// Forget the session; its task ends when it did.
    Remove { removal: Removal, reply: Reply<()> },
}

/// Why a session is forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Removal {
    /// A human wants it, with or without the work that waits.
    Asked { discard: bool },
    /// It has ended, and nothing has changed since before this time, microseconds since the Unix epoch.
    Over { before_us: i64 },
}

impl Command {
    /// Answers that the session is busy.
    fn refuse(self, state: State) {
        let busy = || Error::Refused(Refusal::Busy(state));
        match self {
            Self::Say { reply, .. } => answer(reply, Err(busy())),
            Self::Exec { reply, .. } | Self::Remove { reply, .. } => answer(reply, Err(busy())),
            Self::Stop { reply, .. } | Self::Reject { reply, .. } | Self::Rewind { reply, .. } => {
                answer(reply, Err(busy()));
            }
            Self::Branch { reply, .. } => answer(reply, Err(busy())),
            Self::Wipe { reply, .. } => answer(reply, Err(busy())),
            Self::Ready { reply, .. } => answer(reply, Err(busy())),
            Self::LookAgain { reply } | Self::HearChecks { reply } | Self::Settle { reply, .. } => {
                answer(reply, Err(busy()));
            }
            Self::Review { reply } => answer(reply, Err(busy())),
            Self::Preview { reply, .. } => answer(reply, Err(busy())),
            Self::Approve { reply, .. } => answer(reply, Err(busy())),
            Self::Undo { reply, .. } => answer(reply, Err(busy())),
        }
    }
}

type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What an approval or an undoing did to the project.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The application.
    pub apply: ApplyId,
    /// Paths that were changed.
    pub paths: Vec<RelPath>,
    /// Paths that were left as they are, each with the reason.
    pub left_alone: Vec<(RelPath, String)>,
    /// The session afterwards.
    pub record: Record,
}

/// Commands that wait for a busy session; more callers than this wait for their turn.
const INBOX: usize = 32;

impl Sessions {
    /// The registry; the sessions that an earlier daemon left are picked up by [`Self::recover`].
    #[must_use]
    pub fn new(parts: Arc<Parts>) -> Self {
        Self { parts, desk: Mutex::default(), tasks: TaskTracker::new() }
    }

    /// Brings every session of an earlier daemon to rest: ends what is left of it, captures its work,
    /// takes back half an application.
    ///
    /// # Errors
    /// When the sessions cannot be read at all; one session's trouble ends that session with a reason, or is left
    /// to [`recover::keep_trying`].
    pub async fn recover(&self) -> Result<(), Error> {
        let unsettled = recover::recover(&self.parts).await?;
        self.lock().unsettled = unsettled;
        Ok(())
    }

    /// Persists a new session and sets it off.
    ///
    /// # Errors
    /// When the project, the configuration or the agent does not allow it.
    pub async fn start(&self, project: &Path, spec: Spec) -> Result<SessionId, Error> {
        let driver = driver::Driver::create(Arc::clone(&self.parts), project, spec).await?;
        let id = driver.id().clone();
        let (sender, inbox) = mpsc::channel(INBOX);
        let mut desk = self.lock();
        if desk.closed {
            return Err(Error::Gone { session: id });
        }
        desk.inboxes.insert(id.clone(), sender);
        self.tasks.spawn(driver.run_new(inbox));
        Ok(id)
    }

    /// The session that a human means: its id, a prefix that fits only one, or the newest of a project.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn resolve(&self, text: &str, project: &[u8]) -> Result<SessionId, Error> {
        let records = self.parts.db.records::<Record>(text)?;
        let mut fitting: Vec<Record> = records
            .into_iter()
            .filter(|record| !text.is_empty() || record.project.root.0 == project)
            .collect();
        if text.is_empty() {
            let newest = fitting.into_iter().max_by_key(|record| record.created_us);
            return newest.map(|record| record.id).ok_or(Error::NoSessionOfProject);
        }
        if let Some(exact) = fitting.iter().position(|record| record.id.as_str() == text) {
            return Ok(fitting.swap_remove(exact).id);
        }
        match fitting.len() {
            0 => Err(Error::NoSuchSession { text: text.chars().take(80).collect() }),
            1 => Ok(fitting.swap_remove(0).id),
            count => Err(Error::AmbiguousSession { text: text.to_owned(), count }),
        }
    }

    /// The session whose application to a project is the newest.
    ///
    /// # Errors
    /// When nothing is applied to it.
    pub fn last_applied(&self, project: &[u8]) -> Result<SessionId, Error> {
        let record = decide::last_applied(&self.parts, project)?;
        record.map(|record| record.id).ok_or(Error::NothingToUndo)
    }

    /// A session as it is stored.
    ///
    /// # Errors
    /// When it is not there.
    pub fn get(&self, id: &SessionId) -> Result<Record, Error> {
        let records = self.parts.db.records::<Record>(id.as_str())?;
        records.into_iter().next().ok_or_else(|| Error::NoSuchSession { text: id.to_string() })
    }

    /// Every session, newest first; only a project's when one is given.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn list(&self, project: &[u8]) -> Result<Vec<Record>, Error> {
        let mut records = self.parts.db.records::<Record>("")?;
        records.retain(|record| project.is_empty() || record.project.root.0 == project);
        records.sort_by(|one, other| (other.created_us, &other.id).cmp(&(one.created_us, &one.id)));
        Ok(records)
    }

    /// The daemon's parts, for whoever serves sessions.
    #[must_use]
    pub fn parts(&self) -> &Arc<Parts> {
        &self.parts
    }

    /// A follow-up instruction; returns the number of the last event before its turn.
    ///
    /// # Errors
    /// When a turn runs already.
    pub async fn say(&self, id: &SessionId, text: String) -> Result<u64, Error> {
        self.ask(id, |reply| Command::Say { text, reply }).await
    }

    /// Runs a command in the session's sandbox; returns once it runs.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn exec(
        &self,
        id: &SessionId,
        spec: ExecSpec,
        input: mpsc::Receiver<ExecInput>,
        output: mpsc::Sender<ExecOutput>,
    ) -> Result<(), Error> {
        self.ask(id, |reply| Command::Exec { spec, input, output, reply }).await
    }

    /// Stops the agent and keeps its work.
    ///
    /// # Errors
    /// When no agent works.
    pub async fn stop(&self, id: &SessionId, why: &'static str) -> Result<Record, Error> {
        self.ask(id, |reply| Command::Stop { why, reply }).await
    }

    /// What would change.
    ///
    /// # Errors
    /// When there is nothing to review.
    pub async fn review(&self, id: &SessionId) -> Result<Arc<Reviewed>, Error> {
        self.ask(id, |reply| Command::Review { reply }).await
    }

    /// What approving a selection would write into the project as it is now.
    ///
    /// # Errors
    /// When there is nothing to review, or the selection means nothing.
    pub async fn preview(&self, id: &SessionId, asked: Asked) -> Result<Arc<Proposed>, Error> {
        self.ask(id, |reply| Command::Preview { asked, reply }).await
    }

    /// Approves bytes by their digest and applies them.
    ///
    /// # Errors
    /// When the digest is another, a path is unknown or refused, or the project has changed.
    pub async fn approve(&self, id: &SessionId, digest: String, asked: Asked) -> Result<Outcome, Error> {
        self.ask(id, |reply| Command::Approve { digest, asked, reply }).await
    }

    /// Says no; the work is kept until the session is removed. The agent may be told why and go on.
    ///
    /// # Errors
    /// When nothing waits for a decision, or there is nothing that the agent could be told.
    pub async fn reject(&self, id: &SessionId, why: String, go_on: bool) -> Result<Record, Error> {
        self.ask(id, |reply| Command::Reject { why, go_on, reply }).await
    }

    /// Takes back the session's last application.
    ///
    /// # Errors
    /// When there is none, or the project has changed since.
    pub async fn undo(self: &Arc<Self>, id: &SessionId, how: Undo) -> Result<Undone, Error> {
        let (sessions, of) = (Arc::clone(self), id.clone());
        // Whoever asked may go; those that came with what is taken back must be told all the same.
        let undone = self.tasks.spawn(async move {
            let outcome = sessions.ask(&of, |reply| Command::Undo { how, reply }).await;
            sessions.tell_heirs(&of).await;
            outcome
        });
        undone.await.map_err(|_| Error::Interrupted)?
    }

    /// Takes a session's work back to where it was after an earlier turn. The turns that are left stay as
    /// checkpoints, and what was applied to the project stays there.
    ///
    /// # Errors
    /// When there is no such turn, or an agent works.
    pub async fn rewind(&self, id: &SessionId, back: Back) -> Result<Record, Error> {
        self.ask(id, |reply| Command::Rewind { back, reply }).await
    }

    /// Forgets what a session keeps between its turns, and says how many bytes went.
    ///
    /// # Errors
    /// When an agent works, or work would be lost that nobody has said may go.
    pub async fn wipe(&self, id: &SessionId, wiping: Wiping) -> Result<(Record, u64), Error> {
        self.ask(id, |reply| Command::Wipe { wiping, reply }).await
    }

    /// What a session keeps between its turns, measured now.
    ///
    /// # Errors
    /// When it cannot be measured.
    pub async fn keeps(&self, record: &Record) -> Result<Keeps, Error> {
        wipe::keeps(&self.parts, record).await
    }

    /// Begins another session with a session's work, or with that of one of its checkpoints.
    ///
    /// # Errors
    /// When there is no such checkpoint, or an agent works.
    pub async fn branch(&self, id: &SessionId, checkpoint: Option<u32>) -> Result<SessionId, Error> {
        self.ask(id, |reply| Command::Branch { checkpoint, reply }).await
    }

    /// Forgets a session.
    ///
    /// # Errors
    /// When work waits and `discard` does not say that it may go.
    pub async fn remove(&self, id: &SessionId, discard: bool) -> Result<(), Error> {
        self.forget(id, Removal::Asked { discard }).await
    }

    /// Forgets a session that has ended, unless something has changed in it since a time.
    ///
    /// # Errors
    /// When work waits in it, or something has changed.
    async fn remove_over(&self, id: &SessionId, before_us: i64) -> Result<(), Error> {
        self.forget(id, Removal::Over { before_us }).await
    }

    async fn forget(&self, id: &SessionId, removal: Removal) -> Result<(), Error> {
        self.ask(id, |reply| Command::Remove { removal, reply }).await?;
        self.lock().inboxes.remove(id);
        Ok(())
    }

    /// How many sessions work now, and how many there are.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn count(&self) -> Result<(usize, usize), Error> {
        let records = self.parts.db.records::<Record>("")?;
        let working = records.iter().filter(|record| !record.state.is_idle()).count();
        Ok((working, records.len()))
    }

    /// Stops every agent, keeps all work, and returns when every task has ended.
    pub async fn shut_down(&self) {
        self.parts.checks.close().await;
        // The next daemon waits for them as this one did.
        let unsettled: Vec<SessionId> = self.lock().unsettled.drain(..).map(|one| one.id).collect();
        let busy: Vec<SessionId> = self
            .parts
            .db
            .records::<Record>("")
            .unwrap_or_default()
            .into_iter()
            .filter(|record| !record.state.is_idle() && record.state != State::Applying)
            .map(|record| record.id)
            .filter(|id| !unsettled.contains(id))
            .collect();
        for id in busy {
            if let Err(error) = self.stop(&id, "the daemon was shut down").await {
                tracing::warn!(session = %id, %error, "could not be stopped");
            }
        }
        // Without inboxes the tasks end after the command at hand.
        let inboxes = {
            let mut desk = self.lock();
            desk.closed = true;
            std::mem::take(&mut desk.inboxes)
        };
        drop(inboxes);
        self.tasks.close();
        self.tasks.wait().await;
        warm::close(&self.parts).await;
        self.parts.publisher.close();
    }

    async fn ask<T>(&self, id: &SessionId, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let inbox = self.inbox(id)?;
        inbox.send(command(reply)).await.map_err(|_| Error::Gone { session: id.clone() })?;
        answer.await.map_err(|_| Error::Gone { session: id.clone() })?
    }

    /// The inbox of a session's task; a session that has none since the daemon's start gets one now.
    fn inbox(&self, id: &SessionId) -> Result<mpsc::Sender<Command>, Error> {
        let mut desk = self.lock();
        if desk.closed {
            return Err(Error::Gone { session: id.clone() });
        }
        if let Some(inbox) = desk.inboxes.get(id).filter(|inbox| !inbox.is_closed()) {
            return Ok(inbox.clone());
        }
        let driver = driver::Driver::resume(Arc::clone(&self.parts), self.get(id)?)?;
        let (sender, inbox) = mpsc::channel(INBOX);
        desk.inboxes.insert(id.clone(), sender.clone());
        self.tasks.spawn(driver.run(inbox));
        Ok(sender)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
