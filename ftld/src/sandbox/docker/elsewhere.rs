//! A session's files on an engine that cannot see this machine's directories.
//!
//! Owns the way there and back: what the sandbox stands on is brought to the engine's disk, and what it left is
//! brought here when every process of it is gone. Must not know how a tree travels ([`super::keeper`]) or what of
//! it the engine has already ([`super::stock`]). Until all of it is here a record says where it is
//! ([`super::away`]), so that nothing is lost when an engine or a daemon goes away in between.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::{fs, io};

use bollard::models::{SystemInfo, VolumeCreateRequest};
use ftl_core::id::SessionId;
use ftl_guest::tree::{Answer, Order, TREE};

use super::super::{Ending, Owner, SandboxError, SandboxSpec, disk, lost};
use super::away::Away;
use super::engine::{Engine, EngineError};
use super::homeward::{self, OWN};
use super::keeper::{Keeper, KeeperError, unexpected};
use super::launch::Named;
use super::made;
use super::probe::{self, Shares};
use super::spec::{Belongs, ContainerSpec, LABEL_DIR, OVERLAY_OPTIONS, Role};
use super::stock::{Held, Wanted};
use super::{Backend, Workspace, shown, users};

/// By how much a sandbox may have more on disk than it may, until that was noticed; bytes.
const SLACK: u64 = 4 << 30;

/// What is special about a session's files being elsewhere.
pub(super) struct Elsewhere {
    backend: Arc<Backend>,
    engine: Engine,
    session: SessionId,
    /// The keeper's container.
    id: String,
    keeper: Keeper,
    away: Away,
    /// The session's directory on this machine.
    dir: PathBuf,
    /// The trees below its workspace, and those that are shown beside it.
    _held: (Held, Held),
}

/// Where the sandbox's files are, as the engine names it.
pub(super) struct Sent {
    /// The directories below the workspace.
    pub(super) layers: Vec<PathBuf>,
    /// The session's directory.
    pub(super) dir: PathBuf,
    /// What is shown read-only.
    pub(super) shown: Vec<(PathBuf, PathBuf)>,
    /// Whether the engine's kernel knows version 6 of the internet protocol.
    pub(super) ipv6: bool,
    /// What was done, for people.
    pub(super) told: String,
}

/// Whether the engine cannot mount overlays of this machine's directories, or was not to. It is tried once for
/// each engine, in `scratch`.
///
/// # Errors
/// When the trial fails at something else.
pub(super) async fn is_needed(
    backend: &Backend,
    engine: &Engine,
    info: &SystemInfo,
    scratch: &Path,
) -> Result<bool, EngineError> {
    match backend.config.workspace {
        Workspace::Overlay => return Ok(false),
        Workspace::Stream => return Ok(true),
        // Shared files would be another user's.
        Workspace::Auto if users::others(engine.about(), info).is_some() => return Ok(true),
        Workspace::Auto => {}
    }
    let id = info.id.clone().unwrap_or_default();
    let mut known = backend.shares.lock().await;
    let shares = match known.get(&id) {
        Some(shares) => shares.clone(),
        None => probe::shares(engine.clone(), scratch.to_owned(), OVERLAY_OPTIONS.to_owned()).await?,
    };
    let needed = shares != Shares::Overlay;
    known.insert(id, shares);
    Ok(needed)
}

/// Brings what a sandbox stands on to the engine. `shown` is where what is shown lies here, and where inside.
///
/// # Errors
/// When a part of it cannot be brought; what was made is removed by its labels.
pub(super) async fn send(
    backend: &Arc<Backend>,
    engine: &Engine,
    (spec, image, user): (&SandboxSpec, &str, Owner),
    shown: Vec<(PathBuf, PathBuf)>,
) -> Result<(Elsewhere, Sent), SandboxError> {
    let belongs = backend.belongs(&spec.session);
    let dir = spec.dir.clone();
    let merging = tokio::task::spawn_blocking(move || shown::merge_equal(&dir, shown)).await;
    let failed = |error| SandboxError::Helper { act: "preparing", source: io::Error::other(error) };
    let shown = merging.map_err(failed)??;
    // One that nobody wrote down: no program ran with it.
    engine.remove_volume(&belongs.name("work")).await?;
    let places = Volumes::make(engine, &belongs, &spec.dir).await?;
    let (id, keeper, ipv6) = start(backend, engine, (&belongs, image, user)).await?;
    let (trees, paths) = trees(spec, &shown);
    let settled = |number| number < spec.layers.len();
    let wanted = trees.iter().enumerate();
    let wanted: Vec<Wanted> =
        wanted.map(|(number, dir)| Wanted { dir: dir.clone(), settled: settled(number) }).collect();
    let layers = spec.layers.len();
    let (stock, dir, whose) = (Arc::clone(&backend.stock), spec.dir.clone(), engine.clone());
    let sending = keeper.with(move |line| {
        let (below, beside) = wanted.split_at(layers);
        let mut guard = stock.lock().unwrap_or_else(PoisonError::into_inner);
        let stock = guard.of(&whose);
        let below = stock.provide(line, below);
        let of_layers = line.sent();
        let provided = below.and_then(|below| Ok((below, stock.provide(line, beside)?)));
        if provided.is_err() {
            stock.doubt();
        }
        let held = provided?;
        drop(guard);
        for place in OWN {
            done(line.give(&Order::Fill { place }, &dir.join(place.name()), None)?)?;
        }
        done(line.ask(&Order::Rest)?)?;
        Ok((held, of_layers, line.sent()))
    });
    let (held, of_layers, sent) = sending.await.map_err(|error| told(&error))?;
    let at = |name: &String| places.layers.join(name).join(TREE);
    let names: BTreeMap<&PathBuf, &String> =
        trees.iter().zip(held.0.names().iter().chain(held.1.names())).collect();
    let inside = |(from, rest): &(PathBuf, PathBuf)| {
        let tree = names.get(from).map(|name| at(name)).unwrap_or_default();
        if rest.as_os_str().is_empty() { tree } else { tree.join(rest) }
    };
    let shown = paths.iter().map(inside).zip(shown.into_iter().map(|(_, target)| target)).collect();
    let info = engine.info().await?;
    let away = Away {
        engine: info.id.unwrap_or_default(),
        at: engine.about().at.clone(),
        volume: belongs.name("work"),
        image: image.to_owned(),
        bytes: spec.limits.disk_bytes.saturating_add(SLACK),
        here: false,
    };
    let result = Sent {
        layers: held.0.names().iter().map(at).collect(),
        dir: places.work,
        shown,
        ipv6,
        told: format!(
            "workspace: on the engine's disk; {of_layers} bytes of the project were sent to it, and {} of the session",
            sent - of_layers
        ),
    };
    // From here on a program may change what is there.
    note(&away, &spec.dir).await?;
    let (backend, engine, session) = (Arc::clone(backend), engine.clone(), spec.session.clone());
    let elsewhere =
        Elsewhere { backend, engine, session, id, keeper, away, dir: spec.dir.clone(), _held: held };
    Ok((elsewhere, result))
}

/// The directories whose trees a sandbox needs, those below its workspace first; and for everything that is shown
/// the directory whose tree has it, and where in that.
fn trees(spec: &SandboxSpec, shown: &[(PathBuf, PathBuf)]) -> (Vec<PathBuf>, Vec<(PathBuf, PathBuf)>) {
    // What was made for this launch alone is one tree.
    let own = spec.dir.join("shown");
    let mut trees = spec.layers.clone();
    let mut paths = Vec::new();
    for (from, _) in shown {
        let path = match from.strip_prefix(&own) {
            Ok(rest) => (own.clone(), rest.to_owned()),
            Err(_) => (from.clone(), PathBuf::new()),
        };
        if !trees.contains(&path.0) {
            trees.push(path.0.clone());
        }
        paths.push(path);
    }
    (trees, paths)
}

/// Brings home what is recorded as away; nothing when all is here.
///
/// # Errors
/// When it cannot be had now; then it stays recorded. When the engine does not have it any more it is forgotten,
/// once that was said.
pub(super) async fn collect(
    backend: &Arc<Backend>,
    session: &SessionId,
    dir: &Path,
) -> Result<(), SandboxError> {
    if !Away::is_noted(dir) {
        return Ok(());
    }
    // Who comes second finds it done.
    let _alone = alone(dir).await?;
    let Some(away) = Away::read(dir)? else { return Ok(()) };
    let failed = |why: String| SandboxError::Container {
        why: format!("{}; {why}", away.told()),
        remedy: String::new(),
    };
    if away.here {
        homeward::arrive(dir, &away).await?;
        remove_unneeded(backend, session, &away).await;
        return Ok(());
    }
    let engine = find(backend, &away).await?;
    if engine.volume(&away.volume).await?.is_none() {
        let why = away.lost();
        lost::note(dir, &why)?;
        Away::forget(dir)?;
        return Err(SandboxError::Container { why, remedy: String::new() });
    }
    let belongs = backend.belongs(session);
    made::sweep(&engine, &belongs.filter().each_ref().map(String::as_str)).await?;
    let user = users::user(engine.about(), &engine.info().await?)?;
    let image = match engine.image(&away.image).await? {
        Some(_) => away.image.clone(),
        None => Named::of(&backend.config)?.find(&engine).await?,
    };
    Volumes::make(&engine, &belongs, dir).await?;
    let (id, keeper, _) = start(backend, &engine, (&belongs, &image, user)).await?;
    let rests = keeper.with(|line| done(line.ask(&Order::Rest)?)).await;
    let fetched = match rests {
        Ok(()) => homeward::fetch(&keeper, dir, &away, false).await,
        Err(error) => Err(error),
    };
    let removed = engine.remove(&id).await;
    fetched.map_err(|error| failed(explained(&error)))?;
    homeward::arrive(dir, &away).await?;
    match removed {
        Ok(()) => remove_unneeded(backend, session, &away).await,
        Err(error) => tracing::warn!(%session, %error, "a keeper stays behind"),
    }
    Ok(())
}

/// Removes what an engine has of a session's work, unread, and forgets it.
///
/// # Errors
/// When the engine cannot be asked to; then it stays recorded.
pub(super) async fn give_up(
    backend: &Arc<Backend>,
    session: &SessionId,
    dir: &Path,
) -> Result<(), SandboxError> {
    if !Away::is_noted(dir) {
        return Ok(());
    }
    let _alone = alone(dir).await?;
    match Away::read(dir) {
        Ok(None) => return Ok(()),
        Ok(Some(away)) if away.here => remove_unneeded(backend, session, &away).await,
        Ok(Some(away)) => {
            let engine = find(backend, &away).await.map_err(|error| for_good(error, dir))?;
            remove(backend, &engine, session, &away.volume).await?;
        }
        // Nobody reads it any more: what can still be found is what bears the session's name.
        Err(error) => {
            tracing::warn!(%session, %error, "it is not known which engine has a session's work");
            let engine = backend.engines.get().await.map_err(|error| for_good(error.into(), dir))?;
            let volume = backend.belongs(session).name("work");
            remove(backend, &engine, session, &volume).await?;
        }
    }
    let path = dir.to_owned();
    let dropping = tokio::task::spawn_blocking(move || homeward::drop_aside(&path)).await;
    let failed = |source| SandboxError::File { act: "removing work in", path: dir.to_owned(), source };
    dropping.map_err(io::Error::other).and_then(|dropped| dropped).map_err(failed)?;
    Away::forget(dir)
}

/// The engine that has a session's work.
async fn find(backend: &Backend, away: &Away) -> Result<Engine, SandboxError> {
    let failed = |why: String| SandboxError::Container {
        why: format!("{}; {why}", away.told()),
        remedy: String::new(),
    };
    let engine = backend.engines.get().await.map_err(|error| match error.is_lost() {
        true => error.into(),
        false => failed(super::engine::explained(&error)),
    })?;
    match engine.info().await?.id.unwrap_or_default() == away.engine {
        true => Ok(engine),
        false => Err(failed(format!("the engine at {} is another one", engine.about().at))),
    }
}

/// Says what is to be done when an engine never comes back.
fn for_good(error: SandboxError, dir: &Path) -> SandboxError {
    let why = match error {
        SandboxError::Container { why, .. } => why,
        other => other.to_string(),
    };
    let remedy =
        format!("if that engine is gone for good, remove {} first", super::away::file(dir).display());
    SandboxError::Container { why, remedy }
}

/// Removes the volume of a session's work, and whatever still uses it.
async fn remove(
    backend: &Backend,
    engine: &Engine,
    session: &SessionId,
    volume: &str,
) -> Result<(), SandboxError> {
    made::sweep(engine, &backend.belongs(session).filter().each_ref().map(String::as_str)).await?;
    Ok(engine.remove_volume(volume).await?)
}

/// Removes the volume of work that is here. What stays goes when the engine is tidied.
async fn remove_unneeded(backend: &Backend, session: &SessionId, away: &Away) {
    let removed = async { remove(backend, &find(backend, away).await?, session, &away.volume).await };
    if let Err(error) = removed.await {
        tracing::warn!(%session, %error, "a volume of a session stays behind");
    }
}

/// Writes down that work may be on an engine alone.
async fn note(away: &Away, dir: &Path) -> Result<(), SandboxError> {
    let (away, dir) = (away.clone(), dir.to_owned());
    let noting = tokio::task::spawn_blocking(move || away.write(&dir)).await;
    noting.map_err(|error| SandboxError::Helper { act: "noting", source: io::Error::other(error) })?
}

impl Elsewhere {
    /// Brings the session's work here, and removes what the engine had of it. Every process of the sandbox must
    /// be gone.
    ///
    /// # Errors
    /// When it cannot be had now; it stays on the engine, and may be asked for again.
    pub(super) async fn bring_home(&self) -> Result<(), SandboxError> {
        match homeward::fetch(&self.keeper, &self.dir, &self.away, true).await {
            Ok(()) => {
                homeward::arrive(&self.dir, &self.away).await?;
                self.remove().await;
                Ok(())
            }
            // It went with the engine, or cannot be understood: another one is asked.
            Err(error) => {
                tracing::warn!(session = %self.session, error = %explained(&error), "a keeper failed");
                collect(&self.backend, &self.session, &self.dir).await
            }
        }
    }

    /// Removes what the engine had, unread: no program ran in the sandbox.
    pub(super) async fn discard(self) -> Result<(), SandboxError> {
        Away::forget(&self.dir)?;
        self.remove().await;
        Ok(())
    }

    /// Where the work is, for people.
    pub(super) fn told(&self) -> String {
        self.away.told()
    }

    /// Measures what the session has on disk again and again, and resolves when it is more than it may have.
    pub(super) async fn overflow(&self, limit: u64, interval: std::time::Duration) -> Ending {
        loop {
            tokio::time::sleep(interval).await;
            let measured = self.keeper.with(|line| line.ask(&Order::Measure)).await;
            match measured {
                Ok(Answer::Used(used)) => {
                    if let Some(ending) = disk::over(used, limit) {
                        return ending;
                    }
                }
                Ok(other) => return Ending::Gone { why: explained(&unexpected(other)) },
                Err(error) => return Ending::Gone { why: explained(&error) },
            }
        }
    }

    /// Removes the keeper and its volume. What stays is found by its labels.
    async fn remove(&self) {
        let removed = async {
            self.engine.remove(&self.id).await?;
            self.engine.remove_volume(&self.away.volume).await
        };
        if let Err(error) = removed.await {
            tracing::warn!(session = %self.session, %error, "a volume of a session stays behind");
        }
    }
}

/// The directories of both volumes, as the engine has them.
struct Volumes {
    layers: PathBuf,
    work: PathBuf,
}

impl Volumes {
    async fn make(engine: &Engine, belongs: &Belongs, dir: &Path) -> Result<Self, EngineError> {
        let make = async |name: String, labels: HashMap<String, String>| {
            let request = VolumeCreateRequest {
                name: Some(name),
                driver: Some("local".to_owned()),
                labels: Some(labels),
                ..VolumeCreateRequest::default()
            };
            Ok::<_, EngineError>(PathBuf::from(engine.create_volume(request).await?.mountpoint))
        };
        let mut labels = belongs.labels("work");
        labels.insert(LABEL_DIR.to_owned(), dir.to_string_lossy().into_owned());
        Ok(Self {
            layers: make(belongs.layers(), belongs.of_all("layers")).await?,
            work: make(belongs.name("work"), labels).await?,
        })
    }
}

/// Starts a keeper for a session.
async fn start(
    backend: &Backend,
    engine: &Engine,
    (belongs, image, user): (&Belongs, &str, Owner),
) -> Result<(String, Keeper, bool), SandboxError> {
    let spec = ContainerSpec {
        belongs: belongs.clone(),
        image: image.to_owned(),
        // It is no sandbox: nothing of an agent's runs in it.
        runtime: None,
        podman: engine.about().is_podman(),
        role: Role::Keeper,
    };
    let body = spec.body().map_err(super::launch::bad)?;
    let id = engine.create(&spec.name(), body).await?;
    let attached = engine.attach(&id).await?;
    engine.start(&id).await.map_err(super::launch::explain)?;
    let keeper = Keeper::new(attached.stdout, attached.stdin, engine.patience.work);
    let begin = Order::Begin { uid: user.uid, gid: user.gid };
    let begun = keeper.with(move |line| line.ask(&begin)).await;
    match begun {
        Ok(Answer::Ready { ipv6 }) => Ok((id, keeper, ipv6)),
        Ok(other) => Err(told(&unexpected(other))),
        Err(error) => {
            let complaint = attached.complaint.text();
            let words = if complaint.is_empty() { String::new() } else { format!(" ({complaint})") };
            tracing::warn!(instance = backend.config.instance, "a keeper cannot be heard");
            let why = format!("{}{words}", explained(&error));
            Err(SandboxError::Container { why, remedy: String::new() })
        }
    }
}

/// Keeps everybody else from bringing the same work home as long as the result lives.
async fn alone(dir: &Path) -> Result<fs::File, SandboxError> {
    let path = dir.to_owned();
    let locking = tokio::task::spawn_blocking(move || {
        let file = fs::File::open(path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
        Ok(file)
    });
    let locked = locking.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    locked.map_err(|source| SandboxError::File { act: "locking", path: dir.to_owned(), source })
}

fn done(answer: Answer) -> Result<(), KeeperError> {
    match answer {
        Answer::Done => Ok(()),
        other => Err(unexpected(other)),
    }
}

fn told(error: &KeeperError) -> SandboxError {
    SandboxError::Container { why: explained(error), remedy: String::new() }
}

/// An error with its causes.
fn explained(error: &KeeperError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let mut parts: Vec<String> = causes.map(ToString::to_string).collect();
    parts.dedup();
    parts.join(": ")
}
