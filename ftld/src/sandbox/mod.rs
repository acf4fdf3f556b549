//! Sandboxes: where untrusted programs run.
//!
//! Owns the seam: what a sandbox is asked for, what it promises, and how it fails. Must not know
//! sessions, snapshots or agents: it is given directories and programs. A backend that cannot give what
//! it promises fails with the cause and the remedy; nothing ever runs outside a sandbox instead.

mod disk;
pub mod docker;
mod environment;
mod guest_stream;
pub mod linux;
pub mod lost;
mod pipe_stream;
mod tools;

use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ftl_core::id::SessionId;
use ftl_guest::protocol::Exit;
use tokio::io::{AsyncRead, AsyncWrite};

pub use disk::usage_of as disk_usage;
pub use ftl_guest::protocol::{Carrier, HOME, Network, PROXY_PORT, Size, Stage, WORKSPACE};
pub use tools::ToolError;

use crate::pipe::Pipe;

/// Makes sandboxes.
#[async_trait]
pub trait SandboxBackend: Send + Sync {
    /// The name by which people choose it.
    fn name(&self) -> &'static str;

    /// Whom a base tree and a session's directories must belong to; `None` when it is whoever runs the
    /// daemon. The backend changes the owner of what it makes itself; base trees are their maker's duty.
    ///
    /// # Errors
    /// When no identity is left that a sandbox could have.
    fn owner(&self) -> Result<Option<Owner>, SandboxError>;

    /// Where the programs in its sandboxes come from.
    fn programs(&self) -> Programs {
        Programs::Host
    }

    /// Starts a sandbox. When this returns, everything it [enforces](Sandbox::enforcement) is in force.
    ///
    /// # Errors
    /// When any part of it cannot be had; nothing is left behind then.
    async fn launch(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError>;

    /// Makes the sandbox of a launch ahead, in the background: whatever is launched meanwhile goes first. The
    /// next [launch](Self::launch) of the session takes it when all that it was made of is the same then; what is
    /// not part of it, and may differ, are the environment and the contents of [files](SandboxSpec::files). Any
    /// other launch of the session ends it, and no other session ever gets it. Of the programs in `load` the
    /// contents are brought into memory; none of them runs. Resolves when it stands ready; whoever stops waiting
    /// stops nothing.
    ///
    /// # Errors
    /// Those of a launch; when it is not wanted any more.
    async fn warm(&self, _spec: SandboxSpec, _load: Vec<OsString>) -> Result<(), SandboxError> {
        Ok(())
    }

    /// Whether making one ahead saves anything.
    fn warms(&self) -> bool {
        false
    }

    /// Ends the sandbox that was made ahead for a session, or all of them, and waits for that.
    async fn cool(&self, _session: Option<&SessionId>) {}

    /// Looks whether those that were made ahead are still what a launch would make, and ends the others.
    async fn tend(&self) {}

    /// Whether a sandbox stands ready for a session.
    fn is_warm(&self, _session: &SessionId) -> bool {
        false
    }

    /// Ends what an earlier daemon left of a session: processes and what held them together. `dir` is
    /// the session's directory. When this returns none of it exists any more.
    ///
    /// # Errors
    /// When something of it cannot be ended.
    async fn sweep(&self, session: &SessionId, dir: &Path) -> Result<(), SandboxError>;

    /// Makes all that its sandboxes left in a session's directory removable by the daemon. None of them may
    /// run.
    ///
    /// # Errors
    /// When something of it stays somebody else's.
    async fn clear(&self, _dir: &Path) -> Result<(), SandboxError> {
        Ok(())
    }

    /// Brings home what a session's sandboxes may have left on another machine. When this returns, the session's
    /// directory has all of its work.
    ///
    /// # Errors
    /// When it cannot be had now; nothing is lost by that.
    async fn bring_home(&self, _session: &SessionId, _dir: &Path) -> Result<(), SandboxError> {
        Ok(())
    }

    /// Whether the newest of a session's work may be on another machine, and not in its directory.
    fn holds_work(&self, _dir: &Path) -> bool {
        false
    }

    /// Removes what another machine has of a session's work, unread. When this returns, none of it comes home any
    /// more.
    ///
    /// # Errors
    /// When it cannot be removed now; then it stays there and is still known.
    async fn give_up(&self, _session: &SessionId, _dir: &Path) -> Result<(), SandboxError> {
        Ok(())
    }

    /// Says what works here, by trying it with the limits that a session would get. `scratch` is an
    /// existing directory for throw-away files.
    async fn doctor(&self, scratch: &Path, limits: Limits) -> Vec<Check>;
}

/// A sandbox that takes programs. Dropping it ends every process in it.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// What holds in it and what does not.
    fn enforcement(&self) -> &Enforcement;

    /// The only way out of it, once: `None` without a [network](SandboxSpec::network) and from the second
    /// call on. It ends with the sandbox; until somebody takes it, whoever connects waits.
    fn take_pipe(&self) -> Option<Pipe>;

    /// Starts a program.
    ///
    /// # Errors
    /// When it cannot be started, or the sandbox has ended.
    async fn spawn(&self, command: Command) -> Result<Process, SandboxError>;

    /// Waits for the end of the sandbox. When this returns no process of it exists any more.
    async fn ended(&self) -> Ending;

    /// Resolves when its end takes longer than it should, with the reason; a sentence without a full stop.
    async fn trouble(&self) -> String {
        std::future::pending().await
    }

    /// Ends every process in it, however it was started, and waits for that.
    async fn kill(&self) -> Ending;
}

/// Where the programs in a sandbox come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Programs {
    /// The host: what a session needs is found there and shown as [tools](SandboxSpec::tools).
    Host,
    /// An image that was made before: they are found by their names, and tools mean nothing.
    Image,
}

/// A user and group of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// The sandbox that is wanted.
#[derive(Clone, Debug)]
pub struct SandboxSpec {
    /// Whose it is.
    pub session: SessionId,
    /// The directories below the workspace, as an overlay has them: the one on top first, at least one. They
    /// must not change while the sandbox lives.
    pub layers: Vec<PathBuf>,
    /// The session's own directory. `upper`, `work`, `home`, `tmp` and `pid` in it belong to the backend,
    /// which makes what is missing; `upper` is what the session changed.
    pub dir: PathBuf,
    /// What it may use up.
    pub limits: Limits,
    /// Files and directories of the host, absolute, shown read-only at the same path, where
    /// [programs](SandboxBackend::programs) come from there.
    pub tools: Vec<PathBuf>,
    /// Directories of the daemon's own, shown read-only elsewhere: absolute path on the host, free of links,
    /// and absolute path in the sandbox.
    pub shared: Vec<(PathBuf, PathBuf)>,
    /// Directories to look for programs in before the system's own.
    pub path: Vec<PathBuf>,
    /// Environment of every program, beside the usual names.
    pub env: Vec<(OsString, OsString)>,
    /// What network it has.
    pub network: Network,
    /// Files that are shown read-only, over what stands at their paths: absolute path, content. The
    /// directories above a path are made, unless they are the host's.
    pub files: Vec<(PathBuf, Vec<u8>)>,
}

/// What a sandbox may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory of all its processes, bytes.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Processor time, per cent of one processor.
    pub cpu_percent: u32,
    /// The longest file, bytes.
    pub file_size_bytes: u64,
    /// What it may have on disk, bytes.
    pub disk_bytes: u64,
    /// Open descriptors of one process.
    pub open_files: u64,
}

/// What holds in a sandbox and what does not, in sentences for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enforcement {
    /// What holds.
    pub enforced: Vec<String>,
    /// What was asked for and does not hold, with the reason.
    pub unenforced: Vec<String>,
}

/// A program to run.
#[derive(Clone, Debug)]
pub struct Command {
    /// Program and arguments. A program without a slash is looked up in the sandbox's `PATH`.
    pub argv: Vec<OsString>,
    /// Environment beside the sandbox's.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory as seen from inside; absent means the workspace.
    pub workdir: Option<PathBuf>,
    /// What its standard descriptors are.
    pub stdio: Stdio,
}

/// What a program's standard descriptors are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stdio {
    /// Three pipes.
    Pipes,
    /// One terminal of its own.
    Terminal {
        /// Its size.
        size: Size,
        /// Its kind, the value of `TERM`.
        term: String,
    },
}

/// The end of a stream that is written.
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// The end of a stream that is read.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// A program that runs. Dropping it does not end it.
pub struct Process {
    /// Its process id as seen from inside.
    pub pid: i32,
    /// Its standard input.
    pub stdin: Writer,
    /// Its standard output; all of its terminal.
    pub stdout: Reader,
    /// Its standard error; absent with a terminal.
    pub stderr: Option<Reader>,
    /// Acts on it while others read and write.
    pub control: Arc<dyn ProcessControl>,
    /// Resolves when it has ended; its children may still hold the pipes.
    pub exit: Exiting,
}

/// The future end of a program.
pub type Exiting = Pin<Box<dyn Future<Output = Result<ExitStatus, SandboxError>> + Send>>;

/// Acts on a program that runs.
#[async_trait]
pub trait ProcessControl: Send + Sync {
    /// Sends a signal to its process group. One that has ended is left alone.
    ///
    /// # Errors
    /// When the sandbox has ended.
    async fn signal(&self, signal: i32) -> Result<(), SandboxError>;

    /// Gives its terminal another size; without a terminal nothing happens.
    ///
    /// # Errors
    /// When the terminal is gone.
    fn resize(&self, size: Size) -> Result<(), SandboxError>;
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Why a sandbox ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The daemon ended it.
    Killed,
    /// It had more on disk than it may.
    DiskFull {
        /// What it had, bytes.
        used: u64,
        /// What it may have, bytes.
        limit: u64,
    },
    /// It had as many files and directories as nobody may have.
    TooManyFiles {
        /// How many that is.
        limit: u64,
    },
    /// It nested directories so deep that what it has on disk cannot be measured.
    DiskUnmeasurable,
    /// Its process 1 ended without being told to; when memory runs out the kernel may do that.
    Lost,
    /// It was taken away, or whoever held it went away.
    Gone {
        /// What is known of it: a sentence without a full stop.
        why: String,
    },
}

/// One thing that was examined on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What, in a word or two.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
    /// What was found.
    pub detail: String,
    /// The command or setting that would mend it; empty when nothing needs to be done.
    pub remedy: String,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It works.
    Ok,
    /// It works in part.
    Warning,
    /// Without it there is no sandbox.
    Failed,
}

/// A sandbox that cannot be had, or cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// This machine does not allow a part of it.
    #[error("this machine does not let FTL build a sandbox: {cause}")]
    Unavailable {
        /// The step that failed.
        stage: Stage,
        /// Why, as far as can be told.
        cause: String,
        /// What would mend it; empty when nothing is known.
        remedy: String,
        /// What the kernel said.
        #[source]
        source: ftl_guest::protocol::Failure,
    },
    /// A tool must not be shown.
    #[error("a tool cannot be shown in the sandbox")]
    Tool(#[from] ToolError),
    /// A file or directory of the session could not be made ready.
    #[error("{act} {}", path.display())]
    File {
        /// What was done.
        act: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The helper could not be started or did not behave.
    #[error("{act}")]
    Helper {
        /// What was done.
        act: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The helper did not finish in time.
    #[error("the sandbox was not ready after {} seconds", after.as_secs())]
    Slow {
        /// How long it was waited for.
        after: Duration,
    },
    /// A program could not be started.
    #[error("starting {program:?} in the sandbox ({stage})")]
    Spawn {
        /// Which.
        program: OsString,
        /// The step: `request`, `workdir`, `terminal`, `exec`.
        stage: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The sandbox has ended.
    #[error("the sandbox has ended: {ending}")]
    Ended {
        /// Why.
        ending: Ending,
    },
    /// The container engine cannot be had, or does not do what it was asked.
    #[error("{}", docker::engine::explained(.0))]
    Engine(docker::engine::EngineError),
    /// A container came up, and is not as closed as it must be, or cannot be used.
    #[error("the container cannot be used: {why}{}{remedy}", if remedy.is_empty() { "" } else { "; " })]
    Container {
        /// Why not.
        why: String,
        /// What would mend it; empty when nothing is known.
        remedy: String,
    },
    /// What an earlier daemon left could not be ended.
    #[error("process {pid} of an earlier sandbox cannot be ended")]
    Sweep {
        /// Which.
        pid: i32,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl From<docker::engine::EngineError> for SandboxError {
    fn from(error: docker::engine::EngineError) -> Self {
        Self::Engine(error)
    }
}

impl SandboxError {
    /// What a person can do about it, when something is known.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            // What is known of containers is said with the error: a turn that fails tells only that.
            Self::Unavailable { remedy, .. } if !remedy.is_empty() => Some(remedy.clone()),
            _ => None,
        }
    }
}

impl From<Exit> for ExitStatus {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Code(code) => Self::Code(code),
            Exit::Signal(signal) => Self::Signal(signal),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed => f.write_str("it was stopped"),
            Self::DiskFull { used, limit } => {
                write!(f, "it had {used} bytes on disk and may have {limit}")
            }
            Self::TooManyFiles { limit } => {
                write!(f, "it had {limit} files and directories, and may have fewer")
            }
            Self::DiskUnmeasurable => {
                f.write_str("its directories are nested too deep to measure what it has on disk")
            }
            Self::Gone { why } => f.write_str(why),
            Self::Lost => f.write_str("its first process ended, perhaps because memory ran out"),
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("pid", &self.pid).finish_non_exhaustive()
    }
}
