//! Which checks are under way, what is known of earlier ones, and what sessions have yet to tell of them.
//!
//! Owns that every check ends with its session and with the daemon, and that what is known is known of exact bytes
//! and a command. Must not know how a check is run.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ftl_core::event::Kind;
use ftl_core::id::{Digest, Hash, SessionId, SnapshotId};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::packages::Kept;
use crate::verify::Run;

/// Every check of the daemon.
pub struct Checks {
    end: CancellationToken,
    places: Semaphore,
    desk: Mutex<Desk>,
    /// What projects have installed.
    pub(super) packages: Kept,
}

#[derive(Default)]
struct Desk {
    running: HashMap<SessionId, Running>,
    /// The newest last.
    known: VecDeque<(Key, Known)>,
    untold: HashMap<SessionId, Vec<Kind>>,
}

/// A session's checks.
#[derive(Clone)]
struct Running {
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What a run is of: the project, the selection over it unless that is left out, the command, and where it runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Key {
    pub(super) base: SnapshotId,
    pub(super) digest: Option<Digest>,
    pub(super) command: String,
    /// What the project has installed.
    pub(super) packages: Option<Hash>,
    /// What is run before it.
    pub(super) setup: Option<String>,
    pub(super) sandbox: String,
    /// Memory that it may use, MiB: what fails for want of it is another outcome.
    pub(super) memory_mb: u64,
}

/// What is known of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Known {
    pub(super) run: Run,
    pub(super) elapsed_us: u64,
}

/// Runs that are remembered.
const REMEMBERED: usize = 200;
/// Runs at once. Each of them may use the whole machine.
const AT_ONCE: usize = 2;

impl Default for Checks {
    fn default() -> Self {
        Self {
            end: CancellationToken::new(),
            places: Semaphore::new(AT_ONCE),
            desk: Mutex::default(),
            packages: Kept::default(),
        }
    }
}

impl Checks {
    /// Lets checks of a session begin: what ends them with the session, and what counts them.
    pub(super) fn enter(&self, session: &SessionId) -> (CancellationToken, TaskTracker) {
        let mut desk = self.lock();
        let running = desk
            .running
            .entry(session.clone())
            .or_insert_with(|| Running { stop: self.end.child_token(), tasks: TaskTracker::new() });
        (running.stop.clone(), running.tasks.clone())
    }

    /// A place to run in.
    pub(super) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.acquire().await.ok()
    }

    /// A place to run in, when one is free.
    pub(super) fn free_place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.try_acquire().ok()
    }

    /// What is known of a run.
    pub(super) fn known(&self, key: &Key) -> Option<Known> {
        let desk = self.lock();
        desk.known.iter().rev().find(|(known, _)| known == key).map(|(_, known)| known.clone())
    }

    /// Remembers a run.
    pub(super) fn remember(&self, key: Key, known: Known) {
        let mut desk = self.lock();
        desk.known.retain(|(other, _)| *other != key);
        if desk.known.len() >= REMEMBERED {
            desk.known.pop_front();
        }
        desk.known.push_back((key, known));
    }

    /// Keeps something for the session's task to tell.
    pub(super) fn note(&self, session: &SessionId, kind: Kind) {
        self.lock().untold.entry(session.clone()).or_default().push(kind);
    }

    /// What a session has yet to tell.
    pub(super) fn untold(&self, session: &SessionId) -> Vec<Kind> {
        self.lock().untold.remove(session).unwrap_or_default()
    }

    /// Ends a session's checks for good. When this returns nothing of them is left.
    pub(super) async fn end(&self, session: &SessionId) {
        let running = self.lock().running.get(session).cloned();
        if let Some(Running { stop, tasks }) = running {
            stop.cancel();
            tasks.close();
            tasks.wait().await;
        }
        let mut desk = self.lock();
        desk.running.remove(session);
        desk.untold.remove(session);
    }

    /// Ends every check: the daemon ends. When this returns nothing of them is left.
    pub(super) async fn close(&self) {
        self.end.cancel();
        let running: Vec<Running> = self.lock().running.values().cloned().collect();
        for Running { tasks, .. } in running {
            tasks.close();
            tasks.wait().await;
        }
        self.packages.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        // A panic elsewhere leaves everything here as it was: each is changed in one step.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use ftl_core::id::Hash;
    use ftl_core::verify::Outcome;

    use super::*;

    fn key(number: u32) -> Key {
        let base = SnapshotId(Hash::of(&number.to_le_bytes()));
        let command = "make test".into();
        Key {
            base,
            digest: None,
            command,
            packages: None,
            setup: None,
            sandbox: "native".into(),
            memory_mb: 9,
        }
    }

    fn known(elapsed_us: u64) -> Known {
        Known { run: Run { outcome: Outcome::Passed, tail: Vec::new() }, elapsed_us }
    }

    #[test]
    fn what_is_known_is_known_of_these_bytes_and_this_command_only() {
        let checks = Checks::default();
        checks.remember(key(1), known(1));
        assert_eq!(checks.known(&key(1)), Some(known(1)));
        let digest = Some(Digest(Hash::of(b"x")));
        for other in [
            key(2),
            Key { digest, ..key(1) },
            Key { command: "make".into(), ..key(1) },
            Key { sandbox: "docker".into(), ..key(1) },
            Key { packages: Some(Hash::of(b"x")), ..key(1) },
            Key { setup: Some("npm ci".into()), ..key(1) },
            Key { memory_mb: 8, ..key(1) },
        ] {
            assert_eq!(checks.known(&other), None, "{other:?}");
        }
        checks.remember(key(1), known(2));
        assert_eq!(checks.known(&key(1)), Some(known(2)));
        for number in 0..1000 {
            checks.remember(key(number), known(3));
        }
        assert_eq!(checks.lock().known.len(), REMEMBERED);
    }

    #[tokio::test]
    async fn a_sessions_checks_end_with_it_and_all_end_with_the_daemon() {
        let checks = Checks::default();
        let ids = [1, 2].map(|number| SessionId::from_random([number; 10]));
        let [first, second] = ids.clone().map(|id| {
            let (stop, tasks) = checks.enter(&id);
            let ended = stop.clone();
            tasks.spawn(async move { ended.cancelled().await });
            stop
        });
        checks.end(&ids[0]).await;
        assert!(first.is_cancelled() && !second.is_cancelled());
        checks.close().await;
        assert!(second.is_cancelled());
        assert!(checks.enter(&ids[0]).0.is_cancelled(), "nothing begins any more");
    }
}
