//! `ftlctl` alone on a terminal: lines in, screen text out, and what is in the project and the daemon afterwards.

use std::os::unix::fs::PermissionsExt as _;

use ftl_tests::tmux::Tmux;
use ftl_tests::world::{Who, World};
use serde_json::json;

/// The sizes at which people have terminals.
const SIZES: [(u16, u16); 2] = [(80, 24), (160, 50)];

/// A world whose configured agent is a script.
fn world() -> World {
    let world = World::new(Who::Me);
    world.config(&json!({"agent": "shell"}));
    world.files(&[("a.txt", "one\n")]);
    world
}

fn read(world: &World, path: &str) -> Option<String> {
    std::fs::read_to_string(world.project().join(path)).ok()
}

fn open(world: &World, size: (u16, u16)) -> Tmux<'_> {
    let tmux = Tmux::open(world, size, "ftlctl");
    prompt(&tmux, "project>");
    tmux
}

/// Waits until this prompt stands there.
fn prompt(tmux: &Tmux<'_>, expected: &str) -> String {
    tmux.wait(|screen| last(screen) == expected)
}

/// Types a line.
fn say(tmux: &Tmux<'_>, line: &str) {
    tmux.kind(line);
    tmux.press(["Enter"]);
}

/// The last line of the screen that has text, which is the prompt when one stands there.
fn last(screen: &str) -> &str {
    screen.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim_end()
}

/// Waits for a prompt of a session, and gives its id.
fn prompted(tmux: &Tmux<'_>) -> String {
    let screen = tmux.wait(|screen| last(screen).starts_with("project s-") && last(screen).ends_with('>'));
    last(&screen).split([' ', '>']).nth(1).unwrap().to_owned()
}

/// The beginning of the digest that the approving screen asks for.
fn asked(screen: &str) -> String {
    let rest = screen.split("Type ").nth(1).expect("what to type");
    rest.chars().take(6).collect()
}

#[test]
fn a_task_its_follow_up_and_the_approval_are_lines_at_every_size() {
    for size in SIZES {
        let world = world();
        let tmux = open(&world, size);
        say(&tmux, "echo two >> a.txt");
        let session = prompted(&tmux);
        // The same session: what the first turn did is there.
        say(&tmux, "cat a.txt; echo three >> a.txt");
        let screen = tmux.wait_for("│ two");
        assert!(screen.contains("turn 2"), "{screen}");
        assert_eq!(prompted(&tmux), session);
        say(&tmux, "diff");
        tmux.wait_for("+three");
        assert_eq!(prompted(&tmux), session);
        assert_eq!(read(&world, "a.txt").unwrap(), "one\n", "nothing was approved");
        say(&tmux, "merge");
        tmux.wait(|screen| screen.contains("review s-") && !screen.contains("loading"));
        // Enter approves nothing.
        tmux.press(["Enter"]);
        tmux.kind("*y");
        let screen = tmux.wait_for("Enter to approve");
        tmux.kind(&asked(&screen));
        tmux.press(["Enter"]);
        tmux.wait_for("applied 1 path");
        assert_eq!(read(&world, "a.txt").unwrap(), "one\ntwo\nthree\n");
        tmux.wait(|screen| last(screen).ends_with('>'));
        tmux.press(["C-d"]);
        tmux.wait_for("ended 0");
    }
}

#[test]
fn several_sessions_run_and_each_says_when_it_waits() {
    let world = world();
    let tmux = open(&world, (100, 30));
    // It waits for a file that only appears when the test says so.
    say(&tmux, "while ! test -e go; do sleep 0.1; done; echo slow > slow.txt &");
    tmux.wait_for("runs beside the prompt");
    prompt(&tmux, "project [1 running]>");
    say(&tmux, "echo quick > quick.txt");
    let quick = prompted_beside(&tmux);
    let sessions = world.json_lines(0, ["sessions"]);
    let slow = sessions.iter().find(|session| session["session"] != quick.as_str()).unwrap();
    let slow = slow["session"].as_str().unwrap().to_owned();
    // What is being typed stays while something is told above it.
    tmux.kind("half a li");
    world.ok(["exec", &slow, "--", "touch", "go"]);
    let screen = tmux.wait_for(&format!("{slow} waits for your review"));
    let screen = if screen.contains("> half a li") { screen } else { tmux.wait_for("> half a li") };
    assert!(last(&screen).ends_with("half a li"), "{screen}");
    // Ctrl-C clears the line and ends nothing.
    tmux.press(["C-c"]);
    tmux.wait(|screen| last(screen).ends_with("1 to review]>"));
    say(&tmux, &format!("/use {slow}"));
    tmux.wait_for(&format!("{slow} · awaiting review"));
    prompt(&tmux, &format!("project {slow}>"));
    say(&tmux, "/diff --stat");
    tmux.wait_for("slow.txt");
    tmux.wait(|screen| last(screen).ends_with('>'));
    say(&tmux, "exit");
    let screen = tmux.wait_for("ended 0");
    assert!(screen.contains(&format!("{slow} waits for your review: ftlctl review")), "{screen}");
    assert!(screen.contains(&format!("{quick} waits for your review: ftlctl review")), "{screen}");
}

/// Waits for a session's prompt with what runs beside it, and gives the session.
fn prompted_beside(tmux: &Tmux<'_>) -> String {
    let screen =
        tmux.wait(|screen| last(screen).starts_with("project s-") && last(screen).contains("running]>"));
    last(&screen).split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn ctrl_c_stops_the_agent_and_ctrl_z_lets_it_run() {
    let world = world();
    let tmux = open(&world, (80, 24));
    say(&tmux, "echo begun; echo half > half.txt; sleep 600");
    tmux.wait_for("│ begun");
    tmux.press(["C-c"]);
    tmux.wait_for("stopping the agent");
    tmux.wait_for("half.txt");
    let session = prompted(&tmux);
    say(&tmux, "echo again; sleep 600");
    tmux.wait_for("│ again");
    tmux.press(["C-z"]);
    tmux.wait_for("goes on beside the prompt");
    prompt(&tmux, "project [1 running]>");
    say(&tmux, "quit");
    let screen = tmux.wait_for("ended 0");
    let flat: String = screen.lines().map(str::trim_end).collect();
    assert!(
        flat.contains(&format!("{session} goes on without this shell: ftlctl attach {session}")),
        "{screen}"
    );
    assert_eq!(world.json_lines(0, ["sessions"])[0]["state"], "working", "the daemon keeps it");
    world.ok(["stop", &session]);
}

#[test]
fn commands_that_are_none_and_commands_that_fail_end_nothing() {
    let world = world();
    let tmux = open(&world, (80, 24));
    say(&tmux, "/merg");
    tmux.wait_for("did you mean /merge?");
    let table = [
        ("/diff", "there is no session yet"),
        ("/use s-nothing", "there is no session s-nothing"),
        ("/sessions --frob", "unexpected argument '--frob'"),
        ("/sessions --json", "give --json"),
        ("/new codex", "a session of its own with codex"),
        ("/help", "Nothing is applied before you approve it"),
    ];
    for (line, expected) in table {
        prompt(&tmux, "project>");
        say(&tmux, line);
        tmux.wait_for(expected);
    }
    prompt(&tmux, "project>");
    tmux.kind("/reje");
    tmux.press(["Tab"]);
    tmux.wait_for("> /reject");
    tmux.press(["C-c"]);
    assert!(world.json_lines(0, ["sessions"]).is_empty(), "no line became a task");
}

#[test]
fn the_history_is_the_humans_and_keeps_no_hidden_line() {
    let world = world();
    let tmux = open(&world, (80, 24));
    say(&tmux, " echo hidden");
    prompted(&tmux);
    tmux.wait_for("no changes");
    say(&tmux, "/cost");
    tmux.wait_for("neither tokens nor cost");
    say(&tmux, "/quit");
    tmux.wait_for("ended 0");
    let path = world.ftl_home().join("shell_history");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "\"/cost\"\n\"/quit\"\n");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let tmux = open(&world, (80, 24));
    tmux.press(["Up", "Up"]);
    tmux.wait_for("> /cost");
}

#[test]
fn without_a_terminal_nobody_is_asked() {
    let world = World::new(Who::Me);
    let said = world.run::<&str>([]);
    assert_eq!(said.code, 2, "{said:#?}");
    assert!(said.err.contains("needs a terminal") && said.err.contains("ftlctl code 'TASK'"), "{said:#?}");
    let error = world.json::<&str>(2, []);
    assert_eq!(error["error"]["code"], "usage");
}
