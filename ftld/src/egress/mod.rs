//! The egress proxy: the only way out of a sandbox.
//!
//! Owns every byte between a sandbox's pipe and the hosts it may reach: classification, TLS on both
//! sides, the one pipeline that every request passes. Must not know sessions, secrets' sources or
//! sandboxes: it is given a pipe and a guard that speaks for the session.
//!
//! ```text
//! pipe ─> listen ─> gate ─> exchange ─> send ─> upstream ─> dial
//!         what is it  one    where, may  credentials         the checked
//!         and for     reading it, record last                address
//! ```
//!
//! Reading order: [`guard`] (what a session says and hears), `gateway` (what belongs to one session),
//! `listen` and `gate` (from bytes to requests), `exchange` (the one way out) and `send` (its last steps),
//! with `target`, `headers`, `body`, `live`, `tunnel` and `refusal`; [`ca`] (what the sandbox's programs are
//! shown as certificates), [`trust`] (how they come to accept them), [`resolve`], [`dial`] and [`upstream`]
//! (the way to the real hosts).

pub mod alpn;
mod body;
pub mod ca;
pub mod dial;
mod exchange;
mod gate;
mod gateway;
pub mod guard;
mod headers;
mod limits;
mod listen;
mod live;
mod names;
mod refusal;
pub mod resolve;
mod send;
mod target;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod trust;
mod tunnel;
pub mod upstream;

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use ftl_core::egress::policy::Permit;

use self::alpn::Alpn;
use self::ca::{CaError, SessionCa};
use self::dial::{DialConfig, DialError, Dialer, Route};
pub use self::gateway::Gateway;
use self::gateway::Parts;
use self::guard::Guard;
pub use self::limits::Limits;
use self::resolve::Resolver;
use self::trust::{HostRoots, Trust};
use self::upstream::Upstream;
use tokio::sync::Semaphore;

/// Tells the wall time, microseconds since the Unix epoch.
pub type NowUs = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What the daemon's own options say about egress. Nothing of a project comes in here.
pub struct EgressConfig {
    /// Roots and addresses for dialling, beside the host's own.
    pub dial: DialConfig,
    /// Answers names; the host's own resolver when there is none here.
    pub resolver: Option<Arc<dyn Resolver>>,
    /// The limits of each session.
    pub limits: Limits,
    /// The clock.
    pub now_us: NowUs,
}

/// The egress proxy of the daemon.
pub struct Egress {
    dialer: Arc<Dialer>,
    limits: Limits,
    now_us: NowUs,
    /// Room for bodies that are held as a whole.
    room: Arc<Semaphore>,
    /// Read for the first session.
    roots: OnceLock<HostRoots>,
}

/// Why there is no way out.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The session's certificate authority cannot be made.
    #[error("cannot make the session's certificate authority")]
    Ca(#[from] CaError),
}

impl Egress {
    /// The proxy of a daemon.
    #[must_use]
    pub fn new(config: EgressConfig) -> Self {
        let EgressConfig { dial, resolver, limits, now_us } = config;
        let dialer = match resolver {
            Some(resolver) => Dialer::with_resolver(dial, resolver),
            None => Dialer::new(dial),
        };
        let room = Arc::new(limits::room(limits::AHEAD_OF_ALL));
        Self { dialer: Arc::new(dialer), limits, now_us, room, roots: OnceLock::new() }
    }

    /// Where a request with this permit would go. The name is looked up, nothing is sent.
    ///
    /// # Errors
    /// When there is no address that may be dialled.
    pub async fn address(&self, permit: &Permit) -> Result<IpAddr, DialError> {
        let address = self.dialer.address(&Route::new(permit, Alpn::Any)).await?;
        Ok(address.ip())
    }

    /// The way out for one session. The first call reads the host's roots.
    ///
    /// # Errors
    /// When its certificate authority cannot be made.
    pub fn gateway(&self, session: &str, guard: Arc<dyn Guard>) -> Result<Gateway, EgressError> {
        let ca = SessionCa::new((self.now_us)() / 1_000_000, session)?;
        let trust = Trust::new(self.roots.get_or_init(HostRoots::load), &ca);
        let upstream = Upstream::new(Arc::clone(&self.dialer));
        let (limits, now_us, room) = (self.limits.clone(), Arc::clone(&self.now_us), Arc::clone(&self.room));
        Ok(Gateway::new(Parts { guard, ca, upstream, limits, now_us, room }, trust))
    }
}
