//! What must outlive the daemon about sessions: records, events, snapshots' listing, trust.
//!
//! Owns the sled database beneath `FTL_HOME/db/`. Must not know what a session does.
//!
//! Durability: one thread writes. It takes everything that waits, applies it, flushes once, and only then
//! acknowledges; so nothing is shown to anyone that a killed daemon would forget, and a burst of events
//! costs one flush. One process has the database open: the daemon's lock file sees to that.

use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use ftl_core::event::Event;
use ftl_core::id::{SessionId, SnapshotId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// The database.
pub struct Db {
    trees: Trees,
    commits: Option<mpsc::Sender<Commit>>,
    committer: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Trees {
    db: sled::Db,
    events: sled::Tree,
    sessions: sled::Tree,
    snapshots: sled::Tree,
    trust: sled::Tree,
    left: sled::Tree,
}

/// What is written together.
#[derive(Default)]
pub struct Commit {
    /// New events, already numbered.
    pub events: Vec<Event>,
    /// The session's record after them, with the session's id.
    pub record: Option<(SessionId, Vec<u8>)>,
    /// Called in the writing thread once the commit is durable, or has failed.
    pub then: Option<Then>,
}

/// What is called with a commit's outcome.
pub type Then = Box<dyn FnOnce(Result<(), DbError>) + Send>;

/// A snapshot as it is listed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SnapshotRow {
    /// Its id.
    pub snapshot: SnapshotId,
    /// Project directory, absolute.
    pub project: ftl_core::event::Bytes,
    /// When it was first taken, microseconds since the Unix epoch.
    pub created_us: i64,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When it was fetched from the human's bucket, microseconds since the Unix epoch; 0 when it was taken here.
    #[serde(default)]
    pub pulled_us: i64,
}

/// Why the database cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DbError {
    /// sled refused.
    #[error("cannot {act} the session database")]
    Sled {
        /// What was tried.
        act: &'static str,
        /// Why not.
        #[source]
        source: sled::Error,
    },
    /// A stored value cannot be read.
    #[error("the session database holds an unreadable {what}")]
    Unreadable {
        /// What kind of value.
        what: &'static str,
        /// Why not.
        message: String,
    },
    /// The writing thread has ended.
    #[error("the session database is closed")]
    Closed,
}

/// Memory that sled may use for its cache, bytes. Its own default is a gigabyte.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// Commits that share one flush at most.
const BATCH: usize = 512;

// === impl Db ===

impl Db {
    /// Opens or makes the database beneath `dir`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(dir: &Path) -> Result<Self, DbError> {
        let db = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .open()
            .map_err(sled_error("open"))?;
        let tree = |name: &str| db.open_tree(name).map_err(sled_error("open"));
        let trees = Trees {
            events: tree("events")?,
            sessions: tree("sessions")?,
            snapshots: tree("snapshots")?,
            trust: tree("trust")?,
            left: tree("left")?,
            db,
        };
        let (commits, inbox) = mpsc::channel();
        let writer = trees.clone();
        let committer = std::thread::Builder::new()
            .name("ftl-db".into())
            .spawn(move || commit_all(&writer, &inbox))
            .map_err(|error| DbError::Unreadable { what: "thread", message: error.to_string() })?;
        Ok(Self { trees, commits: Some(commits), committer: Some(committer) })
    }

    /// Hands a commit to the writing thread; order is kept.
    pub fn commit(&self, commit: Commit) {
        let Some(commits) = &self.commits else { return };
        if let Err(mpsc::SendError(commit)) = commits.send(commit)
            && let Some(then) = commit.then
        {
            then(Err(DbError::Closed));
        }
    }

    /// Commits and waits until it is durable.
    ///
    /// # Errors
    /// When it may not be.
    pub async fn commit_durably(&self, mut commit: Commit) -> Result<(), DbError> {
        let (done, wait) = oneshot::channel();
        let earlier = commit.then.take();
        commit.then = Some(Box::new(move |result| {
            if let Some(earlier) = earlier {
                earlier(result.clone());
            }
            // The caller may have gone away; the commit stands all the same.
            let _gone = done.send(result);
        }));
        self.commit(commit);
        wait.await.unwrap_or(Err(DbError::Closed))
    }

    /// A session's events from `from` on, at most `limit`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn events(&self, session: &SessionId, from: u64, limit: usize) -> Result<Vec<Event>, DbError> {
        let first = event_key(session, from);
        let last = event_key(session, u64::MAX);
        let rows = self.trees.events.range(first..=last).values().take(limit);
        rows.map(|row| decode(&row.map_err(sled_error("read"))?, "event")).collect()
    }

    /// The number of a session's newest event; 0 when it has none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last_seq(&self, session: &SessionId) -> Result<u64, DbError> {
        let (first, last) = (event_key(session, 0), event_key(session, u64::MAX));
        let Some(row) = self.trees.events.range(first..=last).next_back() else { return Ok(0) };
        let (key, _) = row.map_err(sled_error("read"))?;
        let tail =
            key.len().checked_sub(8).and_then(|at| key.get(at..)).and_then(|tail| tail.try_into().ok());
        tail.map(u64::from_be_bytes)
            .ok_or_else(|| DbError::Unreadable { what: "event key", message: format!("{} bytes", key.len()) })
    }

    /// The stored records whose session id begins with `prefix`, by id.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn records<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<T>, DbError> {
        let rows = self.trees.sessions.scan_prefix(prefix.as_bytes()).values();
        rows.map(|row| decode(&row.map_err(sled_error("read"))?, "session record")).collect()
    }

    /// Forgets a session and its events.
    ///
    /// # Errors
    /// When it may still be there.
    pub fn forget(&self, session: &SessionId) -> Result<(), DbError> {
        let mut batch = sled::Batch::default();
        let (first, last) = (event_key(session, 0), event_key(session, u64::MAX));
        for key in self.trees.events.range(first..=last).keys() {
            batch.remove(key.map_err(sled_error("read"))?);
        }
        self.trees.sessions.remove(session.as_str()).map_err(sled_error("write"))?;
        self.trees.events.apply_batch(batch).map_err(sled_error("write"))?;
        self.flush()
    }

    /// Keeps a value beyond the session it is of. Durable with the next commit or [`Self::flush`].
    ///
    /// # Errors
    /// When it may not be stored.
    pub fn leave(&self, time_us: i64, name: &str, value: &[u8]) -> Result<(), DbError> {
        let key = [&left_key(time_us)[..], name.as_bytes()].concat();
        self.trees.left.insert(key, value).map_err(sled_error("write"))?;
        Ok(())
    }

    /// All that was left, oldest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn left<T: DeserializeOwned>(&self, what: &'static str) -> Result<Vec<T>, DbError> {
        let rows = self.trees.left.iter().values();
        rows.map(|row| decode(&row.map_err(sled_error("read"))?, what)).collect()
    }

    /// Forgets what was left and is of before a time. Durable with the next commit or [`Self::flush`].
    ///
    /// # Errors
    /// When it may still be there.
    pub fn forget_left(&self, before_us: i64) -> Result<(), DbError> {
        let mut batch = sled::Batch::default();
        for key in self.trees.left.range(..left_key(before_us).to_vec()).keys() {
            batch.remove(key.map_err(sled_error("read"))?);
        }
        self.trees.left.apply_batch(batch).map_err(sled_error("write"))
    }

    /// Lists a snapshot; one that is listed already keeps its first time, but one that was fetched is here since
    /// it was fetched last. On the disk for good with the next commit or [`Self::flush`].
    ///
    /// # Errors
    /// When it may not be listed.
    pub fn list_snapshot(&self, row: &SnapshotRow) -> Result<(), DbError> {
        let key = snapshot_key(row);
        let value = encode(row, "snapshot row")?;
        let pulled_us =
            |value: &[u8]| decode(value, "snapshot row").map_or(0, |row: SnapshotRow| row.pulled_us);
        let next = |old: Option<&[u8]>| match old {
            Some(old) if pulled_us(old) == 0 || row.pulled_us == 0 => Some(old.to_vec()),
            _ => Some(value.clone()),
        };
        self.trees.snapshots.update_and_fetch(key, next).map_err(sled_error("write"))?;
        Ok(())
    }

    /// Takes snapshots off the list; durable on return.
    ///
    /// # Errors
    /// When they may still be there.
    pub fn unlist_snapshots(&self, rows: &[SnapshotRow]) -> Result<(), DbError> {
        let mut batch = sled::Batch::default();
        rows.iter().for_each(|row| batch.remove(snapshot_key(row)));
        self.trees.snapshots.apply_batch(batch).map_err(sled_error("write"))?;
        self.flush()
    }

    /// Listed snapshots whose id begins with `prefix`, in no particular order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn snapshots(&self, prefix: &str) -> Result<Vec<SnapshotRow>, DbError> {
        let rows = self.trees.snapshots.scan_prefix(prefix.as_bytes()).values();
        rows.map(|row| decode(&row.map_err(sled_error("read"))?, "snapshot row")).collect()
    }

    /// The configuration digest that the human trusts for a project.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn trusted(&self, project: &[u8]) -> Result<Option<ftl_core::id::Hash>, DbError> {
        let row = self.trees.trust.get(project).map_err(sled_error("read"))?;
        row.map(|value| decode(&value, "trusted digest")).transpose()
    }

    /// Sets or clears the trusted digest of a project; durable on return.
    ///
    /// # Errors
    /// When it may not be stored.
    pub fn trust(&self, project: &[u8], digest: Option<ftl_core::id::Hash>) -> Result<(), DbError> {
        match digest {
            Some(digest) => self.trees.trust.insert(project, encode(&digest, "trusted digest")?),
            None => self.trees.trust.remove(project),
        }
        .map_err(sled_error("write"))?;
        self.flush()
    }

    /// Forces everything that was written to the disk.
    ///
    /// # Errors
    /// When it may not be there.
    pub fn flush(&self) -> Result<(), DbError> {
        self.trees.db.flush().map(drop).map_err(sled_error("flush"))
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        drop(self.commits.take());
        if let Some(committer) = self.committer.take() {
            // A panic in the writing thread has been reported by then.
            let _panicked = committer.join();
        }
    }
}

// === the writing thread ===

fn commit_all(trees: &Trees, inbox: &mpsc::Receiver<Commit>) {
    while let Ok(first) = inbox.recv() {
        let mut batch = vec![first];
        batch.extend(inbox.try_iter().take(BATCH - 1));
        let result = batch
            .iter()
            .try_for_each(|commit| write(trees, commit))
            .and_then(|()| trees.db.flush().map(drop).map_err(sled_error("flush")));
        if let Err(error) = &result {
            tracing::error!(%error, "sessions could not be stored");
        }
        for then in batch.into_iter().filter_map(|commit| commit.then) {
            then(result.clone());
        }
    }
}

fn write(trees: &Trees, commit: &Commit) -> Result<(), DbError> {
    // The record first: whoever sees an event also sees what it led to.
    if let Some((id, record)) = &commit.record {
        trees.sessions.insert(id.as_str(), record.as_slice()).map_err(sled_error("write"))?;
    }
    for event in &commit.events {
        let key = event_key(&event.session, event.seq);
        trees.events.insert(key, encode(event, "event")?).map_err(sled_error("write"))?;
    }
    Ok(())
}

fn snapshot_key(row: &SnapshotRow) -> Vec<u8> {
    let mut key = row.snapshot.to_string().into_bytes();
    key.extend_from_slice(&row.project.0);
    key
}

/// In the order of time, from the epoch on.
fn left_key(time_us: i64) -> [u8; 8] {
    u64::try_from(time_us).unwrap_or_default().to_be_bytes()
}

fn event_key(session: &SessionId, seq: u64) -> Vec<u8> {
    [session.as_str().as_bytes(), &[0], &seq.to_be_bytes()].concat()
}

/// The stored form of a value.
///
/// # Errors
/// When it has none.
pub fn encode<T: Serialize>(value: &T, what: &'static str) -> Result<Vec<u8>, DbError> {
    serde_json::to_vec(value).map_err(|error| DbError::Unreadable { what, message: error.to_string() })
}

/// A value from its stored form.
///
/// # Errors
/// When the bytes are not one.
pub fn decode<T: DeserializeOwned>(value: &[u8], what: &'static str) -> Result<T, DbError> {
    serde_json::from_slice(value).map_err(|error| DbError::Unreadable { what, message: error.to_string() })
}

fn sled_error(act: &'static str) -> impl FnOnce(sled::Error) -> DbError {
    move |source| DbError::Sled { act, source }
}
