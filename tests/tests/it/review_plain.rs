//! The review as one question after another: what the screen can do, it can do too.

use ftl_tests::model::{Answer, Model};
use ftl_tests::online::{HOST, Setup};
use ftl_tests::tmux::{Tmux, asked};
use ftl_tests::world::{Who, World};
use serde_json::json;

use crate::branch::say;

const SIZE: (u16, u16) = (120, 50);

fn read(world: &World, name: &str) -> String {
    std::fs::read_to_string(world.project().join(name)).unwrap()
}

/// Types an answer, and waits for what comes behind it.
fn answer(tmux: &Tmux<'_>, typed: &str, until: &str) -> String {
    // What is typed before a question is put is no answer to it.
    tmux.wait(|screen| screen.trim_end().ends_with([']', '?']));
    tmux.kind(typed);
    tmux.press(["Enter"]);
    tmux.wait(|screen| screen.rsplit(&format!("] {typed}\n")).next().is_some_and(|rest| rest.contains(until)))
}

#[test]
fn one_goes_back_and_forth_searches_and_takes_single_lines() {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n"), ("b", "1\n2\n3\n"), ("c", "1\n")]);
    world.shell("echo one > a; printf 'x\\ny\\nz\\n' > b; echo needle > c");
    let tmux = Tmux::open(&world, SIZE, "ftlctl review --plain");
    tmux.wait_for("file 1 of 3");
    answer(&tmux, "j", "file 2 of 3");
    answer(&tmux, "k", "file 1 of 3");
    answer(&tmux, "[", "there is none");
    answer(&tmux, "/needle", "file 3 of 3");
    answer(&tmux, "/needle", "there is none");
    answer(&tmux, "g 2", "file 2 of 3");
    // Of those shown, three are removed and three added.
    answer(&tmux, "l 9", "there are lines 1 to 6");
    answer(&tmux, "l 4", "part 1 of 3");
    answer(&tmux, "u", "Accept hunk 1 of 1?");
    answer(&tmux, "*", "accepted 3");
    answer(&tmux, "u", "Accept hunk 1 of 1?");
    answer(&tmux, "l 4-5", "part 1 of 3");
    answer(&tmux, "]", "file 3 of 3");
    let screen = answer(&tmux, "?", "R - reject the session");
    assert!(screen.contains("t - run the project's tests"), "{screen}");
    answer(&tmux, "y", "to approve");
    let digest = asked(&tmux.screen());
    tmux.kind(&digest);
    tmux.press(["Enter"]);
    tmux.wait_for("ended 0");
    assert_eq!((read(&world, "a"), read(&world, "c")), ("1\n".into(), "needle\n".into()));
    let b = read(&world, "b");
    assert!(b.contains("x\ny\n") && b.contains("1\n2\n3\n") && !b.contains('z'), "{b}");
}

#[test]
fn blame_the_ledger_and_the_tests_are_a_letter_away() {
    let online = Setup::new().start();
    let (world, session) = (&online.world, online.session());
    world.config(&json!({"checks": {"test": "cat fetched.txt; grep -q one fetched.txt"}}));
    say(world, session, &format!("curl -sS -o /dev/null https://{HOST}/ && printf 'one\\n' > fetched.txt"));
    let tmux = Tmux::open(world, SIZE, &format!("ftlctl review {session} --plain"));
    tmux.wait_for("Accept hunk 1 of 1?");
    answer(&tmux, "]", "fetched.txt");
    let screen = answer(&tmux, "b", "Accept hunk 1 of 1?");
    assert!(screen.contains("had reached") && screen.contains(HOST), "{screen}");
    let screen = answer(&tmux, "L", "Accept hunk 1 of 1?");
    assert!(screen.contains("DECISION") && screen.contains("allowed"), "{screen}");
    answer(&tmux, "t", "nothing is chosen yet");
    answer(&tmux, "*", "accepted 2");
    let screen = answer(&tmux, "t", "ready: the check passed");
    assert!(screen.contains("test passed"), "{screen}");
    answer(&tmux, "f", "there are no findings");
    // Tests that do not end are ended, and the review goes on.
    world.config(&json!({"checks": {"test": "echo begun; sleep 1000"}}));
    answer(&tmux, "t", "begun");
    tmux.press(["C-c"]);
    tmux.wait(|screen| screen.trim_end().ends_with("[y,n,a,d,s,e,q,?]"));
    answer(&tmux, "R", "Reject the session?");
    tmux.kind("y");
    tmux.press(["Enter"]);
    tmux.wait_for("Because:");
    tmux.press(["Enter"]);
    tmux.wait_for("ended 3");
}

#[test]
fn a_model_is_asked_between_two_questions() {
    let model = Model::start(vec![Answer::text("It is new.\nApprove it\u{1b}[2J now.")]);
    let mut world = World::new(Who::Me);
    world.set("OPENAI_API_KEY", "sk-proj-4f8Qm2XcT9vRk7LwZp3NbYh6JdSg1AeU");
    world.config(&json!({"ask": "openai/gpt-4o", "models": {"openai": {"base_url": model.url()}}}));
    world.files(&[("a.txt", "one\n")]);
    world.shell("echo two >> a.txt");
    let tmux = Tmux::open(&world, SIZE, "ftlctl review --plain");
    tmux.wait_for("Accept hunk 1 of 1?");
    tmux.kind("i");
    tmux.press(["Enter"]);
    tmux.wait_for("Ask (nothing asks nothing):");
    tmux.kind("what is this?");
    tmux.press(["Enter"]);
    let screen = tmux.wait_for("it approves and changes nothing");
    assert!(screen.contains("│ Approve it\\x1b[2J now."), "{screen}");
    tmux.wait(|screen| screen.trim_end().ends_with("[y,n,a,d,s,e,q,?]"));
    answer(&tmux, "q", "Reject the session?");
}

#[test]
fn conflicts_and_findings_are_shown_and_decided_again() {
    let value = "mwsjh4Kd93kfQz7Lp0aVbX";
    let world = World::new(Who::Me);
    let env = format!("PAYMENT_API_KEY={value}\n");
    world.files(&[("f", "a\nb\nc\n"), (".env", &env), (".gitignore", ".env\n")]);
    world.shell(&format!("sed -i 's/b/agent/' f; echo 'key = \"{value}\"' > config.ini"));
    world.files(&[("f", "a\nhuman\nc\n")]);
    let tmux = Tmux::open(&world, SIZE, "ftlctl review --plain");
    tmux.wait_for("config.ini");
    answer(&tmux, "c", "nothing is chosen yet");
    answer(&tmux, "y", "file 2 of 2");
    answer(&tmux, "a", "was changed by you too");
    answer(&tmux, "q", "ended 4");
    drop(tmux);
    let tmux = Tmux::open(&world, SIZE, "ftlctl review --plain");
    tmux.wait_for("config.ini");
    answer(&tmux, "*", "accepted 2");
    answer(&tmux, "c", "f line 2 was changed by you too");
    answer(&tmux, "o", "Accept hunk 1 of 1?");
    let screen = answer(&tmux, "c", "[q]uit?");
    assert!(screen.contains("decided: ours"), "{screen}");
    answer(&tmux, "b", "Accept hunk 1 of 1?");
    answer(&tmux, "f", "Accept it, because");
    tmux.kind("a test value");
    tmux.press(["Enter"]);
    tmux.wait(|screen| screen.trim_end().ends_with("[y,n,a,d,s,e,q,?]"));
    let screen = answer(&tmux, "f", "Take that back?");
    assert!(screen.contains("Accepted, because a test value"), "{screen}");
    tmux.press(["Enter"]);
    tmux.wait(|screen| screen.trim_end().ends_with("[y,n,a,d,s,e,q,?]"));
    answer(&tmux, "y", "file 2 of 2");
    let screen = answer(&tmux, "q", "to approve");
    assert!(screen.contains("With your own edits, this would be written:"), "{screen}");
    tmux.kind(&asked(&screen));
    tmux.press(["Enter"]);
    tmux.wait_for("ended 0");
    assert_eq!(read(&world, "f"), "a\nhuman\nagent\nc\n");
}

#[test]
fn what_changed_meanwhile_is_loaded_anew() {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n"), ("b", "1\n")]);
    let last = world.shell("echo 2 > a; echo 2 > b");
    let session = last["session"].as_str().unwrap();
    let tmux = Tmux::open(&world, SIZE, "ftlctl review --plain");
    tmux.wait_for("file 1 of 2");
    answer(&tmux, "y", "file 2 of 2");
    world.ok(["exec", session, "--", "sh", "-c", "echo 3 > b; echo 3 > c"]);
    answer(&tmux, "r", "file 1 of 3");
    answer(&tmux, "]", "file 2 of 3");
    answer(&tmux, "y", "file 3 of 3");
    let screen = answer(&tmux, "q", "to approve");
    tmux.kind(&asked(&screen));
    tmux.press(["Enter"]);
    tmux.wait_for("ended 0");
    assert_eq!((read(&world, "a"), read(&world, "b")), ("2\n".into(), "3\n".into()));
}
