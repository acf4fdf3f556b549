//! Checkpoints, going back, branches: what a session was after each turn, and other ways from there.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use ftl_proto::v1;
use ftl_tests::client::Client;
use ftl_tests::project::{self, Seen};
use ftl_tests::world::{Who, World, said};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// Turns that do what overlays find hard. Each is also run in a plain directory.
const TURNS: [&str; 20] = [
    "echo 1 >> a.txt; mkdir -p d/e; echo x > d/e/f; chmod 600 d/e/f",
    "rm -r dir; echo file > dir",
    "rm dir; mkdir dir; echo back > dir/new",
    "mv d moved; ln -s moved/e link; ln a.txt hard; echo 2 >> a.txt",
    "rm -r moved/e; mkdir moved/e; echo other > moved/e/other",
    "rm -r moved; mkdir -p moved/e; echo third > moved/e/f",
    "mkdir closed; echo in > closed/file; chmod 000 closed",
    "chmod 755 closed; echo more >> closed/file; rm link; mkdir link; echo l > link/l",
    "rm -r link sub; mkdir -p sub/deep; echo s > sub/deep/gone",
    "rm -r sub; mkdir sub; chmod 750 sub",
    "mkdir -p sub/deep; echo again > sub/deep/x; mv hard b.txt",
    "rm b.txt; mkdir b.txt; echo dir > b.txt/was-file",
    "rm -r b.txt; ln -s nowhere b.txt",
    "rm b.txt; echo file-again > b.txt; touch -d 2001-01-01 b.txt",
    "rm -rf dir moved closed; mkdir -p dir/a/b/c; echo deep > dir/a/b/c/d",
    "mv dir/a dir/z; rmdir dir/z/b/c 2>/dev/null; echo end > dir/z/end",
    "chmod 700 dir/z; rm -f a.txt; echo new > a.txt",
    "rm -r dir; mkdir dir; chmod 711 dir; echo after-the-fold > dir/f",
    "rm -r sub; echo gone-again > sub; echo 19 >> a.txt",
    "rm sub; mkdir -p sub/x; echo 20 > sub/x/y; rm dir/f; rmdir dir; echo flat > dir",
];

/// Turns whose work is looked at, counted from 1. Before and after the layers are folded.
const CHECKED: [usize; 8] = [1, 4, 6, 12, 16, 17, 18, 20];

/// Prints all that can be seen of a directory.
const LOOK: &str =
    "find . -mindepth 1 -printf '%P %y %m %l\\n' | LC_ALL=C sort; find . -type f | LC_ALL=C sort | xargs cat";

const FILES: [(&str, &str); 5] = [
    ("a.txt", "one\n"),
    ("b.txt", "two\n"),
    ("dir/x", "x\n"),
    ("sub/deep/gone", "g\n"),
    ("sub/stays", "s\n"),
];

/// Another turn of a session.
pub(crate) fn say(world: &World, session: &str, script: &str) -> serde_json::Value {
    world.json(0, ["code", "--no-review", "--session", session, script])
}

/// The session that a reply is about.
pub(crate) fn id(value: &serde_json::Value) -> String {
    value["session"].as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

/// What is in a state, written out.
pub(crate) fn written(world: &World, state: &str) -> BTreeMap<Vec<u8>, Seen> {
    let target = world.home().join(format!("out-{}", state.replace('@', "-")));
    let _old = std::fs::remove_dir_all(&target);
    world.ok(["snapshots", "restore", state, "--to", target.to_str().unwrap()]);
    project::see(&target)
}

/// How many layers there are.
pub(crate) fn layers(world: &World) -> usize {
    names(world).len()
}

/// The names of all layers.
pub(crate) fn names(world: &World) -> Vec<String> {
    let entries = std::fs::read_dir(world.ftl_home().join("layers")).unwrap().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Bytes on disk, every inode once.
fn disk(root: &Path) -> u64 {
    let mut seen = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(meta) = std::fs::symlink_metadata(entry.path()) else { continue };
            seen.insert(meta.ino(), meta.blocks() * 512);
            if meta.is_dir() {
                dirs.push(entry.path());
            }
        }
    }
    seen.values().sum()
}

/// Kills a process and waits for its end.
pub(crate) fn kill(pid: i32) {
    let pid = Pid::from_raw(pid).unwrap();
    let gone = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    poll(&mut [PollFd::new(&gone, PollFlags::IN)], None).unwrap();
}

#[test]
fn the_work_of_many_turns_is_what_a_plain_directory_holds() {
    for who in World::everybody() {
        let world = World::new(who);
        world.files(&FILES);
        let plain = world.root().join("plain");
        project::write(&plain, &FILES);
        let mut session = String::new();
        let mut after = Vec::new();
        for (turn, script) in TURNS.iter().enumerate() {
            let script = format!("umask 022; {script}");
            match turn {
                0 => session = id(&world.shell(&script)),
                _ => drop(say(&world, &session, &script)),
            }
            let status = Command::new("sh").args(["-c", &script]).current_dir(&plain).status().unwrap();
            assert!(status.success(), "turn {turn}");
            if CHECKED.contains(&(turn + 1)) {
                let look = Command::new("sh").args(["-c", LOOK]).current_dir(&plain).output().unwrap();
                after.push((turn + 1, project::see(&plain), said(look).out));
            }
        }
        // Layers are folded beside the turns.
        let is_fold = |name: &str| name.contains("-folded-") && !name.ends_with(".new");
        while !names(&world).iter().any(|name| is_fold(name)) {
            std::thread::yield_now();
        }
        for (turn, after, seen) in &after {
            let state = format!("{session}@{turn}");
            assert_eq!(written(&world, &state), *after, "{who:?}: turn {turn}");
            // The kernel says the same of the layers, seen from inside.
            let branch = id(&world.json(0, ["snapshots", "branch", &state]));
            assert_eq!(world.ok(["exec", &branch, "--", "sh", "-c", LOOK]), *seen, "{who:?}: turn {turn}");
            world.ok(["rm", &branch, "--discard"]);
        }
        let diff = world.json(0, ["diff", &session]);
        world.json(0, ["approve", &session, "--digest", diff["digest"].as_str().unwrap()]);
        assert_eq!(Some(&project::see(&world.project())), after.last().map(|(_, after, _)| after), "{who:?}");
        world.ok(["rm", &session]);
        assert_eq!(layers(&world), 0, "{who:?}: layers of a session that is forgotten");
    }
}

#[test]
fn a_session_goes_back_to_any_turn_and_loses_none() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "0\n")]);
    let session = id(&world.shell("echo 1 >> a.txt; echo kept > ignored.log"));
    say(&world, &session, "echo 2 >> a.txt; echo b > b.txt");
    let third = say(&world, &session, "echo 3 >> a.txt; rm b.txt; mkdir b.txt; echo c > b.txt/c");
    let back = world.json(0, ["rewind", &session, "2"]);
    assert_eq!((back["at"].as_u64(), back["state"].as_str()), (Some(1), Some("awaiting_review")), "{back}");
    assert_ne!(back["digest"], third["digest"]);
    let stale = world.run(["approve", &session, "--digest", third["digest"].as_str().unwrap()]);
    assert_eq!(stale.code, 4, "{stale:#?}");
    // The next turn sees what it was then, and goes another way.
    let other = say(&world, &session, "test ! -e b.txt && cat a.txt > seen && echo other >> a.txt");
    let shown = world.json_lines(0, ["sessions", "--checkpoints", &session]);
    let numbers: Vec<_> =
        shown.iter().map(|one| (one["checkpoint"].as_u64(), one["from"].as_u64())).collect();
    let expected = [(1, 0), (2, 1), (3, 2), (4, 1)].map(|(number, from)| (Some(number), Some(from)));
    assert_eq!(numbers, expected);
    assert_eq!(shown[3]["current"], true);
    assert_eq!(shown[3]["digest"], other["digest"]);
    // Forward again to what was left, and to the very beginning.
    let forward = world.json(0, ["rewind", &format!("{session}@3")]);
    assert_eq!(forward["digest"], third["digest"], "the same work has the same digest");
    let diff = world.json(0, ["snapshots", "diff", &format!("{session}@4"), &session]);
    let paths: Vec<_> =
        diff["entries"].as_array().unwrap().iter().map(|e| e["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["a.txt", "b.txt", "b.txt/c", "seen"]);
    let nothing = world.json(0, ["snapshots", "restore", "0", "--session", &session]);
    assert_eq!(nothing["state"], "no_changes");
    assert_eq!(world.run(["rewind", &session]).code, 1, "there is nothing before the snapshot");
    assert_eq!(world.run(["rewind", &format!("{session}@9")]).code, 1);
    world.json(0, ["rewind", &format!("{session}@2")]);
    let diff = world.json(0, ["diff", &session]);
    world.json(0, ["approve", &session, "--digest", diff["digest"].as_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(world.project().join("a.txt")).unwrap(), "0\n1\n2\n");
    // What was applied stays applied; going back is a change to it.
    let back = world.json(0, ["rewind", &session]);
    world.json(0, ["approve", &session, "--digest", back["digest"].as_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(world.project().join("a.txt")).unwrap(), "0\n1\n");
    assert!(!world.project().join("b.txt").exists());
    assert_eq!(world.json(0, ["logs", "--verify"])["intact"], true);
    let log = world.ok(["--json", "logs", "--session", &session]);
    assert_eq!(log.matches("rewind_begun").count(), 5, "{log}");
}

#[test]
fn a_branch_goes_its_own_way_and_outlives_its_origin() {
    for who in World::everybody() {
        let world = World::new(who);
        world.files(&[("a.txt", "0\n")]);
        let origin = id(&world.shell("echo 1 >> a.txt; echo note > $HOME/note; ln -s note $HOME/link"));
        say(&world, &origin, "echo 2 >> a.txt");
        let branch = id(&world.json(0, ["snapshots", "branch", &format!("{origin}@1")]));
        let twin = id(&world.json(0, ["snapshots", "branch", &origin]));
        say(&world, &branch, "cat $HOME/link > note; echo branch >> a.txt; echo mine > $HOME/note");
        say(&world, &origin, "test $(cat $HOME/note) = note && echo 3 >> a.txt");
        let content = |session: &str| match &written(&world, session)[b"a.txt".as_slice()] {
            Seen::File(_, content) => String::from_utf8(content.clone()).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(content(&origin), "0\n1\n2\n3\n", "{who:?}");
        assert_eq!(content(&branch), "0\n1\nbranch\n", "{who:?}");
        assert_eq!(content(&twin), "0\n1\n2\n", "{who:?}");
        world.ok(["rm", &origin, "--discard"]);
        assert_eq!(layers(&world), 3, "{who:?}: two that are shared, one of the branch");
        say(&world, &twin, "echo twin >> a.txt");
        assert_eq!(content(&twin), "0\n1\n2\ntwin\n", "{who:?}");
        world.json(0, ["rewind", &format!("{branch}@1")]);
        let diff = world.json(0, ["rewind", &format!("{branch}@2")]);
        world.json(0, ["approve", &branch, "--digest", diff["digest"].as_str().unwrap()]);
        assert_eq!(std::fs::read_to_string(world.project().join("note")).unwrap(), "note\n", "{who:?}");
        world.ok(["rm", &twin, "--discard"]);
        world.ok(["rm", &branch]);
        assert_eq!(layers(&world), 0, "{who:?}");
    }
}

#[test]
fn a_branch_of_applied_work_has_nothing_to_apply_again() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "0\n")]);
    let work = world.shell("echo 1 >> a.txt");
    let origin = id(&work);
    world.json(0, ["approve", &origin, "--digest", work["digest"].as_str().unwrap()]);
    let branch = world.json(0, ["snapshots", "branch", &origin]);
    assert_eq!(branch["state"], "no_changes", "{branch}");
    let more = say(&world, &id(&branch), "echo 2 >> a.txt");
    world.json(0, ["approve", &id(&branch), "--digest", more["digest"].as_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(world.project().join("a.txt")).unwrap(), "0\n1\n2\n");
}

#[test]
fn work_that_was_applied_and_gone_back_from_is_to_be_taken_back() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "0\n"), ("c.txt", "c\n")]);
    let work = world.shell("echo 1 >> a.txt; echo n > new; rm c.txt");
    let session = id(&work);
    world.json(0, ["approve", &session, "--digest", work["digest"].as_str().unwrap()]);
    let back = world.json(0, ["rewind", &format!("{session}@0")]);
    assert_eq!(back["state"], "awaiting_review", "{back}");
    world.json(0, ["approve", &session, "--digest", back["digest"].as_str().unwrap()]);
    let project = world.project();
    assert_eq!(std::fs::read_to_string(project.join("a.txt")).unwrap(), "0\n");
    assert_eq!(std::fs::read_to_string(project.join("c.txt")).unwrap(), "c\n");
    assert!(!project.join("new").exists());
}

#[test]
fn what_a_review_refuses_leaves_a_session_in_no_other_way() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "0\n"), (".env", "PORT=1\n")]);
    let evil = "mkdir -p sub/.git bare/objects bare/refs; echo '[core]' > sub/.git/config; echo x > bare/HEAD; \
                ln -s /etc/passwd out; echo PORT=2 > .env; echo 1 >> a.txt";
    let session = id(&world.shell(evil));
    let held: Vec<String> = written(&world, &format!("{session}@1"))
        .into_keys()
        .map(|path| String::from_utf8(path).unwrap())
        .collect();
    assert!(held.iter().any(|path| path == "a.txt"), "{held:?}");
    for refused in ["sub/.git", "sub/.git/config", "bare/HEAD", "out", ".env"] {
        assert!(!held.iter().any(|path| path == refused), "{refused} of {held:?}");
    }
}

#[test]
fn the_project_goes_back_only_through_a_review() {
    for who in World::everybody() {
        let world = World::new(who);
        world.files(&FILES);
        let before = project::see(&world.project());
        let snapshot = world.json(0, ["snapshots", "create"])["snapshot"].as_str().unwrap().to_owned();
        let work =
            world.shell("rm -r sub; echo s > sub; echo more >> a.txt; mkdir n; echo n > n/n; chmod 700 dir");
        world.json(0, ["approve", &id(&work), "--digest", work["digest"].as_str().unwrap()]);
        let after = project::see(&world.project());
        let back = world.json(0, ["snapshots", "restore", &snapshot[..16], "--into-project"]);
        assert_eq!(back["state"], "awaiting_review", "{back}");
        assert_eq!(project::see(&world.project()), after, "{who:?}: nothing is written before the approval");
        // An agent can go on from there: the layer is there too.
        let seen = world.ok(["exec", &id(&back), "--", "sh", "-c", "cat a.txt sub/deep/gone; ls"]);
        assert_eq!(seen, "one\ng\na.txt\nb.txt\ndir\nsub\n", "{who:?}");
        let diff = world.json(0, ["diff", &id(&back)]);
        world.json(0, ["approve", &id(&back), "--digest", diff["digest"].as_str().unwrap()]);
        assert_eq!(project::see(&world.project()), before, "{who:?}");
        world.json(0, ["undo", &id(&back)]);
        assert_eq!(project::see(&world.project()), after, "{who:?}");
        let same = world.json(0, ["snapshots", "restore", &format!("{}@1", id(&work)), "--into-project"]);
        assert_eq!(same["state"], "no_changes", "{who:?}: {same}");
    }
}

#[test]
fn a_sessions_turns_become_commits_of_a_branch() {
    let world = World::new(Who::Me);
    let git = |args: &[&str]| {
        let mut command = world.command("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@t.invalid"]).args(args);
        let said = said(command.output().unwrap());
        assert_eq!(said.code, 0, "{args:?}: {said:#?}");
        said.out
    };
    git(&["init", "-q", "-b", "main"]);
    world.files(&[("a.txt", "0\n"), ("b.txt", "b\n")]);
    git(&["add", "-A"]);
    git(&["commit", "-q", "-m", "begin"]);
    let session = id(&world.shell("echo 1 >> a.txt"));
    say(&world, &session, "echo left > left");
    world.json(0, ["rewind", &session]);
    say(&world, &session, "true");
    say(&world, &session, "rm b.txt; echo c > c.txt");
    let made = world.json(0, ["export", &session, "--git-branch", "ftl/try"]);
    assert_eq!(made["reference"], "refs/heads/ftl/try");
    assert_eq!(git(&["log", "--format=%s", "main..ftl/try"]), "rm b.txt; echo c > c.txt\necho 1 >> a.txt\n");
    assert_eq!(git(&["ls-tree", "--name-only", "ftl/try"]), "a.txt\nc.txt\n");
    assert_eq!(git(&["show", "ftl/try:a.txt"]), "0\n1\n");
    assert_eq!(git(&["status", "--porcelain"]), "");
    assert_eq!(world.run(["export", &session, "--git-branch", "ftl/try"]).code, 3);
}

#[test]
fn two_hundred_branches_of_a_session_copy_nothing() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "0\n")]);
    let script =
        "head -c 20000000 /dev/urandom > big; i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo $i > f$i; done";
    let origin = id(&world.shell(script));
    let store = world.ftl_home();
    let before = disk(&store.join("layers")) + disk(&store.join("store")) + disk(&store.join("sessions"));
    let branches: Vec<String> =
        (0..200).map(|_| id(&world.json(0, ["snapshots", "branch", &origin]))).collect();
    let after = disk(&store.join("layers")) + disk(&store.join("store")) + disk(&store.join("sessions"));
    assert!(after - before < 200 * 64 * 1024, "{} bytes", after - before);
    for (number, branch) in branches.iter().enumerate().step_by(40) {
        say(&world, branch, &format!("echo {number} > mine; rm f1"));
    }
    world.ok(["rm", &origin, "--discard"]);
    for (number, branch) in branches.iter().enumerate().step_by(40) {
        let tree = written(&world, branch);
        assert_eq!(tree[b"mine".as_slice()], Seen::File(0o644, format!("{number}\n").into_bytes()));
        assert!(!tree.contains_key(b"f1".as_slice()) && tree.contains_key(b"f2".as_slice()));
    }
    let untouched = world.json(0, ["snapshots", "diff", &format!("{}@1", branches[1]), &branches[1]]);
    assert_eq!(untouched["entries"].as_array().unwrap().len(), 0);
    for branch in &branches {
        world.ok(["rm", branch, "--discard"]);
    }
    assert_eq!(layers(&world), 0);
}

#[test]
fn a_daemon_that_dies_while_it_goes_back_leaves_the_old_or_the_new_state() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "0\n")]);
    let session = id(&world.shell("echo 1 >> a.txt"));
    say(&world, &session, "echo 2 >> a.txt");
    let digests: Vec<serde_json::Value> = world
        .json_lines(0, ["sessions", "--checkpoints", &session])
        .into_iter()
        .map(|one| one["digest"].clone())
        .collect();
    let mut ends = BTreeMap::new();
    for round in 0..12u64 {
        world.ok(["daemon", "start"]);
        let pid = world.daemon_pid();
        let to = if current(&world, &session) == 2 { 1 } else { 2 };
        let events = world.json_lines(0, ["logs", "--session", &session]).len();
        assert!(events > 0);
        block_on(async {
            let mut client = Client::connect(&world.socket()).await.unwrap();
            let last = client
                .sessions
                .get(v1::GetSessionRequest { session: session.clone(), ..Default::default() })
                .await
                .unwrap()
                .into_inner()
                .last_seq;
            let mut rewinder = client.clone();
            let request = v1::RewindRequest {
                session: session.clone(),
                to: Some(v1::rewind_request::To::Checkpoint(to)),
            };
            let rewinding = async { rewinder.sessions.rewind(request).await };
            let watching = async {
                if round % 3 == 0 {
                    // Before anything is told: wherever it is by then.
                    tokio::task::yield_now().await;
                    return kill(pid);
                }
                let request = v1::WatchRequest {
                    session: session.clone(),
                    from_seq: last + round % 3,
                    follow: true,
                    ..Default::default()
                };
                let mut stream = client.sessions.watch(request).await.unwrap().into_inner();
                drop(stream.message().await);
                kill(pid);
            };
            let (_rewound, ()) = tokio::join!(rewinding, watching);
        });
        world.ok(["daemon", "start"]);
        let at = current(&world, &session);
        let diff = world.json(0, ["diff", &session]);
        assert_eq!(diff["digest"], digests[usize::try_from(at).unwrap() - 1], "round {round}");
        *ends.entry(at == u64::from(to)).or_insert(0) += 1;
        let expected: &[u8] = if at == 1 { b"0\n1\n" } else { b"0\n1\n2\n" };
        assert_eq!(written(&world, &session)[b"a.txt".as_slice()], Seen::File(0o644, expected.to_vec()));
    }
    assert!(ends.contains_key(&true), "never got there: {ends:?}");
    assert_eq!(world.json(0, ["logs", "--verify"])["intact"], true);
    say(&world, &session, "echo on >> a.txt");
}

fn current(world: &World, session: &str) -> u64 {
    let shown = world.json_lines(0, ["sessions", "--checkpoints", session]);
    let current = shown.iter().find(|one| one["current"] == true);
    current.and_then(|one| one["checkpoint"].as_u64()).unwrap_or_default()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_layer_that_was_frozen_when_the_daemon_died_is_not_lost() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "0\n")]);
    let session = id(&world.shell("echo 1 >> a.txt"));
    let pid = world.daemon_pid();
    let mut code = world
        .ftlctl(["--no-start", "code", "--no-review", "--session", &session, "echo 2 >> a.txt; sleep 45678"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let upper = world.ftl_home().join("sessions").join(&session).join("upper");
    // The file is there before what is written to it.
    while !std::fs::read_to_string(upper.join("a.txt")).is_ok_and(|text| text.ends_with("2\n")) {
        std::thread::yield_now();
    }
    kill(pid);
    // As far as the daemon comes between freezing a layer and saying so.
    std::fs::rename(&upper, world.ftl_home().join(format!("layers/{session}-2"))).unwrap();
    std::fs::create_dir(world.ftl_home().join("layers/s-nobody-1")).unwrap();
    world.ok(["daemon", "start"]);
    let Seen::File(_, content) = &written(&world, &session)[b"a.txt".as_slice()] else { panic!() };
    assert_eq!(content, b"0\n1\n2\n");
    assert_eq!(current(&world, &session), 2);
    assert_eq!(layers(&world), 2, "and what nobody names is swept away");
    code.kill().unwrap();
    code.wait().unwrap();
}
