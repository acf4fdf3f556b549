//! A container that runs as a sandbox.
//!
//! Owns its end and the task that waits for it. Must not know how it was started, or how programs are. The
//! end has one source of truth: the stream of process 1 is closed, and what was made for it is gone.

use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ftl_guest::stream::Inside;
use tokio::sync::watch;

use super::super::environment::environment;
use super::super::guest_stream::Guest;
use super::super::linux::process::Held;
use super::super::linux::record;
use super::super::{Command, Ending, Enforcement, Process, Sandbox, SandboxError, SandboxSpec, disk};
use super::made::Made;
use super::warm::Taken;
use crate::pipe::Pipe;

/// How long processes may take to be gone when the engine does not answer: they end with their stream.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it is waited for at first before the engine is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// What a started sandbox is made of.
pub(super) struct Parts {
    /// Process 1.
    pub(super) guest: Guest,
    /// What it found around itself.
    pub(super) inside: Inside,
    /// The way out; none without a network.
    pub(super) pipe: Option<Pipe>,
    /// Process 1 as this kernel has it, if it has.
    pub(super) process: Option<Held>,
    /// What the engine made.
    pub(super) made: Made,
    /// What was wanted.
    pub(super) spec: SandboxSpec,
    /// What holds.
    pub(super) enforcement: Enforcement,
    /// How often its disk usage is measured.
    pub(super) interval: Duration,
    /// Where it is said that it has ended.
    pub(super) ended: watch::Sender<Option<Ending>>,
    /// Says that the session has a sandbox.
    pub(super) taken: Taken,
}

/// A sandbox in a container.
pub(super) struct DockerSandbox {
    running: Arc<Running>,
    enforcement: Enforcement,
    env: Vec<(OsString, OsString)>,
    pipe: Mutex<Option<Pipe>>,
}

/// What the sandbox's tasks share.
struct Running {
    guest: Guest,
    /// Why it ends, once that is decided; the first reason counts.
    ending: Mutex<Option<Ending>>,
    ended: watch::Sender<Option<Ending>>,
}

impl DockerSandbox {
    /// Takes over a sandbox that was just started.
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { guest, inside, pipe, process, made, spec, enforcement, interval, ended, taken } = parts;
        let running = Arc::new(Running { guest, ending: Mutex::default(), ended });
        let env = environment(&spec, inside.has_bash);
        tokio::spawn(limit_disk(
            Arc::clone(&running),
            spec.dir.as_path().into(),
            (spec.limits.disk_bytes, interval),
        ));
        tokio::spawn(wait_for_end(Arc::clone(&running), (made, process), spec, taken));
        Self { running, enforcement, env, pipe: Mutex::new(pipe) }
    }
}

#[async_trait]
impl Sandbox for DockerSandbox {
    fn enforcement(&self) -> &Enforcement {
        &self.enforcement
    }

    fn take_pipe(&self) -> Option<Pipe> {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn spawn(&self, command: Command) -> Result<Process, SandboxError> {
        self.running.guest.spawn(command, &self.env, self.running.ended.subscribe()).await
    }

    async fn ended(&self) -> Ending {
        self.running.wait().await
    }

    async fn kill(&self) -> Ending {
        self.running.end(Ending::Killed);
        self.running.wait().await
    }
}

impl Drop for DockerSandbox {
    fn drop(&mut self) {
        self.running.end(Ending::Killed);
    }
}

impl Running {
    fn ending(&self) -> MutexGuard<'_, Option<Ending>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends everything; when it is ending already the first reason stays.
    fn end(&self, ending: Ending) {
        self.ending().get_or_insert(ending);
        self.guest.close();
    }

    async fn wait(&self) -> Ending {
        let mut ended = self.ended.subscribe();
        match ended.wait_for(Option::is_some).await {
            Ok(ending) => ending.clone().unwrap_or(Ending::Lost),
            Err(_) => Ending::Lost,
        }
    }
}

/// Ends the sandbox when it has more on disk than it may.
async fn limit_disk(running: Arc<Running>, dir: Arc<Path>, (limit, interval): (u64, Duration)) {
    tokio::select! {
        () = running.guest.gone() => {}
        ending = disk::overflow(dir, limit, interval) => running.end(ending),
    }
}

/// Waits for the end of process 1's stream, and removes what held the sandbox together.
async fn wait_for_end(
    running: Arc<Running>,
    (made, process): (Made, Option<Held>),
    spec: SandboxSpec,
    taken: Taken,
) {
    running.guest.gone().await;
    let known = running.ending().clone();
    let ending = match known {
        Some(ending) => ending,
        None => {
            let why = made.ending().await;
            running.ending().get_or_insert(Ending::Gone { why }).clone()
        }
    };
    let mut pause = FIRST_PAUSE;
    while !is_over(&made, process.as_ref(), &spec).await {
        // What is written now is not read while somebody may still write it.
        tracing::error!(session = %spec.session, "it is not known whether a container's processes are gone");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PATIENCE);
    }
    record::forget(&spec.dir);
    // Before anybody hears of the end: the next one may begin at once.
    drop(taken);
    running.ended.send_replace(Some(ending));
}

/// Removes what was made, and says whether no process of it is left: by the kernel's word where there is a hold
/// on process 1, else by that of the very engine that made it.
async fn is_over(made: &Made, process: Option<&Held>, spec: &SandboxSpec) -> bool {
    let removed = made.remove().await;
    if let Err(error) = &removed {
        tracing::error!(session = %spec.session, %error, "a container may be left behind");
    }
    let Some(process) = process else { return removed.is_ok() };
    if removed.is_err() {
        // Only root may end it this way; for others it ends with its stream.
        process.kill();
    }
    matches!(tokio::time::timeout(PATIENCE, process.gone()).await, Ok(Ok(())))
}
