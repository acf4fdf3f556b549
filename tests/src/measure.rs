//! Measuring: what the benchmarks have in common.
//!
//! Owns taking times, the table that they are printed in, and the trees that they are taken of. Asserts
//! nothing: a number belongs to the machine and the hour it was taken on; the ratio beside it is what can be
//! compared. Must not know what is measured.

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ftl_proto::v1;
use ftl_proto::v1::event::Kind;
use tokio::runtime::Runtime;

use crate::client::Client;
use crate::world::{Who, World};

/// What a benchmark's step comes to; whatever goes wrong ends the benchmark with its cause.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

// === times ===

/// How long `work` takes.
///
/// # Errors
/// Those of `work`.
pub fn timed(work: impl FnOnce() -> Outcome<()>) -> Outcome<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

/// The time in the middle.
///
/// # Errors
/// The first of a run, or that there was none.
pub fn median(runs: impl IntoIterator<Item = Outcome<Duration>>) -> Outcome<Duration> {
    let mut times = runs.into_iter().collect::<Outcome<Vec<_>>>()?;
    times.sort();
    times.get(times.len() / 2).copied().ok_or_else(|| "no run".into())
}

// === the table ===

/// Prints what the columns are.
pub fn head() {
    println!("{:<44} {:>11}   {:<34} {:>11} {:>9}", "", "FTL", "beside", "", "FTL/it");
}

/// Prints one time beside a peer's, and their ratio.
pub fn row(what: &str, ours: Duration, peer: &str, theirs: Duration) {
    let ratio = ratio(ours.as_secs_f64() / theirs.as_secs_f64().max(1e-9));
    println!("{what:<44} {:>11}   {peer:<34} {:>11} {ratio:>9}", shown(ours), shown(theirs));
}

/// A time as people read it.
#[must_use]
pub fn shown(time: Duration) -> String {
    match time.as_micros() {
        micros if micros < 10_000 => format!("{micros} us"),
        micros => format!("{:.1} ms", micros as f64 / 1e3),
    }
}

fn ratio(ratio: f64) -> String {
    if ratio < 0.1 { format!("1/{:.0}", 1.0 / ratio.max(1e-9)) } else { format!("{ratio:.2}") }
}

// === programs ===

/// Runs a program that must succeed, and forgets what it prints.
///
/// # Errors
/// When it cannot be started, or fails.
pub fn run<S: AsRef<OsStr>>(program: &str, args: impl AsRef<[S]>, dir: Option<&Path>) -> Outcome<()> {
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

/// A directory as `rsync` takes it for what is in it.
#[must_use]
pub fn slashed(dir: &Path) -> String {
    format!("{}/", dir.display())
}

/// Resident memory of a process, KiB.
///
/// # Errors
/// When it has ended.
pub fn resident(pid: i32) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Processes that a process started.
///
/// # Errors
/// When it has ended.
pub fn children(pid: i32) -> Outcome<Vec<i32>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let children = fs::read_to_string(task?.path().join("children"))?;
        for child in children.split_whitespace() {
            found.push(child.parse()?);
        }
    }
    Ok(found)
}

// === trees ===

/// Unpacks published crates from cargo's registry cache, again and again beneath other directories, until
/// there are so many files; gives their paths. Files of rules are left out: what a crate's own rules leave out
/// would make the comparison another one.
///
/// # Errors
/// When there is no cache, or the tree cannot be written.
pub fn tree_of_crates(root: &Path, size: usize) -> Outcome<Vec<PathBuf>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home =
        home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo"))).ok_or("no CARGO_HOME")?;
    let mut crates = Vec::new();
    for registry in fs::read_dir(home.join("registry/cache"))? {
        crates
            .extend(fs::read_dir(registry?.path())?.filter_map(|entry| entry.ok().map(|entry| entry.path())));
    }
    crates.retain(|path| path.extension().is_some_and(|end| end == "crate"));
    crates.sort();
    let mut files = Vec::new();
    for round in 0.. {
        for packed in &crates {
            let dir = root.join(format!("vendor-{round}"));
            fs::create_dir_all(&dir)?;
            let name = packed.file_stem().ok_or("a crate without a name")?;
            run("tar", [OsStr::new("xzf"), packed.as_ref(), OsStr::new("-C"), dir.as_ref()], None)?;
            list(&dir.join(name), root, &mut files, size)?;
            if files.len() >= size {
                return Ok(files);
            }
        }
        if files.is_empty() {
            return Err("the registry cache has no crates".into());
        }
    }
    Ok(files)
}

/// Lists the files beneath a directory, and removes those beyond `most` and every file of rules.
fn list(dir: &Path, root: &Path, files: &mut Vec<PathBuf>, most: usize) -> Outcome<()> {
    for entry in fs::read_dir(dir)? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        if kind.is_dir() {
            list(&path, root, files, most)?;
        } else if files.len() >= most || path.file_name().is_some_and(|name| name == ".gitignore") {
            fs::remove_file(path)?;
        } else {
            files.push(path.strip_prefix(root)?.to_owned());
        }
    }
    Ok(())
}

/// Changes files by a line at their ends.
///
/// # Errors
/// When one cannot be written.
pub fn append(root: &Path, files: &[&PathBuf]) -> Outcome<()> {
    for file in files {
        fs::OpenOptions::new().append(true).open(root.join(file))?.write_all(b"// changed\n")?;
    }
    Ok(())
}

// === a daemon that works ===

/// A world with a project, its daemon and a connection to it.
pub struct Place {
    /// What calls run on.
    pub runtime: Runtime,
    /// The world.
    pub world: World,
    /// The connection.
    pub client: Client,
}

impl Place {
    /// A new world whose project is a copy of `tree`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(tree: &Path) -> Outcome<Self> {
        Self::with(tree, None)
    }

    /// The same with a configuration of the human's.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn with(tree: &Path, config: Option<&serde_json::Value>) -> Outcome<Self> {
        let world = World::new(Who::Me);
        if let Some(config) = config {
            world.config(config);
        }
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

    /// Takes a snapshot of the project.
    ///
    /// # Errors
    /// When the daemon does not.
    pub fn snapshot(&self) -> Outcome<()> {
        let project = std::os::unix::ffi::OsStringExt::into_vec(self.world.project().into_os_string());
        let request = v1::CreateSnapshotRequest { project, explain: false };
        self.runtime.block_on(self.client.snapshots.clone().create(request))?;
        Ok(())
    }

    /// Starts a session with a script as its task, and gives its name.
    ///
    /// # Errors
    /// When the daemon does not.
    pub fn start(&self, script: &str) -> Outcome<String> {
        Ok(self.runtime.block_on(self.client.clone().shell(&self.world.project(), script))?)
    }

    /// Follows a session until it tells what is waited for; gives all that it told.
    ///
    /// # Errors
    /// When it comes to rest before.
    pub fn until(&self, session: &str, is_it: impl Fn(&Kind) -> bool) -> Outcome<Vec<Kind>> {
        let (seen, found) = self.follow(session, is_it)?;
        if found { Ok(seen) } else { Err("the session ended early".into()) }
    }

    /// Follows a session until it rests; gives all that it told.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn until_idle(&self, session: &str) -> Outcome<Vec<Kind>> {
        Ok(self.follow(session, |_| false)?.0)
    }

    fn follow(&self, session: &str, is_it: impl Fn(&Kind) -> bool) -> Outcome<(Vec<Kind>, bool)> {
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
                    return Ok((seen, true));
                }
            }
            Ok((seen, false))
        })
    }

    /// Asks for a session's diff and reads all of it.
    ///
    /// # Errors
    /// When the daemon has none.
    pub fn diff(&self, session: &str) -> Outcome<()> {
        let request = v1::GetDiffRequest { session: session.into(), stat_only: false, contents: false };
        self.runtime.block_on(async {
            let mut items = self.client.reviews.clone().get_diff(request).await?.into_inner();
            while items.message().await?.is_some() {}
            Ok(())
        })
    }

    /// What reading the work of a task, comparing it and handing the diff out take, without the task's own time;
    /// `changes` says whether there is one.
    ///
    /// # Errors
    /// When the session fails.
    pub fn diff_time(&self, script: &str, changes: bool) -> Outcome<Duration> {
        let session = self.start(script)?;
        let events = self.until_idle(&session)?;
        let read = stage(&events, "diff").ok_or("no diff was made")?;
        let shown = if changes { timed(|| self.diff(&session))? } else { Duration::ZERO };
        self.discard(&session)?;
        Ok(read + shown)
    }

    /// Removes a session and its work.
    ///
    /// # Errors
    /// When the daemon does not.
    pub fn discard(&self, session: &str) -> Outcome<()> {
        let request = v1::RemoveRequest { session: session.into(), discard: true };
        self.runtime.block_on(self.client.sessions.clone().remove(request))?;
        Ok(())
    }
}

/// How long a stage took, as the session's own events say.
#[must_use]
pub fn stage(events: &[Kind], name: &str) -> Option<Duration> {
    events.iter().find_map(|kind| match kind {
        Kind::StageFinished(stage) if stage.stage == name => Some(Duration::from_micros(stage.elapsed_us)),
        _ => None,
    })
}
