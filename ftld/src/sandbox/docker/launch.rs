//! Starting a sandbox in a container, from the specification to a closed one.
//!
//! Owns the order of the steps and that a failure leaves nothing behind. Must not know settings of
//! containers ([`super::spec`]) or what travels on their streams. It runs as a task of its own: whoever asked
//! may lose interest at any moment, and the sandbox is then ended like any other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ftl_guest::protocol::Limits as GuestLimits;
use ftl_guest::stream::{Inside, Setup};
use tokio::sync::watch;

use super::super::guest_stream::{self, Guest};
use super::super::linux::identity;
use super::super::linux::process::Held;
use super::super::linux::record::{self, Record};
use super::super::{Network, Owner, SandboxError, SandboxSpec, disk, pipe_stream};
use super::attached::Attached;
use super::engine::Engine;
use super::made::Made;
use super::sandbox::{DockerSandbox, Parts};
use super::setup::record::Record as ImageRecord;
use super::setup::{SetupError, guest_layer};
use super::spec::{ContainerSpec, Inner, Overlay, Role};
use super::{Backend, DockerConfig, enforcement, shown};
use crate::pipe::Pipe;

/// How long a started container may take to answer, on a machine that does a hundred other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a sandbox.
pub(super) async fn launch(
    backend: Arc<Backend>,
    mut spec: SandboxSpec,
) -> Result<DockerSandbox, SandboxError> {
    let engine = backend.engines.get().await?;
    backend.tidy(&engine).await?;
    let belongs = backend.belongs(&spec.session);
    // Nothing of an earlier turn is ever used again.
    let mut made = Made::new(Arc::clone(&backend.engines), belongs.clone());
    made.sweep().await?;
    let image = image(&engine, &backend.config).await?;
    // Agents of the image are found by their names.
    spec.path.extend(image.path);
    let owner = identity::owner()?;
    let user = owner.unwrap_or_else(|| Owner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    });
    let prepared = {
        let spec = spec.clone();
        tokio::task::spawn_blocking(move || {
            disk::prepare(&spec.dir, owner)?;
            shown::write(&spec, user)
        })
    };
    let shown = prepared.await.map_err(|error| helper("preparing", std::io::Error::other(error)))??;
    let inner = Inner {
        user,
        limits: spec.limits,
        workspace: Overlay { layers: spec.layers.clone(), dir: spec.dir.clone(), volatile: owner.is_some() },
        dir: spec.dir.clone(),
        // The engine that mounts this machine's directories has this machine's kernel.
        ipv6: Path::new("/proc/sys/net/ipv6/conf/lo").exists(),
        shown,
    };
    let container = ContainerSpec {
        belongs,
        image: image.id.clone(),
        runtime: backend.config.runtime,
        role: Role::Sandbox(Box::new(inner)),
    };
    let info = engine.info().await?;
    enforcement::usable(engine.about(), &info, spec.network, backend.config.runtime)?;
    match bring_up(&backend, &engine, &spec, &container, &mut made).await {
        Ok(up) => {
            let enforcement = enforcement::describe(engine.about(), &info, &spec, &up, &backend.config);
            let Up { guest, inside, pipe, process } = up;
            let (interval, ended) = (backend.config.disk_interval, watch::Sender::new(None));
            let parts = Parts { guest, inside, pipe, process, made, spec, enforcement, interval, ended };
            Ok(DockerSandbox::new(parts))
        }
        Err(error) => {
            // By its labels: a call that was given up may have made something all the same.
            if let Err(left) = made.sweep().await {
                tracing::warn!(session = %spec.session, error = %left, "a container may be left behind");
            }
            Err(error)
        }
    }
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

/// An image to run.
struct Image {
    /// Its id, which cannot come to mean another one.
    id: String,
    /// Directories of its agents' programs.
    path: Vec<PathBuf>,
}

/// The image to run; it is looked at every time, because its name may have come to mean another one.
async fn image(engine: &Engine, config: &DockerConfig) -> Result<Image, SandboxError> {
    let record = match &config.image {
        Some(_) => None,
        None => ImageRecord::read(&config.home).map_err(unusable)?,
    };
    let Some(name) = config.image.as_ref().or(record.as_ref().map(|record| &record.image)) else {
        return Err(SandboxError::Container {
            why: "no image was set up".to_owned(),
            remedy: "make one: `ftlctl setup`, or set `docker.image` in ~/.ftl/config".to_owned(),
        });
    };
    let id = guest_layer::with_guest(engine, name).await.map_err(unusable)?.id;
    let agents = record.iter().flat_map(|record| &record.agents);
    let mut path: Vec<PathBuf> = Vec::new();
    for dir in agents.filter_map(|agent| Path::new(&agent.program).parent()) {
        if dir.is_absolute() && !path.iter().any(|known| known == dir) {
            path.push(dir.to_owned());
        }
    }
    Ok(Image { id, path })
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
    container: &ContainerSpec,
    made: &mut Made,
) -> Result<Up, SandboxError> {
    let (id, attached) = create(engine, container, made).await?;
    let door = match spec.network {
        Network::None => None,
        Network::Egress => {
            let door = ContainerSpec { role: Role::Door { of: id.clone() }, ..container.clone() };
            // What it joins must run; until then it is only made.
            Some(create(engine, &door, made).await?)
        }
    };
    engine.start(&id).await.map_err(explain)?;
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
    let process = hold(engine, &id, &inside, &spec.dir).await?;
    Ok(Up { guest, inside, pipe, process })
}

/// Makes a container and connects to its streams, before anything in it runs.
async fn create(
    engine: &Engine,
    container: &ContainerSpec,
    made: &mut Made,
) -> Result<(String, Attached), SandboxError> {
    let bad = |error: super::spec::BadLayer| SandboxError::Container {
        why: error.to_string(),
        remedy: "move FTL's state: set FTL_HOME".to_owned(),
    };
    let body = container.body().map_err(bad)?;
    if let Some(volume) = container.volume().map_err(bad)? {
        engine.create_volume(volume).await?;
    }
    let id = engine.create(&container.name(), body).await.map_err(explain)?;
    made.add(engine, id.clone());
    let attached = engine.attach(&id).await?;
    Ok((id, attached))
}

/// A hold on process 1, when the engine's processes are this machine's; it is written down for a later daemon.
async fn hold(engine: &Engine, id: &str, inside: &Inside, dir: &Path) -> Result<Option<Held>, SandboxError> {
    let state = engine.inspect(id).await?.and_then(|found| found.state);
    let Some(pid) = state.and_then(|state| state.pid).and_then(|pid| i32::try_from(pid).ok()) else {
        return Ok(None);
    };
    let failed = |source| helper("holding the container's first process", source);
    let held = Held::process_1(pid, inside.uid).map_err(failed)?;
    if held.is_some() {
        record::write(dir, &Record { processes: vec![record::name(pid).map_err(failed)?] })?;
    }
    Ok(held)
}

/// An engine's refusal to start, with what would mend it where that is known.
fn explain(error: super::engine::EngineError) -> SandboxError {
    use super::engine::EngineError;
    let EngineError::Refused { message, .. } = &error else { return error.into() };
    let remedy = if message.contains("unknown or invalid runtime") || message.contains("Unknown runtime") {
        "remove `docker.runtime` from ~/.ftl/config, or install that runtime and name it to the engine"
    } else if message.contains("failed to mount local volume")
        || message.contains("bind source path does not exist")
    {
        "the engine cannot mount this machine's directories: use one that runs on this machine, not in a \
         virtual machine, or the native sandbox"
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
