//! Many sessions at once on one project: none fails, none sees another, nothing of them stays.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ftl_proto::v1;
use ftl_proto::v1::event::Kind;
use ftl_proto::v1::exec_input::Input;
use ftl_proto::v1::exec_output::Output;
use ftl_tests::client::Client;
use ftl_tests::project;
use ftl_tests::world::{Who, World};
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;

/// Sessions at once.
const SESSIONS: usize = 50;

/// One session as seen from outside and from within.
struct Seen {
    name: String,
    id: String,
    /// The diff's paths.
    paths: Vec<String>,
    /// Text of the lines that the diff adds, by path in the order of paths.
    added: Vec<String>,
    state: v1::State,
    reason: String,
}

/// The script: writes its name, leaves a process behind, waits until all are there, looks around.
fn script(name: &str) -> String {
    format!(
        "set -eu\nmkfifo \"$HOME/go\"\necho {name} > mine-{name}\n\
         (setsid sh -c ': left behind by {name}; sleep 100000' &)\n\
         echo ready\nread _ < \"$HOME/go\"\n\
         {{ ls /workspace; ls /tmp \"$HOME\"; }} > $HOME/files\n\
         for dir in /proc/[0-9]*; do tr '\\0' ' ' < \"$dir/cmdline\" || echo gone; done > $HOME/processes 2>/dev/null\n\
         readlink /proc/self/ns/pid > $HOME/namespace\n\
         mkdir report-{name} && mv $HOME/files $HOME/processes $HOME/namespace report-{name}/\n"
    )
}

/// Starts a session and returns when its script waits.
async fn begin(mut client: Client, root: std::path::PathBuf, name: String) -> (Client, String, String) {
    let id = client.shell(&root, &script(&name)).await.expect("a session");
    let request = v1::WatchRequest {
        session: id.clone(),
        from_seq: 1,
        follow: true,
        until_idle: true,
        ..Default::default()
    };
    let mut events = client.sessions.watch(request).await.expect("its events").into_inner();
    while let Some(event) = events.message().await.expect("an event") {
        match event.kind {
            Some(Kind::Output(said)) if said.data.starts_with(b"ready") => return (client, id, name),
            Some(Kind::Output(said)) => panic!("{name} said {}", String::from_utf8_lossy(&said.data)),
            _ => {}
        }
    }
    panic!("{name} ended before it was ready");
}

/// Lets a session's script go on, follows it to its end, and reads its diff.
async fn finish(mut client: Client, id: String, name: String) -> Seen {
    let argv = [&b"/bin/sh"[..], b"-c", b"echo > \"$HOME/go\""].map(<[u8]>::to_vec).to_vec();
    let start = Input::Start(v1::ExecStart { session: id.clone(), argv, ..v1::ExecStart::default() });
    // The stream of input stays open as long as the command runs.
    let input = tokio_stream::once(v1::ExecInput { input: Some(start) }).chain(tokio_stream::pending());
    let mut output = client.sessions.exec(input).await.expect("a command").into_inner();
    while let Some(message) = output.message().await.expect("its output") {
        if let Some(Output::Exit(exit)) = message.output {
            // The script may end, and the sandbox with it, before this shell has.
            assert!(matches!(exit.code, 0 | 137), "{name}: {}", exit.code);
            break;
        }
    }
    client.until_idle(&id, 1).await.expect("its events");
    let session = v1::GetSessionRequest { session: id.clone(), project: Vec::new() };
    let session = client.sessions.get(session).await.expect("the session").into_inner();
    let request = v1::GetDiffRequest { session: id.clone(), stat_only: false, contents: false };
    let mut items = client.reviews.get_diff(request).await.expect("its diff").into_inner();
    let (mut paths, mut added) = (Vec::new(), Vec::new());
    while let Some(item) = items.message().await.expect("an entry") {
        let Some(v1::diff_item::Item::Entry(entry)) = item.item else { continue };
        paths.push(String::from_utf8_lossy(&entry.path).into_owned());
        let lines = entry.hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.tag == "+");
        added.push(lines.map(|line| String::from_utf8_lossy(&line.text)).collect());
    }
    Seen { name, id, paths, added, state: session.state(), reason: session.reason }
}

/// The pid namespaces of every process there is.
fn namespaces() -> BTreeSet<String> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let links = processes.filter_map(|process| fs::read_link(process.path().join("ns/pid")).ok());
    links.map(|link| link.to_string_lossy().into_owned()).collect()
}

/// Every directory beneath the control groups' hierarchies.
pub(crate) fn control_groups() -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![Path::new("/sys/fs/cgroup").to_owned()];
    while let Some(dir) = dirs.pop() {
        // A group may go while it is looked at.
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.push(entry.path().to_string_lossy().into_owned());
                dirs.push(entry.path());
            }
        }
    }
    found
}

/// The children of a process, in all its threads.
fn children(pid: i32) -> String {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process").flatten();
    tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default()).collect()
}

/// Runs them all, and says which pid namespaces there were while all were at work.
async fn all_at_once(world: &World, daemon: i32) -> (Vec<Seen>, BTreeSet<String>) {
    let client = Client::connect(&world.socket()).await.expect("the daemon");
    let mut starting = JoinSet::new();
    for number in 0..SESSIONS {
        starting.spawn(begin(client.clone(), world.project(), format!("agent-{number:02}x")));
    }
    let waiting = starting.join_all().await;
    let status = client.daemon.clone().status(v1::StatusRequest {}).await.expect("the status").into_inner();
    assert_eq!(status.sessions_working as usize, SESSIONS, "all are at work at the same time");
    assert_eq!(children(daemon).split_whitespace().count(), SESSIONS, "one helper each");
    let during = namespaces();
    let mut finishing = JoinSet::new();
    for (client, id, name) in waiting {
        finishing.spawn(finish(client, id, name));
    }
    (finishing.join_all().await, during)
}

fn check(world: &World) {
    world.files(&[("shared.txt", "shared\n"), ("dir/other.txt", "other\n")]);
    let before = project::see(&world.project());
    let pid = world.daemon_pid();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (all, during) = runtime.block_on(all_at_once(world, pid));

    let mut inside = BTreeSet::new();
    for Seen { name, paths, added, state, reason, .. } in &all {
        assert_eq!((*state, reason.as_str()), (v1::State::AwaitingReview, ""), "{name}");
        let report = format!("report-{name}");
        let own = [
            format!("mine-{name}"),
            report.clone(),
            format!("{report}/files"),
            format!("{report}/namespace"),
            format!("{report}/processes"),
        ];
        assert_eq!(*paths, own, "{name}");
        assert_eq!(added[0], format!("{name}\n"));
        assert!(
            added[2].contains("shared.txt\n") && added[2].contains(&format!("mine-{name}\n")),
            "{}",
            added[2]
        );
        assert!(added[4].contains(&format!("left behind by {name}")), "{}", added[4]);
        for other in all.iter().map(|other| &other.name).filter(|other| *other != name) {
            assert!(!added[2].contains(other), "{name} sees files of {other}: {}", added[2]);
            assert!(!added[4].contains(other), "{name} sees processes of {other}: {}", added[4]);
        }
        inside.insert(added[3].trim().to_owned());
    }
    assert_eq!(inside.len(), SESSIONS, "each has a pid namespace of its own");
    assert!(inside.is_subset(&during), "{inside:?} in {during:?}");

    // The daemon still runs, and nothing of the sessions does.
    let status = world.json(0, ["daemon", "status"]);
    assert_eq!(
        (&status["sessions_working"], &status["sessions_total"]),
        (&0.into(), &SESSIONS.into()),
        "{status}"
    );
    assert_eq!(children(pid), "", "the daemon has processes left");
    let left: Vec<_> = namespaces().intersection(&inside).cloned().collect();
    assert!(left.is_empty(), "processes are left in {left:?}");
    let groups = control_groups();
    let of_session = |group: &&String| all.iter().any(|seen| group.contains(&seen.id));
    assert_eq!(groups.iter().find(of_session), None);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*String::from_utf8_lossy(world.root().as_os_str().as_bytes())), "{mounts}");
    assert_eq!(project::see(&world.project()), before);

    // One of them is approved: only its files arrive.
    let chosen = &all[7];
    let diff = world.json(0, ["diff", &chosen.id]);
    world.json(0, ["approve", &chosen.id, "--digest", diff["digest"].as_str().unwrap()]);
    let after = project::see(&world.project());
    let new: Vec<String> = after
        .keys()
        .filter(|path| !before.contains_key(*path))
        .map(|path| String::from_utf8_lossy(path).into())
        .collect();
    assert_eq!(new, chosen.paths);
}

#[test]
fn fifty_sessions_at_once_on_one_project_do_not_see_each_other_and_leave_nothing() {
    // The API refuses other users, so the client's own it is.
    let world = World::new(Who::Me);
    world.ok(["daemon", "start"]);
    check(&world);
}
