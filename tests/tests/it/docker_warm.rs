//! Containers that stand ready: a turn that finds one, and what is left when the daemon goes.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use ftl_tests::doors::{Doors, label};
use ftl_tests::world::{Who, World};
use serde_json::{Value, json};

use super::conformance::engine;

/// A world whose sessions run in containers, one of which is made ahead.
fn world() -> World {
    let (host, image) = engine();
    let world = World::new(Who::Me);
    world.config(&json!({ "sandbox": "docker", "docker": { "host": host, "image": image, "warm": 1 } }));
    world
}

fn docker(words: &[&str]) -> String {
    let (host, _) = engine();
    let output = Command::new("docker").args(["-H", &host]).args(words).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// What the engine has that bears this world's name.
fn left(world: &World) -> String {
    let label = label(world);
    docker(&["ps", "-a", "-q", "--filter", &label]) + &docker(&["volume", "ls", "-q", "--filter", &label])
}

fn doors(world: &World) -> Doors {
    Doors::of(world, &engine().0)
}

fn session(of: &Value) -> String {
    of["session"].as_str().unwrap().to_owned()
}

/// The next containers that are started are these sessions', one after the other.
fn started(doors: &mut Doors, expected: &[&str]) {
    for one in expected {
        assert_eq!(doors.next_session(), *one);
    }
}

#[test]
fn a_follow_up_and_the_next_session_find_a_container_that_stands_ready() {
    let world = world();
    let mut doors = doors(&world);
    world.files(&[("a.txt", "one\n"), ("dir/b.txt", "b\n"), (".env", "PLAIN=here\n"), ("gone.txt", "x\n")]);
    let first = world.shell("cat .env; echo two >> a.txt; echo note > ~/note; echo tmp > /tmp/note");
    let one = session(&first);
    // Its own, and the one for its follow-up.
    started(&mut doors, &[&one, &one]);
    let task = "cat ~/note /tmp/note .env; test -f a.txt; echo three >> a.txt";
    let second = world.json(0, ["code", "--no-review", "--session", &one, task]);
    // The next one's next: had the turn begun without it there would be one more before that.
    started(&mut doors, &[&one]);
    world.json(0, ["approve", &one, "--digest", second["digest"].as_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(world.project().join("a.txt")).unwrap(), "one\ntwo\nthree\n");

    // The session has ended: now one stands ready for a new one, over the snapshot from before.
    let two = doors.next_session();
    assert_ne!(two, one);
    std::fs::remove_file(world.project().join("gone.txt")).unwrap();
    world.files(&[("dir/new.txt", "new\n"), (".env", "PLAIN=changed\n")]);
    let task = "ls -A ~ /tmp; cat a.txt dir/b.txt dir/new.txt .env; test ! -e gone.txt; echo four >> a.txt";
    let third = world.shell(task);
    assert_eq!(session(&third), two, "another session's container");
    let said = world.run(["attach", &two]).out;
    for line in ["three", "new", "PLAIN=changed"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!said.contains("note"), "{said}");
    assert_eq!(doors.next_session(), two, "its follow-up's");
    let kept = world.json(0, ["sessions", "--verbose"]);
    assert!(kept.to_string().contains("home_bytes"), "{kept}");
    world.json(0, ["approve", &two, "--digest", third["digest"].as_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(world.project().join("a.txt")).unwrap(), "one\ntwo\nthree\nfour\n");
    assert!(!world.project().join("gone.txt").exists());
    world.ok(["daemon", "stop"]);
    assert_eq!(left(&world), "");
    let sessions = std::fs::read_dir(world.ftl_home().join("sessions")).unwrap().count();
    assert_eq!(sessions, 2, "a directory of a session that never was");
}

#[test]
fn a_daemon_that_is_killed_with_one_ready_leaves_nothing_to_the_next_one() {
    let world = world();
    let mut doors = doors(&world);
    world.files(&[("a.txt", "one\n")]);
    let first = world.shell("echo two >> a.txt");
    world.json(0, ["reject", &session(&first)]);
    let one = session(&first);
    doors.next_but(&[one]);
    let daemon = rustix::process::Pid::from_raw(world.daemon_pid()).unwrap();
    rustix::process::kill_process(daemon, rustix::process::Signal::KILL).unwrap();
    assert_ne!(left(&world), "");
    let mut gone = Command::new("docker");
    let (host, _) = engine();
    gone.args([
        "-H",
        &host,
        "events",
        "--since",
        "0",
        "--filter",
        "type=volume",
        "--filter",
        "event=destroy",
    ]);
    let before = docker(&["volume", "ls", "-q", "--filter", &label(&world)]);
    let mut gone = gone.args(["--format", "{{.Actor.ID}}"]).stdout(Stdio::piped()).spawn().unwrap();
    // Nobody asks it for a container.
    world.ok(["daemon", "start"]);
    let lines = BufReader::new(gone.stdout.take().unwrap()).lines();
    let wanted: Vec<&str> = before.lines().collect();
    let met = lines.map_while(Result::ok).find(|line| wanted.contains(&line.as_str()));
    gone.kill().unwrap();
    gone.wait().unwrap();
    assert!(met.is_some());
    assert_eq!(left(&world), "");
    let sessions = std::fs::read_dir(world.ftl_home().join("sessions")).unwrap().count();
    assert_eq!(sessions, 1, "a directory of a session that never was");
}

#[test]
fn what_a_session_keeps_is_shown_and_wiped() {
    let world = world();
    let mut doors = doors(&world);
    world.files(&[("a.txt", "one\n")]);
    let task = "head -c 3000000 /dev/zero > ~/cache; head -c 2000000 /dev/zero > big; echo x > /tmp/x";
    let first = world.shell(task);
    let one = session(&first);
    started(&mut doors, &[&one, &one]);
    let kept = |world: &World| {
        let listed = world.json(0, ["sessions", "--verbose"]);
        listed["kept"].clone()
    };
    let before = kept(&world);
    assert!(before["home_bytes"].as_u64().unwrap() >= 3_000_000, "{before}");
    assert!(before["workspace_bytes"].as_u64().unwrap() >= 2_000_000, "{before}");
    let wiped = world.json(0, ["wipe", &one]);
    assert!(wiped["bytes"].as_u64().unwrap() >= 3_000_000, "{wiped}");
    assert_eq!(wiped["state"], "awaiting_review");
    // One is made anew for its next turn.
    started(&mut doors, &[&one]);
    let refused = world.run(["wipe", &one, "--workspace"]);
    assert!(refused.code == 3 && refused.err.contains("--discard"), "{refused:#?}");
    let task = "ls -A ~ /tmp; ls -l big; echo more > more.txt";
    let second = world.json(0, ["code", "--no-review", "--session", &one, task]);
    assert!(second["digest"].is_string());
    assert_eq!(kept(&world)["temporary_bytes"], 0);
    let wiped = world.json(0, ["wipe", &one, "--workspace", "--discard"]);
    assert_eq!(wiped["state"], "no_changes");
    let checkpoints = world.run(["sessions", "--checkpoints", &one]).out;
    assert!(checkpoints.contains("no checkpoints"), "{checkpoints}");
    assert_eq!(std::fs::read_dir(world.ftl_home().join("layers")).unwrap().count(), 0);
    let third = world.json(0, ["code", "--no-review", "--session", &one, "ls; echo again > again.txt"]);
    world.json(0, ["approve", &one, "--digest", third["digest"].as_str().unwrap()]);
    assert!(world.project().join("again.txt").exists() && !world.project().join("more.txt").exists());
    world.ok(["daemon", "stop"]);
    assert_eq!(left(&world), "");
}

#[test]
fn the_projects_setup_runs_in_every_fresh_container_and_its_failure_stops_the_task() {
    let world = world();
    let setup = |text: &str| json!({ "agent": "shell", "setup": text }).to_string();
    world.files(&[("a.txt", "one\n"), (".ftlconfig", &setup("echo set up; echo x >> count.txt"))]);
    let first = world.shell("wc -l < count.txt");
    let one = session(&first);
    world.json(0, ["code", "--no-review", "--session", &one, "wc -l < count.txt"]);
    let said = world.run(["attach", &one]).out;
    assert_eq!(said.matches("set up").count(), 2, "{said}");
    world.files(&[(".ftlconfig", &setup("echo no way; exit 5"))]);
    let failed = world.run(["code", "--no-review", "--session", &one, "echo nev'er'"]);
    let said = format!("{}{}", failed.out, failed.err);
    assert!(said.contains("no way") && said.contains("setup") && !said.contains("never"), "{said}");
    world.ok(["daemon", "stop"]);
    assert_eq!(left(&world), "");
}
