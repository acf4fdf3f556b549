//! A project that is kept up to date is what a walk from scratch finds, whatever was done to it and
//! whatever became of the events.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use rustix::fs::{RenameFlags, renameat_with};

use super::super::blob::Blobs;
use super::super::dir::open_root;
use super::super::index::Index;
use super::super::projects::Projects;
use super::super::scan::{Ground, scan};
use super::super::seen::Seen;
use super::super::watch::{Budget, Event, Inotify, Watch, WatchError};
use super::*;

/// The kernel's events, treated badly: told twice, in another order, or lost, which is then said.
struct Bad {
    kernel: Inotify,
    fate: Arc<AtomicU32>,
    late: Mutex<Vec<Event>>,
}

const LOSE: u32 = 1;
const TWICE: u32 = 2;
const REVERSE: u32 = 4;

impl Watch for Bad {
    fn add(&self, dir: BorrowedFd<'_>) -> std::result::Result<i32, WatchError> {
        self.kernel.add(dir)
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
struct Bench {
    dir: TempDir,
    projects: Projects,
    blobs: Arc<Blobs>,
    fate: Arc<AtomicU32>,
    now_ns: i64,
}

/// What a snapshot tells.
type Told = (ftl_core::tree::Tree, Vec<Exclusion>, Vec<u8>);

fn told(seen: &Seen) -> Told {
    (seen.tree.clone(), seen.exclusions.values().cloned().collect(), seen.rules.to_bytes().unwrap())
}

impl Bench {
    fn new(most: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["store/index", "project", "outside"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let blobs = Arc::new(Blobs::open(&dir.path().join("store"), None).unwrap());
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

    fn project(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    fn take(&self) -> Told {
        let finish = |seen: &Seen| Ok((seen.tree.id(), told(seen)));
        self.projects.take(&self.project(), self.now_ns, finish).unwrap()
    }

    /// Sets the missing watches; says how many walks and looks there were.
    fn warm(&self) -> (u64, u64) {
        self.projects.warm(&self.project())
    }

    /// A walk that knows nothing.
    fn anew(&self) -> Told {
        let root = open_root(&self.project()).unwrap();
        let ground = Ground { root: root.as_fd(), blobs: &self.blobs, now_ns: self.now_ns };
        told(&scan(ground, &Index::default()).unwrap().0)
    }

    fn check(&self, after: &str) {
        let (kept, anew) = (self.take(), self.anew());
        assert_eq!(kept.0.id(), anew.0.id(), "after {after}: {:?}", ftl_core::tree::changes(&kept.0, &anew.0));
        assert_eq!(kept.0, anew.0);
        assert_eq!(kept.1, anew.1, "after {after}");
        assert_eq!(sorted(&kept.2), sorted(&anew.2), "after {after}");
    }

    /// Checks that a snapshot after some edit is right and was taken without a walk.
    fn check_without_walk(&self, after: &str) {
        let walks = self.warm().0;
        self.check(after);
        assert_eq!(self.warm().0, walks, "a walk after {after}");
    }
}

/// The files of rules in any order: only the deepest of a kind counts first.
fn sorted(rules: &[u8]) -> Vec<String> {
    let files: Vec<serde_json::Value> = serde_json::from_slice(rules).unwrap();
    let mut files: Vec<String> = files.iter().map(ToString::to_string).collect();
    files.sort();
    files
}

#[derive(Clone, Debug)]
enum Edit {
    Write(PathBuf, u8),
    Append(PathBuf),
    Truncate(PathBuf),
    Rename(PathBuf, PathBuf),
    Exchange(PathBuf, PathBuf),
    Out(PathBuf),
    Back(PathBuf),
    Remove(PathBuf),
    Remake(PathBuf),
    MakeDir(PathBuf),
    Link(PathBuf, u8),
    HardLink(PathBuf, PathBuf),
    LinkOut(PathBuf),
    WriteOut(u8),
    Mode(PathBuf, bool),
    Touch(PathBuf, i64),
    Swap(PathBuf),
    Rules(PathBuf, u8),
    Exclude(u8),
    Take,
    Warm,
    Fate(u32),
    Reload,
}

impl Edit {
    /// What goes wrong, because there is nothing or something else, goes wrong: also an edit.
    fn apply(&self, bench: &Bench) {
        let (project, outside) = (bench.project(), bench.outside());
        let at = |path: &PathBuf| project.join(path);
        let parents = |path: &PathBuf| {
            let _ = fs::create_dir_all(at(path).parent().unwrap());
        };
        let append = |path: &Path, bytes: &[u8]| {
            if let Ok(mut file) = fs::OpenOptions::new().append(true).open(path) {
                let _ = io::Write::write_all(&mut file, bytes);
            }
        };
        let _ = match self {
            Self::Write(path, byte) => {
                parents(path);
                fs::write(at(path), [*byte; 3])
            }
            Self::Append(path) => {
                append(&at(path), b"more");
                Ok(())
            }
            Self::Truncate(path) => {
                fs::OpenOptions::new().write(true).open(at(path)).and_then(|file| file.set_len(1))
            }
            Self::Rename(from, to) => {
                parents(to);
                fs::rename(at(from), at(to))
            }
            Self::Exchange(one, other) => {
                Ok(renameat_with(CWD, at(one), CWD, at(other), RenameFlags::EXCHANGE).unwrap_or(()))
            }
            Self::Out(path) => {
                let _ = fs::remove_dir_all(outside.join("moved"));
                let _ = fs::remove_file(outside.join("moved"));
                let moved = fs::rename(at(path), outside.join("moved"));
                let _ = fs::write(outside.join("moved/f"), "written outside");
                moved
            }
            Self::Back(path) => {
                parents(path);
                fs::rename(outside.join("moved"), at(path))
            }
            Self::Remove(path) => fs::remove_file(at(path)).or_else(|_| fs::remove_dir_all(at(path))),
            Self::Remake(path) => {
                let _ = fs::remove_dir_all(at(path));
                let _ = fs::create_dir_all(at(path));
                fs::write(at(path).join("f"), "remade")
            }
            Self::MakeDir(path) => fs::create_dir_all(at(path)),
            Self::Link(path, target) => {
                let half = outside.join("link");
                let _ = fs::remove_file(&half);
                let _ = symlink(target.to_string(), &half);
                fs::rename(&half, at(path))
            }
            Self::HardLink(from, to) => fs::hard_link(at(from), at(to)),
            Self::LinkOut(path) => {
                let _ = fs::remove_file(outside.join("twin"));
                fs::rename(at(path), outside.join("twin"))
                    .and_then(|()| fs::hard_link(outside.join("twin"), at(path)))
            }
            Self::WriteOut(byte) => {
                append(&outside.join("twin"), &[*byte]);
                Ok(())
            }
            Self::Mode(path, is_run) => {
                let mode = if *is_run { 0o755 } else { 0o700 };
                fs::set_permissions(at(path), fs::Permissions::from_mode(mode))
            }
            Self::Touch(path, seconds) => {
                if at(path).symlink_metadata().is_ok() {
                    set_mtime(&at(path), *seconds, 0);
                }
                Ok(())
            }
            Self::Swap(path) => swap(&at(path)),
            Self::Rules(path, which) => {
                fs::write(at(path).join(".gitignore"), ["", "f\n", "*.log\n", "a/\n!f\n"][usize::from(*which % 4)])
            }
            Self::Exclude(which) => fs::create_dir_all(project.join(".git/info")).and_then(|()| {
                fs::write(project.join(".git/info/exclude"), ["", "b\n", "g.log\n"][usize::from(*which % 3)])
            }),
            Self::Take => {
                bench.check(&format!("{self:?}"));
                Ok(())
            }
            Self::Warm => {
                bench.take();
                bench.warm();
                Ok(())
            }
            Self::Fate(fate) => {
                bench.fate.store(*fate, Ordering::Relaxed);
                Ok(())
            }
            Self::Reload => {
                bench.projects.park();
                Ok(())
            }
        };
    }
}

/// Other bytes of the same length under the same modification time.
fn swap(path: &Path) -> io::Result<()> {
    let meta = path.symlink_metadata()?;
    if meta.is_file() {
        let bytes: Vec<u8> = fs::read(path)?.iter().map(|byte| byte ^ 1).collect();
        fs::write(path, bytes)?;
        set_mtime(path, meta.mtime(), meta.mtime_nsec());
    }
    Ok(())
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let dir = || prop_oneof![Just("a"), Just("b"), Just("c")];
    let name = || {
        prop_oneof![4 => dir(), 4 => Just("f"), 1 => Just("g.log"), 1 => Just(".env"), 1 => Just("A")]
    };
    let path = move || {
        prop_oneof![
            name().prop_map(PathBuf::from),
            (dir(), name()).prop_map(|(a, b)| PathBuf::from(a).join(b)),
            (dir(), dir(), name()).prop_map(|(a, b, c)| PathBuf::from(a).join(b).join(c)),
        ]
    };
    let one = prop_oneof![
        6 => (path(), any::<u8>()).prop_map(|(path, byte)| Edit::Write(path, byte)),
        2 => path().prop_map(Edit::Append),
        2 => path().prop_map(Edit::Truncate),
        5 => (path(), path()).prop_map(|(from, to)| Edit::Rename(from, to)),
        1 => (path(), path()).prop_map(|(one, other)| Edit::Exchange(one, other)),
        2 => path().prop_map(Edit::Out),
        2 => path().prop_map(Edit::Back),
        4 => path().prop_map(Edit::Remove),
        2 => path().prop_map(Edit::Remake),
        4 => path().prop_map(Edit::MakeDir),
        2 => (path(), any::<u8>()).prop_map(|(path, target)| Edit::Link(path, target)),
    ];
    let other = prop_oneof![
        3 => (path(), path()).prop_map(|(from, to)| Edit::HardLink(from, to)),
        2 => path().prop_map(Edit::LinkOut),
        2 => any::<u8>().prop_map(Edit::WriteOut),
        2 => (path(), any::<bool>()).prop_map(|(path, run)| Edit::Mode(path, run)),
        2 => (path(), 1i64..1000).prop_map(|(path, time)| Edit::Touch(path, time)),
        2 => path().prop_map(Edit::Swap),
        1 => (path(), any::<u8>()).prop_map(|(path, which)| Edit::Rules(path, which)),
        1 => any::<u8>().prop_map(Edit::Exclude),
        6 => Just(Edit::Take),
        4 => Just(Edit::Warm),
        2 => (0u32..8).prop_map(Edit::Fate),
        1 => Just(Edit::Reload),
    ];
    prop_oneof![one, other]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_snapshot_is_what_a_walk_from_scratch_finds(edits in proptest::collection::vec(any_edit(), 0..60)) {
        let bench = Bench::new(10_000);
        for edit in &edits {
            edit.apply(&bench);
        }
        bench.check("all");
        bench.warm();
        bench.check("all, watched");
    }
}
