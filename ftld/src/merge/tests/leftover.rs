//! What a stop leaves under names of the application's own: half a file comes nowhere, and nothing of anybody's
//! is lost.

use std::sync::Arc;

use super::*;

/// Everything in the project that bears a name of an application's.
fn left(place: &Place) -> Vec<RelPath> {
    walk(&place.project()).into_iter().filter(|at| at.name().starts_with(b".ftl-")).collect()
}

/// Where a step's draft is.
fn draft(place: &Place, at: &str, number: usize) -> PathBuf {
    let dir = place.project().join(at).parent().unwrap().to_owned();
    dir.join(super::super::leftover::draft(&id(1), number))
}

fn step_of(place: &Place, at: &str) -> usize {
    let approval = place.approve(&[]);
    place.plan(&approval).steps().iter().position(|step| step.path == path(at)).unwrap()
}

/// Applies, and stops dead at a point.
fn stop_at(place: &Place, probe: impl Fn(Point) -> bool + Send + Sync + 'static) {
    let approval = place.approve(&[]);
    let probe = move |point| if probe(point) { Err(io::Error::other("stop")) } else { Ok(()) };
    let merge = Merge::with_probe(&place.path("journals"), Box::new(probe)).unwrap();
    let stopped = merge.apply(&id(1), &place.root(), &place.plan(&approval), &approval, &place.store, &[]);
    assert!(matches!(stopped, Err(MergeError::Stopped)), "{stopped:?}");
}

/// A place where `many` files are edited, so that they are put in place together.
fn place(many: usize) -> Place {
    let place = Place::new();
    for number in 0..many {
        write(&place.project(), format!("many/{number:02}"), "old");
        write(&place.path("work"), format!("many/{number:02}"), "new");
    }
    place
}

#[test]
fn half_a_draft_does_not_take_the_place_of_the_same_change_made_by_hand() {
    for (many, at) in [(0, "edited"), (20, "many/13")] {
        let place = place(many);
        let (number, mut old) = (step_of(&place, at), place.nodes("project"));
        stop_at(&place, move |point| point == Point::Prepared(number));
        let draft = draft(&place, at, number);
        assert_eq!(fs::read(&draft).unwrap(), b"new");
        File::options().write(true).open(&draft).unwrap().set_len(1).unwrap();
        write(&place.project(), at, "new");
        let recovered = place.merge().recover(&place.store).unwrap();
        assert_eq!(recovered[0].foreign, [path(at)]);
        assert_eq!(fs::read(place.project().join(at)).unwrap(), b"new");
        assert!(left(&place).is_empty());
        let mut now = place.nodes("project");
        assert!(now.remove(&path(at)) != old.remove(&path(at)));
        assert_eq!(now, old);
    }
}

#[test]
fn half_a_draft_beside_the_old_file_goes() {
    let place = place(20);
    let (number, old) = (step_of(&place, "many/13"), place.nodes("project"));
    stop_at(&place, move |point| point == Point::Prepared(number));
    fs::write(draft(&place, "many/13", number), "n").unwrap();
    assert!(place.merge().recover(&place.store).unwrap()[0].foreign.is_empty());
    assert_eq!(place.nodes("project"), old);
}

#[test]
fn a_complete_draft_that_was_not_put_in_place_is_not_taken_for_it() {
    let place = place(20);
    let number = step_of(&place, "many/13");
    // Complete, under its temporary name, and then the human is quicker.
    stop_at(&place, move |point| point == Point::Checked(number));
    write(&place.project(), "many/13", "new");
    let recovered = place.merge().recover(&place.store).unwrap();
    assert_eq!(recovered[0].foreign, [path("many/13")]);
    assert_eq!(fs::read(place.project().join("many/13")).unwrap(), b"new");
    assert_eq!(fs::read(place.project().join("many/12")).unwrap(), b"old");
    assert!(left(&place).is_empty());
}

#[test]
fn an_edit_that_lost_its_name_and_a_newer_one_are_both_kept() {
    for at in ["edited", "d/gone"] {
        let place = Arc::new(Place::new());
        let (number, theirs) = (step_of(&place, at), Arc::clone(&place));
        stop_at(&place, move |point| {
            if point == Point::Checked(number) {
                write(&theirs.project(), at, "the first edit");
            }
            point == Point::Displaced(number)
        });
        write(&place.project(), at, "the second edit");
        let recovered = place.merge().recover(&place.store).unwrap();
        let left = left(&place);
        assert_eq!((left.len(), &recovered[0].foreign), (1, &vec![path(at), left[0].clone()]), "{at}");
        let aside = place.project().join(OsStr::from_bytes(left[0].as_bytes()));
        assert_eq!(fs::read(aside).unwrap(), b"the first edit");
        assert_eq!(fs::read(place.project().join(at)).unwrap(), b"the second edit");
        assert!(place.merge().recover(&place.store).unwrap().is_empty());
    }
}

#[test]
fn a_directory_that_lost_its_name_is_given_back_with_what_is_in_it() {
    let place = Arc::new(Place::new());
    let (number, theirs) = (step_of(&place, "edited"), Arc::clone(&place));
    stop_at(&place, move |point| {
        if point == Point::Checked(number) {
            fs::remove_file(theirs.project().join("edited")).unwrap();
            write(&theirs.project(), "edited/f", "the user's");
        }
        point == Point::Displaced(number)
    });
    let recovered = place.merge().recover(&place.store).unwrap();
    assert_eq!(recovered[0].foreign, [path("edited")]);
    assert_eq!(fs::read(place.project().join("edited/f")).unwrap(), b"the user's");
    assert!(left(&place).is_empty());
}

#[test]
fn something_in_a_new_directory_is_set_aside_with_it() {
    let place = Place::new();
    let number = step_of(&place, "new");
    stop_at(&place, move |point| point == Point::Prepared(number));
    write(&draft(&place, "new", number), "f", "the user's");
    let recovered = place.merge().recover(&place.store).unwrap();
    let left = left(&place);
    assert_eq!((left.len(), &recovered[0].foreign), (1, &left));
    let aside = place.project().join(OsStr::from_bytes(left[0].as_bytes()));
    assert_eq!(fs::read(aside.join("f")).unwrap(), b"the user's");
}
