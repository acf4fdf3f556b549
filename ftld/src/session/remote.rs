//! Snapshots that travel to the human's bucket and back.
//!
//! Owns which of them travel, with which key pair, and what is recorded before anything is asked. Only
//! `FTL_HOME/config` names a bucket: a project's configuration cannot. Must not know the service's protocol.

mod bucket;
mod keys;

use std::collections::BTreeMap;
use std::sync::Arc;

use ftl_core::event::Bytes;
use ftl_core::id::SnapshotId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::runtime::Handle;

use super::{Error, Sessions};
use crate::app::Parts;
use crate::audit::{Entry, Sync};
use crate::db::SnapshotRow;
use crate::s3::{Client, Patience, S3Error, Settings};
use crate::snapshot::remote::{self, Progress, Ref, RemoteError, Told, Travelled};

use bucket::Bucket;

/// Which snapshots are meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Which {
    /// The one whose id begins so.
    Named(String),
    /// All of a project.
    Project(Bytes),
    /// All.
    All,
}

/// What travelled.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Journey {
    /// Snapshots, oldest first.
    pub snapshots: Vec<SnapshotRow>,
    /// Their objects.
    pub travelled: Travelled,
}

/// What a reference says of its snapshot.
#[derive(Serialize, Deserialize)]
struct About {
    project: Bytes,
    created_us: i64,
    files: u64,
    bytes: u64,
}

/// The longest path of a project, bytes.
const LONGEST_PATH: usize = 4096;

/// Sends snapshots with all that they consist of. With `verify` every object is looked for. Blocks.
///
/// # Errors
/// When there is no such snapshot, no bucket or no key, the step cannot be recorded, or the bucket's service
/// refuses.
pub fn push(sessions: &Sessions, which: &Which, verify: bool, told: &Told<'_>) -> Result<Journey, Error> {
    let parts = sessions.parts();
    let _lease = parts.store.lease();
    let rows = to_push(sessions, which)?;
    let bucket = open(parts, "push_begun", rows.iter().map(|row| row.snapshot).collect())?;
    travel(rows, told, |row, told| {
        let about = About {
            project: row.project.clone(),
            created_us: row.created_us,
            files: row.files,
            bytes: row.bytes,
        };
        let about = crate::db::encode(&about, "reference")?;
        let reference = Ref { snapshot: row.snapshot, rules: None, unread: None, about };
        Ok(remote::push(&parts.store, &bucket, &reference, verify, told)?)
    })
}

/// Fetches snapshots and lists them: under the project that they were taken of, or under `here`. Blocks.
///
/// # Errors
/// Those of [`push`], and when an object is missing or damaged there.
pub fn pull(parts: &Parts, which: &Which, here: Option<&Bytes>, told: &Told<'_>) -> Result<Journey, Error> {
    let bucket = open(parts, "pull_begun", Vec::new())?;
    let found = known(parts, &bucket, which)?;
    let (rows, refs): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    let refs: BTreeMap<SnapshotId, Ref> =
        refs.into_iter().map(|reference| (reference.snapshot, reference)).collect();
    if let (Which::Named(text), false) = (which, rows.len() == 1) {
        return Err(match rows.len() {
            0 => Error::NoSuchRemoteSnapshot { text: text.chars().take(80).collect() },
            _ => Error::AmbiguousSnapshot { text: text.clone() },
        });
    }
    let _lease = parts.store.lease();
    let mut journey = travel(rows, told, |row, told| {
        let reference = refs.get(&row.snapshot).ok_or(Error::Interrupted)?;
        let travelled = remote::pull(&parts.store, &bucket, reference, told)?;
        // What is listed is what came in, whatever the reference says of it.
        let tree = parts.store.tree(row.snapshot)?;
        (row.files, row.bytes) = (tree.files(), tree.bytes());
        if let Some(here) = here {
            row.project = here.clone();
        }
        parts.db.list_snapshot(row)?;
        Ok(travelled)
    })?;
    parts.db.flush()?;
    journey.snapshots.sort_by_key(|row| (row.created_us, row.snapshot));
    Ok(journey)
}

/// The snapshots that are there, oldest first. Blocks.
///
/// # Errors
/// Those of [`push`].
pub fn list(parts: &Parts, which: &Which) -> Result<Vec<SnapshotRow>, Error> {
    let bucket = open(parts, "remote_listed", Vec::new())?;
    Ok(known(parts, &bucket, which)?.into_iter().map(|(row, _)| row).collect())
}

/// What the human can do about a remote that failed; empty when nothing is known.
#[must_use]
pub fn hint(error: &RemoteError) -> String {
    match error {
        RemoteError::Missing { .. } | RemoteError::Damaged { .. } => {
            "where the snapshot was taken, `ftlctl snapshots push --verify` sends what is missing; remove a damaged object from the bucket first".to_owned()
        }
        RemoteError::Failed { source, .. } => {
            let inner = source.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            let found = source.downcast_ref::<S3Error>().or_else(|| inner?.downcast_ref());
            found.map(S3Error::hint).unwrap_or_default()
        }
        RemoteError::Full { .. } => {
            "make room where FTL keeps its store; `ftlctl snapshots clean` removes what is not needed".to_owned()
        }
        RemoteError::Crowded { .. } => {
            "name one snapshot by the beginning of its id, or give FTL a prefix of its own in `remote.url`".to_owned()
        }
        RemoteError::Forbidden { .. } => {
            "somebody else wrote this snapshot: see who can write to the bucket".to_owned()
        }
        RemoteError::TooLarge | RemoteError::Store(_) | RemoteError::BrokenOff => String::new(),
    }
}

/// The configured bucket, after that it is about to be used was recorded.
fn open(parts: &Parts, action: &'static str, snapshots: Vec<SnapshotId>) -> Result<Bucket, Error> {
    let location = crate::config::user(parts.home.root())?.remote.ok_or(Error::NoRemote)?;
    let runtime = Handle::current();
    let (keys, credential) = runtime.block_on(keys::pair(&parts.vault))?;
    let detail = json!({ "remote": location.shown(), "credential": credential, "snapshots": snapshots });
    let time_us = parts.clock.now_us();
    parts.audit.append(Entry { time_us, action, session: None, project: None, detail }, Sync::Kernel)?;
    let clock = Arc::clone(&parts.clock);
    let settings = Settings {
        location,
        keys,
        roots: parts.roots.clone(),
        patience: Patience::default(),
        now: Arc::new(move || clock.now_us().div_euclid(1_000_000)),
    };
    let unusable = |error: S3Error| RemoteError::Failed { act: "be used", source: error.into() };
    let bucket = Bucket::new(Client::new(settings).map_err(unusable)?, runtime);
    bucket.try_out()?;
    Ok(bucket)
}

/// The snapshots to send, oldest first, each once.
fn to_push(sessions: &Sessions, which: &Which) -> Result<Vec<SnapshotRow>, Error> {
    let parts = sessions.parts();
    let mut rows = match which {
        Which::Named(text) => {
            let id = sessions.snapshot(text)?;
            parts.db.snapshots(&id.to_string())?
        }
        Which::Project(project) => {
            let mut rows = parts.db.snapshots("")?;
            rows.retain(|row| row.project == *project);
            rows
        }
        Which::All => parts.db.snapshots("")?,
    };
    let mut newest: BTreeMap<SnapshotId, SnapshotRow> = BTreeMap::new();
    rows.sort_by_key(|row| row.created_us);
    newest.extend(rows.into_iter().map(|row| (row.snapshot, row)));
    let mut rows: Vec<SnapshotRow> = newest.into_values().collect();
    rows.sort_by_key(|row| (row.created_us, row.snapshot));
    Ok(rows)
}

/// The references of the bucket that are meant, with what they say, oldest first. What says nothing that can
/// be true is left out.
fn known(parts: &Parts, bucket: &Bucket, which: &Which) -> Result<Vec<(SnapshotRow, Ref)>, Error> {
    let prefix = match which {
        Which::Named(text) => {
            let hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let no_such = || Error::NoSuchRemoteSnapshot { text: text.chars().take(80).collect() };
            hex.then_some(text.as_str()).ok_or_else(no_such)?
        }
        Which::Project(_) | Which::All => "",
    };
    let now_us = parts.clock.now_us();
    let mut found = Vec::new();
    for reference in bucket.refs_of(prefix)? {
        let Ok(about) = serde_json::from_slice::<About>(&reference.about) else { continue };
        let path = &about.project.0;
        let is_path = path.starts_with(b"/") && path.len() < LONGEST_PATH && !path.contains(&0);
        let is_meant = match which {
            Which::Project(project) => about.project == *project,
            Which::Named(_) | Which::All => true,
        };
        if is_path && is_meant {
            let row = SnapshotRow {
                snapshot: reference.snapshot,
                project: about.project,
                created_us: about.created_us.clamp(0, now_us),
                files: about.files,
                bytes: about.bytes,
                pulled_us: now_us,
            };
            found.push((row, reference));
        }
    }
    found.sort_by_key(|(row, _)| (row.created_us, row.snapshot));
    Ok(found)
}

/// Does the work for each snapshot and tells of all of them together.
fn travel(
    mut rows: Vec<SnapshotRow>,
    told: &Told<'_>,
    mut work: impl FnMut(&mut SnapshotRow, &Told<'_>) -> Result<Travelled, Error>,
) -> Result<Journey, Error> {
    let mut all = Travelled::default();
    for row in &mut rows {
        let before = all;
        let sum = |now: Progress| {
            let (objects, bytes) = (before.objects + now.objects, before.bytes + now.bytes);
            told(Progress { objects, bytes, of: before.objects + now.of })
        };
        let one = work(row, &sum)?;
        all.objects += one.objects;
        all.bytes += one.bytes;
        all.present += one.present;
    }
    Ok(Journey { snapshots: rows, travelled: all })
}
