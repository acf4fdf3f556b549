//! Links that are harmless one by one and lead out of the project together.

use super::*;

/// A project with the directories `d/e/f`, and a work with what `change` makes of it.
fn nested(change: impl Fn(&Path)) -> Place {
    let place = Place::new();
    for both in ["project", "work"] {
        fs::remove_dir_all(place.path(both)).unwrap();
        fs::create_dir_all(place.path(both).join("d/e/f")).unwrap();
    }
    change(&place.path("work"));
    place
}

fn apply(place: &Place, number: u8, links: &[RelPath]) -> Result<Applied, MergeError> {
    let approval = place.approve(&[]);
    let plan = place.plan(&approval);
    place.merge().apply(&id(number), &place.root(), &plan, &approval, &place.store, links)
}

/// Replaces the directory `d/e` by a link to the directory it stands in.
fn flatten(work: &Path) {
    fs::remove_dir_all(work.join("d/e")).unwrap();
    symlink(".", work.join("d/e")).unwrap();
}

#[test]
fn a_directory_that_becomes_a_link_does_not_lead_an_earlier_link_out() {
    let place = nested(|work| symlink("d/e/../../outside.txt", work.join("y")).unwrap());
    apply(&place, 1, &[path("y")]).unwrap();
    let base = place.nodes("project");
    flatten(&place.path("work"));
    let refused = apply(&place, 2, &[path("d/e"), path("y")]);
    assert!(matches!(&refused, Err(MergeError::LinkLeaves { path: at }) if *at == path("y")), "{refused:?}");
    assert_eq!(place.nodes("project"), base);
    assert!(place.merge().recover(&place.store).unwrap().is_empty());
    // Without the link there is nothing against it.
    fs::remove_file(place.project().join("y")).unwrap();
    fs::remove_file(place.path("work/y")).unwrap();
    apply(&place, 3, &[path("d/e"), path("y")]).unwrap();
}

#[test]
fn a_link_through_a_link_of_the_host_does_not_lead_out() {
    let place = nested(|work| symlink("theirs/tripwire", work.join("y")).unwrap());
    for both in ["project", "work"] {
        symlink(place.path("outside"), place.path(both).join("theirs")).unwrap();
    }
    let base = place.nodes("project");
    let refused = apply(&place, 1, &[path("theirs")]);
    assert!(matches!(&refused, Err(MergeError::LinkLeaves { path: at }) if *at == path("y")), "{refused:?}");
    assert_eq!(place.nodes("project"), base);
}

#[test]
fn links_that_led_out_before_and_links_to_nothing_are_let_be() {
    let place = nested(|work| symlink("nowhere", work.join("y")).unwrap());
    for both in ["project", "work"] {
        symlink("/", place.path(both).join("theirs")).unwrap();
    }
    apply(&place, 1, &[path("theirs"), path("y"), path("d"), path("none/at/all")]).unwrap();
    assert_eq!(place.nodes("project"), place.nodes("work"));
}
