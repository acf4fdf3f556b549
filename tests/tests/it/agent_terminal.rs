//! Real agents on their own terminals: sat at, left, come back to in another size, ended, reviewed.

use std::fs;

use ftl_tests::repo;
use ftl_tests::tmux::Tmux;
use ftl_tests::world::{Who, World};
use serde_json::json;

use crate::agents::{Agent, CLAUDE, CODEX, world};

/// What is on an agent's screen when it waits for words.
struct Looks {
    ready: &'static str,
    /// How it is told to end.
    exit: &'static str,
}

fn an_agent_is_left_and_come_back_to(agent: &Agent, word: &str, looks: &Looks) {
    let world = world(agent);
    let first = Tmux::open(&world, (110, 32), &format!("ftlctl run {word}"));
    first.wait_for(looks.ready);
    first.kind("WRITE /workspace/hello.txt hello from the model");
    first.wait_for("hello from the model");
    first.press(["Enter"]);
    first.wait_for("All steps are done.");
    first.press(["C-\\"]);
    let screen = first.wait_for("ended 0");
    assert!(screen.contains("goes on") && screen.contains("ftlctl attach s-"), "{screen}");
    assert!(!screen.contains("All steps are done."), "what stood there before is there again:\n{screen}");
    let session = world.json_lines(0, ["sessions"])[0].clone();
    assert_eq!((&session["state"], &session["agent"]), (&"working".into(), &agent.name.into()), "{session}");

    let second = Tmux::open(&world, (80, 24), "ftlctl attach");
    second.wait_for("All steps are done.");
    second.resize(100, 40);
    second.wait(|screen| screen.lines().count() >= 30 && screen.contains("All steps are done."));
    second.kind("WRITE /workspace/more.txt and more");
    second.wait_for("and more");
    second.press(["Enter"]);
    second.wait(|screen| screen.matches("All steps are done.").count() >= 2);
    second.kind(looks.exit);
    second.wait_for(looks.exit);
    second.press(["Enter"]);
    let review = second.wait(|screen| {
        screen.contains("more.txt") && screen.contains("hello.txt") && !screen.contains(looks.ready)
    });
    assert!(!review.contains("ended"), "{review}");
    let session = session["session"].as_str().unwrap();
    let diff = world.json(0, ["diff", session]).to_string();
    assert!(diff.contains("hello.txt") && diff.contains("more.txt"), "{diff}");
}

#[test]
fn claude_code_has_its_terminal_and_is_left_and_come_back_to() {
    an_agent_is_left_and_come_back_to(
        &CLAUDE,
        "claude",
        &Looks { ready: "bypass permissions", exit: "/exit" },
    );
}

#[test]
fn codex_has_its_terminal_and_is_left_and_come_back_to() {
    an_agent_is_left_and_come_back_to(&CODEX, "codex", &Looks { ready: "/workspace", exit: "/quit" });
}

/// A program in Gemini's place, which says what the terminal is and does what terminals should not let pass.
const STAND_IN: &str = r#"#!/usr/bin/python3
import os, signal, sys

def size(*_):
    columns, rows = os.get_terminal_size()
    print(rows, columns, flush=True)

size()
print("\033]0;stolen title\007\033]52;c;c3RvbGVu\007\033]9;stolen note\007", end="")
print(f"TERM={os.environ['TERM']} args={' '.join(sys.argv[1:])}", flush=True)
signal.signal(signal.SIGWINCH, size)
for line in iter(sys.stdin.readline, ""):
    line = line.rstrip()
    if line == "end":
        sys.exit(3)
    with open("heard.txt", "a") as heard:
        print(f"heard <{line}>", file=heard)
    print(f"heard <{line}>", flush=True)
sys.exit(4)
"#;

fn stand_in() -> World {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    // Where a sandbox has nothing of its own. Another test may run it at this moment.
    let program = repo::tools().join("stand-ins/gemini");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    let draft = program.with_extension(format!("{:?}", std::thread::current().id()));
    fs::write(&draft, STAND_IN).unwrap();
    fs::set_permissions(&draft, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::rename(&draft, &program).unwrap();
    world.config(
        &json!({ "agents": { "gemini": { "path": program, "model_base_url": "http://127.0.0.1:1" } } }),
    );
    world
}

#[test]
fn nothing_that_a_program_wants_of_the_terminal_itself_passes_and_its_end_is_told() {
    let world = stand_in();
    Tmux::open(&world, (90, 20), "ftlctl run gemini | cat").wait_for("there is no terminal");
    let tmux = Tmux::open(&world, (90, 20), "ftlctl run gemini --extra 'two words'");
    let screen = tmux.wait_for("args=");
    assert!(screen.contains("20 90") && screen.contains("TERM=xterm-256color"), "{screen}");
    assert!(screen.contains("--extra two words") && !screen.contains("stolen"), "{screen}");
    assert!(!tmux.title().contains("stolen"));
    tmux.resize(70, 18);
    tmux.wait_for("18 70");
    let other = Tmux::open(&world, (60, 15), "ftlctl attach");
    other.wait_for("args=");
    tmux.wait_for("another client sits");
    other.kind("words\n");
    other.wait_for("heard <words>");
    other.kind("end\n");
    let review = other.wait_for("heard.txt");
    assert!(review.contains("heard <words>"), "the last text stays: {review}");
}

#[test]
fn a_terminal_that_its_client_lost_stays_until_the_session_is_stopped_and_its_work_is_kept() {
    let world = stand_in();
    let tmux = Tmux::open(&world, (90, 20), "ftlctl run gemini");
    tmux.wait_for("args=");
    tmux.kind("words\n");
    tmux.wait_for("heard <words>");
    drop(tmux);
    let session = world.json_lines(0, ["sessions"])[0]["session"].as_str().unwrap().to_owned();
    let said = world.run(["run", "gemini"]);
    assert!(said.code == 2 && said.err.contains("ftlctl code --agent gemini"), "{said:#?}");
    world.ok(["stop", &session]);
    let diff = world.json(0, ["diff", &session]).to_string();
    assert!(diff.contains("heard.txt"), "{diff}");
}
