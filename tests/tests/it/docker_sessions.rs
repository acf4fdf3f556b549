//! Whole sessions in containers: run, review, apply, undo, and the way out.

use std::process::Command;

use ftl_tests::engine::Engine;
use ftl_tests::model::{Answer, Model};
use ftl_tests::online::{HOST, KEY, REAL, Setup};
use ftl_tests::project;
use ftl_tests::world::{Who, World};

use super::conformance::engine;

/// A world whose sessions run in containers, each made when it is needed.
fn world(who: Who) -> World {
    let (host, image) = engine();
    let world = World::new(who);
    let docker = serde_json::json!({ "host": host, "image": image, "warm": 0 });
    world.config(&serde_json::json!({ "sandbox": "docker", "docker": docker }));
    world
}

/// What the engine has that bears this world's name.
fn left(world: &World) -> String {
    let (host, _) = engine();
    let hash = ftl_core::id::Hash::of(std::os::unix::ffi::OsStrExt::as_bytes(world.ftl_home().as_os_str()));
    let label = format!("label=dev.ftl.instance={}", &hash.to_hex()[..12]);
    let list = |what: &[&str]| {
        let output =
            Command::new("docker").args(["-H", &host]).args(what).args(["-q", "--filter", &label]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    list(&["ps", "-a"]) + &list(&["volume", "ls"])
}

#[test]
fn a_task_in_a_container_changes_nothing_until_it_is_approved() {
    let world = world(Who::Me);
    world.files(&[("a.txt", "one\n"), ("dir/b.txt", "two\n"), ("gone.txt", "x\n")]);
    let before = project::see(&world.project());
    let last = world.shell(
        "echo more >> a.txt; rm gone.txt; mkdir -p new/deep; echo c > new/deep/c.txt; chmod +x dir/b.txt; \
         test -e /.dockerenv; whoami",
    );
    assert_eq!(project::see(&world.project()), before);
    assert_eq!(left(&world), "");
    let session = last["session"].as_str().unwrap();
    world.approve_by_name(session, last["digest"].as_str().unwrap());
    let after = project::see(&world.project());
    assert_eq!(after[b"a.txt".as_slice()], project::Seen::File(0o644, b"one\nmore\n".to_vec()));
    assert_eq!(after[b"dir/b.txt".as_slice()], project::Seen::File(0o755, b"two\n".to_vec()));
    assert!(!after.contains_key(b"gone.txt".as_slice()));
    assert_eq!(after[b"new/deep/c.txt".as_slice()], project::Seen::File(0o644, b"c\n".to_vec()));
    world.json(0, ["undo", session]);
    assert_eq!(project::see(&world.project()), before);
}

#[test]
fn an_ordinary_users_daemon_uses_an_engine_that_runs_as_root() {
    let world = world(Who::Ordinary);
    world.files(&[("a.txt", "one\n"), ("dir/gone.txt", "x\n")]);
    let first =
        world.shell("echo two >> a.txt; rm -r dir; mkdir dir; echo new > dir/b.txt; echo note > ~/note");
    let session = first["session"].as_str().unwrap().to_owned();
    let second =
        world.json(0, ["code", "--no-review", "--session", &session, "cat ~/note; echo three >> a.txt"]);
    assert_eq!(left(&world), "");
    world.json(0, ["approve", &session, "--digest", second["digest"].as_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(world.project().join("a.txt")).unwrap(), "one\ntwo\nthree\n");
    assert!(world.project().join("dir/b.txt").exists() && !world.project().join("dir/gone.txt").exists());
    // The engine's user made a directory among the session's own.
    let other = world.shell("echo four >> a.txt");
    let dir = world.ftl_home().join("sessions").join(other["session"].as_str().unwrap());
    assert!(dir.exists());
    world.ok(["rm", "--discard", other["session"].as_str().unwrap()]);
    assert!(!dir.exists());
}

#[test]
fn a_follow_up_in_a_container_goes_on_where_it_was() {
    let world = world(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let first = world.shell(
        "echo two >> a.txt; echo note > $HOME/note; mkdir d; echo x > d/x; rm a.txt; echo back > a.txt",
    );
    let session = first["session"].as_str().unwrap().to_owned();
    let task = "cat $HOME/note; rm -r d; mkdir d; echo y > d/y; echo three >> a.txt";
    let second = world.json(0, ["code", "--no-review", "--session", &session, task]);
    world.json(0, ["approve", &session, "--digest", second["digest"].as_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(world.project().join("a.txt")).unwrap(), "back\nthree\n");
    assert!(world.project().join("d/y").exists() && !world.project().join("d/x").exists());
    assert_eq!(left(&world), "");
}

#[test]
fn a_command_of_the_image_runs_and_one_that_is_not_there_is_named() {
    let world = world(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let ran = world.run(["run", "--no-review", "--", "python3", "-c", "open('b.txt','w').write('b')"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let missing = world.run(["run", "--no-review", "--", "no-such-agent", "x"]);
    assert_ne!(missing.code, 0);
    assert!(missing.err.contains("no-such-agent"), "{missing:#?}");
}

#[test]
fn an_image_that_is_not_there_and_an_engine_that_is_not_there_are_told_with_what_helps() {
    let (host, _) = engine();
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let task = ["code", "--no-review", "--sandbox", "docker", "--agent", "shell", "true"];
    world.config(&serde_json::json!({ "docker": { "host": host, "image": "no-such-image:1" } }));
    let said = world.run(task);
    assert!(
        said.code != 0 && said.err.contains("no-such-image:1") && said.err.contains("ftlctl setup"),
        "{said:#?}"
    );
    world.ok(["daemon", "stop"]);
    world.config(&serde_json::json!({ "docker": { "host": "unix:///nowhere.sock", "image": "x" } }));
    let said = world.run(task);
    assert!(said.code != 0 && said.err.contains("/nowhere.sock"), "{said:#?}");
    assert!(world.run(["daemon", "status"]).code == 0, "the daemon is well");
}

#[test]
fn a_container_that_is_removed_behind_our_back_ends_the_turn_with_the_reason_and_keeps_the_work() {
    let world = world(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let (host, _) = engine();
    let task = "echo kept > kept.txt; echo ready; sleep 1000";
    let mut running = world
        .ftlctl(["--json", "code", "--no-review", "--agent", "shell", task])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(running.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains(r#""data":"ready"#)));
    for id in left(&world).split_whitespace().filter(|id| id.len() == 12) {
        assert!(
            Command::new("docker").args(["-H", &host, "rm", "-f", id]).output().unwrap().status.success()
        );
    }
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    running.wait().unwrap();
    assert!(rest.iter().any(|line| line.contains("by somebody else")), "{rest:#?}");
    assert!(
        rest.iter().any(|line| line.contains("kept.txt") || line.contains("awaiting_review")),
        "{rest:#?}"
    );
    assert_eq!(left(&world), "");
}

#[test]
fn an_engine_that_is_killed_ends_the_turn_with_the_reason_and_its_return_is_noticed() {
    let engine = Engine::start("killed");
    let world = World::new(Who::Me);
    let docker = serde_json::json!({ "host": engine.host(), "image": engine.plain_image(), "warm": 0 });
    world.config(&serde_json::json!({ "sandbox": "docker", "docker": docker }));
    world.files(&[("a.txt", "one\n")]);
    let task = "echo kept > kept.txt; echo ready; sleep 1000";
    let mut running = world
        .ftlctl(["--json", "code", "--no-review", "--agent", "shell", task])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(running.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains(r#""data":"ready"#)));
    engine.kill();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    running.wait().unwrap();
    let last: serde_json::Value = serde_json::from_str(rest.last().unwrap()).unwrap();
    assert_eq!(last["state"], "awaiting_review", "{rest:#?}");
    // It may die while it is asked.
    let reason = last["reason"].as_str().unwrap();
    assert!(
        ["no container engine listens", "went away"].iter().any(|words| reason.contains(words)),
        "{last}"
    );
    let session = last["session"].as_str().unwrap();
    let refused = world.run(["code", "--no-review", "--session", session, "true"]);
    assert!(refused.out.contains("no container engine listens"), "{refused:#?}");
    engine.resume();
    let next =
        world.json(0, ["code", "--no-review", "--session", session, "cat kept.txt; echo more > more.txt"]);
    world.json(0, ["approve", session, "--digest", next["digest"].as_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(world.project().join("kept.txt")).unwrap(), "kept\n");
    assert!(world.project().join("more.txt").exists());
}

#[test]
fn a_daemon_that_is_killed_leaves_nothing_running_and_the_next_one_removes_what_is_left() {
    let world = world(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let task = "echo kept > kept.txt; echo ready; sleep 1000";
    let mut running = world
        .ftlctl(["--json", "code", "--no-review", "--agent", "shell", task])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(running.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains(r#""data":"ready"#)));
    let daemon = rustix::process::Pid::from_raw(world.daemon_pid()).unwrap();
    rustix::process::kill_process(daemon, rustix::process::Signal::KILL).unwrap();
    running.wait().unwrap();
    let sessions = world.json(0, ["sessions"]);
    assert!(sessions.to_string().contains("awaiting_review"), "{sessions}");
    assert_eq!(left(&world), "");
}

#[test]
fn what_leaves_a_container_passes_the_proxy_with_the_real_value_and_nothing_else_does() {
    let online = Setup::new().docker().start();
    let header = format!("-H \"Authorization: Bearer ${KEY}\"");
    for how in ["", "--noproxy '*'"] {
        let ran = online.clean(&format!("curl -sS --fail {how} {header} https://{HOST}/echo"));
        assert!(ran.out.contains(&online.shadow(KEY)), "{how}: {ran:#?}");
        let seen = online.upstream.at("/echo");
        let sent = seen.last().and_then(|request| request.header("authorization"));
        assert_eq!(sent, Some(format!("Bearer {REAL}").as_str()), "{how}");
        let refused = online.inside(&format!("curl -sS --fail {how} https://not-allowed.example.com/"));
        assert_ne!(refused.code, 0, "{how}: {refused:#?}");
    }
    let elsewhere = online.inside("curl -sS --max-time 5 --noproxy '*' http://169.254.169.254/");
    assert!(elsewhere.out.contains("FTL refused GET to 169.254.169.254:80"), "{elsewhere:#?}");
}

#[test]
fn what_was_selected_is_tested_in_containers_that_leave_nothing() {
    for who in World::everybody() {
        let world = world(who);
        let agree = "test \"$(cat f)\" = \"$(cat g)\" && echo agreed && test ! -e gone && id -u > written";
        let (host, image) = engine();
        world.config(&serde_json::json!({
            "sandbox": "docker", "docker": { "host": host, "image": image, "warm": 0 },
            "checks": { "test": agree }, "limits": { "check_seconds": 60 },
        }));
        world.files(&[("f", "1\n"), ("g", "1\n"), ("gone", "x\n")]);
        let last = world.shell("echo 2 > f; echo 2 > g; rm gone");
        let session = last["session"].as_str().unwrap();
        let before = project::see(&world.project());
        let part = world.json_lines(1, ["test", session, "--path", "f"]);
        let ended = part.iter().find(|line| line["type"] == "check_ended").unwrap();
        assert_eq!((&ended["verdict"], &ended["since"]), (&"failed".into(), &"before".into()), "{part:#?}");
        let whole = world.json_lines(0, ["test", session]);
        assert_eq!(whole.last().unwrap()["ready"], true, "{whole:#?}");
        assert_eq!(project::see(&world.project()), before);
        assert_eq!(left(&world), "");
        let sessions = std::fs::read_dir(world.ftl_home().join("sessions")).unwrap();
        assert_eq!(sessions.count(), 1, "only the session's own directory is left");
    }
}

#[test]
fn what_only_the_engines_user_could_remove_of_a_check_goes_at_the_next_start() {
    if !World::everybody().contains(&Who::Ordinary) {
        return;
    }
    let world = world(Who::Ordinary);
    world.ok(["sessions"]);
    world.ok(["daemon", "stop"]);
    // A check's directory, as a daemon that was killed leaves it.
    let id = ftl_core::id::SessionId::from_random([7; 10]);
    let dir = world.ftl_home().join("sessions").join(id.as_str());
    std::fs::create_dir_all(dir.join("work")).unwrap();
    world.give_all(&dir);
    std::fs::create_dir_all(dir.join("work/work/left")).unwrap();
    world.ok(["sessions"]);
    assert!(!dir.exists());
}

#[test]
fn ftls_own_agent_works_in_a_container() {
    let calls = vec![
        ("write", serde_json::json!({"path": "new/b.txt", "content": "b\n"})),
        ("bash", serde_json::json!({"command": "cat new/b.txt; cat a.txt >> new/b.txt; exit 3"})),
    ];
    let model = Model::start(vec![Answer::Calls("I will.".to_owned(), calls), Answer::text("Done.")]);
    let (host, image) = engine();
    let world = World::new(Who::Me);
    world.config(&serde_json::json!({
        "sandbox": "docker",
        "docker": { "host": host, "image": image, "warm": 0 },
        "agents": { "builtin": { "model": "ollama/some-model" } },
        "models": { "ollama": { "base_url": model.url() } },
    }));
    world.files(&[("a.txt", "one\n")]);
    let last = world.json(0, ["code", "--no-review", "--agent", "builtin", "Do it."]);
    let asked = model.asked();
    assert_eq!(asked.len(), 2, "{last}");
    assert!(asked.iter().all(|one| one.fault.is_empty()), "{asked:#?}");
    let results = asked[1].body["messages"].to_string();
    assert!(results.contains("b\\n\\n[exit status 3]"), "{results}");
    let session = last["session"].as_str().unwrap();
    world.approve_by_name(session, last["digest"].as_str().unwrap());
    assert_eq!(std::fs::read_to_string(world.project().join("new/b.txt")).unwrap(), "b\none\n");
    assert_eq!(left(&world), "");
}
