//! How long it takes until a review is on the screen, and until its digest can be approved, beside what people
//! look at diffs with.
//!
//! `cargo build --release -p ftld -p ftlctl -p ftl-guest && cargo run --release -p ftl-tests --bin bench_review`
//!
//! Every program runs on a terminal of its own of the same size, and the time is taken from its start until
//! its screen shows the last thing that it draws of the first page. `tig` and `less` are taken when they are
//! there.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ftl_tests::measure::{self, Outcome, shown};
use ftl_tests::tmux::Tmux;
use ftl_tests::world::{Who, World};

const SIZE: (u16, u16) = (120, 40);

/// Files that change.
const FILES: [usize; 3] = [1, 100, 10_000];

fn main() -> Outcome<()> {
    for files in FILES {
        changed(files, &format!("{files} files changed"))?;
    }
    long()
}

/// Many small changes.
fn changed(files: usize, what: &str) -> Outcome<()> {
    let world = World::new(Who::Me);
    for number in 0..files {
        let dir = world.project().join(format!("d{}", number / 100));
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join(format!("f{number}.rs")), "fn one() {}\nfn two() {}\n")?;
    }
    commit(&world.project())?;
    let script = "find . -name '*.rs' -exec sed -i 's/two/three/' {} +";
    world.shell(script);
    compare(&world, what, script, "accepted 0 of")
}

/// One long change.
fn long() -> Outcome<()> {
    let world = World::new(Who::Me);
    std::fs::write(world.project().join("long.rs"), "")?;
    commit(&world.project())?;
    let script = "seq 50000 | sed 's/.*/let line_& = \"&\";/' > long.rs";
    world.shell(script);
    compare(&world, "50,000 lines", script, "line_20 ")
}

fn compare(world: &World, what: &str, script: &str, until: &str) -> Outcome<()> {
    let ours = first_screen(world, "ftlctl review", until);
    println!("{what}: ftlctl review, first screen {}", shown(ours));
    println!("{what}: ftlctl review, digest of everything {}", shown(digest(world)));
    // The same change in the project itself, for the others.
    let status = Command::new("sh").args(["-c", script]).current_dir(world.project()).status()?;
    if !status.success() {
        return Err("the change failed".into());
    }
    for (peer, line, until) in [
        ("tig", "git diff | tig", "diff --git"),
        ("git diff, coloured words", "git diff --color-words --color=always | less -R", "diff --git"),
        ("git diff", "git diff --color=always | less -R", "diff --git"),
        ("delta", "git diff | delta --paging=always", "fn "),
    ] {
        let program = line.rsplit("| ").next().and_then(|last| last.split(' ').next()).unwrap_or_default();
        let is_there = Command::new("sh").args(["-c", &format!("command -v {program}")]).output()?;
        if is_there.status.success() {
            println!("{what}: {peer}, first screen {}", shown(first_screen(world, line, until)));
        }
    }
    Ok(())
}

/// The best of three, as a terminal and a shell start meanwhile too.
fn first_screen(world: &World, line: &str, until: &str) -> Duration {
    let runs = (0..3).map(|_| {
        let begun = Instant::now();
        let tmux = Tmux::open(world, SIZE, line);
        tmux.wait_for(until);
        let took = begun.elapsed();
        drop(tmux);
        took
    });
    runs.min().unwrap_or_default()
}

/// From the key that asks for it until it can be typed.
fn digest(world: &World) -> Duration {
    let tmux = Tmux::open(world, SIZE, "ftlctl review");
    tmux.wait(|screen| screen.contains("accepted 0 of") && !screen.contains("loading"));
    tmux.kind("*");
    tmux.wait_for("accepted ");
    let begun = Instant::now();
    tmux.kind("y");
    tmux.wait_for("Enter to approve");
    begun.elapsed()
}

fn commit(project: &Path) -> Outcome<()> {
    for args in [
        &["init", "-q"][..],
        &["add", "-A"],
        &["-c", "user.name=b", "-c", "user.email=b@b", "commit", "-q", "-m", "b"],
    ] {
        measure::run("git", args, Some(project))?;
    }
    Ok(())
}
