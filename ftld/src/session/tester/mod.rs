//! Tests that a model writes while the agent works, and the gate that they are a part of.
//!
//! Owns when they are written, when the gate is asked, and how often the agent gets to hear of failures. They are
//! written beside the session's task and from its snapshot alone, so nobody waits for them while the agent works;
//! their runs begin when the turn's work is known. Must not decide what a run means: that is
//! [`ftl_core::tester`]'s and [`ftl_core::verify`]'s.

mod adapt;
mod choose;
mod fix;
mod keep;
mod run;
mod store;
mod told;
mod write;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ftl_core::event::{Kind, Level};
use ftl_core::id::{Digest, SessionId};
use ftl_core::lifecycle::State;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::check::{Ended, Trial, Tried};
use super::driver::told;
use super::record::Record;
use super::{Command, Error, Sessions};

pub(super) use choose::resolve;
pub use store::{Kept, Tested};

/// What is to be done beside the sessions, and how far it is.
pub struct Tests {
    signals: mpsc::UnboundedSender<Signal>,
    heard: Mutex<Option<mpsc::UnboundedReceiver<Signal>>>,
    desk: Mutex<HashMap<SessionId, Job>>,
    /// Changes whenever something of the desk does.
    changed: watch::Sender<()>,
}

/// What a session's task wants to be done beside it.
enum Signal {
    /// A turn of the agent began: write tests for it.
    Write(Box<Record>),
    /// It is over, and there is work.
    Gate(SessionId),
}

/// How far a session is.
#[derive(Default)]
struct Job {
    /// Whether tests are being written.
    is_writing: bool,
    /// Whether the gate has yet to say its word about the last turn.
    is_due: bool,
    /// Whether the turn that begins next mends what the gate found.
    is_fixing: bool,
    /// Whether the gate was asked about it.
    is_asked: bool,
    /// How often the agent may still be told of failures.
    rounds: u32,
    /// What was tried when the agent was last told of them.
    tried: Option<Digest>,
}

impl Default for Tests {
    fn default() -> Self {
        let (signals, heard) = mpsc::unbounded_channel();
        Self {
            signals,
            heard: Mutex::new(Some(heard)),
            desk: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }
}

impl Tests {
    /// A turn of the agent begins.
    pub(super) fn begin(&self, record: &Record) {
        let spec = &record.spec.tests;
        if spec.model.is_none() && spec.fix == 0 {
            return;
        }
        {
            let mut desk = self.lock();
            let job = desk.entry(record.id.clone()).or_default();
            (job.is_due, job.is_asked) = (true, false);
            if std::mem::take(&mut job.is_fixing) {
                // The tests are those of the task.
                return;
            }
            *job = Job { is_writing: spec.model.is_some(), is_due: true, rounds: spec.fix, ..Job::default() };
        }
        if spec.model.is_some() {
            self.signal(Signal::Write(Box::new(record.clone())));
        }
    }

    /// A session has come to rest, or was asked something while it was at rest.
    pub(super) fn at_rest(&self, record: &Record) {
        if !record.state.is_idle() {
            return;
        }
        let is_due = {
            let mut desk = self.lock();
            let Some(job) = desk.get_mut(&record.id).filter(|job| job.is_due && !job.is_asked) else {
                return;
            };
            (job.is_asked, job.is_fixing) = (true, false);
            if !record.reason.is_empty() {
                // Somebody stopped the agent, or it failed: it is not sent on.
                job.rounds = 0;
            }
            job.is_due = record.state == State::AwaitingReview && record.digest.is_some();
            job.is_due
        };
        match is_due {
            true => self.signal(Signal::Gate(record.id.clone())),
            false => self.tell(),
        }
    }

    /// Whether the gate has yet to say its word about a session's last turn.
    #[must_use]
    pub fn is_due(&self, session: &SessionId) -> bool {
        self.lock().get(session).is_some_and(|job| job.is_due)
    }

    /// Resolves whenever something has changed since the last time.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits until no tests are being written for a session.
    async fn written(&self, session: &SessionId) {
        let mut changes = self.changes();
        while self.lock().get(session).is_some_and(|job| job.is_writing) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Forgets a session.
    pub(super) fn forget(&self, session: &SessionId) {
        self.lock().remove(session);
        self.tell();
    }

    fn change(&self, session: &SessionId, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.lock().get_mut(session) {
            change(job);
        }
        self.tell();
    }

    fn signal(&self, signal: Signal) {
        // Without somebody who hears nothing is written, and the gate is never passed.
        let _gone = self.signals.send(signal);
    }

    fn tell(&self) {
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Job>> {
        // A panic elsewhere leaves everything here as it was: each is changed in one step.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does what sessions want to be done beside them, until it is dropped.
pub async fn serve(sessions: Arc<Sessions>) {
    let heard = sessions.parts().tests.heard.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut heard) = heard else { return };
    while let Some(signal) = heard.recv().await {
        let id = match &signal {
            Signal::Write(record) => record.id.clone(),
            Signal::Gate(id) => id.clone(),
        };
        let (stop, tasks) = sessions.parts().checks.enter(&id);
        let beside = Beside { sessions: Arc::clone(&sessions), id, stop };
        tasks.spawn(async move {
            match signal {
                Signal::Write(record) => beside.write(&record).await,
                Signal::Gate(_) => beside.gate().await,
            }
        });
    }
}

/// What is done beside one session.
#[derive(Clone)]
pub(super) struct Beside {
    sessions: Arc<Sessions>,
    id: SessionId,
    /// Ends all that is beside it.
    stop: CancellationToken,
}

impl Beside {
    /// Asks the gate about the turn's work, and tells the agent what fails as often as it may hear of it.
    async fn gate(self) {
        let parts = Arc::clone(self.sessions.parts());
        let mut ended = Vec::new();
        let word = tokio::select! {
            word = self.word(&mut ended) => word,
            () = self.stop.cancelled() => return parts.tests.change(&self.id, |job| job.is_due = false),
        };
        let goes_on = match word {
            Ok(Some((digest, false))) => self.fix(digest, &ended).await,
            Ok(_) => false,
            Err(error) => {
                let text = format!("the work was not tried, and is not called ready: {}", told(&error));
                self.note(Kind::Notice { level: Level::Warning, text }).await;
                false
            }
        };
        if !goes_on {
            parts.tests.change(&self.id, |job| job.is_due = false);
        }
    }

    /// What was tried, and whether it is ready; what ended is gathered.
    async fn word(&self, ended: &mut Vec<Ended>) -> Result<Option<(Digest, bool)>, Error> {
        let mut heard = self.sessions.test(&self.id, Trial::default()).await?;
        while let Some(tried) = heard.recv().await {
            match tried? {
                Tried::Ended(one) => ended.push(*one),
                Tried::Word { digest, word } => return Ok(Some((digest, word.ready))),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Has the session tell something.
    async fn note(&self, kind: Kind) {
        note(&self.sessions, &self.id, kind, &self.stop).await;
    }
}

/// Has a session tell something. One that is busy does so when its turn is over; nobody waits for that.
pub(super) async fn note(sessions: &Sessions, id: &SessionId, kind: Kind, stop: &CancellationToken) {
    sessions.parts().checks.note(id, kind);
    tokio::select! {
        // Refused by a busy session.
        _heard = sessions.ask(id, |reply| Command::HearChecks { reply }) => {}
        // Its task may be waiting for this one to end.
        () = stop.cancelled() => {}
    }
}

#[cfg(test)]
mod tests;
