//! What a project has installed, as the lowest layer of the sandboxes of its checks.
//!
//! Owns the copies: each is made once, serves every check as long as the project's own is the same, and goes when
//! another takes its place or the daemon ends. Never of a session's own: what an agent installed was not reviewed.
//! Must not know what runs over it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ftl_core::id::Hash;
use ftl_core::tree::{RelPath, Tree};
use ftl_core::verify::packages::{ENVIRONMENTS, package_dir};

use super::Error;
use super::decide::new_session_id;
use super::driver::told;
use crate::app::Parts;
use crate::sandbox::WORKSPACE;
use crate::snapshot::{Class, Exclusions, Installed, Most, Target, remove_tree};

/// The copies that are kept, the newest last.
#[derive(Default)]
pub(super) struct Kept(Mutex<VecDeque<(PathBuf, Arc<Copy>)>>);

/// A copy. It goes with whoever holds it last.
struct Copy {
    digest: Hash,
    /// A directory of its own beneath `sessions/`, which no record names.
    dir: PathBuf,
}

/// What a project has installed, ready to be mounted. The directory stays as long as this does.
#[derive(Clone, Default)]
pub(super) struct Packages {
    copy: Option<Arc<Copy>>,
    /// Environments of Python that are there.
    environments: Vec<&'static str>,
    /// What the human should know: sentences without a full stop.
    pub(super) notices: Vec<String>,
}

/// Projects of which a copy is kept.
const PROJECTS: usize = 2;
/// As much is copied of one project.
const MOST: Most = Most { paths: 400_000, bytes: 4 << 30 };

impl Packages {
    /// The layer.
    pub(super) fn layer(&self) -> Option<PathBuf> {
        self.copy.as_ref().map(|copy| copy.dir.join("packages"))
    }

    /// What tells it from another state of the project's packages.
    pub(super) fn digest(&self) -> Option<Hash> {
        self.copy.as_ref().map(|copy| copy.digest)
    }

    /// Directories of programs in a sandbox that has it.
    pub(super) fn path(&self) -> Vec<PathBuf> {
        self.environments.iter().map(|name| Path::new(WORKSPACE).join(name).join("bin")).collect()
    }
}

/// What the project at `root` has installed now. `tree` is the project's snapshot, and `outside` what it leaves out.
///
/// # Errors
/// When the project cannot be read, or the copy not be written.
pub(super) fn of(parts: &Parts, root: &Path, tree: &Tree, outside: &Exclusions) -> Result<Packages, Error> {
    let ignored = outside.iter().filter(|exclusion| exclusion.class == Class::Ignored);
    let mut named: Vec<(RelPath, RelPath)> =
        ignored.filter_map(|one| Some((package_dir(&one.path, tree)?, one.path.clone()))).collect();
    named.sort();
    named.dedup();
    let paths: Vec<RelPath> = named.into_iter().map(|(_, path)| path).collect();
    if paths.is_empty() {
        return Ok(Packages::default());
    }
    let installed = Installed::look(root, &paths, MOST)?;
    let left_out = installed.left_out.iter();
    let mut notices: Vec<String> =
        left_out.map(|(path, why)| format!("{path} is not there for the checks: {why}")).collect();
    if installed.is_empty() {
        return Ok(Packages { notices, ..Packages::default() });
    }
    let copy = parts.checks.packages.copy(parts, root, &installed)?;
    notices.push("installed packages are those of your project as it is now".to_owned());
    let has = |name: &&&str| {
        let path = format!("{name}/bin");
        RelPath::new(path).is_ok_and(|path| installed.has(&path))
    };
    let environments = ENVIRONMENTS.iter().filter(has).copied().collect();
    Ok(Packages { copy: Some(copy), environments, notices })
}

impl Kept {
    fn copy(&self, parts: &Parts, root: &Path, installed: &Installed) -> Result<Arc<Copy>, Error> {
        let digest = installed.digest();
        let known = {
            let kept = self.lock();
            kept.iter().find(|(of, _)| of == root).map(|(_, copy)| Arc::clone(copy))
        };
        if let Some(known) = known.filter(|known| known.digest == digest) {
            return Ok(known);
        }
        let dir = parts.home.sessions().join(new_session_id()?.as_str());
        std::fs::create_dir_all(&dir).map_err(|source| Error::Write { path: dir.clone(), source })?;
        // From here on it goes when this does.
        let copy = Arc::new(Copy { digest, dir });
        let layer = copy.dir.join("packages");
        installed.copy(root, Target { dir: &layer, owner: parts.owner, workspace: Path::new(WORKSPACE) })?;
        let mut kept = self.lock();
        let (mut old, others): (VecDeque<_>, VecDeque<_>) = kept.drain(..).partition(|(of, _)| of == root);
        *kept = others;
        kept.push_back((root.to_owned(), Arc::clone(&copy)));
        let excess = kept.len().saturating_sub(PROJECTS);
        old.extend(kept.drain(..excess));
        drop(kept);
        // Removing takes its time, and nobody waits for the lock meanwhile.
        drop(old);
        Ok(copy)
    }

    /// Forgets all copies; those that no check uses are removed now.
    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut *self.lock());
        drop(all);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(PathBuf, Arc<Copy>)>> {
        // A panic elsewhere leaves everything here as it was: each is changed in one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), error = %told(&error), "a copy of packages could not be removed");
        }
    }
}
