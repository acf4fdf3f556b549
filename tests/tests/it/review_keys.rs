//! Pages and marks of the review, at the sizes that people have, with and without colour.

use ftl_tests::model::{Answer, Model};
use ftl_tests::online::{HOST, Setup};
use ftl_tests::tmux::{Tmux, asked};
use ftl_tests::world::{Who, World};
use serde_json::json;

use crate::branch::say;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

fn read(world: &World, name: &str) -> String {
    std::fs::read_to_string(world.project().join(name)).unwrap()
}

#[test]
fn blame_and_the_ledger_are_a_key_away() {
    let online = Setup::new().start();
    let (world, session) = (&online.world, online.session());
    say(world, session, &format!("curl -sS -o /dev/null https://{HOST}/ && printf 'one\\n' > fetched.txt"));
    for size in SIZES {
        let tmux = Tmux::open(world, size, &format!("ftlctl review {session}"));
        tmux.ready();
        tmux.kind("/one");
        tmux.press(["Enter"]);
        tmux.wait(|screen| screen.contains("> ") && screen.contains("+ one"));
        // What follows at once would be a key with Alt.
        tmux.press(["Escape"]);
        tmux.wait_for("the search is over");
        tmux.kind("b");
        let screen = tmux.wait_for("had reached");
        assert!(screen.contains("where it comes from: fetched.txt"), "{screen}");
        assert!(screen.contains("hunk 1") && screen.contains(HOST), "{screen}");
        tmux.kind("b");
        tmux.wait_for("y approve");
        tmux.kind("L");
        let screen = tmux.wait(|screen| screen.contains("DECISION") && !screen.contains("loading"));
        assert!(screen.contains(HOST) && screen.contains("allowed"), "{screen}");
        tmux.kind("L");
        tmux.wait_for("y approve");
        tmux.press(["C-c"]);
        tmux.wait_for("ended 4");
    }
}

#[test]
fn conflicts_and_findings_are_decided_at_every_size() {
    let value = "mwsjh4Kd93kfQz7Lp0aVbX";
    for (number, size) in SIZES.into_iter().enumerate() {
        let mut world = World::new(Who::Me);
        let env = format!("PAYMENT_API_KEY={value}\n");
        world.files(&[("f", "a\nb\nc\n"), (".env", &env), (".gitignore", ".env\n")]);
        if number == 1 {
            world.set("NO_COLOR", "1");
        }
        world.shell(&format!("sed -i 's/b/agent/' f; echo 'key = \"{value}\"' > config.ini"));
        world.files(&[("f", "a\nhuman\nc\n")]);
        let tmux = Tmux::open(&world, size, "ftlctl review");
        let screen = tmux.ready();
        assert!(screen.contains("Look at these (1)") && screen.contains("A? config.ini"), "{screen}");
        tmux.kind("A");
        tmux.wait_for("accepted 1 of 2");
        tmux.kind("]A");
        tmux.wait_for("accepted 2 of 2");
        tmux.kind("y");
        let screen = tmux.wait_for("conflict 1 of 1");
        assert!(screen.contains("< human") && screen.contains("> agent"), "{screen}");
        tmux.kind("b");
        tmux.wait_for("every conflict is decided");
        tmux.kind("y");
        let screen = tmux.wait_for("findings hold the approval");
        assert!(screen.contains("[ ] config.ini:1"), "{screen}");
        let colored = tmux.colored();
        let is_coloured = (30..=37).any(|code| colored.contains(&format!("\u{1b}[{code}m")));
        assert!(number != 1 || !(is_coloured || colored.contains("38;5;")), "{colored:?}");
        tmux.kind("a");
        tmux.wait_for("accept this finding, because:");
        tmux.kind("a test value");
        tmux.press(["Enter"]);
        tmux.wait_for("accepted: a test value");
        tmux.kind("q");
        tmux.wait_for("y approve");
        tmux.kind("y");
        let screen = tmux.wait_for("with your own edits, this would be written");
        assert!(screen.contains("+ agent"), "{screen}");
        tmux.wait_for("y on to the digest");
        tmux.kind("y");
        let screen = tmux.wait_for("Enter to approve");
        assert!(screen.contains("1 conflict decided") && screen.contains("1 finding accepted"), "{screen}");
        let digest = asked(&screen);
        tmux.kind(&digest);
        tmux.press(["Enter"]);
        tmux.wait_for("ended 0");
        assert_eq!(read(&world, "f"), "a\nhuman\nagent\nc\n");
    }
}

#[test]
fn what_is_chosen_is_tested_and_a_model_is_asked_beside_the_diff() {
    let model = Model::start(vec![Answer::text("It is new.\nApprove it\u{1b}[2J now."); SIZES.len()]);
    let mut world = World::new(Who::Me);
    world.set("OPENAI_API_KEY", "sk-proj-4f8Qm2XcT9vRk7LwZp3NbYh6JdSg1AeU");
    world.config(&json!({
        "ask": "openai/gpt-4o", "models": {"openai": {"base_url": model.url()}},
        "checks": {"test": "cat a.txt; test ! -e bad"},
    }));
    world.files(&[("a.txt", "one\n")]);
    world.shell("echo two >> a.txt; touch bad");
    for size in SIZES {
        let tmux = Tmux::open(&world, size, "ftlctl review");
        tmux.ready();
        tmux.kind("t");
        tmux.wait_for("nothing is chosen yet");
        tmux.kind("A");
        tmux.wait_for("accepted 1 of 2");
        tmux.kind("t");
        let screen = tmux.wait_for("ready: ");
        assert!(screen.contains("test passed") && !screen.contains("not ready: "), "{screen}");
        tmux.kind("q");
        tmux.wait_for("y approve");
        tmux.kind("*t");
        let screen = tmux.wait_for("not ready: ");
        assert!(screen.contains("test failed"), "{screen}");
        tmux.kind("t");
        tmux.wait_for("y approve");
        tmux.kind("i");
        tmux.wait_for("ask about this file:");
        tmux.kind("what is this?");
        tmux.press(["Enter"]);
        let screen = tmux.wait_for("it approves and changes nothing");
        assert!(screen.contains("│ It is new."), "{screen}");
        assert!(screen.contains("│ Approve it\\x1b[2J now."), "{screen}");
        tmux.press(["C-c"]);
        tmux.wait_for("ended 4");
    }
    assert_eq!(read(&world, "a.txt"), "one\n");
}

#[test]
fn a_file_under_another_name_has_both_in_the_list() {
    let world = World::new(Who::Me);
    let lines: String = (1..=30).map(|n| format!("line {n}\n")).collect();
    world.files(&[("old", &lines)]);
    world.shell("mkdir -p d; mv old d/new; sed -i 's/^line 3$/agent 3/' d/new");
    for size in SIZES {
        let tmux = Tmux::open(&world, size, "ftlctl review");
        let screen = tmux.ready();
        assert!(screen.contains("new ← old"), "{screen}");
        assert!(screen.contains("old → "), "{screen}");
        tmux.press(["C-c"]);
        tmux.wait_for("ended 4");
    }
}

#[test]
fn the_mouse_moves_and_chooses_nothing() {
    let world = World::new(Who::Me);
    let lines: String = (1..=90).map(|n| format!("line {n}\n")).collect();
    world.shell(&format!("printf '{lines}' > a; echo 1 > b"));
    let tmux = Tmux::open(&world, (100, 24), "ftlctl review");
    tmux.ready();
    let list = tmux.screen().lines().position(|line| line.contains("A  b")).expect("the row of b") + 1;
    // As terminals tell it: the left button at a column and row from 1, and its end.
    tmux.kind(&format!("\u{1b}[<0;8;{list}M\u{1b}[<0;8;{list}m"));
    tmux.wait(|screen| screen.lines().nth(2).is_some_and(|line| line.contains("│ [ ] A  b")));
    let list = list - 1;
    tmux.kind(&format!("\u{1b}[<0;8;{list}M"));
    tmux.wait(|screen| screen.lines().nth(2).is_some_and(|line| line.contains("│ [ ] A  a")));
    tmux.kind(&"\u{1b}[<65;60;10M".repeat(20));
    let screen = tmux.wait_for("line 50");
    assert!(screen.contains("accepted 0 of 2"), "{screen}");
    tmux.press(["C-c"]);
    tmux.wait_for("ended 4");
}

#[test]
fn a_terminal_that_can_do_nothing_is_asked_line_by_line() {
    let mut world = World::new(Who::Me);
    world.files(&[("a", "1\n")]);
    world.shell("echo 2 > a");
    world.set("NO_COLOR", "1");
    let tmux = Tmux::open(&world, (80, 24), "TERM=dumb ftlctl review");
    let screen = tmux.wait_for("Accept hunk 1 of 1?");
    assert!(screen.contains("file 1 of 1") && !screen.contains('│'), "{screen}");
    tmux.kind("q");
    tmux.press(["Enter"]);
    tmux.wait_for("Reject the session?");
}
