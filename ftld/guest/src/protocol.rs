//! The messages between the daemon and the helper.
//!
//! Owns their shape. Must not know how they travel. The daemon speaks first:
//!
//! ```text
//! daemon                      helper
//!   Setup          ──────────>  enters a user namespace
//!                  <──────────  NeedsIds
//!   IdsMapped      ──────────>  enters the other namespaces, forks process 1
//!                  <──────────  Started   (+ a descriptor of process 1)
//!                  <──────────  Ready     (+ the sockets of its way out), or Failed and the end
//!   Spawn, Signal  ──────────>
//!                  <──────────  Spawned (+ a terminal, when asked for), NotSpawned, Exited
//! ```
//!
//! The end of the stream is the order to die: everything in the sandbox ends with process 1.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The user and group that everything in a sandbox runs as, as seen from inside.
pub const AGENT_ID: u32 = 1000;

/// Where the agent's home is, as seen from inside.
pub const HOME: &str = "/home/agent";

/// Where the project is, as seen from inside.
pub const WORKSPACE: &str = "/workspace";

/// Where programs that know of a proxy find it, on the sandbox's own loopback address.
pub const PROXY_PORT: u16 = 3128;

/// Where connections of programs that know of none are redirected to, on the same address.
pub const TRANSPARENT_PORT: u16 = 3129;

/// What network a sandbox has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Its own loopback interface and nothing else.
    #[default]
    None,
    /// The same, and a pipe to the daemon's proxy.
    Egress,
}

/// How a sandbox's way out reaches the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Carrier {
    /// The daemon gets the sockets themselves.
    #[default]
    Descriptors,
    /// One stream of bytes, as from a sandbox on another kernel.
    Stream,
}

/// Bytes that are mostly text: a path, an argument. Text travels as a string, anything else as numbers.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Encoded", into = "Encoded")]
pub struct Bytes(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Encoded {
    Text(String),
    Raw(Vec<u8>),
}

/// What the daemon asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Build this sandbox. First message. The frame carries, when there are files to show, a descriptor
    /// that reads their content, one after the other; and then the ways into its control groups.
    Setup(Box<Setup>),
    /// The id maps of the user namespace are written. Second message.
    IdsMapped,
    /// Run a program. Without a terminal the frame carries its three standard descriptors.
    Spawn(Spawn),
    /// Send a signal to the process group of a program that was spawned.
    Signal {
        /// Which.
        id: u64,
        /// Signal number.
        signal: i32,
    },
}

/// What the helper answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is in its user namespace, which has no ids yet.
    NeedsIds,
    /// Process 1 exists; the frame carries a process descriptor of it.
    Started,
    /// The sandbox is closed and takes programs. With a way out the frame carries its sockets: the proxy's
    /// listener, for names one that takes datagrams and a listener, and the listener of connections that
    /// are redirected, unless there are none. By a [stream](Carrier::Stream) it is one socket instead.
    Ready(Ready),
    /// The sandbox cannot be built. Last message.
    Failed(Failure),
    /// A program runs. With a terminal the frame carries its other end.
    Spawned {
        /// Which.
        id: u64,
        /// Its process id as seen from inside.
        pid: i32,
    },
    /// A program could not be started.
    NotSpawned {
        /// Which.
        id: u64,
        /// What could not be done: `workdir`, `terminal`, `exec`.
        stage: String,
        /// The system's error number.
        errno: i32,
    },
    /// A program has ended. Its children may live on.
    Exited {
        /// Which.
        id: u64,
        /// How.
        status: Exit,
    },
}

/// The sandbox to build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The immutable directories below the workspace, the one on top first.
    pub layers: Vec<Bytes>,
    /// The session's directory; `upper`, `work`, `home` and `tmp` stand in it.
    pub dir: Bytes,
    /// Files and directories to show read-only.
    pub tools: Vec<Tool>,
    /// What a program may use up.
    pub limits: Limits,
    /// What network it has.
    pub network: Network,
    /// How its way out reaches the daemon.
    pub carrier: Carrier,
    /// Files to show read-only, over what stands at their paths.
    pub files: Vec<File>,
    /// Permissions that programs do not give to the files they make. The daemon's own mask is narrower
    /// and must not decide the modes of a project's files.
    pub umask: u32,
}

/// One file of the daemon's that is shown read-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Where it is shown, absolute.
    pub path: Bytes,
    /// How many bytes it has.
    pub length: u64,
}

/// One file or directory of the host that is shown read-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Where it is on the host, free of symbolic links.
    pub source: Bytes,
    /// Where it is shown, absolute.
    pub target: Bytes,
}

/// Limits that the helper sets by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Processes and threads.
    pub processes: u64,
    /// Bytes of one file.
    pub file_size: u64,
    /// Open descriptors of one process.
    pub open_files: u64,
    /// Bytes of `/dev/shm`.
    pub shared_memory: u64,
}

/// What holds now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Landlock's ABI version in force; 0 when the kernel has none.
    pub landlock: u32,
    /// Why programs that do not know of the proxy have no way out, when there is one for the others.
    pub not_redirected: Option<Failure>,
}

/// A program to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// The daemon's name for it; never used twice.
    pub id: u64,
    /// Program and arguments; the program is looked up in `PATH` of `env` when it has no slash.
    pub argv: Vec<Bytes>,
    /// The whole environment.
    pub env: Vec<(Bytes, Bytes)>,
    /// Absolute working directory as seen from inside.
    pub workdir: Bytes,
    /// A terminal to give it instead of three descriptors.
    pub terminal: Option<Size>,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A step of building a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// Talking to the daemon.
    Protocol,
    /// Entering a user namespace.
    UserNamespace,
    /// Entering the other namespaces, forking process 1.
    Namespaces,
    /// Reaching a directory of the host that shall be shown.
    Source,
    /// Becoming the sandbox's user.
    Identity,
    /// Building the root directory.
    Root,
    /// Mounting the workspace.
    Overlay,
    /// Mounting `/proc`.
    Proc,
    /// Showing files of the daemon's.
    Files,
    /// Making devices and terminals.
    Devices,
    /// Bringing up the loopback interface, naming the host.
    Network,
    /// Setting limits.
    Limits,
    /// Giving up privileges.
    Privileges,
    /// Landlock.
    Landlock,
    /// The system call filter.
    Seccomp,
}

/// A step that could not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{what}: {}", std::io::Error::from_raw_os_error(*errno))]
pub struct Failure {
    /// Which step.
    pub stage: Stage,
    /// The system's error number.
    pub errno: i32,
    /// What was attempted, and what the kernel said of it.
    pub what: String,
}

/// Turns an error of the system into a [`Failure`].
pub trait At<T> {
    /// Names the step and the attempt.
    ///
    /// # Errors
    /// When `self` is one.
    fn at(self, stage: Stage, what: impl fmt::Display) -> Result<T, Failure>;
}

// === impl Bytes ===

impl Bytes {
    /// As a path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(self.as_os_str())
    }

    /// As the system's text.
    #[must_use]
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }
}

impl From<&OsStr> for Bytes {
    fn from(text: &OsStr) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<OsString> for Bytes {
    fn from(text: OsString) -> Self {
        Self(text.into_vec())
    }
}

impl From<&Path> for Bytes {
    fn from(path: &Path) -> Self {
        path.as_os_str().into()
    }
}

impl From<PathBuf> for Bytes {
    fn from(path: PathBuf) -> Self {
        path.into_os_string().into()
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl From<Encoded> for Bytes {
    fn from(encoded: Encoded) -> Self {
        match encoded {
            Encoded::Text(text) => Self(text.into_bytes()),
            Encoded::Raw(bytes) => Self(bytes),
        }
    }
}

impl From<Bytes> for Encoded {
    fn from(bytes: Bytes) -> Self {
        match String::from_utf8(bytes.0) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Raw(error.into_bytes()),
        }
    }
}

// === impl At ===

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, stage: Stage, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|errno| Failure { stage, errno: errno.raw_os_error(), what: what.to_string() })
    }
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, stage: Stage, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            stage,
            errno: error.raw_os_error().unwrap_or(libc::EPROTO),
            what: what.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_travel_whether_they_are_text_or_not() {
        for bytes in [&b"plain"[..], b"", b"\xff\xfe\x00", "gr\u{fc}n\n".as_bytes()] {
            let json = serde_json::to_string(&Bytes(bytes.to_vec())).unwrap();
            assert_eq!(serde_json::from_str::<Bytes>(&json).unwrap().0, bytes);
        }
        assert_eq!(serde_json::to_string(&Bytes(b"text".to_vec())).unwrap(), "\"text\"");
    }

    #[test]
    fn a_failure_says_what_was_attempted_and_why_not() {
        let failed: rustix::io::Result<()> = Err(rustix::io::Errno::PERM);
        let failure = failed.at(Stage::Overlay, "mounting the workspace").unwrap_err();
        assert_eq!(failure.to_string(), "mounting the workspace: Operation not permitted (os error 1)");
    }
}
