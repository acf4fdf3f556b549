//! The connection to the daemon: a gRPC channel over a Unix socket that is surely ours.
//!
//! Owns the checks of the socket's directory and of the peer, and the choice whether a daemon is started.
//! Must not know any request. A connection that broke stays broken: whoever can go on connects anew.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ftl_proto::v1;
use ftl_proto::v1::ask_service_client::AskServiceClient;
use ftl_proto::v1::daemon_service_client::DaemonServiceClient;
use ftl_proto::v1::egress_service_client::EgressServiceClient;
use ftl_proto::v1::event_service_client::EventServiceClient;
use ftl_proto::v1::review_service_client::ReviewServiceClient;
use ftl_proto::v1::secret_service_client::SecretServiceClient;
use ftl_proto::v1::session_service_client::SessionServiceClient;
use ftl_proto::v1::setup_service_client::SetupServiceClient;
use ftl_proto::v1::snapshot_service_client::SnapshotServiceClient;
use ftl_proto::v1::verify_service_client::VerifyServiceClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::environment::Places;

mod autostart;
mod runtime_dir;
mod stream;

/// The version of the API that this client speaks.
const API_VERSION: u32 = 1;
/// Bytes that the daemon may send ahead of what was read: with fewer, both sides wait for each other's word again and
/// again while a large diff comes.
const WINDOW: u32 = 4 << 20;
/// The longest message: a file with as many changed lines as are shown.
const LARGEST: usize = 64 << 20;

/// Whether a daemon may be started when none runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// Yes.
    Allowed,
    /// No.
    Forbidden,
}

/// Why the daemon cannot be talked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Neither `FTL_HOME` nor `HOME` is set.
    #[error("neither FTL_HOME nor HOME says where FTL keeps its state")]
    NoHome,
    /// The directory of the socket could be written by others.
    #[error("the socket's directory {dir} is not safe: {why}")]
    UnsafeDirectory {
        /// The directory.
        dir: Shown,
        /// What is wrong with it.
        why: String,
    },
    /// The daemon belongs to somebody else.
    #[error("the daemon at {socket} runs as user {theirs}, not as {ours}")]
    ForeignDaemon {
        /// The socket.
        socket: Shown,
        /// Its user.
        theirs: u32,
        /// Our user.
        ours: u32,
    },
    /// Nothing listens.
    #[error("no daemon listens at {socket}")]
    NotRunning {
        /// The socket.
        socket: Shown,
    },
    /// The daemon's program is not beside ours.
    #[error("there is no ftld at {program} to start")]
    NoProgram {
        /// Where it should be.
        program: Shown,
        /// What the operating system said.
        source: io::Error,
    },
    /// The daemon ended before it was ready.
    #[error("the daemon did not start ({status})")]
    NotReady {
        /// How it ended.
        status: String,
        /// The log's last lines.
        log: Vec<String>,
        /// The log.
        path: Shown,
    },
    /// The daemon speaks another version.
    #[error("the daemon (version {version}) speaks version {theirs} of the API, this ftlctl {API_VERSION}")]
    Version {
        /// The daemon's version.
        version: String,
        /// Its API's.
        theirs: u32,
    },
    /// The operating system said no.
    #[error("cannot {act}")]
    Io {
        /// What was tried.
        act: String,
        /// What it said.
        source: io::Error,
    },
    /// The connection broke before it was of use.
    #[error("the daemon at {socket} does not answer")]
    Silent {
        /// The socket.
        socket: Shown,
        /// What broke.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A path in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown(pub(crate) PathBuf);

/// A connection.
pub(crate) struct Client {
    channel: Channel,
    closed: oneshot::Receiver<()>,
}

// === impl ConnectError ===

impl ConnectError {
    /// Its name for scripts.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoHome => "no-home",
            Self::UnsafeDirectory { .. } => "unsafe-directory",
            Self::ForeignDaemon { .. } => "foreign-daemon",
            Self::NotRunning { .. } => "daemon-not-running",
            Self::NoProgram { .. } => "daemon-missing",
            Self::NotReady { .. } => "daemon-not-ready",
            Self::Version { .. } => "version-mismatch",
            Self::Io { .. } => "io",
            Self::Silent { .. } => "daemon-silent",
        }
    }

    /// What the daemon wrote before it ended.
    pub(crate) fn log(&self) -> &[String] {
        match self {
            Self::NotReady { log, .. } => log,
            _ => &[],
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoHome => Some("set FTL_HOME to a directory of your own".to_owned()),
            Self::UnsafeDirectory { dir, .. } => Some(format!(
                "make it yours alone (`chmod 700 {dir}`), or set FTL_HOME to a directory of your own"
            )),
            Self::ForeignDaemon { .. } => Some("set FTL_HOME or FTL_SOCKET to your own".to_owned()),
            Self::NotRunning { .. } => Some("start it with `ftlctl daemon start`".to_owned()),
            Self::NoProgram { .. } => Some("install ftld beside ftlctl".to_owned()),
            Self::NotReady { path, .. } => Some(format!("its whole log is {path}")),
            Self::Version { .. } => {
                Some("`ftlctl daemon stop` ends the old one; the next command starts the new one".to_owned())
            }
            Self::Silent { .. } => Some("`ftlctl daemon stop`, then try again".to_owned()),
            Self::Io { .. } => None,
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::render::escape::name(crate::project::bytes(&self.0)))
    }
}

impl From<&Path> for Shown {
    fn from(path: &Path) -> Self {
        Self(path.to_path_buf())
    }
}

// === impl Client ===

/// Connects to a daemon that speaks our version; starts one when none runs and that is allowed.
pub(crate) async fn connect(places: &Places, start: Start) -> Result<Client, ConnectError> {
    let (client, status) = greet(places, start).await?;
    if status.api_version == API_VERSION {
        Ok(client)
    } else {
        Err(ConnectError::Version { version: status.version, theirs: status.api_version })
    }
}

/// Connects to whatever daemon there is: enough to ask for its state and to end it.
pub(crate) async fn connect_any_version(places: &Places, start: Start) -> Result<Client, ConnectError> {
    greet(places, start).await.map(|(client, _)| client)
}

/// Connects and hears the daemon's first answer. A daemon that dies takes a connection or two with it:
/// one that breaks before the first answer is made anew, once.
async fn greet(places: &Places, start: Start) -> Result<(Client, v1::StatusReply), ConnectError> {
    let first = open(places, start).await?;
    if let Ok(status) = first.daemon().status(v1::StatusRequest {}).await {
        return Ok((first, status.into_inner()));
    }
    let second = open(places, start).await?;
    let status = second.daemon().status(v1::StatusRequest {}).await.map_err(|status| {
        ConnectError::Silent { socket: places.socket.as_path().into(), source: Box::new(status) }
    })?;
    Ok((second, status.into_inner()))
}

/// Opens a channel; starts a daemon when none listens and that is allowed.
async fn open(places: &Places, start: Start) -> Result<Client, ConnectError> {
    let stream = match (dial(places).await, start) {
        (Err(ConnectError::NotRunning { .. }), Start::Allowed) => autostart::start(places).await?,
        (dialled, _) => dialled?,
    };
    let (stream, closed) = stream::Stream::new(stream);
    let slot = Mutex::new(Some(stream));
    let connector = tower::service_fn(move |_: Uri| {
        let stream = slot.lock().ok().and_then(|mut slot| slot.take());
        async move { stream.map(TokioIo::new).ok_or(io::Error::from(io::ErrorKind::NotConnected)) }
    });
    let endpoint = Endpoint::from_static("http://ftld.local")
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    let channel = endpoint.connect_with_connector(connector).await;
    let channel = channel.map_err(|error| ConnectError::Silent {
        socket: places.socket.as_path().into(),
        source: Box::new(error),
    })?;
    Ok(Client { channel, closed })
}

/// A stream to the socket whose directory and peer are ours.
async fn dial(places: &Places) -> Result<UnixStream, ConnectError> {
    let ours = rustix::process::geteuid().as_raw();
    let socket = || Shown::from(places.socket.as_path());
    if !runtime_dir::check(places.runtime_dir(), ours)? {
        return Err(ConnectError::NotRunning { socket: socket() });
    }
    let (short, _dir) = short(&places.socket)
        .map_err(|source| ConnectError::Io { act: format!("open the directory of {}", socket()), source })?;
    let stream = UnixStream::connect(short).await.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ConnectError::NotRunning { socket: socket() }
        }
        _ => ConnectError::Io { act: format!("connect to {}", socket()), source },
    })?;
    let peer = stream.peer_cred();
    let peer =
        peer.map_err(|source| ConnectError::Io { act: "ask who the daemon runs as".to_owned(), source })?;
    if peer.uid() == ours {
        Ok(stream)
    } else {
        Err(ConnectError::ForeignDaemon { socket: socket(), theirs: peer.uid(), ours })
    }
}

/// A short name for a socket, valid while the directory beside it is open: a socket's address holds 107
/// bytes, and a home directory may lie deeper.
fn short(socket: &Path) -> io::Result<(PathBuf, File)> {
    let none = || io::Error::from(io::ErrorKind::InvalidInput);
    let (dir, name) = (socket.parent().ok_or_else(none)?, socket.file_name().ok_or_else(none)?);
    let dir = File::open(dir)?;
    let path = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
    Ok((path, dir))
}

impl Client {
    /// The daemon itself.
    pub(crate) fn daemon(&self) -> DaemonServiceClient<Channel> {
        DaemonServiceClient::new(self.channel.clone())
    }

    /// Sessions.
    pub(crate) fn sessions(&self) -> SessionServiceClient<Channel> {
        SessionServiceClient::new(self.channel.clone())
    }

    /// Questions to models.
    pub(crate) fn ask(&self) -> AskServiceClient<Channel> {
        AskServiceClient::new(self.channel.clone())
    }

    /// Diffs and decisions.
    pub(crate) fn reviews(&self) -> ReviewServiceClient<Channel> {
        ReviewServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST)
    }

    /// Snapshots.
    pub(crate) fn snapshots(&self) -> SnapshotServiceClient<Channel> {
        SnapshotServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST)
    }

    /// The audit log.
    pub(crate) fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel.clone())
    }

    /// Rules, answers and the ledger of what sessions reach.
    pub(crate) fn egress(&self) -> EgressServiceClient<Channel> {
        EgressServiceClient::new(self.channel.clone())
    }

    /// Credentials.
    pub(crate) fn secrets(&self) -> SecretServiceClient<Channel> {
        SecretServiceClient::new(self.channel.clone())
    }

    /// The image of a container engine.
    pub(crate) fn setup(&self) -> SetupServiceClient<Channel> {
        SetupServiceClient::new(self.channel.clone())
    }

    /// Checks of what was selected.
    pub(crate) fn verify(&self) -> VerifyServiceClient<Channel> {
        VerifyServiceClient::new(self.channel.clone())
    }

    /// Waits until the daemon has closed the connection.
    pub(crate) async fn closed(self) {
        // The sender is never used: it goes when the stream does, and that is the signal.
        let _ = self.closed.await;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn places(dir: &Path) -> Places {
        Places { home: dir.to_path_buf(), socket: dir.join("run/ftld.sock") }
    }

    async fn code(places: &Places) -> &'static str {
        dial(places).await.err().map_or("connected", |error| error.code())
    }

    #[tokio::test]
    async fn only_a_private_directory_is_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        assert_eq!(code(&places).await, "daemon-not-running");
        fs::create_dir(places.runtime_dir()).unwrap();
        let listen = || tokio::net::UnixListener::bind(&places.socket).unwrap();
        let listener = listen();
        for (mode, expected) in
            [(0o755, "unsafe-directory"), (0o770, "unsafe-directory"), (0o700, "connected")]
        {
            fs::set_permissions(places.runtime_dir(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(code(&places).await, expected, "{mode:o}");
        }
        drop(listener);
        assert_eq!(code(&places).await, "daemon-not-running", "a stale socket is no daemon");
    }

    #[tokio::test]
    async fn a_linked_directory_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        fs::create_dir(dir.path().join("real")).unwrap();
        fs::set_permissions(dir.path().join("real"), fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink("real", places.runtime_dir()).unwrap();
        assert_eq!(code(&places).await, "unsafe-directory");
    }
}
