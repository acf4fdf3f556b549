//! Which directories can be a project.
//!
//! Owns the refusal of directories whose snapshot would hold far more than a project, or FTL itself.
//! Must not know what is done with a project.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ftl_core::event::Bytes;

use super::record::Project;

/// Why a directory cannot be a project.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The path is relative, or a link leads elsewhere.
    #[error("{} is not the project's own absolute path", path.display())]
    NotCanonical {
        /// What was given.
        path: PathBuf,
    },
    /// It is not there, or not readable.
    #[error("cannot open the project directory {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is a file.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// Which.
        path: PathBuf,
    },
    /// It belongs to someone else.
    #[error("{} belongs to user {uid}, not to you", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// A snapshot of it would hold much more than a project.
    #[error("{} is {what}, not a project", path.display())]
    TooWide {
        /// Which.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
}

/// Directories that are no project, and what they are. Beneath them there may be projects.
const SYSTEM: [&str; 20] = [
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc",
    "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var",
];
/// Trees in which there are no projects at all.
const NEVER_BENEATH: [&str; 7] = ["/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/bin"];

/// Opens a directory as a project.
///
/// # Errors
/// Why it cannot be one.
pub fn open(path: &Path, ftl_home: &Path, user_home: Option<&Path>) -> Result<Project, ProjectError> {
    let unreadable = |source| ProjectError::Unreadable { path: path.to_owned(), source };
    if !path.is_absolute() || path.canonicalize().map_err(unreadable)? != path {
        return Err(ProjectError::NotCanonical { path: path.to_owned() });
    }
    if let Some(what) = too_wide(path, ftl_home, user_home) {
        return Err(ProjectError::TooWide { path: path.to_owned(), what });
    }
    let meta = std::fs::symlink_metadata(path).map_err(unreadable)?;
    if !meta.is_dir() {
        return Err(ProjectError::NotADirectory { path: path.to_owned() });
    }
    let us = rustix::process::geteuid();
    if meta.uid() != us.as_raw() && !us.is_root() {
        return Err(ProjectError::Foreign { path: path.to_owned(), uid: meta.uid() });
    }
    let root = Bytes::from(path.as_os_str().as_bytes());
    Ok(Project { root, dev: meta.dev(), ino: meta.ino() })
}

/// What a directory is, when it is too much to be a project. Pure.
fn too_wide(path: &Path, ftl_home: &Path, user_home: Option<&Path>) -> Option<&'static str> {
    if SYSTEM.iter().any(|system| path == Path::new(system)) {
        return Some("a directory of the system");
    }
    if NEVER_BENEATH.iter().any(|system| path.starts_with(system)) {
        return Some("inside a directory of the system");
    }
    if user_home.is_some_and(|home| home.starts_with(path)) {
        return Some("your home directory or above it");
    }
    if ftl_home.starts_with(path) {
        return Some("a directory that holds FTL's own state");
    }
    if path.starts_with(ftl_home) {
        return Some("inside FTL's own state");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_directories_are_refused_and_projects_are_not() {
        let (ftl, home) = (Path::new("/home/ada/.ftl"), Path::new("/home/ada"));
        for wide in [
            "/",
            "/home",
            "/home/ada",
            "/home/ada/.ftl",
            "/home/ada/.ftl/store",
            "/etc",
            "/etc/apache2",
            "/proc/1",
            "/tmp",
        ] {
            assert!(too_wide(Path::new(wide), ftl, Some(home)).is_some(), "{wide}");
        }
        for fine in ["/home/ada/shop", "/home/adam", "/tmp/shop", "/srv/shop", "/etcetera"] {
            assert!(too_wide(Path::new(fine), ftl, Some(home)).is_none(), "{fine}");
        }
    }

    #[test]
    fn a_link_to_a_project_is_refused_by_that_name() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir(dir.join("shop")).unwrap();
        std::os::unix::fs::symlink("shop", dir.join("link")).unwrap();
        let ftl = dir.join("ftl");
        assert!(open(&dir.join("shop"), &ftl, None).is_ok());
        assert!(matches!(open(&dir.join("link"), &ftl, None), Err(ProjectError::NotCanonical { .. })));
        assert!(matches!(open(&dir.join("none"), &ftl, None), Err(ProjectError::Unreadable { .. })));
    }
}
