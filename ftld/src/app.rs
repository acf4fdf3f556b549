//! Assembly: configuration and ports in, a running daemon out.
//!
//! Owns the order in which parts are built and ended. The only file that names concrete parts for
//! others. Must not decide anything about sessions.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use ftl_core::config::DockerConfig;
use ftl_core::id::Hash;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use crate::audit::{AuditError, AuditSink, JsonlAudit};
use crate::clock::Clock;
use crate::db::{Db, DbError};
use crate::egress::dial::DialConfig;
use crate::egress::{self, Egress, EgressConfig};
use crate::grpc::{self, ServeError};
use crate::history::{self, History};
use crate::home::{Home, HomeError, Lock};
use crate::merge::{Blobs, Merge};
use crate::policy::PolicyFiles;
use crate::sandbox::SandboxBackend;
use crate::sandbox::docker::engine::Engines;
use crate::session::Sessions;
use crate::session::checks::Checks;
use crate::session::looked::Memory;
use crate::session::outlet::Outlets;
use crate::session::publish::Publisher;
use crate::session::terminal::Terminals;
use crate::session::tester::{self, Tests};
use crate::session::warm::{self, Warm};
use crate::session::{kept, recover};
use crate::snapshot::LocalStore;
use crate::vault::Vault;

/// What a session's task works with.
pub struct Parts {
    /// Sessions and events.
    pub db: Arc<Db>,
    /// The audit log.
    pub audit: Arc<dyn AuditSink>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Telling.
    pub publisher: Arc<Publisher>,
    /// Blobs and base trees.
    pub store: Arc<LocalStore>,
    /// What sessions see of projects' Git histories.
    pub history: Arc<History>,
    /// Applications to projects.
    pub merge: Arc<Merge>,
    /// Sandbox backends by name.
    pub sandboxes: Sandboxes,
    /// Checks that are under way, and what is known of earlier ones.
    pub checks: Checks,
    /// The terminals that agents have.
    pub terminals: Terminals,
    /// Tests that are being written, and the gate's work beside sessions.
    pub tests: Tests,
    /// What was made ahead for sessions.
    pub warm: Warm,
    /// The container engine.
    pub engines: Arc<Engines>,
    /// The proxy that every sandbox's traffic passes.
    pub egress: Egress,
    /// Each session's part of it.
    pub outlets: Outlets,
    /// What was found out about changes.
    pub looked: Memory,
    /// Credentials.
    pub vault: Arc<Vault>,
    /// The human's rules for the proxy.
    pub policies: Arc<PolicyFiles>,
    /// Roots for TLS beside the host's own.
    pub roots: Vec<CertificateDer<'static>>,
    /// Where state lies.
    pub home: Home,
    /// The user that the daemon works for.
    pub user: User,
    /// Owner of everything that a sandbox may write, when it is not the daemon's user.
    pub owner: Option<(u32, u32)>,
    /// Keeps other daemons out. It goes last: work beside the sessions may still have the database open when
    /// the API has closed.
    pub lock: Lock,
}

/// Sandbox backends by name.
pub type Sandboxes = BTreeMap<&'static str, Arc<dyn SandboxBackend>>;

/// The user that the daemon works for.
#[derive(Clone, Debug, Default)]
pub struct User {
    /// The name.
    pub name: String,
    /// The home directory.
    pub home: Option<PathBuf>,
    /// The daemon's own PATH, for agents that the client's does not find.
    pub path: Option<OsString>,
    /// The daemon's environment, for variables that a trusted configuration forwards by name.
    pub env: BTreeMap<OsString, OsString>,
    /// Processors of the machine.
    pub processors: u32,
    /// How containers were to be made when the daemon started.
    pub docker: DockerConfig,
}

/// The parts that tests replace.
pub struct Ports {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The audit log; `None` means the one beneath the state directory.
    pub audit: Option<Arc<dyn AuditSink>>,
    /// Sandbox backends by name.
    pub sandboxes: Sandboxes,
    /// The container engine.
    pub engines: Arc<Engines>,
    /// What the human told the proxy when the daemon was started.
    pub dial: DialConfig,
    /// Owner of everything that a sandbox may write, when it is not the daemon's user.
    pub owner: Option<(u32, u32)>,
}

/// A daemon that is built completely and serves nothing yet.
pub struct App {
    sessions: Arc<Sessions>,
    control: Arc<Control>,
}

/// Where connections come from.
pub enum Listener {
    /// A socket that this daemon made and removes.
    Bound(UnixListener),
    /// A socket that belongs to a service manager.
    Passed(UnixListener),
}

/// What the API may know and do about the daemon itself.
pub struct Control {
    /// Where state lies.
    pub home: Home,
    /// [`Clock::monotonic_us`] at the start.
    pub started_us: u64,
    end: watch::Sender<bool>,
}

/// Why there is no daemon.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The state's lock is held, or cannot be.
    #[error("cannot take the daemon's lock")]
    Lock(#[source] HomeError),
    /// The audit log cannot be used; nothing happens without it.
    #[error("cannot open the audit log")]
    Audit(#[source] AuditError),
    /// The database cannot be used.
    #[error("cannot open the session database")]
    Db(#[source] DbError),
    /// The snapshot store cannot be used.
    #[error("cannot open the snapshot store")]
    Store(#[source] crate::snapshot::SnapshotError),
    /// The journals cannot be used.
    #[error("cannot open the application journals")]
    Merge(#[source] crate::merge::MergeError),
    /// An earlier daemon's sessions cannot be brought to rest.
    #[error("cannot recover the sessions of the last run")]
    Recover(#[source] crate::session::Error),
    /// The API ended with an error.
    #[error("cannot serve the API")]
    Serve(#[source] ServeError),
}

impl App {
    /// Builds everything, in the order of dependency, and brings an earlier daemon's sessions to rest.
    ///
    /// # Errors
    /// When a part cannot be built.
    pub async fn build(home: Home, user: User, ports: Ports) -> Result<Self, AppError> {
        let lock = home.lock().map_err(AppError::Lock)?;
        let audit = match ports.audit {
            Some(audit) => audit,
            None => Arc::new(JsonlAudit::open(&home.audit(), ports.clock.now_us()).map_err(AppError::Audit)?),
        };
        let db = Arc::new(Db::open(&home.db()).map_err(AppError::Db)?);
        let store = LocalStore::open(&home.store(), ports.owner).map_err(AppError::Store)?;
        let merge = Merge::open(&home.journal()).map_err(AppError::Merge)?;
        let control = Control {
            home: home.clone(),
            started_us: ports.clock.monotonic_us(),
            end: watch::Sender::new(false),
        };
        let wall = Arc::clone(&ports.clock);
        let roots = ports.dial.roots.clone();
        let egress = Egress::new(EgressConfig {
            dial: ports.dial,
            resolver: None,
            limits: egress::Limits::default(),
            now_us: Arc::new(move || wall.now_us()),
        });
        let monotonic = Arc::clone(&ports.clock);
        let vault = Vault::new(home.root(), user.env.clone(), Arc::new(move || monotonic.monotonic_us()));
        let program = history::find_program(user.path.as_deref().unwrap_or_default());
        let parts = Parts {
            history: Arc::new(History::new(home.history(), program, ports.owner)),
            egress,
            outlets: Outlets::default(),
            looked: Memory::default(),
            vault: Arc::new(vault),
            policies: Arc::new(PolicyFiles::default()),
            publisher: Arc::new(Publisher::new(Arc::clone(&db), Arc::clone(&ports.clock))),
            db,
            audit,
            clock: ports.clock,
            store: Arc::new(store),
            merge: Arc::new(merge),
            sandboxes: ports.sandboxes,
            checks: Checks::default(),
            terminals: Terminals::default(),
            tests: Tests::default(),
            warm: Warm::default(),
            roots,
            engines: ports.engines,
            home,
            user,
            owner: ports.owner,
            lock,
        };
        let sessions = Sessions::new(Arc::new(parts));
        sessions.recover().await.map_err(AppError::Recover)?;
        Ok(Self { sessions: Arc::new(sessions), control: Arc::new(control) })
    }

    /// The sessions, for tests that look at what the API does not show.
    #[cfg(test)]
    pub(crate) fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// What ends the daemon from outside.
    #[must_use]
    pub fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }

    /// Serves until [`Control::end`], then stops the agents and keeps their work.
    ///
    /// # Errors
    /// When the API cannot be served.
    pub async fn run(self, listener: Listener) -> Result<(), AppError> {
        let mut end = self.control.end.subscribe();
        let sessions = Arc::clone(&self.sessions);
        let (listener, ours) = match listener {
            Listener::Bound(listener) => (listener, Some(self.control.home.socket())),
            Listener::Passed(listener) => (listener, None),
        };
        // Sessions come to rest first: their watchers see how they ended, and only then the API closes.
        let at_rest = async move {
            // An error means that the sender is gone, which means the same.
            let _gone = end.wait_for(|end| *end).await;
            sessions.shut_down().await;
            if let Some(socket) = ours {
                // Whoever comes now starts a daemon of its own instead of speaking to an ending one.
                if let Err(error) = std::fs::remove_file(&socket) {
                    tracing::warn!(%error, socket = %socket.display(), "the socket could not be removed");
                }
            }
        };
        let store = Arc::clone(&self.sessions.parts().store);
        let tending = tokio::spawn(tend(Arc::clone(&store), Arc::clone(&self.sessions.parts().clock)));
        let small = tokio::spawn(kept::keep_small(Arc::clone(&self.sessions)));
        let settling = tokio::spawn(recover::keep_trying(Arc::clone(&self.sessions)));
        let testing = tokio::spawn(tester::serve(Arc::clone(&self.sessions)));
        let warm = tokio::spawn(warm::keep_few(Arc::clone(self.sessions.parts())));
        let served = grpc::serve(listener, self.sessions, self.control, at_rest).await;
        tending.abort();
        small.abort();
        settling.abort();
        testing.abort();
        warm.abort();
        // An error means that it was interrupted, and costs the next daemon a walk.
        let _ = tokio::task::spawn_blocking(move || store.park()).await;
        served.map_err(AppError::Serve)
    }
}

/// Sees to the projects in use once a minute.
async fn tend(store: Arc<LocalStore>, clock: Arc<dyn Clock>) {
    let mut minutes = tokio::time::interval(std::time::Duration::from_secs(60));
    minutes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        minutes.tick().await;
        let (store, now_ns) = (Arc::clone(&store), clock.now_us().saturating_mul(1000));
        // An error means that a panic was told where it happened.
        let _ = tokio::task::spawn_blocking(move || store.tend(now_ns)).await;
    }
}

/// The store as the merge engine sees it. The two folders do not know each other.
impl Blobs for LocalStore {
    fn write_to(&self, hash: Hash, target: &File) -> io::Result<Hash> {
        Self::write_to(self, hash, target).map_err(io::Error::other)
    }

    fn keep(&self, file: &File) -> io::Result<Hash> {
        Self::keep(self, file).map_err(io::Error::other)
    }
}

impl Control {
    /// Ends the daemon; returns at once.
    pub fn end(&self) {
        self.end.send_replace(true);
    }
}
