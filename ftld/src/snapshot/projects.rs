//! The projects that snapshots are taken of.
//!
//! Owns one [`Live`] per project while it is in use: who may look at it at a time, the thread that sets its
//! watches and keeps the kernel's queue short, and when its index goes to the disk. An index is a saving and
//! no more: one that is old or lost costs a walk. It is never written while a snapshot is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::BufWriter;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;

use ftl_core::id::{Hash, SnapshotId};

use super::blob::Blobs;
use super::gate::Gate;
use super::index::Index;
use super::live::{Live, MakeWatch, Watching};
use super::seen::Seen;
use super::watch::{Budget, Inotify, Watch};
use super::{SnapshotError, io_error, lock, step};

/// A project that nobody asked about for so long is written to the disk and forgotten.
const IDLE_NS: i64 = 30 * 60 * 1_000_000_000;
/// So long after a walk comes the next, to find what no event told, while the project rests.
const WALK_NS: i64 = 10 * 60 * 1_000_000_000;
/// A project rests that nobody asked about for so long.
const REST_NS: i64 = 10 * 1_000_000_000;

/// Every project that is in use.
pub(super) struct Projects {
    /// Where indexes lie.
    dir: PathBuf,
    blobs: Arc<Blobs>,
    gate: Gate,
    make: Arc<MakeWatch>,
    /// Whether threads set the watches; tests do it themselves.
    is_tended: bool,
    all: Mutex<BTreeMap<PathBuf, Arc<Project>>>,
}

/// What a collection must not take from indexes.
#[derive(Default)]
pub(super) struct Vouched {
    /// Contents.
    pub(super) contents: Vec<Hash>,
    /// Snapshots.
    pub(super) last: Vec<SnapshotId>,
}

struct Project {
    index_path: PathBuf,
    live: Mutex<Held>,
    /// Whoever wants to take a snapshot goes before the thread that sets watches.
    wanted: AtomicUsize,
    taken: Condvar,
    /// Held while the index is written or removed; taken before `live`.
    writing: Mutex<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// How it was kept up to date after the last look; `None` when it is not in use.
    said: Mutex<Option<Watching>>,
}

#[derive(Default)]
struct Held {
    live: Option<Live>,
    /// The time when it was asked for last.
    used_ns: i64,
    /// The walks and looks that the index on the disk knows of.
    written: (u64, u64),
    /// How often the project was forgotten; a thread that began before the last time ends.
    epoch: u64,
    is_tended: bool,
}

impl Projects {
    /// Projects whose changes the kernel tells. `limit` is the text of `fs.inotify.max_user_watches`.
    pub(super) fn new(dir: PathBuf, (blobs, gate): (Arc<Blobs>, Gate), limit: Option<&str>) -> Self {
        let budget = Arc::new(Budget::of_limit(limit));
        let make = move || Ok(Arc::new(Inotify::new(Arc::clone(&budget))?) as Arc<dyn Watch>);
        Self { dir, blobs, gate, make: Arc::new(make), is_tended: true, all: Mutex::default() }
    }

    /// The same without threads, over something else that hears of changes.
    #[cfg(test)]
    pub(super) fn untended(dir: PathBuf, blobs: Arc<Blobs>, make: Arc<MakeWatch>) -> Self {
        Self { dir, blobs, gate: Gate::default(), make, is_tended: false, all: Mutex::default() }
    }

    /// Brings a project up to date and hands it to `finish`, which says the snapshot's id. The caller holds a
    /// lease.
    pub(super) fn take<T>(
        &self,
        root: &Path,
        now_ns: i64,
        finish: impl FnOnce(&Seen) -> Result<(SnapshotId, T), SnapshotError>,
    ) -> Result<T, SnapshotError> {
        let project = self.project(root);
        project.wanted.fetch_add(1, Ordering::SeqCst);
        let mut held = lock(&project.live);
        project.wanted.fetch_sub(1, Ordering::SeqCst);
        project.taken.notify_all();
        held.used_ns = now_ns;
        let live = held.live.get_or_insert_with(|| Live::new(root.to_owned(), project.load()));
        live.look(&self.blobs, now_ns, &*self.make)?;
        let (id, taken) = finish(&live.seen)?;
        live.seen.last = Some(id);
        *lock(&project.said) = Some(live.watching());
        self.tend_to(&project, &mut held);
        Ok(taken)
    }

    /// Forgets what is known of every project, on the disk as well.
    pub(super) fn forget_all(&self) -> Result<(), SnapshotError> {
        for path in self.written()? {
            step::remove(&path).map_err(io_error("remove", &path))?;
        }
        // Whoever has read one of them is in the list by now.
        for (_, project) in self.each() {
            let _writing = lock(&project.writing);
            let mut held = lock(&project.live);
            step::remove(&project.index_path).map_err(io_error("remove", &project.index_path))?;
            (held.live, held.written) = (None, (0, 0));
        }
        self.keep_names()
    }

    /// Everything that indexes vouch for, in memory and on the disk, and the snapshots that were taken last.
    pub(super) fn vouched(&self) -> Result<Vouched, SnapshotError> {
        let mut vouched = Vouched::default();
        let mut add = |index: &Index| {
            vouched.contents.extend(index.hashes());
            vouched.last.extend(index.last);
        };
        let mut written: BTreeSet<PathBuf> = self.written()?.into_iter().collect();
        for (_, project) in self.each() {
            if let Some(live) = &lock(&project.live).live {
                add(&live.seen.index());
                written.remove(&project.index_path);
            }
        }
        for path in written {
            fs::read(&path).ok().and_then(|bytes| Index::from_bytes(&bytes)).iter().for_each(&mut add);
        }
        Ok(vouched)
    }

    /// Writes the index of every project that is in use: what the one on the disk vouches for may go.
    pub(super) fn renew(&self) -> Result<(), SnapshotError> {
        for (_, project) in self.each() {
            let _writing = lock(&project.writing);
            let mut held = lock(&project.live);
            let Some(live) = &held.live else { continue };
            let (index, written) = (live.seen.index(), (live.walks, live.looks));
            held.written = written;
            drop(held);
            step::remove(&project.index_path).map_err(io_error("remove", &project.index_path))?;
            project.replace(&self.blobs, &index);
        }
        self.keep_names()
    }

    /// No power cut may bring an index back that vouches for what goes next.
    fn keep_names(&self) -> Result<(), SnapshotError> {
        step::sync_dir(&self.dir).map_err(io_error("flush", &self.dir))
    }

    /// The indexes on the disk.
    fn written(&self) -> Result<Vec<PathBuf>, SnapshotError> {
        let items = fs::read_dir(&self.dir).map_err(io_error("list", &self.dir))?;
        Ok(items.flatten().map(|item| item.path()).collect())
    }

    /// What is to be done from time to time; `now_ns` is the time.
    pub(super) fn tend(&self, now_ns: i64) {
        for (root, project) in self.each() {
            let _lease = self.gate.lease();
            // One that is busy is not idle.
            let Some(mut held) = try_lock(&project.live) else { continue };
            let unused_ns = now_ns.saturating_sub(held.used_ns);
            let Some(live) = held.live.as_mut() else { continue };
            if unused_ns >= IDLE_NS {
                drop(held);
                // It ends by itself.
                drop(project.park(&self.blobs));
            } else if unused_ns >= REST_NS && now_ns.saturating_sub(live.walked_ns) >= WALK_NS {
                live.try_again();
                if let Err(error) = live.walk(&self.blobs, now_ns, &*self.make) {
                    tracing::debug!(project = %root.display(), %error, "not walked");
                }
                self.tend_to(&project, &mut held);
            }
        }
    }

    /// Writes every index and ends every watch.
    pub(super) fn park(&self) {
        for (_, project) in self.each() {
            if let Some(thread) = project.park(&self.blobs) {
                // A panic was told where it happened.
                let _ = thread.join();
            }
        }
    }

    /// How each project that is in use is kept up to date, as of the last look where one is under way.
    pub(super) fn watching(&self) -> Vec<Watching> {
        let of = |(_, project): (PathBuf, Arc<Project>)| match try_lock(&project.live) {
            Some(held) => held.live.as_ref().map(Live::watching),
            // Nobody waits for a first snapshot to hear that one is taken.
            None => lock(&project.said).clone(),
        };
        self.each().into_iter().filter_map(of).collect()
    }

    /// Sets the watches of a project, as its thread would. Says how many walks and looks there were.
    #[cfg(test)]
    pub(super) fn warm(&self, root: &Path) -> (u64, u64) {
        let project = self.project(root);
        let mut held = lock(&project.live);
        let live = held.live.as_mut().unwrap();
        while live.warm(&self.blobs).unwrap() {}
        (live.walks, live.looks)
    }

    fn project(&self, root: &Path) -> Arc<Project> {
        let index_path = self.dir.join(Hash::of(root.as_os_str().as_bytes()).to_hex());
        let fresh = || Arc::new(Project::new(index_path));
        Arc::clone(lock(&self.all).entry(root.to_owned()).or_insert_with(fresh))
    }

    fn each(&self) -> Vec<(PathBuf, Arc<Project>)> {
        lock(&self.all).iter().map(|(root, project)| (root.clone(), Arc::clone(project))).collect()
    }

    /// Sees to it that a thread sets the watches that are missing.
    fn tend_to(&self, project: &Arc<Project>, held: &mut Held) {
        let Some(live) = held.live.as_ref().filter(|_| self.is_tended) else { return };
        if held.is_tended {
            if let Some(watches) = live.watches.as_ref().filter(|_| live.sweeping.is_some()) {
                watches.watch.wake();
            }
            return;
        }
        let (ours, blobs, gate) = (Arc::clone(project), Arc::clone(&self.blobs), self.gate.clone());
        let epoch = held.epoch;
        let tend = move || ours.tend(&blobs, &gate, epoch);
        match std::thread::Builder::new().name("ftl-watch".to_owned()).spawn(tend) {
            Ok(thread) => {
                held.is_tended = true;
                // The one before has ended, or is about to.
                drop(lock(&project.thread).replace(thread));
            }
            // Every snapshot walks, then.
            Err(error) => tracing::warn!(%error, "cannot start a thread"),
        }
    }
}

impl Drop for Projects {
    fn drop(&mut self) {
        self.park();
    }
}

impl Project {
    fn new(index_path: PathBuf) -> Self {
        Self {
            index_path,
            live: Mutex::default(),
            wanted: AtomicUsize::new(0),
            taken: Condvar::new(),
            writing: Mutex::default(),
            thread: Mutex::default(),
            said: Mutex::default(),
        }
    }

    /// The index that was written last.
    fn load(&self) -> Index {
        fs::read(&self.index_path).ok().and_then(|bytes| Index::from_bytes(&bytes)).unwrap_or_default()
    }

    /// What the project's thread does as long as the project is in use. One that is forgotten and asked for
    /// again has another thread.
    fn tend(&self, blobs: &Blobs, gate: &Gate, epoch: u64) {
        loop {
            let watch = loop {
                // What is read here is stored, and needed only by the index.
                let _lease = gate.lease();
                let mut held = lock(&self.live);
                while self.wanted.load(Ordering::SeqCst) > 0 {
                    held = self.taken.wait(held).unwrap_or_else(PoisonError::into_inner);
                }
                if held.epoch != epoch {
                    return;
                }
                let more = match held.live.as_mut() {
                    None => Ok(false),
                    Some(live) => live.warm(blobs),
                };
                match more {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%error, "a project cannot be watched"),
                }
                let watch = held.live.as_ref().and_then(|live| live.watches.as_ref());
                break watch.map(|watches| Arc::clone(&watches.watch));
            };
            self.write(blobs);
            let mut held = lock(&self.live);
            if held.epoch != epoch {
                return;
            }
            let current = held.live.as_ref().and_then(|live| live.watches.as_ref());
            let current = current.map(|watches| Arc::clone(&watches.watch));
            let Some(watch) =
                watch.filter(|watch| current.as_ref().is_some_and(|now| Arc::ptr_eq(now, watch)))
            else {
                if current.is_none() {
                    held.is_tended = false;
                    return;
                }
                continue;
            };
            drop((held, current));
            watch.wait();
        }
    }

    /// Writes the index when a walk was made since it was written.
    fn write(&self, blobs: &Blobs) {
        let _writing = lock(&self.writing);
        let mut held = lock(&self.live);
        let Some(live) = held.live.as_ref().filter(|live| live.walks != held.written.0) else { return };
        let (index, written) = (live.seen.index(), (live.walks, live.looks));
        held.written = written;
        drop(held);
        self.replace(blobs, &index);
    }

    /// Writes the index and forgets the project. Gives the thread that tended to it, which ends.
    fn park(&self, blobs: &Blobs) -> Option<JoinHandle<()>> {
        let _writing = lock(&self.writing);
        let mut held = lock(&self.live);
        held.epoch += 1;
        held.is_tended = false;
        let thread = lock(&self.thread).take();
        let written = std::mem::take(&mut held.written);
        *lock(&self.said) = None;
        if let Some(live) = held.live.take().filter(|live| (live.walks, live.looks) != written) {
            drop(held);
            self.replace(blobs, &live.seen.index());
        }
        thread
    }

    fn replace(&self, blobs: &Blobs, index: &Index) {
        // An index vouches only for contents that no power cut can take.
        if let Err(error) = blobs.settle() {
            tracing::warn!(%error, "an index is not written");
            return;
        }
        let half = self.index_path.with_extension("half");
        // Not forced to the disk: half an index is none, and costs a walk.
        let written = step::remove(&half)
            .and_then(|()| index.write(BufWriter::new(step::Growing::new(step::create(&half)?))))
            .and_then(|()| step::rename(&half, &self.index_path));
        if let Err(error) = written {
            tracing::warn!(%error, index = %self.index_path.display(), "an index cannot be written");
        }
    }
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
