//! The state of projects at moments, kept by content.
//!
//! Owns the store directory: small contents and all directories' listings (`packs/`), larger contents
//! (`objects/`), base trees that sandboxes mount (`trees/`), what was seen last of each project (`index/`), the
//! ignore rules a snapshot was taken with (`rules/`), what could not be read then (`unread/`) and what was found
//! damaged (`damaged/`). Reads projects
//! and upper layers, and changes neither. Must not know sessions, sandboxes or reviews.
//!
//! # What is on the disk when
//!
//! - **After a kill of the daemon** everything is there that a call of this folder returned for. A content is
//!   renamed when it is complete, or appended as a record that says by itself whether it is whole; what is
//!   not whole at the end of a pack is cut when the store is opened.
//! - **After a power cut** everything is there that was forced to the disk before. Captured work and
//!   pre-images, which exist nowhere else, are: [`LocalStore::capture`], [`LocalStore::put_captured`] and
//!   [`LocalStore::keep`] return after that. So is a snapshot with its ignore rules once
//!   [`LocalStore::settle`] returned, which a human who asks for one waits for. One that a session begins with
//!   is not: the project still holds it.
//! - Of the file system only this is assumed: a flushed file has its bytes, a flushed directory its names, a
//!   renamed file stands in one of its two places. A file that was not flushed may have its length and zeros:
//!   nothing new relies on a content's file that this process has neither written nor read. What a daemon
//!   before left without flushing it is flushed by the next [`LocalStore::settle`].
//! - An index vouches only for contents that were forced to the disk before it was written, so that what a
//!   power cut took is read again. A pack has its index only when all of it is on the disk.
//! - A listing is stored after all that it names, here and at a remote.
//! - What goes is first taken off every list, for good; packs are rewritten before the old ones go. A
//!   collection that is killed leaves too much and never too little.
//! - What turns out to be damaged or missing raises a doubt: every index is forgotten, and the next snapshot
//!   of a project reads all of it and stores again what is not there.
//!
//! `tests/killed.rs` ends the process before, in the middle of and after every write, flush, rename and
//! removal of a story with all of these. `tests/history.rs` computes for any history what a kill or a power cut
//! leaves (`tests/disk.rs`), from a record of all that goes through `step`, and restores every snapshot from it.
//!
//! # What a snapshot holds
//!
//! Names as bytes, whatever their case; contents, permission bits, modification times and symbolic links. A file
//! with several names is stored once and restored as one file for each name. A hole is kept as a hole. Neither
//! taken in nor followed, but named with the reason: what cannot be read, what changes each time it is read,
//! sockets, FIFOs and devices, other mounts.

mod base;
mod blob;
mod capture;
mod checkout;
mod collect;
mod content;
mod dir;
mod fold;
mod gate;
mod index;
mod live;
mod notes;
mod outside;
mod pack;
mod packages;
mod packed;
mod packindex;
mod projects;
pub mod remote;
mod remove;
mod repack;
mod rules;
mod scan;
mod seen;
mod shown;
mod site;
mod step;
mod store;
mod update;
mod verify;
mod watch;
mod watches;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ftl_core::id::{Hash, SnapshotId};
use ftl_core::tree::ListingError;

pub use base::Base;
pub use capture::{Captured, Unread};
pub use collect::{Collected, Needed};
pub use content::Content;
pub use fold::{copy, fold};
pub use gate::Lease;
pub use live::{Sweeping, Watching};
pub use outside::Exclusions;
pub use packages::{Installed, Most, Target};
pub use remove::remove_tree;
pub use repack::Amount;
pub use rules::{Class, Exclusion, Rules};
pub use shown::SeenFile;
pub use store::{LocalStore, Lost, Restored, Taken};
pub use verify::{Checked, Damage};

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
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
    /// A content that should be in the store is not, or has another size.
    #[error("content {hash} is missing from the store")]
    Missing {
        /// Which.
        hash: Hash,
    },
    /// A stored content is not what its hash says.
    #[error("content {hash} is damaged in the store")]
    Damaged {
        /// Which.
        hash: Hash,
    },
    /// No snapshot has this id.
    #[error("there is no snapshot {id}")]
    Unknown {
        /// Which.
        id: SnapshotId,
    },
    /// A directory's listing that cannot be read.
    #[error("the store holds a damaged listing")]
    Listing(#[from] ListingError),
    /// An upper layer that says something this daemon never lets an overlay say.
    #[error("the sandbox's layer has odd metadata at {path}: {what}")]
    Odd {
        /// Where, escaped.
        path: String,
        /// What.
        what: String,
    },
    /// Ignore files that would cost every look at the project too much.
    #[error("the project's ignore files hold more than {} MiB together", most >> 20)]
    Rules {
        /// What is accepted, in bytes.
        most: u64,
    },
    /// A session that changed more than a review can show.
    #[error("the session made or changed more than {most} paths")]
    Paths {
        /// What is accepted.
        most: usize,
    },
    /// A directory to restore into that holds something.
    #[error("{} is not an empty directory", path.display())]
    Occupied {
        /// Which.
        path: PathBuf,
    },
}

/// Says what was tried on which path.
fn io_error<E: Into<io::Error>>(
    act: &'static str,
    path: impl AsRef<Path>,
) -> impl FnOnce(E) -> SnapshotError {
    move |source| SnapshotError::Io { act, path: path.as_ref().to_owned(), source: source.into() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves everything here as it was: each is changed in one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
