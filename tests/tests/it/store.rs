//! The snapshot store as a human meets it: cleaned, verified, damaged.

use std::fs;
use std::path::PathBuf;

use ftl_tests::world::{Who, World};

/// The files of the store with an ending.
fn stored(world: &World, ending: &str) -> Vec<PathBuf> {
    let packs = fs::read_dir(world.ftl_home().join("store/packs")).unwrap();
    let paths = packs.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
}

fn snapshot(world: &World) -> String {
    world.json(0, ["snapshots", "create", "--json"])["snapshot"].as_str().unwrap().to_owned()
}

fn listed(world: &World) -> Vec<String> {
    let rows = world.json_lines(0, ["snapshots", "--json"]);
    rows.iter().map(|row| row["snapshot"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn old_snapshots_go_and_those_that_sessions_need_stay() {
    let world = World::new(Who::Me);
    world.files(&[("a", "first")]);
    let first = world.shell("echo one > b; cat a");
    let mut ids = Vec::new();
    for n in 0..3 {
        world.files(&[("a", &format!("state {n} of the file"))]);
        ids.push(snapshot(&world));
    }
    let before = listed(&world);
    assert_eq!(before.len(), 4);
    let would = world.ok(["snapshots", "clean", "--last", "1", "--dry-run"]);
    assert!(would.contains("would remove 2 snapshots"), "{would}");
    assert!(would.contains("1 snapshot is kept because sessions need"), "{would}");
    assert_eq!(listed(&world), before);
    let done = world.ok(["snapshots", "clean", "--last", "1"]);
    assert!(done.contains("removed 2 snapshots"), "{done}");
    assert_eq!(listed(&world).len(), 2);
    let gone = world.run(["snapshots", "show", &ids[0]]);
    assert_eq!((gone.code, gone.err.contains("no snapshot")), (1, true), "{}", gone.err);
    // The session's work is still there to be shown, and nothing is damaged.
    let session = first["session"].as_str().unwrap();
    assert!(world.ok(["diff", session]).contains("+one"));
    assert!(world.ok(["snapshots", "verify"]).contains("all intact"));
    world.ok(["rm", session, "--discard"]);
    world.ok(["snapshots", "clean", "--all"]);
    assert_eq!(listed(&world), Vec::<String>::new());
    assert_eq!(snapshot(&world), ids[2]);
    assert!(world.ok(["snapshots", "verify"]).contains("all intact"));
}

#[test]
fn damage_is_named_what_is_intact_comes_back_and_a_snapshot_heals() {
    let world = World::new(Who::Me);
    world.files(&[("d/a", "the content of a"), ("d/b", "the content of b"), ("c", "another one")]);
    let id = snapshot(&world);
    world.ok(["snapshots", "verify"]);
    let pack = stored(&world, "pack").remove(0);
    let mut bytes = fs::read(&pack).unwrap();
    let at = bytes.windows(16).position(|window| window == b"the content of a").unwrap();
    bytes[at] ^= 1;
    fs::write(&pack, bytes).unwrap();

    let said = world.run(["snapshots", "verify"]);
    assert_eq!(said.code, 1);
    let line = format!("snapshot {}  d/a", &id[..16]);
    assert!(said.out.contains("damaged: ") && said.out.contains(&line), "{}", said.out);
    let out = world.home().join("out");
    let said = world.run(["snapshots", "restore", &id, "--to", out.to_str().unwrap()]);
    assert_eq!((said.code, said.out.contains("lost: d/a")), (1, true), "{} {}", said.out, said.err);
    assert_eq!(fs::read(out.join("d/b")).unwrap(), b"the content of b");
    assert_eq!(snapshot(&world), id);
    assert!(world.ok(["snapshots", "verify"]).contains("all intact"));
}

#[test]
fn what_to_remove_must_be_said_once() {
    let world = World::new(Who::Me);
    for wrong in [&["--last", "1", "--all"][..], &[], &["--older-than", "soon"]] {
        let said = world.run([&["snapshots", "clean"], wrong].concat());
        assert_eq!(said.code, 2, "{wrong:?}: {}", said.err);
    }
}
