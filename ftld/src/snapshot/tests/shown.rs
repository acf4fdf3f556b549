//! A session's own layer: files that a workspace shows beside the base.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use ftl_core::diff::between_seen;
use ftl_core::tree::{Node, RelPath};

use super::*;
use crate::snapshot::SeenFile;

fn seen(at: &str, text: &str, mode: u32) -> SeenFile {
    SeenFile { path: RelPath::new(at).unwrap(), bytes: text.into(), mode, mtime_ns: 1_000_000_007 }
}

#[test]
fn a_layer_has_its_files_and_the_directories_of_the_base_on_the_way() {
    let place = Place::new();
    write(&place.project(), "a/b/x", "x");
    write(&place.project(), "c/y", "y");
    let deep = place.project().join("a/b");
    fs::set_permissions(&deep, fs::Permissions::from_mode(0o750)).unwrap();
    let taken = place.take();
    let layer = place.path("seen");
    let write = |files: &[SeenFile]| place.store.write_seen(taken.id, files, &layer, None).unwrap();
    write(&[seen("old/.env", "gone", 0o644)][..0]);
    assert_eq!(fs::read_dir(&layer).unwrap().count(), 0);
    write(&[seen(".env", "A=1\n", 0o600), seen("a/b/.env", "B=2\n", 0o440)]);
    let meta = |at: &str| layer.join(at).symlink_metadata().unwrap();
    for (at, mode) in [(".env", 0o600), ("a/b/.env", 0o440), ("a/b", 0o750)] {
        assert_eq!(meta(at).mode() & 0o7777, mode, "{at}");
    }
    assert_eq!((meta(".env").mtime(), meta(".env").mtime_nsec()), (1, 7));
    let of_project = deep.symlink_metadata().unwrap();
    assert_eq!(
        (meta("a/b").mtime(), meta("a/b").mtime_nsec()),
        (of_project.mtime(), of_project.mtime_nsec())
    );
    assert!(!layer.join("c").exists() && !layer.join("a/b/x").exists());

    let files = place.store.read_seen(&layer).unwrap();
    let node =
        |text: &str, mode| Node::File { mode, size: text.len() as u64, hash: Hash::of(text.as_bytes()) };
    let expected = [(".env", node("A=1\n", 0o600)), ("a/b/.env", node("B=2\n", 0o440))];
    assert_eq!(files, expected.map(|(at, node)| (RelPath::new(at).unwrap(), node)).into());
    // The next turn has another one, in the same directory: a sandbox may have it mounted already.
    let mounted = fs::File::open(&layer).unwrap();
    write(&[seen("a/.env", "C=3\n", 0o644)]);
    let same = |meta: fs::Metadata| (meta.dev(), meta.ino());
    assert_eq!(same(mounted.metadata().unwrap()), same(fs::metadata(&layer).unwrap()));
    let files = place.store.read_seen(&layer).unwrap();
    assert_eq!(files.keys().map(ToString::to_string).collect::<Vec<_>>(), ["a/.env"]);
    assert!(place.store.read_seen(&place.path("none")).unwrap().is_empty());
}

#[test]
fn what_an_ignore_file_names_is_still_told_when_the_workspace_showed_it() {
    let place = Place::new();
    write(&place.project(), ".gitignore", ".env\n*.log\n");
    write(&place.project(), ".env", "A=1\n");
    let (taken, layer, upper) = (place.take(), place.path("seen"), place.path("upper"));
    fs::create_dir(&upper).unwrap();
    place.store.write_seen(taken.id, &[seen(".env", "A=1\n", 0o644)], &layer, None).unwrap();
    let files = place.store.read_seen(&layer).unwrap();
    write(&upper, ".env", "A=2\n");
    write(&upper, "x.log", "");
    let captured = place.store.capture(&upper, taken.id, &files).unwrap();
    assert_eq!(captured.ignored.len(), 1);
    let changes = between_seen(&taken.tree, &files, &captured.upper, &|_, _| false).changes;
    let told: Vec<String> =
        changes.iter().map(|change| format!("{} {}", change.kind(false), change.path)).collect();
    assert_eq!(told, ["refused .env"]);
}
