//! What was found out about changes before, so that nothing is looked at twice.
//!
//! Owns how long that is kept: for the sessions that were looked at last, within limits. What is kept depends on
//! all that an appraisal depends on ([`Key`]). Must not know how anything is looked at.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ftl_core::diff::Change;
use ftl_core::id::{Hash, SessionId};
use ftl_core::refuse::Around;
use ftl_core::tree::{Node, RelPath};

use super::appraise::Appraisal;
use crate::merge::Seen;

/// Sessions of which something is kept.
const SESSIONS: usize = 4;
/// Bytes of lines that are kept of a session at most.
const BYTES: u64 = 64 << 20;
/// Appraisals of one path: as the session made the change, and as the project has it by now.
const OF_A_PATH: usize = 2;

/// What is kept, by session.
#[derive(Default)]
pub struct Memory(Mutex<VecDeque<(SessionId, Arc<Looked>)>>);

/// What is kept of one session.
#[derive(Default)]
pub struct Looked {
    found: Mutex<Found>,
    /// What the project had at paths.
    pub(super) seen: Mutex<Seen>,
    /// How often contents were compared.
    pub(super) compared: AtomicU64,
    /// How often a content was read.
    pub(super) read: AtomicU64,
}

#[derive(Default)]
struct Found {
    paths: HashMap<RelPath, VecDeque<(Key, Appraisal)>>,
    bytes: u64,
}

/// All that an appraisal depends on. Contents are told by their hashes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Key {
    pub(super) change: Change,
    pub(super) around: Around,
    pub(super) renamed: Option<Node>,
    /// What was searched for.
    pub(super) known: Option<Hash>,
}

impl Memory {
    /// What is kept of a session.
    #[must_use]
    pub fn of(&self, session: &SessionId) -> Arc<Looked> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = all.iter().position(|(id, _)| id == session);
        let one = at.and_then(|at| all.remove(at)).unwrap_or_else(|| (session.clone(), Arc::default()));
        let looked = Arc::clone(&one.1);
        all.push_front(one);
        all.truncate(SESSIONS);
        looked
    }
}

impl Looked {
    /// What was found out about this change.
    pub(super) fn get(&self, key: &Key) -> Option<Appraisal> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = found.paths.get(&key.change.path)?;
        kept.iter().find(|(known, _)| known == key).map(|(_, appraisal)| appraisal.clone())
    }

    /// Keeps what was found out.
    pub(super) fn put(&self, key: Key, appraisal: &Appraisal) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = weight(appraisal);
        if found.bytes.saturating_add(bytes) > BYTES {
            *found = Found::default();
        }
        if bytes > BYTES {
            return;
        }
        found.bytes += bytes;
        let kept = found.paths.entry(key.change.path.clone()).or_default();
        kept.push_front((key, appraisal.clone()));
        let old = if kept.len() > OF_A_PATH { kept.pop_back() } else { None };
        found.bytes -= old.map_or(0, |(_, old)| weight(&old));
    }

    /// How often contents were compared and read so far.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.compared.load(Ordering::Relaxed), self.read.load(Ordering::Relaxed))
    }
}

fn weight(appraisal: &Appraisal) -> u64 {
    let lines = appraisal.hunks.hunks.iter().flat_map(|hunk| &hunk.lines);
    lines.map(|line| line.text.len() as u64 + 64).sum::<u64>() + 512
}
