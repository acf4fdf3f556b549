//! Sessions in containers, beside the raw engine and beside the way an earlier system went about it.
//!
//!     cargo build --release && cargo run --release -p ftl-tests --bin bench_docker -- [FILES...]
//!
//! Owns what is measured. It starts the tests' own engine, so it runs as root on a machine where `tests/run` has
//! been. Beside booting and commands stands what the same engine needs for the least of the kind when it is asked
//! directly ([`raw`]): a container made, attached and started until its first byte comes; one exec. Beside the
//! work on files stands `ftl_tests::earlier`, with its container on the same engine.

mod raw;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ftl_proto::v1;
use ftl_proto::v1::event::Kind;
use ftl_proto::v1::exec_input::Input;
use ftl_proto::v1::exec_output::Output;
use ftl_tests::earlier::{EDIT, Earlier, make_tree, print_published};
use ftl_tests::engine::Engine;
use ftl_tests::measure::{self, Outcome, Place, append, median, row, stage, timed};
use tokio_stream::StreamExt as _;

use raw::Raw;

/// Files of the trees, when none are named.
const SIZES: [usize; 3] = [100, 1_000, 10_000];
/// Runs of ours and of the engine's own, of the earlier way, and of commands.
const RUNS: usize = 11;
const LONG_RUNS: usize = 3;
const COMMANDS: usize = 101;

fn main() -> Outcome<()> {
    let sizes = std::env::args().skip(1).map(|size| size.parse()).collect::<Result<Vec<usize>, _>>()?;
    let sizes = if sizes.is_empty() { SIZES.to_vec() } else { sizes };
    let engine = Engine::start("bench");
    let image = engine.plain_image();
    let raw = Raw::new(&engine.socket(), image);
    let docker = serde_json::json!({ "host": engine.host(), "image": image });
    let config = serde_json::json!({ "sandbox": "docker", "docker": docker });
    let scratch = tempfile::tempdir_in("/var/tmp")?;
    measure::head();
    for (at, size) in sizes.into_iter().enumerate() {
        let tree = scratch.path().join(format!("tree-{size}"));
        let files = make_tree(&tree, size)?;
        let place = Place::with(&tree, Some(&config))?;
        if at == 0 {
            boot_and_commands(&place, &raw)?;
        }
        let dir = scratch.path().join(format!("earlier-{size}"));
        let earlier = Earlier::new(&tree, &dir, Some(image), Some(&engine.host()))?;
        work(&place, &files, &earlier)?;
    }
    print_published();
    Ok(())
}

fn boot_and_commands(place: &Place, raw: &Raw) -> Outcome<()> {
    let boot = || -> Outcome<Duration> {
        let session = place.start("true")?;
        let events = place.until_idle(&session)?;
        place.discard(&session)?;
        stage(&events, "sandbox").ok_or_else(|| "no sandbox was started".into())
    };
    let create = median((0..RUNS).map(|_| raw.boot()))?;
    // The first makes the helper's layer, and asks the engine what it is.
    row("boot, the first of a daemon", boot()?, "create, attach, start, first byte", create);
    let next = median((0..RUNS).map(|_| boot()))?;
    row("boot, the next ones", next, "the same", create);

    let session = place.start("mkfifo ~/go; echo ready; read x < ~/go")?;
    place.until(&session, |kind| matches!(kind, Kind::Output(_)))?;
    let ours = median((0..COMMANDS).map(|_| timed(|| exec(place, &session, "true"))))?;
    let waiting = raw.waiting()?;
    let theirs = median((0..COMMANDS).map(|_| timed(|| raw.exec(&waiting))))?;
    raw.remove(&waiting)?;
    row("a command in a running session", ours, "one exec", theirs);
    row("boot, the next ones", next, "one exec", theirs);
    exec(place, &session, "echo > ~/go")?;
    place.until_idle(&session)?;
    place.discard(&session)
}

/// Runs a command in a session and waits for its end.
fn exec(place: &Place, session: &str, script: &str) -> Outcome<()> {
    let argv = [&b"/bin/sh"[..], b"-c", script.as_bytes()].map(<[u8]>::to_vec).to_vec();
    let start = Input::Start(v1::ExecStart {
        session: session.to_owned(),
        argv,
        terminal: None,
        term: String::new(),
    });
    place.runtime.block_on(async {
        let input = tokio_stream::once(v1::ExecInput { input: Some(start) }).chain(tokio_stream::pending());
        let mut output = place.client.sessions.clone().exec(input).await?.into_inner();
        while let Some(message) = output.message().await? {
            if let Some(Output::Exit(_)) = message.output {
                return Ok(());
            }
        }
        Err("a command without an end".into())
    })
}

fn work(place: &Place, files: &[PathBuf], earlier: &Earlier) -> Outcome<()> {
    let size = files.len();
    let named = |what: &str| format!("{what}, {size} files");
    let project = place.world.project();
    place.snapshot()?;

    let ready = median((0..RUNS).map(|_| {
        timed(|| place.until(&place.start("echo ready")?, |kind| matches!(kind, Kind::Output(_))).map(drop))
    }))?;
    let theirs = median((0..LONG_RUNS).map(|_| timed(|| earlier.prepare())))?;
    row(&named("prepare (start to first output)"), ready, "wipe and copy, by exec", theirs);

    for (what, script) in [("diff, nothing changed", "true"), ("diff, 5 changed", EDIT)] {
        let ours = median((0..RUNS).map(|_| place.diff_time(script, script == EDIT)))?;
        earlier.prepare()?;
        earlier.edit(script)?;
        let theirs = median((0..LONG_RUNS).map(|_| timed(|| earlier.diff())))?;
        row(&named(what), ours, "walk, read all, send, compare", theirs);
    }

    let ours = median((0..RUNS).map(|_| whole(place, &project, files)))?;
    let theirs = median((0..LONG_RUNS).map(|_| {
        timed(|| {
            earlier.snapshot()?;
            earlier.prepare()?;
            earlier.edit(EDIT)?;
            earlier.diff()
        })
    }))?;
    row(&named("whole warm loop"), ours, "snapshot, prepare, edit, diff", theirs);
    Ok(())
}

/// Five files change, and a task changes five: from the snapshot to the diff in hand.
fn whole(place: &Place, project: &Path, files: &[PathBuf]) -> Outcome<Duration> {
    append(project, &files.iter().rev().take(5).collect::<Vec<_>>())?;
    timed(|| {
        place.snapshot()?;
        let session = place.start(EDIT)?;
        place.until_idle(&session)?;
        place.diff(&session)
    })
}
