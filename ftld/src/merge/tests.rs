//! Real directories: what applying, undoing and recovering leave behind.

mod attributes;
mod crash;
mod disk;
mod faults;
mod hostile;
mod kinds;
mod leftover;
mod links;
mod locked;
mod meanwhile;
mod unreadable;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ftl_core::diff::{After, Change};
use ftl_core::id::{SessionId, SnapshotId};
use ftl_core::merge::{Plan, plan, to_observe};
use ftl_core::review::{Approval, Review};
use ftl_core::tree::{Entry, Node};
use tempfile::TempDir;

use kinds::{KINDS, Kind};

use super::*;

/// Contents in memory, stricter than a real store: what was never put is an error.
#[derive(Default)]
struct Memory(Mutex<BTreeMap<Hash, Vec<u8>>>);

impl Blobs for Memory {
    fn write_to(&self, hash: Hash, mut target: &File) -> io::Result<Hash> {
        let known = self.0.lock().unwrap();
        let content = known.get(&hash).ok_or_else(|| io::Error::other("no such content"))?;
        target.write_all(content)?;
        Ok(Hash::of(content))
    }

    fn keep(&self, mut file: &File) -> io::Result<Hash> {
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let hash = Hash::of(&content);
        self.0.lock().unwrap().insert(hash, content);
        Ok(hash)
    }
}

/// A project, the work that is to be applied to it, and what must never change.
struct Place {
    dir: TempDir,
    store: Memory,
    kind: Kind,
    /// What the session started from, where the project is something else by now.
    base: Option<Nodes>,
}

type Nodes = BTreeMap<RelPath, Node>;

impl Place {
    fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, store: Memory::default(), kind: Kind::Plain, base: None }
    }

    /// A project and a work that differ in every way two trees can.
    fn new() -> Self {
        let place = Self::empty();
        for name in ["project", "work", "outside"] {
            fs::create_dir(place.path(name)).unwrap();
        }
        for both in ["project", "work"] {
            write(&place.path(both), "same", "same");
            write(&place.path(both), "d/same", "same");
        }
        let (project, work) = (place.path("project"), place.path("work"));
        write(&project, "edited", "old");
        write(&work, "edited", "new");
        write(&project, "mode", "#!");
        write(&work, "mode", "#!");
        fs::set_permissions(work.join("mode"), fs::Permissions::from_mode(0o755)).unwrap();
        write(&project, "d/gone", "gone");
        write(&project, "old/x/y", "deep");
        write(&work, b"new/x/\xff\n -y", "deep");
        symlink("same", project.join("link")).unwrap();
        symlink("edited", work.join("link")).unwrap();
        write(&project, "to-dir", "file");
        write(&work, "to-dir/f", "in a directory");
        write(&project, "to-file/f", "in a directory");
        write(&work, "to-file", "file");
        for (root, mode) in [(&project, 0o755), (&work, 0o700)] {
            fs::set_permissions(root.join("d"), fs::Permissions::from_mode(mode)).unwrap();
        }
        write(&place.path("outside"), "tripwire", "untouched");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn project(&self) -> PathBuf {
        self.path("project")
    }

    fn root(&self) -> Root {
        Root::open(&self.project()).unwrap()
    }

    fn merge(&self) -> Merge {
        Merge::open(&self.path("journals")).unwrap()
    }

    /// What is in one of the trees.
    fn nodes(&self, name: &str) -> Nodes {
        let paths = walk(&self.path(name));
        let seen = Root::open(&self.path(name)).unwrap().observe(&paths).unwrap();
        seen.into_iter().map(|(path, node)| (path, node.unwrap())).collect()
    }

    fn plan(&self, approval: &Approval) -> Plan {
        plan(approval, &self.look(approval).unwrap()).unwrap()
    }

    /// What the project has at every path that an approval is about.
    fn look(&self, approval: &Approval) -> Result<ftl_core::merge::Host, MergeError> {
        self.root().observe(&to_observe(approval.changes().iter().map(|change| &change.path)))
    }

    fn apply_all(&self) -> Result<Applied, MergeError> {
        let approval = self.approve(&[]);
        let plan = self.plan(&approval);
        self.merge().apply(&id(1), &self.root(), &plan, &approval, &self.store, &[])
    }

    /// Nothing but the project changed.
    fn assert_outside_untouched(&self) {
        assert_eq!(walk(&self.path("outside")), [path("tripwire")].into());
        assert_eq!(fs::read(self.path("outside/tripwire")).unwrap(), b"untouched");
    }
}

fn id(number: u8) -> ApplyId {
    ApplyId::from_random([number; 10])
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn write(root: &Path, at: impl AsRef<[u8]>, content: &str) {
    let path = root.join(OsStr::from_bytes(at.as_ref()));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Every path in a directory, temporary files included.
fn walk(root: &Path) -> BTreeSet<RelPath> {
    let mut found = BTreeSet::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let at = entry.path();
            found.insert(RelPath::new(at.strip_prefix(root).unwrap().as_os_str().as_bytes()).unwrap());
            if entry.file_type().unwrap().is_dir() {
                todo.push(at);
            }
        }
    }
    found
}

#[test]
fn applying_makes_the_work_and_undoing_the_project_again() {
    let place = Place::new();
    let (base, work) = (place.nodes("project"), place.nodes("work"));
    let stamp = || {
        let meta = place.project().join("d/same").metadata().unwrap();
        (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec())
    };
    let unchanged = stamp();
    let applied = place.apply_all().unwrap();
    assert_eq!(place.nodes("project"), work);
    assert_eq!((applied.left_alone, stamp()), (vec![], unchanged));
    let changed: Vec<_> =
        base.keys().chain(work.keys()).filter(|at| base.get(*at) != work.get(*at)).collect();
    assert_eq!(
        applied.paths,
        changed.into_iter().cloned().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    );

    let (merge, root) = (place.merge(), place.root());
    merge.undo(&id(1), &id(2), &root, &place.store).unwrap();
    assert_eq!((place.nodes("project"), stamp()), (base, unchanged));
    let again = merge.undo(&id(1), &id(3), &root, &place.store);
    assert!(matches!(again, Err(MergeError::AlreadyUndone { .. })));
    assert!(matches!(merge.undo(&id(9), &id(3), &root, &place.store), Err(MergeError::Unknown { .. })));
    // What was taken back can be brought again.
    merge.undo(&id(2), &id(3), &root, &place.store).unwrap();
    assert_eq!(place.nodes("project"), work);
    assert!(merge.recover(&place.store).unwrap().is_empty());
}

#[test]
fn only_what_was_chosen_is_written() {
    let place = Place::new();
    let approval = place.approve(&[path("new"), path("edited")]);
    let plan = place.plan(&approval);
    let applied = place.merge().apply(&id(1), &place.root(), &plan, &approval, &place.store, &[]).unwrap();
    assert_eq!(applied.paths.len(), 4);
    assert_eq!(fs::read(place.project().join("edited")).unwrap(), b"new");
    assert_eq!(fs::read_link(place.project().join("link")).unwrap(), Path::new("same"));
}

#[test]
fn a_plan_for_more_than_was_approved_is_refused() {
    let place = Place::new();
    let (all, one) = (place.approve(&[]), place.approve(&[path("edited")]));
    let base = place.nodes("project");
    let refused = place.merge().apply(&id(1), &place.root(), &place.plan(&all), &one, &place.store, &[]);
    assert!(matches!(refused, Err(MergeError::NotApproved)));
    assert_eq!(place.nodes("project"), base);
}

#[test]
fn a_directory_with_files_of_the_user_stays_and_says_so() {
    let place = Place::new();
    let approval = place.approve(&[]);
    let plan = place.plan(&approval);
    write(&place.project(), "old/x/.env", "the user's");
    let applied = place.merge().apply(&id(1), &place.root(), &plan, &approval, &place.store, &[]).unwrap();
    let left: Vec<_> = applied.left_alone.iter().map(|left| left.path.clone()).collect();
    assert_eq!(left, [path("old/x"), path("old")]);
    assert!(!applied.paths.contains(&path("old")) && applied.paths.contains(&path("old/x/y")));
    assert_eq!(walk(&place.project().join("old")), [path("x"), path("x/.env")].into());
    place.merge().undo(&id(1), &id(2), &place.root(), &place.store).unwrap();
    assert_eq!(fs::read(place.project().join("old/x/y")).unwrap(), b"deep");
}

#[test]
fn a_directory_with_files_of_the_user_is_not_replaced() {
    let place = Place::new();
    let approval = place.approve(&[]);
    let plan = place.plan(&approval);
    write(&place.project(), "to-file/.env", "the user's");
    let base = place.nodes("project");
    let refused = place.merge().apply(&id(1), &place.root(), &plan, &approval, &place.store, &[]);
    assert!(matches!(refused, Err(MergeError::Holds { holds, .. }) if holds == path("to-file/.env")));
    assert_eq!(place.nodes("project"), base);
}

#[test]
fn what_the_user_wrote_since_is_a_conflict_and_nothing_is_touched() {
    let place = Place::new();
    let approval = place.approve(&[]);
    let plan = place.plan(&approval);
    write(&place.project(), "edited", "OLD");
    let base = place.nodes("project");
    let refused = place.merge().apply(&id(1), &place.root(), &plan, &approval, &place.store, &[]);
    let Err(MergeError::Changed(Conflicts(conflicts))) = refused else { panic!("{refused:?}") };
    assert_eq!(conflicts.len(), 1);
    assert_eq!((&conflicts[0].path, place.nodes("project")), (&path("edited"), base));
    assert!(place.merge().recover(&place.store).unwrap().is_empty());
}

#[test]
fn undo_refuses_after_an_edit_and_touches_nothing() {
    let place = Place::new();
    place.apply_all().unwrap();
    write(&place.project(), "edited", "by the user");
    let now = place.nodes("project");
    let refused = place.merge().undo(&id(1), &id(2), &place.root(), &place.store);
    assert!(matches!(refused, Err(MergeError::Changed(_))), "{refused:?}");
    assert_eq!(place.nodes("project"), now);
    // It can still be undone when the edit is gone.
    write(&place.project(), "edited", "new");
    place.merge().undo(&id(1), &id(2), &place.root(), &place.store).unwrap();
}

#[test]
fn undo_keeps_what_the_user_added_to_a_new_directory() {
    let place = Place::new();
    place.apply_all().unwrap();
    write(&place.project(), "new/mine", "the user's");
    let undone = place.merge().undo(&id(1), &id(2), &place.root(), &place.store).unwrap();
    assert_eq!(undone.left_alone.iter().map(|left| &left.path).collect::<Vec<_>>(), [&path("new")]);
    assert_eq!(walk(&place.project().join("new")), [path("mine")].into());
}

#[test]
fn a_store_that_fails_or_lies_leaves_the_project_as_it_was() {
    for lie in [None, Some("not what was approved")] {
        let place = Place::new();
        let approval = place.approve(&[]);
        let plan = place.plan(&approval);
        let base = place.nodes("project");
        // New in `to-dir/f`, and the pre-image of `to-file/f`: the way back needs it too.
        let store = Liar { store: &place.store, hash: Hash::of(b"in a directory"), lie };
        let failed = place.merge().apply(&id(1), &place.root(), &plan, &approval, &store, &[]);
        assert!(matches!(
            failed,
            Err(MergeError::Io { .. } | MergeError::Damaged { .. } | MergeError::Partly { .. })
        ));
        // A sound store finishes the way back.
        place.merge().recover(&place.store).unwrap();
        assert_eq!(place.nodes("project"), base);
    }
}

/// A store that does not have one content, or has another one in its place.
struct Liar<'a> {
    store: &'a Memory,
    hash: Hash,
    lie: Option<&'static str>,
}

impl Blobs for Liar<'_> {
    fn write_to(&self, hash: Hash, mut target: &File) -> io::Result<Hash> {
        if hash != self.hash {
            return self.store.write_to(hash, target);
        }
        let lie = self.lie.ok_or_else(|| io::Error::other("no such content"))?;
        target.write_all(lie.as_bytes())?;
        Ok(Hash::of(lie.as_bytes()))
    }

    fn keep(&self, file: &File) -> io::Result<Hash> {
        self.store.keep(file)
    }
}

#[test]
fn one_application_at_a_time() {
    let place = Place::new();
    let other = place.root();
    let _held = other.lock().unwrap();
    assert!(matches!(place.apply_all(), Err(MergeError::Busy { .. })));
    drop(_held);
    place.apply_all().unwrap();
}

#[test]
fn new_files_belong_to_whom_the_project_belongs() {
    if !rustix::process::geteuid().is_root() {
        return; // Only root leaves files that are not the user's.
    }
    let place = Place::new();
    for at in walk(&place.project()) {
        let at = place.project().join(OsStr::from_bytes(at.as_bytes()));
        std::os::unix::fs::lchown(at, Some(1234), Some(2345)).unwrap();
    }
    std::os::unix::fs::lchown(place.project(), Some(1234), Some(2345)).unwrap();
    place.apply_all().unwrap();
    for at in ["edited", "new", "new/x", "to-dir", "to-dir/f"] {
        let meta = place.project().join(at).symlink_metadata().unwrap();
        assert_eq!((meta.uid(), meta.gid()), (1234, 2345), "{at}");
    }
}

#[test]
fn journals_that_nobody_asks_about_go_and_the_others_stay() {
    let place = Place::new();
    let merge = place.merge();
    place.apply_all().unwrap();
    let journals = || fs::read_dir(place.path("journals")).unwrap().count();
    merge.forget_all_but(&BTreeSet::from([id(1)])).unwrap();
    assert!(merge.happened(&id(1)).unwrap());
    merge.undo(&id(1), &id(2), &place.root(), &place.store).unwrap();
    assert_eq!(journals(), 2);
    merge.forget(&BTreeSet::from([id(2)])).unwrap();
    assert!(!merge.happened(&id(2)).unwrap());
    merge.forget_all_but(&BTreeSet::new()).unwrap();
    assert_eq!(journals(), 0);
}

#[test]
fn a_file_is_read_again_only_when_it_was_written_to() {
    let place = Place::new();
    let (root, paths) = (place.root(), walk(&place.project()));
    let files =
        place.nodes("project").values().filter(|node| matches!(node, Node::File { .. })).count() as u64;
    let late = place.project().join("same").metadata().unwrap().ctime() + 100;
    let mut seen = Seen::default();
    let look = |seen: &mut Seen, now| {
        let before = seen.read();
        assert_eq!(root.observe_again(&paths, seen, now).unwrap(), root.observe(&paths).unwrap());
        seen.read() - before
    };
    // Right after they were written nothing tells one write from another.
    assert_eq!((look(&mut seen, late - 100), look(&mut seen, late - 100)), (files, files));
    assert_eq!((look(&mut seen, late), look(&mut seen, late)), (files, 0));
    // As long as before, and with its time.
    let file = place.project().join("edited");
    let time = file.metadata().unwrap().modified().unwrap();
    fs::write(&file, "OLD").unwrap();
    File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    assert_eq!(look(&mut seen, late), 1);
    fs::remove_file(&file).unwrap();
    fs::rename(place.project().join("same"), &file).unwrap();
    assert_eq!(look(&mut seen, late), 1);
    swap_dir(&place, "d");
    assert_eq!(look(&mut seen, late), 0);
    assert_eq!(root.observe_again(&paths, &mut seen, late).unwrap()[&path("d/same")], None);
}

/// Puts a link to the outside where a directory was.
fn swap_dir(place: &Place, at: &str) {
    let at = place.project().join(at);
    fs::rename(&at, place.path("swapped")).unwrap();
    symlink(place.path("outside"), &at).unwrap();
}
