//! What is looked at after each kind of change, and what ends in a walk.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use ftl_core::tree::RelPath;

use super::super::blob::Blobs;
use super::super::dir::{LOOKED_AT, open_root};
use super::super::seen::Seen;
use super::bench::{Bench, key, swap, watched};
use super::*;

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
fn a_file_with_a_key_is_read_again_when_it_changed_and_only_then() {
    let bench = watched();
    let (project, outside) = (bench.project(), bench.outside());
    let path = RelPath::new("a/key").unwrap();
    let is_outside = |after: &str| {
        let (kept, outside, _) = bench.take();
        assert_ne!(kept.contains_key(&path), outside.iter().any(|out| out.path == path), "{after}");
        !kept.contains_key(&path)
    };
    fs::write(project.join("a/key"), key()).unwrap();
    bench.check_without_walk("a key");
    let looked_at = LOOKED_AT.get();
    assert!(is_outside("nothing"));
    // The root, the rules of the repository, and the stamps of seven files that were read lately.
    assert_eq!(LOOKED_AT.get() - looked_at, 9);
    let edits: &[(&str, bool, &dyn Fn())] = &[
        ("the same length and time", false, &|| swap(&project.join("a/key")).unwrap()),
        ("the same once more", true, &|| swap(&project.join("a/key")).unwrap()),
        ("another time", true, &|| set_mtime(&project.join("a/key"), 5, 5)),
        ("another text", false, &|| fs::write(project.join("a/key"), "none").unwrap()),
        ("a key again", true, &|| fs::write(project.join("a/key"), key()).unwrap()),
        ("a move", true, &|| fs::rename(project.join("a/key"), project.join("a/b/key")).unwrap()),
        ("and back", true, &|| fs::rename(project.join("a/b/key"), project.join("a/key")).unwrap()),
        ("its directory away and back", true, &|| {
            fs::rename(project.join("a"), outside.join("a")).unwrap();
            fs::write(outside.join("a/b/f"), "written elsewhere").unwrap();
            fs::rename(outside.join("a"), project.join("a")).unwrap();
        }),
    ];
    for (what, stays_outside, edit) in edits {
        edit();
        bench.check_without_walk(what);
        let is_there = project.join("a/key").exists();
        assert_eq!(is_there && is_outside(what), *stays_outside && is_there, "{what}");
    }
    // By another name there is no event.
    fs::hard_link(project.join("a/key"), outside.join("twin")).unwrap();
    bench.check("another name");
    bench.warm();
    bench.check_without_walk("nothing more");
    swap(&outside.join("twin")).unwrap();
    bench.check_without_walk("a write by the other name");
    assert!(!is_outside("a write by the other name"));
}

#[test]
fn a_symbolic_link_with_two_names_is_looked_at_under_both() {
    let bench = watched();
    let project = bench.project();
    symlink("g", project.join("link")).unwrap();
    bench.check_without_walk("a link");
    fs::hard_link(project.join("link"), project.join("a/twin")).unwrap();
    bench.check("another name");
    for (name, time) in [("link", 5), ("a/twin", 6)] {
        set_mtime(&project.join(name), time, 5);
        bench.check_without_walk("a time under the other name");
    }
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
    let content = Hash::of(b"a/f");
    bench.blobs.packs.hide(content);
    write(&bench.project(), "f", "changed");
    bench.check("it was forgotten");
    bench.projects.park();
    bench.blobs.packs.hide(content);
    bench.take();
    assert!(bench.blobs.get(content).is_err());
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
        let stamp = super::super::index::Stamp { inode: u64::from(n) + 1, size: 7, mtime_ns: 1, ctime_ns: 1 };
        seen.put_file(path, 0o644, (stamp, Hash::of(&n.to_le_bytes())), LATER);
    }
    seen.tree.join(&ftl_core::tree::Tree::new());
    let each = resident().saturating_sub(before) / 200_000;
    assert!(each < 350, "{each} bytes for a file");
    assert_eq!(seen.tree.files(), 200_000);
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
