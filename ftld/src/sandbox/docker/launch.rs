//! Starting a sandbox in a container, from the specification to a closed one.
//!
//! Owns the order of the steps and that a failure leaves nothing behind. Must not know settings of
//! containers ([`super::spec`]), what travels on their streams, or when one is made ahead ([`super::warm`]). It runs as a task of its own: whoever asked
//! may lose interest at any moment, and the sandbox is then ended like any other.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::SystemInfo;
use ftl_guest::protocol::Limits as GuestLimits;
use ftl_guest::relay::INSIDE;
use ftl_guest::stream::{Inside, Setup};
use tokio::sync::watch;

use super::super::environment::environment;
use super::super::guest_stream::{self, Guest};
use super::super::linux::identity;
use super::super::linux::process::Held;
use super::super::linux::record::{self, Record};
use super::super::{
    Command, Ending, Network, Owner, Process, SandboxError, SandboxSpec, Stdio, disk, lost, pipe_stream,
};
use super::attached::Attached;
use super::elsewhere::{Elsewhere, Sent};
use super::engine::Engine;
use super::made::Made;
use super::sandbox::{DockerSandbox, Parts};
use super::setup::guest_layer::GUEST;
use super::setup::record::Record as ImageRecord;
use super::setup::{SetupError, guest_layer};
use super::spec::{BadLayer, ContainerSpec, Inner, Overlay, Role};
use super::warm::{Pace, Taken};
use super::{Backend, DockerConfig, elsewhere, enforcement, left, shown, users, warm};
use crate::pipe::Pipe;

/// How long a started container may take to answer, on a machine that does a hundred other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a sandbox, or takes the one that was made ahead for this very launch.
pub(super) async fn launch(backend: Arc<Backend>, spec: SandboxSpec) -> Result<DockerSandbox, SandboxError> {
    let _starting = backend.ahead.starting();
    let taken = backend.ahead.take(&spec.session);
    let standing = match warm::lease(&backend, &spec).await {
        Some(standing) => standing,
        None => make(&backend, spec, &mut Pace::Now).await?,
    };
    Ok(standing.serve(&backend.config, taken))
}

/// Makes a container, at a pace, and finds that it is closed. A failure leaves nothing behind.
pub(super) async fn make(
    backend: &Arc<Backend>,
    mut spec: SandboxSpec,
    pace: &mut Pace,
) -> Result<Standing, SandboxError> {
    pace.step().await?;
    let engine = backend.engines.get().await?;
    backend.tidy(&engine).await?;
    left::note(&backend.config.home).map_err(|source| helper("noting that containers are made", source))?;
    let belongs = backend.belongs(&spec.session);
    elsewhere::collect(backend, &spec.session, &spec.dir).await?;
    // Whoever had to hear of it has.
    lost::forget(&spec.dir)?;
    // Nothing of an earlier turn is ever used again.
    let mut made = Made::new(Arc::clone(&backend.engines), belongs.clone());
    made.sweep().await?;
    let named = Named::of(&backend.config)?;
    let image = named.find(&engine).await?;
    // Agents of the image are found by their names.
    spec.path.extend(named.path.iter().cloned());
    let info = engine.info().await?;
    let travels = elsewhere::is_needed(backend, &engine, &info, &spec.dir).await?;
    users::can_share(engine.about(), &info, travels)?;
    let user = users::user(engine.about(), &info)?;
    let shown = prepare(&spec, user).await?;
    if pace.is_ahead() && travels {
        // What would have to travel is known when the turn begins.
        let why = "none is made ahead on an engine that cannot see this machine's directories".to_owned();
        return Err(SandboxError::Container { why, remedy: String::new() });
    }
    let placed = place(backend, &engine, (&spec, travels), (&image, user), shown).await;
    let Placed { inner, mut elsewhere, told } = match placed {
        Ok(placed) => placed,
        Err(error) => {
            clean_up(&made, &spec).await;
            return Err(error);
        }
    };
    let container = ContainerSpec {
        belongs,
        image,
        runtime: backend.config.runtime,
        podman: engine.about().is_podman(),
        role: Role::Sandbox(Box::new(inner)),
    };
    match bring_up(backend, &engine, &spec, (&container, &mut made), pace).await {
        Ok(mut up) => {
            if elsewhere.is_some() {
                // A process of this machine that has the same number is not the one that counts.
                up.process = None;
            }
            Ok(Standing { engine, info, up, made, elsewhere, told, spec, image: container.image })
        }
        Err(error) => {
            clean_up(&made, &spec).await;
            if let Some(elsewhere) = elsewhere.take() {
                elsewhere.discard().await?;
            }
            Err(error)
        }
    }
}

/// A container that is up, was found to be closed, and has run nothing yet.
pub(super) struct Standing {
    engine: Engine,
    info: SystemInfo,
    up: Up,
    made: Made,
    /// Its files, when they are not on this machine.
    elsewhere: Option<Elsewhere>,
    /// Where its files were put, for people.
    told: String,
    spec: SandboxSpec,
    /// The image's id, with the helper.
    image: String,
}

impl Standing {
    /// Process 1.
    pub(super) fn guest(&self) -> &Guest {
        &self.up.guest
    }

    /// The environment of its programs.
    pub(super) fn environment(&self) -> Vec<(OsString, OsString)> {
        environment(&self.spec, self.up.inside.has_bash)
    }

    /// The engine that has it, and the id of its image.
    pub(super) fn image(&self) -> (Engine, String) {
        (self.engine.clone(), self.image.clone())
    }

    /// Gives it to a launch: the programs' environment and the files that it is shown are that launch's.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) async fn give(
        mut self,
        spec: &SandboxSpec,
        named: &Named,
    ) -> Result<Self, (Self, SandboxError)> {
        self.spec = spec.clone();
        self.spec.path.extend(named.path.iter().cloned());
        let (spec, user) = (self.spec.clone(), users::user(self.engine.about(), &self.info));
        let written = tokio::task::spawn_blocking(move || shown::rewrite(&spec, user?)).await;
        match written.unwrap_or_else(|error| Err(helper("preparing", std::io::Error::other(error)))) {
            Ok(()) => Ok(self),
            Err(error) => Err((self, error)),
        }
    }

    /// Ends it, with everything that was made for it.
    pub(super) async fn end(self) {
        self.up.guest.close();
        if let Err(error) = self.made.remove().await {
            tracing::warn!(session = %self.spec.session, %error, "a container may be left behind");
        }
        record::forget(&self.spec.dir);
    }

    /// Lets it run programs.
    fn serve(self, config: &DockerConfig, taken: Taken) -> DockerSandbox {
        let Self { engine, info, up, made, elsewhere, told, spec, image: _ } = self;
        let mut enforcement = enforcement::describe(engine.about(), &info, &spec, &up, config);
        enforcement.enforced.push(told);
        let interval = config.disk_interval;
        DockerSandbox::new(Parts { up, made, elsewhere, spec, enforcement, interval, taken })
    }
}

/// Makes the session's directories and the files that it is shown; what stands where.
async fn prepare(spec: &SandboxSpec, user: Owner) -> Result<Vec<(PathBuf, PathBuf)>, SandboxError> {
    let (spec, owner) = (spec.clone(), identity::owner()?);
    let preparing = tokio::task::spawn_blocking(move || {
        disk::prepare(&spec.dir, owner)?;
        shown::write(&spec, user)
    });
    preparing.await.map_err(|error| helper("preparing", std::io::Error::other(error)))?
}

/// Removes what a launch made that failed; by its labels: a call that was given up may have made something all the
/// same.
async fn clean_up(made: &Made, spec: &SandboxSpec) {
    if let Err(left) = made.sweep().await {
        tracing::warn!(session = %spec.session, error = %left, "a container may be left behind");
    }
}

/// Where a sandbox's files are.
struct Placed {
    inner: Inner,
    /// When they are not on this machine.
    elsewhere: Option<Elsewhere>,
    /// What was done, for people.
    told: String,
}

/// Puts a sandbox's files where the engine can mount them.
async fn place(
    backend: &Arc<Backend>,
    engine: &Engine,
    (spec, travels): (&SandboxSpec, bool),
    (image, user): (&str, Owner),
    shown: Vec<(PathBuf, PathBuf)>,
) -> Result<Placed, SandboxError> {
    let limits = spec.limits;
    if travels {
        let (elsewhere, sent) = elsewhere::send(backend, engine, (spec, image, user), shown).await?;
        let Sent { layers, dir, shown, ipv6, told } = sent;
        let workspace = Overlay { layers, dir: dir.clone(), volatile: false };
        let inner = Inner { user, limits, workspace, dir, on_engine: true, ipv6, shown };
        return Ok(Placed { inner, elsewhere: Some(elsewhere), told });
    }
    let (layers, dir) = (spec.layers.clone(), spec.dir.clone());
    let workspace = Overlay { layers, dir: dir.clone(), volatile: identity::owner()?.is_some() };
    // The engine that mounts this machine's directories has this machine's kernel.
    let ipv6 = Path::new("/proc/sys/net/ipv6/conf/lo").exists();
    let inner = Inner { user, limits, workspace, dir, on_engine: false, ipv6, shown };
    let told = "workspace: an overlay of this machine's directories, mounted by the engine".to_owned();
    Ok(Placed { inner, elsewhere: None, told })
}

/// A container that is up and was found to be closed.
pub(super) struct Up {
    /// Process 1.
    pub(super) guest: Guest,
    /// What it found around itself.
    pub(super) inside: Inside,
    /// The way out; none without a network.
    pub(super) pipe: Option<Pipe>,
    /// Process 1 as this kernel has it, where the engine is on it.
    pub(super) process: Option<Held>,
}

/// The image to run, as this machine's files name it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Named {
    /// Its id, when it was set up; a name of the human's may come to mean another one.
    pub(super) image: String,
    /// Directories of its agents' programs.
    pub(super) path: Vec<PathBuf>,
}

impl Named {
    /// What is named now; no engine is asked.
    ///
    /// # Errors
    /// When nothing is.
    pub(super) fn of(config: &DockerConfig) -> Result<Self, SandboxError> {
        let record = match &config.image {
            Some(_) => None,
            None => ImageRecord::read(&config.home).map_err(unusable)?,
        };
        let Some(image) = config.image.as_ref().or(record.as_ref().map(|record| &record.image)) else {
            return Err(SandboxError::Container {
                why: "no image was set up".to_owned(),
                remedy: "make one: `ftlctl setup`, or set `docker.image` in ~/.ftl/config".to_owned(),
            });
        };
        let agents = record.iter().flat_map(|record| &record.agents);
        let mut path: Vec<PathBuf> = Vec::new();
        for dir in agents.filter_map(|agent| Path::new(&agent.program).parent()) {
            if dir.is_absolute() && !path.iter().any(|known| known == dir) {
                path.push(dir.to_owned());
            }
        }
        Ok(Self { image: image.clone(), path })
    }

    /// The id of the image with the helper, which cannot come to mean another one.
    ///
    /// # Errors
    /// When there is no such image, or the engine cannot be asked.
    pub(super) async fn find(&self, engine: &Engine) -> Result<String, SandboxError> {
        Ok(guest_layer::with_guest(engine, &self.image).await.map_err(unusable)?.id)
    }
}

fn unusable(error: SetupError) -> SandboxError {
    match error {
        SetupError::Engine(error) => error.into(),
        error => SandboxError::Container { why: error.to_string(), remedy: error.remedy() },
    }
}

async fn bring_up(
    backend: &Backend,
    engine: &Engine,
    spec: &SandboxSpec,
    (container, made): (&ContainerSpec, &mut Made),
    pace: &mut Pace,
) -> Result<Up, SandboxError> {
    pace.step().await?;
    let (id, attached) = create(engine, container, made).await?;
    pace.step().await?;
    engine.start(&id).await.map_err(explain)?;
    let door = match (spec.network, container.runtime) {
        (Network::None, _) | (_, Some(_)) => None,
        (Network::Egress, None) => {
            let door = ContainerSpec { role: Role::Door { of: id.clone() }, ..container.clone() };
            // Podman gives nobody the streams of a container that joins one which does not run.
            pace.step().await?;
            Some(create(engine, &door, made).await?)
        }
    };
    let setup = Setup {
        limits: GuestLimits {
            processes: spec.limits.processes,
            file_size: spec.limits.file_size_bytes,
            open_files: spec.limits.open_files,
            shared_memory: spec.limits.memory_bytes / 4,
        },
        umask: backend.config.umask,
    };
    let serve = async {
        let Attached { stdin, stdout, complaint } = attached;
        let opened = guest_stream::open(stdout, stdin, setup).await;
        opened.map_err(|error| unheard(&error, &complaint.text()))
    };
    let carry = async {
        let Some((id, Attached { stdin, stdout, complaint })) = door else { return Ok(None) };
        engine.start(&id).await.map_err(explain)?;
        let pipe = pipe_stream::open(stdout, stdin).await;
        pipe.map(Some).map_err(|error| unheard(&error, &complaint.text()))
    };
    let answered = tokio::time::timeout(PATIENCE, async { tokio::try_join!(serve, carry) }).await;
    let ((guest, inside), pipe) = answered.unwrap_or(Err(SandboxError::Slow { after: PATIENCE }))?;
    enforcement::verify(&inside, container)?;
    let pipe = match (spec.network, container.runtime) {
        (Network::Egress, Some(_)) => Some(way_out_inside(&guest).await?),
        _ => pipe,
    };
    let process = hold(engine, &id, &inside, &spec.dir).await?;
    Ok(Up { guest, inside, pipe, process })
}

/// The way out of a sandbox whose network is another kernel's, which no container of the engine's can join: our own
/// program carries it, as one of the sandbox's.
async fn way_out_inside(guest: &Guest) -> Result<Pipe, SandboxError> {
    let argv = vec![GUEST.into(), INSIDE.into()];
    let command = Command { argv, env: Vec::new(), workdir: Some("/".into()), stdio: Stdio::Pipes };
    let (_sender, end) = watch::channel(Some(Ending::Killed));
    let opening = async {
        let Process { stdin, stdout, .. } = guest.spawn(command, &[], end).await?;
        pipe_stream::open(stdout, stdin).await.map_err(|error| unheard(&error, ""))
    };
    tokio::time::timeout(PATIENCE, opening).await.unwrap_or(Err(SandboxError::Slow { after: PATIENCE }))
}

/// Makes a container and connects to its streams, before anything in it runs.
async fn create(
    engine: &Engine,
    container: &ContainerSpec,
    made: &mut Made,
) -> Result<(String, Attached), SandboxError> {
    let body = container.body().map_err(bad)?;
    if let Some(volume) = container.volume().map_err(bad)? {
        engine.create_volume(volume).await?;
    }
    let id = engine.create(&container.name(), body).await.map_err(explain)?;
    made.add(engine, id.clone());
    let attached = engine.attach(&id).await?;
    Ok((id, attached))
}

/// The error of a directory that cannot be mounted.
pub(super) fn bad(error: BadLayer) -> SandboxError {
    SandboxError::Container { why: error.to_string(), remedy: "move FTL's state: set FTL_HOME".to_owned() }
}

/// A hold on process 1, when the engine's processes are this machine's; it is written down for a later daemon.
async fn hold(engine: &Engine, id: &str, inside: &Inside, dir: &Path) -> Result<Option<Held>, SandboxError> {
    let state = engine.inspect(id).await?.and_then(|found| found.state);
    let Some(pid) = state.and_then(|state| state.pid).and_then(|pid| i32::try_from(pid).ok()) else {
        return Ok(None);
    };
    let failed = |source| helper("holding the container's first process", source);
    let held = Held::process_1(pid, inside.uid, inside.pid_namespace).map_err(failed)?;
    if held.is_some() {
        record::write(dir, &Record { processes: vec![record::name(pid).map_err(failed)?] })?;
    }
    Ok(held)
}

/// What lets an old gVisor start on a new kernel. A sandbox has no use for the network that it then lacks.
pub(super) const RUNSC_REMEDY: &str = "if it refuses, give it `\"runtimeArgs\": [\"--network=none\"]` in the engine's \
     daemon.json, or install a newer one";

/// An engine's refusal to start, with what would mend it where that is known.
pub(super) fn explain(error: super::engine::EngineError) -> SandboxError {
    use super::engine::EngineError;
    let EngineError::Refused { message, .. } = &error else { return error.into() };
    let remedy = if message.contains("unknown or invalid runtime") || message.contains("Unknown runtime") {
        "remove `docker.runtime` from ~/.ftl/config, or install that runtime and name it to the engine"
    } else if message.contains("failed to mount local volume")
        || message.contains("bind source path does not exist")
    {
        "the engine cannot mount the workspace: let it be on the engine's disk with `\"workspace\": \"stream\"` in \
         `docker` of ~/.ftl/config, or use the native sandbox"
    } else if message.contains("network enabled in root network namespace") {
        RUNSC_REMEDY
    } else if message.contains("/.ftl/guest") {
        "the image is for another kind of processor: make it again with `ftlctl setup --rebuild`"
    } else {
        return error.into();
    };
    SandboxError::Container { why: error.to_string(), remedy: remedy.to_owned() }
}

/// Why a container's first process was not heard.
fn unheard(error: &dyn std::error::Error, complaint: &str) -> SandboxError {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    let words = if complaint.is_empty() { String::new() } else { format!(" ({complaint})") };
    SandboxError::Container { why: format!("{error}{cause}{words}"), remedy: String::new() }
}

fn helper(act: &'static str, source: std::io::Error) -> SandboxError {
    SandboxError::Helper { act, source }
}
