//! Collections: what is needed stays, whatever happens beside them.

use std::sync::atomic::{AtomicBool, Ordering};

use ftl_core::tree::RelPath;

use super::*;

/// Collects with these snapshots and contents needed.
fn collect(store: &LocalStore, dry_run: bool, needed: &Needed) -> Collected {
    store.collect(dry_run, &mut || Ok::<_, SnapshotError>(needed.clone())).unwrap()
}

fn of(snapshots: &[SnapshotId]) -> Needed {
    Needed { snapshots: snapshots.iter().copied().collect(), ..Needed::default() }
}

fn noise(seed: u32, blocks: u32) -> Vec<u8> {
    (0..blocks).flat_map(|n| Hash::of(&(u64::from(seed) << 32 | u64::from(n)).to_le_bytes()).0).collect()
}

#[test]
fn a_listing_that_outlived_what_it_names_vouches_for_nothing() {
    let place = Place::new();
    write(&place.project(), "d/sub/f", "content");
    write(&place.project(), "other", "x");
    let with = place.take();
    let inner = with.tree.dir(Some(&RelPath::new("d/sub").unwrap())).unwrap().hash();
    fs::rename(place.project().join("d"), place.path("aside")).unwrap();
    let without = place.take();
    collect(&place.store, false, &Needed { indexed: true, ..of(&[without.id]) });
    // What of a pack is rewritten is a matter of its size; the listing above may well stay.
    place.store.blobs.packs.hide(inner);
    fs::rename(place.path("aside"), place.project().join("d")).unwrap();
    let again = place.take();
    lock(&place.store.trees).clear();
    assert_eq!(*place.store.tree(again.id).unwrap(), *again.tree);
}

#[test]
fn what_is_needed_stays_and_the_rest_goes() {
    let place = Place::new();
    let root = place.project();
    write(&root, "shared", noise(1, 10));
    write(&root, "d/small", noise(2, 500));
    write(&root, "d/large", noise(3, 10_000));
    let (first, base) = only(place.store.take_with_base(&root, LATER).unwrap());
    // Somebody who watches could read a file between two of its writes, and store what is needed by nobody.
    place.store.park();
    write(&root, "d/small", noise(4, 500));
    write(&root, "d/large", noise(5, 10_000));
    let (second, _) = place.store.take_with_base(&root, LATER).unwrap();
    place.store.put_captured(&noise(6, 100)).unwrap();
    let kept = place.store.put_captured(&noise(7, 100)).unwrap();

    let needed = Needed { contents: [kept].into(), indexed: true, ..of(&[second.id]) };
    let would = collect(&place.store, true, &needed);
    assert!(place.has(noise(2, 500)) && place.has(noise(3, 10_000)) && base.exists());
    let done = collect(&place.store, false, &needed);
    assert_eq!(would, done);
    // The old listings of the root and of `d`, three contents; the last base trees stay to be built on.
    assert_eq!((done.gone.contents, done.trees.contents, done.lost), (5, 0, 0));
    assert!(done.gone.bytes > 330_000 && done.gone.bytes < 400_000, "{done:?}");
    for store in [&place.store, &place.reopened()] {
        assert!(store.tree(first.id).is_err());
        for gone in [noise(2, 500), noise(3, 10_000), noise(6, 100)] {
            assert!(store.open_blob(Hash::of(&gone)).is_err());
        }
        assert_eq!(store.verify(&needed, &mut |_, _| {}).unwrap().damage, []);
    }
    assert!(base.exists() && place.path("store/rules").join(second.id.to_string()).exists());
    assert!(!place.path("store/rules").join(first.id.to_string()).exists());
    // Again there is nothing.
    assert_eq!(collect(&place.store, false, &needed), Collected::default());
    // What the project still has costs no reading: the index vouches for it.
    assert_eq!(place.take().id, second.id);
    let done = collect(&place.store, false, &Needed { indexed: false, ..needed });
    assert!(done.trees.contents > 0 && !base.exists());
}

#[test]
fn after_everything_went_the_next_snapshot_stores_everything() {
    let place = Place::new();
    write(&place.project(), "d/a", noise(1, 10));
    write(&place.project(), "large", noise(2, 10_000));
    let taken = place.take();
    collect(&place.store, false, &Needed::default());
    assert!(!place.has(noise(1, 10)) && place.store.tree(taken.id).is_err());
    for store in [&place.store, &place.reopened()] {
        let again = store.take(&place.project(), LATER).unwrap();
        assert_eq!(again.id, taken.id);
        assert_eq!(store.restore(taken.id, &place.path("out")).unwrap().lost, []);
        fs::remove_dir_all(place.path("out")).unwrap();
        collect(store, false, &Needed::default());
    }
}

#[test]
fn a_listing_that_is_lost_is_counted_and_stops_nothing() {
    let place = Place::new();
    write(&place.project(), "d/a", "a");
    write(&place.project(), "b", "b");
    let taken = place.take();
    let dir = ftl_core::tree::RelPath::new("d").unwrap();
    place.store.blobs.packs.hide(taken.tree.dir(Some(&dir)).unwrap().hash());
    assert_eq!(collect(&place.store, false, &of(&[taken.id])).lost, 1);
    assert!(place.has("b"));
}

#[test]
fn snapshots_and_captures_beside_collections_lose_nothing() {
    let place = Place::new();
    let root = place.project();
    for n in 0..40 {
        write(&root, format!("d{}/f{n}", n % 5), noise(n, 20));
    }
    let (roots, over) = (std::sync::Mutex::new(Needed::default()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let mut needed = || Ok::<_, SnapshotError>(roots.lock().unwrap().clone());
                place.store.collect(false, &mut needed).unwrap();
            }
        });
        let work = scope.spawn(|| {
            for round in 0..25u32 {
                // The same contents come and go.
                let lease = place.store.lease();
                let hash = place.store.put_captured(&noise(round % 3, 30)).unwrap();
                roots.lock().unwrap().contents = [hash].into();
                drop(lease);
                place.store.open_blob(hash).unwrap();
            }
        });
        for round in 0..15u32 {
            write(&root, format!("d{}/f{}", round % 5, round % 5), noise(100 + round % 3, 20));
            let lease = place.store.lease();
            let taken = place.store.take(&root, LATER).unwrap();
            roots.lock().unwrap().snapshots = [taken.id].into();
            drop(lease);
            let out = place.path(&format!("out{round}"));
            let restored = place.store.restore(taken.id, &out).unwrap();
            assert_eq!((restored.files, restored.lost), (40, vec![]), "round {round}");
        }
        work.join().unwrap();
        over.store(true, Ordering::SeqCst);
    });
    let needed = roots.into_inner().unwrap();
    assert_eq!(place.reopened().verify(&needed, &mut |_, _| {}).unwrap().damage, []);
}
