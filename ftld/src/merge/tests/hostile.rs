//! A project that changes under the engine's hands. Nothing outside it may ever change.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};

use super::*;

#[test]
fn a_directory_that_became_a_link_after_planning_is_not_followed() {
    for (kind, number) in KINDS.into_iter().flat_map(|kind| (0..3).map(move |number| (kind, number))) {
        let place = Place::of(kind);
        let at = place.dirs()[number];
        let approval = place.approve(&[]);
        let plan = place.plan(&approval);
        swap_dir(&place, at);
        let refused = place.carry_out(&place.merge(), 1, (&plan, &approval), &place.store);
        assert!(matches!(refused, Err(MergeError::Changed(_))), "{kind:?} {at}: {refused:?}");
        place.assert_outside_untouched();
        // Planning sees it too.
        assert!(ftl_core::merge::plan(&approval, &place.look(&approval).unwrap()).is_err());
    }
}

#[test]
fn a_directory_that_becomes_a_link_between_check_and_write_is_not_followed() {
    for (kind, stop) in KINDS.into_iter().flat_map(|kind| (0..12).map(move |stop| (kind, stop))) {
        let place = std::sync::Arc::new(Place::of(kind));
        let approval = place.approve(&[]);
        let plan = place.plan(&approval);
        let theirs = std::sync::Arc::clone(&place);
        let probe = move |point| {
            if point == Point::Prepared(stop) || point == Point::Stepped(stop) {
                for at in ["d", "new", "to-dir", "old", "many"] {
                    if theirs.project().join(at).symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
                        fs::rename(theirs.project().join(at), theirs.path(&format!("swapped-{at}"))).unwrap();
                        symlink(theirs.path("outside"), theirs.project().join(at)).unwrap();
                    }
                }
            }
            Ok(())
        };
        let merge = Merge::with_probe(&place.path("journals"), Box::new(probe)).unwrap();
        let _ = place.carry_out(&merge, 1, (&plan, &approval), &place.store);
        place.assert_outside_untouched();
        let _ = place.merge().recover(&place.store).unwrap();
        place.assert_outside_untouched();
    }
}

#[test]
fn a_race_of_directory_and_link_touches_nothing_outside() {
    for kind in [Kind::Plain, Kind::Merged] {
        race(&Place::of(kind));
    }
}

fn race(place: &Place) {
    let approval = place.approve(&[]);
    symlink(place.path("outside"), place.path("decoy")).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let (a, b) = (place.project().join("d"), place.path("decoy"));
                let _ = renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE);
            }
        });
        for round in 0..60 {
            let (merge, root) = (place.merge(), place.root());
            let Ok(host) = place.look(&approval) else { continue };
            let Ok(plan) = plan(&approval, &host) else { continue };
            if merge.apply(&id(round), &root, &plan, &approval, &place.store, &[]).is_ok() {
                let _ = merge.undo(&id(round), &id(round + 100), &root, &place.store);
            }
            let _ = merge.recover(&place.store);
        }
        done.store(true, Ordering::Relaxed);
    });
    place.assert_outside_untouched();
}

#[test]
fn a_project_that_was_replaced_is_not_written_to() {
    for kind in KINDS {
        replaced(&Place::of(kind));
    }
}

fn replaced(place: &Place) {
    let approval = place.approve(&[]);
    let (plan, root) = (place.plan(&approval), place.root());
    let (at, before) = place.replaced();
    fs::rename(place.project(), place.path("elsewhere")).unwrap();
    fs::create_dir(place.project()).unwrap();
    let merge = place.merge();
    let refused = match place.kind {
        Kind::Undo => merge.undo_onto((&id(200), &id(1)), &root, &place.store, (&plan, &approval)),
        _ => merge.apply(&id(1), &root, &plan, &approval, &place.store, &[]),
    };
    assert!(matches!(refused, Err(MergeError::Replaced { .. })), "{refused:?}");
    assert!(matches!(Root::open_as(&place.project(), root.identity()), Err(MergeError::Replaced { .. })));
    assert!(walk(&place.project()).is_empty());
    assert_eq!(fs::read_to_string(place.path("elsewhere").join(at)).unwrap(), before);
}

#[test]
fn a_fifo_where_a_file_was_is_a_conflict_and_blocks_nothing() {
    for kind in KINDS {
        let place = Place::of(kind);
        let approval = place.approve(&[]);
        let plan = place.plan(&approval);
        let at = place.project().join(place.replaced().0);
        fs::remove_file(&at).unwrap();
        mknodat(CWD, &at, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
        let refused = place.carry_out(&place.merge(), 1, (&plan, &approval), &place.store);
        assert!(matches!(refused, Err(MergeError::Changed(_))), "{kind:?}: {refused:?}");
    }
}

#[test]
fn a_file_that_appears_between_check_and_write_is_not_overwritten() {
    let place = std::sync::Arc::new(Place::new());
    let approval = place.approve(&[path("new")]);
    let plan = place.plan(&approval);
    let (theirs, base) = (std::sync::Arc::clone(&place), place.nodes("project"));
    let probe = move |point| {
        if let Point::Prepared(_) = point {
            let dir = theirs.project().join("new/x");
            if dir.is_dir() {
                write(&dir, b"\xff\n -y", "the user's");
            }
        }
        Ok(())
    };
    let merge = Merge::with_probe(&place.path("journals"), Box::new(probe)).unwrap();
    let refused = merge.apply(&id(1), &place.root(), &plan, &approval, &place.store, &[]);
    assert!(matches!(refused, Err(MergeError::Partly { .. })), "{refused:?}");
    let theirs = place.project().join("new/x").join(OsStr::from_bytes(b"\xff\n -y"));
    assert_eq!(fs::read(theirs).unwrap(), b"the user's");
    fs::remove_dir_all(place.project().join("new")).unwrap();
    assert_eq!(place.nodes("project"), base);
}

#[test]
fn what_the_user_writes_while_it_runs_is_never_lost() {
    let points = [("edited", Point::Recorded), ("d/gone", Point::Recorded), ("mode", Point::Stepped(0))];
    let merged = ["both", "d/both", "many/both"].map(|at| (at, Point::Recorded));
    let plain = points.map(|(at, point)| (Kind::Plain, at, point));
    let joined = [points, merged].concat().into_iter().map(|(at, point)| (Kind::Merged, at, point));
    let undone = [points[0], merged[0], merged[1], merged[2]].map(|(at, point)| (Kind::Undo, at, point));
    for (kind, at, point) in plain.into_iter().chain(joined).chain(undone) {
        let place = std::sync::Arc::new(Place::of(kind));
        let approval = place.approve(&[]);
        let (plan, mut base) = (place.plan(&approval), place.nodes("project"));
        let theirs = std::sync::Arc::clone(&place);
        let probe = move |reached| {
            if reached == point {
                write(&theirs.project(), at, "by the user");
            }
            Ok(())
        };
        let merge = Merge::with_probe(&place.path("journals"), Box::new(probe)).unwrap();
        let refused = place.carry_out(&merge, 1, (&plan, &approval), &place.store);
        let Err(MergeError::Partly { foreign, .. }) = refused else { panic!("{kind:?} {at}: {refused:?}") };
        assert_eq!(foreign, [path(at)]);
        assert_eq!(fs::read(place.project().join(at)).unwrap(), b"by the user");
        // All else is as it was.
        let mut now = place.nodes("project");
        assert!(now.remove(&path(at)).is_some() && base.remove(&path(at)).is_some());
        assert_eq!(now, base);
    }
}
