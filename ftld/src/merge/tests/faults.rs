//! A file system that says no at any call for a journal: what is told is what is, also after a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::journal::{Call, Stage};
use super::*;

/// What fails: one call alone, or one and all that follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    Once,
    FromThenOn,
}

/// An engine whose `number`-th call for a journal fails, and the calls that it made.
fn failing(place: &Place, number: usize, how: How) -> (Merge, Arc<Mutex<Vec<Call>>>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (seen, count) = (Arc::clone(&calls), AtomicUsize::new(0));
    let fault = move |call| {
        seen.lock().unwrap().push(call);
        let now = count.fetch_add(1, Ordering::Relaxed);
        let fails = if how == How::Once { now == number } else { now >= number };
        if fails { Err(rustix::io::Errno::NOSPC.into()) } else { Ok(()) }
    };
    let merge = Merge::with_faults(&place.path("journals"), Box::new(|_| Ok(())), Box::new(fault));
    (merge.unwrap(), calls)
}

/// Fails every call in turn, in both ways, until one run has no call to fail. Each time the project is as before
/// and nothing is told to have happened, or as after and it is; a restart changes neither. Says how many calls
/// were failed, and how many of them made it fail.
fn at_every_call(
    prepare: impl Fn() -> Place,
    act: impl Fn(&Place, &Merge) -> Result<Applied, MergeError>,
    journal: &ApplyId,
    check: impl Fn(&Place, bool),
) -> (usize, usize) {
    let mut failed = 0;
    for how in [How::Once, How::FromThenOn] {
        for number in 0.. {
            let place = prepare();
            let old = place.nodes("project");
            let (merge, calls) = failing(&place, number, how);
            let outcome = act(&place, &merge);
            let count = calls.lock().unwrap().len();
            let new = place.nodes("project");
            let told = || format!("{how:?} {:?}: {outcome:?}", calls.lock().unwrap().get(number));
            assert_eq!(new == old, outcome.is_err(), "{}", told());
            assert_eq!(merge.happened(journal).unwrap(), outcome.is_ok(), "{}", told());
            if merge.is_open(journal).unwrap() {
                assert!(how == How::FromThenOn && outcome.is_err(), "{}", told());
            }
            failed += usize::from(outcome.is_err());
            drop(merge);
            let merge = place.merge();
            merge.recover(&place.store).unwrap();
            assert_eq!(place.nodes("project"), new, "after a restart, {}", told());
            assert_eq!(merge.happened(journal).unwrap(), outcome.is_ok(), "{}", told());
            assert!(!merge.is_open(journal).unwrap());
            check(&place, outcome.is_ok());
            if number > count {
                assert!(outcome.is_ok());
                if how == How::FromThenOn {
                    return (number, failed);
                }
                break;
            }
        }
    }
    unreachable!()
}

#[test]
fn an_application_that_cannot_be_recorded_is_none_and_one_that_is_recorded_stands() {
    let apply = |place: &Place, merge: &Merge| {
        let approval = place.approve(&[]);
        let plan = place.plan(&approval);
        merge.apply(&id(1), &place.root(), &plan, &approval, &place.store, &[])
    };
    let (calls, failed) = at_every_call(Place::new, apply, &id(1), |place, happened| {
        let merge = place.merge();
        if happened {
            merge.undo(&id(1), &id(2), &place.root(), &place.store).unwrap();
        } else {
            let refused = merge.undo(&id(1), &id(2), &place.root(), &place.store);
            assert!(matches!(refused, Err(MergeError::Unknown { .. })), "{refused:?}");
            apply(place, &merge).unwrap();
        }
    });
    assert!(calls >= 12 && failed >= 16, "{calls} calls, {failed} failed");
}

#[test]
fn an_undoing_that_cannot_be_recorded_is_none_and_one_that_is_recorded_stands() {
    let applied = || {
        let place = Place::new();
        place.apply_all().unwrap();
        place
    };
    let undo = |place: &Place, merge: &Merge| merge.undo(&id(1), &id(2), &place.root(), &place.store);
    let (calls, failed) = at_every_call(applied, undo, &id(2), |place, happened| {
        let merge = place.merge();
        assert_eq!(merge.was_undone(&id(1)).unwrap(), happened);
        // Its journal may go now; what it took back stays so.
        merge.forget(&BTreeSet::from([id(2)])).unwrap();
        let again = merge.undo(&id(1), &id(3), &place.root(), &place.store);
        assert_eq!(matches!(again, Err(MergeError::AlreadyUndone { .. })), happened, "{again:?}");
        assert_eq!(again.is_ok(), !happened);
    });
    assert!(calls >= 13 && failed >= 16, "{calls} calls, {failed} failed");
}

/// An engine whose calls of a kind fail.
fn without(place: &Place, fails: impl Fn(Call) -> bool + Send + Sync + 'static) -> Merge {
    let fault = move |call| if fails(call) { Err(rustix::io::Errno::IO.into()) } else { Ok(()) };
    Merge::with_faults(&place.path("journals"), Box::new(|_| Ok(())), Box::new(fault)).unwrap()
}

fn apply(place: &Place, merge: &Merge) -> Result<Applied, MergeError> {
    let approval = place.approve(&[]);
    merge.apply(&id(1), &place.root(), &place.plan(&approval), &approval, &place.store, &[])
}

#[test]
fn an_open_journal_that_cannot_be_removed_takes_nothing_back_later() {
    // The application fails and is put back; then the human makes the very same change.
    let place = Place::new();
    let merge = without(&place, |call| matches!(call, Call::Create(Stage::Done) | Call::Remove(_)));
    apply(&place, &merge).unwrap_err();
    write(&place.project(), "edited", "new");
    assert!(!merge.is_open(&id(1)).unwrap());
    place.merge().recover(&place.store).unwrap();
    assert_eq!(fs::read(place.project().join("edited")).unwrap(), b"new");
    assert_eq!(fs::read_dir(place.path("journals")).unwrap().count(), 0);

    // It took place, and is forgotten later.
    let place = Place::new();
    let merge = without(&place, |call| matches!(call, Call::Remove(Stage::Open) | Call::Empty));
    apply(&place, &merge).unwrap();
    assert!(merge.happened(&id(1)).unwrap() && !merge.is_open(&id(1)).unwrap());
    assert!(merge.forget_all_but(&BTreeSet::new()).is_err(), "the open one alone would be taken back");
    place.merge().forget_all_but(&BTreeSet::new()).unwrap();
    place.merge().recover(&place.store).unwrap();
    assert_eq!(place.nodes("project"), place.nodes("work"));

    // It took place and was taken back, while its open journal was still there.
    let place = Place::new();
    let merge = without(&place, |call| matches!(call, Call::Remove(Stage::Open) | Call::Empty));
    apply(&place, &merge).unwrap();
    merge.undo(&id(1), &id(2), &place.root(), &place.store).unwrap();
    write(&place.project(), "edited", "new");
    place.merge().bring_to_rest(&place.root(), &place.store).unwrap();
    place.merge().recover(&place.store).unwrap();
    assert_eq!(fs::read(place.project().join("edited")).unwrap(), b"new");
}

#[test]
fn an_undoing_is_not_forgotten_before_what_it_took_back_is_marked() {
    let place = Place::new();
    place.apply_all().unwrap();
    let merge = without(&place, |call| call == Call::Undone);
    merge.undo(&id(1), &id(2), &place.root(), &place.store).unwrap();
    assert!(!merge.was_undone(&id(1)).unwrap());
    assert!(merge.forget(&BTreeSet::from([id(2)])).is_err());
    place.merge().forget(&BTreeSet::from([id(2)])).unwrap();
    assert!(place.merge().was_undone(&id(1)).unwrap());
}
