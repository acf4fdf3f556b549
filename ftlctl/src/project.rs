//! Which project is meant, and which path in it.
//!
//! Owns the search for a project's root and the way from a path on the command line to a path beneath
//! that root. Must not know what is in a project.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use crate::render::escape;

/// A path that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProjectError {
    /// The project directory cannot be found.
    #[error("{} is not a directory that can be opened", escape::name(.path.as_os_str().as_bytes()))]
    NotFound {
        /// What was given.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The path is not in the project.
    #[error("{} is not beneath the project {}", escape::name(.path.as_os_str().as_bytes()), escape::name(.project.as_os_str().as_bytes()))]
    Outside {
        /// What was given.
        path: PathBuf,
        /// The project's root.
        project: PathBuf,
    },
}

/// The project directory, canonical: the given one, else the nearest one above `cwd` that holds
/// `.ftlconfig` or `.git`, else `cwd` itself.
pub(crate) fn root(given: Option<&Path>, cwd: &Path) -> Result<PathBuf, ProjectError> {
    let marked =
        |dir: &&Path| [".ftlconfig", ".git"].iter().any(|mark| dir.join(mark).symlink_metadata().is_ok());
    let dir = match given {
        Some(given) => cwd.join(given),
        None => cwd.ancestors().find(marked).unwrap_or(cwd).to_path_buf(),
    };
    let canonical = std::fs::canonicalize(&dir)
        .and_then(|found| if found.is_dir() { Ok(found) } else { Err(io::ErrorKind::NotADirectory.into()) });
    canonical.map_err(|source| ProjectError::NotFound { path: dir, source })
}

/// The path beneath `project` that `path` means: an absolute path as it is, a relative one from `cwd` when
/// that is in the project, else from the project's root. It need not exist.
pub(crate) fn beneath(path: &Path, project: &Path, cwd: &Path) -> Result<Vec<u8>, ProjectError> {
    let outside = || ProjectError::Outside { path: path.to_path_buf(), project: project.to_path_buf() };
    let from = if cwd.starts_with(project) { cwd } else { project };
    let absolute = flatten(&from.join(path)).ok_or_else(outside)?;
    let relative = match absolute.strip_prefix(project) {
        Ok(relative) => relative.to_path_buf(),
        Err(_) => through_links(&absolute, project).ok_or_else(outside)?,
    };
    if relative.as_os_str().is_empty() {
        return Err(outside());
    }
    Ok(relative.as_os_str().as_bytes().to_vec())
}

/// The argument in the API's form.
pub(crate) fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// The API's form as a path.
pub(crate) fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// The path without `.` and `..`, by its letters only; `None` when it climbs above the root.
fn flatten(path: &Path) -> Option<PathBuf> {
    let mut flat = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                if !flat.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) | Component::Normal(_) => flat.push(component),
        }
    }
    Some(flat)
}

/// For a path written with a symbolic link above the project, such as `/tmp` on some systems: the deepest
/// directory of it that leads to the project is replaced by its canonical form.
fn through_links(absolute: &Path, project: &Path) -> Option<PathBuf> {
    absolute.ancestors().skip(1).find_map(|dir| {
        let canonical = std::fs::canonicalize(dir).ok()?;
        let inside = canonical.strip_prefix(project).ok()?;
        Some(inside.join(absolute.strip_prefix(dir).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_nearest_marked_directory() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let deep = top.join("a/b/c");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::create_dir(top.join("a/.git")).unwrap();
        assert_eq!(root(None, &deep).unwrap(), top.join("a"));
        std::fs::write(top.join("a/b/.ftlconfig"), "{}").unwrap();
        assert_eq!(root(None, &deep).unwrap(), top.join("a/b"));
        assert_eq!(root(Some(Path::new("..")), &deep).unwrap(), top.join("a/b"));
        assert_eq!(root(Some(&top), &deep).unwrap(), top);
    }

    #[test]
    fn a_file_or_nothing_is_no_project() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        for name in ["file", "missing"] {
            assert!(root(Some(Path::new(name)), dir.path()).is_err(), "{name}");
        }
    }

    #[test]
    fn a_path_means_what_its_writer_means() {
        let table = [
            ("a.rs", "/p", Some("a.rs")),
            ("a.rs", "/p/src", Some("src/a.rs")),
            ("../a.rs", "/p/src", Some("a.rs")),
            ("./x/../a.rs", "/p", Some("a.rs")),
            ("a.rs", "/elsewhere", Some("a.rs")),
            ("/p/src/a.rs", "/elsewhere", Some("src/a.rs")),
            ("src/", "/p", Some("src")),
            ("-dash", "/p", Some("-dash")),
            ("..", "/p", None),
            ("../../x", "/p/src", None),
            ("/etc/passwd", "/p", None),
            ("/pp/x", "/p", None),
            (".", "/p", None),
            ("../../../../..", "/p", None),
        ];
        for (path, cwd, expected) in table {
            let found = beneath(Path::new(path), Path::new("/p"), Path::new(cwd)).ok();
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{path} in {cwd}");
        }
    }

    #[test]
    fn a_link_above_the_project_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("real/p/src")).unwrap();
        std::os::unix::fs::symlink(top.join("real"), top.join("link")).unwrap();
        let found = beneath(&top.join("link/p/src/gone.rs"), &top.join("real/p"), &top).unwrap();
        assert_eq!(found, b"src/gone.rs");
    }
}
