//! A session's snapshot: taken, listed, told.
//!
//! Owns what is recorded and told of a snapshot that is taken or written out. Must not know how a project is
//! read.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ftl_core::event::{Bytes, Excluded, Kind, LISTED};
use ftl_core::id::SnapshotId;
use serde_json::json;

use super::decide::blocking;
use super::driver::root;
use super::outlet;
use super::record::Project;
use super::{Error, project};
use crate::app::Parts;
use crate::audit::{Entry, Sync};
use crate::db::SnapshotRow;
use crate::snapshot::{self, Class, Exclusion, Exclusions, Lease};

/// A snapshot as the session and the API tell of it.
pub struct Taken {
    /// Its id.
    pub snapshot: SnapshotId,
    /// Its row in the list.
    pub row: SnapshotRow,
    /// What stayed outside.
    pub exclusions: Exclusions,
    /// Held until something that is stored needs the snapshot.
    pub(super) lease: Lease,
}

/// Takes a snapshot with its base, and lists it.
pub(super) async fn take(parts: &Arc<Parts>, of: &Project) -> Result<Taken, Error> {
    let (parts, of) = (Arc::clone(parts), of.clone());
    blocking(move || {
        let (lease, now_us) = (parts.store.lease(), parts.clock.now_us());
        let (taken, _base) = parts.store.take_with_base(&root(&of.root), now_us.saturating_mul(1000))?;
        list(&parts, &of, now_us, (taken, lease))
    })
    .await
}

/// Takes a snapshot because a human asked for one.
///
/// # Errors
/// When the directory is no project or cannot be read.
pub fn take_by_hand(parts: &Parts, path: &Path) -> Result<Taken, Error> {
    let of = project::open(path, parts.home.root(), parts.user.home.as_deref())?;
    audit(parts, "snapshot_begun", Some(of.root.clone()), json!({}), Sync::Kernel)?;
    let (lease, now_us) = (parts.store.lease(), parts.clock.now_us());
    let taken = parts.store.take(&root(&of.root), now_us.saturating_mul(1000))?;
    let taken = list(parts, &of, now_us, (taken, lease))?;
    // Nobody may be told of a snapshot that a power cut takes: the project may be another by then.
    parts.store.settle()?;
    parts.db.flush()?;
    Ok(taken)
}

/// Records that a snapshot is about to be written out.
///
/// # Errors
/// When the record cannot be written.
pub fn audit_restore(parts: &Parts, name: &str, target: &[u8]) -> Result<(), Error> {
    audit(
        parts,
        "restore_begun",
        None,
        json!({ "snapshot": name, "target": Bytes::from(target) }),
        Sync::Disk,
    )
}

fn audit(
    parts: &Parts,
    action: &'static str,
    project: Option<Bytes>,
    detail: serde_json::Value,
    sync: Sync,
) -> Result<(), Error> {
    let entry = Entry { time_us: parts.clock.now_us(), action, session: None, project, detail };
    Ok(parts.audit.append(entry, sync)?)
}

fn list(
    parts: &Parts,
    of: &Project,
    now_us: i64,
    (taken, lease): (snapshot::Taken, Lease),
) -> Result<Taken, Error> {
    let row = SnapshotRow {
        snapshot: taken.id,
        project: of.root.clone(),
        created_us: now_us,
        files: taken.files,
        bytes: taken.bytes,
        pulled_us: 0,
    };
    parts.db.list_snapshot(&row)?;
    Ok(Taken { snapshot: taken.id, row, exclusions: taken.exclusions, lease })
}

impl Taken {
    /// The project's `.env` files, the one that counts most first.
    pub(super) fn dotenv(&self) -> Vec<Bytes> {
        let secrets = self.exclusions.iter().filter(|excluded| excluded.class == Class::Secret);
        let mut files: Vec<PathBuf> = secrets
            .map(|excluded| root(&Bytes::from(excluded.path.as_bytes())))
            .filter(|path| outlet::is_dotenv(path))
            .collect();
        outlet::by_weight(&mut files);
        files.iter().map(|path| Bytes::from(path.as_os_str().as_bytes())).collect()
    }

    /// The fact as the session tells it.
    pub(super) fn event(&self) -> Kind {
        let of = |class: Class| {
            let excluded = self.exclusions.iter().filter(move |excluded| excluded.class == class);
            excluded.take(LISTED).map(told).collect()
        };
        let ignored = self.exclusions.iter().filter(|excluded| excluded.class == Class::Ignored).count();
        Kind::SnapshotTaken {
            snapshot: self.snapshot,
            files: self.row.files,
            bytes: self.row.bytes,
            secrets: of(Class::Secret),
            ignored: u64::try_from(ignored).unwrap_or(u64::MAX),
            unreadable: of(Class::Unreadable),
        }
    }
}

fn told(excluded: &Exclusion) -> Excluded {
    Excluded {
        path: Bytes::from(excluded.path.as_bytes()),
        rule: excluded.rule.clone(),
        source: excluded.source.clone(),
    }
}
