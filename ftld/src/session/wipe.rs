//! What a session keeps between its turns, and forgetting it.
//!
//! Owns what that is, how much it is, and the order in which it goes: recorded first, what stands ready before the
//! directories that it has, and the record before what only it named. Must not know what an agent keeps in its
//! home.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ftl_core::event::{Kind, Level};
use ftl_core::lifecycle::{Request, Step};
use serde_json::json;

use super::builtin::SAID;
use super::decide::blocking;
use super::driver::Driver;
use super::record::{Record, Stack};
use super::{Error, Removal, checkpoint, history, layers, warm};
use crate::app::Parts;
use crate::audit::Sync;
use crate::{sandbox, snapshot};

/// What is to be forgotten beside the home and the temporary files.
#[derive(Clone, Copy, Debug)]
pub struct Wiping {
    /// The workspace: all work that is not applied, with its checkpoints.
    pub workspace: bool,
    /// Also work that waits for review, or was never read.
    pub discard: bool,
}

/// What a session keeps between its turns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keeps {
    /// The agent's home, bytes.
    pub home: u64,
    /// The workspace: what all turns changed, and the session's `.git`; bytes.
    pub workspace: u64,
    /// Temporary files, bytes.
    pub temporary: u64,
    /// Whether a sandbox stands ready for the next turn.
    pub warm: bool,
}

/// What is in a session's directory and goes with its home.
const HOME: [&str; 3] = ["home", "tmp", SAID];
/// What goes with its workspace.
const WORKSPACE: [&str; 4] = ["upper", "work", history::PARKED, history::GIVEN];

/// Measures what a session keeps. What is hidden too deep to be measured counts as all that there can be.
///
/// # Errors
/// When the daemon ends meanwhile.
pub(super) async fn keeps(parts: &Arc<Parts>, record: &Record) -> Result<Keeps, Error> {
    let (parts, record) = (Arc::clone(parts), record.clone());
    blocking(move || {
        let dir = dir(&parts, &record);
        let used = |name: &str| used(&dir.join(name));
        let frozen = bytes_of_layers(&record);
        let loose = used("upper").saturating_add(used(history::PARKED));
        let warm = warm::is_ready(&parts, &record.id);
        Ok(Keeps {
            home: used("home"),
            workspace: frozen.saturating_add(loose),
            temporary: used("tmp"),
            warm,
        })
    })
    .await
}

impl Driver {
    /// Forgets what the session keeps between its turns; gives how many bytes went.
    pub(super) async fn wipe(&mut self, wiping: Wiping) -> Result<(Record, u64), Error> {
        let Wiping { workspace, discard } = wiping;
        self.may(Request::Rewind)?;
        if workspace {
            self.may_lose_work(Removal::Asked { discard }).await?;
        }
        self.audit("session_wiped", json!({ "workspace": workspace, "discard": discard }), Sync::Disk)
            .await?;
        self.end_folding().await;
        warm::forget(&self.parts, &self.record.id).await;
        self.decide_what_is_away(workspace).await?;
        let mut bytes = self.clear(&HOME).await?;
        self.record.conversation = None;
        let text = "the agent's home, its conversation and the temporary files were wiped".to_owned();
        let told = Kind::Notice { level: Level::Info, text };
        if !workspace {
            self.keep(vec![told]).await?;
            return Ok((self.record.clone(), bytes));
        }
        let from = self.record.at;
        let before = self.record.clone();
        bytes = bytes.saturating_add(self.clear(&WORKSPACE).await?).saturating_add(bytes_of_layers(&before));
        let mut record = before.clone();
        (record.at, record.work, record.stack) = (0, None, Stack::default());
        record.checkpoints.clear();
        let reviewed = self.reviewed(&record).await?;
        record.digest = reviewed.review.digest();
        self.record = record;
        let step = Step::Rewound { changes: checkpoint::changes(&reviewed) };
        let entered = self.enter(step, String::new(), vec![told, Kind::Rewound { from, to: 0 }]).await;
        if let Err(error) = entered {
            self.record = before;
            return Err(error);
        }
        let parts = Arc::clone(&self.parts);
        blocking(move || {
            layers::release(&parts, &before);
            Ok(())
        })
        .await?;
        Ok((self.record.clone(), bytes))
    }

    /// Removes what another machine has of the session, or has it here when its work is to stay: it would bring
    /// back with the next turn what is wiped now.
    async fn decide_what_is_away(&self, workspace: bool) -> Result<(), Error> {
        let (dir, id) = (dir(&self.parts, &self.record), &self.record.id);
        match self.parts.sandboxes.get(self.record.spec.sandbox.as_str()) {
            Some(backend) if workspace => Ok(backend.give_up(id, &dir).await?),
            Some(backend) => Ok(backend.bring_home(id, &dir).await?),
            None => Ok(()),
        }
    }

    /// Removes these of the session's directory; gives how many bytes they had.
    async fn clear(&self, names: &[&'static str]) -> Result<u64, Error> {
        let dir = dir(&self.parts, &self.record);
        let paths: Vec<PathBuf> = names.iter().map(|name| dir.join(name)).collect();
        blocking(move || {
            let mut bytes: u64 = 0;
            for path in paths {
                bytes = bytes.saturating_add(used(&path));
                let removed = snapshot::remove_tree(&path);
                removed.map_err(|source| Error::Write { path: path.clone(), source })?;
            }
            Ok(bytes)
        })
        .await
    }
}

fn dir(parts: &Parts, record: &Record) -> PathBuf {
    parts.home.sessions().join(record.id.as_str())
}

fn used(path: &Path) -> u64 {
    match path.exists() {
        true => sandbox::disk_usage(path).unwrap_or(u64::MAX),
        false => 0,
    }
}

/// What the session's layers have on disk, each of them once.
fn bytes_of_layers(record: &Record) -> u64 {
    let stacks = record.checkpoints.iter().map(|checkpoint| &checkpoint.stack).chain([&record.stack]);
    let layers: BTreeMap<&str, u64> =
        stacks.flat_map(|stack| &stack.layers).map(|layer| (layer.name.as_str(), layer.bytes)).collect();
    layers.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
}
