//! Views of projects' histories: what a session sees as `.git`.
//!
//! Owns a sanitised copy of each project's objects, branches and tags, how it follows the project, and the
//! directory of Git that a session starts with. The project's own `.git` is only read, as something that
//! anybody may have written; commits for it are made in [`export`]. Must not know sessions or sandboxes.
//!
//! ```text
//! FTL_HOME/history/<project>/
//!   objects/     packs that sandboxes see, read-only
//!   project      the project's path
//!   view.json    branches, tags, what is withheld, where the history is cut
//!   files        the files of HEAD, an index that has seen none of them
//!   bench/       where Git works; made anew for every run
//! ```

mod export;
mod git;
mod locate;
mod seed;
mod view;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ftl_core::history::object::Id;
use ftl_core::history::refs::Head;
use ftl_core::id::Hash;

pub use export::{Contents, Export, Exported};
pub use seed::MOUNT;
pub use view::{Advanced, Keep, View};

/// All projects' views.
#[derive(Debug)]
pub struct History {
    dir: PathBuf,
    /// The host's Git.
    program: Option<PathBuf>,
    owner: Option<(u32, u32)>,
    /// One lock per project.
    busy: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
    limit: Duration,
}

/// Why a project's history cannot be seen, or written. A session goes on without.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// There is no Git on the host.
    #[error("the program git is not installed on this machine")]
    NoGit,
    /// Something about the repository is not as Git makes it, or could lead out of it.
    #[error("the project's repository is not used: {why}")]
    Refused {
        /// What.
        why: &'static str,
    },
    /// Objects are damaged, or Git fails.
    #[error("the project's repository cannot be read: {what}")]
    Broken {
        /// What happened.
        what: String,
    },
    /// Git takes longer than it may.
    #[error("reading the project's repository takes too long")]
    TooLong,
    /// There is more than is ever read.
    #[error("the project's repository is too large")]
    TooLarge,
    /// Another run works on the same project's view.
    #[error("the project's history is being read already")]
    Busy,
    /// A branch cannot be made.
    #[error("the branch {name} cannot be made: {why}")]
    Branch {
        /// Its name.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// The operating system said no.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// The file that says whose a view is.
const PROJECT: &str = "project";
/// What one run of Git may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Where Git is looked for before the daemon's own PATH.
const USUAL: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/bin"];

impl History {
    /// The views beneath `dir`. `program` is the host's Git; `owner` whom the files of a session must belong
    /// to, when that is not the daemon's user.
    #[must_use]
    pub fn new(dir: PathBuf, program: Option<PathBuf>, owner: Option<(u32, u32)>) -> Self {
        Self { dir, program, owner, busy: Mutex::default(), limit: LIMIT }
    }

    /// The view of a project, as far as it was ever made.
    #[must_use]
    pub fn view(&self, project: &Path) -> Option<View> {
        View::open(&self.place(project))
    }

    /// The commit that is checked out in a project, as far as its repository's small files tell: `None` when
    /// nothing is committed yet.
    ///
    /// # Errors
    /// When the repository cannot be used.
    pub fn head(&self, project: &Path) -> Result<Option<Id>, HistoryError> {
        let Some(repository) = locate::read(project)? else { return Ok(None) };
        Ok(match repository.head {
            Head::Branch(name) => repository.refs.get(&name).copied(),
            Head::Detached(id) => Some(id),
        })
    }

    /// Projects with a view whose directories are gone, but those in `used`.
    ///
    /// # Errors
    /// When the views cannot be listed.
    pub fn orphans(&self, used: &BTreeSet<PathBuf>) -> Result<Vec<PathBuf>, HistoryError> {
        let items = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            items => items.map_err(io_error("list", &self.dir))?,
        };
        let projects = items.flatten().filter_map(|item| fs::read(item.path().join(PROJECT)).ok());
        let projects = projects.map(|bytes| PathBuf::from(OsStr::from_bytes(&bytes)));
        let is_gone = |path: &PathBuf| {
            path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        Ok(projects.filter(|project| !used.contains(project) && is_gone(project)).collect())
    }

    /// Removes a project's view.
    ///
    /// # Errors
    /// When another run works on it, or it cannot be removed.
    pub fn forget(&self, project: &Path) -> Result<(), HistoryError> {
        let lock = self.lock(project);
        let Ok(_alone) = lock.try_lock() else { return Err(HistoryError::Busy) };
        git::clear(&self.place(project))?;
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(project));
        Ok(())
    }

    fn program(&self) -> Result<&Path, HistoryError> {
        self.program.as_deref().ok_or(HistoryError::NoGit)
    }

    fn place(&self, project: &Path) -> PathBuf {
        self.dir.join(key(project))
    }

    fn lock(&self, project: &Path) -> Arc<Mutex<()>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(busy.entry(key(project)).or_default())
    }
}

/// The host's Git: at one of its usual places, or in an absolute directory of `path`.
#[must_use]
pub fn find_program(path: &OsStr) -> Option<PathBuf> {
    let usual = USUAL.iter().map(PathBuf::from);
    let dirs = usual.chain(std::env::split_paths(path).filter(|dir| dir.is_absolute()));
    dirs.map(|dir| dir.join("git")).find(|program| program.is_file())
}

/// A project's name among the views.
fn key(project: &Path) -> String {
    Hash::of(project.as_os_str().as_bytes()).to_hex()[..32].to_owned()
}

/// Says what was tried on which path.
fn io_error<E: Into<io::Error>>(act: &'static str, path: &Path) -> impl FnOnce(E) -> HistoryError {
    move |source| HistoryError::Io { act, path: path.to_owned(), source: source.into() }
}
