//! The audit log: one record per step, written before the step's effect.
//!
//! Owns the log's files beneath `FTL_HOME/audit/` and when they are made durable. Must not know what the
//! records mean; the chain itself is [`ftl_core::chain`].
//!
//! Durability: every record reaches the kernel before `append` returns, so it survives the daemon's
//! death. Records of approvals, applications and undoing are also synced to the disk ([`Sync::Disk`]).
//! When a record cannot be written, the caller must not go on.
//!
//! ```text
//! key                 32 random bytes
//! log-000001.jsonl    the first segment; each later one begins with what it follows
//! log-000002.jsonl    the newest is appended to, and the only one that is read at the start
//! head                how far the log reaches, written over in place after every record
//! ```
//!
//! Segments are kept for good: nothing in them can be dropped without a hole in the chain.

mod jsonl;
mod segment;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ftl_core::chain::{Record, Verdict};
use ftl_core::event::Bytes;
use ftl_core::id::SessionId;

pub use self::jsonl::JsonlAudit;

/// Where audit records go.
pub trait AuditSink: Send + std::marker::Sync {
    /// Appends a record; returns after it is as durable as `sync` asks. The order of calls is the order
    /// of records.
    ///
    /// # Errors
    /// When the record may not be there; the caller must not do what it announces.
    fn append(&self, entry: Entry, sync: Sync) -> Result<(), AuditError>;

    /// Shows every record that is there at the time of the call, one by one, until the visitor breaks off.
    /// The log is never in memory as a whole. Lines that cannot be read are left out.
    ///
    /// # Errors
    /// When the log cannot be read.
    fn read(&self, order: Order, visit: &mut Visit<'_>) -> Result<(), AuditError>;

    /// Recomputes the chain.
    ///
    /// # Errors
    /// When the log cannot be read at all; damage is a verdict, not an error.
    fn verify(&self) -> Result<Verdict, AuditError>;
}

/// Sees records one by one.
pub type Visit<'a> = dyn FnMut(Record) -> ControlFlow<()> + 'a;

/// In which order records are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// From the log's first record on.
    OldestFirst,
    /// From the log's last record back.
    NewestFirst,
}

/// What a record says, without its place in the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Microseconds since the Unix epoch.
    pub time_us: i64,
    /// What is about to happen: `approved`, `apply_begun` and so on.
    pub action: &'static str,
    /// Session it belongs to.
    pub session: Option<SessionId>,
    /// Project it belongs to.
    pub project: Option<Bytes>,
    /// Its particulars.
    pub detail: serde_json::Value,
}

/// How durable a record must be before its effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sync {
    /// It survives the daemon's death.
    Kernel,
    /// It survives the machine's death.
    Disk,
}

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file of the log cannot be used.
    #[error("cannot {act} the audit log's file {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file of the log does not hold what it should.
    #[error("the audit log's file {} is damaged: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The kernel gives no random bytes for the key.
    #[error("cannot make the audit log's key")]
    Random {
        /// Why not.
        #[source]
        source: getrandom::Error,
    },
}

fn io(act: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::Io { act, path, source }
}

#[cfg(test)]
mod tests;
