//! One session's way out.
//!
//! Owns what belongs to exactly one session: its certificate authority, its connections to the hosts, its
//! counts and synthetic names, and what is under way. Must not know how a request is judged.

use std::sync::{Arc, Mutex};

use ftl_core::egress::host::Host;
use ftl_core::egress::policy::{HostVerdict, Policy, Reason};
use ftl_core::egress::rate::Bucket;
use ftl_core::egress::synthetic::SyntheticNames;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::NowUs;
use super::ca::SessionCa;
use super::guard::{Guard, What};
use super::limits::{Ahead, Limits, Rates, Volume};
use super::live::Live;
use super::names::Lookups;
use super::refusal::Refusal;
use super::trust::Trust;
use super::upstream::Upstream;
use super::{listen, names};
use crate::pipe::{Incoming, Pipe};

/// One session's way out. Dropping it does not end what is under way; cancelling [`Self::serve`] does.
pub struct Gateway {
    shared: Arc<Shared>,
    trust: Trust,
}

/// What every connection of a session uses.
pub(super) struct Shared {
    pub(super) guard: Arc<dyn Guard>,
    pub(super) ca: SessionCa,
    pub(super) upstream: Upstream,
    pub(super) limits: Limits,
    pub(super) now_us: NowUs,
    pub(super) live: Arc<Live>,
    pub(super) rates: Rates,
    pub(super) volume: Arc<Volume>,
    pub(super) ahead: Ahead,
    pub(super) lookups: Lookups,
    pub(super) names: Mutex<SyntheticNames>,
    pub(super) questions: Option<Mutex<Bucket>>,
    pub(super) connections: Arc<Semaphore>,
    pub(super) requests: Arc<Semaphore>,
    /// Everything that was begun for the session.
    pub(super) tasks: TaskTracker,
    /// Is cancelled when the session has ended.
    pub(super) ended: CancellationToken,
}

/// What a gateway is made of.
pub(super) struct Parts {
    pub(super) guard: Arc<dyn Guard>,
    pub(super) ca: SessionCa,
    pub(super) upstream: Upstream,
    pub(super) limits: Limits,
    pub(super) now_us: NowUs,
    /// Room for bodies, shared by all sessions.
    pub(super) room: Arc<Semaphore>,
}

impl Gateway {
    pub(super) fn new(parts: Parts, trust: Trust) -> Self {
        let Parts { guard, ca, upstream, limits, now_us, room } = parts;
        let now = now_us();
        let shared = Shared {
            guard,
            ca,
            upstream,
            live: Arc::default(),
            rates: Rates::default(),
            volume: Arc::new(Volume::new(limits.upload_per_minute, now)),
            ahead: Ahead::new(limits.ahead, room),
            lookups: Lookups::default(),
            names: Mutex::new(SyntheticNames::new()),
            questions: limits.names.map(|limit| Mutex::new(Bucket::new(limit, now))),
            connections: Arc::new(Semaphore::new(limits.connections)),
            requests: Arc::new(Semaphore::new(limits.requests)),
            tasks: TaskTracker::new(),
            ended: CancellationToken::new(),
            limits,
            now_us,
        };
        Self { shared: Arc::new(shared), trust }
    }

    /// The files that make the sandbox's programs accept the session's certificates.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Serves what arrives on the pipe until it ends or `cancel` is; returns when everything that was under
    /// way is closed. Called once.
    pub async fn serve(&self, pipe: Pipe, cancel: CancellationToken) {
        let Pipe { proxy, transparent, names } = pipe;
        let shared = &self.shared;
        let arrivals = async {
            let transparent = async {
                if let Some(transparent) = transparent {
                    accept(shared, transparent, true).await;
                }
            };
            tokio::join!(accept(shared, proxy, false), transparent, names::serve(shared, names));
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = arrivals => {}
        }
        shared.ended.cancel();
        shared.upstream.clear();
        shared.tasks.close();
        shared.tasks.wait().await;
    }

    /// The rules or credentials changed: what is under way and no longer allowed is closed, and so are the
    /// connections to hosts that no rule allows any more.
    pub fn policy_changed(&self) {
        let (policy, held) = (self.shared.guard.policy(), self.shared.guard.held());
        let kept = self.shared.live.review(&policy, &held);
        self.shared.upstream.close_where(|route| {
            !kept.contains(route.authority()) && !reachable(&policy, &route.authority().host)
        });
    }
}

fn reachable(policy: &Policy, host: &Host) -> bool {
    matches!(policy.could_reach(host), HostVerdict::Reachable)
}

/// Takes connections until there are no more.
async fn accept(shared: &Arc<Shared>, mut incoming: Box<dyn Incoming>, redirected: bool) {
    while let Ok(arrived) = incoming.accept().await {
        let Ok(slot) = Arc::clone(&shared.connections).try_acquire_owned() else {
            let refusal = Refusal::because(Reason::TooMany, "the connection is closed");
            shared.guard.refused(&refusal.of(What::Connection, None));
            continue;
        };
        let inner = Arc::clone(shared);
        shared.spawn(async move {
            listen::serve(inner, arrived, redirected, Arc::new(slot)).await;
        });
    }
}

impl Shared {
    /// Runs something until it or the session ends.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = task => {}
            }
        });
    }
}
