//! How long the parts take, beside programs that people know, all from one run.
//!
//!     cargo build --release && cargo run --release -p ftl-tests --bin bench
//!
//! Owns what is measured and what it is compared with. Asserts nothing: a number belongs to the machine
//! and the hour it was taken on; the ratio beside it is what can be compared. Every number is the median
//! of several runs with warm caches. Needs `bwrap`, `git` and `rsync`.

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ftl_proto::v1;
use ftl_proto::v1::event::Kind;
use ftl_tests::client::Client;
use ftl_tests::world::{Who, World};
use tokio::runtime::Runtime;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Files of the trees that snapshots are taken of.
const SIZES: [usize; 2] = [1_000, 10_000];
/// Runs of what is quick, of what takes a while, and of what takes microseconds.
const RUNS: usize = 11;
const LONG_RUNS: usize = 3;
const CALLS: usize = 2_000;

/// A world with a project, its daemon and a connection to it.
struct Place {
    runtime: Runtime,
    world: World,
    client: Client,
}

fn main() -> Outcome<()> {
    let trees = tempfile::tempdir_in("/var/tmp")?;
    println!("{:<44} {:>11}   {:<34} {:>11} {:>8}", "", "FTL", "beside", "", "ratio");
    for size in SIZES {
        let tree = trees.path().join(size.to_string());
        let files = make_tree(&tree, size)?;
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
            let stages = events.iter().filter_map(|kind| match kind {
                Kind::StageFinished(stage) if stage.stage == "sandbox" => Some(stage.elapsed_us),
                _ => None,
            });
            sandbox.extend(stages.map(Duration::from_micros));
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

// === a place ===

impl Place {
    /// A new world whose project is a copy of `tree`.
    fn new(tree: &Path) -> Outcome<Self> {
        let world = World::new(Who::Me);
        run(
            "cp",
            ["-a".into(), format!("{}/.", tree.display()), world.project().display().to_string()],
            None,
        )?;
        world.ok(["daemon", "start"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(Client::connect(&world.socket()))?;
        Ok(Self { runtime, world, client })
    }

    fn project(&self) -> Vec<u8> {
        std::os::unix::ffi::OsStringExt::into_vec(self.world.project().into_os_string())
    }

    fn snapshot(&self) -> Outcome<()> {
        let request = v1::CreateSnapshotRequest { project: self.project(), explain: false };
        self.runtime.block_on(self.client.snapshots.clone().create(request))?;
        Ok(())
    }

    fn start(&self, script: &str) -> Outcome<String> {
        Ok(self.runtime.block_on(self.client.clone().shell(&self.world.project(), script))?)
    }

    /// Follows a session until it tells what is waited for.
    fn until(&self, session: &str, is_it: impl Fn(&Kind) -> bool) -> Outcome<Vec<Kind>> {
        let request = v1::WatchRequest {
            session: session.into(),
            from_seq: 1,
            follow: true,
            until_idle: true,
            ..Default::default()
        };
        self.runtime.block_on(async {
            let mut stream = self.client.sessions.clone().watch(request).await?.into_inner();
            let mut seen = Vec::new();
            while let Some(event) = stream.message().await? {
                let Some(kind) = event.kind else { continue };
                let found = is_it(&kind);
                seen.push(kind);
                if found {
                    return Ok(seen);
                }
            }
            Err("the session ended early".into())
        })
    }

    fn until_idle(&self, session: &str) -> Outcome<()> {
        let mut client = self.client.clone();
        self.runtime.block_on(client.until_idle(session, 1))?;
        Ok(())
    }

    fn diff(&self, session: &str) -> Outcome<()> {
        let request = v1::GetDiffRequest { session: session.into(), stat_only: false };
        self.runtime.block_on(async {
            let mut items = self.client.reviews.clone().get_diff(request).await?.into_inner();
            while items.message().await?.is_some() {}
            Ok(())
        })
    }
}

// === trees ===

/// Makes a tree of source files: those of the crates that cargo has unpacked here, or made-up text.
fn make_tree(root: &Path, size: usize) -> Outcome<Vec<PathBuf>> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let mut files = Vec::new();
    let crates = std::env::var_os("CARGO_HOME")
        .map_or_else(|| home.join(".cargo"), PathBuf::from)
        .join("registry/src");
    if crates.is_dir() {
        collect(&crates, &mut files, size)?;
    }
    let mut made = Vec::new();
    for (number, source) in files.iter().enumerate() {
        // Their own names, but none that an ignore rule or a secret's pattern fits.
        let from = source.strip_prefix(&crates)?;
        let to = Path::new(&format!("part-{:03}", number / 200)).join(from);
        copy(&root.join(&to), &fs::read(source)?)?;
        made.push(to);
    }
    for number in made.len()..size {
        let to = PathBuf::from(format!("made/{:03}/{number}.rs", number / 200));
        copy(&root.join(&to), format!("// file {number}\n").repeat(300).as_bytes())?;
        made.push(to);
    }
    Ok(made)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>, size: usize) -> Outcome<()> {
    let mut entries: Vec<_> = fs::read_dir(dir)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if files.len() >= size {
            return Ok(());
        }
        if entry.file_type()?.is_dir() {
            collect(&path, files, size)?;
        } else if path.extension().is_some_and(|ending| ending == "rs" || ending == "md") {
            files.push(path);
        }
    }
    Ok(())
}

fn copy(to: &Path, content: &[u8]) -> Outcome<()> {
    fs::create_dir_all(to.parent().ok_or("no parent")?)?;
    Ok(fs::write(to, content)?)
}

fn append(root: &Path, files: &[&PathBuf]) -> Outcome<()> {
    for file in files {
        fs::OpenOptions::new().append(true).open(root.join(file))?.write_all(b"// changed\n")?;
    }
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

// === measuring ===

fn timed(work: impl FnOnce() -> Outcome<()>) -> Outcome<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

fn median(runs: impl IntoIterator<Item = Outcome<Duration>>) -> Outcome<Duration> {
    let mut times = runs.into_iter().collect::<Outcome<Vec<_>>>()?;
    times.sort();
    times.get(times.len() / 2).copied().ok_or_else(|| "no run".into())
}

fn row(work: &str, ours: Duration, peer: &str, theirs: Duration) {
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("{work:<44} {:>11}   {peer:<34} {:>11} {ratio:>8.3}", shown(ours), shown(theirs));
}

fn shown(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

fn run<S: AsRef<OsStr>>(program: &str, args: impl AsRef<[S]>, dir: Option<&Path>) -> Outcome<()> {
    let mut command = Command::new(program);
    command.args(args.as_ref()).stdin(Stdio::null()).stdout(Stdio::null());
    if let Some(dir) = dir {
        command.current_dir(dir);
    }
    match command.status().map_err(|error| format!("{program}: {error}"))? {
        status if status.success() => Ok(()),
        status => Err(format!("{program}: {status}").into()),
    }
}

fn slashed(dir: &Path) -> String {
    format!("{}/", dir.display())
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

/// Resident memory of a process, KiB.
fn resident(pid: i32) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn children(pid: i32) -> Outcome<Vec<i32>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let children = fs::read_to_string(task?.path().join("children"))?;
        for child in children.split_whitespace() {
            found.push(child.parse()?);
        }
    }
    Ok(found)
}
