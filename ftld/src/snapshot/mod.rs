//! The state of projects at moments, kept by content.
//!
//! Owns the store directory: contents (`objects/`), base trees that sandboxes mount (`trees/`), what was
//! seen last of each project (`index/`) and the ignore rules a snapshot was taken with (`rules/`). Reads
//! projects and upper layers, and changes neither. Must not know sessions, sandboxes or reviews.
//!
//! What survives a power cut:
//! - A content is written to a temporary file and renamed, so that its name never stands for half of it
//!   after a crash of the daemon. What a project still holds is not forced to the disk: it can be read
//!   again. Its size is compared when it is used, and a base tree is compared with its listings once per
//!   daemon; what does not fit is made anew.
//! - Captured work and pre-images exist nowhere else. They are forced to the disk, file and directory,
//!   before the call that stores them returns.

mod base;
mod blob;
mod capture;
mod checkout;
mod content;
mod dir;
mod fold;
mod index;
mod remove;
mod rules;
mod scan;
mod store;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ftl_core::id::{Hash, SnapshotId};
use ftl_core::tree::ListingError;

pub use base::{Base, FOLD_FROM};
pub use capture::{Captured, Unread};
pub use fold::{copy, fold};
pub use remove::remove_tree;
pub use rules::{Class, Exclusion, Rules};
pub use store::{LocalStore, Restored, Taken};

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
