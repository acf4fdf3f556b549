//! The directory that holds the socket: ours, and nobody else's.
//!
//! Owns its creation and its check. Must not know the socket.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use super::ConnectError;

/// Whether the directory exists; an error when it does and others could put a socket into it.
pub(super) fn check(dir: &Path, uid: u32) -> Result<bool, ConnectError> {
    let found = match fs::symlink_metadata(dir) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => {
            return Err(ConnectError::Io { act: format!("look at {}", super::Shown::from(dir)), source });
        }
    };
    let mode = found.mode() & 0o7777;
    let why = if !found.is_dir() {
        "it is not a directory".to_owned()
    } else if found.uid() != uid {
        format!("it belongs to user {}, not to {uid}", found.uid())
    } else if mode & 0o777 != 0o700 {
        format!("its mode is {mode:04o}, not 0700")
    } else {
        return Ok(true);
    };
    Err(ConnectError::UnsafeDirectory { dir: dir.into(), why })
}

/// Makes the directory, readable for its owner only, unless it exists.
pub(super) fn create(dir: &Path) -> Result<(), ConnectError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| ConnectError::Io {
        act: format!("make the directory {}", super::Shown::from(dir)),
        source,
    })
}
