//! Engines whose containers outlive them (`live-restore`): what goes on while nobody holds it is found and removed,
//! and nothing of a session is lost.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use ftl_tests::doors::label;
use ftl_tests::engine::Engine;
use ftl_tests::world::{Who, World};
use serde_json::{Value, json};

fn world(engine: &Engine, workspace: &str) -> World {
    let world = World::new(Who::Me);
    let docker =
        json!({ "host": engine.host(), "image": engine.plain_image(), "workspace": workspace, "warm": 1 });
    world.config(&json!({ "sandbox": "docker", "docker": docker }));
    world.files(&[("a.txt", "one\n")]);
    world
}

fn docker(engine: &Engine, words: &[&str]) -> String {
    let output = Command::new("docker").args(["-H", &engine.host()]).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What the engine has of a world but the trees that stay.
fn left(engine: &Engine, world: &World) -> Vec<String> {
    let label = label(world);
    let all = engine.labelled(label.trim_start_matches("label="));
    all.into_iter().filter(|name| !name.ends_with("-layers")).collect()
}

fn an_engine_is_killed_in_a_turn_and_its_containers_are_not(engine: &Engine, workspace: &str) {
    let world = world(engine, workspace);
    let task = "echo kept > kept.txt; sync; echo ready; sleep 1000";
    let mut command = world.ftlctl(["--json", "code", "--no-review", "--agent", "shell", task]);
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(r#""data":"ready"#)));
    // One that nobody ends: the daemon that made it was killed, and it does not read its input.
    let bears = label(&world);
    let bears = ["--label", bears.trim_start_matches("label=")];
    let stray = [&["run", "-d", "--network", "none"], &bears[..], &[engine.plain_image(), "sleep", "1000"]];
    let stray = docker(engine, &stray.concat());
    let pid = docker(engine, &["inspect", "--format", "{{.State.Pid}}", stray.trim()]);
    engine.kill();
    let lives = || std::path::Path::new("/proc").join(pid.trim()).exists();
    assert!(lives(), "else this tests nothing");
    if workspace == "stream" {
        // The work is on the engine alone: the session waits for it.
        assert!(lines.any(|line| line.contains("is read when")));
        engine.resume();
    }
    let last: Value = serde_json::from_str(&lines.last().unwrap()).unwrap();
    running.wait().unwrap();
    assert_eq!(last["state"], "awaiting_review", "{last}");
    if workspace != "stream" {
        engine.resume();
    }
    let session = last["session"].as_str().unwrap();
    assert!(world.ok(["diff", session]).contains("kept.txt"));
    // The next turn, on an engine that was found again.
    let more = ["code", "--no-review", "--session", session, "cat kept.txt; echo more > more.txt"];
    let mut begun = world.run(more);
    if begun.code != 0 {
        // The engine itself may count a mount for ever that was there before: it says what helps.
        let told = format!("{}{}", begun.out, begun.err);
        assert!(told.contains("start the container engine again"), "{told}");
        engine.kill();
        engine.resume();
        begun = world.run(more);
    }
    assert_eq!(begun.code, 0, "{begun:#?}");
    let next = world.json(0, ["diff", session]);
    assert!(!lives(), "what bears the instance and nobody uses is removed");
    world.json(0, ["approve", session, "--digest", next["digest"].as_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(world.project().join("kept.txt")).unwrap(), "kept\n");
    world.ok(["daemon", "stop"]);
    assert_eq!(left(engine, &world), [""; 0]);
}

#[test]
fn what_outlives_an_engine_is_found_and_removed() {
    let engine = Engine::start_outlived("outlived");
    for workspace in ["overlay", "stream"] {
        an_engine_is_killed_in_a_turn_and_its_containers_are_not(&engine, workspace);
    }
}

#[test]
fn a_daemon_and_an_engine_that_are_both_killed_leave_nothing_and_lose_nothing() {
    let engine = Engine::start_outlived("both");
    let world = world(&engine, "overlay");
    let task = "echo kept > kept.txt; sync; echo ready; sleep 1000";
    let mut command = world.ftlctl(["--json", "code", "--no-review", "--agent", "shell", task]);
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(r#""data":"ready"#)));
    let daemon = rustix::process::Pid::from_raw(world.daemon_pid()).unwrap();
    // It would start another daemon.
    running.kill().unwrap();
    running.wait().unwrap();
    engine.kill();
    rustix::process::kill_process(daemon, rustix::process::Signal::KILL).unwrap();
    engine.resume();
    assert!(!left(&engine, &world).is_empty());
    let sessions = world.json(0, ["sessions"]);
    assert_eq!(sessions["state"], "awaiting_review", "{sessions}");
    assert!(world.ok(["diff"]).contains("kept.txt"));
    world.shell("true > other.txt");
    world.ok(["daemon", "stop"]);
    assert_eq!(left(&engine, &world), [""; 0]);
}
