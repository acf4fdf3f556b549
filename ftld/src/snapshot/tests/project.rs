//! Snapshots of projects and the trees made from them.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use ftl_core::tree::{Node, RelPath};

use super::*;

#[test]
fn equal_trees_have_equal_ids_and_any_difference_another() {
    let place = Place::new();
    let project = place.project();
    write(&project, "a/b", "content");
    symlink("b", project.join("a/l")).unwrap();
    let (file, mtime) = (project.join("a/b"), 1_000_000);
    set_mtime(&file, mtime, 7);
    set_mtime(&project.join("a"), mtime, 7);
    // As soon after the change as can be: nothing but the content can be trusted.
    let now = || {
        let meta = file.metadata().unwrap();
        meta.ctime() * 1_000_000_000 + meta.ctime_nsec()
    };
    let first = place.store.take(&project, now()).unwrap();
    assert_eq!(place.store.take(&project, now()).unwrap().id, first.id);
    assert_eq!(place.reopened().take(&project, now()).unwrap().id, first.id);
    assert_eq!(
        (first.files, first.bytes, paths(&first.tree)),
        (1, 7, vec!["a".into(), "a/b".into(), "a/l".into()])
    );

    let edits: &[&dyn Fn()] = &[
        // The same size and time: only the content tells.
        &|| fs::write(&file, "CONTENT").unwrap(),
        &|| fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap(),
        &|| fs::remove_file(project.join("a/l")).unwrap(),
        &|| fs::create_dir(project.join("empty")).unwrap(),
        &|| set_mtime(&file, mtime + 1, 0),
    ];
    let mut ids = vec![first.id];
    for edit in edits {
        edit();
        for still in [&file, &project.join("a")] {
            if still.metadata().unwrap().mtime() != mtime + 1 {
                set_mtime(still, mtime, 7);
            }
        }
        let id = place.store.take(&project, now()).unwrap().id;
        assert!(!ids.contains(&id), "{ids:?}");
        ids.push(id);
    }
}

#[test]
fn what_the_index_vouches_for_is_not_read_again() {
    let place = Place::new();
    write(&place.project(), "a", "old");
    place.take();
    place.lose(b"old");
    write(&place.project(), "b", "new");
    place.take();
    assert!(!place.has(b"old"));
    assert!(place.has(b"new"));
    // A file that changed too shortly before its reading is read again.
    place.lose(b"new");
    place.store.park();
    let index = fs::read_dir(place.path("store/index")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(index).unwrap();
    let now = place.project().join("b").metadata().unwrap().mtime() * 1_000_000_000;
    place.store.take(&place.project(), now).unwrap();
    place.lose(b"new");
    place.store.take(&place.project(), now).unwrap();
    assert!(place.has(b"new"));
}

#[test]
fn every_path_that_stays_outside_is_named_with_its_rule() {
    let place = Place::new();
    let project = place.project();
    write(&project, ".gitignore", "target/\n*.log\n");
    write(&project, ".ftlignore", "!vendor/\n");
    write(&project, ".git/info/exclude", "scratch\n");
    write(&project, ".git/config", "[core]");
    write(&project, "a/.gitignore", "vendor/\n");
    for kept in ["a/vendor/x", "src/main.rs", "README"] {
        write(&project, kept, "");
    }
    for out in
        ["target/debug/x", "a/x.log", "scratch", ".env", "deploy/.ssh/id", "deploy/k.PEM", ".ftl/state"]
    {
        write(&project, out, "secret");
    }
    node(&project, "pipe", FileType::Fifo, 0);
    let _socket = UnixListener::bind(project.join("socket")).unwrap();
    let taken = place.take();
    let kept = [
        ".ftlignore",
        ".gitignore",
        "README",
        "a",
        "a/.gitignore",
        "a/vendor",
        "a/vendor/x",
        "deploy",
        "src",
        "src/main.rs",
    ];
    assert_eq!(paths(&taken.tree), kept);
    let mut seen: Vec<_> = taken
        .exclusions
        .iter()
        .map(|out| format!("{} {:?} {} {}", out.path, out.class, out.source, out.rule))
        .collect();
    seen.sort();
    let expected = [
        ".env Secret built in .env*",
        ".ftl BuiltIn built in .ftl",
        ".git BuiltIn built in .git",
        "a/x.log Ignored .gitignore *.log",
        "deploy/.ssh Secret built in .ssh/",
        "deploy/k.PEM Secret built in *.pem",
        "pipe Special built in a FIFO",
        "scratch Ignored .git/info/exclude scratch",
        "socket Special built in a socket",
        "target Ignored .gitignore target/",
    ];
    assert_eq!(seen, expected);
    assert!(!place.has(b"secret"));
}

#[test]
fn another_hard_link_of_a_secret_stays_outside() {
    let place = Place::new();
    let project = place.project();
    write(&project, "z/server.key", "secret");
    write(&project, "plain", "open");
    // One name is met before the secret's, one after.
    for name in ["a", "z/z"] {
        fs::hard_link(project.join("z/server.key"), project.join(name)).unwrap();
    }
    fs::hard_link(project.join("plain"), project.join("twin")).unwrap();
    let taken = place.take();
    assert_eq!(paths(&taken.tree), ["plain", "twin", "z"]);
    let seen: BTreeSet<_> = taken.exclusions.iter().map(|out| (out.path.to_string(), out.class)).collect();
    let expected = ["a", "z/server.key", "z/z"].map(|at| (at.to_owned(), Class::Secret));
    assert_eq!(seen, expected.into());
    assert!(!place.has(b"secret"));
}

#[test]
fn a_file_that_holds_a_private_key_stays_outside_at_every_snapshot() {
    let place = Place::new();
    let begin = format!("-----BEGIN {}-----", "RSA PRIVATE KEY");
    let key = format!("{begin}\nMIIEpAIBAAKCAQEA\n");
    write(&place.project(), "deploy.txt", &key);
    write(&place.project(), "reader.rs", format!("starts_with(\"{begin}\")"));
    for _ in 0..2 {
        let taken = place.take();
        assert_eq!(paths(&taken.tree), ["reader.rs"]);
        let out = taken.exclusions.iter().next().unwrap();
        assert_eq!((out.class, out.rule.as_str()), (Class::Secret, "holds a private key"));
        assert!(!place.has(key.as_bytes()));
    }
}

#[test]
fn links_are_kept_as_text_and_never_followed() {
    let place = Place::new();
    write(&place.path("outside"), "secret", "outside");
    symlink(place.path("outside"), place.project().join("dir")).unwrap();
    symlink(place.path("outside/secret"), place.project().join("file")).unwrap();
    symlink("/nowhere", place.project().join(".gitignore")).unwrap();
    let taken = place.take();
    assert!(taken.tree.values().all(|entry| matches!(entry.node, Node::Symlink { .. })));
    assert_eq!(paths(&taken.tree), [".gitignore", "dir", "file"]);
    assert!(!place.has(b"outside"));
}

#[test]
fn an_unreadable_file_is_reported_and_stops_nothing() {
    let place = Place::new();
    write(&place.project(), "open", "1");
    write(&place.project(), "closed", "2");
    write(&place.project(), "dir/inner", "3");
    for closed in ["closed", "dir"] {
        fs::set_permissions(place.project().join(closed), fs::Permissions::from_mode(0o0)).unwrap();
    }
    for open in [".", "project"] {
        fs::set_permissions(place.path(open), fs::Permissions::from_mode(0o777)).unwrap();
    }
    let taken = as_nobody(|| {
        let store = LocalStore::open(&place.path("theirs"), None).unwrap();
        store.take(&place.project(), LATER).unwrap()
    });
    assert_eq!(paths(&taken.tree), ["open"]);
    let mut seen: Vec<_> = taken.exclusions.iter().map(|out| (out.path.to_string(), out.class)).collect();
    seen.sort();
    assert_eq!(seen, [("closed".to_owned(), Class::Unreadable), ("dir".to_owned(), Class::Unreadable)]);
}

#[test]
fn a_base_tree_is_the_project_as_it_was() {
    let place = Place::new();
    let project = place.project();
    write(&project, b"a/odd\n\xff -name", "x");
    write(&project, "a/run", "#!".repeat(100_000));
    write(&project, "twin", "x");
    symlink("../nowhere", project.join("l")).unwrap();
    fs::set_permissions(project.join("a/run"), fs::Permissions::from_mode(0o751)).unwrap();
    for (at, time) in [("a/run", 1_000), ("l", -5), ("twin", 77), ("a", 123_456)] {
        set_mtime(&project.join(at), time, 999_999_999);
    }
    let (taken, base) = only(place.store.take_with_base(&project, LATER).unwrap());
    let again = LocalStore::open(&place.path("other"), None).unwrap().take(&base, LATER).unwrap();
    assert_eq!(taken.tree, again.tree);
    // What is large is not stored twice, and what the project writes later does not show.
    assert!(base.join("a/run").metadata().unwrap().nlink() > 1);
    write(&project, "twin", "later");
    assert_eq!(fs::read(base.join("twin")).unwrap(), b"x");
}

#[test]
fn a_damaged_base_tree_is_made_anew() {
    let place = Place::new();
    write(&place.project(), "d/a", "content");
    let (taken, base) = only(place.store.take_with_base(&place.project(), LATER).unwrap());
    let damages: &[&dyn Fn()] = &[
        &|| fs::remove_file(base.join("d/a")).unwrap(),
        &|| fs::write(base.join("d/more"), "").unwrap(),
        &|| fs::set_permissions(base.join("d/a"), fs::Permissions::from_mode(0o777)).unwrap(),
        &|| fs::remove_dir_all(&base).unwrap(),
    ];
    for damage in damages {
        damage();
        let store = place.reopened();
        assert_eq!(store.base(&place.project(), taken.id).unwrap().layers(), std::slice::from_ref(&base));
        assert_eq!(fs::read(base.join("d/a")).unwrap(), b"content");
        assert!(!base.join("d/more").exists());
    }
}

#[test]
fn a_content_that_a_power_cut_took_is_read_again_or_missed() {
    let place = Place::new();
    write(&place.project(), "a", "content");
    let taken = place.take();
    place.lose(b"content");
    assert!(matches!(place.store.base(&place.project(), taken.id), Err(SnapshotError::Missing { .. })));
    assert_eq!(place.store.restore(taken.id, &place.path("out")).unwrap().lost.len(), 1);
    let (_, base) = only(place.store.take_with_base(&place.project(), LATER).unwrap());
    assert_eq!(fs::read(base.join("a")).unwrap(), b"content");
}

#[test]
fn restoring_gives_the_same_tree_and_only_into_an_empty_place() {
    let place = Place::new();
    write(&place.project(), "a/b", "content");
    symlink("b", place.project().join("a/l")).unwrap();
    let taken = place.take();
    let target = place.path("restored");
    let restored = place.store.restore(taken.id, &target).unwrap();
    assert_eq!((restored.files, restored.bytes), (1, 7));
    assert_eq!(place.store.take(&target, LATER).unwrap().id, taken.id);
    assert_eq!(target.join("a/b").metadata().unwrap().nlink(), 1);
    assert!(matches!(place.store.restore(taken.id, &target), Err(SnapshotError::Occupied { .. })));
    symlink(place.path("elsewhere"), place.path("link")).unwrap();
    fs::create_dir(place.path("elsewhere")).unwrap();
    assert!(place.store.restore(taken.id, &place.path("link")).is_err());
    let nothing = SnapshotId(Hash::of(b"no manifest"));
    assert!(matches!(place.store.restore(nothing, &place.path("x")), Err(SnapshotError::Unknown { .. })));
}

#[test]
fn a_sparse_file_costs_what_it_holds() {
    let place = Place::new();
    sparse(&place.project().join("big"));
    let (taken, base) = only(place.store.take_with_base(&place.project(), LATER).unwrap());
    place.store.restore(taken.id, &place.path("restored")).unwrap();
    assert_eq!(taken.bytes, 2 << 30);
    for copy in [base.join("big"), place.path("restored/big")] {
        let meta = copy.metadata().unwrap();
        assert!(meta.len() == 2 << 30 && meta.blocks() * 512 < 1 << 20, "{} blocks", meta.blocks());
        let mut middle = [0; 13];
        let file = fs::File::open(copy).unwrap();
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut middle, 1 << 30).unwrap();
        assert_eq!(&middle, b"in the middle");
    }
    let big = RelPath::new("big").unwrap();
    let file = fs::File::open(place.project().join("big")).unwrap();
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).unwrap();
    assert_eq!(taken.tree.get(&big).unwrap().node.hash(), Some(Hash(*hasher.finalize().as_bytes())));
}

#[test]
fn many_snapshots_and_base_trees_at_once_are_one() {
    let place = Place::new();
    for n in 0..200 {
        write(&place.project(), format!("d{}/f{n}", n % 7), n.to_string());
    }
    let taken: Vec<_> = std::thread::scope(|scope| {
        let take = || only(place.store.take_with_base(&place.project(), LATER).unwrap());
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(taken.iter().all(|(one, base)| one.id == taken[0].0.id && base == &taken[0].1));
    assert_eq!(fs::read_dir(place.path("store/trees")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(place.path("store/tmp")).unwrap().count(), 0);
}

#[test]
fn trees_that_nothing_can_read_are_removed_and_nothing_they_link_to() {
    let place = Place::new();
    write(&place.path("outside"), "kept", "");
    fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    as_nobody(|| {
        let tree = place.path("tree");
        write(&tree, "a/b/c", "");
        symlink(place.path("outside"), tree.join("a/link")).unwrap();
        fs::set_permissions(tree.join("a/b"), fs::Permissions::from_mode(0o0)).unwrap();
        fs::set_permissions(tree.join("a"), fs::Permissions::from_mode(0o0)).unwrap();
        fs::create_dir(tree.join(".raised-1")).unwrap();
        // Deeper than any path can name.
        let mut at = rustix::fs::open(&tree, OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "deep", Mode::from_raw_mode(0o755)).unwrap();
            at = openat(&at, "deep", OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        remove_tree(&tree).unwrap();
    });
    assert!(place.path("outside/kept").exists());
}

#[test]
fn a_base_tree_belongs_to_whom_the_sandbox_runs_as() {
    if !rustix::process::geteuid().is_root() {
        return; // Only root can give files away.
    }
    let place = Place::new();
    let open = || LocalStore::open(&place.path("owned"), Some((1234, 2345))).unwrap();
    write(&place.project(), "d/a", "content");
    symlink("a", place.project().join("d/l")).unwrap();
    let (taken, base) = only(open().take_with_base(&place.project(), LATER).unwrap());
    let owned = |at: &str| {
        let meta = base.join(at).symlink_metadata().unwrap();
        (meta.uid(), meta.gid()) == (1234, 2345)
    };
    assert!(["", "d", "d/a", "d/l"].into_iter().all(owned));
    // One that belongs to someone else is made anew.
    std::os::unix::fs::chown(base.join("d"), Some(0), Some(0)).unwrap();
    open().base(&place.project(), taken.id).unwrap();
    assert!(["", "d", "d/a", "d/l"].into_iter().all(owned));
}

#[test]
fn ignore_files_that_hold_too_much_together_are_an_error_that_says_so() {
    let place = Place::new();
    let text = format!("# {}\nx\n", "note ".repeat(200_000));
    (0..16).for_each(|n| write(&place.project(), format!("d{n}/.gitignore"), &text));
    place.take();
    write(&place.project(), "d16/.gitignore", &text);
    let error = place.store.take(&place.project(), LATER).unwrap_err();
    assert_eq!(error.to_string(), "the project's ignore files hold more than 16 MiB together");
    fs::remove_file(place.project().join("d16/.gitignore")).unwrap();
    place.take();
}
