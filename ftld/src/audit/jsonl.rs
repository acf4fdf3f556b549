//! The log that is appended to.
//!
//! Owns the order of writes: the line, then the head. Must not know who reads records.
//!
//! A line costs one write and the head one write in place, both through descriptors that stay open. An
//! append that fails takes back what it wrote, so the log holds whole records of which each was promised to
//! a caller. Only a crash can leave half a line or a head that does not fit; the next start notes that.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ftl_core::chain::{GAP, Head, Key, Record, SEGMENT_BEGUN, Sealed, Verdict, truncated};
use ftl_core::id::Hash;

use super::segment::{self, Segment};
use super::{AuditError, AuditSink, Entry, Order, Sync, Visit, io};

/// A segment that holds this many bytes is followed by a new one.
const SEGMENT_BYTES: u64 = 64 << 20;

/// What the head takes in its file: the longest one, padded with spaces. Less than a disk's sector, so one
/// write replaces it whole.
const HEAD_BYTES: usize = 192;

/// The audit log as JSON lines in a directory that only the daemon's user can read.
pub struct JsonlAudit {
    dir: PathBuf,
    key: Key,
    segment_bytes: u64,
    tail: Mutex<Tail>,
}

struct Tail {
    segment: u64,
    path: PathBuf,
    log: File,
    /// Opened with the first record.
    head: Option<File>,
    at: Reach,
    /// Bytes of the segment that hold whole lines.
    len: u64,
    /// An append has failed: there may be more than `len` bytes.
    torn: bool,
}

/// How far the log reaches.
#[derive(Clone, Copy)]
struct Reach {
    count: u64,
    mac: Hash,
}

/// What an opening found wrong.
struct Found {
    at: Reach,
    gap: Option<String>,
}

// === impl JsonlAudit ===

impl JsonlAudit {
    /// Opens the log beneath `dir`, which must exist and be private, or begins one. `now_us` is the time of
    /// a record that says what is wrong with it, if something is.
    ///
    /// A last line that a crash cut short is closed with a line end, so that the next record stands on
    /// its own and verification names the cut one.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn open(dir: &Path, now_us: i64) -> Result<Self, AuditError> {
        Self::open_with(dir, now_us, SEGMENT_BYTES)
    }

    /// Like [`Self::open`], with segments of about `segment_bytes`.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn open_with(dir: &Path, now_us: i64, segment_bytes: u64) -> Result<Self, AuditError> {
        let key = open_key(&dir.join("key"))?;
        take_over(dir)?;
        let mut segments = segment::all(dir)?;
        // A crash between the making of a segment and its first line.
        while segments.len() > 1 && segments.last().is_some_and(|last| last.len == 0) {
            if let Some(empty) = segments.pop() {
                std::fs::remove_file(&empty.path).map_err(io("remove", &empty.path))?;
            }
        }
        let number = segments.last().map_or(1, |last| last.number);
        let path = segment::path(dir, number);
        let log = append_to(&path)?;
        let len = close_cut_line(&path, &log)?;
        if let Some(last) = segments.last_mut() {
            last.len = len;
        }
        let found = find(&key, &segments, read_head(dir)?)?;
        let tail = Tail { segment: number, path, log, head: None, at: found.at, len, torn: false };
        let this = Self { dir: dir.to_owned(), key, segment_bytes, tail: Mutex::new(tail) };
        if let Some(what) = found.gap {
            let detail = serde_json::json!({ "what": what });
            let entry = Entry { time_us: now_us, action: GAP, session: None, project: None, detail };
            this.append(entry, Sync::Disk)?;
        }
        Ok(this)
    }

    /// Begins a new segment, which says what it follows.
    fn rotate(&self, tail: &mut Tail, time_us: i64) -> Result<(), AuditError> {
        self.heal(tail)?;
        tail.log.sync_data().map_err(io("sync", &tail.path))?;
        let path = segment::path(&self.dir, tail.segment + 1);
        let log = append_to(&path)?;
        // One that an earlier attempt could not fill.
        log.set_len(0).map_err(io("write", &path))?;
        let dir = File::open(&self.dir).map_err(io("open", &self.dir))?;
        dir.sync_all().map_err(io("sync", &self.dir))?;
        let mut next = Tail { segment: tail.segment + 1, path, log, head: None, len: 0, ..*tail };
        next.head = tail.head.take();
        let detail = self.key.binding(tail.at.count, tail.at.mac);
        let entry = Entry { time_us, action: SEGMENT_BEGUN, session: None, project: None, detail };
        let begun = self.write(&mut next, entry, Sync::Kernel);
        match begun {
            Ok(()) => *tail = next,
            Err(_) => tail.head = next.head.take(),
        }
        begun
    }

    fn write(&self, tail: &mut Tail, entry: Entry, sync: Sync) -> Result<(), AuditError> {
        self.heal(tail)?;
        let record = Record {
            seq: tail.at.count + 1,
            time_us: entry.time_us,
            action: entry.action.to_owned(),
            session: entry.session,
            project: entry.project,
            detail: entry.detail,
        };
        let damaged = |error: serde_json::Error| AuditError::Damaged {
            path: tail.path.clone(),
            what: error.to_string(),
        };
        let (mut line, mac) = self.key.seal(tail.at.mac, &record).map_err(damaged)?;
        line.push(b'\n');
        let at = Reach { count: record.seq, mac };
        tail.torn = true;
        let mut written = (&tail.log).write_all(&line).map_err(io("write", &tail.path));
        if written.is_ok() && sync == Sync::Disk {
            written = tail.log.sync_data().map_err(io("sync", &tail.path));
        }
        if let Err(error) = written.and_then(|()| self.write_head(tail, at)) {
            if let Err(error) = self.heal(tail) {
                tracing::error!(%error, "half a record stays in the audit log for now");
            }
            return Err(error);
        }
        tail.torn = false;
        tail.len += line.len() as u64;
        tail.at = at;
        Ok(())
    }

    /// Takes back what a failed append has left.
    fn heal(&self, tail: &mut Tail) -> Result<(), AuditError> {
        if !tail.torn {
            return Ok(());
        }
        let meta = tail.log.metadata().map_err(io("read", &tail.path))?;
        if meta.len() > tail.len {
            tail.log.set_len(tail.len).map_err(io("shorten", &tail.path))?;
        }
        tail.torn = false;
        if tail.at.count > 0 {
            // A head that cannot be written now is written with the next record.
            let _later = self.write_head(tail, tail.at);
        }
        Ok(())
    }

    fn write_head(&self, tail: &mut Tail, at: Reach) -> Result<(), AuditError> {
        let path = self.dir.join("head");
        let file = match tail.head.take() {
            Some(file) => file,
            None => {
                let mut options = OpenOptions::new();
                let options = options.write(true).create(true).truncate(false).mode(0o600);
                options.open(&path).map_err(io("open", &path))?
            }
        };
        let text = head_text(self.key.head(at.count, at.mac));
        let written = file.write_all_at(&text, 0).map_err(io("write", &path));
        tail.head = Some(file);
        written
    }

    /// The segments as they are between two appends, and the head.
    fn standing(&self) -> Result<(Vec<Segment>, Option<Head>), AuditError> {
        let _tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((segment::all(&self.dir)?, read_head(&self.dir)?))
    }
}

impl AuditSink for JsonlAudit {
    fn append(&self, entry: Entry, sync: Sync) -> Result<(), AuditError> {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len >= self.segment_bytes {
            self.rotate(&mut tail, entry.time_us)?;
        }
        self.write(&mut tail, entry, sync)
    }

    fn read(&self, order: Order, visit: &mut Visit<'_>) -> Result<(), AuditError> {
        let (mut segments, _head) = self.standing()?;
        let mut show = |line: &[u8]| match serde_json::from_slice::<Sealed>(line) {
            Ok(sealed) => visit(sealed.record),
            Err(_) => ControlFlow::Continue(()),
        };
        if order == Order::NewestFirst {
            segments.reverse();
        }
        for segment in &segments {
            let shown = match order {
                Order::OldestFirst => segment.forwards(&mut show)?,
                Order::NewestFirst => segment.backwards(&mut show)?,
            };
            if shown.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn verify(&self) -> Result<Verdict, AuditError> {
        let (segments, head) = self.standing()?;
        let mut verifier = self.key.verifier(head);
        for segment in &segments {
            verifier.begin_segment(segment.number);
            let _all = segment.forwards(|line| {
                verifier.line(line);
                ControlFlow::Continue(())
            })?;
        }
        if self.dir.join(OLD).exists() {
            verifier.problem(format!("`{OLD}` of an older version stands beside the segments"));
        }
        Ok(verifier.finish())
    }
}

// === opening ===

/// The only file of an older version's log.
const OLD: &str = "log.jsonl";

/// An older version's log becomes the first segment.
fn take_over(dir: &Path) -> Result<(), AuditError> {
    let (old, first) = (dir.join(OLD), segment::path(dir, 1));
    let taken = !first.exists() && old.exists();
    if taken && segment::all(dir)?.is_empty() {
        std::fs::rename(&old, &first).map_err(io("rename", &old))?;
    }
    Ok(())
}

fn append_to(path: &Path) -> Result<File, AuditError> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600).open(path).map_err(io("open", path))
}

/// Closes a line that a crash cut short; the segment's length.
fn close_cut_line(path: &Path, mut log: &File) -> Result<u64, AuditError> {
    let len = log.metadata().map_err(io("read", path))?.len();
    let mut last = [b'\n'];
    if len > 0 {
        log.read_exact_at(&mut last, len - 1).map_err(io("read", path))?;
    }
    if last == [b'\n'] {
        return Ok(len);
    }
    log.write_all(b"\n").map_err(io("write", path))?;
    Ok(len + 1)
}

/// How far the log reaches. Only its last line is read when the head fits it, otherwise its last segment.
fn find(key: &Key, segments: &[Segment], head: Option<Head>) -> Result<Found, AuditError> {
    let mut last = None;
    if let Some(segment) = segments.last() {
        let _first = segment.backwards(|line| {
            last = serde_json::from_slice::<Sealed>(line).ok();
            ControlFlow::Break(())
        })?;
    }
    let fits =
        |head: &Head| last.as_ref().is_some_and(|last| last.record.seq == head.count && last.mac == head.mac);
    if let Some(head) = head.filter(|head| key.made(head) && fits(head)) {
        return Ok(Found { at: Reach { count: head.count, mac: head.mac }, gap: None });
    }
    let genesis = Reach { count: 0, mac: key.genesis() };
    let (mut at, mut at_head) = (genesis, None);
    for (index, segment) in segments.iter().enumerate().rev() {
        let (reached, mac) = scan(segment, index == 0, head.map(|head| head.count), genesis)?;
        at_head = mac;
        // Whole segments that cannot be read are counted from the last one that can.
        match reached {
            Some(reached) => {
                at = reached;
                break;
            }
            None => continue,
        }
    }
    let gap = match head {
        None if at.count == 0 => None,
        None => Some("the log's head is missing".to_owned()),
        Some(head) if !key.made(&head) => Some("the log's head was changed".to_owned()),
        Some(head) if head.count > at.count => Some(truncated(head.count, at.count)),
        Some(head) => at_head
            .filter(|mac| *mac != head.mac)
            .map(|_| format!("record {} is not the one that was written", head.count)),
    };
    Ok(Found { at, gap })
}

/// How far a segment reaches, if any of its lines can be read or it is the first, and the `mac` of the
/// record that `wanted` counts.
fn scan(
    segment: &Segment,
    is_first: bool,
    wanted: Option<u64>,
    genesis: Reach,
) -> Result<(Option<Reach>, Option<Hash>), AuditError> {
    let mut at = is_first.then_some(genesis);
    let mut before = 0;
    let mut at_wanted = None;
    let _all = segment.forwards(|line| {
        let sealed = serde_json::from_slice::<Sealed>(line).ok();
        match (&mut at, sealed) {
            (Some(at), sealed) => {
                at.count += 1;
                at.mac = sealed.map_or(at.mac, |sealed| sealed.mac);
            }
            (None, Some(sealed)) => {
                at = Some(Reach { count: sealed.record.seq.max(before + 1), mac: sealed.mac });
            }
            (None, None) => before += 1,
        }
        if let Some(at) = at.filter(|at| Some(at.count) == wanted) {
            at_wanted = Some(at.mac);
        }
        ControlFlow::Continue(())
    })?;
    Ok((at, at_wanted))
}

/// The head as its file holds it.
fn head_text(head: Head) -> Vec<u8> {
    let mut text = serde_json::to_vec(&head).unwrap_or_default();
    text.resize(HEAD_BYTES.max(text.len()), b' ');
    text
}

/// The head; one that cannot be read is one that no key has made.
fn read_head(dir: &Path) -> Result<Option<Head>, AuditError> {
    let path = dir.join("head");
    let unreadable = Head { count: u64::MAX, mac: Hash([0; 32]), seal: Hash([0; 32]) };
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).unwrap_or(unreadable))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("read", &path)(error)),
    }
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
