//! States that a human can name: snapshots, sessions, and sessions' checkpoints.
//!
//! Owns how a name is read and which tree it stands for. Must not know what is done with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use ftl_core::id::SnapshotId;
use ftl_core::tree::{RelPath, Tree};

use super::{Error, Sessions, checkpoint, workspace};

/// A state by its name.
#[derive(Clone, Debug)]
pub struct Point {
    /// What is there.
    pub tree: Arc<Tree>,
    /// What could not be read when it was taken, and so is not known to be gone.
    pub unread: BTreeSet<RelPath>,
    /// The name in full.
    pub name: String,
}

/// How the id of every session begins.
const SESSION: &str = "s-";

impl Sessions {
    /// The state that a human means: a snapshot's id or a prefix that fits only one, a session
    /// (`s-…`, its work as it is now), or one of its checkpoints (`s-…@3`; `@0` is where it began).
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn point(&self, text: &str) -> Result<Point, Error> {
        let (session, number) = match text.split_once('@') {
            Some((session, number)) => (session, Some(number)),
            None if text.starts_with(SESSION) => (text, None),
            None => {
                let id = self.snapshot(text)?;
                let (tree, unread) = (self.parts().store.tree(id)?, self.parts().store.unread(id)?);
                return Ok(Point { tree, unread, name: format!("snapshot {id}") });
            }
        };
        let no_such = || Error::NoSuchSnapshot { text: text.chars().take(80).collect() };
        let number = number.map(str::parse).transpose().map_err(|_| no_such())?;
        if session.is_empty() {
            return Err(no_such());
        }
        let record = self.get(&self.resolve(session, &[])?)?;
        let base = record.base.ok_or_else(no_such)?;
        let (base, unread) = (self.parts().store.tree(base)?, self.parts().store.unread(base)?);
        let (work, time_us, name) = match number {
            None => (record.work, record.updated_us, format!("session {}", record.id)),
            Some(number) => {
                let stack = checkpoint::stack_at(&record, number)?;
                let time_us = record.checkpoint(number).map_or(0, |checkpoint| checkpoint.time_us);
                (stack.work, time_us, format!("{}@{number}", record.id))
            }
        };
        let work = workspace::work(self.parts(), work)?;
        let tree = Arc::new(workspace::allowed(&base, work, time_us.saturating_mul(1000)));
        Ok(Point { tree, unread, name })
    }

    fn snapshot(&self, text: &str) -> Result<SnapshotId, Error> {
        let rows = self.parts().db.snapshots(text)?;
        let mut ids: Vec<SnapshotId> = rows.into_iter().map(|row| row.snapshot).collect();
        ids.sort_unstable();
        ids.dedup();
        match ids.as_slice() {
            [] => Err(Error::NoSuchSnapshot { text: text.chars().take(80).collect() }),
            [id] if !text.is_empty() => Ok(*id),
            _ => Err(Error::AmbiguousSnapshot { text: text.to_owned() }),
        }
    }
}
