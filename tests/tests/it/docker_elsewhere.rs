//! Whole sessions in containers of an engine that cannot see this machine's directories: what changed travels.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use ftl_tests::engine::Engine;
use ftl_tests::project;
use ftl_tests::world::{Who, World};
use serde_json::{Value, json};

use super::conformance::engine;

/// A world whose sessions run on an engine's own disk.
fn world(who: Who) -> World {
    let (host, image) = engine();
    let world = World::new(who);
    let docker = json!({ "host": host, "image": image, "workspace": "stream" });
    world.config(&json!({ "sandbox": "docker", "docker": docker }));
    world
}

/// What a world's things are called by.
fn instance(world: &World) -> String {
    let hash = ftl_core::id::Hash::of(std::os::unix::ffi::OsStrExt::as_bytes(world.ftl_home().as_os_str()));
    hash.to_hex()[..12].to_owned()
}

/// Whether something of the engine's is a world's.
fn is_of(world: &World) -> impl Fn(&String) -> bool {
    let instance = instance(world);
    move |name| name.contains(&instance)
}

/// What the engine has that bears this world's name, but for the trees that stay.
fn left(world: &World) -> Vec<String> {
    let (host, _) = engine();
    let label = format!("label=dev.ftl.instance={}", instance(world));
    let list = |what: &[&str]| {
        let output =
            Command::new("docker").args(["-H", &host]).args(what).args(["-q", "--filter", &label]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let all = list(&["ps", "-a"]) + &list(&["volume", "ls"]);
    all.lines().filter(|name| !name.ends_with("-layers")).map(str::to_owned).collect()
}

/// Runs a task to its review; how many bytes of the project went to the engine, of the session, and the last line.
fn sent(world: &World, more: &[&str], script: &str) -> (u64, u64, Value) {
    let arguments = [&["code", "--no-review"], more, &[script]].concat();
    let lines = world.json_lines(0, arguments);
    let text = lines.iter().map(Value::to_string).find(|line| line.contains("bytes of the project")).unwrap();
    let (_, text) = text.split_once("workspace: on the engine's disk; ").unwrap();
    let mut numbers = text.split(' ').filter_map(|word| word.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap(), lines.last().unwrap().clone())
}

fn approve(world: &World, last: &Value) {
    let (session, digest) = (last["session"].as_str().unwrap(), last["digest"].as_str().unwrap());
    world.approve_by_name(session, digest);
}

#[test]
fn every_kind_of_change_comes_back_and_nothing_stays_on_the_engine() {
    for who in World::everybody() {
        let world = world(who);
        world.files(&[
            ("edited", "one\n"),
            ("gone", "x\n"),
            ("old-name", "moved\n"),
            ("dir/kept", "k\n"),
            ("dir/mode", "m\n"),
            ("whole/a", "a\n"),
            ("again/old", "o\n"),
            ("link-me", "l\n"),
        ]);
        let before = project::see(&world.project());
        let last = world.shell(
            "set -e; echo two >> edited; rm gone; mv old-name new-name; chmod 755 dir/mode; rm -r whole; \
             rm -r again; mkdir again; echo n > again/new; rm link-me; ln -s dir/kept link-me; \
             echo t > timed; touch -d @1000000000 timed; mkdir -p deep/er; head -c 300000 /dev/zero > deep/er/zeros; \
             test $(id -u) != 0",
        );
        assert_eq!(project::see(&world.project()), before);
        assert_eq!(left(&world), Vec::<String>::new());
        approve(&world, &last);
        let at = |path: &str| world.project().join(path);
        let read = |path: &str| std::fs::read_to_string(at(path)).unwrap();
        assert_eq!((read("edited"), read("new-name")), ("one\ntwo\n".into(), "moved\n".into()));
        for gone in ["gone", "old-name", "whole", "again/old"] {
            assert!(!at(gone).exists(), "{gone}");
        }
        assert_eq!(std::fs::metadata(at("dir/mode")).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!((read("again/new"), read("dir/kept")), ("n\n".into(), "k\n".into()));
        assert_eq!(std::fs::read_link(at("link-me")).unwrap().to_str(), Some("dir/kept"));
        assert_eq!(std::fs::metadata(at("deep/er/zeros")).unwrap().len(), 300_000);
        world.json(0, ["undo", last["session"].as_str().unwrap()]);
        assert_eq!(project::see(&world.project()), before);
    }
}

#[test]
fn a_follow_up_and_an_earlier_turn_go_on_where_they_were() {
    World::everybody().into_iter().for_each(follow_up);
}

fn follow_up(who: Who) {
    let world = world(who);
    world.files(&[("a.txt", "one\n"), ("d/base", "b\n")]);
    let first = world.shell(
        "echo two >> a.txt; rm -r d; mkdir d; echo x > d/x; echo note > ~/note; ln -s note ~/link; mkdir ~/shut; \
         echo s > ~/shut/s; chmod 000 ~/shut/s ~/shut",
    );
    let session = first["session"].as_str().unwrap().to_owned();
    let again = ["--session", session.as_str()];
    let task = "set -e; cat ~/link; test ! -e d/base; echo three >> a.txt; echo more >> ~/note; test $(stat -c %a ~/shut) = 0";
    let (of_project, _, second) = sent(&world, &again, task);
    assert!(of_project < 5000, "{of_project}: only the first turn's layer is new");
    // Files of the home that did not change are those that were here.
    let home = world.ftl_home().join("sessions").join(&session).join("home");
    assert_eq!(std::fs::read_to_string(home.join("note")).unwrap(), "note\nmore\n");
    let (_, _, third) = sent(
        &world,
        &again,
        "cat a.txt; rm d/x; test $(wc -l < ~/note) = 2; chmod 700 ~/shut; chmod 600 ~/shut/s; grep s ~/shut/s",
    );
    assert_eq!(third["state"], "awaiting_review");
    world.ok(["rewind", &session, "2"]);
    let (_, _, back) = sent(&world, &again, "test -e d/x; test $(wc -l < a.txt) = 2; echo four >> a.txt");
    assert_ne!(back["digest"], second["digest"]);
    approve(&world, &back);
    assert_eq!(std::fs::read_to_string(world.project().join("a.txt")).unwrap(), "one\ntwo\nfour\n");
    assert_eq!(left(&world), Vec::<String>::new());
}

#[test]
fn of_ten_thousand_files_a_later_session_sends_what_differs() {
    let world = world(Who::Me);
    let text = "a line that is a little longer than a few words\n".repeat(20);
    let names: Vec<String> = (0..10_000).map(|n| format!("d{}/e{}/f{n}", n % 10, n % 100)).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), text.as_str())).collect();
    world.files(&files);
    let shell = ["--agent", "shell"];
    let (first, _, _) = sent(&world, &shell, "echo 1 > d0/e0/f0");
    assert!(first > 9_000_000, "{first}");
    std::fs::write(world.project().join("d3/e3/f3"), "changed outside\n").unwrap();
    std::fs::remove_file(world.project().join("d4/e4/f4")).unwrap();
    let (second, of_session, last) =
        sent(&world, &shell, "cat d3/e3/f3; test ! -e d4/e4/f4; echo 2 > d0/e0/f0");
    // The session's own is what it trusts, which is made anew for each.
    assert!(second < 10_000 && of_session < 3_000_000, "{second} and {of_session}");
    approve(&world, &last);
    assert_eq!(std::fs::read_to_string(world.project().join("d0/e0/f0")).unwrap(), "2\n");
    // A daemon that remembers nothing asks the engine, and a keeper says what is there.
    world.ok(["daemon", "stop"]);
    let (third, _, last) = sent(&world, &shell, "cat d0/e0/f0");
    assert!(third < 10_000, "{third}");
    assert_eq!(last["state"], "no_changes");
}

#[test]
fn trees_that_are_not_needed_any_more_go_with_the_change_to_shared_directories() {
    let world = world(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    world.shell("echo two >> a.txt");
    let trees = || Engine::shared().labelled("dev.ftl.role=layers").into_iter().filter(is_of(&world)).count();
    assert_eq!(trees(), 1);
    world.ok(["daemon", "stop"]);
    let (host, image) = engine();
    let docker = json!({ "host": host, "image": image, "workspace": "overlay" });
    world.config(&json!({ "sandbox": "docker", "docker": docker }));
    world.shell("echo three >> a.txt");
    assert_eq!(trees(), 0);
}

/// Begins a task, and waits until it says that it is ready; its lines from then on.
fn begin(world: &World, task: &str) -> (std::process::Child, impl Iterator<Item = String> + use<>) {
    begun(world.ftlctl(["--json", "code", "--no-review", "--agent", "shell", task]))
}

/// Starts a client, and waits until its task says that it is ready.
fn begun(mut client: Command) -> (std::process::Child, impl Iterator<Item = String> + use<>) {
    let mut running = client.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let output = std::io::BufReader::new(running.stdout.take().unwrap());
    let mut lines = std::io::BufRead::lines(output).map_while(Result::ok);
    assert!(lines.any(|line| line.contains(r#""data":"ready"#)));
    (running, lines)
}

#[test]
fn what_an_engine_has_when_it_is_killed_is_named_and_read_when_it_is_back() {
    let engine = Engine::start("away");
    let world = World::new(Who::Me);
    let docker = json!({ "host": engine.host(), "image": engine.plain_image(), "workspace": "stream" });
    world.config(&json!({ "sandbox": "docker", "docker": docker }));
    world.files(&[("a.txt", "one\n")]);
    let (mut running, mut lines) = begin(&world, "echo kept > kept.txt; sync; echo ready; sleep 1000");
    engine.kill();
    let told = lines.find(|line| line.contains("is read when")).unwrap();
    assert!(told.contains("-work of the container engine at unix://"), "{told}");
    engine.resume();
    let last: Value = serde_json::from_str(&lines.last().unwrap()).unwrap();
    running.wait().unwrap();
    assert_eq!(last["state"], "awaiting_review", "{last}");
    approve(&world, &last);
    assert_eq!(std::fs::read_to_string(world.project().join("kept.txt")).unwrap(), "kept\n");
}

#[test]
fn what_an_engine_has_when_the_daemon_is_killed_is_read_by_the_next_one() {
    let world = world(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let (mut running, _lines) = begin(&world, "echo kept > kept.txt; echo ready; sleep 1000");
    let daemon = rustix::process::Pid::from_raw(world.daemon_pid()).unwrap();
    rustix::process::kill_process(daemon, rustix::process::Signal::KILL).unwrap();
    running.wait().unwrap();
    let sessions = world.json(0, ["sessions"]);
    assert!(sessions.to_string().contains("awaiting_review"), "{sessions}");
    assert_eq!(left(&world), Vec::<String>::new());
    assert!(world.ok(["diff", sessions["session"].as_str().unwrap()]).contains("kept.txt"));
}

/// Ends a turn whose work cannot come here, because something is mounted where it would arrive; the session.
fn strand(world: &World, task: &str) -> String {
    let (mut running, _lines) = begin(world, task);
    let session = world.json(0, ["sessions"])["session"].as_str().unwrap().to_owned();
    let at = world.ftl_home().join("sessions").join(&session).join("home.new");
    std::fs::create_dir(&at).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&at).status();
    assert!(mounted.is_ok_and(|status| status.success()), "only root can do this");
    world.ok(["stop", &session]);
    running.wait().unwrap();
    assert!(Command::new("umount").arg(&at).status().is_ok_and(|status| status.success()));
    assert!(world.json(0, ["sessions"]).to_string().contains("failed"));
    assert!(at.with_file_name("away").exists());
    assert_eq!(left(world).len(), 1, "its volume");
    session
}

/// A world in which a session's work stayed on the engine.
fn stranded() -> Option<(World, String)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let world = world(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let session = strand(&world, "echo kept > kept.txt; echo s > ~/secret; sync; echo ready; sleep 1000");
    Some((world, session))
}

#[test]
fn work_that_is_only_on_the_engine_does_not_go_unasked_and_goes_when_it_is_discarded() {
    let Some((world, session)) = stranded() else { return };
    let refused = world.run(["rm", &session]);
    assert_ne!(refused.code, 0, "{}", refused.out);
    assert_eq!(left(&world).len(), 1, "it is still there");
    world.ok(["rm", "--discard", &session]);
    assert_eq!(left(&world), Vec::<String>::new());
    assert!(!world.ftl_home().join("sessions").join(&session).exists());
}

#[test]
fn what_is_wiped_does_not_come_back_from_the_engine() {
    let Some((world, session)) = stranded() else { return };
    world.ok(["wipe", &session]);
    let dir = world.ftl_home().join("sessions").join(&session);
    assert!(!dir.join("away").exists() && !dir.join("home/secret").exists());
    assert!(dir.join("upper/kept.txt").exists(), "the work was not to be wiped");
    assert_eq!(left(&world), Vec::<String>::new());
    let again = ["--session", session.as_str()];
    let (_, _, last) = sent(&world, &again, "grep kept kept.txt; test ! -e ~/secret; echo more > more");
    assert_eq!(last["state"], "awaiting_review", "{last}");

    let Some((world, session)) = stranded() else { return };
    assert_ne!(world.run(["wipe", "--workspace", &session]).code, 0);
    world.ok(["wipe", "--workspace", "--discard", &session]);
    assert_eq!(left(&world), Vec::<String>::new());
    let again = ["--session", session.as_str()];
    let (_, _, last) = sent(&world, &again, "test ! -e kept.txt; test ! -e ~/secret; echo more > more");
    assert_eq!(last["state"], "awaiting_review", "{last}");
}

#[test]
fn work_that_had_all_arrived_is_taken_although_the_engine_has_it_no_more() {
    let Some((world, session)) = stranded() else { return };
    world.ok(["daemon", "stop"]);
    let dir = world.ftl_home().join("sessions").join(&session);
    let mut away: Value = serde_json::from_slice(&std::fs::read(dir.join("away")).unwrap()).unwrap();
    let (host, _) = engine();
    let removing = ["-H", &host, "volume", "rm", away["volume"].as_str().unwrap()];
    assert!(Command::new("docker").args(removing).output().is_ok_and(|output| output.status.success()));
    // A daemon that had read everything ended while it put it in its places.
    away["here"] = json!(true);
    std::fs::write(dir.join("away"), away.to_string()).unwrap();
    for place in ["upper.new", "tmp.new"] {
        world.give_all(&dir);
        let _none = std::fs::create_dir(dir.join(place));
    }
    std::fs::write(dir.join("upper.new/arrived"), "all of it\n").unwrap();
    let again = ["--session", session.as_str()];
    let (_, _, last) = sent(&world, &again, "cat arrived && echo more > more");
    assert_eq!(last["state"], "awaiting_review", "{last}");
    assert!(world.ok(["diff", &session]).contains("all of it"));
    assert!(!dir.join("away").exists());
}

/// An engine that went away with a session's work, and then its daemon; the session, which works still.
fn bereft(name: &str) -> (Engine, World, String) {
    let engine = Engine::start(name);
    let world = World::new(Who::Me);
    let docker = json!({ "host": engine.host(), "image": engine.plain_image(), "workspace": "stream" });
    world.config(&json!({ "sandbox": "docker", "docker": docker }));
    world.files(&[("a.txt", "one\n")]);
    let (mut running, mut lines) = begin(&world, "echo kept > kept.txt; sync; echo ready; sleep 1000");
    engine.kill();
    assert!(lines.any(|line| line.contains("is read when")));
    // It would follow the session with the next daemon, for as long as that works.
    running.kill().unwrap();
    running.wait().unwrap();
    let daemon = rustix::process::Pid::from_raw(world.daemon_pid()).unwrap();
    rustix::process::kill_process(daemon, rustix::process::Signal::KILL).unwrap();
    // The next daemon.
    let sessions = world.json(0, ["sessions"]);
    assert_eq!(sessions["state"], "working", "{sessions}");
    (engine, world, sessions["session"].as_str().unwrap().to_owned())
}

#[test]
fn a_session_whose_engine_is_down_when_a_daemon_starts_comes_to_rest_when_it_is_back() {
    let (engine, world, session) = bereft("late");
    // Ending the daemon gives up nothing.
    world.ok(["daemon", "stop"]);
    assert_eq!(world.json(0, ["sessions"])["state"], "working");
    engine.resume();
    let last = world.json_lines(4, ["attach", &session]).pop().unwrap();
    assert!(last.to_string().contains("awaiting_review"), "{last}");
    assert!(world.ok(["diff", &session]).contains("kept.txt"));
}

#[test]
fn nobody_has_to_wait_for_an_engine_that_does_not_come_back() {
    let (_engine, world, session) = bereft("never");
    world.ok(["stop", &session]);
    assert_eq!(world.json(0, ["sessions"])["state"], "failed");
    assert_ne!(world.run(["rm", &session]).code, 0);
    let told = world.run(["rm", "--discard", &session]);
    let away = world.ftl_home().join("sessions").join(&session).join("away");
    assert!(told.code != 0 && told.err.contains(away.to_str().unwrap()), "{}", told.err);
    std::fs::remove_file(away).unwrap();
    world.ok(["rm", "--discard", &session]);
}

#[test]
fn work_that_an_engine_has_lost_is_told_as_lost_and_the_session_goes_on() {
    let (host, _) = engine();
    let world = world(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let first = world.shell("echo kept > kept.txt");
    let session = first["session"].as_str().unwrap();
    let mut second = world.ftlctl(["--json", "code", "--no-review", "--session", session]);
    second.arg("echo gone > gone.txt; echo ready; sleep 1000");
    let (mut running, _lines) = begun(second);
    // It would start another daemon.
    running.kill().unwrap();
    running.wait().unwrap();
    let daemon = rustix::process::Pid::from_raw(world.daemon_pid()).unwrap();
    rustix::process::kill_process(daemon, rustix::process::Signal::KILL).unwrap();
    // Everything that the engine has of it goes, as when its disk is lost.
    let label = format!("label=dev.ftl.session={session}");
    let docker = |words: &[&str]| {
        let output = Command::new("docker").args(["-H", &host]).args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let containers = docker(&["ps", "-a", "-q", "--filter", &label]);
    docker(&[&["rm", "-f"], &containers.split_whitespace().collect::<Vec<_>>()[..]].concat());
    let volumes = docker(&["volume", "ls", "-q", "--filter", &label]);
    assert!(!volumes.is_empty());
    docker(&[&["volume", "rm", "-f"], &volumes.split_whitespace().collect::<Vec<_>>()[..]].concat());
    // The next daemon finds that out, and comes to rest with what there is.
    let lines = world.json_lines(4, ["attach", session]);
    let last = lines.iter().rev().find(|line| line["type"] == "state_changed").unwrap();
    assert_eq!(last["state"], "awaiting_review", "{last}");
    let reason = last["reason"].as_str().unwrap();
    assert!(reason.contains("is lost") && reason.contains("ftlctl code --session"), "{last}");
    let warned = |line: &&Value| line["type"] == "notice" && line["text"] == reason;
    assert_eq!(lines.iter().filter(warned).count(), 1, "{lines:#?}");
    assert_eq!(world.json(0, ["sessions"])["reason"], reason);
    let shown = world.ok(["diff", session]);
    assert!(shown.contains("kept.txt") && !shown.contains("gone.txt"), "{shown}");
    // It is said once: what comes next is nobody's loss.
    let third =
        world.json(0, ["code", "--no-review", "--session", session, "cat kept.txt; echo more > more.txt"]);
    assert_eq!((&third["state"], &third["reason"]), (&"awaiting_review".into(), &Value::Null), "{third}");
    approve(&world, &third);
    assert!(world.project().join("more.txt").exists());
    assert_eq!(left(&world), Vec::<String>::new());
}

#[test]
fn equal_files_that_are_shown_travel_once() {
    let world = world(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let task = "cmp /etc/ssl/certs/ca-certificates.crt /etc/ssl/cert.pem && cmp /etc/ssl/cert.pem \"$SSL_CERT_FILE\" && \
                stat -c %s /etc/ssl/cert.pem > size.txt";
    let (_, of_session, last) = sent(&world, &["--agent", "shell"], task);
    let text = world.ok(["diff", last["session"].as_str().unwrap(), "--patch"]);
    let line =
        text.lines().find_map(|line| line.strip_prefix('+').filter(|rest| rest.parse::<u64>().is_ok()));
    let bundle: u64 = line.unwrap().parse().unwrap();
    // The bundle stands at six places; the store for Java has the same certificates in fewer bytes.
    assert!(of_session < 2 * bundle + 100_000, "{of_session} bytes were sent with a bundle of {bundle}");
}
