//! What is known of a session's work that is gone for good.
//!
//! Owns the file `lost` of a session's directory: a backend writes it down before it forgets where the work was, so
//! that whoever reads the session's work next can tell, also after a crash. Must not know sessions or engines.

use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::SandboxError;

/// The longest text that is read, bytes.
const LONGEST: u64 = 4096;

/// Writes down that work is gone: a sentence without a full stop, which is there after a power cut.
///
/// # Errors
/// When it cannot be written.
pub fn note(dir: &Path, why: &str) -> Result<(), SandboxError> {
    let (path, part) = (file(dir), dir.join("lost.new"));
    let write = || -> io::Result<()> {
        let mut file = std::fs::File::create(&part)?;
        file.write_all(why.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&part, &path)?;
        std::fs::File::open(dir)?.sync_all()
    };
    write().map_err(|source| SandboxError::File { act: "writing", path: path.clone(), source })
}

/// What is written down; nothing when no work is gone.
#[must_use]
pub fn told(dir: &Path) -> Option<String> {
    use std::io::Read as _;

    let mut text = String::new();
    match std::fs::File::open(file(dir)).and_then(|file| file.take(LONGEST).read_to_string(&mut text)) {
        Ok(_) => Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            Some(format!("some of the work may be gone, and what was written of it cannot be read: {error}"))
        }
    }
}

/// It was told: another turn begins.
///
/// # Errors
/// When the file cannot be removed.
pub fn forget(dir: &Path) -> Result<(), SandboxError> {
    let path = file(dir);
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(SandboxError::File { act: "removing", path, source })
        }
        _ => Ok(()),
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("lost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_known_until_another_turn_begins() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(told(dir.path()), None);
        note(dir.path(), "a volume is gone").unwrap();
        assert_eq!(told(dir.path()).as_deref(), Some("a volume is gone"));
        forget(dir.path()).unwrap();
        forget(dir.path()).unwrap();
        assert_eq!(told(dir.path()), None);
        std::fs::create_dir(file(dir.path())).unwrap();
        assert!(told(dir.path()).unwrap().contains("cannot be read"), "what cannot be read is not nothing");
    }
}
