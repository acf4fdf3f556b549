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
    let log = world.ftl_home().join("audit/log-000001.jsonl");
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
    fill_log(&world);
    let said = world.run([
        "approve",
        last["session"].as_str().unwrap(),
        "--digest",
        last["digest"].as_str().unwrap(),
    ]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.err.contains("audit"), "{said:#?}");
    assert_eq!(std::fs::read_to_string(world.project().join("a")).unwrap(), "1\n");
    // What the write left half done is taken back, and the log goes on.
    assert_eq!(world.json(0, ["logs", "--verify"])["intact"], true);
    let session = last["session"].as_str().unwrap();
    world.ok(["approve", session, "--digest", last["digest"].as_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(world.project().join("a")).unwrap(), "2\n");
}

/// Makes the log's file as long as a file can be, but for a few bytes: the kernel takes a part of the next
/// record and no more. The daemon takes that back, so this is for one record.
pub(crate) fn fill_log(world: &World) {
    let dir = world.ftl_home().join("audit");
    let names =
        std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let last = names.filter(|name| name.starts_with("log-")).max().unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(dir.join(last)).unwrap();
    let (mut fits, mut too_long) = (0, u64::MAX >> 1);
    while too_long - fits > 1 {
        let middle = fits + (too_long - fits) / 2;
        // The log's own text stays: it is never made shorter than it is.
        if middle < 1 << 24 || file.set_len(middle).is_ok() { fits = middle } else { too_long = middle }
    }
    file.set_len(fits - 10).unwrap();
}

/// Everything that the human has said, and what follows from it.
fn said_so_far(world: &World) -> Vec<String> {
    let shown: [&[&str]; 4] =
        [&["policy", "show"], &["secret", "list"], &["sessions", "--json"], &["snapshots", "--json"]];
    let mut found: Vec<String> = shown.iter().map(|words| world.ok(*words)).collect();
    let mut dirs = vec![world.ftl_home(), world.project()];
    // What the daemon keeps for itself.
    let own = ["audit", "db", "run", "store", "ftld.log", "journal", "ftld.lock"];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if dir == world.ftl_home() && own.iter().any(|own| path.ends_with(own)) {
                continue;
            }
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.push(format!("{} {:?}", path.display(), std::fs::read(&path)));
            }
        }
    }
    found.sort();
    found
}

fn run_with(world: &World, arguments: &[&str], input: &str) -> ftl_tests::world::Said {
    use std::io::Write as _;
    use std::process::Stdio;
    let mut command = world.ftlctl(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
    ftl_tests::world::said(child.wait_with_output().unwrap())
}

#[test]
fn nothing_that_changes_what_a_sandbox_may_do_happens_without_its_record() {
    let world = World::new(Who::Me);
    let config = serde_json::json!({ "egress": ["allow trusted.example.com"] }).to_string();
    world.files(&[("a", "1\n"), (".ftlconfig", &config)]);
    // A snapshot that nothing needs, and a repository.
    world.ok(["snapshots", "create"]);
    world.files(&[("a", "1\n2\n")]);
    for words in [&["init", "-q"][..], &["add", "-A"], &["commit", "-q", "-m", "first"]] {
        let mut git = world.command("git");
        let name = ["-c", "user.name=A", "-c", "user.email=a@example.com"];
        git.args(name).args(words).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        assert!(git.status().unwrap().success(), "{words:?}");
    }
    let work = world.shell("echo 2 > a");
    let session = work["session"].as_str().unwrap();
    let (start, turn) = (format!("{session}@0"), format!("{session}@1"));
    let value = "sk_test_51HhAbCdEfGhIjKlMnOpQrStUv";
    assert_eq!(run_with(&world, &["secret", "set", "KEPT_KEY"], value).code, 0);
    world.ok(["policy", "allow", "kept.example.com"]);
    let cases: &[(&[&str], &str)] = &[
        (&["policy", "allow", "new.example.com"], ""),
        (&["policy", "allow", "--session", session, "new.example.com"], ""),
        (&["policy", "allow", "--global", "new.example.com"], ""),
        (&["policy", "rm", "allow kept.example.com"], ""),
        (&["policy", "deny", "kept.example.com"], ""),
        (&["policy", "preset", "open"], ""),
        (&["policy", "limit", "kept.example.com", "60/min"], ""),
        (&["policy", "private", "db.example.com:5432"], ""),
        (&["policy", "alias", "kept.ftl.local", "kept.example.com"], ""),
        (&["secret", "set", "NEW_KEY"], value),
        (&["secret", "set", "KEPT_KEY"], "sk_test_another_AbCdEfGhIjKlMnOpQrSt"),
        (&["secret", "bind", "KEPT_KEY", "--host", "kept.example.com"], ""),
        (&["secret", "rm", "KEPT_KEY"], ""),
        (&["auth", "codex"], value),
        (&["trust"], ""),
        (&["approve", session, "--digest", work["digest"].as_str().unwrap()], ""),
        (&["snapshots", "branch", session], ""),
        (&["rewind", &start], ""),
        (&["rewind", &turn], ""),
        (&["snapshots", "restore", &start, "--into-project"], ""),
        (&["snapshots", "clean", "--last", "1"], ""),
        (&["export", session, "--git-branch", "exported"], ""),
        (&["wipe", session], ""),
        (&["start", session], ""),
        (&["reject", session, "--why", "no"], ""),
        (&["run", "--no-review", "--", "true"], ""),
    ];
    let before = said_so_far(&world);
    for (arguments, input) in cases {
        fill_log(&world);
        let said = run_with(&world, arguments, input);
        assert!(said.code == 1 && said.err.contains("audit"), "{arguments:?}: {said:#?}");
        let after = said_so_far(&world);
        for (one, other) in before.iter().zip(&after) {
            assert_eq!(one, other, "{arguments:?}");
        }
        assert_eq!(before.len(), after.len(), "{arguments:?}");
    }
    // And each of them does something when it can be recorded.
    for (arguments, input) in cases.iter().filter(|(arguments, _)| arguments[0] != "approve") {
        let before = said_so_far(&world);
        let said = run_with(&world, arguments, input);
        assert_eq!(said.code, 0, "{arguments:?}: {said:#?}");
        assert_ne!(before, said_so_far(&world), "{arguments:?}");
    }
    assert_eq!(world.json(0, ["logs", "--verify"])["intact"], true);
}
