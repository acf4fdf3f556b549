//! How long the parts take, beside programs that people know, all from one run.
//!
//!     cargo build --release && cargo run --release -p ftl-tests --bin bench
//!
//! Owns what is measured and what it is compared with. Asserts nothing: a number belongs to the machine
//! and the hour it was taken on; the ratio beside it is what can be compared. Every number is the median
//! of several runs with warm caches. Needs `bwrap`, `git` and `rsync`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ftl_proto::v1;
use ftl_proto::v1::event::Kind;
use ftl_tests::measure::{
    self, Outcome, Place, append, children, median, resident, row, run, shown, slashed, stage, timed,
    tree_of_crates,
};

/// Files of the trees that snapshots are taken of.
const SIZES: [usize; 2] = [1_000, 10_000];
/// Runs of what is quick, of what takes a while, and of what takes microseconds.
const RUNS: usize = 11;
const LONG_RUNS: usize = 3;
const CALLS: usize = 2_000;

fn main() -> Outcome<()> {
    let trees = tempfile::tempdir_in("/var/tmp")?;
    measure::head();
    for size in SIZES {
        let tree = trees.path().join(size.to_string());
        let files = tree_of_crates(&tree, size)?;
        snapshots(&tree, &files, size)?;
    }
    let tree = trees.path().join(SIZES[0].to_string());
    session(&Place::new(&tree)?)?;
    let tree = trees.path().join(SIZES[1].to_string());
    work(&tree, SIZES[1])?;
    daemon(&Place::new(&tree)?)
}

// === what is measured ===

fn snapshots(tree: &Path, files: &[PathBuf], size: usize) -> Outcome<()> {
    let scratch = tempfile::tempdir_in("/var/tmp")?;
    let copies: Vec<PathBuf> = (0..LONG_RUNS).map(|run| scratch.path().join(format!("copy-{run}"))).collect();
    let rsync = |to: &Path| timed(|| run("rsync", ["-a".into(), slashed(tree), slashed(to)], None));
    let first_peer = median(copies.iter().map(|copy| rsync(copy)))?;
    let mut place = None;
    let mut firsts = Vec::new();
    for _ in 0..LONG_RUNS {
        // A new world each time: its store knows nothing.
        let new = Place::new(tree)?;
        firsts.push(timed(|| new.snapshot()));
        place = Some(new);
    }
    let place = place.ok_or("no run")?;
    row(&format!("snapshot, first, {size} files"), median(firsts)?, "rsync -a into nothing", first_peer);

    let unchanged = median((0..RUNS).map(|_| timed(|| place.snapshot())))?;
    let git = copies.first().ok_or("no copy")?;
    for args in [&["init", "-q"][..], &["add", "-A"], &["write-tree"]] {
        run("git", args, Some(git))?;
    }
    let status = median((0..RUNS).map(|_| timed(|| run("git", ["status", "--porcelain"], Some(git)))))?;
    row(&format!("snapshot, unchanged, {size} files"), unchanged, "git status", status);
    let nothing = median((0..RUNS).map(|_| rsync(&copies[1])))?;
    row("", unchanged, "rsync -a with nothing to do", nothing);

    let some: Vec<&PathBuf> = files.iter().step_by((files.len() / 10).max(1)).take(10).collect();
    let project = place.world.project();
    let changed =
        median((0..RUNS).map(|_| append(&project, &some).and_then(|()| timed(|| place.snapshot()))))?;
    let add = || {
        run("git", ["add", "-A"], Some(git))?;
        run("git", ["write-tree"], Some(git))
    };
    let added = median((0..RUNS).map(|_| append(git, &some).and_then(|()| timed(add))))?;
    row(&format!("snapshot, 10 changed of {size}"), changed, "git add -A && git write-tree", added);
    Ok(())
}

fn session(place: &Place) -> Outcome<()> {
    place.snapshot()?;
    let mut sandbox = Vec::new();
    let ready = median((0..RUNS).map(|_| {
        timed(|| {
            let events = place.until(&place.start("echo ready")?, |kind| matches!(kind, Kind::Output(_)))?;
            sandbox.extend(stage(&events, "sandbox"));
            Ok(())
        })
    }))?;
    let project = place.world.project();
    let bwrap = median((0..RUNS).map(|_| timed(|| run("bwrap", bwrap_args(&project), None))))?;
    row("session, create to first byte of output", ready, "bwrap --unshare-all ... true", bwrap);
    row("  of it the sandbox", median(sandbox.into_iter().map(Ok))?, "", bwrap);
    Ok(())
}

fn work(tree: &Path, size: usize) -> Outcome<()> {
    let place = Place::new(tree)?;
    let base = tempfile::tempdir_in("/var/tmp")?;
    let copy = base.path().join("copy");
    run("cp", [OsStr::new("-a"), tree.as_os_str(), copy.as_os_str()], None)?;
    let edit = "for file in $(find . -name '*.rs' | sort | head -5); do echo changed >> $file; done";
    let edited = place.start(edit)?;
    place.until_idle(&edited)?;
    let diff = median((0..RUNS).map(|_| timed(|| place.diff(&edited))))?;
    let walked = median((0..LONG_RUNS).map(|_| timed(|| compare(tree, &copy))))?;
    row(&format!("diff, 5 changed of {size}"), diff, "walk both trees and read them", walked);

    let around = median((0..RUNS).map(|_| {
        timed(|| {
            place.snapshot()?;
            let session = place.start(edit)?;
            place.until_idle(&session)?;
            place.diff(&session)
        })
    }))?;
    let by_hand = median((0..LONG_RUNS).map(|number| {
        let to = base.path().join(format!("work-{number}"));
        timed(|| {
            run("cp", [OsStr::new("-a"), tree.as_os_str(), to.as_os_str()], None)?;
            run("sh", ["-c", edit], Some(&to))?;
            compare(tree, &to)
        })
    }))?;
    row(
        &format!("snapshot, session, edit 5, diff, of {size}"),
        around,
        "copy, edit, walk both and read",
        by_hand,
    );
    Ok(())
}

fn daemon(place: &Place) -> Outcome<()> {
    let mut calls = Vec::new();
    let rest = resident(place.world.daemon_pid())?;
    place.runtime.block_on(async {
        let mut client = place.client.daemon.clone();
        for _ in 0..CALLS {
            let start = Instant::now();
            client.status(v1::StatusRequest {}).await?;
            calls.push(Ok(start.elapsed()));
        }
        Outcome::Ok(())
    })?;
    println!("{:<44} {:>11}", "one call over the socket", shown(median(calls)?));
    println!("{:<44} {:>7} KiB", "daemon at rest, resident", rest);
    place.snapshot()?;
    let session = place.start("mkfifo \"$HOME/wait\"; echo ready; read _ < \"$HOME/wait\"")?;
    place.until(&session, |kind| matches!(kind, Kind::Output(_)))?;
    let mut helpers = 0;
    for launcher in children(place.world.daemon_pid())? {
        helpers += resident(launcher)?;
        for init in children(launcher)? {
            helpers += resident(init)?;
        }
    }
    println!("{:<44} {helpers:>7} KiB", "an idle session's helpers, resident");
    let stop = v1::StopRequest { session };
    place.runtime.block_on(place.client.sessions.clone().stop(stop))?;
    println!("{:<44} {:>7} KiB", "daemon after all this, resident", resident(place.world.daemon_pid())?);
    Ok(())
}

/// The method of an earlier system: walk the whole tree, read every file, compare with its other copy.
fn compare(one: &Path, other: &Path) -> Outcome<()> {
    let mut differing = 0;
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(one.join(&dir))? {
            let entry = entry?;
            let path = dir.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                dirs.push(path);
            } else if fs::read(one.join(&path))? != fs::read(other.join(&path))? {
                differing += 1;
            }
        }
    }
    std::hint::black_box(differing);
    Ok(())
}

/// The same places as a session has, as far as bubblewrap makes them.
fn bwrap_args(project: &Path) -> Vec<String> {
    let mut args =
        "--unshare-all --die-with-parent --ro-bind /usr /usr --proc /proc --dev /dev --tmpfs /tmp \
                    --tmpfs /run --dir /home/agent --chdir /workspace"
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>();
    for name in
        ["bin", "lib", "lib64", "sbin"].into_iter().filter(|name| Path::new("/usr").join(name).exists())
    {
        args.extend(["--symlink".into(), format!("usr/{name}"), format!("/{name}")]);
    }
    args.extend(["--bind".into(), project.display().to_string(), "/workspace".into(), "true".into()]);
    args
}
