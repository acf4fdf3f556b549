//! A stop at every point, and what is left after recovery.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// An engine that stops dead at the `stop`-th point, and the points it reached.
fn stopping(place: &Place, stop: usize) -> (Merge, Arc<Mutex<Vec<Point>>>) {
    let reached = Arc::new(Mutex::new(Vec::new()));
    let (count, seen) = (AtomicUsize::new(0), Arc::clone(&reached));
    let probe = move |point| {
        seen.lock().unwrap().push(point);
        if count.fetch_add(1, Ordering::Relaxed) == stop { Err(io::Error::other("stop")) } else { Ok(()) }
    };
    (Merge::with_probe(&place.path("journals"), Box::new(probe)).unwrap(), reached)
}

/// Runs `act` with a stop at every point in turn, until one run reaches the end.
/// Nothing but `new` may stand where not the old state does.
fn at_every_point(
    prepare: impl Fn() -> Place,
    act: impl Fn(&Place, &Merge) -> Result<Applied, MergeError>,
    new: Option<&Nodes>,
) {
    for stop in 0.. {
        let place = prepare();
        let old = place.nodes("project");
        let (merge, reached) = stopping(&place, stop);
        let outcome = act(&place, &merge);
        if outcome.is_ok() {
            assert!(stop > 20, "only {stop} points");
            return;
        }
        assert!(matches!(outcome, Err(MergeError::Stopped)), "{outcome:?}");
        let recovered = place.merge().recover(&place.store).unwrap();
        let committed = reached.lock().unwrap().contains(&Point::Committed);
        let kept_only = *reached.lock().unwrap() == [Point::Kept];
        let now = place.nodes("project");
        assert_eq!(now == old, !committed, "stopped at {:?}", reached.lock().unwrap().last());
        assert!(now == old || new.is_none_or(|new| now == *new));
        place.assert_outside_untouched();
        assert_eq!(recovered.len(), usize::from(!committed && !kept_only));
        assert!(recovered.iter().all(|one| one.foreign.is_empty() && one.failed.is_none()), "{recovered:?}");
        // Recovering leaves nothing to recover, and the work can be done afterwards.
        assert!(place.merge().recover(&place.store).unwrap().is_empty());
        if !committed {
            act(&place, &place.merge()).unwrap();
        }
        assert!(walk(&place.project()).iter().all(|at| !at.name().starts_with(b".ftl")));
    }
}

/// What the project is once everything is written.
fn all_of(place: &Place) -> Nodes {
    let approval = place.approve(&[]);
    place.carry_out(&place.merge(), 1, (&place.plan(&approval), &approval), &place.store).unwrap();
    place.nodes("project")
}

#[test]
fn a_crash_while_applying_leaves_the_old_or_the_new() {
    for kind in KINDS {
        let new = all_of(&Place::of(kind));
        let act = |place: &Place, merge: &Merge| {
            let approval = place.approve(&[]);
            let plan = place.plan(&approval);
            place.carry_out(merge, 1, (&plan, &approval), &place.store)
        };
        at_every_point(|| Place::of(kind), act, Some(&new));
    }
}

#[test]
fn a_project_is_brought_to_rest_before_it_is_looked_at_again() {
    for stop in [8, 14, 20] {
        let place = Place::new();
        let old = place.nodes("project");
        let (merge, _) = stopping(&place, stop);
        let approval = place.approve(&[]);
        let stopped =
            merge.apply(&id(1), &place.root(), &place.plan(&approval), &approval, &place.store, &[]);
        assert!(matches!(stopped, Err(MergeError::Stopped)), "{stopped:?}");
        place.merge().bring_to_rest(&place.root(), &place.store).unwrap();
        assert_eq!(place.nodes("project"), old, "stopped at point {stop}");
        // The same approval can be planned and applied now.
        let plan = place.plan(&approval);
        place.merge().apply(&id(2), &place.root(), &plan, &approval, &place.store, &[]).unwrap();
    }
}

#[test]
fn a_crash_while_undoing_leaves_the_old_or_the_new() {
    let applied = || {
        let place = Place::new();
        place.apply_all().unwrap();
        place
    };
    at_every_point(applied, |place, merge| merge.undo(&id(1), &id(2), &place.root(), &place.store), None);
}

#[test]
fn an_undo_that_was_done_when_the_crash_came_is_not_undone_twice() {
    let place = Place::new();
    let base = place.nodes("project");
    place.apply_all().unwrap();
    let probe = |point| if point == Point::Committed { Err(io::Error::other("stop")) } else { Ok(()) };
    let merge = Merge::with_probe(&place.path("journals"), Box::new(probe)).unwrap();
    assert!(merge.undo(&id(1), &id(2), &place.root(), &place.store).is_err());
    place.merge().recover(&place.store).unwrap();
    assert_eq!(place.nodes("project"), base);
    let again = place.merge().undo(&id(1), &id(3), &place.root(), &place.store);
    assert!(matches!(again, Err(MergeError::AlreadyUndone { .. })));
}

#[test]
fn a_crash_while_recovering_is_recovered_from() {
    let place = Place::new();
    let old = place.nodes("project");
    let (approval, probe) = (place.approve(&[]), |point| match point {
        Point::Flushed => Err(io::Error::other("stop")),
        _ => Ok(()),
    });
    let merge = Merge::with_probe(&place.path("journals"), Box::new(probe)).unwrap();
    merge.apply(&id(1), &place.root(), &place.plan(&approval), &approval, &place.store, &[]).unwrap_err();
    // A store that has lost one content stops the way back in the middle.
    let gone = Liar { store: &place.store, hash: Hash::of(b"deep"), lie: None };
    let first = place.merge().recover(&gone).unwrap();
    assert!(first[0].failed.is_some());
    assert_ne!(place.nodes("project"), old);
    let second = place.merge().recover(&place.store).unwrap();
    assert!(second[0].failed.is_none());
    assert_eq!(place.nodes("project"), old);
}

#[test]
fn what_someone_wrote_after_the_crash_is_left_and_named() {
    let place = Place::new();
    let (approval, probe) = (place.approve(&[]), |point| match point {
        Point::Flushed => Err(io::Error::other("stop")),
        _ => Ok(()),
    });
    let merge = Merge::with_probe(&place.path("journals"), Box::new(probe)).unwrap();
    merge.apply(&id(1), &place.root(), &place.plan(&approval), &approval, &place.store, &[]).unwrap_err();
    write(&place.project(), "edited", "by the user");
    let recovered = place.merge().recover(&place.store).unwrap();
    assert_eq!(recovered[0].foreign, [path("edited")]);
    assert_eq!(fs::read(place.project().join("edited")).unwrap(), b"by the user");
    assert_eq!(fs::read(place.project().join("to-dir")).unwrap(), b"file");
}

#[test]
fn a_project_that_moved_away_keeps_its_journal() {
    let place = Place::new();
    let old = place.nodes("project");
    let (approval, probe) = (place.approve(&[]), |point| match point {
        Point::Flushed => Err(io::Error::other("stop")),
        _ => Ok(()),
    });
    let merge = Merge::with_probe(&place.path("journals"), Box::new(probe)).unwrap();
    merge.apply(&id(1), &place.root(), &place.plan(&approval), &approval, &place.store, &[]).unwrap_err();
    fs::rename(place.project(), place.path("away")).unwrap();
    fs::create_dir(place.project()).unwrap();
    let recovered = place.merge().recover(&place.store).unwrap();
    assert!(matches!(recovered[0].failed, Some(MergeError::Replaced { .. })));
    assert!(walk(&place.project()).is_empty());
    fs::remove_dir(place.project()).unwrap();
    fs::rename(place.path("away"), place.project()).unwrap();
    place.merge().recover(&place.store).unwrap();
    assert_eq!(place.nodes("project"), old);
}
