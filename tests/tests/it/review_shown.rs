//! What a human says yes to is what was shown: whatever happens meanwhile, nothing else lands.

use std::os::unix::fs::PermissionsExt as _;

use ftl_proto::v1;
use ftl_tests::client::Client;
use ftl_tests::tmux::{Tmux, asked};
use ftl_tests::world::{Who, World};
use serde_json::Value;

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

fn read(world: &World, name: &str) -> String {
    std::fs::read_to_string(world.project().join(name)).unwrap()
}

/// A session that changed two files, and what it does behind the review's back.
fn world() -> (World, String) {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n"), ("b", "1\n")]);
    let session = text(&world.shell("echo shown > a; echo shown > b"), "session").to_owned();
    (world, session)
}

const BEHIND: &str = "echo never-shown > a; chmod +x a";

#[test]
fn work_that_changes_behind_the_questions_is_not_approved() {
    let (world, session) = world();
    let tmux = Tmux::open(&world, (80, 40), "ftlctl review --plain");
    tmux.wait_for("file 1 of 2");
    tmux.kind("y");
    tmux.press(["Enter"]);
    tmux.wait_for("file 2 of 2");
    world.ok(["exec", &session, "--", "sh", "-c", BEHIND]);
    tmux.kind("y");
    tmux.press(["Enter"]);
    let screen = tmux.wait_for("ended");
    assert!(screen.contains("the session's work is another now"), "{screen}");
    assert!(!screen.contains("Type "), "{screen}");
    assert_eq!((read(&world, "a"), read(&world, "b")), ("1\n".to_owned(), "1\n".to_owned()));
    let mode = world.project().join("a").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0);
}

#[test]
fn an_approval_names_the_work_that_was_shown() {
    let (world, session) = world();
    let whole = text(&world.json(0, ["diff", &session]), "digest").to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut reviews = Client::connect(&world.socket()).await.unwrap().reviews;
        let selection = v1::Selection { paths: vec![b"b".to_vec()], parts: Vec::new() };
        let request = |shown: &str| v1::PreviewRequest {
            session: session.clone(),
            selection: Some(selection.clone()),
            shown: shown.to_owned(),
            ..Default::default()
        };
        // At least 12 characters name a digest.
        for (shown, fits) in [("", true), (&whole, true), (&whole[..12], true), (&whole[..11], false)] {
            assert_eq!(reviews.preview(request(shown)).await.is_ok(), fits, "{shown:?}");
        }
        let mut items = reviews.preview(request(&whole)).await.unwrap().into_inner();
        let Some(v1::diff_item::Item::Header(header)) = items.message().await.unwrap().unwrap().item else {
            panic!("no header");
        };
        assert_eq!(header.whole, whole);
        drop(items);
        // What changes is not even among what was chosen.
        world.ok(["exec", &session, "--", "sh", "-c", BEHIND]);
        let refused = reviews.preview(request(&whole)).await.unwrap_err();
        assert_eq!(refused.metadata().get("ftl-reason").unwrap(), "work-changed", "{refused:?}");
        let approve = v1::ApproveRequest {
            session: session.clone(),
            digest: header.digest,
            selection: Some(selection.clone()),
            shown: whole.clone(),
            ..Default::default()
        };
        let refused = reviews.approve(approve).await.unwrap_err();
        assert_eq!(refused.metadata().get("ftl-reason").unwrap(), "work-changed", "{refused:?}");
    });
    assert_eq!(read(&world, "b"), "1\n");
}

#[test]
fn a_merge_with_the_humans_edits_is_shown_before_its_digest() {
    let lines = |third: &str, last: &str| -> String {
        (1..=40).map(|n| match n { 3 => third.to_owned(), 38 => last.to_owned(), n => n.to_string() } + "\n").collect()
    };
    for size in [(80, 24), (120, 40), (200, 60)] {
        let world = World::new(Who::Me);
        world.files(&[("f", &lines("3", "38"))]);
        world.shell("sed -i 's/^3$/the agent/' f");
        world.files(&[("f", &lines("3", "the human"))]);
        let tmux = Tmux::open(&world, size, "ftlctl review");
        tmux.wait(|screen| screen.contains("review s-") && !screen.contains("loading"));
        tmux.kind("*y");
        let screen = tmux.wait_for("with your own edits, this would be written");
        assert!(screen.contains("+ the agent") && !screen.contains("Type "), "{screen}");
        tmux.wait_for("y on to the digest");
        tmux.press(["Enter"]);
        tmux.kind("y");
        let digest = asked(&tmux.wait_for("Enter to approve"));
        // What the human does meanwhile is not what was shown either.
        world.files(&[("f", &lines("3", "the human again"))]);
        tmux.kind(&digest);
        tmux.press(["Enter"]);
        tmux.wait_for("nothing was applied");
        assert_eq!(read(&world, "f"), lines("3", "the human again"));
        tmux.kind("y");
        tmux.wait_for("y on to the digest");
        tmux.kind("y");
        tmux.kind(&asked(&tmux.wait_for("Enter to approve")));
        tmux.press(["Enter"]);
        tmux.wait_for("ended 0");
        assert_eq!(read(&world, "f"), lines("the agent", "the human again"));
    }
}

#[test]
fn the_question_of_code_opens_the_screen_and_comes_to_its_end() {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n"), ("b", "1\n")]);
    let line = "ftlctl code --agent shell 'echo 2 > a; echo 2 > b; echo the agent speaks'";
    let tmux = Tmux::open(&world, (80, 24), line);
    tmux.wait_for("[v]iew /");
    tmux.kind("v");
    tmux.press(["Enter"]);
    let screen = tmux.wait(|screen| screen.contains("review s-") && !screen.contains("loading"));
    assert!(!screen.contains("[v]iew"), "{screen}");
    tmux.kind("Ay");
    let screen = tmux.wait_for("Enter to approve");
    assert!(!screen.contains("speaks"), "{screen}");
    tmux.kind(&asked(&screen));
    tmux.press(["Enter"]);
    let screen = tmux.wait_for("ended 4");
    assert!(screen.contains("applied 1 path") && screen.contains("waits for your review"), "{screen}");
    assert_eq!((read(&world, "a"), read(&world, "b")), ("2\n".to_owned(), "1\n".to_owned()));
}

#[test]
fn a_patch_that_a_terminal_would_act_on_must_be_asked_for() {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n"), ("b", "1\r\n")]);
    let session = text(&world.shell("printf '2\\r\\n\\ttabs are fine\\n' > b"), "session").to_owned();
    assert!(world.ok(["diff", &session]).contains("+2\r\n"));
    let session =
        text(&world.shell("printf '\\033[2K\\033[1Ahidden\\n\\342\\200\\256\\n' > a"), "session").to_owned();
    let said = world.run(["diff", &session]);
    assert_eq!(said.code, 2, "{said:#?}");
    assert!(said.out.is_empty() && said.err.contains("the patch of a holds characters"), "{said:#?}");
    assert!(said.err.contains("--patch") && said.err.contains("--plain"), "{said:#?}");
    let patch = world.ok(["diff", &session, "--patch"]);
    assert!(patch.contains("+\u{1b}[2K\u{1b}[1Ahidden\n+\u{202e}\n"), "{patch:?}");
    let page = world.ok(["diff", &session, "--plain"]);
    assert!(page.contains("\\x1b[2K") && !page.contains(['\u{1b}', '\u{202e}']), "{page:?}");
    // Not even then to a terminal.
    let tmux = Tmux::open(&world, (80, 24), &format!("ftlctl diff {session} --patch"));
    let screen = tmux.wait_for("ended 2");
    assert!(screen.contains("work.patch"), "{screen}");
}

#[test]
fn hints_name_the_session() {
    let (world, session) = world();
    let whole = text(&world.json(0, ["diff", &session]), "digest").to_owned();
    world.files(&[("a", "0\n1\n")]);
    let said = world.run(["approve", &session, "--digest", &whole]);
    assert_eq!(said.code, 4, "{said:#?}");
    assert!(said.err.contains(&format!("ftlctl diff {session} --preview")), "{said:#?}");
    assert!(!said.err.contains("SESSION"), "{said:#?}");
}
