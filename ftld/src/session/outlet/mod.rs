//! A session's outlet: what the egress proxy may know and do on the session's behalf.
//!
//! Owns the session's shadows, the rules that count for it, the questions that wait for its human, and
//! its part of the ledger. Must not know how bytes travel: that is [`crate::egress`].
//!
//! An outlet lives as long as the daemon and the session do. Each turn borrows it: the turn's pipe is
//! served until the turn ends, and what there is to tell reaches the turn's own loop.

mod api;
mod ask;
mod dotenv;
mod excerpt;
mod guard;
mod holdings;
mod known;
mod ledger;
mod named;
mod preview;
mod rows;
mod rules;
mod seen;
mod unbound;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ftl_core::config::Settings;
use ftl_core::credential::{Binding, CredentialName, Grant};
use ftl_core::event::Kind;
use ftl_core::id::SessionId;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::api::Judged;
pub use self::ask::{Answered, Asks, Watching};
pub use self::dotenv::dotenv_at_root;
pub(super) use self::dotenv::{by_weight, is_dotenv};
use self::guard::SessionGuard;
use self::holdings::Holdings;
pub(super) use self::known::known;
pub use self::named::{Named, Numbered};
pub use self::rows::{Row, Wanted, records, rows};
pub use self::rules::{Layered, RuleScope, check, layered};
use super::decide::blocking;
use super::driver::root;
use super::record::Record;
use super::{Error, prepare};
use crate::app::Parts;
use crate::egress::Gateway;
use crate::egress::trust::{self, Places, SYSTEM_BUNDLES, Trust};
use crate::pipe::Pipe;
use crate::sandbox::PROXY_PORT;
use crate::snapshot::SeenFile;

/// Every session's outlet.
#[derive(Default)]
pub struct Outlets {
    open: Mutex<HashMap<SessionId, Arc<Outlet>>>,
    /// A session may be watched before its outlet opens.
    asks: Mutex<HashMap<SessionId, Arc<Asks>>>,
}

/// One session's outlet.
pub struct Outlet {
    guard: Arc<SessionGuard>,
    /// Of the turn that runs, or the last one.
    gateway: Mutex<Option<Arc<Gateway>>>,
}

/// What a sandbox gets of its outlet.
pub(super) struct Furnishing {
    /// Variables: shadows, values that are no secrets, where the proxy is and whom to trust.
    pub(super) env: Vec<(OsString, OsString)>,
    /// Files, by their absolute paths inside.
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
    /// The project's `.env` files as the workspace may show them.
    pub(super) seen: Vec<SeenFile>,
    /// The session's shadows by name, to be kept.
    pub(super) shadows: BTreeMap<String, String>,
    /// What the human should know.
    pub(super) notices: Vec<String>,
}

/// A pipe that is served; dropping it ends that and every connection.
pub(super) struct Serving {
    _end: DropGuard,
}

/// Facts of the proxy that wait for the turn's loop. More than these are counted and told later.
const FACTS: usize = 256;

impl Outlets {
    /// A session's outlet, when it has one now.
    #[must_use]
    pub fn get(&self, session: &SessionId) -> Option<Arc<Outlet>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(session).cloned()
    }

    /// A session's questions.
    #[must_use]
    pub fn asks(&self, session: &SessionId) -> Arc<Asks> {
        let mut asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(asks.entry(session.clone()).or_default())
    }

    /// Forgets a session's outlet.
    pub fn forget(&self, session: &SessionId) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(session);
        self.asks.lock().unwrap_or_else(PoisonError::into_inner).remove(session);
    }

    /// The human has bound a credential anew, or forgotten it (`None`), for every project or this one:
    /// sessions that hold it learn of it, and connections that carry it are judged anew.
    pub fn credential_changed(
        &self,
        project: Option<&Path>,
        name: &CredentialName,
        bindings: Option<&[Binding]>,
    ) {
        for outlet in self.all().iter().filter(|outlet| outlet.guard.is_of(project)) {
            outlet.guard.credential_changed(name, bindings);
        }
        self.rules_changed();
    }

    /// Rules have changed: connections that are no longer allowed are closed.
    pub fn rules_changed(&self) {
        for outlet in self.all() {
            if let Some(gateway) = outlet.gateway() {
                gateway.policy_changed();
            }
        }
    }

    fn all(&self) -> Vec<Arc<Outlet>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn keep(&self, session: &SessionId, outlet: Outlet) -> Arc<Outlet> {
        let mut outlets = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(outlets.entry(session.clone()).or_insert_with(|| Arc::new(outlet)))
    }
}

/// Opens or refreshes a session's outlet for a turn, with what the sandbox is to be furnished with.
pub(super) async fn open(
    parts: &Arc<Parts>,
    record: &Record,
    settings: &Settings,
    agent: &dyn crate::agent::AgentAdapter,
) -> Result<(Arc<Outlet>, Furnishing), Error> {
    let (holdings, mut notices) = Holdings::collect(parts, record, settings, agent).await?;
    let of_turn = (Arc::clone(parts), record.clone());
    let ((seen, withheld), holdings) = blocking(move || {
        let (parts, record) = of_turn;
        Ok((seen::of(&parts, &record, &holdings), holdings))
    })
    .await?;
    notices.extend(withheld);
    let outlet = match parts.outlets.get(&record.id) {
        Some(outlet) => outlet,
        None => {
            let guard = Arc::new(SessionGuard::new(parts, record));
            parts.outlets.keep(&record.id, Outlet { guard, gateway: Mutex::default() })
        }
    };
    let agent_rules = prepare::agent_rules(settings, agent);
    // A certificate authority of the turn's own: nothing of it outlives the turn.
    let gateway = parts.egress.gateway(record.id.as_str(), Arc::clone(&outlet.guard) as Arc<_>)?;
    let files = trust_files(gateway.trust());
    *outlet.gateway.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(gateway));
    let env = environment(&holdings);
    let shadows = holdings.shadows();
    outlet.guard.begin(holdings, settings, agent_rules);
    notices.extend(outlet.layered().problem);
    Ok((outlet, Furnishing { env, files, seen, shadows, notices }))
}

/// Opens a way out for the setup of a session's checks, as `check`: the session's rules, no credentials, and nobody
/// who is asked. It is to be [forgotten](Outlets::forget) with the sandbox.
pub(super) fn open_for_checks(
    parts: &Parts,
    record: &Record,
    settings: &Settings,
    check: &SessionId,
) -> Result<(Arc<Outlet>, Furnishing), Error> {
    let guard = Arc::new(SessionGuard::of_checks(parts, record));
    let gateway = parts.egress.gateway(check.as_str(), Arc::clone(&guard) as Arc<_>)?;
    let files = trust_files(gateway.trust());
    let holdings = Holdings::default();
    let env = environment(&holdings);
    guard.begin(holdings, settings, Vec::new());
    let outlet = Outlet { guard, gateway: Mutex::new(Some(Arc::new(gateway))) };
    let furnishing =
        Furnishing { env, files, seen: Vec::new(), shadows: BTreeMap::new(), notices: Vec::new() };
    Ok((parts.outlets.keep(check, outlet), furnishing))
}

impl Outlet {
    /// Serves a turn's pipe, and the facts there are to tell of it.
    pub(super) fn serve(self: &Arc<Self>, pipe: Pipe) -> (Serving, mpsc::Receiver<Kind>) {
        let (sender, facts) = mpsc::channel(FACTS);
        self.guard.ledger().begin_turn(sender);
        let end = CancellationToken::new();
        if let Some(gateway) = self.gateway() {
            let ended = end.clone();
            tokio::spawn(async move { gateway.serve(pipe, ended).await });
        }
        (Serving { _end: end.drop_guard() }, facts)
    }

    /// What left in the turn that ends now, when anything did or wanted to.
    pub(super) fn end_turn(&self) -> Vec<Kind> {
        self.guard.asks().dismiss();
        self.guard.ledger().end_turn()
    }

    /// The rules that count now.
    #[must_use]
    pub fn layered(&self) -> Layered {
        self.guard.layered()
    }

    /// The session's credentials, bound or not.
    #[must_use]
    pub fn grants(&self) -> Vec<Grant> {
        self.guard.grants()
    }

    fn gateway(&self) -> Option<Arc<Gateway>> {
        self.gateway.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Where a sandbox has the files that make its programs accept the session's certificates.
const BUNDLE: &str = "/etc/ftl/ca-bundle.pem";
const CA: &str = "/etc/ftl/ca.pem";
const JAVA: &str = "/etc/ftl/trust.p12";

/// Variables for a sandbox: shadows and plain values first, then where the proxy is and whom to trust.
fn environment(holdings: &Holdings) -> Vec<(OsString, OsString)> {
    let own = holdings.env().filter(|(name, _)| !ftl_core::config::reserved(name));
    let mut env: Vec<(OsString, OsString)> =
        own.map(|(name, value)| (name.into(), OsString::from(value))).collect();
    let places = Places {
        bundle: Path::new(BUNDLE),
        ca: Path::new(CA),
        java: Path::new(JAVA),
        proxy: SocketAddr::from((Ipv4Addr::LOCALHOST, PROXY_PORT)),
    };
    env.extend(trust::environment(&places).into_iter().map(|(name, value)| (name.into(), value.into())));
    env
}

/// Where a sandbox has files of a session's, whatever stands in them.
pub(super) fn files() -> impl Iterator<Item = PathBuf> {
    [BUNDLE, CA, JAVA].into_iter().chain(SYSTEM_BUNDLES.iter().copied()).map(PathBuf::from)
}

fn trust_files(trust: &Trust) -> Vec<(PathBuf, Vec<u8>)> {
    let bundle = trust.bundle.as_bytes();
    let system = SYSTEM_BUNDLES.iter().map(|path| (PathBuf::from(path), bundle.to_vec()));
    let own = [(BUNDLE, bundle), (CA, trust.ca.as_bytes()), (JAVA, &trust.java)];
    own.into_iter().map(|(path, content)| (path.into(), content.to_vec())).chain(system).collect()
}

/// A project's directory as a path.
fn project_of(record: &Record) -> PathBuf {
    root(&record.project.root)
}
