//! Bringing what is known of a project up to date.
//!
//! Owns the looking at what events named, and at nothing else. What it cannot settle by that, it says. Must
//! not know where events come from.

use ftl_core::tree::RelPath;
use rustix::fs::{AtFlags, fstat, statat};
use rustix::io::Errno;

use super::SnapshotError;
use super::dir::{self, LIST};
use super::rules::Kind;
use super::scan::{Ground, Walk};
use super::seen::Seen;
use super::watches::{At, Dirty, Touched, Watches};

/// How far looking at what was named went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Updated {
    /// Everything is up to date; these files were read.
    Done(Vec<RelPath>),
    /// Something was found that may change the meaning of paths which no event named: the whole project
    /// must be walked.
    NeedsWalk,
}

/// Looks at everything that is dirty. A file that was named is read whatever its stamp says.
pub(super) fn update(
    ground: Ground<'_>,
    seen: &mut Seen,
    dirty: &Dirty,
    watches: &mut Watches,
) -> Result<Updated, SnapshotError> {
    disown(seen, dirty);
    if is_about_rules(seen, dirty) {
        return Ok(Updated::NeedsWalk);
    }
    // A directory that was moved or replaced is forgotten with its watches, before anything is watched anew:
    // the kernel would give it the number that it still has.
    for (path, _) in dirty.paths().filter(|(_, moved)| *moved) {
        if seen.has_dir(Some(&path)) || watches.has(&Some(path.clone())) {
            if seen.rules.any_beneath(&path) {
                return Ok(Updated::NeedsWalk);
            }
            watches.remove(&path);
            seen.forget(&path);
        }
    }
    let mut walk = Walk::new(ground, seen, Some(watches));
    for (at, touched) in &dirty.dirs {
        match look(&mut walk, at, touched)? {
            true => {}
            false => return Ok(Updated::NeedsWalk),
        }
    }
    walk.finish()?;
    let read = std::mem::take(&mut walk.read);
    match walk.is_newly_linked || seen.is_odd {
        true => Ok(Updated::NeedsWalk),
        false => Ok(Updated::Done(read)),
    }
}

/// Makes that no mark vouches for what an event named.
pub(super) fn disown(seen: &mut Seen, dirty: &Dirty) {
    dirty.paths().for_each(|(path, _)| seen.doubt(&path));
}

fn is_about_rules(seen: &Seen, dirty: &Dirty) -> bool {
    let named = |(at, touched): (&At, &Touched)| {
        // In a directory that is new, the walk reads them.
        seen.has_dir(at.as_ref()) && touched.names.keys().any(|name| Kind::of(name).is_some())
    };
    dirty.dirs.iter().any(named)
}

/// Looks at one directory. False when the rules changed.
fn look(walk: &mut Walk<'_>, at: &At, touched: &Touched) -> Result<bool, SnapshotError> {
    if !walk.seen.has_dir(at.as_ref()) {
        return Ok(true);
    }
    let dir = match dir::open_beneath(walk.ground.root, at.as_ref(), LIST) {
        Ok(dir) => dir,
        // Its own going is told by the directory above.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if at.is_some() => return Ok(true),
        // What is beneath a directory that cannot be opened any more must go: the walk says so.
        Err(_) => return Ok(false),
    };
    if let (Some(at), Ok(stat)) = (at, fstat(&dir)) {
        walk.put_dir(at, &stat);
    }
    let mut items = Vec::new();
    if touched.is_all {
        items = match dir::list(&dir) {
            Ok(items) => items,
            Err(_) => return Ok(false),
        };
        let known = walk.seen.names_in(at.as_ref());
        let there: std::collections::BTreeSet<&[u8]> =
            items.iter().map(|item| item.name.to_bytes()).collect();
        for name in known.iter().filter(|name| !there.contains(name.as_slice())) {
            if !forget(walk, at, name) {
                return Ok(false);
            }
        }
        if items.iter().any(|item| is_new_rules(walk.seen, at, item)) {
            return Ok(false);
        }
    }
    for name in touched.names.keys().filter(|_| !touched.is_all) {
        let Ok(text) = std::ffi::CString::new(name.as_slice()) else { continue };
        match statat(&dir, &text, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => items.push(dir::Item { name: text, stat }),
            Err(Errno::NOENT) if forget(walk, at, name) => {}
            Err(_) => return Ok(false),
        }
    }
    walk.arrive(at.as_ref(), &dir, &items);
    Ok(true)
}

/// Forgets a name. False when rules stood beneath it.
fn forget(walk: &mut Walk<'_>, at: &At, name: &[u8]) -> bool {
    let Ok(path) = RelPath::under(at.as_ref(), name) else { return true };
    let is_settled = Kind::of(name).is_none() && !walk.seen.rules.any_beneath(&path);
    walk.unwatch(&path);
    walk.seen.forget(&path);
    is_settled
}

/// Whether a file of rules is not the one that was read.
fn is_new_rules(seen: &Seen, at: &At, item: &dir::Item) -> bool {
    let name = item.name.to_bytes();
    Kind::of(name).is_some()
        && RelPath::under(at.as_ref(), name)
            .is_ok_and(|path| seen.known(&path, super::index::Stamp::of(&item.stat)).is_none())
}
