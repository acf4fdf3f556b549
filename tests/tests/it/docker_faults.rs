//! What goes wrong with an engine while sessions use it: nothing is lost, nothing stays behind, and every error
//! says what helps.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use ftl_proto::v1;
use ftl_proto::v1::exec_input::Input;
use ftl_proto::v1::exec_output::Output;
use ftl_tests::client::Client;
use ftl_tests::engine::Engine;
use ftl_tests::world::{Who, World};
use tokio_stream::StreamExt as _;

/// A world whose sessions run in containers of this engine.
fn world(who: Who, engine: &Engine) -> World {
    let world = World::new(who);
    configure(&world, engine, engine.plain_image());
    world.files(&[("a.txt", "one\n"), ("dir/gone.txt", "x\n")]);
    world
}

fn configure(world: &World, engine: &Engine, image: &str) {
    let docker = serde_json::json!({ "host": engine.host(), "image": image, "warm": 0 });
    world.config(&serde_json::json!({ "sandbox": "docker", "docker": docker }));
}

/// The label of what a world's daemon makes.
fn label(world: &World) -> String {
    let hash = ftl_core::id::Hash::of(std::os::unix::ffi::OsStrExt::as_bytes(world.ftl_home().as_os_str()));
    format!("dev.ftl.instance={}", &hash.to_hex()[..12])
}

/// A session whose task waits; returns when it runs.
fn waiting(world: &World, task: &str) -> (Child, std::io::Lines<BufReader<std::process::ChildStdout>>) {
    let mut running = world
        .ftlctl(["--json", "code", "--no-review", "--agent", "shell", task])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(r#""data":"ready"#)));
    (running, lines)
}

/// The one session that there is.
fn session_of(world: &World) -> String {
    let sessions = world.json_lines(0, ["sessions"]);
    assert_eq!(sessions.len(), 1, "{sessions:#?}");
    sessions[0]["session"].as_str().unwrap().to_owned()
}

/// How many files a process has open.
fn open_files(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn docker_cli(engine: &Engine, arguments: &[&str]) -> String {
    let output = Command::new("docker").args(["-H", &engine.host()]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_ordinary_user_removes_a_session_that_deleted_something() {
    let engine = Engine::shared();
    let world = world(Who::Ordinary, engine);
    let last = world.shell("rm -r dir; rm a.txt");
    let session = last["session"].as_str().unwrap();
    let dir = world.ftl_home().join("sessions").join(session);
    // The kernel keeps something there as the engine's user; without that this would test nothing.
    assert!(std::fs::read_dir(dir.join("work/work")).unwrap().count() > 0);
    world.ok(["rm", "--discard", session]);
    assert!(!dir.exists());
    assert_eq!(engine.labelled(&label(&world)), [""; 0]);
}

#[test]
fn an_engine_that_comes_back_is_tidied_by_the_next_session() {
    let engine = Engine::start("back");
    let world = world(Who::Me, &engine);
    let before = engine.mounted();
    let (mut running, lines) = waiting(&world, "echo kept > kept.txt; echo ready; sleep 1000");
    engine.kill();
    let last = lines.map(Result::unwrap).last().unwrap();
    running.wait().unwrap();
    let last: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!(last["state"], "awaiting_review", "{last}");
    engine.resume();
    assert_ne!(engine.labelled(&label(&world)), [""; 0], "a dead container and its volume are left");
    // Another session, not the one that they are of.
    world.shell("true > other.txt");
    assert_eq!(engine.labelled(&label(&world)), [""; 0]);
    assert_eq!(engine.mounted(), before);
    world.json(
        0,
        ["approve", last["session"].as_str().unwrap(), "--digest", last["digest"].as_str().unwrap()],
    );
    assert_eq!(std::fs::read_to_string(world.project().join("kept.txt")).unwrap(), "kept\n");
}

#[test]
fn an_engine_that_was_away_is_tidied_and_what_still_runs_there_is_spared() {
    let engine = Engine::shared();
    let world = world(Who::Me, engine);
    let socket = world.root().join("engine.sock");
    std::os::unix::fs::symlink(engine.socket(), &socket).unwrap();
    let docker = serde_json::json!({ "host": format!("unix://{}", socket.display()), "image": engine.plain_image(), "warm": 0 });
    world.config(&serde_json::json!({ "sandbox": "docker", "docker": docker }));
    let task = "mkfifo ~/go; echo ready; read x < ~/go; echo late > late.txt";
    let (mut running, lines) = waiting(&world, task);
    let first = session_of(&world);
    let used = engine.labelled(&label(&world));
    // The engine cannot be found for a while; the session's own connection lives on.
    std::fs::remove_file(&socket).unwrap();
    assert_ne!(world.run(["code", "--no-review", "--agent", "shell", "true"]).code, 0);
    // What somebody left there meanwhile, as a daemon does that is killed.
    let bears = ["--label", &label(&world)];
    docker_cli(
        engine,
        &[&["create", "--network", "none"], &bears[..], &[engine.plain_image(), "true"]].concat(),
    );
    docker_cli(engine, &[&["volume", "create"], &bears[..]].concat());
    assert_eq!(engine.labelled(&label(&world)).len(), used.len() + 2);
    std::os::unix::fs::symlink(engine.socket(), &socket).unwrap();
    world.shell("true > other.txt");
    assert_eq!(engine.labelled(&label(&world)), used);
    let go = world.run(["exec", &first, "--", "sh", "-c", "echo > ~/go"]);
    // The task may end, and its sandbox with it, before this shell has.
    assert!(matches!(go.code, 0 | 137), "{go:#?}");
    let last = lines.map(Result::unwrap).last().unwrap();
    running.wait().unwrap();
    assert!(last.contains("awaiting_review"), "{last}");
    assert!(world.ok(["diff", &first]).contains("late.txt"));
    assert_eq!(engine.labelled(&label(&world)), [""; 0]);
}

#[test]
fn a_session_that_cannot_be_swept_does_not_hold_up_the_others() {
    let engine = Engine::start("unswept");
    let world = world(Who::Me, &engine);
    let (lost, _) = waiting(&world, "echo kept > kept.txt; echo ready; sleep 1000");
    let first = session_of(&world);
    let native = ["--json", "code", "--no-review", "--sandbox", "native", "--agent", "shell"];
    let mut other = world.ftlctl(native);
    other.arg("echo two > two.txt; echo ready; sleep 1000");
    let mut other = other.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(r#""data":"ready"#)));
    let daemon = rustix::process::Pid::from_raw(world.daemon_pid()).unwrap();
    // Clients would start another one.
    for mut client in [lost, other] {
        client.kill().unwrap();
        client.wait().unwrap();
    }
    rustix::process::kill_process(daemon, rustix::process::Signal::KILL).unwrap();
    engine.kill();
    // As on an engine of another kernel: only the engine can say that its processes are gone.
    std::fs::remove_file(world.ftl_home().join("sessions").join(&first).join("pid")).unwrap();
    let states = || {
        let sessions = world.json_lines(0, ["sessions"]);
        let of = |is: bool| {
            let found = sessions.iter().find(|session| (session["session"] == *first) == is).unwrap();
            found["state"].as_str().unwrap().to_owned()
        };
        (of(true), of(false))
    };
    assert_eq!(states(), ("working".to_owned(), "awaiting_review".to_owned()));
    engine.resume();
    world.ok(["daemon", "stop"]);
    assert_eq!(states(), ("awaiting_review".to_owned(), "awaiting_review".to_owned()));
    assert_eq!(engine.labelled(&label(&world)), [""; 0]);
}

#[test]
fn settings_that_changed_since_the_daemon_started_are_not_taken_for_those_that_count() {
    let engine = Engine::shared();
    let world = world(Who::Me, engine);
    world.shell("true > x");
    configure(&world, engine, "another:1");
    let said = world.run(["code", "--no-review", "--agent", "shell", "true"]);
    let told = format!("{}{}", said.out, said.err);
    assert!(told.contains("is not what it was when the daemon started"), "{said:#?}");
    assert!(told.contains("ftlctl daemon stop"), "{said:#?}");
    world.ok(["daemon", "stop"]);
    let said = world.run(["code", "--no-review", "--agent", "shell", "true"]);
    assert!(format!("{}{}", said.out, said.err).contains("another:1"), "{said:#?}");
}

#[test]
fn an_image_that_was_deleted_is_made_again_or_named() {
    let engine = Engine::shared();
    let world = World::new(Who::Me);
    let archive = ftl_tests::engine::rootfs().display().to_string();
    docker_cli(engine, &["import", &archive, "ftl-test-deleted:1"]);
    configure(&world, engine, "ftl-test-deleted:1");
    world.files(&[("a.txt", "one\n")]);
    let first = world.shell("echo two >> a.txt");
    let session = first["session"].as_str().unwrap();
    let ours = label(&world).replace("dev.ftl.instance=", "ftl-") + "/sandbox";
    let images = docker_cli(engine, &["images", "-q", &ours]);
    // The helper's layer is made again.
    docker_cli(engine, &["rmi", "-f", images.trim()]);
    let second = world.json(0, ["code", "--no-review", "--session", session, "echo three >> a.txt"]);
    assert_eq!(second["state"], "awaiting_review", "{second}");
    // What it is made of cannot be.
    let images = docker_cli(engine, &["images", "-q", &ours]);
    docker_cli(engine, &["rmi", "-f", images.trim(), "ftl-test-deleted:1"]);
    let third = world.run(["code", "--no-review", "--session", session, "true"]);
    let told = format!("{}{}", third.out, third.err);
    assert!(told.contains("ftl-test-deleted:1") && told.contains("ftlctl setup"), "{third:#?}");
    // The work of the turns before is all there.
    let shown = world.json(0, ["diff", session]);
    world.json(0, ["approve", session, "--digest", shown["digest"].as_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(world.project().join("a.txt")).unwrap(), "one\ntwo\nthree\n");
}

#[test]
fn an_engine_without_space_says_what_to_do() {
    let engine = Engine::start_on_a_small_disk("full", 64);
    let mut world = World::new(Who::Me);
    world.set("DOCKER_HOST", engine.host());
    let archive = ftl_tests::engine::rootfs().display().to_string();
    let failed = world.json_lines(1, ["setup", "--rootfs", &archive]).pop().unwrap()["error"].clone();
    assert!(failed["message"].as_str().unwrap().contains("no space left"), "{failed:#}");
    assert!(failed["hint"].as_str().unwrap().contains("docker system prune"), "{failed:#}");
    assert!(!world.ftl_home().join("image.json").exists());
    assert_eq!(engine.labelled(&label(&world)), [""; 0]);
}

#[test]
fn a_thousand_commands_in_one_session_and_one_whose_client_goes_away_leave_nothing() {
    let engine = Engine::shared();
    let world = world(Who::Me, engine);
    let (mut running, lines) =
        waiting(&world, "mkfifo ~/go; echo ready; read x < ~/go; echo done > done.txt");
    let session = session_of(&world);
    let daemon = world.daemon_pid();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut client = runtime.block_on(Client::connect(&world.socket())).unwrap();
    runtime.block_on(exec(&mut client, &session, "true"));
    let before = open_files(daemon);
    runtime.block_on(async {
        for n in 0..1000 {
            let said = exec(&mut client, &session, &format!("echo {n}")).await;
            assert_eq!(said, (0, format!("{n}\n")));
        }
    });
    // A client that goes away: its command is told, and ends.
    let mut gone = world.ftlctl(["exec", &session, "--", "sh", "-c", "echo here; exec sleep 54321"]);
    let mut gone = gone.stdout(Stdio::piped()).spawn().unwrap();
    let mut heard = String::new();
    BufReader::new(gone.stdout.take().unwrap()).read_line(&mut heard).unwrap();
    assert_eq!(heard, "here\n");
    gone.kill().unwrap();
    gone.wait().unwrap();
    // The pattern does not name itself.
    let ended = "while grep -qsz 5432[1] /proc/[0-9]*/cmdline; do :; done; echo ended";
    assert_eq!(runtime.block_on(exec(&mut client, &session, ended)), (0, "ended\n".to_owned()));
    assert!(open_files(daemon) <= before + 8, "{} files are open, {before} before", open_files(daemon));
    runtime.block_on(exec(&mut client, &session, "echo > ~/go"));
    let last = lines.map(Result::unwrap).last().unwrap();
    running.wait().unwrap();
    assert!(last.contains("awaiting_review"), "{last}");
    assert_eq!(engine.labelled(&label(&world)), [""; 0]);
}

/// Runs a command in a session; its status and what it wrote.
async fn exec(client: &mut Client, session: &str, script: &str) -> (i32, String) {
    let argv = [&b"/bin/sh"[..], b"-c", script.as_bytes()].map(<[u8]>::to_vec).to_vec();
    let start = Input::Start(v1::ExecStart { session: session.to_owned(), argv, ..v1::ExecStart::default() });
    let input = tokio_stream::once(v1::ExecInput { input: Some(start) }).chain(tokio_stream::pending());
    let mut output = client.sessions.exec(input).await.expect("a command").into_inner();
    let mut said = Vec::new();
    while let Some(message) = output.message().await.expect("its output") {
        match message.output {
            Some(Output::Stdout(bytes)) => said.extend(bytes),
            Some(Output::Exit(exit)) => return (exit.code, String::from_utf8(said).unwrap()),
            _ => {}
        }
    }
    panic!("{script} has no end");
}

#[test]
fn twenty_sessions_at_once_lose_nothing_and_leave_nothing() {
    let engine = Engine::start("twenty");
    let world = world(Who::Me, &engine);
    // One before, so that everything that is made once is there.
    world.shell("true > first.txt");
    let (before, daemon) = (engine.mounted(), world.daemon_pid());
    let files = open_files(daemon);
    let begun: Vec<Child> = (0..20)
        .map(|n| {
            let task = format!("echo {n} > mine-{n}.txt; rm a.txt");
            let mut command = world.ftlctl(["--json", "code", "--no-review", "--agent", "shell"]);
            command.arg(task).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for (n, child) in begun.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        let last: serde_json::Value = serde_json::from_str(out.lines().last().unwrap_or_default())
            .unwrap_or_else(|error| {
                panic!("{n}: {error}: {out} {}", String::from_utf8_lossy(&output.stderr))
            });
        assert_eq!(last["state"], "awaiting_review", "{n}: {last}");
        let session = last["session"].as_str().unwrap();
        let diff = world.ok(["diff", session]);
        assert!(diff.contains(&format!("mine-{n}.txt")) && diff.matches("mine-").count() < 5, "{diff}");
        world.ok(["rm", "--discard", session]);
    }
    assert_eq!(engine.labelled(&label(&world)), [""; 0]);
    assert_eq!(engine.mounted(), before);
    assert_eq!(std::fs::read_dir(world.ftl_home().join("sessions")).unwrap().count(), 1);
    assert!(open_files(daemon) <= files + 8, "{} files are open, {files} before", open_files(daemon));
}
