//! Small contents in a few large files.
//!
//! Owns `packs/`. Contents are appended to the newest pack until it is large enough; then it gets its index
//! and never changes again. See the folder's header for what is on the disk when. Must not know what a
//! content is for.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ftl_core::id::Hash;

use super::packed::{self, HEADER};
use super::packindex::{self, PackIndex, Place};
use super::{SnapshotError, io_error, step};

const MAGIC: &[u8; 8] = b"ftlpack\n";
/// A pack of this size is complete. One that is not is read as a whole when the store is opened.
pub(super) const FULL: u64 = 64 * 1024 * 1024;

/// The packs of a store.
#[derive(Debug)]
pub(super) struct Packs {
    pub(super) dir: PathBuf,
    full: u64,
    /// Whether something in the newest pack was found damaged when it was opened.
    pub(super) hurt: bool,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    active: Option<Active>,
    /// In the order of their numbers.
    pub(super) sealed: Vec<Arc<Sealed>>,
    next: u64,
    /// Contents in complete packs that are as if they were not there: damaged, or about to go.
    hidden: HashSet<Hash>,
}

/// The pack that is written to.
#[derive(Debug)]
struct Active {
    number: u64,
    file: Arc<File>,
    end: u64,
    /// Up to here everything is on the disk for good.
    synced: u64,
    /// A flush failed: what the kernel still has of it nobody knows.
    failed: bool,
    known: HashMap<Hash, Place>,
}

/// A complete pack.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) number: u64,
    pub(super) file: File,
    pub(super) length: u64,
    pub(super) index: PackIndex,
}

/// What a pack was found to hold.
pub(super) struct Scanned {
    pub(super) known: HashMap<Hash, Place>,
    /// Where the last whole record ends.
    pub(super) end: u64,
    /// Bytes between records that are none.
    pub(super) damaged: u64,
}

// === opening ===

impl Packs {
    /// Opens the packs of a directory. What a crash left at the end of the last one is cut; `full` is the
    /// size at which a pack is complete.
    pub(super) fn open(dir: &Path, full: u64) -> Result<Self, SnapshotError> {
        step::make_dir(dir).map_err(io_error("create", dir))?;
        let mut packs = Self { dir: dir.to_owned(), full, hurt: false, state: RwLock::default() };
        packs.sweep_drafts()?;
        let numbers = packs.numbers()?;
        let mut state = State { next: numbers.last().map_or(1, |last| last + 1), ..State::default() };
        let mut open = Vec::new();
        for number in numbers {
            match packs.open_sealed(number)? {
                Some(sealed) => state.sealed.push(Arc::new(sealed)),
                None => open.push(number),
            }
        }
        let last = open.pop();
        for number in open {
            let (active, hurt) = packs.reopen(number)?;
            packs.hurt |= hurt;
            state.sealed.push(Arc::new(packs.complete(&active)?));
        }
        if let Some(number) = last {
            let (active, hurt) = packs.reopen(number)?;
            packs.hurt |= hurt;
            state.active = Some(active);
        }
        state.sealed.sort_by_key(|sealed| sealed.number);
        *packs.write() = state;
        Ok(packs)
    }

    /// The numbers of all packs, sorted. Indexes without a pack are removed.
    fn numbers(&self) -> Result<BTreeSet<u64>, SnapshotError> {
        let (mut numbers, mut indexes) = (BTreeSet::new(), Vec::new());
        for entry in fs::read_dir(&self.dir).map_err(io_error("list", &self.dir))? {
            let path = entry.map_err(io_error("list", &self.dir))?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            match path.extension().and_then(|ending| ending.to_str()) {
                Some("pack") => numbers.extend(number),
                Some("idx") => indexes.extend(number.map(|number| (number, path))),
                _ => {}
            }
        }
        for (_, path) in indexes.into_iter().filter(|(number, _)| !numbers.contains(number)) {
            step::remove(&path).map_err(io_error("remove", &path))?;
        }
        Ok(numbers)
    }

    pub(super) fn open_sealed(&self, number: u64) -> Result<Option<Sealed>, SnapshotError> {
        let path = self.path(number);
        let file = File::open(&path).map_err(io_error("open", &path))?;
        let length = file.metadata().map_err(io_error("read", &path))?.len();
        let index = File::open(self.index_path(number)).ok();
        let index = index.and_then(|index| PackIndex::open(index, length));
        Ok(index.map(|index| Sealed { number, file, length, index }))
    }

    /// Opens a pack without index and cuts its torn end. Says whether anything before that is damaged.
    fn reopen(&self, number: u64) -> Result<(Active, bool), SnapshotError> {
        let path = self.path(number);
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(io_error("open", &path))?;
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        let Scanned { known, end, damaged } = scan(&bytes);
        // Nothing relies on it: what comes next is written over a torn end, and what is left of one behind it is
        // no whole record. Cut, it is not searched at each start.
        if end < bytes.len() as u64 {
            step::cut(&file, end).map_err(io_error("cut", &path))?;
        }
        if end < MAGIC.len() as u64 {
            step::write_at(&file, MAGIC, 0).map_err(io_error("write", &path))?;
        }
        let end = end.max(MAGIC.len() as u64);
        let active = Active { number, file: Arc::new(file), end, synced: 0, failed: false, known };
        Ok((active, damaged > 0))
    }
}

/// Finds the records of a pack. Where one is damaged the next whole one is looked for; a content beyond such
/// a place counts only when it has its hash, because a content can hold what looks like a record.
pub(super) fn scan(bytes: &[u8]) -> Scanned {
    let mut found = Scanned { known: HashMap::new(), end: 0, damaged: 0 };
    if bytes.get(..MAGIC.len()) == Some(MAGIC) {
        found.end = MAGIC.len() as u64;
    }
    let (mut at, mut searching) = (MAGIC.len(), false);
    while at < bytes.len() {
        let record = packed::header(&bytes[at..])
            .and_then(|header| bytes.get(at..at + HEADER + header.stored as usize).map(|all| (header, all)))
            .filter(|(_, all)| !searching && packed::is_intact(all) || packed::decode(all).is_some());
        match record {
            Some((header, all)) => {
                let place = Place { offset: at as u64, stored: header.stored, length: header.length };
                found.known.insert(header.hash, place);
                // What lies between two whole records was one.
                found.damaged += (at as u64).saturating_sub(found.end);
                at += all.len();
                found.end = at as u64;
                searching = false;
            }
            None => {
                searching = true;
                let Some(next) = packed::next_candidate(bytes, at + 1) else { break };
                at = next;
            }
        }
    }
    found
}

// === reading and writing ===

impl Packs {
    /// Whether a content is there, and how long it is.
    pub(super) fn length(&self, hash: Hash) -> Result<Option<u64>, SnapshotError> {
        Ok(self.find(hash)?.map(|(_, place)| u64::from(place.length)))
    }

    /// The content; `None` when it is not here.
    pub(super) fn get(&self, hash: Hash) -> Result<Option<Vec<u8>>, SnapshotError> {
        let Some((source, place)) = self.find(hash)? else { return Ok(None) };
        let mut record = vec![0; HEADER + place.stored as usize];
        let read = match &source {
            Source::Active(file) => file.read_exact_at(&mut record, place.offset),
            Source::Sealed(sealed) => sealed.file.read_exact_at(&mut record, place.offset),
        };
        let content = read.ok().filter(|()| packed::header(&record).is_some_and(|head| head.hash == hash));
        match content.and_then(|()| packed::decode(&record)) {
            Some(bytes) => Ok(Some(bytes)),
            None => {
                self.hide(hash);
                Err(SnapshotError::Damaged { hash })
            }
        }
    }

    /// Appends a content that is not there yet. It is not forced to the disk.
    pub(super) fn put(&self, hash: Hash, bytes: &[u8]) -> Result<(), SnapshotError> {
        if self.find(hash)?.is_some() {
            return Ok(());
        }
        let too_long = || io_error("pack", &self.dir)(std::io::Error::from(std::io::ErrorKind::FileTooLarge));
        // Compressed before the lock: several threads read a project.
        let record = packed::encode(hash, bytes).ok_or_else(too_long)?;
        let mut state = self.write();
        if state.active.as_ref().is_some_and(|active| active.known.contains_key(&hash)) {
            return Ok(());
        }
        if state.active.as_ref().is_some_and(|active| active.end >= self.full) {
            self.seal_now(&mut state)?;
        }
        let active = match state.active.take() {
            Some(active) => state.active.insert(active),
            None => {
                let number = state.take_number();
                state.active.insert(self.begin(number)?)
            }
        };
        let path = self.path(active.number);
        step::write_at(&active.file, &record, active.end).map_err(io_error("write", &path))?;
        let stored = u32::try_from(record.len() - HEADER).unwrap_or(u32::MAX);
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        active.known.insert(hash, Place { offset: active.end, stored, length });
        active.end += record.len() as u64;
        state.hidden.remove(&hash);
        Ok(())
    }

    /// Forces everything that was appended so far to the disk.
    pub(super) fn sync(&self) -> Result<(), SnapshotError> {
        let (number, file, end, failed) = match &self.read().active {
            Some(active) if active.synced < active.end => {
                (active.number, Arc::clone(&active.file), active.end, active.failed)
            }
            _ => return Ok(()),
        };
        let path = self.path(number);
        let flushed =
            if failed { Err(std::io::Error::other("an earlier flush failed")) } else { step::sync(&file) };
        let flushed = flushed.and_then(|()| step::sync_dir(&self.dir));
        // Another thread may have completed the pack meanwhile, which flushes it as well.
        let mut state = self.write();
        if let Some(active) = state.active.as_mut().filter(|active| active.number == number) {
            match &flushed {
                Ok(()) => active.synced = active.synced.max(end),
                Err(_) => active.failed = true,
            }
        }
        flushed.map_err(io_error("flush", path))
    }

    /// Makes a content as if it were not there, until it is stored again.
    pub(super) fn hide(&self, hash: Hash) {
        let mut state = self.write();
        let active = state.active.as_mut().and_then(|active| active.known.remove(&hash));
        if active.is_none() {
            state.hidden.insert(hash);
        }
    }

    /// Whether a reader of a content would get it from this complete pack.
    pub(super) fn is_served_by(&self, hash: Hash, number: u64) -> Result<bool, SnapshotError> {
        let found = self.find(hash)?;
        Ok(matches!(found, Some((Source::Sealed(sealed), _)) if sealed.number == number))
    }

    fn find(&self, hash: Hash) -> Result<Option<(Source, Place)>, SnapshotError> {
        let state = self.read();
        if let Some(active) = &state.active
            && let Some(place) = active.known.get(&hash)
        {
            return Ok(Some((Source::Active(Arc::clone(&active.file)), *place)));
        }
        if state.hidden.contains(&hash) {
            return Ok(None);
        }
        for sealed in state.sealed.iter().rev() {
            let found = sealed.index.find(hash);
            if let Some(place) = found.map_err(io_error("read", self.index_path(sealed.number)))? {
                return Ok(Some((Source::Sealed(Arc::clone(sealed)), place)));
            }
        }
        Ok(None)
    }
}

impl State {
    /// A number that no pack has.
    pub(super) fn take_number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Makes contents of complete packs as if they were not there.
    pub(super) fn hide_all(&mut self, hashes: &HashSet<Hash>) {
        self.hidden.extend(hashes);
    }

    /// Puts rewritten packs in the place of old ones.
    pub(super) fn replace(&mut self, old: &[Arc<Sealed>], new: Vec<Arc<Sealed>>, dead: &HashSet<Hash>) {
        self.sealed.retain(|sealed| old.iter().all(|old| old.number != sealed.number));
        self.sealed.extend(new);
        self.sealed.sort_by_key(|sealed| sealed.number);
        // A content that is dead stays hidden where another pack still has it.
        let left = |hash: &Hash| self.sealed.iter().any(|pack| !matches!(pack.index.find(*hash), Ok(None)));
        let shown: Vec<Hash> = dead.iter().filter(|hash| !left(hash)).copied().collect();
        for hash in shown {
            self.hidden.remove(&hash);
        }
    }
}

/// Where a record is read from.
enum Source {
    Active(Arc<File>),
    Sealed(Arc<Sealed>),
}

// === completing ===

impl Packs {
    /// Completes the pack that is written to, when there is one.
    pub(super) fn seal(&self) -> Result<(), SnapshotError> {
        self.seal_now(&mut self.write())
    }

    fn seal_now(&self, state: &mut State) -> Result<(), SnapshotError> {
        let Some(active) = &state.active else { return Ok(()) };
        let sealed = self.complete(active)?;
        state.active = None;
        state.sealed.push(Arc::new(sealed));
        state.sealed.sort_by_key(|sealed| sealed.number);
        Ok(())
    }

    /// Flushes a pack and writes its index, whose name says that the pack is complete.
    fn complete(&self, active: &Active) -> Result<Sealed, SnapshotError> {
        let (path, index) = (self.path(active.number), self.index_path(active.number));
        if active.failed {
            return Err(io_error("flush", &path)(std::io::Error::other("an earlier flush failed")));
        }
        step::sync(&active.file).map_err(io_error("flush", &path))?;
        let entries = active.known.iter().map(|(hash, place)| (*hash, *place)).collect();
        self.write_index(&index, entries, active.end)?;
        let gone = || io_error("read", &index)(std::io::Error::from(std::io::ErrorKind::InvalidData));
        self.open_sealed(active.number)?.ok_or_else(gone)
    }

    /// Writes an index as a whole and for good.
    pub(super) fn write_index(
        &self,
        path: &Path,
        entries: Vec<(Hash, Place)>,
        length: u64,
    ) -> Result<(), SnapshotError> {
        let draft = path.with_extension("draft");
        step::remove(&draft).map_err(io_error("remove", &draft))?;
        let file = step::create(&draft).map_err(io_error("create", &draft))?;
        let bytes = packindex::encode(entries, length);
        let written = step::write_at(&file, &bytes, 0).and_then(|()| step::sync(&file));
        written.map_err(io_error("write", &draft))?;
        step::rename(&draft, path).map_err(io_error("rename", path))?;
        step::sync_dir(&self.dir).map_err(io_error("flush", &self.dir))
    }

    /// Begins a pack.
    fn begin(&self, number: u64) -> Result<Active, SnapshotError> {
        let path = self.path(number);
        let file = step::create(&path).map_err(io_error("create", &path))?;
        step::write_at(&file, MAGIC, 0).map_err(io_error("write", &path))?;
        let (file, end) = (Arc::new(file), MAGIC.len() as u64);
        Ok(Active { number, file, end, synced: 0, failed: false, known: HashMap::new() })
    }

    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:08}.pack"))
    }

    pub(super) fn index_path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:08}.idx"))
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        // A panic elsewhere leaves the state as it was: each change is one step.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Packs {
    /// A complete pack with an index that is as it was written; made again from the pack when it is not.
    pub(super) fn with_intact_index(&self, number: u64) -> Result<Option<Arc<Sealed>>, SnapshotError> {
        let find = || self.read().sealed.iter().find(|pack| pack.number == number).cloned();
        let Some(pack) = find().filter(|pack| !pack.index.is_intact()) else { return Ok(find()) };
        let path = self.path(number);
        let found = scan(&fs::read(&path).map_err(io_error("read", &path))?);
        self.write_index(&self.index_path(number), found.known.into_iter().collect(), pack.length)?;
        let Some(anew) = self.open_sealed(number)? else { return Ok(None) };
        let anew = Arc::new(anew);
        let mut state = self.write();
        if let Some(place) = state.sealed.iter_mut().find(|pack| pack.number == number) {
            *place = Arc::clone(&anew);
        }
        Ok(Some(anew))
    }
}
