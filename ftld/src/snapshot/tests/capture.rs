//! Upper layers as overlays leave them, and as hostile code would.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use ftl_core::diff::{SeenFiles, SpecialKind, UpperNode, between};
use ftl_core::tree::RelPath;
use rustix::fs::{XattrFlags, setxattr};
use rustix::thread::CapabilitySet;

use super::*;

/// A project with a snapshot, and an upper layer over it.
struct Work {
    place: Place,
    base: Taken,
    upper: PathBuf,
}

impl Work {
    fn over(files: &[(&str, &str)]) -> Self {
        let place = Place::new();
        for (at, content) in files {
            write(&place.project(), at, content);
        }
        let (base, upper) = (place.take(), place.path("upper"));
        fs::create_dir(&upper).unwrap();
        Self { place, base, upper }
    }

    fn capture(&self) -> Result<Captured, SnapshotError> {
        self.place.store.capture(&self.upper, self.base.id, &SeenFiles::new())
    }

    /// The changes, as `kind path`.
    fn changes(&self) -> Vec<String> {
        let captured = self.capture().unwrap();
        assert_eq!(captured.unread, []);
        let diff = between(&self.base.tree, &captured.upper, &|_, _| false);
        diff.changes.iter().map(|change| format!("{} {}", change.kind(false), change.path)).collect()
    }

    fn mark(&self, at: &str, name: &str, value: &[u8]) {
        setxattr(self.upper.join(at), name, value, XattrFlags::empty()).unwrap();
    }
}

#[test]
fn whiteouts_opaque_directories_and_copies_are_understood() {
    let work = Work::over(&[("a", "a"), ("b", "b"), ("d/x", "x"), ("d/y", "y"), ("e/z", "z"), ("same", "s")]);
    node(&work.upper, "a", FileType::CharacterDevice, 0);
    write(&work.upper, "b", "B");
    write(&work.upper, "d/x", "x");
    work.mark("d", "user.overlay.opaque", b"y");
    node(&work.upper, "e", FileType::CharacterDevice, 0);
    write(&work.upper, "same", "s");
    write(&work.upper, "new/n", "n");
    for harmless in ["impure", "origin", "nlink", "uuid", "protattr"] {
        work.mark("new", &format!("user.overlay.{harmless}"), b"y");
    }
    work.mark("new/n", "user.comment", b"not an overlay's");
    let expected =
        ["deleted a", "modified b", "deleted d/y", "deleted e", "deleted e/z", "added new", "added new/n"];
    assert_eq!(work.changes(), expected);
}

#[test]
fn what_has_odd_metadata_is_refused_and_the_rest_is_not() {
    let is_root = rustix::process::geteuid().is_root();
    for (at, name, value, kind) in [
        ("d", "user.overlay.redirect", &b"/etc"[..], SpecialKind::Redirected),
        ("d", "user.overlay.opaque", b"x", SpecialKind::OddlyHiding),
        ("d", "user.overlay.opaque", b"much too long", SpecialKind::OddlyHiding),
        ("d", "user.overlay.whiteouts", b"y", SpecialKind::OddlyHiding),
        ("d/f", "user.overlay.metacopy", b"", SpecialKind::ContentElsewhere),
        ("d/f", "user.overlay.whiteout", b"y", SpecialKind::OddlyHiding),
        ("d/f", "user.overlay.opaque", b"y", SpecialKind::OddlyHiding),
        ("d/f", "user.overlay.unheard-of", b"y", SpecialKind::OddlyMarked),
        ("d", "trusted.overlay.redirect", b"/etc", SpecialKind::OddlyMarked),
    ] {
        if name.starts_with("trusted.") && !is_root {
            continue; // Only root can set it.
        }
        let work = Work::over(&[("d/f", "f"), ("d/g", "g"), ("other", "o")]);
        write(&work.upper, "d/f", "new");
        write(&work.upper, "other", "new");
        work.mark(at, name, value);
        // Nothing beneath it is taken as gone, and nothing of it is offered.
        assert_eq!(work.changes(), [format!("refused {at}"), "modified other".to_owned()], "{name}");
        let upper = work.capture().unwrap().upper;
        assert_eq!(upper[&RelPath::new(at).unwrap()], UpperNode::Special(kind), "{name}");
        let shown = ftl_core::stack::shown(&work.base.tree, &upper, 0);
        for path in ["d/f", "d/g"].map(|path| RelPath::new(path).unwrap()) {
            assert_eq!(shown.get(&path), work.base.tree.get(&path), "{name}");
        }
    }
    let work = Work::over(&[]);
    setxattr(&work.upper, "user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    assert!(work.capture().is_err());
}

#[test]
fn a_hostile_layer_is_read_as_it_is() {
    let work = Work::over(&[("f", "f"), (".gitignore", "build/\n*.o\n")]);
    let upper = &work.upper;
    node(upper, "pipe", FileType::Fifo, 0);
    let devices = rustix::process::geteuid().is_root(); // Only root can make them.
    if devices {
        node(upper, "null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
        node(upper, "disk", FileType::BlockDevice, rustix::fs::makedev(7, 0));
    }
    let _socket = UnixListener::bind(upper.join("socket")).unwrap();
    write(upper, "setuid", "");
    fs::set_permissions(upper.join("setuid"), fs::Permissions::from_mode(0o4755)).unwrap();
    symlink("/etc/passwd", upper.join("passwd")).unwrap();
    symlink("..", upper.join("up")).unwrap();
    write(upper, ".git/hooks/post-checkout", "#!/bin/sh");
    write(upper, b"new\nline", "1");
    write(upper, b"esc\x1b[2J", "2");
    write(upper, b"\xff\xfe", "3");
    write(upper, "-rf", "4");
    fs::hard_link(upper.join("-rf"), upper.join("hard")).unwrap();
    write(upper, "build/deep/a", "left out");
    write(upper, "b.o", "left out");
    // What the agent writes into the rules decides nothing.
    write(upper, ".gitignore", "*\n");
    let expected = [
        "added -rf",
        "refused .git",
        "modified .gitignore",
        "refused disk",
        r"added esc\x1b[2J",
        "added hard",
        r"added new\nline",
        "refused null",
        "refused passwd",
        "refused pipe",
        "refused setuid",
        "refused socket",
        "refused up",
        r"added \xff\xfe",
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .filter(|at| devices || !at.ends_with(" disk") && !at.ends_with(" null"))
        .collect();
    assert_eq!(work.changes(), expected);
    let captured = work.capture().unwrap();
    assert_eq!(captured.ignored.len(), 2);
    assert!(work.place.store.open_blob(Hash::of(b"left out")).is_err());
    assert!(work.place.store.open_blob(Hash::of(b"#!/bin/sh")).is_ok());
}

#[test]
fn what_the_agent_made_unreadable_is_read_and_left_unreadable() {
    let work = Work::over(&[]);
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(work.place.dir.path(), open.clone()).unwrap();
    fs::set_permissions(&work.upper, open).unwrap();
    let captured = as_nobody(|| {
        let store = LocalStore::open(&work.place.path("theirs"), None).unwrap();
        let (project, upper) = (work.place.path("their-project"), work.place.path("upper/theirs"));
        fs::create_dir(&project).unwrap();
        let id = store.take(&project, LATER).unwrap().id;
        write(&upper, "d/e/f", "closed");
        write(&upper, "listed/f", "x");
        for (at, mode) in [("d/e/f", 0), ("d/e", 0), ("d", 0o300), ("listed", 0o600)] {
            fs::set_permissions(upper.join(at), fs::Permissions::from_mode(mode)).unwrap();
        }
        let captured = store.capture(&upper, id, &SeenFiles::new()).unwrap();
        assert!(fs::read_dir(upper.join("d")).is_err());
        assert!(fs::read(upper.join("listed/f")).is_err());
        captured
    });
    for (at, mode) in [("d", 0o300), ("d/e", 0), ("d/e/f", 0), ("listed", 0o600)] {
        let at = work.upper.join("theirs").join(at);
        assert_eq!(at.metadata().unwrap().mode() & 0o7777, mode, "{}", at.display());
        fs::set_permissions(at, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let seen = between(&Default::default(), &captured.upper, &|_, _| false);
    let modes = seen.changes.iter().map(|change| (change.path.to_string(), change.result().unwrap().mode()));
    let modes: Vec<_> = modes.collect();
    let expected = [("d", 0o300), ("d/e", 0), ("d/e/f", 0), ("listed", 0o600), ("listed/f", 0o644)];
    assert_eq!(modes, expected.map(|(at, mode)| (at.to_owned(), mode)));
}

#[test]
fn sparse_files_and_paths_too_long_do_no_harm() {
    let work = Work::over(&[]);
    sparse(&work.upper.join("big"));
    let mut at = rustix::fs::open(&work.upper, OFlags::DIRECTORY, Mode::empty()).unwrap();
    let name = "n".repeat(200);
    for _ in 0..40 {
        rustix::fs::mkdirat(&at, &name, Mode::from_raw_mode(0o755)).unwrap();
        at = openat(&at, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let captured = work.capture().unwrap();
    assert_eq!((captured.bytes, captured.unread.len()), (2 << 30, 1));
    let UpperNode::File { hash, .. } = captured.upper[&RelPath::new("big").unwrap()] else {
        panic!("no file")
    };
    let blob = work.place.store.open_blob(hash).unwrap();
    assert_eq!(blob.size().unwrap(), 2 << 30);
    assert!(work.place.store.blobs.path(hash).metadata().unwrap().blocks() * 512 < 1 << 20);
    remove_tree(&work.upper).unwrap();
}

#[test]
fn a_layer_that_is_not_there_is_an_error_and_never_no_changes() {
    let work = Work::over(&[]);
    fs::remove_dir(&work.upper).unwrap();
    assert!(matches!(work.capture(), Err(SnapshotError::Io { .. })));
    let unknown = SnapshotId(Hash::of(b"?"));
    fs::create_dir(&work.upper).unwrap();
    assert!(work.place.store.capture(&work.upper, unknown, &SeenFiles::new()).is_err());
}

#[test]
fn a_layer_of_more_paths_than_are_reviewed_is_an_error_that_says_so() {
    let work = Work::over(&[("a", "a")]);
    write(&work.upper, "d/x", "x");
    write(&work.upper, "d/y", "y");
    let most = |most| {
        let store = &work.place.store;
        let (base, mut rules) = (&work.base.tree, store.rules(work.base.id).unwrap());
        super::super::capture::capture(&work.upper, base, &mut rules, &store.blobs, most)
    };
    assert_eq!(most(3).unwrap().upper.len(), 3);
    let error = most(2).unwrap_err();
    assert_eq!(error.to_string(), "the session made or changed more than 2 paths");
}

/// Lets this thread, which is the test's own, into no directory that its owner closed.
fn obey_modes() {
    let mut sets = rustix::thread::capabilities(None).unwrap();
    sets.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    rustix::thread::set_capabilities(None, sets).unwrap();
}

#[test]
fn a_layer_whose_root_the_sandbox_closed_is_read_folded_and_copied() {
    obey_modes();
    let work = Work::over(&[("a", "a")]);
    write(&work.upper, "new", "n");
    let mode = || fs::metadata(&work.upper).unwrap().mode() & 0o7777;
    for closed in [0o000, 0o300, 0o400] {
        fs::set_permissions(&work.upper, fs::Permissions::from_mode(closed)).unwrap();
        assert_eq!(work.changes(), ["added new"]);
        assert_eq!(mode(), closed);
        let [folded, copied] =
            ["folded", "copied"].map(|name| work.place.path(&format!("{name}-{closed:o}")));
        fold::fold(&[&work.upper], &folded).unwrap();
        assert_eq!((fs::read(folded.join("new")).unwrap(), mode()), (b"n".to_vec(), closed));
        copy(&work.upper, &copied).unwrap();
        assert_eq!((fs::metadata(&copied).unwrap().mode() & 0o7777, mode()), (closed, closed));
    }
    fs::set_permissions(&work.upper, fs::Permissions::from_mode(0o700)).unwrap();
}
