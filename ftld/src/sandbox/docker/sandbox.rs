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

#[cfg(test)]
mod tests {
    use ftl_core::id::SessionId;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::super::super::{Limits, Network};
    use super::super::endpoint::Surroundings;
    use super::super::engine::{Engines, Patience};
    use super::super::spec::Belongs;
    use super::*;

    const VERSION: &str = r#"{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12","Os":"linux"}"#;

    /// An engine that has nothing.
    async fn answer(listener: UnixListener) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap() > 0 {}
            let (status, body) = match head.starts_with(b"GET /version") {
                true => ("200 OK", VERSION),
                false => ("404 Not Found", r#"{"message":"no such thing"}"#),
            };
            let text = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(text.as_bytes()).await.unwrap();
        }
    }

    fn spec(dir: &Path) -> SandboxSpec {
        SandboxSpec {
            session: SessionId::from_random([0; 10]),
            layers: Vec::new(),
            dir: dir.to_owned(),
            limits: Limits {
                memory_bytes: 1,
                processes: 1,
                cpu_percent: 1,
                file_size_bytes: 1,
                disk_bytes: 1,
                open_files: 1,
            },
            tools: Vec::new(),
            shared: Vec::new(),
            path: Vec::new(),
            env: Vec::new(),
            network: Network::None,
            files: Vec::new(),
        }
    }

    #[tokio::test]
    async fn an_end_is_believed_only_when_the_kernel_or_the_engine_that_made_it_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(dir.path());
        let socket = dir.path().join("engine.sock");
        let serving = tokio::spawn(answer(UnixListener::bind(&socket).unwrap()));
        let configured = Some(format!("unix://{}", socket.display()));
        let around = Surroundings { configured, ..Surroundings::default() };
        let engines = Arc::new(Engines::new(around, Patience::default()));
        let belongs = Belongs { instance: "i".to_owned(), session: "s".to_owned() };
        let mut made = Made::new(Arc::clone(&engines), belongs);
        made.add(&engines.get().await.unwrap(), "a container".to_owned());
        assert!(is_over(&made, None, &spec).await, "the engine says that it is gone");
        serving.abort();
        let _aborted = serving.await;
        std::fs::remove_file(&socket).unwrap();
        assert!(!is_over(&made, None, &spec).await, "nobody says anything");
        // Another engine at the same place knows nothing of it, and the one that made it is asked.
        let other = dir.path().join("other.sock");
        let _serving = tokio::spawn(answer(UnixListener::bind(&other).unwrap()));
        let configured = Some(format!("unix://{}", other.display()));
        let around = Surroundings { configured, ..Surroundings::default() };
        let elsewhere = Arc::new(Engines::new(around, Patience::default()));
        elsewhere.get().await.unwrap();
        assert!(!is_over(&made, None, &spec).await, "only its maker's word counts");
    }
}
