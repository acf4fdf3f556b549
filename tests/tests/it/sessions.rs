//! A session's life as a user sees it: run, watch, follow up, stop, configure.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use ftl_tests::project;
use ftl_tests::world::{Who, World, said};

#[test]
fn a_task_changes_nothing_on_the_host_until_it_is_approved() {
    for who in World::everybody() {
        let world = World::new(who);
        world.files(&[("a.txt", "one\n"), ("dir/b.txt", "two\n"), ("gone.txt", "x\n")]);
        let before = project::see(&world.project());
        let last = world.shell(
            "echo more >> a.txt; rm gone.txt; mkdir -p new/deep; echo c > new/deep/c.txt; chmod +x dir/b.txt",
        );
        assert_eq!(project::see(&world.project()), before, "{who:?}");
        let session = last["session"].as_str().unwrap();
        let diff = world.json(0, ["diff", session]);
        let kinds: Vec<(String, String)> = diff["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (entry["path"].as_str().unwrap().into(), entry["kind"].as_str().unwrap().into()))
            .collect();
        let expected = [
            ("a.txt", "modified"),
            ("dir/b.txt", "mode"),
            ("gone.txt", "deleted"),
            ("new", "added"),
            ("new/deep", "added"),
            ("new/deep/c.txt", "added"),
        ];
        let expected: Vec<(String, String)> = expected.map(|(path, kind)| (path.into(), kind.into())).into();
        assert_eq!(kinds, expected, "{who:?}");
        world.approve_by_name(session, last["digest"].as_str().unwrap());
        let after = project::see(&world.project());
        assert_eq!(after[b"a.txt".as_slice()], project::Seen::File(0o644, b"one\nmore\n".to_vec()));
        assert_eq!(after[b"dir/b.txt".as_slice()], project::Seen::File(0o755, b"two\n".to_vec()));
        assert!(!after.contains_key(b"gone.txt".as_slice()));
        assert_eq!(after[b"new/deep/c.txt".as_slice()], project::Seen::File(0o644, b"c\n".to_vec()));
        world.json(0, ["undo", session]);
        assert_eq!(project::see(&world.project()), before, "{who:?}");
    }
}

#[test]
fn a_follow_up_goes_on_in_the_same_workspace() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let first = world.shell("echo two >> a.txt; echo note > $HOME/note");
    let session = first["session"].as_str().unwrap().to_owned();
    let second =
        world.json(0, ["code", "--no-review", "--session", &session, "cat $HOME/note; echo three >> a.txt"]);
    assert_eq!(second["session"], first["session"]);
    assert_ne!(second["digest"], first["digest"]);
    let stale = world.run(["approve", &session, "--digest", first["digest"].as_str().unwrap()]);
    assert_eq!(stale.code, 4, "a digest that was shown before the follow-up is not an approval: {stale:#?}");
    world.json(0, ["approve", &session, "--digest", second["digest"].as_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(world.project().join("a.txt")).unwrap(), "one\ntwo\nthree\n");
    // And on after the approval: only what is new is left to approve.
    let third = world.json(0, ["code", "--no-review", "--session", &session, "echo four > b.txt"]);
    let diff = world.json(0, ["diff", &session]);
    assert_eq!(diff["entries"].as_array().unwrap().len(), 1, "{diff}");
    assert_eq!(third["state"], "awaiting_review");
}

#[test]
fn stopping_an_agent_keeps_its_work_for_review() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let mut code = world
        .ftlctl([
            "--json",
            "code",
            "--no-review",
            "--agent",
            "shell",
            "echo begun > b.txt; echo ready; sleep 1000",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(code.stdout.take().unwrap()).lines();
    let session = loop {
        let line: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if line["type"] == "output" {
            break line["session"].as_str().map(str::to_owned);
        }
    };
    let session = session.unwrap_or_else(|| {
        let all = world.ok(["--json", "sessions"]);
        let first: serde_json::Value = serde_json::from_str(all.lines().next().unwrap()).unwrap();
        first["session"].as_str().unwrap().to_owned()
    });
    world.ok(["stop", &session]);
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let last: serde_json::Value = serde_json::from_str(rest.last().unwrap()).unwrap();
    assert_eq!(last["state"], "awaiting_review", "{rest:#?}");
    assert!(code.wait().unwrap().success());
    let diff = world.json(0, ["diff", &session]);
    assert_eq!(diff["entries"][0]["path"], "b.txt");
}

#[test]
fn an_interrupt_stops_the_agent_and_keeps_its_work() {
    let world = World::new(Who::Me);
    let mut code = world
        .ftlctl(["--json", "code", "--agent", "shell", "echo begun > b.txt; echo ready; sleep 1000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(code.stdout.take().unwrap()).lines();
    while !lines.next().unwrap().unwrap().contains("\"output\"") {}
    let pid = rustix::process::Pid::from_child(&code);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let last: serde_json::Value = serde_json::from_str(rest.last().unwrap()).unwrap();
    assert_eq!(last["state"], "awaiting_review", "{rest:#?}");
    assert_eq!(code.wait().unwrap().code(), Some(4));
}

#[test]
fn run_and_exec_pass_stdio_and_exit_status_through() {
    for who in World::everybody() {
        let world = World::new(who);
        world.files(&[("a.txt", "one\n")]);
        let mut run = world
            .ftlctl(["run", "--", "sh", "-c", "tr a-z A-Z; echo oops >&2; echo x > made; exit 7"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        run.stdin.take().unwrap().write_all(b"hello\n").unwrap();
        let said = said(run.wait_with_output().unwrap());
        assert_eq!(said.code, 7, "{said:#?}");
        assert!(said.out.contains("HELLO"), "{said:#?}");
        assert!(said.err.contains("oops"), "{said:#?}");
        let sessions = world.ok(["--json", "sessions"]);
        let session: serde_json::Value = serde_json::from_str(sessions.lines().next().unwrap()).unwrap();
        assert_eq!(session["state"], "awaiting_review");
        let id = session["session"].as_str().unwrap();
        let exec = world.run(["exec", id, "--", "sh", "-c", "cat made; exit 3"]);
        assert_eq!((exec.code, exec.out.as_str()), (3, "x\n"), "{exec:#?}");
    }
}

#[test]
fn an_agent_that_fails_is_told_with_its_status_and_its_work_is_kept() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let nothing = world.json(1, ["code", "--no-review", "--agent", "shell", "exit 9"]);
    assert_eq!(nothing["state"], "failed");
    let some = world.json(0, ["code", "--no-review", "--agent", "shell", "echo x > b; exit 9"]);
    assert_eq!(some["state"], "awaiting_review");
    let none = world.json(0, ["code", "--no-review", "--agent", "shell", "cat a.txt"]);
    assert_eq!(none["state"], "no_changes");
}

#[test]
fn the_projects_setup_runs_before_the_agent_and_its_failure_is_told() {
    let world = World::new(Who::Me);
    world.files(&[
        ("a.txt", "one\n"),
        (".ftlconfig", r#"{"agent": "shell", "setup": "echo made > setup.txt"}"#),
    ]);
    let last = world.json(0, ["code", "--no-review", "cat setup.txt > copy.txt"]);
    let diff = world.json(0, ["diff", last["session"].as_str().unwrap()]);
    let paths: Vec<&str> =
        diff["entries"].as_array().unwrap().iter().map(|e| e["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["copy.txt", "setup.txt"]);
    world.files(&[(".ftlconfig", r#"{"agent": "shell", "setup": "exit 5"}"#)]);
    let failed = world.run(["code", "--no-review", "touch never"]);
    assert_eq!(failed.code, 1, "{failed:#?}");
    assert!(format!("{}{}", failed.out, failed.err).contains("setup"), "{failed:#?}");
}

#[test]
fn an_unknown_setting_is_an_error_that_names_the_nearest_known_one() {
    let world = World::new(Who::Me);
    world.files(&[(".ftlconfig", r#"{"agnet": "shell"}"#)]);
    let said = world.run(["code", "--no-review", "true"]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.err.contains("agnet") && said.err.contains("agent"), "{said:#?}");
}

#[test]
fn what_a_project_could_widen_is_inert_until_these_very_bytes_are_trusted() {
    let world = World::new(Who::Me);
    let config = r#"{"agent": "shell", "agent_env": ["GREETING"]}"#;
    world.files(&[(".ftlconfig", config)]);
    let code = |world: &World| {
        let mut command = world.ftlctl(["--json", "code", "--no-review", "echo \"<$GREETING>\" > seen"]);
        said(command.env("GREETING", "hello").output().unwrap())
    };
    // The daemon's own environment is what counts; it is started with the variable.
    let untrusted = code(&world);
    assert!(untrusted.out.contains("trust"), "{untrusted:#?}");
    let trusted = world.json(0, ["trust"]);
    assert_eq!(trusted["widening"][0], "agent_env", "{trusted}");
    let seen = |said: &ftl_tests::world::Said| {
        let last: serde_json::Value = serde_json::from_str(said.out.lines().last().unwrap()).unwrap();
        world.json(0, ["diff", last["session"].as_str().unwrap()])["entries"][0]["hunks"][0]["lines"][0]["text"].clone()
    };
    assert_eq!(seen(&untrusted), "<>\n");
    assert_eq!(seen(&code(&world)), "<hello>\n");
    // One more byte, and it is inert again.
    world.files(&[(".ftlconfig", &format!("{config}\n"))]);
    assert_eq!(seen(&code(&world)), "<>\n");
}

#[test]
fn a_directory_that_is_no_project_is_refused_by_name() {
    let world = World::new(Who::Me);
    for dir in ["/", "/etc", "/proc", world.home().to_str().unwrap(), world.ftl_home().to_str().unwrap()] {
        world.ok(["daemon", "start"]);
        let said = world.run(["code", "--agent", "shell", "--no-review", "--project", dir, "true"]);
        assert_eq!(said.code, 1, "{dir}: {said:#?}");
        assert!(said.err.contains(dir.trim_end_matches('/')), "{dir}: {said:#?}");
    }
}

#[test]
fn a_command_that_is_not_there_is_told_and_leaves_no_session_at_work() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let run = world.run(["run", "--", "no-such-program"]);
    assert_ne!(run.code, 0, "{run:#?}");
    assert!(run.err.contains("no-such-program") && !run.err.contains("doctor"), "{run:#?}");
    let session = world.json(0, ["sessions"]);
    assert_eq!(session["state"], "no_changes", "{session}");
    let id = session["session"].as_str().unwrap();
    let exec = world.run(["exec", id, "--", "no-such-program"]);
    assert_ne!(exec.code, 0, "{exec:#?}");
    // Watches until the session is idle: it does not hang there.
    world.ok(["attach", id]);
    assert_eq!(world.json(0, ["sessions"])["state"], "no_changes");
}

#[test]
fn a_stopped_turn_is_told_as_stopped_whatever_the_agent_made_of_it() {
    let world = World::new(Who::Me);
    // One agent dies of the signal, the other ignores it and outlives the patience.
    for script in ["echo ready; exec sleep 1000", "trap '' INT; echo ready; sleep 1000"] {
        let mut code = world
            .ftlctl(["--json", "code", "--no-review", "--agent", "shell", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(code.stdout.take().unwrap()).lines();
        while !lines.next().unwrap().unwrap().contains("\"output\"") {}
        let newest = world.ok(["--json", "sessions"]);
        let session: serde_json::Value = serde_json::from_str(newest.lines().next().unwrap()).unwrap();
        world.ok(["stop", session["session"].as_str().unwrap()]);
        let last = lines.last().unwrap().unwrap();
        let last: serde_json::Value = serde_json::from_str(&last).unwrap();
        assert_eq!(last["state"], "no_changes", "{last}");
        assert!(code.wait().unwrap().success());
    }
}

#[test]
fn a_client_that_does_not_read_holds_up_neither_the_session_nor_the_daemon() {
    use std::io::Read as _;
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let last = world.shell("echo two > b.txt");
    let session = last["session"].as_str().unwrap();
    let mut exec = world
        .ftlctl(["exec", session, "--", "sh", "-c", "yes | head -c 200000000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It runs, and from now on nobody reads what it says.
    exec.stdout.as_mut().unwrap().read_exact(&mut [0; 4]).unwrap();
    world.ok(["stop", session]);
    assert_eq!(world.json(0, ["diff", session])["entries"][0]["path"], "b.txt");
    world.ok(["daemon", "stop"]);
    exec.kill().unwrap();
    exec.wait().unwrap();
}

#[test]
fn the_daemon_ends_though_clients_go_on_asking() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let last = world.shell("echo two > b.txt");
    let session = last["session"].as_str().unwrap();
    // A turn that takes a moment to stop, so that requests arrive while the daemon ends.
    let mut busy = world
        .ftlctl(["--json", "code", "--no-review", "--agent", "shell", "trap '' INT; echo ready; sleep 1000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(busy.stdout.take().unwrap()).lines();
    while !lines.next().unwrap().unwrap().contains("\"output\"") {}
    let mut stop = world.ftlctl(["daemon", "stop"]).stdout(Stdio::null()).spawn().unwrap();
    while stop.try_wait().unwrap().is_none() {
        // Whatever it answers: asking must not keep it alive.
        let _answer = world.ftlctl(["--no-start", "diff", session, "--stat"]).output().unwrap();
    }
    assert!(stop.wait().unwrap().success());
    busy.kill().unwrap();
    busy.wait().unwrap();
}
