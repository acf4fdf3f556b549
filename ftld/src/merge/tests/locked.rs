//! What the file system itself keeps from being changed.

use std::process::Command;

use super::*;

/// Sets a mark, and lifts it again at the end.
struct Marked(PathBuf, &'static str);

impl Marked {
    fn new(at: PathBuf, flag: &'static str) -> Self {
        chattr(&format!("+{flag}"), &at);
        Self(at, flag)
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        chattr(&format!("-{}", self.1), &self.0);
    }
}

fn chattr(flag: &str, at: &Path) {
    let out = Command::new("chattr").arg(flag).arg(at).output().unwrap();
    assert!(out.status.success(), "as root, and TMPDIR where files have such marks: {out:?}");
}

#[test]
fn what_is_immutable_or_append_only_is_named_before_anything_is_written() {
    for (at, flag, word) in [
        ("edited", "i", "immutable"),
        ("edited", "a", "append-only"),
        ("d/gone", "i", "immutable"),
        ("mode", "i", "immutable"),
        // In a directory of which nothing goes, and into which nothing comes.
        ("d", "i", "immutable"),
        ("old/x", "a", "append-only"),
        ("", "i", "immutable"),
    ] {
        let place = Place::new();
        let old = place.nodes("project");
        let marked = Marked::new(place.project().join(at), flag);
        let error = place.apply_all().unwrap_err();
        let MergeError::Locked { path: named, mark, .. } = &error else { panic!("{at}: {error:?}") };
        assert_eq!(*mark, word);
        assert!(named.ends_with(if at.is_empty() { "project" } else { at }), "{error}");
        assert_eq!(place.nodes("project"), old, "{at}");
        assert_eq!(fs::read_dir(place.path("journals")).unwrap().count(), 0, "{at}");
        drop(marked);
        place.apply_all().unwrap();
        // Nor is it taken back halfway.
        let _marked = Marked::new(place.project().join("edited"), flag);
        let new = place.nodes("project");
        let error = place.merge().undo(&id(1), &id(2), &place.root(), &place.store).unwrap_err();
        assert!(matches!(error, MergeError::Locked { .. }), "{error}");
        assert_eq!(place.nodes("project"), new);
    }
}
