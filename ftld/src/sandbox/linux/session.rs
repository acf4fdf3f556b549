//! A sandbox that runs.
//!
//! Owns its programs, its end and the tasks that wait for both. Must not know how it was built. The end
//! has one source of truth: the launcher has been waited for. Everything else waits for that.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ftl_guest::frame::Frame;
use ftl_guest::protocol::{Bytes, Reply, Request, Size, Spawn, WORKSPACE};
use rustix::process::Signal;
use tokio::process::Child;
use tokio::sync::{oneshot, watch};

use crate::pipe::Pipe;

use super::super::environment::environment;
use super::super::{
    Command, Ending, Enforcement, ExitStatus, Process, ProcessControl, Sandbox, SandboxError, SandboxSpec,
    Stdio, disk,
};
use super::cgroup::Group;
use super::control::{Replies, Requests};
use super::pipes::{Pipes, Terminal};
use super::record;

/// What a started sandbox is made of.
pub(super) struct Parts {
    /// The launcher.
    pub(super) child: Child,
    /// Where it is asked.
    pub(super) requests: Requests,
    /// Where it answers.
    pub(super) replies: Replies,
    /// Its control groups.
    pub(super) group: Group,
    /// Process 1.
    pub(super) init: OwnedFd,
    /// What was wanted.
    pub(super) spec: SandboxSpec,
    /// What holds.
    pub(super) enforcement: Enforcement,
    /// How often its disk usage is measured.
    pub(super) disk_interval: Duration,
    /// Its way out; none without a network.
    pub(super) pipe: Option<Pipe>,
    /// Where it is said that it has ended.
    pub(super) ended: watch::Sender<Option<Ending>>,
}

/// A sandbox of the kernel's own parts.
pub(super) struct NativeSandbox {
    running: Arc<Running>,
    enforcement: Enforcement,
    env: Vec<(OsString, OsString)>,
    pipe: Mutex<Option<Pipe>>,
}

/// What the sandbox's tasks share.
struct Running {
    init: OwnedFd,
    requests: Requests,
    next: AtomicU64,
    state: Mutex<State>,
    ended: watch::Sender<Option<Ending>>,
}

#[derive(Default)]
struct State {
    /// Why it ends, once that is decided; the first reason counts.
    ending: Option<Ending>,
    /// The programs that were asked for and have not ended.
    programs: HashMap<u64, Program>,
}

struct Program {
    started: Option<oneshot::Sender<Result<Begun, NotBegun>>>,
    exit: oneshot::Sender<ExitStatus>,
}

struct Begun {
    pid: i32,
    fds: Vec<OwnedFd>,
}

struct NotBegun {
    stage: String,
    errno: i32,
}

/// Acts on one program.
struct Handle {
    id: u64,
    running: Arc<Running>,
    terminal: Option<Terminal>,
}

// === impl NativeSandbox ===

impl NativeSandbox {
    /// Takes over a sandbox that was just built.
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            child,
            requests,
            replies,
            group,
            init,
            mut spec,
            enforcement,
            disk_interval,
            pipe,
            ended,
        } = parts;
        // They are in place, and may be large.
        spec.files = Vec::new();
        let running =
            Arc::new(Running { init, requests, next: AtomicU64::new(1), state: Mutex::default(), ended });
        let env = environment(&spec, Path::new("/bin/bash").exists());
        tokio::spawn(listen(Arc::clone(&running), replies));
        tokio::spawn(limit_disk(Arc::clone(&running), spec.clone(), disk_interval));
        tokio::spawn(wait_for_end(Arc::clone(&running), child, group, spec));
        Self { running, enforcement, env, pipe: Mutex::new(pipe) }
    }
}

#[async_trait]
impl Sandbox for NativeSandbox {
    fn enforcement(&self) -> &Enforcement {
        &self.enforcement
    }

    fn take_pipe(&self) -> Option<Pipe> {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn spawn(&self, command: Command) -> Result<Process, SandboxError> {
        let program = command.argv.first().cloned().unwrap_or_default();
        let failed =
            |source| SandboxError::Spawn { program: program.clone(), stage: "request".to_owned(), source };
        let pipes = match command.stdio {
            Stdio::Pipes => Some(Pipes::new().map_err(failed)?),
            Stdio::Terminal { .. } => None,
        };
        let (fds, streams) = match pipes {
            Some(Pipes { program, stdin, stdout, stderr }) => (program.into(), Some((stdin, stdout, stderr))),
            None => (Vec::new(), None),
        };
        let id = self.running.next.fetch_add(1, Ordering::Relaxed);
        let (started, exit) = self.running.expect(id)?;
        let request = request(id, command, &self.env);
        if let Err(error) = self.running.requests.send(&request, fds) {
            self.running.state().programs.remove(&id);
            return Err(failed(error));
        }
        let begun = match started.await {
            Ok(Ok(begun)) => begun,
            Ok(Err(NotBegun { stage, errno })) => {
                return Err(SandboxError::Spawn {
                    program,
                    stage,
                    source: io::Error::from_raw_os_error(errno),
                });
            }
            Err(_) => return Err(SandboxError::Ended { ending: self.ended().await }),
        };
        let terminal = match (&streams, begun.fds.into_iter().next()) {
            (None, Some(fd)) => Some(Terminal::new(fd).map_err(failed)?),
            (None, None) => return Err(failed(io::ErrorKind::InvalidData.into())),
            (Some(_), _) => None,
        };
        let control = Arc::new(Handle { id, running: Arc::clone(&self.running), terminal: terminal.clone() });
        let exit = Box::pin(exited(Arc::clone(&self.running), exit));
        Ok(match (streams, terminal) {
            (Some((stdin, stdout, stderr)), _) => {
                Process { pid: begun.pid, stdin, stdout, stderr: Some(stderr), control, exit }
            }
            (None, Some(terminal)) => {
                let (stdin, stdout) = (Box::new(terminal.clone()), Box::new(terminal));
                Process { pid: begun.pid, stdin, stdout, stderr: None, control, exit }
            }
            (None, None) => return Err(failed(io::ErrorKind::InvalidData.into())),
        })
    }

    async fn ended(&self) -> Ending {
        self.running.wait().await
    }

    async fn kill(&self) -> Ending {
        self.running.end(Ending::Killed);
        self.running.wait().await
    }
}

impl Drop for NativeSandbox {
    fn drop(&mut self) {
        self.running.end(Ending::Killed);
    }
}

// === impl Running ===

impl Running {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces a program: what says that it began, and what says that it ended.
    #[expect(clippy::type_complexity, reason = "two receivers, used once")]
    fn expect(
        &self,
        id: u64,
    ) -> Result<(oneshot::Receiver<Result<Begun, NotBegun>>, oneshot::Receiver<ExitStatus>), SandboxError>
    {
        let mut state = self.state();
        if let Some(ending) = &state.ending {
            return Err(SandboxError::Ended { ending: ending.clone() });
        }
        let ((started, begun), (exit, exited)) = (oneshot::channel(), oneshot::channel());
        state.programs.insert(id, Program { started: Some(started), exit });
        Ok((begun, exited))
    }

    /// Ends everything; when it is ending already the first reason stays.
    fn end(&self, ending: Ending) {
        self.state().ending.get_or_insert(ending);
        // It may have ended by itself in this moment.
        let _ = rustix::process::pidfd_send_signal(&self.init, Signal::KILL);
    }

    async fn wait(&self) -> Ending {
        let mut ended = self.ended.subscribe();
        match ended.wait_for(Option::is_some).await {
            Ok(ending) => ending.clone().unwrap_or(Ending::Lost),
            Err(_) => Ending::Lost,
        }
    }

    fn hear(&self, frame: Frame<Reply>) -> Result<(), &'static str> {
        let mut state = self.state();
        match frame.message {
            Reply::Spawned { id, pid } => {
                let program = state.programs.get_mut(&id).ok_or("a program that nobody asked for")?;
                let started = program.started.take().ok_or("a program that started twice")?;
                // Whoever asked may have gone; the program runs on and its end is heard.
                let _ = started.send(Ok(Begun { pid, fds: frame.fds }));
            }
            Reply::NotSpawned { id, stage, errno } => {
                let program = state.programs.remove(&id).ok_or("a program that nobody asked for")?;
                let started = program.started.ok_or("a program that both started and did not")?;
                let _ = started.send(Err(NotBegun { stage, errno }));
            }
            Reply::Exited { id, status } => {
                let program =
                    state.programs.remove(&id).ok_or("the end of a program that nobody asked for")?;
                let _ = program.exit.send(status.into());
            }
            Reply::NeedsIds | Reply::Started | Reply::Ready(_) | Reply::Failed(_) => {
                return Err("a message out of its time");
            }
        }
        Ok(())
    }
}

// === the tasks ===

/// Hears the helper until it goes; what does not keep to the protocol is ended.
async fn listen(running: Arc<Running>, mut replies: Replies) {
    loop {
        let heard = match replies.next().await {
            Ok(Some(frame)) => running.hear(frame),
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "a sandbox's helper cannot be heard");
                break;
            }
        };
        if let Err(what) = heard {
            tracing::warn!(what, "a sandbox's helper does not keep to the protocol");
            break;
        }
    }
    running.end(Ending::Lost);
    // Nobody will report on them any more.
    running.state().programs.clear();
}

/// Ends the sandbox when it has more on disk than it may.
async fn limit_disk(running: Arc<Running>, spec: SandboxSpec, interval: Duration) {
    tokio::select! {
        _ = running.wait() => {}
        ending = disk::overflow(spec.dir.into(), spec.limits.disk_bytes, interval) => running.end(ending),
    }
}

/// Waits for the launcher, which outlives everything else, and removes what held the sandbox together.
async fn wait_for_end(running: Arc<Running>, mut child: Child, group: Group, spec: SandboxSpec) {
    if let Err(error) = child.wait().await {
        tracing::error!(session = %spec.session, %error, "a sandbox's end cannot be waited for");
    }
    group.remove().await;
    record::forget(&spec.dir);
    let ending = running.state().ending.get_or_insert(Ending::Lost).clone();
    running.ended.send_replace(Some(ending));
}

async fn exited(
    running: Arc<Running>,
    exit: oneshot::Receiver<ExitStatus>,
) -> Result<ExitStatus, SandboxError> {
    match exit.await {
        Ok(status) => Ok(status),
        Err(_) => Err(SandboxError::Ended { ending: running.wait().await }),
    }
}

// === requests ===

fn request(id: u64, command: Command, base: &[(OsString, OsString)]) -> Request {
    let mut env = base.to_vec();
    let terminal = match command.stdio {
        Stdio::Pipes => None,
        Stdio::Terminal { size, term } => {
            env.push(("TERM".into(), term.into()));
            Some(size)
        }
    };
    env.extend(command.env);
    let workdir = command.workdir.unwrap_or_else(|| WORKSPACE.into());
    Request::Spawn(Spawn {
        id,
        argv: command.argv.into_iter().map(Bytes::from).collect(),
        env: env.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        workdir: workdir.into(),
        terminal,
    })
}

// === impl Handle ===

#[async_trait]
impl ProcessControl for Handle {
    async fn signal(&self, signal: i32) -> Result<(), SandboxError> {
        let request = Request::Signal { id: self.id, signal };
        match self.running.requests.send(&request, Vec::new()) {
            Ok(()) => Ok(()),
            Err(_) => Err(SandboxError::Ended { ending: self.running.wait().await }),
        }
    }

    fn resize(&self, size: Size) -> Result<(), SandboxError> {
        let Some(terminal) = &self.terminal else { return Ok(()) };
        terminal.resize(size).map_err(|source| SandboxError::Helper { act: "resizing a terminal", source })
    }
}
