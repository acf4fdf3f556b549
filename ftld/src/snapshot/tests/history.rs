//! Any history of a project, with snapshots in it, and a crash anywhere.
//!
//! A real directory is edited at random, with snapshots, collections and restarts between. What a store did to
//! the disk is recorded; then it is looked what a kill of the daemon or a power cut at any moment would have
//! left. Every snapshot that was reported by then must be restored exactly, and one that was not must be there
//! as a whole or not at all. `FTL_TEST_HISTORIES` is the number of histories, for a longer search.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::time::{SystemTime, UNIX_EPOCH};

use ftl_core::tree::Tree;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::super::step::record::{Op, Recording};
use super::base::shown;
use super::deeds::{Deed, any_deed, bytes};
use super::disk::{Dice, Disk};
use super::*;

/// Histories that a run without the variable looks at.
const HISTORIES: u32 = 40;

/// A content that was reported as kept, and how much of the recording was done then.
type Kept = (Vec<u8>, usize);

/// What stands at a path: kind, mode, modification time, and content or target.
type Photo = BTreeMap<PathBuf, (char, u32, i64, Vec<u8>)>;

/// A snapshot that was reported.
#[derive(Clone)]
struct Reported {
    id: SnapshotId,
    photo: Photo,
    /// How much of the recording was done when it was reported.
    at: usize,
    /// The same when it had been forced to the disk.
    settled: Option<usize>,
    /// The same when it was given up.
    dropped: Option<usize>,
}

fn now_ns() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// Looks at a directory without anything of the store.
fn photo(root: &Path) -> Photo {
    let (mut found, mut todo) = (Photo::new(), vec![PathBuf::new()]);
    while let Some(at) = todo.pop() {
        for item in fs::read_dir(root.join(&at)).unwrap() {
            let item = item.unwrap();
            let (path, full) = (at.join(item.file_name()), item.path());
            let meta = full.symlink_metadata().unwrap();
            let (kind, mode, content) = if meta.is_symlink() {
                ('l', 0, fs::read_link(&full).unwrap().into_os_string().as_bytes().to_vec())
            } else if meta.is_dir() {
                todo.push(path.clone());
                ('d', meta.mode() & 0o7777, Vec::new())
            } else {
                ('f', meta.mode() & 0o7777, fs::read(&full).unwrap())
            };
            found.insert(path, (kind, mode, meta.mtime() * 1_000_000_000 + meta.mtime_nsec(), content));
        }
    }
    found
}

/// Where two photos differ, without contents.
fn difference(one: &Photo, other: &Photo) -> Vec<String> {
    let paths: BTreeSet<&PathBuf> = one.keys().chain(other.keys()).collect();
    let differ = paths.into_iter().filter(|path| one.get(*path) != other.get(*path));
    let brief = |photo: &Photo, path: &PathBuf| {
        photo.get(path).map(|(kind, mode, time, bytes)| format!("{kind} {mode:o} {time} {}", Hash::of(bytes)))
    };
    differ
        .map(|path| format!("{}: {:?} {:?}", path.display(), brief(one, path), brief(other, path)))
        .collect()
}

/// A store over a directory of its own whose changes are recorded.
struct Daemon {
    store: Option<LocalStore>,
    dir: PathBuf,
    recording: Recording,
    /// The disk when the recording began.
    before: Disk,
}

impl Daemon {
    /// Begins over a disk; the directory is made.
    fn begin(dir: PathBuf, before: Disk) -> Self {
        fs::create_dir(&dir).unwrap();
        before.write_out(&dir);
        let recording = Recording::of(&dir);
        let store = LocalStore::open(&dir, None).unwrap();
        Self { store: Some(store), dir, recording, before }
    }

    fn store(&self) -> &LocalStore {
        self.store.as_ref().unwrap()
    }

    fn restart(&mut self) {
        drop(self.store.take());
        self.store = Some(LocalStore::open(&self.dir, None).unwrap());
    }

    /// Takes a snapshot as the daemon does.
    fn take(&self, project: &Path, settle: bool) -> Reported {
        let photo = photo(project);
        let id = self.store().take(project, now_ns()).unwrap().id;
        let at = self.recording.len();
        let settled = settle.then(|| {
            self.store().settle().unwrap();
            self.recording.len()
        });
        Reported { id, photo, at, settled, dropped: None }
    }

    /// The disk after the first `count` changes.
    fn disk_at(&self, ops: &[Op], count: usize) -> Disk {
        let mut disk = self.before.clone();
        ops[..count].iter().for_each(|op| disk.apply(op));
        disk
    }

    /// Ends, and says everything that was done. The recording must be what the disk has, or it proves nothing.
    fn end(mut self) -> (Disk, Vec<Op>) {
        drop(self.store.take());
        let ops = self.recording.ops();
        let disk = self.disk_at(&ops, ops.len());
        for part in ["packs", "objects", "index", "rules"] {
            let mut there = BTreeMap::new();
            for (path, (kind, _, _, bytes)) in photo(&self.dir.join(part)) {
                (kind == 'f').then(|| there.insert(Path::new(part).join(path), bytes));
            }
            assert_eq!(there.keys().collect::<Vec<_>>(), disk.files_in(part).keys().collect::<Vec<_>>());
            assert!(there == disk.files_in(part), "the record of {part} is not what was done");
        }
        (self.before.clone(), ops)
    }
}

/// Checks that everything reported is there, in any order.
fn check(store: &LocalStore, project: &Path, must: &[&Reported], room: &Path, dice: &mut Dice, when: &str) {
    let mut order: Vec<&Reported> = must.to_vec();
    (1..order.len()).rev().for_each(|at| order.swap(at, dice.roll(at + 1)));
    for (number, one) in order.iter().enumerate() {
        let out = room.join("out");
        let restored = store.restore(one.id, &out).unwrap_or_else(|error| panic!("{when}: {error}"));
        assert_eq!(restored.lost, [], "{when}");
        let found = photo(&out);
        assert!(found == one.photo, "{when}: {:#?}", difference(&one.photo, &found));
        remove_tree(&out).unwrap();
        store.rules(one.id).unwrap_or_else(|error| panic!("{when}: rules: {error}"));
        // Over the checkout of another.
        let Some(other) = order.get(number.wrapping_sub(1)).filter(|_| dice.roll(3) == 0) else { continue };
        let over = room.join("over");
        fs::create_dir(&over).unwrap();
        let (before, after) = (store.tree(other.id).unwrap(), store.tree(one.id).unwrap());
        store.write_layer((&before, &after), &over, None).unwrap();
        let mut layers = vec![over.clone()];
        layers.extend(store.base(project, other.id).unwrap().layers());
        let seen: Tree = shown(&layers);
        assert!(seen == *after, "{when}: {:?}", ftl_core::tree::changes(&seen, &after));
        remove_tree(&over).unwrap();
    }
}

/// Checks that the contents which were kept before are there.
fn has_all(store: &LocalStore, contents: &[Kept], at: usize, when: &str) {
    for (bytes, _) in contents.iter().filter(|(_, kept)| *kept <= at) {
        let mut found = Vec::new();
        let content = store.open_blob(Hash::of(bytes)).unwrap_or_else(|error| panic!("{when}: {error}"));
        io::Read::read_to_end(&mut { content }, &mut found).unwrap();
        assert!(found == *bytes, "{when}: a content that was kept is another");
    }
}

/// A kill: what was reported is there, and what was not is there as a whole or not at all.
fn check_kill(daemon: &Past<'_>, dice: &mut Dice) {
    let Past { before, ops, reported, contents, project, room } = daemon;
    let at = moment(daemon, dice);
    let when = format!("killed at {at} of {}: {:?}", ops.len(), ops.get(at).map(brief));
    let mut disk = (*before).clone();
    ops[..at].iter().for_each(|op| disk.apply(op));
    if let Some(op) = ops.get(at) {
        disk.apply_half(op, dice);
    }
    let mut after = Daemon::begin(room.join("killed"), disk);
    let alive = |one: &&Reported| one.at <= at && one.dropped.is_none_or(|dropped| dropped > at);
    let must: Vec<&Reported> = reported.iter().filter(alive).collect();
    check(after.store(), project, &must, room, dice, &when);
    has_all(after.store(), contents, at, &when);
    // What a collection took may be there in part.
    let given_up: BTreeSet<SnapshotId> = reported
        .iter()
        .filter(|one| one.dropped.is_some_and(|dropped| dropped <= at))
        .map(|one| one.id)
        .collect();
    for one in reported.iter().filter(|one| one.at > at && !given_up.contains(&one.id)) {
        match after.store().tree(one.id) {
            Err(SnapshotError::Unknown { .. }) => {}
            Ok(_) => {
                let restored = after.store().restore(one.id, &room.join("out")).unwrap();
                assert_eq!(restored.lost, [], "half a snapshot, {when}");
                assert!(photo(&room.join("out")) == one.photo);
                remove_tree(&room.join("out")).unwrap();
            }
            other => panic!("{when}: {other:?}"),
        }
    }
    // The daemon that comes next reports snapshots that a power cut does not take either.
    let next = after.take(project, true);
    if dice.roll(4) == 0 {
        after.restart();
    }
    check(after.store(), project, &[&next], room, dice, &format!("{when}, and then"));
    let (before, ops) = after.end();
    let mut disk = before;
    ops.iter().for_each(|op| disk.apply(op));
    let cut = LocalStoreAt::open(room.join("killed, then cut"), &disk.cut(dice));
    check(&cut.store, project, &[&next], room, dice, &format!("{when}, and then a power cut"));
    remove_tree(&room.join("killed")).unwrap();
}

/// A power cut: what was forced to the disk is there, and nothing is restored wrong as if it were right.
fn check_cut(daemon: &Past<'_>, dice: &mut Dice) {
    let Past { before, ops, reported, contents, project, room } = daemon;
    let at = moment(daemon, dice);
    let when = format!("power cut at {at} of {}: {:?}", ops.len(), ops.get(at).map(brief));
    let mut disk = (*before).clone();
    ops[..at].iter().for_each(|op| disk.apply(op));
    let after = LocalStoreAt::open(room.join("cut"), &disk.cut(dice));
    let alive = |one: &&Reported| {
        one.settled.is_some_and(|settled| settled <= at) && one.dropped.is_none_or(|dropped| dropped > at)
    };
    let must: Vec<&Reported> = reported.iter().filter(alive).collect();
    check(&after.store, project, &must, room, dice, &when);
    has_all(&after.store, contents, at, &when);
    for one in reported.iter() {
        if let Ok(restored) = after.store.restore(one.id, &room.join("out"))
            && restored.lost.is_empty()
        {
            let found = photo(&room.join("out"));
            assert!(found == one.photo, "{when}: {:#?}", difference(&one.photo, &found));
        }
        remove_tree(&room.join("out")).unwrap();
    }
    let photo = photo(project);
    if dice.roll(2) == 0 {
        // As a human asks for one: nothing looks at what an index vouches for before it is reported.
        let id = after.store.take(project, now_ns()).unwrap().id;
        let next = Reported { id, photo: photo.clone(), at: 0, settled: None, dropped: None };
        check(&after.store, project, &[&next], room, dice, &format!("{when}, and then by hand"));
    }
    let (taken, base) = after.store.take_with_base(project, now_ns()).unwrap();
    let next = Reported { id: taken.id, photo, at: 0, settled: None, dropped: None };
    check(&after.store, project, &[&next], room, dice, &format!("{when}, and then"));
    assert!(shown(&base.layers()) == *taken.tree, "{when}: another base");
}

/// When a crash comes: at any step, and more often when something was just reported, named or removed, or is
/// written; also when a pack has just gone, for which another one must be there.
fn moment(past: &Past<'_>, dice: &mut Dice) -> usize {
    let moments: Vec<usize> = match dice.roll(5) {
        0 => Vec::new(),
        1 => {
            let settled = past.reported.iter().filter_map(|one| one.settled);
            settled.chain(past.contents.iter().map(|(_, at)| *at)).collect()
        }
        kind => {
            let steps = past.ops.iter().enumerate().filter(|(_, op)| match op {
                Op::Write { .. } => kind == 2,
                Op::Remove { path } if kind == 4 => path.starts_with("packs"),
                Op::Rename { .. } | Op::Remove { .. } => kind == 3,
                _ => false,
            });
            steps.map(|(at, _)| at + 1).collect()
        }
    };
    let any = dice.roll(past.ops.len() + 1);
    moments.get(dice.roll(moments.len())).copied().unwrap_or(any)
}

fn brief(op: &Op) -> Op {
    match op.clone() {
        Op::Write { path, at, bytes } => Op::Write { path, at, bytes: bytes.into_iter().take(8).collect() },
        other => other,
    }
}

/// A finished history.
struct Past<'a> {
    before: &'a Disk,
    ops: &'a [Op],
    reported: &'a [Reported],
    contents: &'a [Kept],
    project: &'a Path,
    room: &'a Path,
}

/// A store over what a crash left.
struct LocalStoreAt {
    store: LocalStore,
    dir: PathBuf,
}

impl LocalStoreAt {
    fn open(dir: PathBuf, disk: &Disk) -> Self {
        fs::create_dir(&dir).unwrap();
        disk.write_out(&dir);
        Self { store: LocalStore::open(&dir, None).unwrap(), dir }
    }
}

impl Drop for LocalStoreAt {
    fn drop(&mut self) {
        self.store.park();
        remove_tree(&self.dir).unwrap();
    }
}

fn live(deeds: &[Deed], project: &Path, dir: PathBuf) -> (Disk, Vec<Op>, Vec<Reported>, Vec<Kept>) {
    let mut daemon = Daemon::begin(dir, Disk::default());
    let (mut reported, mut kept) = (Vec::<Reported>::new(), Vec::<Kept>::new());
    for deed in deeds {
        match deed {
            Deed::Take(warm, settle) => {
                if *warm {
                    daemon.store().take(project, now_ns()).unwrap();
                    daemon.store().projects.warm(project);
                }
                reported.push(daemon.take(project, *settle));
            }
            Deed::Collect(which, indexed) => {
                let at = daemon.recording.len();
                let mut snapshots = BTreeSet::new();
                for (number, one) in reported.iter_mut().enumerate().filter(|(_, one)| one.dropped.is_none())
                {
                    match which >> (number % 8) & 1 {
                        0 => drop(snapshots.insert(one.id)),
                        _ => one.dropped = Some(at),
                    }
                }
                // Equal trees are one snapshot.
                for one in reported.iter_mut().filter(|one| snapshots.contains(&one.id)) {
                    one.dropped = one.dropped.filter(|dropped| *dropped != at);
                }
                let contents = kept.iter().map(|(bytes, _)| Hash::of(bytes)).collect();
                let needed = Needed { snapshots, contents, indexed: *indexed, ..Needed::default() };
                daemon.store().collect(false, &mut || Ok::<_, SnapshotError>(needed.clone())).unwrap();
            }
            Deed::Fold => {
                if let Some(one) = reported.iter().rfind(|one| one.dropped.is_none()) {
                    daemon.store().base(project, one.id).unwrap();
                    daemon.store().fold(project, one.id, &BTreeSet::new()).unwrap();
                }
            }
            Deed::Keep(seed, large) => {
                let bytes = bytes(*seed, if *large { 140_000 } else { 100 });
                daemon.store().put_captured(&bytes).unwrap();
                kept.push((bytes, daemon.recording.len()));
            }
            Deed::Park => daemon.store().park(),
            Deed::Restart => daemon.restart(),
            edit => drop(edit.edit(project)),
        }
    }
    reported.push(daemon.take(project, true));
    let (before, ops) = daemon.end();
    (before, ops, reported, kept)
}

fn survives(deeds: &[Deed], seed: u64) {
    // In memory where there is such a directory: what is flushed is computed, and flushing takes its time.
    let memory = Path::new("/dev/shm");
    let place = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap();
    let (project, room) = (place.path().join("project"), place.path());
    fs::create_dir(&project).unwrap();
    let (before, ops, reported, contents) = live(deeds, &project, room.join("store"));
    let mut dice = Dice(seed);
    let whole = LocalStore::open(&room.join("store"), None).unwrap();
    let kept: Vec<&Reported> = reported.iter().filter(|one| one.dropped.is_none()).collect();
    check(&whole, &project, &kept, room, &mut dice, "no crash");
    drop(whole);
    let (reported, contents) = (&reported, &contents);
    let daemon = Past { before: &before, ops: &ops, reported, contents, project: &project, room };
    for _ in 0..2 {
        check_kill(&daemon, &mut dice);
    }
    for _ in 0..4 {
        check_cut(&daemon, &mut dice);
    }
}

#[test]
fn every_snapshot_of_any_history_restores_exactly_also_after_a_crash() {
    let soak = std::env::var("FTL_TEST_HISTORIES").ok().and_then(|text| text.parse().ok());
    let cases = soak.unwrap_or(HISTORIES);
    let config = ProptestConfig {
        cases,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = match soak {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    let histories = (proptest::collection::vec(any_deed(), 0..40), any::<u64>());
    let run = |(deeds, seed): (Vec<Deed>, u64)| {
        survives(&deeds, seed);
        Ok(())
    };
    runner.run(&histories, run).unwrap();
}

#[test]
fn an_index_that_a_collection_replaced_is_believed_after_no_crash() {
    let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let (project, room) = (place.path().join("project"), place.path());
    write(&project, "d/f", bytes(1, 200_000));
    write(&project, "g", "stays");
    let daemon = Daemon::begin(room.join("store"), Disk::default());
    // Every stamp can be trusted.
    let take = || daemon.store().take(&project, LATER).unwrap();
    take();
    let is_written = || fs::read_dir(room.join("store/index")).unwrap().next().is_some();
    while daemon.store().watching()[0].sweeping.is_some() || !is_written() {
        std::thread::yield_now();
    }
    // No walk comes of it, so that the index on the disk is still the old one.
    fs::rename(project.join("d"), room.join("outside")).unwrap();
    take();
    daemon.store().settle().unwrap();
    let needed = Needed { indexed: true, ..Needed::default() };
    daemon.store().collect(false, &mut || Ok::<_, SnapshotError>(needed.clone())).unwrap();
    let ops = daemon.recording.ops();
    let killed = daemon.disk_at(&ops, ops.len());
    // With the stamps that it had.
    fs::rename(room.join("outside"), project.join("d")).unwrap();
    let cuts = (0..96).map(|seed| killed.cut(&mut Dice(seed)));
    for (number, left) in std::iter::once(killed.clone()).chain(cuts).enumerate() {
        let after = LocalStoreAt::open(room.join("left"), &left);
        let id = after.store.take(&project, now_ns()).unwrap().id;
        assert_eq!(after.store.restore(id, &room.join("out")).unwrap().lost, [], "{number}");
        remove_tree(&room.join("out")).unwrap();
    }
}
