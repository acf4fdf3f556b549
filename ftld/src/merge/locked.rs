//! Nodes that the file system itself protects.
//!
//! Owns the look for them before anything is written: that they cannot be changed would be found in the middle
//! of an application else, and maybe again on the way back. Must not know how a step is done.

use std::collections::BTreeSet;

use ftl_core::merge::Step;
use ftl_core::tree::RelPath;
use rustix::fs::{AtFlags, OFlags, StatxFlags, statx};
use rustix::io::Errno;

use super::root::Root;
use super::{MergeError, io_error};

/// `STATX_ATTR_IMMUTABLE` and `STATX_ATTR_APPEND` of the kernel's interface.
const MARKS: [(u64, &str, &str); 2] = [(0x10, "immutable", "+i"), (0x20, "append-only", "+a")];

/// Refuses steps of which one replaces, removes or changes what is immutable or append-only, or something in a
/// directory that is.
///
/// # Errors
/// When there is one, or it cannot be looked at.
pub(super) fn check_locked(root: &Root, steps: &[Step]) -> Result<(), MergeError> {
    let paths: BTreeSet<&RelPath> = steps.iter().map(|step| &step.path).collect();
    let dirs: BTreeSet<Option<RelPath>> = paths.iter().map(|path| path.parent()).collect();
    for path in paths {
        look(root, Some(path))?;
    }
    dirs.iter().try_for_each(|dir| look(root, dir.as_ref()))
}

fn look(root: &Root, path: Option<&RelPath>) -> Result<(), MergeError> {
    let shown = || path.map_or_else(|| root.path().display().to_string(), ToString::to_string);
    let node = match root.open_beneath(path, OFlags::PATH | OFlags::NOFOLLOW) {
        // What is not there, or is a link, bears no mark.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        node => node.map_err(io_error("open", shown()))?,
    };
    let stat = match statx(&node, c"", AtFlags::EMPTY_PATH, StatxFlags::empty()) {
        // An old kernel: the step itself will tell.
        Err(Errno::NOSYS) => return Ok(()),
        stat => stat.map_err(io_error("read", shown()))?,
    };
    match MARKS.into_iter().find(|(bit, ..)| stat.stx_attributes.bits() & bit != 0) {
        Some((_, mark, flag)) => Err(MergeError::Locked { path: shown(), mark, flag }),
        None => Ok(()),
    }
}
