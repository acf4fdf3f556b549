//! What is under way.
//!
//! Owns the list of requests that were forwarded and have not ended, so that each can be judged again when
//! rules or credentials change, and the promise that what was recorded is settled once, however it ends.
//! Must not know bodies or connections; they hold an [`Underway`] for as long as they last.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ftl_core::credential::CredentialName;
use ftl_core::credential::slots::Held;
use ftl_core::egress::host::Authority;
use ftl_core::egress::path::CanonicalPath;
use ftl_core::egress::policy::{Facts, Policy, Verdict};
use ftl_core::egress::rule::Scheme;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::guard::{End, Guard, Outcome, Stage};

/// What a request was allowed on.
#[derive(Clone, Debug)]
pub(super) struct Basis {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
    pub(super) method: String,
    pub(super) path: CanonicalPath,
    /// Whether the human allowed this one although no rule does.
    pub(super) once: bool,
    /// Credentials that travel with it.
    pub(super) credentials: Vec<CredentialName>,
}

/// Everything that is under way in a session.
#[derive(Default)]
pub(super) struct Live {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    next: u64,
    all: HashMap<u64, (Basis, CancellationToken)>,
}

/// A place in the list; dropping it gives the place up.
pub(super) struct Place {
    live: Arc<Live>,
    key: u64,
    /// Is cancelled when the request is to be closed.
    pub(super) token: CancellationToken,
}

/// A request that was recorded and is under way. When the last holder drops it, it is settled.
pub(super) struct Underway {
    guard: Arc<dyn Guard>,
    id: u64,
    left: AtomicBool,
    status: AtomicU16,
    up: AtomicU64,
    down: AtomicU64,
    end: OnceLock<End>,
    place: Place,
    _slot: OwnedSemaphorePermit,
}

impl Basis {
    /// What the rules say about it now.
    pub(super) fn judge(&self, policy: &Policy) -> Verdict {
        let facts =
            Facts { scheme: self.scheme, authority: &self.authority, method: &self.method, path: &self.path };
        if self.once { policy.decide_once(&facts) } else { policy.decide(&facts) }
    }

    /// Whether the rules still allow it, and every credential of it is still held.
    fn stands(&self, policy: &Policy, held: &Held) -> bool {
        self.judge(policy).is_allow() && self.credentials.iter().all(|name| held.grant(name).is_some())
    }
}

impl Live {
    /// Puts a request on the list. Its token is a child of `session`.
    pub(super) fn register(self: &Arc<Self>, basis: Basis, session: &CancellationToken) -> Place {
        let token = session.child_token();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.next += 1;
        let key = entries.next;
        entries.all.insert(key, (basis, token.clone()));
        Place { live: Arc::clone(self), key, token }
    }

    /// Closes what no longer stands. Gives the hosts of what does.
    pub(super) fn review(&self, policy: &Policy, held: &Held) -> Vec<Authority> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = Vec::new();
        for (basis, token) in entries.all.values() {
            if basis.stands(policy, held) {
                kept.push(basis.authority.clone());
            } else {
                token.cancel();
            }
        }
        kept
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut entries = self.live.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.all.remove(&self.key);
    }
}

impl Underway {
    /// A request that was recorded under this number.
    pub(super) fn new(guard: Arc<dyn Guard>, id: u64, place: Place, slot: OwnedSemaphorePermit) -> Self {
        Self {
            guard,
            id,
            left: AtomicBool::new(false),
            status: AtomicU16::new(0),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            end: OnceLock::new(),
            place,
            _slot: slot,
        }
    }

    pub(super) fn token(&self) -> &CancellationToken {
        &self.place.token
    }

    /// It is about to be written to a connection.
    pub(super) fn leaving(&self) {
        if !self.left.swap(true, Ordering::Relaxed) {
            self.guard.leaving(self.id);
        }
    }

    /// How far it has come.
    pub(super) fn stage(&self) -> Stage {
        if self.left.load(Ordering::Relaxed) { Stage::Left } else { Stage::Recorded }
    }

    pub(super) fn set_status(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    pub(super) fn add_up(&self, bytes: usize) {
        self.up.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn add_down(&self, bytes: usize) {
        self.down.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Says how it ended; the first to say so counts.
    pub(super) fn finish(&self, end: End) {
        let _ = self.end.set(end);
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let cut = if self.place.token.is_cancelled() { End::Revoked } else { End::Broken };
        let outcome = Outcome {
            status: self.status.load(Ordering::Relaxed),
            up: self.up.load(Ordering::Relaxed),
            down: self.down.load(Ordering::Relaxed),
            end: self.end.get().copied().unwrap_or(cut),
        };
        self.guard.settle(self.id, &outcome);
    }
}
