//! Testing what was selected: regressions, failures that were there, and what a check cannot do.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ftl_tests::project;
use ftl_tests::world::{Who, World};
use serde_json::{Value, json};

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

/// A project of which `f` and `g` must agree, with an agent that changes both, and `f` twice.
fn agreeing(world: &World) -> String {
    let lines: String = (1..=30).map(|line| format!("line {line}\n")).collect();
    world.files(&[
        ("f", &lines),
        ("g", "3\n"),
        ("Makefile", "test:\n\tgrep -qx \"line $$(cat g)\" f && echo agreed >&2\n"),
    ]);
    let last = world.shell("sed -i 's/^line 3$/line three/; s/^line 25$/line 25!/' f; echo three > g");
    text(&last, "session").to_owned()
}

/// The verdict and since when, of the last check of `ftlctl test`.
fn verdict(lines: &[Value]) -> (String, Value) {
    let ended = lines.iter().rev().find(|line| line["type"] == "check_ended");
    let ended = ended.unwrap_or_else(|| panic!("no check ended: {lines:#?}"));
    (text(ended, "verdict").to_owned(), ended["since"].clone())
}

fn printed(lines: &[Value]) -> String {
    lines.iter().filter(|line| line["type"] == "check_output").map(|line| text(line, "data")).collect()
}

/// Tries the whole work of a session that changes nothing that counts, with this as the check.
fn tried(world: &World, check: &str, limits: &Value) -> Vec<Value> {
    world.config(&json!({"checks": {"test": check}, "limits": limits}));
    world.files(&[("f", "1\n")]);
    let last = world.shell("echo 2 > f");
    world.json_lines(1, ["test", text(&last, "session")])
}

fn leftovers(world: &World) -> Vec<String> {
    let sessions = std::fs::read_dir(world.ftl_home().join("sessions")).expect("sessions");
    let known: Vec<String> = world
        .json_lines(0, ["sessions", "--all"])
        .iter()
        .map(|session| text(session, "session").to_owned())
        .collect();
    let names = sessions.flatten().map(|item| item.file_name().to_string_lossy().into_owned());
    names.filter(|name| !known.contains(name)).collect()
}

#[test]
fn a_part_that_breaks_the_tests_is_a_regression_and_the_whole_passes() {
    for who in World::everybody() {
        let world = World::new(who);
        let session = agreeing(&world);
        let before = project::see(&world.project());
        let part = world.json_lines(1, ["test", &session, "--hunk", "f:1"]);
        assert_eq!(verdict(&part), ("failed".to_owned(), "regression".into()), "{part:#?}");
        let started: Vec<_> = part.iter().filter(|line| line["type"] == "check_started").collect();
        assert_eq!(started.len(), 2, "once with the changes and once without: {part:#?}");
        assert_eq!(text(started[0], "guessed_from"), "Makefile");
        assert_eq!(part.last().unwrap()["ready"], false);

        let other = world.json_lines(0, ["test", &session, "--hunk", "f:2"]);
        assert_eq!(verdict(&other).0, "passed");
        let whole = world.json_lines(0, ["test", &session]);
        assert_eq!(verdict(&whole), ("passed".to_owned(), Value::Null));
        assert_eq!(printed(&whole).matches("agreed").count(), 2, "make prints the command too: {whole:#?}");
        let word = whole.last().unwrap();
        assert_eq!((&word["type"], &word["ready"]), (&"checks_ended".into(), &true.into()));
        assert_eq!(project::see(&world.project()), before, "a test writes nothing");
        assert_eq!(leftovers(&world).len(), 0);
        // The digest of the word approves what was tested.
        world.json(0, ["approve", &session, "--digest", text(word, "digest"), "--path", "f", "--path", "g"]);
    }
}

#[test]
fn what_failed_before_is_told_and_an_answer_is_remembered_for_the_same_bytes() {
    let world = World::new(Who::Me);
    world.files(&[("f", "1\n"), ("Makefile", "test:\n\tgrep -q fine f\n")]);
    let session = text(&world.shell("echo 2 > f"), "session").to_owned();
    let first = world.json_lines(1, ["test", &session]);
    assert_eq!(verdict(&first), ("failed".to_owned(), "before".into()));
    let people = world.run(["test", &session]);
    assert!(people.out.contains("it failed before too: it ended with status 2"), "{people:#?}");
    assert!(people.out.contains("not ready: test fails, and did before"), "{people:#?}");
    assert!(people.out.contains("--again runs it again"), "{people:#?}");
    let again = world.json_lines(1, ["test", &session, "--again"]);
    assert!(again.iter().any(|line| line["type"] == "check_started"), "{again:#?}");

    // Another project is another question.
    world.files(&[("new", "x\n")]);
    let other = world.json_lines(1, ["test", &session]);
    assert!(other.iter().any(|line| line["type"] == "check_started"), "{other:#?}");
    // What came of it is among the session's events and in the audit log.
    let events = world.json_lines(4, ["attach", &session]);
    let ended = events.iter().filter(|event| event["type"] == "check_ended").count();
    assert_eq!(ended, 4, "{events:#?}");
    let log = world.json_lines(0, ["logs", "--session", &session]);
    for action in ["check_begun", "check_ended", "checked"] {
        assert!(log.iter().any(|record| record["action"] == action), "{action}: {log:#?}");
    }
}

#[test]
fn nothing_is_ready_that_was_not_tried() {
    let world = World::new(Who::Me);
    world.files(&[("f", "1\n")]);
    let session = text(&world.shell("echo 2 > f"), "session").to_owned();
    let said = world.run(["test", &session]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.out.contains("not ready: nothing ran: no check is known"), "{said:#?}");

    world.config(&json!({"checks": {"test": "no-such-program --all"}}));
    let missing = world.json_lines(1, ["test", &session]);
    assert_eq!(verdict(&missing).0, "could_not_run");
    world.config(&json!({"checks": {"test": "echo 'test result: ok. 0 passed; 0 failed; 0 ignored'"}}));
    let empty = world.json_lines(1, ["test", &session]);
    assert_eq!(verdict(&empty).0, "nothing_ran");
    world.config(&json!({"checks": {"lint": "true", "test": "false"}}));
    let two = world.json_lines(1, ["test", &session]);
    assert_eq!(two.last().unwrap()["why"], "test fails, and did before");
}

#[test]
fn a_projects_own_checks_count_once_it_is_trusted() {
    let world = World::new(Who::Me);
    let config = json!({"checks": {"test": "true"}}).to_string();
    world.files(&[("f", "1\n"), (".ftlconfig", &config), ("Makefile", "test:\n\tfalse\n")]);
    let session = text(&world.shell("echo 2 > f"), "session").to_owned();
    let guessed = world.json_lines(1, ["test", &session]);
    assert!(guessed.iter().any(|line| line["guessed_from"] == "Makefile"), "{guessed:#?}");
    world.ok(["trust"]);
    let own = world.json_lines(0, ["test", &session]);
    assert!(own.iter().any(|line| line["command"] == "true"), "{own:#?}");
}

#[test]
fn a_check_has_no_network_no_credentials_and_nothing_of_the_agents() {
    let mut world = World::new(Who::Me);
    world.set("FTL_TEST_TOKEN", "hunter2hunter2");
    world.config(&json!({}));
    world.files(&[("f", "1\n"), (".env", "API_KEY=sk-hunter2hunter2hunter2\n"), (".gitignore", "ignored\n")]);
    world.files(&[("ignored", "left out\n")]);
    let check = "echo home:$(ls -A $HOME | tr '\\n' ' '); env; cat .env ignored; ls -A /tmp; \
                 (echo x > /dev/tcp/127.0.0.1/80) ; ls /sys/class/net; cat /proc/net/route; \
                 echo ours > $HOME/x; echo ours > f; echo ours > new; touch /usr/ours /ours";
    world.config(&json!({"checks": {"test": format!("exec 2>&1; {check}; exit 3")}}));
    let last = world.shell("echo 2 > f; echo mine > $HOME/mine; echo mine > /tmp/mine");
    let session = text(&last, "session").to_owned();
    let before = project::see(&world.project());
    let lines = world.json_lines(1, ["test", &session]);
    let printed = printed(&lines);
    assert!(!printed.contains("hunter2") && !printed.contains("API_KEY"), "{printed}");
    assert!(!printed.contains("mine") && !printed.contains("left out"), "{printed}");
    assert!(printed.contains("CI=true") && !printed.contains("HTTPS_PROXY"), "{printed}");
    assert!(!printed.contains("eth") && !printed.contains("FTL_TEST"), "{printed}");
    assert_eq!(verdict(&lines), ("failed".to_owned(), "before".into()));
    // Nothing that it wrote is in the project, in the session or in the next run.
    assert_eq!(project::see(&world.project()), before);
    let diff = world.json(0, ["diff", &session]);
    assert_eq!(diff["entries"].as_array().unwrap().len(), 1, "{diff}");
    let again = world.json_lines(1, ["test", &session, "--again"]);
    assert!(!self::printed(&again).contains("ours\n"), "{again:#?}");
    assert!(!Path::new("/usr/ours").exists() && !Path::new("/ours").exists());
    assert_eq!(leftovers(&world).len(), 0);
}

#[test]
fn a_check_that_runs_forever_or_prints_forever_is_ended_and_told() {
    let world = World::new(Who::Me);
    let limits = json!({"check_seconds": 2, "check_output_mb": 1});
    let late = tried(&world, "echo begun; sleep 1000 & while :; do sleep 1; done", &limits);
    assert_eq!(verdict(&late), ("failed".to_owned(), "before".into()), "{late:#?}");
    assert!(late.iter().any(|line| line["why"] == "it did not end within 2 seconds"), "{late:#?}");
    let loud = tried(&world, "yes | head -c 1073741824", &limits);
    assert!(loud.iter().any(|line| line["why"] == "it printed more than 1 MiB"), "{:#?}", loud.last());
    assert!(printed(&loud).len() <= 2 << 20, "as much as may be, with the changes and without them");
}

#[test]
fn what_a_check_leaves_running_is_gone_and_hostile_output_moves_no_cursor() {
    let world = World::new(Who::Me);
    let mark = format!("ftl-stays-{}", std::process::id());
    let stays = format!("setsid sh -c 'exec -a {mark} sleep 1000' & setsid sleep 1000 & ");
    world.config(&json!({"checks": {"test": format!("{stays} printf '\\033[2Jx\\r\\nready: faked\\n'")}}));
    world.files(&[("f", "1\n")]);
    let session = text(&world.shell("echo 2 > f"), "session").to_owned();
    let said = world.run(["test", &session]);
    assert_eq!(said.code, 0, "{said:#?}");
    assert!(!said.out.contains('\u{1b}') && said.out.contains("│ ready: faked"), "{said:#?}");
    assert!(said.out.lines().any(|line| line == "ready: the check passed"), "{said:#?}");
    assert_eq!(running(&mark), 0);
    assert_eq!(leftovers(&world).len(), 0);
}

/// Processes with this in their command line.
fn running(mark: &str) -> usize {
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    let lines = all.filter_map(|item| std::fs::read(item.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(mark)).count()
}

/// Waits until something holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_killed_daemon_a_removed_session_and_a_client_that_goes_leave_no_check() {
    let world = World::new(Who::Me);
    let mark = format!("ftl-waits-{}", std::process::id());
    world.config(&json!({"checks": {"test": format!("sh -c 'sleep 1000; : {mark}'")}}));
    world.files(&[("f", "1\n")]);
    let session = text(&world.shell("echo 2 > f"), "session").to_owned();
    let begin = || {
        let mut client = world.ftlctl(["test", &session, "--again"]);
        let client = client.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ftlctl runs");
        until("the check runs", || running(&format!("sleep 1000; : {mark}")) > 0);
        client
    };
    // The session is free for others meanwhile.
    let mut client = begin();
    world.json(0, ["diff", &session]);
    client.kill().expect("it runs");
    client.wait().expect("it ended");
    until("a client that goes ends its checks", || running(&mark) == 0);
    until("and all that they wrote", || leftovers(&world).is_empty());

    let mut client = begin();
    let pid = world.daemon_pid();
    assert!(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    client.wait().expect("it ended");
    until("a killed daemon's checks end", || running(&mark) == 0);
    world.ok(["sessions"]);
    assert_eq!(leftovers(&world).len(), 0);

    let mut client = begin();
    world.ok(["rm", "--discard", &session]);
    assert_eq!(running(&mark), 0);
    assert_eq!(leftovers(&world).len(), 0);
    assert!(!client.wait().expect("it ended").success());
}

#[test]
fn approve_with_test_applies_only_what_passes() {
    let world = World::new(Who::Me);
    let session = agreeing(&world);
    let before = project::see(&world.project());
    let preview = world.json(0, ["diff", &session, "--hunk", "f:1"]);
    let part = ["--test", "--hunk", "f:1", "--digest", text(&preview, "digest")];
    let said = world.run([&["approve", &session][..], &part].concat());
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(
        said.err.contains("nothing was applied: test fails because of the selected changes"),
        "{said:#?}"
    );
    assert!(said.err.contains("--hunk f:1`") && said.err.contains("apply it all the same"), "{said:#?}");
    assert_eq!(project::see(&world.project()), before);
    let none = world.run(["approve", &session, "--test"]);
    assert_eq!(none.code, 4, "{none:#?}");
    let other = world.run(["approve", &session, "--test", "--digest", &"0".repeat(64)]);
    assert_eq!(other.code, 4, "{other:#?}");
    assert_eq!(project::see(&world.project()), before);
    let whole = text(&world.json(0, ["diff", &session]), "digest").to_owned();
    let applied = world.json(0, ["approve", &session, "--test", "--digest", &whole]);
    assert_eq!(text(&applied, "state"), "merged", "{applied}");
}

#[test]
fn the_humans_edits_since_are_part_of_what_is_tested() {
    let world = World::new(Who::Me);
    let session = agreeing(&world);
    let preview = text(&world.json(0, ["diff", &session, "--preview"]), "digest").to_owned();
    // The human edits another line of the same file: what would land is something else now.
    let text_of = |name: &str| std::fs::read_to_string(world.project().join(name)).unwrap();
    world.files(&[("f", &text_of("f").replace("line 12\n", "line twelve\n"))]);
    world.files(&[("Makefile", "test:\n\tgrep -qx 'line twelve' f && grep -qx 'line three' f\n")]);
    let tested = world.json_lines(0, ["test", &session]);
    let digest = text(tested.last().unwrap(), "digest").to_owned();
    assert_ne!(digest, preview, "the digest is that of what was tested");
    let old = world.run(["approve", &session, "--digest", &preview]);
    assert_eq!(old.code, 4, "{old:#?}");
    world.json(0, ["approve", &session, "--digest", &digest]);
    assert!(text_of("f").contains("line twelve") && text_of("f").contains("line three"));
}
