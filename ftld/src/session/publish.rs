//! Telling: numbers a session's events, makes them durable, then wakes the watchers.
//!
//! Owns the order "durable, then shown" and the sequence numbers. Must not know what an event means.
//!
//! Watchers hold no queue that could overflow: they are told how far the stored events reach and read
//! them from the database, so a slow one is late and never misses anything.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ftl_core::event::{Event, Kind};
use ftl_core::id::SessionId;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::db::{Commit, Db, DbError};

/// Shared by all sessions.
pub struct Publisher {
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    heads: Arc<Mutex<HashMap<SessionId, watch::Sender<u64>>>>,
}

/// One session's voice. Only the session's own task has it.
pub struct Teller {
    session: SessionId,
    next_seq: u64,
    /// Events since the last time that the session waited for them to be durable.
    untold: u32,
    publisher: Arc<Publisher>,
}

/// Events that a session may be ahead of the disk.
const AHEAD: u32 = 64;

// === impl Publisher ===

impl Publisher {
    /// A publisher over a database.
    #[must_use]
    pub fn new(db: Arc<Db>, clock: Arc<dyn Clock>) -> Self {
        Self { db, clock, heads: Arc::default() }
    }

    /// The voice of a session.
    ///
    /// # Errors
    /// When the stored events cannot be read.
    pub fn teller(self: &Arc<Self>, session: &SessionId) -> Result<Teller, DbError> {
        let last = self.db.last_seq(session)?;
        self.head_sender(session, last);
        Ok(Teller { session: session.clone(), next_seq: last + 1, untold: 0, publisher: Arc::clone(self) })
    }

    /// How far a session's stored events reach, now and whenever it changes. Closed when the session is
    /// forgotten.
    ///
    /// # Errors
    /// When the stored events cannot be read.
    pub fn head(&self, session: &SessionId) -> Result<watch::Receiver<u64>, DbError> {
        let last = self.db.last_seq(session)?;
        self.head_sender(session, last);
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(heads.get(session).map_or_else(|| watch::channel(last).1, watch::Sender::subscribe))
    }

    /// Ends the watching of a session that is forgotten.
    pub fn forget(&self, session: &SessionId) {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).remove(session);
    }

    /// Ends the watching of every session: the daemon ends.
    pub fn close(&self) {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn head_sender(&self, session: &SessionId, last: u64) {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.entry(session.clone()).or_insert_with(|| watch::channel(last).0);
    }
}

// === impl Teller ===

impl Teller {
    /// The number of the newest event.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }

    /// Tells something whose loss at a crash would only shorten the story: it becomes durable and shown
    /// in order, and nobody waits for it, except that every so often the session waits for all of it:
    /// an agent that talks faster than the disk writes is slowed down instead of filling the memory.
    pub async fn tell(&mut self, kind: Kind) {
        let commit = self.commit(vec![kind], None);
        self.untold += 1;
        if self.untold < AHEAD {
            return self.publisher.db.commit(commit);
        }
        self.untold = 0;
        if let Err(error) = self.publisher.db.commit_durably(commit).await {
            // The next step of the session waits for its own commit and fails then.
            tracing::error!(session = %self.session, %error, "events could not be stored");
        }
    }

    /// Tells facts together with the session's record after them; nobody waits for it. Whatever is told
    /// durably later is durable only together with it.
    pub fn tell_with(&mut self, kinds: Vec<Kind>, record: Vec<u8>) {
        let commit = self.commit(kinds, Some(record));
        self.publisher.db.commit(commit);
    }

    /// Tells facts together with the session's record after them; returns when they are durable.
    ///
    /// # Errors
    /// When they may not be.
    pub async fn tell_durably(&mut self, kinds: Vec<Kind>, record: Vec<u8>) -> Result<(), DbError> {
        let commit = self.commit(kinds, Some(record));
        self.publisher.db.commit_durably(commit).await
    }

    fn commit(&mut self, kinds: Vec<Kind>, record: Option<Vec<u8>>) -> Commit {
        let time_us = self.publisher.clock.now_us();
        let events: Vec<Event> = kinds
            .into_iter()
            .map(|kind| {
                let seq = self.next_seq;
                self.next_seq += 1;
                Event { session: self.session.clone(), seq, time_us, kind }
            })
            .collect();
        let last = self.last_seq();
        let heads = Arc::clone(&self.publisher.heads);
        let session = self.session.clone();
        Commit {
            events,
            record: record.map(|record| (self.session.clone(), record)),
            then: Some(Box::new(move |result| {
                if result.is_ok() {
                    let heads = heads.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(head) = heads.get(&session) {
                        head.send_if_modified(|seen| std::mem::replace(seen, last.max(*seen)) < last);
                    }
                }
            })),
        }
    }
}
