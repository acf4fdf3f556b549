//! Questions that a waiting request has for the human.
//!
//! Owns their numbers, who could answer, and how long they wait. Must not know what becomes of an
//! answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ftl_core::egress::rule::Rule;
use tokio::sync::oneshot;

/// The questions of one session.
#[derive(Default)]
pub struct Asks {
    next: AtomicU64,
    watching: Arc<AtomicUsize>,
    open: Mutex<HashMap<u64, Open>>,
}

/// A question that waits.
struct Open {
    rule: Rule,
    sender: oneshot::Sender<Answered>,
}

/// What a question came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answered {
    /// This request alone.
    Once,
    /// For the rest of the session.
    Session,
    /// For the project from now on.
    Always,
    /// The human said no.
    No,
    /// Nobody was there, or nobody answered in time.
    Nobody,
}

/// Somebody who can answer watches as long as this lives.
pub struct Watching(Arc<AtomicUsize>);

/// How long a request waits for the human.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Questions that wait at once; more requests than these are refused without a question.
const MOST: usize = 8;

impl Asks {
    /// Notes that somebody watches who can answer.
    #[must_use]
    pub fn watch(&self) -> Watching {
        self.watching.fetch_add(1, Ordering::Relaxed);
        Watching(Arc::clone(&self.watching))
    }

    /// Whether somebody watches who can answer.
    pub(super) fn is_watched(&self) -> bool {
        self.watching.load(Ordering::Relaxed) > 0
    }

    /// Opens a question about what a rule would allow; `None` when nobody could answer it.
    pub(super) fn open(&self, rule: Rule) -> Option<(u64, oneshot::Receiver<Answered>)> {
        if !self.is_watched() {
            return None;
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MOST {
            return None;
        }
        let ask = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, answer) = oneshot::channel();
        open.insert(ask, Open { rule, sender });
        Some((ask, answer))
    }

    /// Takes the human's answer; whether somebody still waited for it.
    pub fn answer(&self, ask: u64, answered: Answered) -> bool {
        let waiting = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&ask);
        waiting.is_some_and(|waiting| waiting.sender.send(answered).is_ok())
    }

    /// The rule that a question is about; `None` when it no longer waits.
    #[must_use]
    pub fn rule(&self, ask: u64) -> Option<Rule> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&ask).map(|open| open.rule.clone())
    }

    /// A question that is no longer waited for.
    pub(super) fn close(&self, ask: u64) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&ask);
    }

    /// The turn ends: nothing waits any more.
    pub(super) fn dismiss(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Answered {
    /// Its name in events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Session => "session",
            Self::Always => "always",
            Self::No => "no",
            Self::Nobody => "nobody",
        }
    }
}
