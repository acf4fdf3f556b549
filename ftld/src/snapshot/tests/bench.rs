//! A project that is kept up to date without threads, and a walk from scratch to compare it with.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::super::blob::Blobs;
use super::super::dir::open_root;
use super::super::projects::Projects;
use super::super::scan::{Ground, scan};
use super::super::seen::Seen;
use super::super::watch::{Budget, Event, Inotify, Watch, WatchError};
use super::*;

/// The kernel's events, treated badly: told twice, in another order, or lost, which is then said.
pub(super) struct Bad {
    kernel: Inotify,
    fate: Arc<AtomicU32>,
    late: Mutex<Vec<Event>>,
}

pub(super) const LOSE: u32 = 1;
pub(super) const TWICE: u32 = 2;
pub(super) const REVERSE: u32 = 4;

impl Watch for Bad {
    fn add(&self, dir: BorrowedFd<'_>) -> std::result::Result<i32, WatchError> {
        self.kernel.add(dir)
    }
    fn room(&self) -> usize {
        self.kernel.room()
    }
    fn remove(&self, watch: i32) {
        self.kernel.remove(watch);
    }
    fn drain(&self, into: &mut Vec<Event>) -> bool {
        let fate = self.fate.load(Ordering::Relaxed);
        let mut events = Vec::new();
        let is_whole = self.kernel.drain(&mut events);
        if fate & TWICE != 0 {
            // What was told already comes once more, as if it had been late.
            let old = std::mem::replace(&mut *self.late.lock().unwrap(), events.clone());
            events.extend(old);
        }
        if fate & REVERSE != 0 {
            events.reverse();
        }
        if fate & LOSE != 0 {
            self.fate.fetch_and(!LOSE, Ordering::Relaxed);
            events.truncate(events.len() / 2);
        }
        into.extend(events);
        is_whole && fate & LOSE == 0
    }
    fn wait(&self) -> bool {
        false
    }
    fn wake(&self) {}
    fn stop(&self) {}
}

/// A project, kept up to date without threads.
pub(super) struct Bench {
    pub(super) dir: TempDir,
    pub(super) projects: Projects,
    pub(super) blobs: Arc<Blobs>,
    pub(super) fate: Arc<AtomicU32>,
    pub(super) now_ns: i64,
}

/// What a snapshot tells.
pub(super) type Told = (ftl_core::tree::Tree, Vec<Exclusion>, Vec<u8>);

pub(super) fn told(seen: &Seen) -> Told {
    (seen.tree.clone(), seen.outside.all().iter().cloned().collect(), seen.rules.to_bytes().unwrap())
}

impl Bench {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Arc::new(Blobs::open(&dir.path().join("store"), None).unwrap());
        Self::over(dir, blobs, 10_000)
    }

    /// A bench with so many watches at most.
    pub(super) fn over(dir: TempDir, blobs: Arc<Blobs>, most: usize) -> Self {
        for name in ["store/index", "project", "outside"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let fate = Arc::new(AtomicU32::new(0));
        let given = Arc::clone(&fate);
        let budget = Arc::new(Budget { most, used: AtomicUsize::new(0) });
        let make = move || {
            let (kernel, fate) = (Inotify::new(Arc::clone(&budget))?, Arc::clone(&given));
            Ok(Arc::new(Bad { kernel, fate, late: Mutex::default() }) as Arc<dyn Watch>)
        };
        let index = dir.path().join("store/index");
        let projects = Projects::untended(index, Arc::clone(&blobs), Arc::new(make));
        Self { dir, projects, blobs, fate, now_ns: LATER }
    }

    pub(super) fn project(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    pub(super) fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    pub(super) fn take(&self) -> Told {
        let finish = |seen: &Seen| Ok((seen.tree.id(), told(seen)));
        self.projects.take(&self.project(), self.now_ns, finish).unwrap()
    }

    /// Sets the missing watches; says how many walks and looks there were.
    pub(super) fn warm(&self) -> (u64, u64) {
        self.projects.warm(&self.project())
    }

    /// A walk that knows nothing.
    pub(super) fn anew(&self) -> Told {
        let root = open_root(&self.project()).unwrap();
        let ground = Ground { root: root.as_fd(), blobs: &self.blobs, now_ns: self.now_ns };
        told(&scan(ground, &Seen::default()).unwrap().0)
    }

    pub(super) fn check(&self, after: &str) {
        let (kept, anew) = (self.take(), self.anew());
        assert_eq!(
            kept.0.id(),
            anew.0.id(),
            "after {after}: {:?}",
            ftl_core::tree::changes(&kept.0, &anew.0)
        );
        assert_eq!(kept.0, anew.0);
        assert_eq!(kept.1, anew.1, "after {after}");
        assert_eq!(sorted(&kept.2), sorted(&anew.2), "after {after}");
    }

    /// Checks that a snapshot after some edit is right and was taken without a walk.
    pub(super) fn check_without_walk(&self, after: &str) {
        let walks = self.warm().0;
        self.check(after);
        assert_eq!(self.warm().0, walks, "a walk after {after}");
    }
}

/// The files of rules in any order: only the deepest of a kind counts first.
pub(super) fn sorted(rules: &[u8]) -> Vec<String> {
    let files: Vec<serde_json::Value> = serde_json::from_slice(rules).unwrap();
    let mut files: Vec<String> = files.iter().map(ToString::to_string).collect();
    files.sort();
    files
}

/// A watched project with some files, directories and a file of rules.
pub(super) fn watched() -> Bench {
    let bench = Bench::new();
    let project = bench.project();
    for at in ["a/b/f", "a/f", "c/d/e/f", "f", "g"] {
        write(&project, at, at);
    }
    write(&project, ".gitignore", "*.log\ntarget/\n");
    write(&project, "target/debug/x", "");
    bench.take();
    bench.warm();
    bench.check_without_walk("nothing");
    bench
}

/// The content of a file that holds a private key.
pub(super) fn key() -> String {
    format!("-----BEGIN {}-----\nMIIEpAIBAAKCAQEA\n", "RSA PRIVATE KEY")
}

/// Other bytes of the same length under the same modification time.
pub(super) fn swap(path: &Path) -> io::Result<()> {
    let meta = path.symlink_metadata()?;
    if meta.is_file() {
        let bytes: Vec<u8> = fs::read(path)?.iter().map(|byte| byte ^ 1).collect();
        fs::write(path, bytes)?;
        set_mtime(path, meta.mtime(), meta.mtime_nsec());
    }
    Ok(())
}
