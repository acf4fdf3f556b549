//! Whether an engine may have something of an earlier daemon's.
//!
//! Owns a file in the daemon's home that says so: a daemon that never made a container asks no engine for
//! what it left. Must not know engines.

use std::io;
use std::path::Path;

/// The file's name in the daemon's home.
const FILE: &str = "containers";

/// Notes that something is about to be made.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn note(home: &Path) -> io::Result<()> {
    let path = home.join(FILE);
    if path.exists() { Ok(()) } else { std::fs::write(path, b"") }
}

/// Whether anything was ever made.
pub(super) fn may_be(home: &Path) -> bool {
    home.join(FILE).exists()
}
