//! A session's `.git`: made for its first turn, put away when a turn has ended.
//!
//! Owns that it is in the overlay's upper layer only while a sandbox runs, so that no diff ever knows of it,
//! and that a session never waits long for it and never fails for want of it. Must not know how a history
//! is read.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ftl_core::history::{Depth, RECENT};
use ftl_core::id::SnapshotId;
use ftl_core::refuse::protected;
use ftl_core::tree::RelPath;
use tokio::sync::oneshot;

use super::driver::{root, told};
use super::layers;
use super::record::Record;
use crate::app::Parts;
use crate::history::{Advanced, HistoryError, Keep, MOUNT};

/// What a sandbox shows of its project's history.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Directories and where they are shown.
    pub(super) shared: Vec<(PathBuf, PathBuf)>,
    /// What the human should know.
    pub(super) notices: Vec<String>,
}

/// How long a sandbox waits for the history to be read; it is read on in the background.
const PATIENCE: Duration = Duration::from_secs(1);
/// Runs that complete one history at most, in the background.
const RUNS: usize = 1000;
/// Where a session's `.git` is while no sandbox runs, in the session's directory.
pub(super) const PARKED: &str = "git";
/// A file that says that the session has been given a `.git`, in the session's directory.
pub(super) const GIVEN: &str = "git-given";

/// Brings the session's `.git` into its upper layer.
pub(super) async fn furnish(parts: &Arc<Parts>, record: &Record, depth: Depth) -> Shown {
    let mut shown = Shown::default();
    let Some(base) = record.base else { return shown };
    let (project, dir) = (root(&record.project.root), parts.home.sessions().join(record.id.as_str()));
    let given = dir.join(GIVEN).exists();
    if !given {
        if depth == Depth::Off {
            return shown;
        }
        let (begun, first) = oneshot::channel();
        let (reading, at) = (Arc::clone(parts), project.clone());
        // A thread of its own: the daemon's end does not wait for it.
        std::thread::spawn(move || read(&reading, &at, base, depth, begun));
        let late = "the project's git history is still being read";
        match tokio::time::timeout(PATIENCE, first).await {
            Ok(Ok(Ok(None))) => return shown,
            Ok(Ok(Ok(Some(advanced)))) => {
                shown.notices.extend(advanced.notices.iter().map(|what| about(what)))
            }
            Ok(Ok(Err(error))) => shown.notices.push(about(&told(&error))),
            Ok(Err(_)) | Err(_) => shown.notices.push(about(late)),
        }
    }
    let Some(view) = parts.history.view(&project) else {
        if !given {
            shown.notices.push(about("there is no .git in this turn's sandbox"));
        }
        return shown;
    };
    let has_own = |layer: &PathBuf| layer.join(".git").symlink_metadata().is_ok();
    if !given && layers::dirs(parts, record).iter().any(has_own) {
        // The agent made one before there was ours; two that lie over each other are none.
        return shown;
    }
    let (seeding, seen) = (Arc::clone(parts), view.clone());
    let put = tokio::task::spawn_blocking(move || {
        if !given {
            let tree = seeding.store.tree(base).map_err(|error| broken(&error))?;
            let draft = dir.join("git-new");
            remove(&draft)?;
            seeding.history.seed(&seen, &project, &tree, &draft)?;
            write(&dir.join(GIVEN))?;
            return bring(&draft, &dir, seeding.owner);
        }
        bring(&dir.join(PARKED), &dir, seeding.owner)
    });
    match put.await.unwrap_or_else(|error| Err(broken(&error))) {
        Ok(()) => shown.shared.push((view.objects(), MOUNT.into())),
        Err(error) => shown.notices.push(about(&told(&error))),
    }
    if !given && view.is_cut() {
        shown.notices.push(about(&format!(
            "the session sees the newest {RECENT} commits or so; `\"history\": \"full\"` in the configuration \
             shows all"
        )));
    }
    shown
}

/// The directories that [`furnish`] would show to a session, when nothing comes in between.
pub(super) fn expected(parts: &Parts, record: &Record, depth: Depth) -> Vec<(PathBuf, PathBuf)> {
    let given = parts.home.sessions().join(record.id.as_str()).join(GIVEN).exists();
    let has_own = |layer: &PathBuf| layer.join(".git").symlink_metadata().is_ok();
    if !given && (depth == Depth::Off || layers::dirs(parts, record).iter().any(has_own)) {
        return Vec::new();
    }
    let view = parts.history.view(&root(&record.project.root));
    view.map(|view| (view.objects(), PathBuf::from(MOUNT))).into_iter().collect()
}

/// Puts the session's `.git` away, whatever the agent has made of it. Nothing runs in the layer any more.
pub(super) fn park(dir: &Path) -> Result<(), HistoryError> {
    let (at, to) = (dir.join("upper/.git"), dir.join(PARKED));
    let Ok(meta) = at.symlink_metadata() else { return Ok(()) };
    if !dir.join(GIVEN).exists() {
        return Ok(());
    }
    if meta.is_dir() {
        // A directory that nobody may write cannot be moved.
        fs::set_permissions(&at, fs::Permissions::from_mode(meta.permissions().mode() | 0o700))
            .map_err(failed(&at))?;
    }
    remove(&to)?;
    fs::rename(&at, &to).map_err(failed(&at))
}

/// Moves a `.git` into the upper layer, unless the agent has made one of its own there.
fn bring(from: &Path, dir: &Path, owner: Option<(u32, u32)>) -> Result<(), HistoryError> {
    let upper = dir.join("upper");
    if !upper.exists() {
        fs::create_dir(&upper).map_err(failed(&upper))?;
        fs::set_permissions(&upper, fs::Permissions::from_mode(0o755)).map_err(failed(&upper))?;
        if let Some((uid, gid)) = owner {
            lchown(&upper, Some(uid), Some(gid)).map_err(failed(&upper))?;
        }
    }
    let at = upper.join(".git");
    if from.symlink_metadata().is_err() || at.symlink_metadata().is_ok() {
        return Ok(());
    }
    fs::rename(from, &at).map_err(failed(&at))
}

/// Reads the history, tells what came of the first run, and goes on while there is more.
fn read(
    parts: &Parts,
    project: &Path,
    base: SnapshotId,
    depth: Depth,
    begun: oneshot::Sender<Result<Option<Advanced>, HistoryError>>,
) {
    let rules = match parts.store.rules(base) {
        Ok(rules) => rules,
        Err(error) => {
            let _nobody_waits = begun.send(Err(broken(&error)));
            return;
        }
    };
    // What version control and FTL keep to themselves is no secret; FTL's own files are read by agents.
    let rule = |path: &RelPath, is_dir: bool| protected(path.name()).is_none() && rules.ignores(path, is_dir);
    let keep = Keep { rule: &rule, digest: rules.digest() };
    let mut advanced = parts.history.advance(project, depth, &keep);
    let mut more = matches!(&advanced, Ok(Some(Advanced { done: false, .. })));
    let _nobody_waits = begun.send(advanced);
    for _ in 0..RUNS {
        if !more {
            return;
        }
        advanced = parts.history.advance(project, depth, &keep);
        more = matches!(&advanced, Ok(Some(Advanced { done: false, .. })));
        if let Err(error) = &advanced {
            tracing::warn!(project = %project.display(), error = %told(error), "a history stays incomplete");
        }
    }
}

fn about(what: &str) -> String {
    format!("git history: {what}")
}

fn write(path: &Path) -> Result<(), HistoryError> {
    fs::write(path, b"").map_err(failed(path))
}

fn remove(path: &Path) -> Result<(), HistoryError> {
    crate::snapshot::remove_tree(path).map_err(failed(path))
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> HistoryError {
    let path = path.to_owned();
    move |source| HistoryError::Io { act: "prepare", path, source }
}

fn broken(error: &dyn std::error::Error) -> HistoryError {
    HistoryError::Broken { what: told(error) }
}
