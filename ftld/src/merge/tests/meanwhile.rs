//! Edits of the user at the worst moment, and what is left of an application that could not be taken back.

use std::sync::Arc;

use super::*;

/// Applies with an edit of `at` when `point` is reached for the first time, and says what came of it.
fn edited_at(
    place: &Arc<Place>,
    at: &'static str,
    point: Point,
    same_time: bool,
) -> Result<Applied, MergeError> {
    let approval = place.approve(&[]);
    let (plan, theirs) = (place.plan(&approval), Arc::clone(place));
    let seen = Mutex::new(false);
    let probe = move |reached| {
        if reached == point && !std::mem::replace(&mut *seen.lock().unwrap(), true) {
            // As long as the old content, and with its time: two writes may fall in one tick of the clock.
            let file = theirs.project().join(at);
            let (old, time) = (fs::read(&file).unwrap(), file.metadata().unwrap().modified().unwrap());
            fs::write(&file, vec![b'U'; old.len()]).unwrap();
            if same_time {
                File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
            }
        }
        Ok(())
    };
    let merge = Merge::with_probe(&place.path("journals"), Box::new(probe)).unwrap();
    merge.apply(&id(1), &place.root(), &plan, &approval, &place.store, &[])
}

/// The number of the step that brings `at` away from what the host has.
fn step_of(place: &Place, at: &str) -> usize {
    let approval = place.approve(&[]);
    place.plan(&approval).steps().iter().position(|step| step.path == path(at)).unwrap()
}

fn assert_kept(place: &Place, at: &str, mut base: Nodes, outcome: Result<Applied, MergeError>) {
    let Err(MergeError::Partly { foreign, source }) = outcome else { panic!("{at}: {outcome:?}") };
    assert_eq!((foreign, matches!(*source, MergeError::Changed(_))), (vec![path(at)], true));
    assert!(fs::read(place.project().join(at)).unwrap().iter().all(|byte| *byte == b'U'));
    let mut now = place.nodes("project");
    assert!(now.remove(&path(at)).is_some() && base.remove(&path(at)).is_some());
    assert_eq!(now, base);
}

#[test]
fn an_edit_after_the_check_is_kept() {
    // Replaced, given another mode, and removed.
    for at in ["edited", "mode", "d/gone"] {
        let place = Arc::new(Place::new());
        let base = place.nodes("project");
        let outcome = edited_at(&place, at, Point::Checked(step_of(&place, at)), false);
        assert_kept(&place, at, base, outcome);
    }
}

#[test]
fn an_edit_within_a_tick_of_the_clock_is_kept() {
    for at in ["edited", "d/gone"] {
        let place = Arc::new(Place::new());
        // A time to come is as fresh as one can be, however slow the test is.
        let file = File::options().write(true).open(place.project().join(at)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1 << 32)).unwrap();
        let base = place.nodes("project");
        let outcome = edited_at(&place, at, Point::Checked(step_of(&place, at)), true);
        assert_kept(&place, at, base, outcome);
    }
}

#[test]
fn an_edit_after_the_check_is_kept_when_many_files_are_put_in_place_together() {
    let place = Place::new();
    for number in 0..20 {
        write(&place.project(), format!("many/{number:02}"), "old");
        write(&place.path("work"), format!("many/{number:02}"), "new");
    }
    let (place, at) = (Arc::new(place), "many/13");
    let base = place.nodes("project");
    let outcome = edited_at(&place, at, Point::Checked(step_of(&place, at)), false);
    assert_kept(&place, at, base, outcome);
}

#[test]
fn an_edit_is_found_again_when_a_crash_caught_it_under_a_temporary_name() {
    for at in ["edited", "d/gone"] {
        let place = Arc::new(Place::new());
        let number = step_of(&place, at);
        let approval = place.approve(&[]);
        let (plan, theirs) = (place.plan(&approval), Arc::clone(&place));
        let probe = move |reached| {
            if reached == Point::Checked(number) {
                write(&theirs.project(), at, "by the user");
            }
            if reached == Point::Displaced(number) { Err(io::Error::other("stop")) } else { Ok(()) }
        };
        let merge = Merge::with_probe(&place.path("journals"), Box::new(probe)).unwrap();
        let stopped = merge.apply(&id(1), &place.root(), &plan, &approval, &place.store, &[]);
        assert!(matches!(stopped, Err(MergeError::Stopped)), "{stopped:?}");
        let recovered = place.merge().recover(&place.store).unwrap();
        assert_eq!(recovered[0].foreign, [path(at)]);
        assert_eq!(fs::read(place.project().join(at)).unwrap(), b"by the user");
    }
}

#[test]
fn what_could_not_be_taken_back_is_taken_back_before_anything_new() {
    let place = Place::new();
    let approval = place.approve(&[]);
    let (plan, old) = (place.plan(&approval), place.nodes("project"));
    let probe = |point| if point == Point::Flushed { Err(io::Error::other("stop")) } else { Ok(()) };
    let stopping = Merge::with_probe(&place.path("journals"), Box::new(probe)).unwrap();
    stopping.apply(&id(1), &place.root(), &plan, &approval, &place.store, &[]).unwrap_err();
    // The way back needs a content that the store does not give.
    let merge = place.merge();
    let gone = Liar { store: &place.store, hash: Hash::of(b"deep"), lie: None };
    let refused = merge.apply(&id(2), &place.root(), &plan, &approval, &gone, &[]);
    assert!(matches!(&refused, Err(MergeError::Unfinished { id: of, .. }) if *of == id(1)), "{refused:?}");
    assert_ne!(place.nodes("project"), old);
    // The same engine does it as soon as the store does.
    merge.apply(&id(3), &place.root(), &plan, &approval, &place.store, &[]).unwrap();
    assert_eq!(place.nodes("project"), place.nodes("work"));
    assert!(!merge.happened(&id(1)).unwrap() && merge.happened(&id(3)).unwrap());
    assert!(merge.recover(&place.store).unwrap().is_empty());
    merge.undo(&id(3), &id(4), &place.root(), &place.store).unwrap();
    assert_eq!(place.nodes("project"), old);
}

#[test]
fn drafts_of_journals_are_removed() {
    let place = Place::new();
    let merge = place.merge();
    let draft = place.path("journals").join(format!("{}.new", id(1)));
    fs::write(&draft, "{").unwrap();
    assert!(merge.recover(&place.store).unwrap().is_empty());
    assert!(!draft.exists());
}
