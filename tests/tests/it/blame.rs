//! Where each hunk of a session's work comes from.

use ftl_tests::online::Setup;
use ftl_tests::upstream::Service;
use ftl_tests::world::{Who, World};
use serde_json::Value;

use crate::branch::{id, say};

/// The turns of each hunk of a path.
fn turns(world: &World, session: &str, path: &str) -> Vec<Vec<u64>> {
    let blame = world.json(0, ["blame", session, path]);
    let origins = blame["origins"].as_array().unwrap();
    let numbers = |origin: &Value| {
        origin["turns"].as_array().unwrap().iter().map(|turn| turn["turn"].as_u64().unwrap()).collect()
    };
    origins.iter().map(numbers).collect()
}

#[test]
fn every_hunk_knows_its_turn_along_the_way_that_the_work_took() {
    let world = World::new(Who::Me);
    let lines: String = (1..=40).map(|n| format!("{n}\n")).collect();
    world.files(&[("a.txt", &lines), ("gone.txt", "x\n"), ("bin", "old\0")]);
    let session = id(&world.shell("sed -i 's/^3$/three/' a.txt"));
    say(&world, &session, "sed -i 's/^30$/thirty/' a.txt; rm gone.txt");
    say(&world, &session, "sed -i 's/^31$/other/' a.txt; printf 'new\\0' > bin");
    assert_eq!(turns(&world, &session, "a.txt"), [vec![1], vec![2, 3]]);
    assert_eq!(turns(&world, &session, "gone.txt"), [[2]]);
    assert_eq!(turns(&world, &session, "bin"), [[3]]);
    let diff = world.json(0, ["diff", &session]);
    let blame = world.json(0, ["blame", &session, "a.txt"]);
    for (hunk, origin) in [(0, 0), (1, 1)] {
        assert_eq!(diff["entries"][0]["hunks"][hunk]["id"], blame["origins"][origin]["hunk"]);
    }
    assert!(blame["origins"][0]["turns"][0]["text"].as_str().unwrap().contains("three"), "{blame:#}");
    // The third turn was left; what takes its place is the fourth's.
    world.json(0, ["rewind", &session]);
    say(&world, &session, "sed -i 's/^31$/again/' a.txt");
    assert_eq!(turns(&world, &session, "a.txt"), [vec![1], vec![2, 4]]);
    // What was applied is no longer the session's.
    let digest = world.json(0, ["diff", &session])["digest"].as_str().unwrap().to_owned();
    world.json(0, ["approve", &session, "--digest", &digest]);
    say(&world, &session, "sed -i 's/^10$/ten/' a.txt");
    assert_eq!(turns(&world, &session, "a.txt"), [[5]]);
    let said = world.run(["blame", &session, "gone.txt"]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.err.contains("gone.txt is not among the changes"), "{said:#?}");
    let shown = world.ok(["blame", &session, "a.txt"]);
    assert!(shown.contains("turn 5  sed -i 's/^10$/ten/' a.txt"), "{shown}");
}

#[test]
fn a_file_under_another_name_keeps_its_origin() {
    let world = World::new(Who::Me);
    let lines: String = (1..=40).map(|n| format!("{n}\n")).collect();
    world.files(&[("old.txt", &lines)]);
    let session = id(&world.shell("sed -i 's/^3$/three/' old.txt"));
    say(&world, &session, "mv old.txt new.txt; sed -i 's/^30$/thirty/' new.txt");
    assert_eq!(turns(&world, &session, "new.txt"), [vec![1], vec![2]]);
    let diff = world.json(0, ["diff", &session]);
    let blame = world.json(0, ["blame", &session, "new.txt"]);
    let entry = diff["entries"].as_array().unwrap().iter().find(|entry| entry["path"] == "new.txt").unwrap();
    for hunk in [0, 1] {
        assert_eq!(entry["hunks"][hunk]["id"], blame["origins"][hunk]["hunk"], "{blame:#}");
    }
}

#[test]
fn what_was_fetched_by_then_is_told() {
    let online = Setup::new().service("later.example.com", Service::Test).start();
    let (world, session) = (&online.world, online.session());
    let fetch = |host: &str| format!("curl -sS -o /dev/null https://{host}/");
    let code = |script: String| say(world, session, &script);
    code(format!("{} && echo 1 > first.txt", fetch(ftl_tests::online::HOST)));
    code(format!("{} && echo 2 > second.txt", fetch("later.example.com")));
    let fetched = |path: &str| -> Vec<String> {
        let blame = world.json(0, ["blame", session, path]);
        let hosts = blame["origins"][0]["fetched"].as_array().unwrap();
        hosts.iter().map(|host| host["authority"].as_str().unwrap().to_owned()).collect()
    };
    let first = format!("{}:443", ftl_tests::online::HOST);
    assert_eq!(fetched("first.txt"), std::slice::from_ref(&first));
    let mut both = [first, "later.example.com:443".to_owned()];
    both.sort();
    assert_eq!(fetched("second.txt"), both);
}
