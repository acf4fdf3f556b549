//! What was set up, kept beneath the daemon's home.
//!
//! Owns the file. Must not know engines: whether the image still exists is for its user to ask.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::SetupError;

/// The file's name in the daemon's home.
pub const FILE: &str = "image.json";

/// An image that sandboxes are made of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The engine's own id, so that another engine is noticed.
    pub engine: String,
    /// The image without the helper: `sha256:…`.
    pub image: String,
    /// Its name.
    pub tag: String,
    /// BLAKE3 of the root file system it was made of, hex; absent with the usual base.
    pub rootfs: Option<String>,
    /// The name of the base it was made of, when that was a root file system.
    pub base: Option<String>,
    /// The agents in it.
    pub agents: Vec<Agent>,
    /// When, microseconds since the Unix epoch.
    pub made_us: i64,
}

/// An agent in an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its program, absolute path in the image.
    pub program: String,
    /// What it said when it was asked for its version.
    pub said: String,
}

impl Record {
    /// What is set up; nothing when nothing is.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn read(home: &Path) -> Result<Option<Self>, SetupError> {
        let path = home.join(FILE);
        let failed = |source| SetupError::Record { path: path.clone(), source };
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Keeps it. The old one stays until the new one is whole.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, home: &Path) -> Result<(), SetupError> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;

        let (path, draft) = (home.join(FILE), home.join(format!("{FILE}.new")));
        let write = || -> io::Result<()> {
            let bytes = serde_json::to_vec_pretty(self)?;
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&draft, &path)
        };
        write().map_err(|source| SetupError::Record { path: path.clone(), source })
    }

    /// The agent of that name.
    #[must_use]
    pub fn agent(&self, name: &str) -> Option<&Agent> {
        self.agents.iter().find(|agent| agent.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_and_damage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(dir.path()).unwrap(), None);
        let agent = Agent { name: "a".into(), version: "1".into(), program: "/a".into(), said: "a 1".into() };
        let record = Record {
            engine: "E".into(),
            image: "sha256:1".into(),
            tag: "t:1".into(),
            rootfs: None,
            base: None,
            agents: vec![agent],
            made_us: 7,
        };
        record.write(dir.path()).unwrap();
        assert_eq!(Record::read(dir.path()).unwrap().as_ref(), Some(&record));
        assert_eq!((record.agent("a").unwrap().version.as_str(), record.agent("b")), ("1", None));
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(matches!(Record::read(dir.path()), Err(SetupError::Record { .. })));
    }
}
