//! The steps by which the store changes the disk.
//!
//! Owns every creation, write, flush, rename and removal beneath the store but for base trees, which are made
//! from the rest, so that a test can end the process at each of them, and can say what a power cut would
//! leave. Must not know what is written.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::syncfs;

/// Makes a directory and those above it, when it is not there. Whoever needs it after a power cut forces the
/// one above it to the disk.
pub(super) fn make_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    #[cfg(test)]
    let _turn = record::turn(path, |path| record::Op::MakeDir { path });
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Creates a file that is not there yet.
pub(super) fn create(path: &Path) -> io::Result<File> {
    point();
    #[cfg(test)]
    let _turn = record::turn(path, |path| record::Op::Create { path });
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Writes all bytes at a place of a file.
pub(super) fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    point();
    #[cfg(test)]
    let _turn = record::turn(file, |path| record::Op::Write { path, at, bytes: bytes.to_vec() });
    #[cfg(test)]
    {
        // Half a write is what a killed process leaves when the kernel was at it.
        let half = bytes.len() / 2;
        file.write_all_at(&bytes[..half], at)?;
        point();
    }
    file.write_all_at(bytes, at)
}

/// A file that is written from its beginning on.
pub(super) struct Growing {
    file: File,
    at: u64,
}

impl Growing {
    /// Over a file that is empty.
    pub(super) fn new(file: File) -> Self {
        Self { file, at: 0 }
    }
}

impl io::Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_at(&self.file, bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives a file another length.
pub(super) fn cut(file: &File, length: u64) -> io::Result<()> {
    point();
    #[cfg(test)]
    let _turn = record::turn(file, |path| record::Op::Cut { path, length });
    file.set_len(length)
}

/// Notes that the file system let a file share another's bytes.
pub(super) fn shared(file: &File) {
    point();
    #[cfg(test)]
    {
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        drop(record::turn(file, |path| record::Op::Write { path, at: 0, bytes }));
    }
    #[cfg(not(test))]
    let _ = file;
}

/// Forces a file's bytes to the disk.
pub(super) fn sync(file: &File) -> io::Result<()> {
    point();
    #[cfg(test)]
    let _turn = record::turn(file, |path| record::Op::Sync { path });
    file.sync_all()
}

/// Forces the names in a directory to the disk.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    point();
    #[cfg(test)]
    let _turn = record::turn(dir, |path| record::Op::SyncDir { path });
    File::open(dir)?.sync_all()
}

/// Forces everything of the file system that a directory is on to the disk.
pub(super) fn sync_all(dir: &Path) -> io::Result<()> {
    point();
    #[cfg(test)]
    let _turn = record::turn(dir, |_| record::Op::SyncAll);
    Ok(syncfs(&File::open(dir)?)?)
}

/// Gives a complete file its name.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    point();
    {
        #[cfg(test)]
        let _turn = record::rename(from, to);
        fs::rename(from, to)?;
    }
    point();
    Ok(())
}

/// Removes a file. That it is not there is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    point();
    #[cfg(test)]
    let _turn = record::turn(path, |path| record::Op::Remove { path });
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes a directory and all that is in it.
pub(super) fn clear(dir: &Path) -> io::Result<()> {
    point();
    #[cfg(test)]
    let _turn = record::turn(dir, |path| record::Op::Clear { path });
    super::remove_tree(dir)
}

#[cfg(not(test))]
fn point() {}

#[cfg(test)]
pub(super) use killed::{ABORT_AT, point};

#[cfg(test)]
pub(super) mod record;

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
