//! Where the daemon's state lies: `FTL_HOME` and the socket's directory.
//!
//! Owns the layout, who may read it, and the lock that keeps a second daemon out. Must not know what is
//! kept there.
//!
//! ```text
//! FTL_HOME/            0700   config, ftld.log, ftld.lock
//!   audit/  db/               the audit log; sessions and events
//!   store/                    blobs, base trees
//!   history/                  what sessions see of projects' Git histories
//!   journal/                  applications under way or to undo
//!   sessions/<id>/            a session's upper layer, home, temporary files
//!   layers/                   what sessions changed in earlier turns, frozen
//!   run/ftld.sock             unless XDG_RUNTIME_DIR/ftl/ holds it
//! ```

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;

/// The daemon's directories. All of them exist, belong to us and are closed to others.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
    run: PathBuf,
}

/// What the environment says about where state lies.
#[derive(Clone, Debug, Default)]
pub struct HomeEnv {
    /// `FTL_HOME`.
    pub ftl_home: Option<OsString>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<OsString>,
    /// `HOME`.
    pub home: Option<OsString>,
    /// `FTL_SOCKET`: the socket itself, when it is to lie elsewhere.
    pub socket: Option<OsString>,
}

/// Held for the daemon's life; another daemon with the same state cannot start meanwhile.
#[derive(Debug)]
pub struct Lock {
    _files: Vec<File>,
}

/// How long an ending daemon may take to let go of its state.
const ENDING: Duration = Duration::from_secs(10);

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Neither `FTL_HOME` nor `HOME` is an absolute path.
    #[error("neither FTL_HOME nor HOME names an absolute path")]
    Nowhere,
    /// A directory or file cannot be made or read.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Others may use the directory, or it is not ours, or it is something else.
    #[error("{} is not a private directory of this user: {what}", path.display())]
    NotPrivate {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Another daemon runs.
    #[error("another ftld already runs with the state in {}", path.display())]
    Locked {
        /// The state's directory.
        path: PathBuf,
    },
}

impl Home {
    /// Finds the state's place and makes its directories.
    ///
    /// # Errors
    /// When a directory cannot be made or is not private.
    pub fn prepare(env: &HomeEnv) -> Result<Self, HomeError> {
        let absolute =
            |value: &Option<OsString>| value.as_ref().map(PathBuf::from).filter(|path| path.is_absolute());
        let chosen = absolute(&env.ftl_home);
        let root = match &chosen {
            Some(root) => root.clone(),
            None => absolute(&env.home).ok_or(HomeError::Nowhere)?.join(".ftl"),
        };
        let run = match (absolute(&env.socket), &chosen, absolute(&env.runtime_dir)) {
            (Some(socket), _, _) => socket.parent().map(Path::to_owned).ok_or(HomeError::Nowhere)?,
            (None, None, Some(runtime)) => runtime.join("ftl"),
            (None, _, _) => root.join("run"),
        };
        let home = Self { root, run };
        for dir in [
            home.root.clone(),
            home.run.clone(),
            home.audit(),
            home.db(),
            home.store(),
            home.history(),
            home.journal(),
            home.sessions(),
            home.layers(),
        ] {
            private_dir(&dir)?;
        }
        // A link on the way to the state would make "is this path inside FTL_HOME" a guess.
        let root = home.root.canonicalize().map_err(io("resolve", &home.root))?;
        Ok(Self { root, ..home })
    }

    /// `FTL_HOME` itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The socket's directory.
    #[must_use]
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run.join("ftld.sock")
    }

    /// The audit log's directory.
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.root.join("audit")
    }

    /// The database's directory.
    #[must_use]
    pub fn db(&self) -> PathBuf {
        self.root.join("db")
    }

    /// The snapshot store's directory.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// The views of projects' histories.
    #[must_use]
    pub fn history(&self) -> PathBuf {
        self.root.join("history")
    }

    /// The applications' journals.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// The sessions' directories.
    #[must_use]
    pub fn sessions(&self) -> PathBuf {
        self.root.join("sessions")
    }

    /// The layers that sessions have frozen.
    #[must_use]
    pub fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// Whether somebody listens on the socket.
    fn is_served(&self) -> bool {
        let connected = short(&self.socket()).map(|(path, _dir)| UnixStream::connect(path));
        matches!(connected, Ok(Ok(_)))
    }

    /// Takes the lock. A daemon that is ending is waited for.
    ///
    /// # Errors
    /// When another daemon holds it.
    pub fn lock(&self) -> Result<Lock, HomeError> {
        let files = [&self.root, &self.run].into_iter().map(|dir| {
            let path = dir.join("ftld.lock");
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(io("open", &path))?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK) if self.is_served() => {
                    Err(HomeError::Locked { path: dir.clone() })
                }
                // Nobody listens, so whoever holds the lock is on its way out.
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    wait_for_lock(file).ok_or_else(|| HomeError::Locked { path: dir.clone() })
                }
                Err(errno) => Err(io("lock", &path)(errno.into())),
            }
        });
        Ok(Lock { _files: files.collect::<Result<_, _>>()? })
    }
}

/// A short name for a socket, valid while the directory beside it is open: a socket's address holds 107
/// bytes, and a state directory may lie deeper.
///
/// # Errors
/// When its directory cannot be opened.
pub fn short(socket: &Path) -> std::io::Result<(PathBuf, File)> {
    let none = || std::io::Error::from(std::io::ErrorKind::InvalidInput);
    let (dir, name) = (socket.parent().ok_or_else(none)?, socket.file_name().ok_or_else(none)?);
    let dir = File::open(dir)?;
    let path = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
    Ok((path, dir))
}

/// Waits for a lock whose holder ends; nothing when it does not in time.
fn wait_for_lock(file: File) -> Option<File> {
    let (locked, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        if rustix::fs::flock(&file, FlockOperation::LockExclusive).is_ok() {
            // When nobody waits any more the file is dropped and the lock with it.
            let _late = locked.send(file);
        }
    });
    wait.recv_timeout(ENDING).ok()
}

/// Makes a directory that only this user can enter, or checks the one there is.
fn private_dir(path: &Path) -> Result<(), HomeError> {
    match DirBuilder::new().mode(0o700).recursive(true).create(path) {
        Ok(()) => {}
        Err(error) => return Err(io("make", path)(error)),
    }
    let meta = std::fs::symlink_metadata(path).map_err(io("examine", path))?;
    let us = rustix::process::geteuid().as_raw();
    let wrong = |what: String| HomeError::NotPrivate { path: path.to_owned(), what };
    if !meta.is_dir() {
        return Err(wrong("it is not a directory".into()));
    }
    if meta.uid() != us {
        return Err(wrong(format!("it belongs to user {}", meta.uid())));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(wrong(format!("its mode is {:03o}; make it 700", meta.mode() & 0o777)));
    }
    Ok(())
}

fn io(act: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> HomeError {
    let path = path.to_owned();
    move |source| HomeError::Io { act, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn env(dir: &Path) -> HomeEnv {
        HomeEnv { ftl_home: Some(dir.join("ftl").into()), ..HomeEnv::default() }
    }

    #[test]
    fn directories_are_made_private_and_loose_ones_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::prepare(&env(dir.path())).unwrap();
        assert_eq!(home.root().metadata().unwrap().mode() & 0o777, 0o700);
        std::fs::set_permissions(home.run(), std::fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(Home::prepare(&env(dir.path())), Err(HomeError::NotPrivate { .. })));
    }

    #[test]
    fn a_link_in_the_sockets_place_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("ftl")).unwrap();
        std::fs::set_permissions(dir.path().join("ftl"), std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::create_dir(dir.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("../elsewhere", dir.path().join("ftl/run")).unwrap();
        assert!(matches!(Home::prepare(&env(dir.path())), Err(HomeError::NotPrivate { .. })));
    }

    #[test]
    fn a_second_daemon_is_kept_out_until_the_first_has_gone() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::prepare(&env(dir.path())).unwrap();
        let lock = home.lock().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(home.socket()).unwrap();
        assert!(matches!(home.lock(), Err(HomeError::Locked { .. })));
        drop((listener, lock));
        assert!(home.lock().is_ok());
    }

    #[test]
    fn the_socket_lies_in_the_runtime_directory_unless_the_state_was_placed_by_hand() {
        let dir = tempfile::tempdir().unwrap();
        let plain = HomeEnv {
            home: Some(dir.path().into()),
            runtime_dir: Some(dir.path().join("rt").into()),
            ..HomeEnv::default()
        };
        assert_eq!(Home::prepare(&plain).unwrap().socket(), dir.path().join("rt/ftl/ftld.sock"));
        let placed = HomeEnv { ftl_home: Some(dir.path().join("f").into()), ..plain };
        assert_eq!(Home::prepare(&placed).unwrap().socket(), dir.path().join("f/run/ftld.sock"));
    }
}
