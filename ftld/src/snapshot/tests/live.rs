//! A project that is kept up to date is what a walk from scratch finds, whatever was done to it and
//! whatever became of the events.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ftl_core::tree::RelPath;
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
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Arc::new(Blobs::open(&dir.path().join("store"), None).unwrap());
        Self::over(dir, blobs, 10_000)
    }

    /// A bench with so many watches at most.
    fn over(dir: TempDir, blobs: Arc<Blobs>, most: usize) -> Self {
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
            Self::Rules(path, which) => fs::write(
                at(path).join(".gitignore"),
                ["", "f\n", "*.log\n", "a/\n!f\n"][usize::from(*which % 4)],
            ),
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
    let name =
        || prop_oneof![4 => dir(), 4 => Just("f"), 1 => Just("g.log"), 1 => Just(".env"), 1 => Just("A")];
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

/// Any of these edits, with snapshots between them.
fn any_edits_are_seen(cases: u32, edits: impl Strategy<Value = Edit>) {
    let store = tempfile::tempdir().unwrap();
    let blobs = Arc::new(Blobs::open(store.path(), None).unwrap());
    let config = ProptestConfig { cases, max_shrink_iters: 2000, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let run = |edits: Vec<Edit>| {
        let bench = Bench::over(tempfile::tempdir().unwrap(), Arc::clone(&blobs), 10_000);
        edits.iter().for_each(|edit| edit.apply(&bench));
        bench.check("all");
        bench.warm();
        bench.check("all, watched");
        Ok(())
    };
    runner.run(&proptest::collection::vec(edits, 0..60), run).unwrap();
}

#[test]
fn every_snapshot_is_what_a_walk_from_scratch_finds() {
    let is_fair = |edit: &Edit| !matches!(edit, Edit::Fate(_));
    any_edits_are_seen(96, any_edit().prop_filter("the kernel's own", is_fair));
}

#[test]
fn events_that_are_lost_late_or_told_twice_change_no_snapshot() {
    any_edits_are_seen(96, any_edit());
}

/// A watched project with some files, directories and a file of rules.
fn watched() -> Bench {
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

#[test]
fn what_was_changed_is_looked_at_and_nothing_else_is_walked() {
    let bench = watched();
    let project = bench.project();
    let at = |path: &str| project.join(path);
    let edits: &[(&str, &dyn Fn())] = &[
        ("a write", &|| fs::write(at("a/f"), "new").unwrap()),
        ("a swap", &|| swap(&at("a/f")).unwrap()),
        ("a mode", &|| fs::set_permissions(at("f"), fs::Permissions::from_mode(0o755)).unwrap()),
        ("a directory's mode", &|| {
            fs::set_permissions(at("a/b"), fs::Permissions::from_mode(0o700)).unwrap();
        }),
        ("a time", &|| set_mtime(&at("g"), 5, 5)),
        ("a directory's time", &|| set_mtime(&at("a"), 5, 5)),
        ("new directories", &|| write(&project, "n/e/w/f", "x")),
        ("a write in a new directory", &|| fs::write(at("n/e/w/f"), "y").unwrap()),
        ("a moved directory", &|| fs::rename(at("n"), at("a/b/n")).unwrap()),
        ("a write in a moved directory", &|| fs::write(at("a/b/n/e/w/f"), "z").unwrap()),
        ("a directory made again", &|| {
            fs::remove_dir_all(at("c/d")).unwrap();
            write(&project, "c/d/other", "x");
        }),
        ("a write in a directory made again", &|| fs::write(at("c/d/other"), "y").unwrap()),
        ("a directory that a file replaced", &|| {
            fs::remove_dir_all(at("c")).unwrap();
            fs::write(at("c"), "file").unwrap();
        }),
        ("a link", &|| symlink("x", at("link")).unwrap()),
        ("names that differ in case", &|| {
            fs::write(at("README"), "1").unwrap();
            fs::write(at("readme"), "2").unwrap();
        }),
        ("an ignored file", &|| fs::write(at("a/x.log"), "").unwrap()),
        ("an ignored directory", &|| fs::write(at("target/debug/y"), "").unwrap()),
        ("a secret", &|| fs::write(at("a/.env"), "").unwrap()),
        ("removals", &|| {
            fs::remove_file(at("a/f")).unwrap();
            fs::remove_dir_all(at("a/b/n")).unwrap();
        }),
        ("a directory that left and changed", &|| {
            fs::rename(at("a/b"), bench.outside().join("b")).unwrap();
            fs::write(bench.outside().join("b/f"), "elsewhere").unwrap();
        }),
        ("a directory that came back", &|| fs::rename(bench.outside().join("b"), at("b")).unwrap()),
    ];
    for (what, edit) in edits {
        let before = bench.take().0.id();
        edit();
        bench.check_without_walk(what);
        let changes = !matches!(*what, "an ignored directory");
        assert_eq!(bench.take().0.id() != before, changes, "{what}");
    }
}

#[test]
fn rules_that_change_are_followed_by_a_walk() {
    let bench = watched();
    let project = bench.project();
    let edits: &[&dyn Fn()] = &[
        &|| write(&project, ".gitignore", "f\n"),
        &|| write(&project, "a/.ftlignore", "!f\n"),
        &|| fs::remove_file(project.join(".gitignore")).unwrap(),
        &|| write(&project, ".git/info/exclude", "g\n"),
        &|| write(&project, ".git/info/exclude", "f\n"),
        &|| fs::rename(project.join("a"), project.join("z")).unwrap(),
    ];
    for (number, edit) in edits.iter().enumerate() {
        edit();
        bench.check(&number.to_string());
        bench.warm();
    }
}

#[test]
fn what_no_event_tells_is_seen_by_the_stamp() {
    let bench = watched();
    let (project, outside) = (bench.project(), bench.outside());
    // Written by a name elsewhere, as a mapping that outlives its file writes: without any event.
    fs::write(outside.join("twin"), "1").unwrap();
    fs::hard_link(outside.join("twin"), project.join("linked")).unwrap();
    bench.check("a file with several names");
    bench.warm();
    let mut open = fs::OpenOptions::new().append(true).open(outside.join("twin")).unwrap();
    io::Write::write_all(&mut open, b"2").unwrap();
    bench.check_without_walk("a write by the other name");
    fs::remove_file(outside.join("twin")).unwrap();
    bench.check_without_walk("the other name is gone");
    io::Write::write_all(&mut open, b"3").unwrap();
    bench.check_without_walk("a write through what is still open");
    // A file that had one name when it was read: what was read lately is compared.
    fs::write(project.join("late"), "1").unwrap();
    bench.check_without_walk("a new file");
    fs::hard_link(project.join("late"), outside.join("late")).unwrap();
    fs::write(outside.join("late"), "2").unwrap();
    bench.check("a write by a name made later");
}

#[test]
fn what_a_walk_finds_changed_without_an_event_is_compared_from_then_on() {
    let bench = watched();
    let (project, outside) = (bench.project(), bench.outside());
    // Long after it was read.
    let bench = Bench { now_ns: LATER + 1_000_000_000_000, ..bench };
    bench.check("later");
    fs::hard_link(project.join("g"), outside.join("g")).unwrap();
    let mut open = fs::OpenOptions::new().append(true).open(outside.join("g")).unwrap();
    fs::remove_file(outside.join("g")).unwrap();
    io::Write::write_all(&mut open, b"unseen").unwrap();
    let bench = Bench { now_ns: bench.now_ns + 1_000_000_000_000, ..bench };
    bench.projects.tend(bench.now_ns);
    bench.check_without_walk("the walk from time to time");
    io::Write::write_all(&mut open, b"again").unwrap();
    bench.check_without_walk("another write without an event");
}

#[test]
fn another_name_of_a_secret_stays_outside_whenever_it_comes() {
    let bench = watched();
    let project = bench.project();
    fs::write(project.join(".env"), "KEY=1").unwrap();
    bench.check_without_walk("a secret");
    fs::hard_link(project.join(".env"), project.join("notes")).unwrap();
    bench.check("another name of it");
    assert!(!bench.take().0.contains_key(&RelPath::new("notes").unwrap()));
    bench.warm();
    fs::rename(project.join(".env"), project.join("plain")).unwrap();
    bench.check("no name is a secret's");
    assert!(bench.take().0.contains_key(&RelPath::new("notes").unwrap()));
    bench.warm();
    fs::rename(project.join("plain"), project.join("server.key")).unwrap();
    bench.check_without_walk("one is again");
    assert!(!bench.take().0.contains_key(&RelPath::new("notes").unwrap()));
}

#[test]
fn a_project_that_cannot_be_watched_whole_is_walked_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Arc::new(Blobs::open(&dir.path().join("store"), None).unwrap());
    let bench = Bench::over(dir, blobs, 3);
    let project = bench.project();
    (0..5).for_each(|n| write(&project, format!("d{n}/f"), "x"));
    bench.take();
    bench.warm();
    bench.check("the limit was reached");
    let watching = bench.projects.watching();
    assert_eq!((watching[0].directories, watching[0].sweeping), (0, Some(Sweeping::Watches)));
    let walks = bench.warm().0;
    write(&project, "d1/f", "y");
    bench.check("a write");
    assert_eq!(bench.warm().0, walks + 1);
    // What was taken is given back, and tried again when the project rests.
    (1..5).for_each(|n| fs::remove_dir_all(project.join(format!("d{n}"))).unwrap());
    let bench = Bench { now_ns: LATER + 1_000_000_000_000, ..bench };
    bench.projects.tend(bench.now_ns);
    bench.warm();
    let watching = bench.projects.watching();
    assert_eq!((watching[0].directories, watching[0].sweeping), (2, None));
}

#[test]
fn another_directory_in_the_place_of_the_project_is_another_project() {
    let bench = watched();
    let project = bench.project();
    fs::rename(&project, bench.outside().join("old")).unwrap();
    write(&project, "a/f", "other");
    bench.check("another root");
    bench.warm();
    bench.check_without_walk("watched");
    fs::remove_dir_all(&project).unwrap();
    fs::rename(bench.outside().join("old"), &project).unwrap();
    bench.check("the old root");
    // Away and back between two snapshots: the same directory, whose watches went with it.
    bench.warm();
    fs::rename(&project, bench.outside().join("old")).unwrap();
    fs::write(bench.outside().join("old/f"), "written elsewhere").unwrap();
    fs::rename(bench.outside().join("old"), &project).unwrap();
    bench.check("the root was away");
}

#[test]
fn a_queue_that_overflowed_is_followed_by_a_walk() {
    let bench = watched();
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    // Two names in turn: the kernel joins equal events that follow each other.
    for n in 0..limit {
        set_mtime(&bench.project().join(["f", "g"][n % 2]), n as i64, 0);
    }
    write(&bench.project(), "a/b/f", "the last of all");
    let walks = bench.warm().0;
    bench.check("more events than the kernel keeps");
    assert_eq!(bench.warm().0, walks + 1);
}

#[test]
fn an_idle_project_is_forgotten_and_its_index_kept() {
    let bench = watched();
    assert!(bench.projects.watching()[0].directories > 3);
    bench.projects.tend(LATER + 1_000_000_000);
    assert_eq!(bench.projects.watching().len(), 1);
    bench.projects.tend(LATER + 3_600_000_000_000);
    assert_eq!(bench.projects.watching(), []);
    // What the index vouches for is not read again.
    let content = bench.blobs.path(Hash::of(b"a/f"));
    fs::remove_file(&content).unwrap();
    write(&bench.project(), "f", "changed");
    bench.check("it was forgotten");
    bench.projects.park();
    fs::remove_file(&content).unwrap();
    bench.take();
    assert!(!content.exists());
}

#[test]
fn threads_watch_a_project_while_snapshots_are_taken() {
    let place = Place::new();
    let project = place.project();
    for n in 0..600 {
        write(&project, format!("d{n}/f"), n.to_string());
    }
    place.take();
    // The thread says when it is done by nothing but this.
    while place.store.watching()[0].sweeping.is_some() {
        std::thread::yield_now();
    }
    assert_eq!(place.store.watching()[0].directories, 601);
    for n in 0..200 {
        let content = format!("content {n}");
        write(&project, format!("d{n}/g"), &content);
        let taken = place.take();
        let path = RelPath::new(format!("d{n}/g")).unwrap();
        assert_eq!(taken.tree.get(&path).unwrap().node.hash(), Some(Hash::of(content.as_bytes())));
    }
    place.store.park();
    assert_eq!(place.store.watching(), []);
    assert_eq!(place.take().id, place.reopened().take(&project, LATER).unwrap().id);
}

/// A file system that is mounted as long as this lives.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_mount_in_the_project_is_seen_when_it_comes_and_when_it_goes() {
    let bench = watched();
    let at = bench.project().join("a");
    let flags = rustix::mount::MountFlags::empty();
    if rustix::mount::mount("none", &at, "tmpfs", flags, None).is_err() {
        return; // Only root can mount.
    }
    let mounted = Mounted(at);
    bench.check("a mount over a directory");
    let out = bench.take().1;
    assert!(out.iter().any(|out| out.path.as_bytes() == b"a" && out.class == Class::Special), "{out:?}");
    bench.warm();
    drop(mounted);
    bench.check("it is gone");
    bench.warm();
    bench.check_without_walk("all is watched again");
}

#[test]
fn a_file_system_that_others_change_is_never_trusted() {
    // The kernel's own file systems change without telling.
    let root = open_root(Path::new("/proc/self/task")).unwrap();
    let site = super::super::site::Site::of(&root, Path::new("/proc/self/task"));
    assert!(matches!(site.distrust(&root), Some(Sweeping::FileSystem(0x9FA0))));
}

#[test]
fn two_hundred_thousand_paths_fit_into_the_stated_memory() {
    let mut seen = Seen::new(1);
    let before = resident();
    for n in 0..200_000u32 {
        let path = RelPath::new(format!("package-{}/src/module-{}/file-{n}.rs", n / 1000, n / 20)).unwrap();
        let stamp = super::super::index::Stamp { inode: n.into(), size: 7, mtime_ns: 1, ctime_ns: 1 };
        seen.put_file(path, 0o644, (stamp, Hash::of(&n.to_le_bytes())), LATER);
    }
    let each = resident().saturating_sub(before) / 200_000;
    assert!(each < 700, "{each} bytes for a file");
    assert_eq!(seen.tree.files(), 200_000);
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
