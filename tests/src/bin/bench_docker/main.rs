//! Sessions in containers, beside the raw engine and beside the way an earlier system went about it.
//!
//!     cargo build --release && cargo run --release -p ftl-tests --bin bench_docker -- [FILES...]
//!
//! Owns what is measured. It starts the tests' own engine, so it runs as root on a machine where `tests/run` has
//! been. Beside booting and commands stands what the same engine needs for the least of the kind when it is asked
//! directly ([`raw`]): a container made, attached and started until its first byte comes; one exec. Beside the
//! work on files stands `ftl_tests::earlier`, with its container on the same engine.

mod raw;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ftl_proto::v1;
use ftl_proto::v1::event::Kind;
use ftl_proto::v1::exec_input::Input;
use ftl_proto::v1::exec_output::Output;
use ftl_tests::doors::Doors;
use ftl_tests::earlier::rows::{RUNS, diff_rows, ours_takes, prepare_row, whole_row};
use ftl_tests::earlier::{EDIT, Earlier, make_tree, print_published};
use ftl_tests::engine::Engine;
use ftl_tests::measure::{self, Outcome, Place, append, median, row, stage, timed};
use tokio_stream::StreamExt as _;

use raw::Raw;

/// Files of the trees, when none are named.
const SIZES: [usize; 3] = [100, 1_000, 10_000];
/// Runs of commands.
const COMMANDS: usize = 101;

fn main() -> Outcome<()> {
    let sizes = std::env::args().skip(1).map(|size| size.parse()).collect::<Result<Vec<usize>, _>>()?;
    let sizes = if sizes.is_empty() { SIZES.to_vec() } else { sizes };
    let engine = Engine::start("bench");
    let image = engine.plain_image();
    let raw = Raw::new(&engine.socket(), image);
    let config = |warm: u64| {
        let docker = serde_json::json!({ "host": engine.host(), "image": image, "warm": warm });
        serde_json::json!({ "sandbox": "docker", "docker": docker })
    };
    let scratch = tempfile::tempdir_in("/var/tmp")?;
    measure::head();
    for (at, size) in sizes.into_iter().enumerate() {
        let tree = scratch.path().join(format!("tree-{size}"));
        let files = make_tree(&tree, size)?;
        if at == 0 {
            boot_and_commands(&Place::with(&tree, Some(&config(0)))?, &raw)?;
        }
        let place = Ready::new(Place::with(&tree, Some(&config(1)))?, &engine);
        let dir = scratch.path().join(format!("earlier-{size}"));
        let earlier = Earlier::new(&tree, &dir, Some(image), Some(&engine.host()))?;
        work(place, &files, &earlier, &raw)?;
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
    exec(place, &session, "echo > ~/go")?;
    place.until_idle(&session)?;
    place.discard(&session)
}

/// Runs a command in a session and waits for its end.
fn exec(place: &Place, session: &str, script: &str) -> Outcome<()> {
    let argv = [&b"/bin/sh"[..], b"-c", script.as_bytes()].map(<[u8]>::to_vec).to_vec();
    let start = Input::Start(v1::ExecStart { session: session.to_owned(), argv, ..v1::ExecStart::default() });
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

/// A place in which the next session's container is waited for before it is wanted, as when a human has read the
/// last one's work.
struct Ready {
    place: Place,
    doors: Doors,
    /// Sessions whose containers have been started.
    known: Vec<String>,
}

impl Ready {
    fn new(place: Place, engine: &Engine) -> Self {
        let doors = Doors::of(&place.world, &engine.host());
        Self { place, doors, known: Vec::new() }
    }

    /// Runs a task that makes the next container ready.
    fn first(&mut self) -> Outcome<()> {
        let session = self.place.start(EDIT)?;
        self.place.until_idle(&session)?;
        self.end(session)
    }

    /// Times `work` in the session whose container stands ready, gives it up, and says how long it took.
    fn time(&mut self, work: impl Fn(&Place) -> Outcome<(String, Duration)>) -> Outcome<Duration> {
        let ready = self.doors.next_but(&self.known);
        let (session, time) = work(&self.place)?;
        if session != ready {
            return Err("the session did not get what was made for it".into());
        }
        self.place.until_idle(&session)?;
        self.end(session)?;
        Ok(time)
    }

    /// Decides on a session: what is likely now is a new one.
    fn end(&mut self, session: String) -> Outcome<()> {
        let request = v1::RejectRequest { session: session.clone(), ..Default::default() };
        self.place.runtime.block_on(self.place.client.reviews.clone().reject(request))?;
        self.known.push(session);
        Ok(())
    }
}

fn work(mut ready: Ready, files: &[PathBuf], earlier: &Earlier, raw: &Raw) -> Outcome<()> {
    let size = files.len();
    let named = |what: &str| format!("{what}, {size} files");
    ready.place.snapshot()?;
    ready.first()?;

    let begun = |place: &Place| {
        let start = Instant::now();
        let session = place.start(&format!("echo ready; {EDIT}"))?;
        place.until(&session, |kind| matches!(kind, Kind::Output(_)))?;
        Ok((session, start.elapsed()))
    };
    let prepare = ours_takes("prepare", || ready.time(begun))?;
    let waiting = raw.waiting()?;
    let exec = median((0..COMMANDS).map(|_| timed(|| raw.exec(&waiting))))?;
    raw.remove(&waiting)?;
    row(&named("a task's first output"), prepare, "one exec", exec);
    prepare_row(&named("prepare (start to first output)"), prepare, earlier)?;

    let project = ready.place.world.project();
    let changed: Vec<_> = files.iter().rev().take(5).collect();
    let ours = ours_takes("whole warm loop", || {
        append(&project, &changed)?;
        ready.time(whole)
    })?;
    whole_row(&named("whole warm loop"), ours, earlier)?;
    diff_rows(&ready.place, earlier, size)
}

/// Five files have changed, and a task changes five: from the snapshot to the diff in hand.
fn whole(place: &Place) -> Outcome<(String, Duration)> {
    let start = Instant::now();
    place.snapshot()?;
    let session = place.start(EDIT)?;
    place.until_idle(&session)?;
    place.diff(&session)?;
    Ok((session, start.elapsed()))
}
