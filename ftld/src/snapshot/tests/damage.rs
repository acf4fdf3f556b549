//! A store that lost something: it says what, gives back the rest, and heals.

use ftl_core::tree::RelPath;

use super::*;

/// Larger than what goes into a pack.
fn large() -> Vec<u8> {
    (0..6000u32).flat_map(|n| Hash::of(&n.to_le_bytes()).0).collect()
}

fn project(place: &Place) -> Taken {
    let root = place.project();
    write(&root, "a/small", "small content");
    write(&root, "a/same", "small content");
    write(&root, "b/c/large", large());
    write(&root, "b/other", "other content");
    place.take()
}

fn needed(taken: &Taken) -> Needed {
    Needed { snapshots: [taken.id].into(), ..Needed::default() }
}

/// Changes the bytes of a record in the only pack.
fn hit(place: &Place, hash: Hash) {
    let mut bytes = fs::read(place.pack()).unwrap();
    let at = bytes.windows(32).position(|window| window == hash.0).unwrap();
    bytes[at + 45] ^= 0x10;
    fs::write(place.pack(), bytes).unwrap();
}

fn places(checked: &Checked) -> Vec<(bool, Vec<String>)> {
    let shown = |lost: &Lost| lost.path.as_ref().map_or_else(|| ".".to_owned(), ToString::to_string);
    let of = |damage: &Damage| damage.places.iter().map(|(_, lost)| shown(lost)).collect();
    let mut all: Vec<_> = checked.damage.iter().map(|damage| (damage.damaged, of(damage))).collect();
    all.sort();
    all
}

fn strings(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

#[test]
fn a_sound_store_is_read_as_a_whole_and_progress_is_told() {
    let place = Place::new();
    let taken = project(&place);
    let mut last = (0, 0);
    let checked = place.store.verify(&needed(&taken), &mut |done, total| last = (done, total)).unwrap();
    // Three contents, four listings.
    assert_eq!((checked.contents, checked.damage), (7, vec![]));
    assert!(last.0 > 190_000 && last.0 <= last.1, "{last:?}");
}

#[test]
fn damage_is_named_with_its_paths_and_the_next_snapshot_heals_it() {
    let place = Place::new();
    let taken = project(&place);
    hit(&place, Hash::of(b"small content"));
    let inner = taken.tree.dir(Some(&RelPath::new("b/c").unwrap())).unwrap().hash();
    hit(&place, inner);
    let file = place.store.blobs.path(Hash::of(&large()));
    let mut bytes = fs::read(&file).unwrap();
    bytes[100_000] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let store = place.reopened();
    let checked = store.verify(&needed(&taken), &mut |_, _| {}).unwrap();
    // The newest pack is read when it is opened; what is damaged in it is not there any more.
    let expected =
        [(false, strings(&["a/same", "a/small"])), (false, strings(&["b/c"])), (true, strings(&[]))];
    assert_eq!(places(&checked), expected);

    // What is intact comes back, and what does not is listed.
    let restored = store.restore(taken.id, &place.path("out")).unwrap();
    let lost: Vec<_> = restored.lost.iter().map(|lost| lost.path.as_ref().unwrap().to_string()).collect();
    assert_eq!((lost, restored.files), (strings(&["a/same", "a/small", "b/c"]), 1));
    assert_eq!(fs::read(place.path("out/b/other")).unwrap(), b"other content");
    assert!(!place.path("out/a/small").exists());

    let again = store.take(&place.project(), LATER).unwrap();
    assert_eq!(again.id, taken.id);
    let checked = store.verify(&needed(&taken), &mut |_, _| {}).unwrap();
    assert_eq!(places(&checked), []);
    let restored = place.reopened().restore(taken.id, &place.path("whole")).unwrap();
    assert_eq!((restored.files, restored.lost), (4, vec![]));
}

#[test]
fn damage_that_is_seen_when_the_store_is_opened_is_healed_by_the_next_snapshot() {
    let place = Place::new();
    let taken = project(&place);
    hit(&place, Hash::of(b"small content"));
    let store = place.reopened();
    assert!(store.open_blob(Hash::of(b"small content")).is_err());
    assert_eq!(store.take(&place.project(), LATER).unwrap().id, taken.id);
    assert!(store.open_blob(Hash::of(b"small content")).is_ok());
}

#[test]
fn a_large_file_that_is_damaged_is_not_restored_as_if_it_were_not() {
    let place = Place::new();
    let taken = project(&place);
    let file = place.store.blobs.path(Hash::of(&large()));
    let mut bytes = fs::read(&file).unwrap();
    bytes[100_000] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let restored = place.store.restore(taken.id, &place.path("out")).unwrap();
    assert_eq!(restored.lost, [Lost { path: RelPath::new("b/c/large").ok(), hash: Hash::of(&large()) }]);
    assert!(!place.path("out/b/c/large").exists());
    // It is kept for whoever wants to look at it once it is known to be damaged.
    place.store.verify(&needed(&taken), &mut |_, _| {}).unwrap();
    assert_eq!(fs::read(place.path("store/damaged").join(Hash::of(&large()).to_hex())).unwrap(), bytes);
}

#[test]
fn what_is_missing_without_a_trace_is_named_too() {
    let place = Place::new();
    let taken = project(&place);
    place.lose("other content");
    place.lose(large());
    let checked = place.store.verify(&needed(&taken), &mut |_, _| {}).unwrap();
    assert_eq!(places(&checked), [(false, strings(&["b/c/large"])), (false, strings(&["b/other"]))]);
    let work = Needed { contents: [Hash::of(b"captured")].into(), ..Needed::default() };
    let checked = place.store.verify(&work, &mut |_, _| {}).unwrap();
    assert_eq!(places(&checked), [(false, vec![])]);
    let nothing = Needed { snapshots: [SnapshotId(Hash::of(b"none"))].into(), ..Needed::default() };
    assert_eq!(places(&place.store.verify(&nothing, &mut |_, _| {}).unwrap()), [(false, strings(&["."]))]);
}

#[test]
fn a_content_found_damaged_by_its_reader_is_stored_again_by_the_next_snapshot() {
    let place = Place::new();
    let taken = project(&place);
    hit(&place, Hash::of(b"other content"));
    let error = place.store.open_blob(Hash::of(b"other content")).unwrap_err();
    assert!(matches!(error, SnapshotError::Damaged { .. }), "{error}");
    let (again, base) = only(place.store.take_with_base(&place.project(), LATER).unwrap());
    assert_eq!(again.id, taken.id);
    assert_eq!(fs::read(base.join("b/other")).unwrap(), b"other content");
}
