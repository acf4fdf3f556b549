//! A thousand sessions, one after the other and some at once: afterwards the daemon holds what it held before.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ftl_proto::v1;
use ftl_proto::v1::State;
use ftl_tests::client::Client;
use ftl_tests::leaks::descendants;
use ftl_tests::world::{Who, World};
use tokio::task::JoinSet;

use crate::many::control_groups;

/// Sessions before the first look, so that everything that is made once is there.
const WARM: usize = 60;
/// Sessions between the two looks.
const SESSIONS: usize = 1000;
/// Sessions at once.
const LANES: usize = 6;

/// What a thousand sessions may leave. Each is far below one of its kind for each session.
mod bounds {
    /// Watches of the project: one for each directory.
    pub(super) const WATCHES: usize = 16;
    /// Threads of pools; they come and go with the load.
    pub(super) const THREADS: usize = 48;
    /// Memory of the daemon, kibibytes: what the allocator keeps of its highest load.
    pub(super) const MEMORY_KIB: u64 = 12 * 1024;
    /// The database gives segments back late, bytes.
    pub(super) const DATABASE: u64 = 8 * 1024 * 1024;
    /// The audit log is kept for good, bytes for each session.
    pub(super) const AUDIT_PER_SESSION: u64 = 5 * 1024;
    /// Daemon's own log, bytes for each session.
    pub(super) const LOG_PER_SESSION: u64 = 64;
    /// The project's branches that were made are seen by later sessions, files for each.
    pub(super) const PACK_NAMES: usize = 3;
    /// Files and directories in any other folder.
    pub(super) const NAMES: usize = 8;
    /// Everything else, bytes.
    pub(super) const REST: u64 = 1024 * 1024;
}

/// What a daemon holds.
#[derive(Debug)]
struct Census {
    /// Open descriptors by what they are, without the numbers of sockets and pipes.
    descriptors: BTreeMap<String, usize>,
    /// Directories that are watched.
    watches: usize,
    threads: usize,
    children: usize,
    /// Mounts of anything in the world.
    mounts: usize,
    memory_kib: u64,
    /// Names and bytes beneath the state directory, by folder.
    disk: BTreeMap<String, (usize, u64)>,
}

impl Census {
    fn take(world: &World, pid: i32) -> Self {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let list = |dir: &str| fs::read_dir(proc.join(dir)).expect("the daemon runs").flatten();
        let mut descriptors = BTreeMap::new();
        for entry in list("fd") {
            let Ok(link) = fs::read_link(entry.path()) else { continue };
            let name = link.to_string_lossy();
            *descriptors.entry(name.split(":[").next().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let infos = list("fdinfo").map(|entry| fs::read_to_string(entry.path()).unwrap_or_default());
        let watches = infos.map(|info| info.lines().filter(|line| line.starts_with("inotify wd:")).count());
        let status = fs::read_to_string(proc.join("status")).expect("its status");
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let memory = memory.trim().trim_end_matches(" kB").parse().expect("a number");
        // The namespace is the machine's own, where others mount things too.
        let mounts = fs::read_to_string(proc.join("mountinfo")).expect("its mounts");
        let root = world.root().to_string_lossy();
        let mut disk = BTreeMap::new();
        let state = world.ftl_home();
        for entry in fs::read_dir(&state).expect("the state").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            match name.as_str() {
                "store" => {
                    for part in fs::read_dir(entry.path()).expect("the store").flatten() {
                        let part_name = format!("store/{}", part.file_name().to_string_lossy());
                        disk.insert(part_name, held(&part.path()));
                    }
                }
                _ => drop(disk.insert(name, held(&entry.path()))),
            }
        }
        Self {
            descriptors,
            watches: watches.sum(),
            threads: list("task").count(),
            children: descendants(pid).len(),
            mounts: mounts.lines().filter(|line| line.contains(&*root)).count(),
            memory_kib: memory,
            disk,
        }
    }

    fn bytes(&self, folder: &str) -> u64 {
        self.disk.get(folder).map_or(0, |(_, bytes)| *bytes)
    }
}

/// How many names are beneath a path, and their bytes on the disk.
fn held(path: &Path) -> (usize, u64) {
    let Ok(meta) = fs::symlink_metadata(path) else { return (0, 0) };
    let (mut names, mut bytes) = (1, meta.blocks() * 512);
    if meta.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let (more, size) = held(&entry.path());
            names += more;
            bytes += size;
        }
    }
    (names, bytes)
}

/// What an agent does: edits, creates, deletes, renames.
fn script(number: usize) -> String {
    format!(
        "set -eu; echo {number} >> edited.txt; echo {number} > made-{number}; mkdir -p new/{number}; \
         echo x > new/{number}/x; rm gone.txt; mv moved.txt moved-{number}.txt; rm -r dir; echo said"
    )
}

/// One client that goes through the life of sessions.
struct Lane {
    client: Client,
    project: PathBuf,
    ids: Vec<String>,
}

impl Lane {
    /// The paths and the digest that a human would be shown.
    async fn diff(&mut self, id: &str) -> (Vec<String>, String) {
        let request = v1::GetDiffRequest { session: id.into(), stat_only: false, contents: false };
        let mut items = self.client.reviews.get_diff(request).await.expect("its diff").into_inner();
        let (mut paths, mut digest) = (Vec::new(), String::new());
        while let Some(item) = items.message().await.expect("an entry") {
            match item.item {
                Some(v1::diff_item::Item::Entry(entry)) => {
                    paths.push(String::from_utf8_lossy(&entry.path).into());
                }
                Some(v1::diff_item::Item::Header(header)) => digest = header.digest,
                _ => {}
            }
        }
        (paths, digest)
    }

    async fn remove(&mut self, id: &str) {
        let request = v1::RemoveRequest { session: id.into(), discard: true };
        self.client.sessions.remove(request).await.expect("to forget it");
        self.ids.push(id.to_owned());
    }

    async fn state(&mut self, id: &str) -> (State, String) {
        let request = v1::GetSessionRequest { session: id.into(), project: Vec::new() };
        let session = self.client.sessions.get(request).await.expect("the session").into_inner();
        (session.state(), session.reason)
    }

    async fn run(&mut self, number: usize) {
        let id = self.client.shell(&self.project.clone(), &script(number)).await.expect("a session");
        self.client.until_idle(&id, 1).await.expect("its events");
        assert_eq!(self.state(&id).await, (State::AwaitingReview, String::new()), "{number}");
        let (paths, digest) = self.diff(&id).await;
        assert!(paths.contains(&format!("made-{number}")) && paths.contains(&"gone.txt".into()), "{paths:?}");
        match number % 10 {
            0 => self.branch(&id, &paths).await,
            1 => self.go_on_and_back(&id, &digest).await,
            2 => {
                let request =
                    v1::RejectRequest { session: id.clone(), why: "no".into(), ..Default::default() };
                self.client.reviews.reject(request).await.expect("to reject it");
            }
            3 => self.apply_and_undo(&id, digest, number).await,
            4 if number % 100 == 4 => {
                let request = v1::ExportRequest { session: id.clone(), git_branch: format!("soak-{number}") };
                self.client.sessions.export(request).await.expect("a branch");
            }
            5 if number % 100 == 5 => self.propose().await,
            _ => {}
        }
        self.remove(&id).await;
    }

    /// The same work twice; the first goes before the second.
    async fn branch(&mut self, id: &str, paths: &[String]) {
        let request = v1::BranchRequest { session: id.into(), checkpoint: None };
        let branch = self.client.sessions.branch(request).await.expect("a branch").into_inner();
        let branch = branch.session.expect("its session").session;
        assert_eq!(self.diff(&branch).await.0, paths);
        self.remove(&branch).await;
    }

    async fn go_on_and_back(&mut self, id: &str, digest: &str) {
        let request = v1::SayRequest { session: id.into(), text: "echo more > more.txt".into() };
        let seq = self.client.sessions.say(request).await.expect("a turn").into_inner().seq;
        self.client.until_idle(id, seq + 1).await.expect("its events");
        let to = Some(v1::rewind_request::To::Turns(1));
        let request = v1::RewindRequest { session: id.into(), to };
        self.client.sessions.rewind(request).await.expect("to go back");
        assert_eq!(self.diff(id).await.1, digest);
    }

    async fn apply_and_undo(&mut self, id: &str, digest: String, number: usize) {
        let made = format!("made-{number}");
        let request = v1::ApproveRequest {
            session: id.into(),
            digest,
            paths: vec![made.clone().into_bytes()],
            ..Default::default()
        };
        self.client.reviews.approve(request).await.expect("to apply");
        assert!(self.project.join(&made).exists());
        let request = v1::UndoRequest { session: id.into(), ..Default::default() };
        self.client.reviews.undo(request).await.expect("to take it back");
        assert!(!self.project.join(&made).exists());
    }

    /// A session that goes back to a snapshot.
    async fn propose(&mut self) {
        use std::os::unix::ffi::OsStrExt as _;
        let project = self.project.as_os_str().as_bytes().to_vec();
        let request = v1::CreateSnapshotRequest { project: project.clone(), ..Default::default() };
        let taken = self.client.snapshots.create(request).await.expect("a snapshot").into_inner();
        let snapshot = taken.snapshot.expect("one").snapshot;
        let request = v1::ProposeSnapshotRequest { project, snapshot };
        let made = self.client.snapshots.propose(request).await.expect("a session").into_inner();
        let id = made.session.expect("one").session;
        self.remove(&id).await;
    }
}

/// Runs the sessions of these numbers, and removes them. Gives their ids.
async fn sessions(world: &World, client: &Client, numbers: std::ops::Range<usize>) -> Vec<String> {
    let mut lanes = JoinSet::new();
    for at in 0..LANES {
        let mut lane = Lane { client: client.clone(), project: world.project(), ids: Vec::new() };
        let own: Vec<usize> = numbers.clone().filter(|number| number % LANES == at).collect();
        lanes.spawn(async move {
            for number in own {
                lane.run(number).await;
            }
            lane.ids
        });
    }
    let ids = lanes.join_all().await.into_iter().flatten().collect();
    let request = v1::CleanSnapshotsRequest { all: true, ..Default::default() };
    client.snapshots.clone().clean(request).await.expect("to clean");
    ids
}

fn prepare(world: &World) {
    let files: Vec<(String, String)> = (0..30)
        .map(|number| {
            (format!("src/part-{}/file-{number}.txt", number % 5), format!("{number}\n").repeat(50))
        })
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    world.files(&files);
    world.files(&[("edited.txt", "0\n"), ("gone.txt", "g\n"), ("moved.txt", "m\n"), ("dir/in", "d\n")]);
    for words in [&["init", "-q", "-b", "main"][..], &["add", "-A"], &["commit", "-q", "-m", "first"]] {
        let mut git = world.command("git");
        git.args(["-c", "user.name=A", "-c", "user.email=a@example.com"]).args(words);
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        assert!(git.status().expect("git runs").success());
    }
}

#[test]
fn a_thousand_sessions_leave_nothing_behind() {
    let mut world = World::new(Who::Me);
    // What the allocator keeps for every thread that ever was would hide what the daemon keeps.
    world.set("MALLOC_ARENA_MAX", "1");
    prepare(&world);
    world.ok(["daemon", "start"]);
    let pid = world.daemon_pid();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(Client::connect(&world.socket())).expect("the daemon");
    runtime.block_on(sessions(&world, &client, 0..WARM));
    let before = Census::take(&world, pid);
    let mut ids = Vec::new();
    let mut memory = vec![before.memory_kib];
    for round in 0..4 {
        let first = WARM + round * SESSIONS / 4;
        ids.extend(runtime.block_on(sessions(&world, &client, first..first + SESSIONS / 4)));
        memory.push(Census::take(&world, pid).memory_kib);
    }
    let after = Census::take(&world, pid);
    eprintln!("memory after each quarter, KiB: {memory:?}");
    assert!(ids.len() >= SESSIONS);
    check(&before, &after);
    let groups = control_groups();
    assert_eq!(groups.iter().find(|group| ids.iter().any(|id| group.contains(id))), None);
    assert_eq!(world.json(0, ["daemon", "status"])["sessions_total"], 0);
    assert_eq!(world.json(0, ["logs", "--verify"])["intact"], true);
}

fn check(before: &Census, after: &Census) {
    let shown = || format!("{before:#?}\n{after:#?}");
    // Whether the one project is being watched at the moment is the only difference that may be.
    let watching = |kind: &str| usize::from(kind.starts_with("anon_inode"));
    for (kind, count) in &after.descriptors {
        let had = before.descriptors.get(kind).copied().unwrap_or_default();
        assert!(*count <= had + watching(kind), "{kind}: {}", shown());
    }
    assert!(after.watches <= bounds::WATCHES, "{}", shown());
    assert_eq!((before.children, after.children), (0, 0), "{}", shown());
    assert_eq!((before.mounts, after.mounts), (0, 0), "{}", shown());
    assert!(after.threads <= before.threads + bounds::THREADS, "{}", shown());
    assert!(after.memory_kib <= before.memory_kib + bounds::MEMORY_KIB, "{}", shown());
    let (count, exported) = (u64::try_from(SESSIONS).unwrap(), SESSIONS / 100);
    for (folder, (names, bytes)) in &after.disk {
        let may = match folder.as_str() {
            "db" => bounds::DATABASE,
            "audit" => bounds::AUDIT_PER_SESSION * count,
            "ftld.log" => bounds::LOG_PER_SESSION * count,
            _ => bounds::REST,
        };
        assert!(*bytes <= before.bytes(folder) + may, "{folder}: {}", shown());
        let had = before.disk.get(folder).map_or(0, |(names, _)| *names);
        let may = if folder == "history" { bounds::PACK_NAMES * exported } else { bounds::NAMES };
        assert!(*names <= had + may, "{folder}: {}", shown());
    }
}
