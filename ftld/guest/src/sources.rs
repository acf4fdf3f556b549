//! The host's directories that a sandbox shows, as detached mounts.
//!
//! Owns which they are and that they are reached with the rights of whoever runs the daemon, before the
//! sandbox's own user exists: the daemon's directory may stand in a home that nobody else may enter.
//! Must not know where they go beyond their path. Everything but the session's own is read-only from
//! the start.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use ftl_guest::protocol::{At, Failure, Setup, Stage};

use crate::etc;
use crate::mounts::{self, Mount};

/// Where a stock system keeps its programs. Symbolic links among them are made again as links.
const SYSTEM: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// Device nodes.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

/// Everything of the host that a sandbox shows.
pub(crate) struct Sources {
    /// What is put at a path, in this order.
    pub(crate) shown: Vec<Shown>,
    /// Symbolic links to make: path and target.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    /// The immutable directories below the workspace, the one on top first.
    pub(crate) layers: Vec<Mount>,
    /// The session's directory, whole: both of the overlay's directories must be on one mount.
    pub(crate) session: Mount,
    /// The session's home.
    pub(crate) home: Mount,
    /// The session's temporary directory.
    pub(crate) tmp: Mount,
}

/// One mount and its place.
pub(crate) struct Shown {
    /// Path beneath the root, relative.
    pub(crate) path: PathBuf,
    /// Whether its place is a directory or a file.
    pub(crate) kind: Kind,
    /// The mount.
    pub(crate) mount: Mount,
}

/// What stands at a place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

impl Sources {
    /// Opens all of them.
    pub(crate) fn open(setup: &Setup) -> Result<Self, Failure> {
        let dir = setup.dir.as_path();
        let mut sources = Self {
            shown: Vec::with_capacity(64),
            links: Vec::new(),
            layers: setup
                .layers
                .iter()
                .map(|layer| open(layer.as_path(), mounts::READ_ONLY))
                .collect::<Result<_, _>>()?,
            session: open(dir, mounts::SAFE)?,
            home: open(&dir.join("home"), mounts::SAFE)?,
            tmp: open(&dir.join("tmp"), mounts::SAFE)?,
        };
        for path in SYSTEM {
            sources.show_if_there(Path::new(path))?;
        }
        sources.show_etc()?;
        for name in DEVICES {
            let path = Path::new("/dev").join(name);
            let mount = open(&path, mounts::DEVICE)?;
            sources.shown.push(Shown { path: beneath_root(&path), kind: Kind::File, mount });
        }
        for tool in &setup.tools {
            sources.show(tool.source.as_path(), tool.target.as_path())?;
        }
        Ok(sources)
    }

    fn show_etc(&mut self) -> Result<(), Failure> {
        let etc = Path::new("/etc");
        for name in etc::SHOWN {
            self.show_if_there(&etc.join(name))?;
        }
        let entries = std::fs::read_dir(etc).at(Stage::Source, "listing /etc")?;
        for entry in entries.flatten() {
            if etc::is_versioned(&entry.file_name()) {
                self.show_if_there(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Shows a path of the host at the same path; a link into `/usr` stays a link.
    fn show_if_there(&mut self, path: &Path) -> Result<(), Failure> {
        let metadata = match std::fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).at(Stage::Source, path.display()),
        };
        if !metadata.is_symlink() {
            return self.show(path, path);
        }
        // A link that leads nowhere is as good as none.
        let Ok(resolved) = path.canonicalize() else { return Ok(()) };
        if resolved.starts_with("/usr") {
            let target = std::fs::read_link(path).at(Stage::Source, path.display())?;
            self.links.push((beneath_root(path), target));
            return Ok(());
        }
        self.show(&resolved, path)
    }

    fn show(&mut self, source: &Path, target: &Path) -> Result<(), Failure> {
        let mount = open(source, mounts::READ_ONLY)?;
        let stat = rustix::fs::fstat(mount.as_fd()).at(Stage::Source, source.display())?;
        let kind = match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
            rustix::fs::FileType::Directory => Kind::Directory,
            rustix::fs::FileType::RegularFile => Kind::File,
            _ => {
                let what = format!("{} is neither a file nor a directory", source.display());
                return Err(Failure { stage: Stage::Source, errno: libc::EINVAL, what });
            }
        };
        self.shown.push(Shown { path: beneath_root(target), kind, mount });
        Ok(())
    }
}

fn open(path: &Path, attributes: u64) -> Result<Mount, Failure> {
    let mount = Mount::of_path(path).at(Stage::Source, path.display())?;
    mount.restrict(attributes).at(Stage::Source, format_args!("restricting {}", path.display()))?;
    Ok(mount)
}

fn beneath_root(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}
