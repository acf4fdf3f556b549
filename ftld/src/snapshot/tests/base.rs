//! Bases: layers that together show a snapshot.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use ftl_core::tree::{Entry, RelPath, Tree};
use proptest::prelude::*;

use super::super::base::FOLD_FROM;
use super::*;

/// What an overlay of these layers shows, the one on top first.
pub(super) fn shown(layers: &[PathBuf]) -> Tree {
    let mut tree = Tree::new();
    for layer in layers.iter().rev() {
        lay(layer, None, &mut tree);
    }
    tree
}

fn lay(layer: &Path, at: Option<&RelPath>, tree: &mut Tree) {
    let dir = at.map_or_else(|| layer.to_owned(), |at| layer.join(OsStr::from_bytes(at.as_bytes())));
    for item in fs::read_dir(dir).unwrap() {
        let item = item.unwrap();
        let path = RelPath::under(at, item.file_name().as_bytes()).unwrap();
        let meta = item.path().symlink_metadata().unwrap();
        let mtime_ns = meta.mtime() * 1_000_000_000 + meta.mtime_nsec();
        let mode = meta.permissions().mode() & 0o777;
        let node = if meta.file_type().is_char_device() {
            assert_eq!(meta.rdev(), 0);
            assert!(tree.remove(&path), "{path} hides nothing");
            continue;
        } else if meta.is_dir() {
            ftl_core::tree::Node::Dir { mode }
        } else if meta.is_symlink() {
            let target = fs::read_link(item.path()).unwrap().into_os_string();
            ftl_core::tree::Node::Symlink { target: target.as_bytes().to_vec() }
        } else {
            let content = fs::read(item.path()).unwrap();
            ftl_core::tree::Node::File {
                mode,
                size: content.len() as u64,
                hash: ftl_core::id::Hash::of(&content),
            }
        };
        tree.insert(&path, Entry { node, mtime_ns });
        if meta.is_dir() {
            lay(layer, Some(&path), tree);
        }
    }
}

fn filled(count: usize) -> Place {
    let place = Place::new();
    (0..count).for_each(|number| write(&place.project(), format!("d{}/f{number}", number % 5), "x"));
    place
}

#[test]
fn a_small_change_makes_a_small_layer() {
    let place = filled(40);
    write(&place.project(), "gone/x", "x");
    let (_, first) = only(place.store.take_with_base(&place.project(), LATER).unwrap());
    write(&place.project(), "d1/f1", "changed");
    write(&place.project(), "new/deep/file", "new");
    fs::remove_dir_all(place.project().join("gone")).unwrap();
    let (taken, base) = place.store.take_with_base(&place.project(), LATER).unwrap();
    let layers = base.layers();
    let [delta, below] = &layers[..] else { panic!("{layers:?}") };
    assert_eq!(*below, first);
    assert_eq!(shown(&layers), *taken.tree);
    let mut held: Vec<String> = Vec::new();
    let mut open = vec![delta.clone()];
    while let Some(dir) = open.pop() {
        for item in fs::read_dir(dir).unwrap().flatten() {
            held.push(item.path().strip_prefix(delta).unwrap().display().to_string());
            item.file_type().unwrap().is_dir().then(|| open.push(item.path()));
        }
    }
    held.sort();
    assert_eq!(held, ["d1", "d1/f1", "gone", "new", "new/deep", "new/deep/file"]);
}

#[test]
fn the_way_back_finds_the_base_that_is_there() {
    let place = filled(20);
    let (first, base) = only(place.store.take_with_base(&place.project(), LATER).unwrap());
    write(&place.project(), "d1/f1", "changed");
    place.store.take_with_base(&place.project(), LATER).unwrap();
    assert_eq!(place.store.base(&place.project(), first.id).unwrap().layers(), [base]);
}

#[test]
fn a_restarted_daemon_builds_on_the_whole_tree_that_is_there() {
    let place = filled(20);
    let (_, whole) = only(place.store.take_with_base(&place.project(), LATER).unwrap());
    write(&place.project(), "d1/f1", "changed");
    let store = place.reopened();
    let (taken, base) = store.take_with_base(&place.project(), LATER).unwrap();
    assert_eq!(base.layers()[1..], [whole]);
    assert_eq!(shown(&base.layers()), *taken.tree);
}

#[test]
fn many_layers_are_folded_and_only_those_in_use_stay() {
    let place = filled(40);
    let mut held = None;
    for round in 0..12 {
        write(&place.project(), "d1/f1", format!("round {round}"));
        let (taken, base) = place.store.take_with_base(&place.project(), LATER).unwrap();
        assert_eq!(shown(&base.layers()), *taken.tree, "{round}");
        if round == 2 {
            held = Some((taken, base));
        } else if place.store.is_untidy(&place.project()) {
            place.store.fold(&place.project(), taken.id, &Default::default()).unwrap();
            let folded = place.store.base(&place.project(), taken.id).unwrap();
            assert!(folded.layers().len() < FOLD_FROM, "{folded:?}");
            assert_eq!(shown(&folded.layers()), *taken.tree);
        }
    }
    let (taken, base) = held.take().unwrap();
    assert_eq!(shown(&base.layers()), *taken.tree, "a base in use is removed");
    let count = || {
        let of = |part: &str| fs::read_dir(place.path("store").join(part)).unwrap().count();
        of("trees") + of("deltas")
    };
    let before = count();
    drop(base);
    let last = place.take();
    place.store.fold(&place.project(), last.id, &Default::default()).unwrap();
    assert!(count() < before, "nothing is removed");
}

#[test]
fn what_has_to_stay_is_not_looked_through_at_every_start() {
    let place = filled(40);
    let (mut held, mut asked) = (Vec::new(), 0);
    for round in 0..64 {
        write(&place.project(), "d1/f1", format!("round {round}"));
        let (taken, base) = place.store.take_with_base(&place.project(), LATER).unwrap();
        let layers = place.store.base(&place.project(), taken.id).unwrap().layers().len();
        if place.store.is_untidy(&place.project()) {
            // What folds is another matter.
            asked += usize::from(layers < FOLD_FROM);
            place.store.fold(&place.project(), taken.id, &Default::default()).unwrap();
        }
        held.push((taken, base));
    }
    assert!(asked <= 6, "asked {asked} times");
    let (last, _) = held.pop().unwrap();
    drop(held);
    while !place.store.is_untidy(&place.project()) {
        write(&place.project(), "d1/f1", format!("{asked}"));
        asked += 1;
        place.store.take_with_base(&place.project(), LATER).unwrap();
        assert!(asked < 200, "never looked again");
    }
    let before = fs::read_dir(place.path("store/deltas")).unwrap().count();
    place.store.fold(&place.project(), last.id, &Default::default()).unwrap();
    assert!(fs::read_dir(place.path("store/deltas")).unwrap().count() < before);
}

#[test]
fn a_fold_leaves_the_layers_that_it_folds_to_those_who_have_them() {
    let place = filled(40);
    let (mut taken, mut base) = place.store.take_with_base(&place.project(), LATER).unwrap();
    for round in 1..FOLD_FROM {
        write(&place.project(), "d1/f1", format!("round {round}"));
        (taken, base) = place.store.take_with_base(&place.project(), LATER).unwrap();
    }
    assert_eq!(base.layers().len(), FOLD_FROM);
    place.store.fold(&place.project(), taken.id, &Default::default()).unwrap();
    assert_eq!(shown(&base.layers()), *taken.tree, "a layer of a base in use is gone");
    // Those who come later get the folded one, and build on it.
    assert_eq!(place.store.base(&place.project(), taken.id).unwrap().layers().len(), 1);
    write(&place.project(), "d1/f1", "after");
    let (next, over) = place.store.take_with_base(&place.project(), LATER).unwrap();
    assert_eq!(over.layers().len(), 2);
    assert_eq!(shown(&over.layers()), *next.tree);
}

#[test]
fn two_projects_that_are_equal_share_a_directory_and_neither_takes_it_from_the_other() {
    let place = filled(10);
    let twin = place.path("twin");
    let copied = std::process::Command::new("cp").arg("-a").args([&place.project(), &twin]).status();
    assert!(copied.unwrap().success());
    let (taken, ours) = place.store.take_with_base(&place.project(), LATER).unwrap();
    let (other, theirs) = place.store.take_with_base(&twin, LATER).unwrap();
    assert_eq!((taken.id, ours.layers()), (other.id, theirs.layers()));
    drop(theirs);
    for round in 0..8 {
        write(&twin, "d1/f1", format!("round {round}"));
        let (taken, _) = place.store.take_with_base(&twin, LATER).unwrap();
        place.store.fold(&twin, taken.id, &Default::default()).unwrap();
    }
    assert_eq!(shown(&ours.layers()), *taken.tree);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_edits_are_shown_by_the_layers(rounds in proptest::collection::vec(proptest::collection::vec((0u8..6, 0u8..8, 0u8..4), 1..5), 1..6)) {
        let place = filled(30);
        for edits in rounds {
            for (what, which, other) in edits {
                edit(&place.project(), what, which, other);
            }
            let (taken, base) = place.store.take_with_base(&place.project(), LATER).unwrap();
            prop_assert_eq!(shown(&base.layers()), (*taken.tree).clone());
        }
    }
}

fn edit(root: &Path, what: u8, which: u8, other: u8) {
    let path = root.join(format!("d{other}")).join(format!("f{which}"));
    let dir = root.join(format!("d{other}"));
    let clear = |path: &Path| match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    };
    if !dir.is_dir() && what != 4 {
        clear(&dir);
        fs::create_dir(&dir).unwrap();
    }
    match what {
        0 => {
            clear(&path);
            fs::write(&path, format!("{which}-{other}")).unwrap();
        }
        1 => clear(&path),
        2 => {
            clear(&path);
            symlink(format!("to-{other}"), &path).unwrap();
        }
        3 => {
            clear(&path);
            write(&path, "in/deep", "x");
        }
        4 => clear(&dir),
        _ => {
            clear(&dir);
            fs::write(&dir, "a file now").unwrap();
        }
    }
}
