//! The audit log: one record per step, and no way to change one unnoticed.

use ftl_tests::world::{Who, World};

fn actions(world: &World) -> Vec<String> {
    let lines = world.ok(["--json", "logs", "--all"]);
    lines
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["action"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn every_step_of_a_session_is_recorded_in_order() {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n")]);
    let last = world.shell("echo 2 > a");
    let session = last["session"].as_str().unwrap();
    world.ok(["approve", session, "--digest", last["digest"].as_str().unwrap()]);
    world.ok(["undo", session]);
    world.ok(["reject", session, "--why", "no"]);
    world.ok(["rm", session]);
    let expected = [
        "session_created",
        "turn_begun",
        "snapshot_begun",
        "sandbox_begun",
        "agent_started",
        "capture_begun",
        "captured",
        "approved",
        "apply_begun",
        "applied",
        "undo_begun",
        "undone",
        "rejected",
        "session_removed",
    ];
    assert_eq!(actions(&world), expected);
    let verified = world.json(0, ["logs", "--verify"]);
    assert_eq!(verified["intact"], true, "{verified}");
}

#[test]
fn a_changed_removed_or_truncated_record_is_found() {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n")]);
    world.shell("echo 2 > a");
    let log = world.ftl_home().join("audit/log.jsonl");
    let intact = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = intact.lines().collect();
    let damaged = [
        intact.replacen("session_created", "session_creatde", 1),
        lines[1..].join("\n") + "\n",
        [&lines[..2], &lines[3..]].concat().join("\n") + "\n",
        lines[..lines.len() - 1].join("\n") + "\n",
        intact[..intact.len() - 10].to_owned(),
        String::new(),
    ];
    for (number, text) in damaged.iter().enumerate() {
        std::fs::write(&log, text).unwrap();
        let verified = world.json(1, ["logs", "--verify"]);
        assert_eq!(verified["intact"], false, "damage {number}: {verified}");
    }
    std::fs::write(&log, &intact).unwrap();
    assert_eq!(world.json(0, ["logs", "--verify"])["intact"], true);
}

#[test]
fn without_an_audit_record_nothing_is_applied() {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n")]);
    let last = world.shell("echo 2 > a");
    // A log that cannot be appended to: a directory stands where the head is written.
    std::fs::remove_file(world.ftl_home().join("audit/head")).unwrap();
    std::fs::create_dir(world.ftl_home().join("audit/head")).unwrap();
    std::fs::write(world.ftl_home().join("audit/head/x"), "").unwrap();
    let said = world.run([
        "approve",
        last["session"].as_str().unwrap(),
        "--digest",
        last["digest"].as_str().unwrap(),
    ]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.err.contains("audit"), "{said:#?}");
    assert_eq!(std::fs::read_to_string(world.project().join("a")).unwrap(), "1\n");
}
