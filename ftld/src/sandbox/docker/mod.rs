//! The `docker` backend: containers of an engine that speaks Docker's API.
//!
//! Owns what is asked of an engine. Must not know sessions or agents. Reading order: [`launch`] is the story;
//! [`spec`] says what a container is, [`enforcement`] what must hold in it, [`shown`] what it is shown;
//! [`sandbox`] serves one that runs, and [`made`] removes it; [`warm`] has those that were started ahead.
//! [`elsewhere`] brings a session's files to an engine that cannot see them here, and back: [`keeper`] is the line
//! to them there, [`survey`] and [`stock`] decide what is sent, [`away`] remembers what is not back yet, which
//! [`homeward`] puts in its places. Below them,
//! [`endpoint`] says where an engine may
//! be, [`transport`] reaches it, [`engine`] is what the rest asks, [`containers`] and [`images`] are the
//! questions, [`failure`] is what can go wrong, [`own`] has the names, [`users`] says who runs in containers. [`setup`] makes the image, [`probe`]
//! finds out whether directories can be shared and [`rest`] removes what an engine's user left, both with a
//! container of [`nothing`]; [`examine`] tells what works, [`known`] what is known to be unsafe.

pub mod attached;
mod away;
mod containers;
mod elsewhere;
pub mod endpoint;
mod enforcement;
pub mod engine;
pub mod examine;
mod failure;
mod homeward;
pub mod images;
mod keeper;
pub mod known;
mod launch;
mod left;
mod made;
mod nothing;
pub mod own;
pub mod probe;
mod rest;
mod sandbox;
pub mod setup;
mod shown;
mod spec;
mod stock;
mod survey;
mod transport;
mod users;
mod warm;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ftl_core::id::SessionId;

pub use spec::Runtime;

use super::{Check, Limits, Owner, Programs, Sandbox, SandboxBackend, SandboxError, SandboxSpec, linux};
use engine::{Engine, EngineError, Engines};
use made::Made;
use probe::Shares;
use spec::{Belongs, LABEL_INSTANCE};
use stock::Stock;
use warm::Ahead;

/// What the backend needs to know of its daemon.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// A name for this daemon among others that use the same engine: letters, digits, `-`. Everything that
    /// it makes bears it, so that two daemons never touch each other's.
    pub instance: String,
    /// The daemon's home, where it is kept what was set up.
    pub home: PathBuf,
    /// The image of the sandboxes, by name or id; what was set up when absent.
    pub image: Option<String>,
    /// How containers are run; the engine's own way when absent.
    pub runtime: Option<Runtime>,
    /// Where a sandbox's workspace is.
    pub workspace: Workspace,
    /// How often a sandbox's disk usage is measured.
    pub disk_interval: Duration,
    /// The mask that the human's programs make files with.
    pub umask: u32,
}

/// Where a sandbox's workspace is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workspace {
    /// Where it can be: what the engine can do is tried once.
    #[default]
    Auto,
    /// On this machine: the engine mounts an overlay of its directories.
    Overlay,
    /// On the engine's disk: what changed travels to it and back.
    Stream,
}

/// Makes sandboxes of containers.
pub struct DockerBackend(Arc<Backend>);

/// What every launch needs.
struct Backend {
    config: DockerConfig,
    engines: Arc<Engines>,
    /// Sandboxes that were made ahead.
    ahead: Ahead,
    /// What engines can do with directories of this machine, by their ids.
    shares: tokio::sync::Mutex<BTreeMap<String, Shares>>,
    /// What the engine has of this machine's directories.
    stock: Arc<Mutex<StockOf>>,
}

/// The stock of the engine that was used last.
#[derive(Default)]
struct StockOf {
    engine: Option<Engine>,
    stock: Stock,
}

impl StockOf {
    /// What this engine has. One that was found again may be another one, or may have lost something.
    fn of(&mut self, engine: &Engine) -> &mut Stock {
        if !self.engine.as_ref().is_some_and(|known| known.is(engine)) {
            self.engine = Some(engine.clone());
            self.stock.doubt();
        }
        &mut self.stock
    }
}

impl Workspace {
    /// The one of that name in the configuration.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "overlay" => Some(Self::Overlay),
            "stream" => Some(Self::Stream),
            _ => None,
        }
    }
}

impl DockerBackend {
    /// Nothing is looked for until a sandbox is wanted.
    #[must_use]
    pub fn new(config: DockerConfig, engines: Arc<Engines>) -> Self {
        let (ahead, shares, stock) = (Ahead::default(), tokio::sync::Mutex::default(), Arc::default());
        Self(Arc::new(Backend { config, engines, ahead, shares, stock }))
    }
}

impl Backend {
    fn belongs(&self, session: &SessionId) -> Belongs {
        Belongs { instance: self.config.instance.clone(), session: session.as_str().to_owned() }
    }

    /// Removes everything of this home that nobody uses any more, before anything is made on an engine that
    /// was found, or found again: an earlier daemon may have left it, or this one when the engine went away.
    async fn tidy(&self, engine: &Engine) -> Result<(), EngineError> {
        // Whoever comes second waits: what it makes must not be taken for something left.
        let mut tidied = engine.tidied.lock().await;
        if !*tidied {
            let label = format!("{LABEL_INSTANCE}={}", self.config.instance);
            made::tidy(engine, &label, self.config.workspace != Workspace::Overlay).await?;
            *tidied = true;
        }
        Ok(())
    }
}

#[async_trait]
impl SandboxBackend for DockerBackend {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn programs(&self) -> Programs {
        Programs::Image
    }

    fn owner(&self) -> Result<Option<Owner>, SandboxError> {
        linux::identity::owner()
    }

    async fn launch(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        let launching = tokio::spawn(launch::launch(Arc::clone(&self.0), spec));
        match launching.await {
            Ok(launched) => Ok(Box::new(launched?)),
            Err(error) => {
                Err(SandboxError::Helper { act: "launching", source: std::io::Error::other(error) })
            }
        }
    }

    async fn warm(&self, spec: SandboxSpec, load: Vec<OsString>) -> Result<(), SandboxError> {
        warm::prepare(&self.0, spec, load).await
    }

    fn warms(&self) -> bool {
        // Nothing is filled in later on another machine's disk.
        self.0.config.workspace != Workspace::Stream
    }

    async fn cool(&self, session: Option<&SessionId>) {
        self.0.ahead.end(session).await;
    }

    async fn tend(&self) {
        warm::tend(&self.0).await;
    }

    fn is_warm(&self, session: &SessionId) -> bool {
        self.0.ahead.is_ready(session)
    }

    async fn sweep(&self, session: &SessionId, dir: &Path) -> Result<(), SandboxError> {
        self.0.ahead.end(Some(session)).await;
        let left = Made::new(Arc::clone(&self.0.engines), self.0.belongs(session));
        match left.sweep().await {
            Ok(()) => {
                linux::record::forget(dir);
                elsewhere::collect(&self.0, session, dir).await
            }
            Err(error) if error.is_lost() || matches!(error, EngineError::None { .. }) => {
                // Its containers are removed before the session's next turn. What counts now is that no
                // process of them runs.
                tracing::warn!(%session, %error, "containers of an earlier daemon may be left");
                match linux::record::names_any(dir) {
                    true => linux::record::sweep(dir).await,
                    false => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn clear(&self, dir: &Path) -> Result<(), SandboxError> {
        rest::clear(&self.0.engines, dir).await
    }

    async fn bring_home(&self, session: &SessionId, dir: &Path) -> Result<(), SandboxError> {
        elsewhere::collect(&self.0, session, dir).await
    }

    fn holds_work(&self, dir: &Path) -> bool {
        away::Away::is_noted(dir)
    }

    async fn give_up(&self, session: &SessionId, dir: &Path) -> Result<(), SandboxError> {
        elsewhere::give_up(&self.0, session, dir).await
    }

    async fn doctor(&self, scratch: &Path, _limits: Limits) -> Vec<Check> {
        examine::examine(&self.0.engines, &self.0.config.home, scratch).await
    }
}
