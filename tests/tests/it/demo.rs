//! The first thing a newcomer types.

use ftl_tests::world::World;

#[test]
fn the_demo_shows_applies_and_undoes_as_root_and_as_an_ordinary_user() {
    for who in World::everybody() {
        let world = World::new(who);
        let said = world.run(["demo", "--yes"]);
        assert_eq!(said.code, 0, "{who:?}: {said:#?}");
        for step in ["session s-", "digest", "applied 4 paths", "put back 4 paths", "byte for byte"] {
            assert!(said.out.to_lowercase().contains(step), "{who:?}: no {step:?} in {said:#?}");
        }
        // The demo cleans up: no session of it is left.
        assert_eq!(world.ok(["--json", "sessions", "--all"]).trim(), "", "{who:?}");
    }
}

#[test]
fn the_demo_without_a_terminal_and_without_yes_asks_for_an_approval() {
    let world = World::new(ftl_tests::world::Who::Me);
    let said = world.run(["demo"]);
    assert_eq!(said.code, 4, "{said:#?}");
    assert!(said.err.contains("--yes"), "{said:#?}");
}
