//! The layers that a session's turns leave: frozen, stacked, swept.
//!
//! Owns the directory of frozen layers: their names, and when one comes and goes. A layer is written once and
//! then immutable, so sessions share them by name; one that no session names is removed. Runs only where
//! nothing runs in the session's sandbox. Must not know what a layer means; see [`ftl_core::stack`].
//!
//! A turn's upper layer becomes a frozen one by being renamed, before the session's record says so. After a
//! crash between the two there is a layer under the session's next name, and it is renamed back.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ftl_core::id::SessionId;

use super::Error;
use super::record::{Layer, Record};
use crate::app::Parts;
use crate::{sandbox, snapshot};

/// What freezing left.
pub(super) struct Frozen {
    /// The session's layers, the one on top first.
    pub(super) layers: Vec<Layer>,
    /// How many it has frozen so far, of which some may be gone.
    pub(super) count: u32,
}

/// The directories of a session's layers, the one on top first.
pub(super) fn dirs(parts: &Parts, record: &Record) -> Vec<PathBuf> {
    record.stack.layers.iter().map(|layer| parts.home.layers().join(&layer.name)).collect()
}

/// What of its disk the sandbox may still use, when it may use `limit` in all; bytes.
pub(super) fn left(record: &Record, limit: u64) -> u64 {
    record.stack.layers.iter().fold(limit, |left, layer| left.saturating_sub(layer.bytes))
}

/// A session's upper directory.
pub(super) fn upper(parts: &Parts, id: &SessionId) -> PathBuf {
    parts.home.sessions().join(id.as_str()).join("upper")
}

/// Whether there is anything that the session wrote and that is in no frozen layer: in the upper directory, or not
/// even there yet.
pub(super) fn is_loose(parts: &Parts, record: &Record) -> bool {
    let next = path(parts, &name(&record.id, record.frozen + 1));
    holds_something(&upper(parts, &record.id)) || next.exists() || is_away(parts, record)
}

/// Whether the newest of the session's work may be on another machine.
fn is_away(parts: &Parts, record: &Record) -> bool {
    let dir = parts.home.sessions().join(record.id.as_str());
    parts.sandboxes.get(record.spec.sandbox.as_str()).is_some_and(|backend| backend.holds_work(&dir))
}

/// Undoes a freezing that no record tells of.
///
/// # Errors
/// When the layer cannot be put back.
pub(super) fn thaw(parts: &Parts, record: &Record) -> Result<(), Error> {
    let next = path(parts, &name(&record.id, record.frozen + 1));
    if !next.exists() {
        return Ok(());
    }
    let upper = upper(parts, &record.id);
    match std::fs::remove_dir(&upper) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(write_error(&upper)(error)),
        _ => std::fs::rename(&next, &upper).map_err(write_error(&upper)),
    }
}

/// Makes the upper layer the topmost of the frozen ones. The next turn begins with an empty one.
///
/// # Errors
/// When it cannot be renamed; then it stays where it is.
pub(super) fn freeze(parts: &Parts, record: &Record) -> Result<Frozen, Error> {
    let mut layers = record.stack.layers.clone();
    let mut count = record.frozen;
    let upper = upper(parts, &record.id);
    if holds_something(&upper) {
        count += 1;
        let name = name(&record.id, count);
        // What cannot be measured may not grow any further.
        let bytes = sandbox::disk_usage(&upper).unwrap_or(u64::MAX);
        std::fs::rename(&upper, path(parts, &name)).map_err(write_error(&upper))?;
        layers.insert(0, Layer { name, bytes });
    }
    Ok(Frozen { layers, count })
}

/// Makes a layer aside and gives it its name when it is complete.
///
/// # Errors
/// Those of `write`, and when it cannot be named.
pub(super) fn make(
    parts: &Parts,
    name: &str,
    write: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<String, Error> {
    let (target, half) = (path(parts, name), path(parts, &format!("{name}.new")));
    for left in [&half, &target] {
        snapshot::remove_tree(left).map_err(write_error(left))?;
    }
    let made = write(&half).and_then(|()| {
        if let Some((uid, gid)) = parts.owner {
            std::os::unix::fs::chown(&half, Some(uid), Some(gid)).map_err(write_error(&half))?;
        }
        std::fs::rename(&half, &target).map_err(write_error(&target))
    });
    if made.is_err() {
        // The error that counts is the first one; what is left goes at the daemon's next start.
        let _ = snapshot::remove_tree(&half);
    }
    made.map(|()| name.to_owned())
}

/// Removes the layers of a session that is forgotten, but those that others share.
pub(super) fn release(parts: &Parts, record: &Record) {
    let own = format!("{}-", record.id);
    let named: BTreeSet<&str> = record.layers().collect();
    sweep_those(parts, |name| named.contains(name) || name.starts_with(&own));
}

/// Removes those of some layers that no session names any more.
pub(super) fn release_those(parts: &Parts, layers: &[Layer]) {
    let named: BTreeSet<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    sweep_those(parts, |name| named.contains(name));
}

/// Removes every layer that no session names, and what is left of sessions that never came to be; gives the
/// directories of these that could not be removed. Nothing else may happen meanwhile.
pub(super) fn sweep(parts: &Parts) -> Vec<PathBuf> {
    sweep_those(parts, |_| true);
    let mut stuck = Vec::new();
    let Ok(records) = parts.db.records::<Record>("") else { return stuck };
    let known: BTreeSet<&str> = records.iter().map(|record| record.id.as_str()).collect();
    for item in std::fs::read_dir(parts.home.sessions()).into_iter().flatten().flatten() {
        let name = item.file_name().to_string_lossy().into_owned();
        if name.parse::<SessionId>().is_ok()
            && !known.contains(name.as_str())
            && snapshot::remove_tree(&item.path()).is_err()
        {
            stuck.push(item.path());
        }
    }
    stuck
}

fn sweep_those(parts: &Parts, wanted: impl Fn(&str) -> bool) {
    let dir = parts.home.layers();
    let kept = match named(|| parts.db.records::<Record>("")) {
        Ok(kept) => kept,
        Err(error) => {
            tracing::warn!(%error, "layers that nobody names cannot be told");
            return;
        }
    };
    for item in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
        let name = item.file_name().to_string_lossy().into_owned();
        if wanted(&name)
            && !kept.contains(&name)
            && let Err(error) = snapshot::remove_tree(&item.path())
        {
            tracing::warn!(layer = name, %error, "a layer could not be removed");
        }
    }
}

/// The layers that sessions name, or may name next. `read` gives the sessions, which come and go while they are
/// read: a branch that was made behind the first reading, and whose origin went before it came there, is met by
/// the second.
fn named<E>(mut read: impl FnMut() -> Result<Vec<Record>, E>) -> Result<BTreeSet<String>, E> {
    let mut named = BTreeSet::new();
    for records in [read()?, read()?] {
        named.extend(records.iter().flat_map(Record::layers).map(str::to_owned));
        named.extend(records.iter().map(|record| name(&record.id, record.frozen + 1)));
    }
    Ok(named)
}

/// The name of the layer that a session freezes as its nth.
pub(super) fn name(id: &SessionId, number: u32) -> String {
    format!("{id}-{number}")
}

/// Where the layer of a name lies.
pub(super) fn path(parts: &Parts, name: &str) -> PathBuf {
    parts.home.layers().join(name)
}

pub(super) fn holds_something(upper: &Path) -> bool {
    // The `.git` that the session was given is not its work.
    let is_given = upper.with_file_name(super::history::GIVEN).exists();
    let is_theirs = |entry: std::fs::DirEntry| !(is_given && entry.file_name() == ".git");
    match std::fs::read_dir(upper) {
        // What cannot be told is theirs.
        Ok(mut entries) => entries.any(|entry| entry.map_or(true, is_theirs)),
        // The sandbox may have closed it, which does not make it empty.
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

fn write_error(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Write { path, source }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::session::record::{Project, Spec};

    #[test]
    fn a_layer_that_another_session_takes_over_while_they_are_read_is_named() {
        let record = |number| {
            let project = Project { root: b"/p".as_slice().into(), dev: 0, ino: 0 };
            Record::new(SessionId::from_random([number; 10]), project, Spec::default(), 0)
        };
        let (origin, mut heir) = (record(2), record(1));
        let shared = name(&origin.id, 1);
        heir.stack.layers.push(Layer { name: shared.clone(), bytes: 0 });
        // The heir came after its place was read, and its origin went before.
        let mut readings = [vec![], vec![heir.clone()]].into_iter();
        let named = named(|| Ok::<_, Infallible>(readings.next().unwrap_or_default())).unwrap();
        assert_eq!(named, [shared, name(&heir.id, 1)].into());
    }
}
