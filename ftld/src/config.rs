//! Finds and reads the configurations: `FTL_HOME/config` and a project's `.ftlconfig`.
//!
//! Owns where they lie and how much is read. Must not know any setting: the text goes to
//! [`ftl_core::config`]. A project's file is hostile: it is opened beneath the project's root without
//! following links, never waited for, and read up to [`MAX_CONFIG`].

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use ftl_core::config::{ConfigError, ProjectConfig, UserConfig, digest};
use ftl_core::id::Hash;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// The name of a project's configuration, at its root.
pub const PROJECT_FILE: &str = ".ftlconfig";

/// The name of the human's configuration, in `FTL_HOME`.
pub const USER_FILE: &str = "config";

/// The most that a configuration may hold, in bytes.
pub const MAX_CONFIG: u64 = 1 << 20;

/// A project's configuration and what the human can trust of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProjectFile {
    /// What it asks for.
    pub config: ProjectConfig,
    /// The hash of its bytes.
    pub digest: Hash,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// It cannot be opened or read.
    #[error("cannot read {}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is a link, a directory, or something else that is not a plain file.
    #[error("{} is not a plain file", path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// It is longer than [`MAX_CONFIG`].
    #[error("{} is longer than {MAX_CONFIG} bytes", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
    },
    /// It is not text.
    #[error("{} is not UTF-8", path.display())]
    NotText {
        /// Which file.
        path: PathBuf,
    },
    /// It does not say anything that makes sense.
    #[error("{}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and where.
        #[source]
        source: ConfigError,
    },
}

/// The human's configuration; the defaults when there is none. A link is followed: the human may keep the
/// file elsewhere.
///
/// # Errors
/// When there is one and it cannot be used.
pub fn user(ftl_home: &Path) -> Result<UserConfig, ConfigFileError> {
    let path = ftl_home.join(USER_FILE);
    // A FIFO would be waited for without NONBLOCK.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = rustix::fs::openat(CWD, &path, flags, Mode::empty());
    match read(opened, &path)? {
        Some(bytes) => parse(&bytes, path, UserConfig::parse),
        None => Ok(UserConfig::default()),
    }
}

/// A project's configuration, when it has one.
///
/// # Errors
/// When there is one and it cannot be used.
pub fn project(root: &Path) -> Result<Option<ProjectFile>, ConfigFileError> {
    let path = root.join(PROJECT_FILE);
    let io = |errno: Errno| ConfigFileError::Io { path: root.to_owned(), source: errno.into() };
    let dir = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(io)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let opened = rustix::fs::openat2(&dir, PROJECT_FILE, flags, Mode::empty(), beneath);
    let Some(bytes) = read(opened, &path)? else { return Ok(None) };
    let digest = digest(&bytes);
    Ok(Some(ProjectFile { config: parse(&bytes, path, ProjectConfig::parse)?, digest }))
}

/// What an opened file holds; nothing when it is not there.
fn read(opened: Result<OwnedFd, Errno>, path: &Path) -> Result<Option<Vec<u8>>, ConfigFileError> {
    let path = || path.to_owned();
    let io = |source| ConfigFileError::Io { path: path(), source };
    let file = match opened {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT) => return Ok(None),
        // A link where none may be, a socket.
        Err(Errno::LOOP | Errno::NXIO) => return Err(ConfigFileError::NotAFile { path: path() }),
        Err(errno) => return Err(io(errno.into())),
    };
    if !file.metadata().map_err(io)?.is_file() {
        return Err(ConfigFileError::NotAFile { path: path() });
    }
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG + 1).read_to_end(&mut bytes).map_err(io)?;
    match bytes.len() as u64 > MAX_CONFIG {
        true => Err(ConfigFileError::TooLong { path: path() }),
        false => Ok(Some(bytes)),
    }
}

fn parse<T>(
    bytes: &[u8],
    path: PathBuf,
    parse: impl FnOnce(&str) -> Result<T, ConfigError>,
) -> Result<T, ConfigFileError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text).map_err(|source| ConfigFileError::Invalid { path, source }),
        Err(_) => Err(ConfigFileError::NotText { path }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_not_there_asks_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(user(dir.path()).unwrap(), UserConfig::default());
        assert_eq!(project(dir.path()).unwrap(), None);
        assert!(matches!(project(&dir.path().join("missing")), Err(ConfigFileError::Io { .. })));
    }

    #[test]
    fn a_configuration_is_read_and_its_digest_follows_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(PROJECT_FILE), "{\"agent\": \"codex\"}").unwrap();
        let first = project(dir.path()).unwrap().unwrap();
        assert_eq!(first.config.agent.as_deref(), Some("codex"));
        std::fs::write(dir.path().join(PROJECT_FILE), "{\"agent\":  \"codex\"}").unwrap();
        let second = project(dir.path()).unwrap().unwrap();
        assert_eq!(first.config, second.config);
        assert_ne!(first.digest, second.digest);
        std::fs::write(dir.path().join(USER_FILE), "{\"sandbox\": \"docker\"}").unwrap();
        assert!(user(dir.path()).unwrap().sandbox.is_some());
    }

    #[test]
    fn a_projects_configuration_is_a_plain_file_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(PROJECT_FILE);
        std::fs::write(dir.path().join("real"), "{}").unwrap();
        for target in ["real", "missing", "/etc/passwd", "."] {
            symlink(target, &file).unwrap();
            assert!(matches!(project(dir.path()), Err(ConfigFileError::NotAFile { .. })), "{target}");
            std::fs::remove_file(&file).unwrap();
        }
        std::fs::create_dir(&file).unwrap();
        assert!(matches!(project(dir.path()), Err(ConfigFileError::NotAFile { .. })));
        std::fs::remove_dir(&file).unwrap();
        rustix::fs::mknodat(CWD, &file, rustix::fs::FileType::Fifo, Mode::from(0o600), 0).unwrap();
        assert!(matches!(project(dir.path()), Err(ConfigFileError::NotAFile { .. })));
        std::fs::remove_file(&file).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&file).unwrap();
        assert!(matches!(project(dir.path()), Err(ConfigFileError::NotAFile { .. })));
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(PROJECT_FILE);
        std::fs::write(&file, vec![b' '; MAX_CONFIG as usize + 1]).unwrap();
        assert!(matches!(project(dir.path()), Err(ConfigFileError::TooLong { .. })));
        std::fs::write(&file, b"{\"agent\": \"\xff\"}").unwrap();
        assert!(matches!(project(dir.path()), Err(ConfigFileError::NotText { .. })));
        std::fs::write(&file, "{\"agnet\": 1}").unwrap();
        let error = project(dir.path()).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.to_string().ends_with(PROJECT_FILE) && cause.contains("`agent`"), "{error}: {cause}");
    }
}
