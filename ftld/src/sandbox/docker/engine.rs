//! One engine: found, understood, and asked.
//!
//! Owns the connection, the version of the API that is spoken, and the limits of patience. Must not know
//! what containers are for. Every question has a time limit, and every error says which engine and what
//! was asked. What can be asked is in [`super::containers`] and [`super::images`].

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::{SystemInfo, SystemVersion};
use bollard::{ClientVersion, Docker, body_full};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

pub use super::failure::{EngineError, explained};

use super::endpoint::{self, Endpoint, Places, Surroundings};
use super::own::Own;
use super::transport::Transport;

/// The oldest API that has all that is asked for.
pub const OLDEST_API: (usize, usize) = (1, 41);

/// The newest API that is known here.
pub const NEWEST_API: (usize, usize) = (1, 53);

/// The longest answer to a question without a version, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the answer to an ordinary question.
    pub call: Duration,
    /// For a step of work that takes as long as it takes: a build, an import. It is the time without any
    /// sign of life.
    pub work: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            call: Duration::from_secs(20),
            work: Duration::from_secs(900),
        }
    }
}

/// What an engine said of itself when it was asked for its version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct About {
    /// Where it is.
    pub at: String,
    /// How it was found.
    pub found: String,
    /// Whether it is on this machine as far as its address tells.
    pub local: bool,
    /// `Docker` or `Podman`.
    pub kind: &'static str,
    /// Its version, as it writes it.
    pub version: String,
    /// The version of the API that is spoken with it.
    pub api: String,
    /// The processors it runs programs for, in Go's words: `amd64`, `arm64`.
    pub arch: String,
    /// Its parts by name and version, such as `runc`; the version is the commit where that says more.
    pub parts: Vec<(String, String)>,
    /// Whether it is Podman and runs without root, which that does not say where Docker says it.
    pub rootless: bool,
}

/// An engine that answers. A clone is the same engine.
#[derive(Clone)]
pub struct Engine {
    pub(super) docker: Docker,
    pub(super) patience: Patience,
    about: Arc<About>,
    lost: Arc<AtomicBool>,
    own: Own,
    /// Whether what earlier daemons left there was removed since it was found.
    pub(super) tidied: Arc<tokio::sync::Mutex<bool>>,
}

/// The engine of this daemon, found when it is needed and found again when it was lost.
pub struct Engines {
    around: Surroundings,
    patience: Patience,
    own: Own,
    known: Mutex<Option<Engine>>,
}

impl Engines {
    /// Nothing is looked for yet. Without an instance nothing bears a daemon's name.
    #[must_use]
    pub fn new(around: Surroundings, patience: Patience) -> Self {
        Self { around, patience, own: Own::default(), known: Mutex::new(None) }
    }

    /// The same for the daemon of this name, of letters, digits and `-`: all that it makes bears it.
    #[must_use]
    pub fn of(self, instance: &str) -> Self {
        Self { own: Own::new(instance), ..self }
    }

    /// The names of this daemon.
    #[must_use]
    pub fn own(&self) -> &Own {
        &self.own
    }

    /// The engine. One that answered before is taken as it is; after an error that says it went away, it
    /// is looked for again.
    ///
    /// # Errors
    /// When there is none that can be used.
    pub async fn get(&self) -> Result<Engine, EngineError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(engine) = known.filter(|engine| !engine.lost.load(Ordering::Relaxed)) {
            return Ok(engine);
        }
        let found = Engine::find(&self.around, self.patience).await?;
        let engine = Engine { own: self.own.clone(), ..found };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(engine.clone());
        Ok(engine)
    }
}

impl Engine {
    /// Finds an engine and agrees on a version with it. Of the usual sockets the first that answers is
    /// taken.
    ///
    /// # Errors
    /// When none answers, or the one that was named does not: the first error of those.
    pub async fn find(around: &Surroundings, patience: Patience) -> Result<Self, EngineError> {
        let (there, looked) = match endpoint::places(around)? {
            Places::Named(endpoint) => return Self::connect(endpoint, patience).await,
            Places::Known { there, looked } => (there, looked),
        };
        let mut first = None;
        for endpoint in there {
            match Self::connect(endpoint, patience).await {
                Ok(engine) => return Ok(engine),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or(EngineError::None { looked }))
    }

    /// Agrees on a version with the engine at one place.
    ///
    /// # Errors
    /// When it cannot be reached, does not answer in time, or is none that can be used.
    pub async fn connect(endpoint: Endpoint, patience: Patience) -> Result<Self, EngineError> {
        let (at, local) = (endpoint.way.to_string(), endpoint.way.is_local());
        let transport = Transport::new(endpoint.way, patience.connect)
            .map_err(|source| EngineError::Unreachable { at: at.clone(), source })?;
        let version = question(&transport, "/version", &at, patience).await?;
        let mut about = about(at, endpoint.found, local, version)?;
        if about.is_podman() {
            let said: Rootless = question(&transport, "/info", &about.at, patience).await?;
            about.rootless = said.rootless;
        }
        let api = parse_api(&about.api).unwrap_or(OLDEST_API);
        let client = ClientVersion { major_version: api.0, minor_version: api.1 };
        let seconds = patience.call.as_secs().max(1);
        let transport = transport.speaking(&about.api);
        let send = move |request| transport.clone().send(request);
        let docker = Docker::connect_with_custom_transport(send, Some("http://engine"), seconds, &client)
            .map_err(|said| EngineError::of("connect", &about.at, patience.call, said))?;
        let (about, own) = (Arc::new(about), Own::default());
        Ok(Self { docker, patience, about, lost: Arc::default(), own, tidied: Arc::default() })
    }

    /// The names of the daemon that asks.
    #[must_use]
    pub fn own(&self) -> &Own {
        &self.own
    }

    /// Whether this is the very engine of another value, not lost and found in between.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.about, &other.about)
    }

    /// What it said of itself.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// What it says of its machine: storage, control groups, runtimes, its id.
    ///
    /// # Errors
    /// As every question.
    pub async fn info(&self) -> Result<SystemInfo, EngineError> {
        self.ask("info", self.docker.info()).await
    }

    /// Asks with the patience of an ordinary question.
    pub(super) async fn ask<T>(
        &self,
        act: &'static str,
        asking: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        self.ask_for(act, self.patience.call, asking).await
    }

    /// Asks with a patience of its own.
    pub(super) async fn ask_for<T>(
        &self,
        act: &'static str,
        patience: Duration,
        asking: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        // The library's own limit ends with the answer's first line; its body may never come.
        let answered = tokio::time::timeout(patience, asking).await;
        let answered = answered.unwrap_or(Err(bollard::errors::Error::RequestTimeoutError));
        answered.map_err(|said| self.failed(act, patience, said))
    }

    /// What an error means; one that says that the engine is away is remembered.
    pub(super) fn failed(
        &self,
        act: &'static str,
        patience: Duration,
        said: bollard::errors::Error,
    ) -> EngineError {
        let error = EngineError::of(act, &self.about.at, patience, said);
        if error.is_lost() {
            self.lost.store(true, Ordering::Relaxed);
        }
        error
    }
}

/// What Podman is called.
pub const PODMAN: &str = "Podman";

/// What Podman adds to what it says of its machine.
#[derive(serde::Deserialize)]
struct Rootless {
    #[serde(rename = "Rootless", default)]
    rootless: bool,
}

/// Asks without saying a version: an engine refuses every question of a version it does not know, also the one
/// for its version.
async fn question<T: serde::de::DeserializeOwned>(
    transport: &Transport,
    path: &'static str,
    at: &str,
    patience: Patience,
) -> Result<T, EngineError> {
    let act = path.trim_start_matches('/');
    let failed = |said| EngineError::of(act, at, patience.call, said);
    let asking = async {
        let request = hyper::Request::get(path).body(body_full(Bytes::new()))?;
        let response = transport.clone().send(request).await?;
        let (parts, mut body) = response.into_parts();
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                bytes.extend_from_slice(&data);
            }
            if bytes.len() > MAX_ANSWER {
                let message = "an answer without end".to_owned();
                return Err(bollard::errors::Error::DockerResponseServerError { status_code: 0, message });
            }
        }
        Ok((parts.status, bytes.freeze()))
    };
    let answered = tokio::time::timeout(patience.call, asking).await;
    let (status, bytes) =
        answered.unwrap_or(Err(bollard::errors::Error::RequestTimeoutError)).map_err(failed)?;
    if !status.is_success() {
        let message = String::from_utf8_lossy(&bytes).into_owned();
        let status_code = status.as_u16();
        return Err(failed(bollard::errors::Error::DockerResponseServerError { status_code, message }));
    }
    serde_json::from_slice(&bytes).map_err(|error| EngineError::Garbled {
        at: at.to_owned(),
        act,
        reason: error.to_string(),
    })
}

/// What is known of an engine by its version, when it can be used.
fn about(at: String, found: String, local: bool, said: SystemVersion) -> Result<About, EngineError> {
    let version = said.version.unwrap_or_default();
    let garbled =
        |reason: &str| EngineError::Garbled { at: at.clone(), act: "version", reason: reason.into() };
    let newest = said.api_version.as_deref().and_then(parse_api);
    let newest = newest.ok_or_else(|| garbled("it names no version of its API"))?;
    let oldest = said.min_api_version.as_deref().and_then(parse_api).unwrap_or(newest.min(OLDEST_API));
    if let Some(os) = said.os.filter(|os| os != "linux") {
        return Err(EngineError::NotLinux { at, os });
    }
    if newest < OLDEST_API {
        let (api, needed) = (show_api(newest), show_api(OLDEST_API));
        return Err(EngineError::TooOld { at, version, api, needed });
    }
    if oldest > NEWEST_API {
        let (api, known) = (show_api(oldest), show_api(NEWEST_API));
        return Err(EngineError::TooNew { at, version, api, known });
    }
    let components = said.components.unwrap_or_default();
    let podman = components.iter().any(|part| part.name.contains("Podman"));
    let parts = components.into_iter().map(|part| {
        let commit = part.details.unwrap_or_default().remove("GitCommit").unwrap_or_default();
        // A distribution writes its own revision there, which tells of fixes that the version does not.
        let version = if commit.starts_with(&part.version) { commit } else { part.version };
        (part.name, version)
    });
    let kind = if podman { PODMAN } else { "Docker" };
    let api = show_api(newest.min(NEWEST_API));
    let arch = said.arch.unwrap_or_default();
    Ok(About { at, found, local, kind, version, api, arch, parts: parts.collect(), rootless: false })
}

impl About {
    /// Whether it takes some settings of containers in words of its own.
    pub(in super::super) fn is_podman(&self) -> bool {
        self.kind == PODMAN
    }
}

#[cfg(test)]
impl About {
    /// An engine of that kind and version.
    pub(super) fn test(kind: &'static str, version: &str) -> Self {
        Self {
            at: "unix:///x".to_owned(),
            found: "a test".to_owned(),
            local: true,
            kind,
            version: version.to_owned(),
            api: "1.41".to_owned(),
            arch: "amd64".to_owned(),
            parts: Vec::new(),
            rootless: false,
        }
    }
}

fn parse_api(text: &str) -> Option<(usize, usize)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn show_api((major, minor): (usize, usize)) -> String {
    format!("{major}.{minor}")
}

#[cfg(test)]
mod tests;
