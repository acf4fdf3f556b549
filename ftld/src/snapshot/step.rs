//! The steps by which the store changes the disk.
//!
//! Owns every write, flush, rename and removal of packs and contents, so that a test can end the process
//! at each of them. Must not know what is written.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Writes all bytes at a place of a file.
pub(super) fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    point();
    #[cfg(test)]
    {
        // Half a write is what a killed process leaves when the kernel was at it.
        let half = bytes.len() / 2;
        file.write_all_at(&bytes[..half], at)?;
        point();
    }
    file.write_all_at(bytes, at)
}

/// Forces a file's bytes to the disk.
pub(super) fn sync(file: &File) -> io::Result<()> {
    point();
    file.sync_all()
}

/// Forces the names in a directory to the disk.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    point();
    File::open(dir)?.sync_all()
}

/// Gives a complete file its name.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    point();
    fs::rename(from, to)?;
    point();
    Ok(())
}

/// Removes a file. That it is not there is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    point();
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(not(test))]
fn point() {}

#[cfg(test)]
pub(super) use killed::{ABORT_AT, point};

/// Ending the process at the step that a test names.
#[cfg(test)]
mod killed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// The variable that names the step.
    pub(in super::super) const ABORT_AT: &str = "FTL_TEST_ABORT_AT";

    pub(in super::super) fn point() {
        static LAST: OnceLock<Option<u64>> = OnceLock::new();
        static DONE: AtomicU64 = AtomicU64::new(0);
        let last = LAST.get_or_init(|| std::env::var(ABORT_AT).ok().and_then(|text| text.parse().ok()));
        if *last == Some(DONE.fetch_add(1, Ordering::SeqCst)) {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
    }
}
