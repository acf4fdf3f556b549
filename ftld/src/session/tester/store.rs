//! A session's generated tests on the disk.
//!
//! Owns the file beside the session's layers that no sandbox sees. Must not know what the tests are for.

use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

use ftl_core::id::{Digest, SessionId, SnapshotId};
use ftl_core::tester::Written;
use serde::{Deserialize, Serialize};

use crate::app::Parts;
use crate::private;
use crate::session::Error;
use crate::session::builtin::SAID;
use crate::session::decide::blocking;

/// Its file, beside what agents have said.
const FILE: &str = "tests.json";
/// The form of the file.
const VERSION: u32 = 1;
/// The longest file, bytes.
const LONGEST: u64 = 16 << 20;

/// A session's generated tests.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Kept {
    /// The form of the file.
    pub version: u32,
    /// The model that wrote them.
    pub model: String,
    /// The framework that they are run with, by its name.
    pub framework: String,
    /// The task that they are for.
    pub task: String,
    /// Why there are none; empty when there are.
    pub why: String,
    /// The files.
    pub tests: Vec<Written>,
    /// What the model has to say besides.
    pub notes: String,
    /// Whether files were written again for names that were other ones.
    pub adapted: bool,
    /// What came of them when they were last tried.
    pub tested: Option<Tested>,
}

/// What came of tests.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tested {
    /// What was tried.
    pub digest: Digest,
    /// The project then.
    pub base: SnapshotId,
    /// Each file's.
    pub results: Vec<FileResult>,
}

/// What came of one file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileResult {
    /// Its path.
    pub path: String,
    /// `passed`, `failed` or `could_not_run`.
    pub verdict: String,
    /// Why; empty when it passed.
    pub why: String,
    /// The last of what it printed.
    pub tail: ftl_core::event::Bytes,
}

fn path(parts: &Parts, id: &SessionId) -> PathBuf {
    parts.home.sessions().join(id.as_str()).join(SAID).join(FILE)
}

/// A session's tests; `None` when none were asked for so far.
pub(in crate::session) async fn load(parts: &Arc<Parts>, id: &SessionId) -> Result<Option<Kept>, Error> {
    let path = path(parts, id);
    blocking(move || {
        let failed = |source| Error::Tests { path: path.clone(), source };
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut text = Vec::new();
        file.take(LONGEST).read_to_end(&mut text).map_err(failed)?;
        let kept: Kept = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
        match kept.version {
            VERSION => Ok(Some(kept)),
            _ => Err(failed(io::ErrorKind::Unsupported.into())),
        }
    })
    .await
}

/// Keeps a session's tests; they are on the disk when this returns.
pub(in crate::session) async fn save(parts: &Arc<Parts>, id: &SessionId, kept: &Kept) -> Result<(), Error> {
    let path = path(parts, id);
    let kept = Kept { version: VERSION, ..kept.clone() };
    blocking(move || {
        let failed = |source| Error::Tests { path: path.clone(), source };
        let text = serde_json::to_vec(&kept).map_err(|error| failed(error.into()))?;
        private::replace(&path, &text).map_err(failed)
    })
    .await
}
