//! The human's socket: how it comes to be, and who may speak on it.
//!
//! Owns the listener and the check of every peer. Must not know what is said over a connection.
//!
//! The socket is 0600 in a 0700 directory, so other users cannot reach it. A process of the same user in
//! a sandbox cannot see it, because it is not in the sandbox's mount namespace; should one hold it all
//! the same, its namespaces differ from ours and it is refused.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt};
use rustix::fs::Mode;
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::Stream;

use crate::home;

/// Why there is no socket to listen on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Something that is not a stale socket of ours lies in the socket's place.
    #[error("{} is in the way: {what}", path.display())]
    InTheWay {
        /// The socket's path.
        path: PathBuf,
        /// What lies there.
        what: String,
    },
    /// The socket cannot be made.
    #[error("cannot listen on {}", path.display())]
    Bind {
        /// The socket's path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The passed descriptor is not a listening Unix socket.
    #[error("the descriptor that the service manager passed is not a listening Unix socket")]
    Passed {
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Why a peer is turned away.
#[derive(Debug, thiserror::Error)]
pub enum Stranger {
    /// The kernel does not say who it is.
    #[error("the peer's credentials cannot be read")]
    Unknown(#[from] io::Error),
    /// Another user.
    #[error("the peer belongs to user {uid}")]
    User {
        /// Its user id.
        uid: u32,
    },
    /// A process in other namespaces: a sandbox, a container.
    #[error("process {pid} is in another {namespace} namespace")]
    Namespace {
        /// Its process id.
        pid: i32,
        /// Which namespace differs.
        namespace: &'static str,
    },
    /// It ended, or is not in our process namespace.
    #[error("the peer's process cannot be seen from here")]
    Gone,
}

/// Binds the socket. The caller holds the daemon's lock, so a socket that lies there is stale.
///
/// # Errors
/// When something else lies there or binding fails.
pub fn bind(path: &Path) -> Result<StdListener, ListenError> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() && meta.uid() == rustix::process::geteuid().as_raw() => {
            std::fs::remove_file(path)
                .map_err(|source| ListenError::Bind { path: path.to_owned(), source })?;
        }
        Ok(meta) => {
            let what = format!("a file of type {:?} that belongs to user {}", meta.file_type(), meta.uid());
            return Err(ListenError::InTheWay { path: path.to_owned(), what });
        }
        Err(_absent) => {}
    }
    let (short, _dir) =
        home::short(path).map_err(|source| ListenError::Bind { path: path.to_owned(), source })?;
    // The mode must be right from the socket's first moment; the mask is the only way to say so.
    let mask = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = StdListener::bind(short);
    rustix::process::umask(mask);
    bound.map_err(|source| ListenError::Bind { path: path.to_owned(), source })
}

/// Checks the listener that a service manager passed.
///
/// # Errors
/// When it is not a Unix socket with a path.
pub fn adopt(listener: StdListener) -> Result<StdListener, ListenError> {
    let address = listener.local_addr().map_err(|source| ListenError::Passed { source })?;
    if address.as_pathname().is_none() {
        return Err(ListenError::Passed { source: io::Error::other("it has no path") });
    }
    Ok(listener)
}

/// Every connection of a peer that may speak, as they come.
///
/// # Errors
/// When the listener cannot be used.
pub fn accept(listener: StdListener) -> io::Result<impl Stream<Item = io::Result<UnixStream>>> {
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let (connections, stream) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        while !connections.is_closed() {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = connections.closed() => return,
            };
            match accepted {
                Ok((connection, _)) => match admit(&connection) {
                    Ok(()) => {
                        if connections.send(Ok(connection)).await.is_err() {
                            return;
                        }
                    }
                    Err(stranger) => tracing::warn!(%stranger, "connection refused"),
                },
                Err(error) => {
                    // Out of descriptors, most likely: waiting for one to be free is all there is to do.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    });
    Ok(tokio_stream::wrappers::ReceiverStream::new(stream))
}

/// Whether the peer may speak: our user, our user and mount namespaces.
///
/// # Errors
/// Who it is instead.
pub fn admit(connection: &UnixStream) -> Result<(), Stranger> {
    let peer = connection.peer_cred()?;
    let us = rustix::process::geteuid().as_raw();
    if peer.uid() != us {
        return Err(Stranger::User { uid: peer.uid() });
    }
    // A process id may be reused between its reading and its use. A pidfd cannot: when the process is
    // still there afterwards, what was read is true of it.
    match getsockopt(connection, sockopt::PeerPidfd) {
        Ok(pidfd) => {
            let pid = pid_of(&pidfd).ok_or(Stranger::Gone)?;
            same_namespaces(pid)?;
            pid_of(&pidfd).map(drop).ok_or(Stranger::Gone)
        }
        Err(nix::errno::Errno::ENOPROTOOPT | nix::errno::Errno::EINVAL) => {
            same_namespaces(peer.pid().ok_or(Stranger::Gone)?)
        }
        Err(errno) => Err(Stranger::Unknown(errno.into())),
    }
}

/// The process behind a pidfd, while it lives and is visible from here.
fn pid_of(pidfd: &impl std::os::fd::AsFd) -> Option<i32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd())).ok()?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
    (pid > 0).then_some(pid)
}

fn same_namespaces(pid: i32) -> Result<(), Stranger> {
    for namespace in ["user", "mnt"] {
        let ours = std::fs::read_link(format!("/proc/self/ns/{namespace}"))?;
        let theirs = std::fs::read_link(format!("/proc/{pid}/ns/{namespace}")).map_err(|_| Stranger::Gone)?;
        if ours != theirs {
            return Err(Stranger::Namespace { pid, namespace });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_socket_is_ours_alone_from_its_first_moment_and_a_stale_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ftld.sock");
        drop(bind(&path).unwrap());
        let _listener = bind(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn anything_else_in_the_sockets_place_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ftld.sock");
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(bind(&path), Err(ListenError::InTheWay { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert!(matches!(bind(&path), Err(ListenError::InTheWay { .. })));
    }

    #[tokio::test]
    async fn our_own_process_is_admitted() {
        let (one, _other) = UnixStream::pair().unwrap();
        admit(&one).unwrap();
    }
}
