//! What is noted beside snapshots is that of the one taken last, however little is looked at.

use super::*;

/// The text of a snapshot's only file of rules.
fn rules(store: &LocalStore, id: SnapshotId) -> String {
    String::from_utf8(store.rules_bytes(id).unwrap()).unwrap()
}

#[test]
fn projects_with_equal_trees_note_the_rules_of_the_one_taken_last() {
    let place = Place::new();
    let (one, other) = (place.project(), place.path("other"));
    for (project, rule) in [(&one, "first"), (&other, "second")] {
        write(project, "f", "x");
        write(project, ".git/info/exclude", rule);
        set_mtime(&project.join("f"), 5, 5);
    }
    for _ in 0..3 {
        for (project, rule) in [(&one, "first"), (&other, "second")] {
            let id = place.store.take(project, LATER).unwrap().id;
            assert!(rules(&place.store, id).contains(rule));
        }
    }
    // Others change, and the tree does not.
    write(&other, ".git/info/exclude", "third");
    let id = place.store.take(&other, LATER).unwrap().id;
    assert!(rules(&place.store, id).contains("third"));
}

#[test]
fn notes_that_went_or_were_pulled_are_written_again() {
    let place = Place::new();
    write(&place.project(), "f", "x");
    write(&place.project(), ".git/info/exclude", "rule");
    let id = place.take().id;
    let path = place.path("store/rules").join(id.to_string());
    place.store.collect(false, &mut || Ok::<_, SnapshotError>(Needed::default())).unwrap();
    assert!(!path.exists());
    place.take();
    assert!(rules(&place.store, id).contains("rule"));
    fs::remove_file(&path).unwrap();
    place.take();
    assert!(rules(&place.store, id).contains("rule"));
    // What was pulled meanwhile is not what was taken.
    place.store.put_unread(id, Some(br#"["f"]"#)).unwrap();
    assert_eq!(place.take().id, id);
    assert!(place.store.unread(id).unwrap().is_empty());
    place.store.put_rules(id, b"[]").unwrap();
    place.take();
    assert!(rules(&place.store, id).contains("rule"));
}
