//! What is written down of a session's work while it is on an engine that cannot see this machine.
//!
//! Owns the file `away` of a session's directory: as long as it is there, the newest of the session's work may
//! be on the engine alone. Must not know engines.

use std::fs;
use std::io::ErrorKind;
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
}

impl Away {
    /// Writes it down, so that there is always a whole record or none.
    pub(super) fn write(&self, dir: &Path) -> Result<(), SandboxError> {
        let path = file(dir);
        let failed = |source| SandboxError::File { act: "writing", path: path.clone(), source };
        let text = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        let part = path.with_extension("new");
        fs::write(&part, text).and_then(|()| fs::rename(&part, &path)).map_err(failed)
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

    /// Whether something is written down.
    pub(super) fn is_noted(dir: &Path) -> bool {
        file(dir).exists()
    }

    /// All of it is here.
    pub(super) fn forget(dir: &Path) -> Result<(), SandboxError> {
        let path = file(dir);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(SandboxError::File { act: "removing", path, source: error })
            }
            _ => Ok(()),
        }
    }

    /// Where it is, for people.
    pub(super) fn told(&self) -> String {
        format!("the session's work is in the volume {} of the container engine at {}", self.volume, self.at)
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("away")
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
        };
        away.write(dir.path()).unwrap();
        assert_eq!(Away::read(dir.path()).unwrap().as_ref(), Some(&away));
        assert!(away.told().contains("volume v") && away.told().contains("tcp://far:1"));
        Away::forget(dir.path()).unwrap();
        Away::forget(dir.path()).unwrap();
        assert_eq!(Away::read(dir.path()).unwrap(), None);
        fs::write(dir.path().join("away"), "{").unwrap();
        assert!(Away::read(dir.path()).is_err());
    }
}
