//! Projects that are forgotten while somebody asks for them.

use std::sync::mpsc;
use std::time::Duration;

use super::*;

/// Far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_project_that_is_asked_for_while_it_is_forgotten_does_not_hold_up_the_end() {
    let place = Place::new();
    write(&place.project(), "a", "content");
    place.take();
    let (ended, end) = mpsc::channel();
    std::thread::scope(|scope| {
        // The project's thread cannot go on as long as a collection decides.
        let collecting = place.store.gate.close();
        scope.spawn(|| {
            place.store.park();
            ended.send(()).unwrap();
        });
        while !place.store.watching().is_empty() {
            std::thread::yield_now();
        }
        let projects = &place.store.projects;
        let taken = projects.take(&place.project(), LATER, |seen| Ok((seen.tree.id(), ())));
        taken.unwrap();
        drop(collecting);
        let outcome = end.recv_timeout(PATIENCE);
        // Lets a thread that waits go, so that this ends in any case.
        projects.park();
        assert_eq!(outcome, Ok(()));
    });
}

#[test]
fn a_project_that_was_forgotten_is_watched_again() {
    let place = Place::new();
    write(&place.project(), "a", "content");
    for _ in 0..3 {
        place.take();
        while place.store.watching().iter().all(|watching| watching.sweeping.is_some()) {
            std::thread::yield_now();
        }
        place.store.park();
        assert_eq!(place.store.watching(), []);
    }
}
