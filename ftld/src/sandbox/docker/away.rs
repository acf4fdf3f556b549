//! What is written down of a session's work while it is on an engine that cannot see this machine.
//!
//! Owns the file `away` of a session's directory: as long as it is there, the newest of the session's work may
//! be on the engine alone. Must not know engines.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::SandboxError;

/// Where a session's work is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Away {
    /// The engine's own id.
    pub(super) engine: String,
    /// Where the engine was reached.
    pub(super) at: String,
    /// The volume that it is in.
    pub(super) volume: String,
    /// The image that its keeper had.
    pub(super) image: String,
    /// The most that may come back, bytes.
    pub(super) bytes: u64,
    /// Whether all of it lies whole on this machine's disk, aside, and has only to be put in its places.
    #[serde(default)]
    pub(super) here: bool,
}

impl Away {
    /// Writes it down, so that there is always a whole record or none, and it is there after a power cut.
    pub(super) fn write(&self, dir: &Path) -> Result<(), SandboxError> {
        let path = file(dir);
        let failed = |source| SandboxError::File { act: "writing", path: path.clone(), source };
        let text = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        let part = path.with_extension("new");
        let write = || {
            let mut file = fs::File::create(&part)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&part, &path)?;
            sync(dir)
        };
        write().map_err(failed)
    }

    /// Reads it; nothing when all work is here.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, SandboxError> {
        let path = file(dir);
        let failed = |source| SandboxError::File { act: "reading", path: path.clone(), source };
        match fs::read(&path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text).map_err(|error| failed(error.into()))?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether something is written down, or that cannot be told.
    pub(super) fn is_noted(dir: &Path) -> bool {
        match fs::symlink_metadata(file(dir)) {
            Ok(_) => true,
            Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        }
    }

    /// All of it is here. What the engine has of it may go when this has returned.
    pub(super) fn forget(dir: &Path) -> Result<(), SandboxError> {
        let path = file(dir);
        let failed = |source| SandboxError::File { act: "removing", path: path.clone(), source };
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| sync(dir)).map_err(failed),
        }
    }

    /// That the engine does not have it any more, and what to do, for people.
    pub(super) fn lost(&self) -> String {
        format!(
            "the container engine at {} no longer has the volume {}, so what the last turn changed is lost; what was \
             there before it is here: give the task again with `ftlctl code --session`",
            self.at, self.volume
        )
    }

    /// Where it is, for people.
    pub(super) fn told(&self) -> String {
        format!("the session's work is in the volume {} of the container engine at {}", self.volume, self.at)
    }
}

/// Where it is written down.
pub(super) fn file(dir: &Path) -> PathBuf {
    dir.join("away")
}

/// Has the names in a directory on the disk.
fn sync(dir: &Path) -> std::io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_away_is_known_until_it_is_here() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Away::read(dir.path()).unwrap(), None);
        let away = Away {
            engine: "id".into(),
            at: "tcp://far:1".into(),
            volume: "v".into(),
            image: "i".into(),
            bytes: 7,
            here: false,
        };
        away.write(dir.path()).unwrap();
        assert_eq!(Away::read(dir.path()).unwrap().as_ref(), Some(&away));
        assert!(away.told().contains("volume v") && away.told().contains("tcp://far:1"));
        Away::forget(dir.path()).unwrap();
        Away::forget(dir.path()).unwrap();
        assert_eq!(Away::read(dir.path()).unwrap(), None);
        fs::write(dir.path().join("away"), "{").unwrap();
        assert!(Away::read(dir.path()).is_err());
        assert!(Away::is_noted(dir.path()), "what cannot be read is there");
        // One of a daemon that did not know whether it is here.
        let old = r#"{"engine":"id","at":"a","volume":"v","image":"i","bytes":7}"#;
        fs::write(dir.path().join("away"), old).unwrap();
        assert!(!Away::read(dir.path()).unwrap().unwrap().here);
    }

    #[test]
    fn what_cannot_be_looked_at_counts_as_away() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!Away::is_noted(&dir.path().join("gone")));
        std::os::unix::fs::symlink("away", dir.path().join("away")).unwrap();
        assert!(Away::is_noted(dir.path()));
    }
}
