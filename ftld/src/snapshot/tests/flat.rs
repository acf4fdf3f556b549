//! What is done for a task follows the change, not the project.

use ftl_core::diff::{SeenFiles, UpperNode};

use super::super::dir::LOOKED_AT;
use super::bench::key;
use super::*;

/// The steps of a task on a project of so many files: paths that are looked at by each.
fn steps(files: usize) -> Vec<(&'static str, u64)> {
    let place = Place::new();
    let project = place.project();
    for n in 0..files {
        write(&project, format!("src/module-{}/file-{n}", n / 100), format!("content {n}"));
    }
    for n in 0..files / 100 {
        write(&project, format!("src/module-{n}/test-key"), key());
        write(&project, format!("src/module-{n}/.env"), "TOKEN=1");
        write(&project, format!("src/module-{n}/.gitignore"), "*.log\n");
    }
    let (taken, _first) = place.store.take_with_base(&project, LATER).unwrap();
    while place.store.watching()[0].sweeping.is_some() {
        std::thread::yield_now();
    }
    // The walk at the end of the beginning is over.
    place.store.take_with_base(&project, LATER).unwrap();
    let mut counted = Vec::new();
    let mut last = LOOKED_AT.get();
    let mut step = |name| {
        let now = LOOKED_AT.get();
        counted.push((name, now - last));
        last = now;
    };
    let (again, _base) = place.store.take_with_base(&project, LATER).unwrap();
    assert_eq!(again.id, taken.id);
    step("snapshot and base, unchanged");
    let upper = place.path("upper");
    (0..5).for_each(|n| write(&upper, format!("src/module-{n}/file-{}", n * 100), "edited"));
    let captured = place.store.capture(&upper, taken.id, &SeenFiles::new()).unwrap();
    assert_eq!(captured.upper.values().filter(|node| matches!(node, UpperNode::File { .. })).count(), 5);
    step("work read");
    (0..5).for_each(|n| write(&project, format!("src/module-{n}/file-{}", n * 100), "edited"));
    let (after, base) = place.store.take_with_base(&project, LATER).unwrap();
    assert_eq!(base.layers().len(), 2);
    step("snapshot and base, 5 changed");
    assert_eq!(ftl_core::tree::changes(&taken.tree, &after.tree).len(), 5);
    remove_tree(&upper).unwrap();
    step("compared and discarded");
    counted
}

#[test]
fn a_task_on_a_large_project_looks_at_no_more_than_on_a_small_one() {
    let (small, large) = (steps(500), steps(4_000));
    assert_eq!(small, large);
    assert!(small.iter().all(|(_, paths)| *paths < 100), "{small:?}");
}
