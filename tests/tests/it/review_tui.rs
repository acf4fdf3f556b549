//! `ftlctl review` on a terminal: keys in, screen text out, and what is in the project afterwards.

use ftl_tests::tmux::{Tmux, asked};
use ftl_tests::world::{Who, World};

/// The sizes at which people have terminals.
const SIZES: [(u16, u16); 3] = [(80, 24), (60, 15), (120, 40)];

/// Numbered lines.
fn lines(changed: &[usize]) -> String {
    let line = |number: usize| {
        if changed.contains(&number) { format!("changed {number}\n") } else { format!("line {number}\n") }
    };
    (1..=60).map(line).collect()
}

/// A world whose newest session changed two places of a file, and added one that deserves a look.
fn world() -> World {
    let world = World::new(Who::Me);
    world.files(&[("src/list.txt", &lines(&[]))]);
    world.shell(
        "sed -i 's/^line 5$/changed 5/; s/^line 50$/changed 50/' src/list.txt
         mkdir -p .github/workflows && echo 'on: push' > .github/workflows/ci.yml
         echo new > src/new.txt",
    );
    world
}

fn read(world: &World, path: &str) -> Option<String> {
    std::fs::read_to_string(world.project().join(path)).ok()
}

#[test]
fn one_hunk_is_approved_at_every_size() {
    for size in SIZES {
        let world = world();
        let tmux = Tmux::open(&world, size, "ftlctl review");
        let first = tmux.ready();
        assert!(first.contains("Look at these (1)") && first.contains("ci.yml"), "{first}");
        // To the file, into its diff, to its first hunk.
        tmux.kind("/changed 5");
        tmux.press(["Enter"]);
        tmux.wait_for("changed 5");
        tmux.press(["Escape"]);
        tmux.wait_for("the search is over");
        tmux.kind("a");
        tmux.wait_for("accepted 1 of 3");
        tmux.kind("y");
        let screen = tmux.wait_for("Enter to approve");
        assert!(screen.contains("src/list.txt") && !screen.contains("ci.yml"), "{screen}");
        assert!(!screen.contains("changed 5"), "content on the approving screen: {screen}");
        let digest = asked(&screen);
        tmux.press(["Enter", "Enter", "Enter"]);
        tmux.wait_for("Enter alone approves nothing");
        assert_eq!(read(&world, "src/list.txt").unwrap(), lines(&[]));
        tmux.kind(&digest);
        tmux.press(["Enter"]);
        tmux.wait_for("ended 0");
        assert_eq!(read(&world, "src/list.txt").unwrap(), lines(&[5]));
        assert_eq!((read(&world, "src/new.txt"), read(&world, ".github/workflows/ci.yml")), (None, None));
    }
}

#[test]
fn what_runs_later_is_chosen_by_itself() {
    let world = world();
    let tmux = Tmux::open(&world, (100, 30), "ftlctl review");
    tmux.ready();
    tmux.kind("*");
    tmux.wait_for("accepted 2; 1 must be chosen one by one");
    tmux.kind("y");
    let screen = tmux.wait_for("Enter to approve");
    assert!(!screen.contains("ci.yml"), "{screen}");
    tmux.press(["Escape"]);
    tmux.wait_for("nothing was approved");
    // The list begins with it.
    tmux.kind("A");
    tmux.wait_for("accepted 3 of 3");
    tmux.kind("y");
    let screen = tmux.wait_for("Enter to approve");
    assert!(screen.contains("ci.yml"), "{screen}");
    tmux.kind(&asked(&screen));
    tmux.press(["Enter"]);
    tmux.wait_for("ended 0");
    assert_eq!(read(&world, ".github/workflows/ci.yml").as_deref(), Some("on: push\n"));
    assert_eq!(read(&world, "src/list.txt").unwrap(), lines(&[5, 50]));
}

#[test]
fn lines_and_edits_are_approved_as_they_are_shown() {
    let mut world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    world.set("EDITOR", "sed -i s/three/drei/");
    world.shell("printf 'one\\ntwo\\nthree\\nfour\\n' > a.txt");
    let tmux = Tmux::open(&world, (80, 24), "ftlctl review");
    tmux.ready();
    tmux.press(["Enter"]);
    tmux.kind("ne");
    tmux.wait_for("has your words");
    tmux.wait_for("drei");
    tmux.kind("y");
    tmux.kind(&asked(&tmux.wait_for("Enter to approve")));
    tmux.press(["Enter"]);
    tmux.wait_for("ended 0");
    assert_eq!(read(&world, "a.txt").as_deref(), Some("one\ntwo\ndrei\nfour\n"));
}

#[test]
fn a_range_of_lines_is_approved_alone() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    world.shell("printf 'one\\ntwo\\nthree\\nfour\\n' > a.txt");
    let tmux = Tmux::open(&world, (80, 24), "ftlctl review");
    tmux.ready();
    tmux.press(["Enter"]);
    // The heading, the unchanged line, then `two` and `three`.
    tmux.kind("njjvja");
    tmux.wait_for("accepted 1 of 1");
    tmux.kind("y");
    tmux.kind(&asked(&tmux.wait_for("Enter to approve")));
    tmux.press(["Enter"]);
    tmux.wait_for("ended 0");
    assert_eq!(read(&world, "a.txt").as_deref(), Some("one\ntwo\nthree\n"));
}

#[test]
fn hostile_content_is_text_and_enter_never_approves() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    world.shell(
        "printf '\\033[2J\\033]0;title\\007\\033[?1049lcleared\\nbidi \\342\\200\\256 end\\n' > a.txt
         head -c 200000 /dev/zero | tr '\\0' x > long.txt
         printf 'x\\n' > \"$(printf 'name\\033[31m\\nEnter')\"",
    );
    for size in SIZES {
        let tmux = Tmux::open(&world, size, "ftlctl review");
        tmux.ready();
        tmux.kind("/cleared");
        tmux.press(["Enter"]);
        let screen = tmux.wait_for("\\x1b[2J");
        assert!(screen.contains("\\x1b]0;title\\x07"), "{screen}");
        assert!(screen.contains("\\u{202e}"), "{screen}");
        assert!(screen.contains("review s-"), "the screen was left or cleared: {screen}");
        tmux.kind("W/xxxx");
        tmux.press(["Enter"]);
        tmux.wait_for("xxxxxxxxxxxxxxxxxxxx");
        tmux.kind("G");
        for _ in 0..5 {
            tmux.press(["Enter"; 20]);
        }
        tmux.kind("*y");
        let screen = tmux.wait_for("Enter to approve");
        assert!(screen.contains("name\\x1b[31m\\nEnter"), "{screen}");
        assert!(!screen.contains("cleared"), "{screen}");
        for _ in 0..5 {
            tmux.press(["Enter"; 20]);
        }
        tmux.kind("y");
        tmux.press(["Enter", "Escape"]);
        tmux.wait_for("nothing was approved");
        tmux.press(["C-c"]);
        tmux.wait_for("ended 4");
        assert_eq!(read(&world, "a.txt").as_deref(), Some("one\n"));
        assert_eq!(read(&world, "long.txt"), None);
    }
}

#[test]
fn the_terminal_is_as_it_was_whatever_ends_the_review() {
    let world = world();
    let line = "echo before; stty -g > modes; ftlctl review; stty -g | cmp - modes && echo same";
    for end in ["q", "C-c"] {
        let tmux = Tmux::open(&world, (80, 24), line);
        tmux.ready();
        tmux.press([end]);
        let screen = tmux.wait_for("same");
        assert!(screen.contains("before") && !screen.contains("Look at these"), "{screen}");
    }
    // A signal from elsewhere.
    let line = format!("echo $$ > shell; {line}");
    let tmux = Tmux::open(&world, (80, 24), &line);
    tmux.ready();
    let shell = read(&world, "shell").expect("the shell's id");
    world.command("pkill").args(["-TERM", "-P", shell.trim()]).status().expect("pkill runs");
    let screen = tmux.wait_for("same");
    assert!(screen.contains("before") && !screen.contains("Look at these"), "{screen}");
}

#[test]
fn a_suspended_review_goes_on_where_it_was() {
    let world = world();
    let tmux = Tmux::open(&world, (80, 24), "set -m; ftlctl review; echo stopped; fg");
    tmux.ready();
    tmux.kind("*");
    tmux.wait_for("accepted 2 of 3");
    tmux.press(["C-z"]);
    tmux.wait(|screen| screen.contains("Look at these") && screen.contains("accepted 2 of 3"));
    tmux.resize(60, 15);
    tmux.wait(|screen| screen.lines().count() <= 15 && screen.contains("accepted 2 of 3"));
    tmux.resize(100, 30);
    tmux.wait_for("│");
    tmux.press(["C-c"]);
    let screen = tmux.wait_for("ended");
    assert!(screen.contains("stopped"), "{screen}");
}

#[test]
fn a_session_that_ends_elsewhere_is_told() {
    let world = world();
    let tmux = Tmux::open(&world, (80, 24), "ftlctl review");
    tmux.ready();
    tmux.kind("*");
    world.ok(["reject", "--why", "elsewhere"]);
    tmux.wait_for("the session is rejected now");
    tmux.kind("y");
    tmux.wait_for("r loads the diff anew");
}

#[test]
fn a_session_is_rejected_with_its_reason() {
    let world = world();
    let tmux = Tmux::open(&world, (80, 24), "ftlctl review");
    tmux.ready();
    tmux.kind("R");
    tmux.wait_for("reject, because:");
    tmux.kind("not today");
    tmux.press(["Enter"]);
    tmux.wait_for("[n]o, end here");
    tmux.kind("n");
    let screen = tmux.wait_for("ended 3");
    assert!(screen.contains("rejected s-"), "{screen}");
    assert_eq!(world.json_lines(0, ["sessions"])[0]["state"], "rejected");
}

#[test]
fn without_colour_there_is_none() {
    let mut world = world();
    world.set("NO_COLOR", "1");
    let tmux = Tmux::open(&world, (100, 30), "ftlctl review");
    tmux.ready();
    tmux.press(["Enter"]);
    tmux.kind("]");
    tmux.wait_for("changed 5");
    let colored = tmux.colored();
    let is_coloured = |code: u8| colored.contains(&format!("\u{1b}[{code}m"));
    assert!(!(30..=37).any(is_coloured) && !colored.contains("38;5;"), "{colored:?}");
    drop(tmux);
    let tmux = Tmux::open(&world, (101, 30), "ftlctl --color always review");
    tmux.ready();
    tmux.kind("]");
    tmux.wait_for("changed 5");
    assert!(tmux.colored().contains("38;5;2m"));
}

#[test]
fn questions_one_by_one_come_to_the_same() {
    let world = world();
    let tmux = Tmux::open(&world, (80, 40), "ftlctl review --plain");
    let screen = tmux.wait_for("Accept hunk 1 of 1? [y,n,a,d,s,e,q,?]");
    assert!(screen.contains("file 1 of 3") && screen.contains("ci.yml"), "{screen}");
    // An empty answer is none: the question is put again, and what is typed before it counts for nothing.
    tmux.press(["Enter"]);
    tmux.wait(|screen| screen.matches("Accept hunk 1 of 1?").count() == 2);
    tmux.kind("n");
    tmux.press(["Enter"]);
    tmux.wait_for("Accept hunk 1 of 2?");
    tmux.kind("y");
    tmux.press(["Enter"]);
    tmux.wait_for("Accept hunk 2 of 2?");
    tmux.kind("q");
    tmux.press(["Enter"]);
    let screen = tmux.wait_for("the beginning of the digest, to approve");
    tmux.kind(&asked(&screen));
    tmux.press(["Enter"]);
    tmux.wait_for("ended 0");
    assert_eq!(read(&world, "src/list.txt").unwrap(), lines(&[5]));
    assert_eq!(read(&world, "src/new.txt"), None);
}

#[test]
fn a_script_is_told_what_to_use_instead() {
    let world = world();
    let said = world.run(["review"]);
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.err.contains("a review needs a terminal") && said.err.contains("ftlctl diff"), "{said:?}");
}
