//! The audit log: one record per step, written before the step's effect.
//!
//! Owns the log's files beneath `FTL_HOME/audit/` and when they are made durable. Must not know what the
//! records mean; the chain itself is [`ftl_core::chain`].
//!
//! Durability: every record reaches the kernel before `append` returns, so it survives the daemon's
//! death. Records of approvals, applications and undoing are also synced to the disk ([`Sync::Disk`]).
//! When a record cannot be written, the caller must not go on.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ftl_core::chain::{Head, Key, Record, Sealed, Verdict};
use ftl_core::event::Bytes;
use ftl_core::id::{Hash, SessionId};

/// Where audit records go.
pub trait AuditSink: Send + std::marker::Sync {
    /// Appends a record; returns after it is as durable as `sync` asks. The order of calls is the order
    /// of records.
    ///
    /// # Errors
    /// When the record may not be there; the caller must not do what it announces.
    fn append(&self, entry: Entry, sync: Sync) -> Result<(), AuditError>;

    /// Every record, oldest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    fn records(&self) -> Result<Vec<Record>, AuditError>;

    /// Recomputes the chain.
    ///
    /// # Errors
    /// When the log cannot be read at all; damage is a verdict, not an error.
    fn verify(&self) -> Result<Verdict, AuditError>;
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

/// The audit log as JSON lines in a directory that only the daemon's user can read.
pub struct JsonlAudit {
    dir: PathBuf,
    key: Key,
    tail: Mutex<Tail>,
}

struct Tail {
    log: File,
    count: u64,
    mac: Hash,
}

// === impl JsonlAudit ===

impl JsonlAudit {
    /// Opens the log beneath `dir`, which must exist and be private, or begins one.
    ///
    /// A last line that a crash cut short is closed with a line end, so that the next record stands on
    /// its own and verification names the cut one.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn open(dir: &Path) -> Result<Self, AuditError> {
        let key = open_key(&dir.join("key"))?;
        let path = dir.join("log.jsonl");
        let mut log = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(io("open", &path))?;
        let mut text = Vec::new();
        log.read_to_end(&mut text).map_err(io("read", &path))?;
        if text.last().is_some_and(|last| *last != b'\n') {
            log.write_all(b"\n").map_err(io("write", &path))?;
        }
        let mut count = 0;
        let mut mac = key.genesis();
        for line in lines(&text) {
            count += 1;
            if let Ok(sealed) = serde_json::from_slice::<Sealed>(line) {
                mac = sealed.mac;
            }
        }
        Ok(Self { dir: dir.to_owned(), key, tail: Mutex::new(Tail { log, count, mac }) })
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("log.jsonl")
    }

    fn read(&self) -> Result<Vec<u8>, AuditError> {
        let path = self.log_path();
        std::fs::read(&path).map_err(io("read", &path))
    }

    fn write_head(&self, head: Head) -> Result<(), AuditError> {
        let path = self.dir.join("head");
        let draft = self.dir.join("head.new");
        let text = serde_json::to_vec(&head).unwrap_or_default();
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .map_err(io("open", &draft))?;
        file.write_all(&text).map_err(io("write", &draft))?;
        std::fs::rename(&draft, &path).map_err(io("replace", &path))
    }
}

impl AuditSink for JsonlAudit {
    fn append(&self, entry: Entry, sync: Sync) -> Result<(), AuditError> {
        let path = self.log_path();
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let record = Record {
            seq: tail.count + 1,
            time_us: entry.time_us,
            action: entry.action.to_owned(),
            session: entry.session,
            project: entry.project,
            detail: entry.detail,
        };
        let sealed = self.key.seal(tail.mac, record);
        let mut line = serde_json::to_vec(&sealed)
            .map_err(|error| AuditError::Damaged { path: path.clone(), what: error.to_string() })?;
        line.push(b'\n');
        tail.log.write_all(&line).map_err(io("write", &path))?;
        if sync == Sync::Disk {
            tail.log.sync_data().map_err(io("sync", &path))?;
        }
        tail.count += 1;
        tail.mac = sealed.mac;
        self.write_head(self.key.head(tail.count, tail.mac))
    }

    fn records(&self) -> Result<Vec<Record>, AuditError> {
        let text = self.read()?;
        let records = lines(&text).filter_map(|line| serde_json::from_slice::<Sealed>(line).ok());
        Ok(records.map(|sealed| sealed.record).collect())
    }

    fn verify(&self) -> Result<Verdict, AuditError> {
        // The lock keeps a record from arriving between the reads of the log and of its head.
        let _tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let text = self.read()?;
        let path = self.dir.join("head");
        let head = match std::fs::read(&path) {
            Ok(bytes) => Some(serde_json::from_slice::<Head>(&bytes).unwrap_or(Head {
                count: u64::MAX,
                mac: Hash([0; 32]),
                seal: Hash([0; 32]),
            })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(io("read", &path)(error)),
        };
        Ok(self.key.verify(lines(&text), head))
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

fn open_key(path: &Path) -> Result<Key, AuditError> {
    match std::fs::read(path) {
        Ok(bytes) => bytes.try_into().map(Key).map_err(|bytes: Vec<u8>| AuditError::Damaged {
            path: path.to_owned(),
            what: format!("it holds {} bytes and not 32", bytes.len()),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(|source| AuditError::Random { source })?;
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .map_err(io("create", path))?;
            file.write_all(&key).map_err(io("write", path))?;
            file.sync_all().map_err(io("sync", path))?;
            Ok(Key(key))
        }
        Err(error) => Err(io("read", path)(error)),
    }
}

fn io(act: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::Io { act, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(action: &'static str) -> Entry {
        Entry { time_us: 1, action, session: None, project: None, detail: serde_json::json!({}) }
    }

    #[test]
    fn records_survive_reopening_and_the_chain_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        JsonlAudit::open(dir.path()).unwrap().append(entry("approved"), Sync::Disk).unwrap();
        let log = JsonlAudit::open(dir.path()).unwrap();
        log.append(entry("apply_begun"), Sync::Kernel).unwrap();
        assert_eq!(log.records().unwrap().len(), 2);
        assert!(log.verify().unwrap().is_intact(), "{:?}", log.verify().unwrap());
    }

    #[test]
    fn a_record_that_a_crash_cut_short_is_named_and_later_ones_are_readable() {
        let dir = tempfile::tempdir().unwrap();
        let log = JsonlAudit::open(dir.path()).unwrap();
        log.append(entry("approved"), Sync::Kernel).unwrap();
        drop(log);
        let path = dir.path().join("log.jsonl");
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(br#"{"seq":2,"#);
        std::fs::write(&path, text).unwrap();
        let log = JsonlAudit::open(dir.path()).unwrap();
        log.append(entry("applied"), Sync::Kernel).unwrap();
        assert_eq!(log.records().unwrap().last().unwrap().action, "applied");
        let verdict = log.verify().unwrap();
        assert!(verdict.problems.iter().any(|problem| problem.starts_with("record 2 cannot be read")));
    }

    #[test]
    fn the_files_are_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        JsonlAudit::open(dir.path()).unwrap().append(entry("approved"), Sync::Kernel).unwrap();
        for name in ["key", "log.jsonl", "head"] {
            let mode = dir.path().join(name).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{name}");
        }
    }
}
