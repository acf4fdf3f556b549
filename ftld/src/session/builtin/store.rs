//! The conversation on the disk.
//!
//! Owns the file beside the session's layers that no sandbox sees. Must not know what is said.

use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

use ftl_core::llm::Message;
use serde::{Deserialize, Serialize};

use crate::app::Parts;
use crate::private;
use crate::session::Error;
use crate::session::decide::blocking;
use crate::session::record::Record;

/// Where the conversation is in a session's directory.
pub(in crate::session) const SAID: &str = "said";
/// Its file there.
const FILE: &str = "conversation.json";
/// The form of the file.
const VERSION: u32 = 1;
/// The longest file, bytes.
const LONGEST: u64 = 256 << 20;

/// The file.
pub(super) struct Store {
    path: Arc<PathBuf>,
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    messages: &'a [Message],
}

#[derive(Deserialize)]
struct Kept {
    version: u32,
    messages: Vec<Message>,
}

impl Store {
    pub(super) fn of(parts: &Parts, record: &Record) -> Self {
        let dir = parts.home.sessions().join(record.id.as_str());
        Self { path: Arc::new(dir.join(SAID).join(FILE)) }
    }

    /// What was said so far; nothing at the beginning.
    pub(super) async fn load(&self) -> Result<Vec<Message>, Error> {
        let path = Arc::clone(&self.path);
        blocking(move || {
            let failed = |source| Error::Conversation { path: path.to_path_buf(), source };
            let file = match std::fs::File::open(&*path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(failed(error)),
            };
            let mut text = Vec::new();
            file.take(LONGEST).read_to_end(&mut text).map_err(failed)?;
            let kept: Kept = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
            match kept.version {
                VERSION => Ok(kept.messages),
                _ => Err(failed(io::ErrorKind::Unsupported.into())),
            }
        })
        .await
    }

    /// Keeps what was said; it is on the disk when this returns.
    pub(super) async fn save(&self, messages: &[Message]) -> Result<(), Error> {
        let path = Arc::clone(&self.path);
        let failed = move |source| Error::Conversation { path: path.to_path_buf(), source };
        let text = serde_json::to_vec(&Written { version: VERSION, messages })
            .map_err(|error| failed(error.into()))?;
        let path = Arc::clone(&self.path);
        blocking(move || {
            private::replace(&path, &text)
                .map_err(|source| Error::Conversation { path: path.to_path_buf(), source })
        })
        .await
    }
}
