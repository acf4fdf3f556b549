//! A container that runs as a sandbox.
//!
//! Owns its end and the task that waits for it. Must not know how it was started, or how programs are. The
//! end has one source of truth: the stream of process 1 is closed, and what was made for it is gone.

use std::ffi::OsString;
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
use super::elsewhere::Elsewhere;
use super::engine;
use super::made::Made;
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
    /// Its files, when they are not on this machine.
    pub(super) elsewhere: Option<Elsewhere>,
    /// What was wanted.
    pub(super) spec: SandboxSpec,
    /// What holds.
    pub(super) enforcement: Enforcement,
    /// How often its disk usage is measured.
    pub(super) interval: Duration,
    /// Where it is said that it has ended.
    pub(super) ended: watch::Sender<Option<Ending>>,
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
    /// Why the end takes longer than it should.
    trouble: watch::Sender<String>,
}

impl DockerSandbox {
    /// Takes over a sandbox that was just started.
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { guest, inside, pipe, process, made, elsewhere, spec, enforcement, interval, ended } =
            parts;
        let running =
            Arc::new(Running { guest, ending: Mutex::default(), ended, trouble: watch::Sender::default() });
        let env = environment(&spec, inside.has_bash);
        let left = Arc::new(Left { made, process, elsewhere, spec });
        tokio::spawn(limit_disk(Arc::clone(&running), Arc::clone(&left), interval));
        tokio::spawn(wait_for_end(Arc::clone(&running), left));
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

    async fn trouble(&self) -> String {
        let mut trouble = self.running.trouble.subscribe();
        let why = trouble.wait_for(|why| !why.is_empty()).await.map(|why| why.clone());
        match why {
            Ok(why) => why,
            Err(_) => std::future::pending().await,
        }
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

/// What is left when its processes are gone.
struct Left {
    made: Made,
    process: Option<Held>,
    elsewhere: Option<Elsewhere>,
    spec: SandboxSpec,
}

/// Ends the sandbox when it has more on disk than it may.
async fn limit_disk(running: Arc<Running>, left: Arc<Left>, interval: Duration) {
    let limit = left.spec.limits.disk_bytes;
    let overflow = async {
        match &left.elsewhere {
            Some(elsewhere) => elsewhere.overflow(limit, interval).await,
            None => disk::overflow(left.spec.dir.as_path().into(), limit, interval).await,
        }
    };
    tokio::select! {
        () = running.guest.gone() => {}
        ending = overflow => running.end(ending),
    }
}

/// Waits for the end of process 1's stream, removes what held the sandbox together, and has its work here.
async fn wait_for_end(running: Arc<Running>, left: Arc<Left>) {
    running.guest.gone().await;
    let known = running.ending().clone();
    let mut ending = match known {
        Some(ending) => ending,
        None => {
            let why = left.made.ending().await;
            running.ending().get_or_insert(Ending::Gone { why }).clone()
        }
    };
    let mut pause = FIRST_PAUSE;
    loop {
        match left.settle().await {
            Settled::Done => break,
            // The session asks for it again; what was done here before it does not count as its work.
            Settled::Unread(why) => {
                ending = Ending::Gone { why };
                break;
            }
            Settled::Waiting(why) => drop(running.trouble.send_replace(why)),
        }
        // What is written now is not read while somebody may still write it.
        tracing::error!(session = %left.spec.session, "it is not known whether a container's processes are gone");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PATIENCE);
    }
    record::forget(&left.spec.dir);
    running.ended.send_replace(Some(ending));
}

/// How far the end has come.
enum Settled {
    /// Nothing is left, and the work is here.
    Done,
    /// No process is left; the work cannot be read, for this reason.
    Unread(String),
    /// It must be tried again, for this reason.
    Waiting(String),
}

impl Left {
    async fn settle(&self) -> Settled {
        if let Err(why) = self.end().await {
            return Settled::Waiting(why);
        }
        let Some(elsewhere) = &self.elsewhere else { return Settled::Done };
        match elsewhere.bring_home().await {
            Ok(()) => Settled::Done,
            Err(SandboxError::Engine(error)) if error.is_lost() => {
                Settled::Waiting(waiting(elsewhere, &engine::explained(&error)))
            }
            Err(error) => Settled::Unread(error.to_string()),
        }
    }

    /// Removes what was made; an error says why it is not known that no process of it is left: by the kernel's
    /// word where there is a hold on process 1, else by that of the very engine that made it.
    async fn end(&self) -> Result<(), String> {
        let removed = self.made.remove().await;
        if let Err(error) = &removed {
            tracing::error!(session = %self.spec.session, %error, "a container may be left behind");
        }
        let Some(process) = &self.process else {
            return removed.map_err(|error| match &self.elsewhere {
                Some(elsewhere) => waiting(elsewhere, &engine::explained(&error)),
                None => engine::explained(&error),
            });
        };
        if removed.is_err() {
            // Only root may end it this way; for others it ends with its stream.
            process.kill();
        }
        match tokio::time::timeout(PATIENCE, process.gone()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err("the sandbox's first process does not end".to_owned()),
        }
    }
}

fn waiting(elsewhere: &Elsewhere, why: &str) -> String {
    format!("{}, and is read when that can be reached: {why}", elsewhere.told())
}
