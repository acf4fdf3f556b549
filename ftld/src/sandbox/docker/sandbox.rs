//! A container that runs as a sandbox.
//!
//! Owns its end and the task that waits for it. Must not know how it was started, or how programs are. The
//! end has one source of truth: the stream of process 1 is closed, and what was made for it is gone.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::super::environment::environment;
use super::super::guest_stream::Guest;
use super::super::linux::process::Held;
use super::super::linux::record;
use super::super::{Command, Ending, Enforcement, Process, Sandbox, SandboxError, SandboxSpec, disk};
use super::elsewhere::Elsewhere;
use super::engine;
use super::launch::Up;
use super::made::Made;
use super::warm::Taken;
use crate::pipe::Pipe;

/// How long processes may take to be gone when the engine does not answer: they end with their stream.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it is waited for at first before the engine is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// What a started sandbox is made of.
pub(super) struct Parts {
    /// Process 1, and what is known of it.
    pub(super) up: Up,
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
    /// Why the end takes longer than it should.
    trouble: watch::Sender<String>,
}

impl DockerSandbox {
    /// Takes over a sandbox that was just started.
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { up, made, elsewhere, spec, enforcement, interval, taken } = parts;
        let Up { guest, inside, pipe, process } = up;
        let (ended, trouble) = (watch::Sender::new(None), watch::Sender::default());
        let running = Arc::new(Running { guest, ending: Mutex::default(), ended, trouble });
        let env = environment(&spec, inside.has_bash);
        let left = Arc::new(Left { made, process, elsewhere, spec });
        tokio::spawn(limit_disk(Arc::clone(&running), Arc::clone(&left), interval));
        tokio::spawn(wait_for_end(Arc::clone(&running), left, taken));
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
async fn wait_for_end(running: Arc<Running>, left: Arc<Left>, taken: Taken) {
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
    // Before anybody hears of the end: the next one may begin at once.
    drop(taken);
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

#[cfg(test)]
mod tests {
    use std::path::Path;

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
        let socket = dir.path().join("engine.sock");
        let serving = tokio::spawn(answer(UnixListener::bind(&socket).unwrap()));
        let configured = Some(format!("unix://{}", socket.display()));
        let around = Surroundings { configured, ..Surroundings::default() };
        let engines = Arc::new(Engines::new(around, Patience::default()));
        let belongs = Belongs { instance: "i".to_owned(), session: "s".to_owned() };
        let mut made = Made::new(Arc::clone(&engines), belongs);
        made.add(&engines.get().await.unwrap(), "a container".to_owned());
        let left = Left { made, process: None, elsewhere: None, spec: spec(dir.path()) };
        assert!(left.end().await.is_ok(), "the engine says that it is gone");
        serving.abort();
        let _aborted = serving.await;
        std::fs::remove_file(&socket).unwrap();
        assert!(left.end().await.is_err(), "nobody says anything");
        // Another engine at the same place knows nothing of it, and the one that made it is asked.
        let other = dir.path().join("other.sock");
        let _serving = tokio::spawn(answer(UnixListener::bind(&other).unwrap()));
        let configured = Some(format!("unix://{}", other.display()));
        let around = Surroundings { configured, ..Surroundings::default() };
        let elsewhere = Arc::new(Engines::new(around, Patience::default()));
        elsewhere.get().await.unwrap();
        assert!(left.end().await.is_err(), "only its maker's word counts");
    }
}
