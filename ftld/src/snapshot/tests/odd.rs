//! Odd things in a project, and a project that changes while it is read.

use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use ftl_core::tree::{Node, RelPath};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::*;

const BIG: &str = "FTL_TEST_BIG";

fn now_ns() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// Does something again and again while `test` runs.
fn meanwhile(mut disturb: impl FnMut() + Send, test: impl FnOnce()) {
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let end = End(&ended);
        scope.spawn(|| {
            while !ended.load(Ordering::SeqCst) {
                disturb();
            }
        });
        test();
        drop(end);
    });
}

#[test]
fn a_file_that_is_written_while_it_is_read_is_never_a_mixture() {
    let place = Place::new();
    let path = place.project().join("busy");
    fs::write(&path, vec![0; 400_000]).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let (mut byte, busy) = (0u8, RelPath::new("busy").unwrap());
    let disturb = || {
        byte = byte.wrapping_add(1);
        for block in 0..4 {
            file.write_all_at(&[byte; 100_000], block * 100_000).unwrap();
        }
        std::thread::yield_now();
    };
    meanwhile(disturb, || {
        for _ in 0..40 {
            let taken = place.store.take(&place.project(), now_ns()).unwrap();
            let Some(entry) = taken.tree.get(&busy) else {
                let out = taken.exclusions.iter().find(|out| out.path == busy).unwrap();
                assert_eq!(
                    (out.class, out.rule.as_str()),
                    (Class::Unreadable, "it changed each time it was read")
                );
                continue;
            };
            let mut bytes = Vec::new();
            let mut content = place.store.open_blob(entry.node.hash().unwrap()).unwrap();
            io::Read::read_to_end(&mut content, &mut bytes).unwrap();
            // What the file was at some moment: a round's bytes, and those of the one before after them.
            bytes.dedup();
            let is_real = match bytes[..] {
                [_] => true,
                [new, old] => new == old.wrapping_add(1),
                _ => false,
            };
            assert!(is_real, "{bytes:?}");
        }
    });
}

#[test]
fn a_directory_that_becomes_a_link_while_it_is_walked_leads_nowhere() {
    let place = Place::new();
    let (project, outside) = (place.project(), place.path("outside"));
    for n in 0..20 {
        write(&project, format!("d/f{n}"), "inside");
        write(&outside, format!("f{n}"), "outside");
    }
    symlink(&outside, place.path("link")).unwrap();
    let (dir, link) = (project.join("d"), place.path("link"));
    let swap = || {
        use rustix::fs::{RenameFlags, renameat_with};
        renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE).unwrap();
    };
    let anew = LocalStore::open(&place.path("anew"), None).unwrap();
    meanwhile(swap, || {
        for round in 0..60 {
            // In part, and walked as a whole.
            let store = if round % 2 == 0 { &place.store } else { &anew };
            let taken = store.take(&project, now_ns()).unwrap();
            for (path, entry) in taken.tree.iter() {
                let is_ours = entry.node.hash().is_none_or(|hash| hash == Hash::of(b"inside"));
                assert!(is_ours, "{path}");
            }
            if round % 8 == 7 {
                anew.park();
            }
        }
    });
    for store in [&place.store, &anew] {
        assert!(store.open_blob(Hash::of(b"outside")).is_err());
    }
}

#[test]
fn files_that_are_replaced_while_they_are_walked_are_the_old_or_the_new() {
    let place = Place::new();
    let project = place.project();
    let states = ["first", "second, longer", "third"];
    let mut turn = 0;
    write(&project, "f", states[0]);
    let replace = || {
        turn += 1;
        match turn % 4 {
            0 => {
                let _ = fs::remove_file(project.join("f"));
                fs::create_dir(project.join("f")).unwrap();
                fs::remove_dir(project.join("f")).unwrap();
            }
            state => {
                fs::write(place.path("new"), states[state - 1]).unwrap();
                fs::rename(place.path("new"), project.join("f")).unwrap();
            }
        }
    };
    let path = RelPath::new("f").unwrap();
    meanwhile(replace, || {
        for _ in 0..100 {
            let taken = place.store.take(&project, now_ns()).unwrap();
            match taken.tree.get(&path).map(|entry| &entry.node) {
                None | Some(Node::Dir { .. }) => {}
                Some(node) => {
                    let hash = node.hash().unwrap();
                    assert!(states.iter().any(|state| Hash::of(state.as_bytes()) == hash));
                }
            }
        }
    });
}

#[test]
fn hard_links_are_stored_once_and_restored_as_files_of_their_own() {
    let place = Place::new();
    let content = vec![7; 300_000];
    write(&place.project(), "one", &content);
    for name in ["two", "three"] {
        fs::hard_link(place.project().join("one"), place.project().join(name)).unwrap();
    }
    let taken = place.take();
    assert_eq!((taken.files, taken.bytes, place.store.blobs.loose().unwrap().len()), (3, 900_000, 1));
    place.store.restore(taken.id, &place.path("out")).unwrap();
    for name in ["one", "two", "three"] {
        let path = place.path("out").join(name);
        assert_eq!((fs::read(&path).unwrap() == content, path.metadata().unwrap().nlink()), (true, 1));
    }
}

#[test]
fn what_becomes_unreadable_is_reported_and_what_becomes_readable_again_is_taken() {
    let place = Place::new();
    for open in [".", "project"] {
        fs::set_permissions(place.path(open), fs::Permissions::from_mode(0o777)).unwrap();
    }
    as_nobody(|| {
        let project = place.project();
        let store = LocalStore::open(&place.path("theirs"), None).unwrap();
        for at in ["f", "d/inner", "listed/inner", "entered/inner"] {
            write(&project, at, at);
        }
        let set = |modes: [u32; 4]| {
            for (at, mode) in ["f", "d", "listed", "entered"].into_iter().zip(modes) {
                fs::set_permissions(project.join(at), fs::Permissions::from_mode(mode)).unwrap();
            }
        };
        set([0o644, 0o755, 0o755, 0o755]);
        let before = store.take(&project, LATER).unwrap();
        store.projects.warm(&project);
        for _ in 0..2 {
            set([0, 0, 0o400, 0o100]);
            let taken = store.take(&project, LATER).unwrap();
            assert_eq!(paths(&taken.tree), Vec::<String>::new());
            let seen: Vec<_> = taken.exclusions.iter().map(|out| (out.path.to_string(), out.class)).collect();
            let expected = ["d", "entered", "f", "listed"].map(|at| (at.to_owned(), Class::Unreadable));
            assert_eq!(seen, expected);
            // It is known later, also to a daemon that comes next, that nothing of it is known to be gone.
            let unread: Vec<_> = expected.into_iter().map(|(at, _)| RelPath::new(at).unwrap()).collect();
            let known = LocalStore::open(&place.path("theirs"), None).unwrap().unread(taken.id).unwrap();
            assert_eq!(known.into_iter().collect::<Vec<_>>(), unread);
            set([0o644, 0o755, 0o755, 0o755]);
            assert_eq!(store.take(&project, LATER).unwrap().id, before.id);
            store.projects.warm(&project);
        }
    });
}

/// Takes and restores a snapshot with less memory than its file has bytes. Does nothing unless it is the child.
#[test]
fn the_child_with_little_memory() {
    let Some(dir) = std::env::var_os(BIG).map(PathBuf::from) else { return };
    let most = Some(1 << 30);
    setrlimit(Resource::As, Rlimit { current: most, maximum: most }).unwrap();
    assert!(Vec::<u8>::new().try_reserve_exact(2 << 30).is_err());
    let store = LocalStore::open(&dir.join("store"), None).unwrap();
    let (taken, base) = store.take_with_base(&dir.join("project"), LATER).unwrap();
    assert_eq!(taken.bytes, 2 << 30);
    assert_eq!(store.restore(taken.id, &dir.join("out")).unwrap().lost, []);
    let captured = store.capture(&dir.join("upper"), taken.id, &ftl_core::diff::SeenFiles::new()).unwrap();
    assert_eq!((captured.bytes, base.layers().len()), (2 << 30, 1));
}

#[test]
fn a_file_larger_than_memory_passes() {
    let place = Place::new();
    fs::create_dir(place.path("upper")).unwrap();
    sparse(&place.project().join("big"));
    sparse(&place.path("upper/big"));
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "snapshot::tests::odd::the_child_with_little_memory", "--test-threads=1"]);
    child.env(BIG, place.dir.path()).stdout(Stdio::null());
    assert!(child.status().unwrap().success());
    assert!(place.path("out/big").metadata().unwrap().blocks() * 512 < 1 << 20);
}
