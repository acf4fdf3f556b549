//! `ftlctl start` and `ftlctl restart`: the sandbox of a session's next turn, made when a human asks.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use ftl_tests::doors::{Doors, label};
use ftl_tests::engine::Engine;
use ftl_tests::world::{Who, World};
use serde_json::{Value, json};

use super::conformance::engine;

fn docker_world(docker: Value) -> World {
    let world = World::new(Who::Me);
    let (host, image) = engine();
    let mut settings = json!({ "host": host, "image": image });
    settings.as_object_mut().unwrap().extend(docker.as_object().unwrap().clone());
    world.config(&json!({ "sandbox": "docker", "docker": settings }));
    world.files(&[("a.txt", "one\n")]);
    world
}

fn session(of: &Value) -> String {
    of["session"].as_str().unwrap().to_owned()
}

/// A session whose agent waits without end; returns when it runs.
fn hanging(world: &World) -> (Child, String) {
    let task = "echo kept > kept.txt; echo ready; sleep 1000";
    let mut command = world.ftlctl(["--json", "code", "--no-review", "--agent", "shell", task]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.find(|line| line.as_ref().unwrap().contains(r#""data":"ready"#)).unwrap().unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    (child, session(&serde_json::from_str(&ready).unwrap()))
}

fn is_warm(world: &World, of: &str) -> bool {
    let listed = world.json_lines(0, ["sessions", "--verbose"]);
    listed.iter().find(|one| one["session"] == of).unwrap()["kept"]["warm"].as_bool().unwrap()
}

/// What both backends say alike: a hanging agent is stopped and its work kept, a decided session has no next turn.
fn a_hanging_agent_is_ended_and_its_work_is_kept(world: &World, stands: bool) {
    let (mut child, one) = hanging(world);
    let busy = world.run(["start", &one]);
    assert_eq!(busy.code, 3, "{busy:#?}");
    assert!(busy.err.contains("the session is busy") && busy.err.contains("ftlctl stop"), "{busy:#?}");
    let again = world.json(0, ["restart", &one]);
    assert_eq!((&again["ready"], &again["stopped"]), (&stands.into(), &true.into()), "{again}");
    assert_eq!(again["state"], "awaiting_review");
    child.wait().unwrap();
    assert_eq!(is_warm(world, &one), stands);
    assert!(world.ok(["diff", &one]).contains("kept.txt"));
    let next =
        world.json(0, ["code", "--no-review", "--session", &one, "test ! -e /proc/1000000; cat kept.txt"]);
    world.json(0, ["approve", &one, "--digest", next["digest"].as_str().unwrap()]);
    for verb in ["start", "restart"] {
        let over = world.run([verb, &one]);
        assert_eq!(over.code, 3, "{over:#?}");
        assert!(
            over.err.contains("it is merged") && over.err.contains(&format!("--session {one}")),
            "{over:#?}"
        );
    }
}

#[test]
fn in_the_native_sandbox_one_is_made_and_ended() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let one = session(&world.shell("echo two >> a.txt"));
    let started = world.json(0, ["start", &one]);
    assert_eq!((&started["ready"], &started["stopped"]), (&false.into(), &false.into()), "{started}");
    assert!(started["why_not_ready"].as_str().unwrap().contains("made with each turn"), "{started}");
    let told = world.ok(["start"]);
    assert!(told.starts_with(&format!("works {one}: a native sandbox was made and ended")), "{told}");
    // Nothing of it stays: the work is as it was, and nobody lives.
    assert!(!world.ftl_home().join("sessions").join(&one).join("pid").exists());
    let diff = world.json(0, ["diff", &one]);
    assert_eq!(diff["entries"].as_array().unwrap().len(), 1, "{diff}");
    a_hanging_agent_is_ended_and_its_work_is_kept(&world, false);
    assert!(world.ok(["start", "--help"]).contains("--json"));
}

#[test]
fn a_native_sandbox_that_cannot_be_had_is_an_error_and_no_readiness() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let one = session(&world.shell("echo two >> a.txt"));
    // Something else lies where its layer was.
    let layers = world.ftl_home().join("layers");
    std::fs::remove_dir_all(&layers).unwrap();
    std::fs::write(&layers, "").unwrap();
    let failed = world.run(["start", &one]);
    assert!(matches!(failed.code, 1 | 3) && !failed.err.is_empty(), "{failed:#?}");
}

#[test]
fn a_container_is_made_when_somebody_asks_and_the_next_turn_has_it() {
    let world = docker_world(json!({ "warm": 1 }));
    let mut doors = Doors::of(&world, &engine().0);
    let one = session(&world.shell("echo two >> a.txt"));
    // Its own, and the one for its follow-up; one that is there is not made again.
    assert_eq!((doors.next_session(), doors.next_session()), (one.clone(), one.clone()));
    let started = world.json(0, ["start", &one]);
    assert_eq!(started["ready"], true, "{started}");
    let told = world.ok(["start", &one]);
    assert!(told.starts_with(&format!("ready {one}: a docker sandbox waits for its next turn")), "{told}");
    // Anew: another container.
    assert_eq!(world.json(0, ["restart", &one])["ready"], true);
    assert_eq!(doors.next_session(), one);
    world.json(0, ["code", "--no-review", "--session", &one, "echo three >> a.txt"]);
    // That of the turn after it: had the turn made its own there would be one more.
    assert_eq!(doors.next_session(), one);
    let two = session(&world.shell("echo other > b.txt"));
    // Its own and the next one's, which would else come after what is asked for now.
    for _ in ["its own", "the next one's"] {
        assert_eq!(doors.next_but(std::slice::from_ref(&one)), two);
    }
    // There is room for one: whoever was asked for last has it.
    assert_eq!(world.json(0, ["start", &one])["ready"], true);
    assert!(is_warm(&world, &one) && !is_warm(&world, &two));
    a_hanging_agent_is_ended_and_its_work_is_kept(&world, true);
    world.ok(["daemon", "stop"]);
    assert_eq!(Engine::shared().labelled(label(&world).trim_start_matches("label=")), [""; 0]);
}

#[test]
fn where_no_container_may_wait_one_is_made_and_ended_and_a_dead_engine_is_an_error() {
    let engine = Engine::start("ready");
    let world = World::new(Who::Me);
    let docker = json!({ "host": engine.host(), "image": engine.plain_image(), "warm": 0 });
    world.config(&json!({ "sandbox": "docker", "docker": docker }));
    world.files(&[("a.txt", "one\n")]);
    let one = session(&world.shell("echo two >> a.txt"));
    let started = world.json(0, ["start", &one]);
    assert_eq!(started["ready"], false);
    assert!(started["why_not_ready"].as_str().unwrap().contains("docker.warm"), "{started}");
    assert_eq!(engine.labelled(label(&world).trim_start_matches("label=")), [""; 0]);
    engine.kill();
    let failed = world.json(3, ["start", &one]);
    assert_eq!(failed["error"]["code"], "sandbox", "{failed}");
    assert_eq!(world.json_lines(0, ["sessions"])[0]["state"], "awaiting_review");
    engine.resume();
    assert_eq!(world.json(0, ["restart", &one])["ready"], false);
    let docker = json!({ "host": engine.host(), "image": engine.plain_image(), "workspace": "stream" });
    world.ok(["daemon", "stop"]);
    world.config(&json!({ "sandbox": "docker", "docker": docker }));
    let started = world.json(0, ["start", &one]);
    assert!(started["why_not_ready"].as_str().unwrap().contains("made with each turn"), "{started}");
    assert!(world.ok(["diff", &one]).contains("+two"));
    assert_eq!(engine.labelled(label(&world).trim_start_matches("label=")).len(), 1, "the stock");
}
