//! `kill -9` of the daemon at any point: nothing captured is lost, nothing is left behind, and the project
//! is as it was or as it was approved, never between.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use ftl_proto::v1;
use ftl_proto::v1::event::Kind;
use ftl_tests::client::Client;
use ftl_tests::project::{self, Seen};
use ftl_tests::world::{Who, World};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

type Tree = BTreeMap<Vec<u8>, Seen>;

/// Kills a process and returns when it is gone.
fn kill(pid: i32) {
    let pid = Pid::from_raw(pid).unwrap();
    let gone = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    poll(&mut [PollFd::new(&gone, PollFlags::IN)], None).unwrap();
}

/// Processes whose command line holds a word.
fn processes(word: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(word) {
            found.push(line);
        }
    }
    found
}

/// Control group directories beneath `/sys/fs/cgroup` whose path holds a word.
fn control_groups(word: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![Path::new("/sys/fs/cgroup").to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.path().to_string_lossy().contains(word) {
                    found.push(entry.path().to_string_lossy().into_owned());
                }
                dirs.push(entry.path());
            }
        }
    }
    found
}

/// What was seen of a story before the daemon was killed.
struct Story {
    session: String,
    events: Vec<v1::Event>,
    finished: bool,
}

/// Runs a whole story (work, approval, undoing) and kills the daemon when event `k` arrives.
async fn story(world: &World, k: u64) -> Story {
    let pid = world.daemon_pid();
    let mut client = Client::connect(&world.socket()).await.unwrap();
    let script = "echo two >> a.txt; rm b.txt; mkdir d; echo c > d/c.txt; sleep 98765 & echo done";
    let session = client.shell(&world.project(), script).await.unwrap();
    let request = v1::WatchRequest {
        session: session.clone(),
        from_seq: 1,
        follow: false,
        until_idle: false,
        ..Default::default()
    };
    let mut seen = Story { session: session.clone(), events: Vec::new(), finished: false };
    let mut from_seq = 1;
    loop {
        let mut watch = client
            .sessions
            .watch(v1::WatchRequest { from_seq, ..request.clone() })
            .await
            .unwrap()
            .into_inner();
        let mut last = None;
        while let Some(event) = watch.message().await.unwrap() {
            from_seq = event.seq + 1;
            last = Some(event.clone());
            let reached = event.seq == k;
            seen.events.push(event);
            if reached {
                kill(pid);
                return seen;
            }
        }
        let Some(Kind::StateChanged(change)) = last.and_then(|event| event.kind) else {
            // Nothing new yet: wait for the next event by asking for it.
            let next = v1::WatchRequest { from_seq, follow: true, until_idle: true, ..request.clone() };
            let mut stream = client.sessions.watch(next).await.unwrap().into_inner();
            drop(stream.message().await.unwrap());
            continue;
        };
        let undone = seen.events.iter().any(|event| matches!(event.kind, Some(Kind::Undone(_))));
        let killed = match change.state() {
            v1::State::AwaitingReview if undone => {
                seen.finished = true;
                return seen;
            }
            v1::State::AwaitingReview => {
                let diff = client
                    .sessions
                    .get(v1::GetSessionRequest { session: session.clone(), ..Default::default() });
                let digest = diff.await.unwrap().into_inner().digest;
                let request = v1::ApproveRequest {
                    session: session.clone(),
                    digest,
                    paths: Vec::new(),
                    ..Default::default()
                };
                decide(k, from_seq, pid, client.clone(), Decision::Approve(request)).await
            }
            v1::State::Merged => {
                let request =
                    v1::UndoRequest { session: session.clone(), project: Vec::new(), ..Default::default() };
                decide(k, from_seq, pid, client.clone(), Decision::Undo(request)).await
            }
            _ => false,
        };
        if killed {
            return seen;
        }
    }
}

enum Decision {
    Approve(v1::ApproveRequest),
    Undo(v1::UndoRequest),
}

/// Decides, and kills the daemon at event `k` while it carries the decision out. Says whether it did.
async fn decide(k: u64, from_seq: u64, pid: i32, client: Client, decision: Decision) -> bool {
    let session = match &decision {
        Decision::Approve(request) => request.session.clone(),
        Decision::Undo(request) => request.session.clone(),
    };
    let (mut watcher, mut reviews) = (client.clone(), client);
    let request =
        v1::WatchRequest { session, from_seq, follow: true, until_idle: false, ..Default::default() };
    // Both run in one task, so the watcher sees an event before the decision's answer is looked at.
    let deciding = async {
        match decision {
            Decision::Approve(request) => reviews.reviews.approve(request).await.map(drop),
            Decision::Undo(request) => reviews.reviews.undo(request).await.map(drop),
        }
    };
    let watching = async {
        let Ok(stream) = watcher.sessions.watch(request).await else { return false };
        let mut stream = stream.into_inner();
        while let Ok(Some(event)) = stream.message().await {
            if event.seq == k {
                kill(pid);
                return true;
            }
        }
        // The story went past `k` without it: the decision's own end counts.
        std::future::pending().await
    };
    tokio::select! {
        biased;
        killed = watching => killed,
        decided = deciding => {
            drop(decided);
            false
        }
    }
}

/// What must hold after a restart, wherever the daemon was killed.
fn check(world: &World, k: u64, story: &Story, old: &Tree, new: &Tree) {
    let sessions = world.ok(["--json", "sessions", "--all"]);
    let found = sessions
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .find(|session| session["session"] == story.session.as_str())
        .unwrap_or_else(|| panic!("event {k}: the session is forgotten"));
    let state = found["state"].as_str().unwrap().to_owned();
    assert!(
        ["awaiting_review", "no_changes", "merged", "failed"].contains(&state.as_str()),
        "event {k}: {state}"
    );
    let tree = project::see(&world.project());
    let expected = if state == "merged" { new } else { old };
    assert_eq!(tree, *expected, "event {k}: the project of a session that is {state}");

    let stored = events(world, &story.session);
    assert_eq!(stored[..story.events.len()], story.events[..], "event {k}: what was shown is not forgotten");
    for (index, event) in stored.iter().enumerate() {
        assert_eq!(event.seq, u64::try_from(index).unwrap() + 1, "event {k}: a gap");
    }
    let captured = story.events.iter().any(|event| matches!(event.kind, Some(Kind::WorkCaptured(_))));
    if captured || state == "awaiting_review" {
        let diff = world.json(0, ["diff", &story.session]);
        let left = diff["entries"].as_array().unwrap().len();
        assert_eq!(left == 0, state == "merged", "event {k}: {diff}");
    }
    assert_eq!(world.json(0, ["logs", "--verify"])["intact"], true, "event {k}");
    assert_eq!(processes("sleep 98765"), Vec::<String>::new(), "event {k}");
    assert_eq!(control_groups(&story.session), Vec::<String>::new(), "event {k}");
    assert!(!world.project().join("d").exists() || state == "merged", "event {k}");
}

fn events(world: &World, session: &str) -> Vec<v1::Event> {
    block_on(async {
        let mut client = Client::connect(&world.socket()).await.unwrap();
        let request = v1::WatchRequest { session: session.into(), ..Default::default() };
        let mut stream = client.sessions.watch(request).await.unwrap().into_inner();
        let mut events = Vec::new();
        while let Some(event) = stream.message().await.unwrap() {
            events.push(event);
        }
        events
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn the_daemon_is_killed_after_every_event_of_a_session() {
    // The socket is the user's own, so the watcher must be that user.
    for who in [Who::Me] {
        let world = World::new(who);
        let files = [("a.txt", "one\n"), ("b.txt", "gone\n"), ("e/f.txt", "stays\n")];
        world.files(&files);
        let old = project::see(&world.project());
        let mut new = old.clone();
        new.insert(b"a.txt".to_vec(), Seen::File(0o644, b"one\ntwo\n".to_vec()));
        new.remove(b"b.txt".as_slice());
        new.insert(b"d".to_vec(), Seen::Dir(0o755));
        new.insert(b"d/c.txt".to_vec(), Seen::File(0o644, b"c\n".to_vec()));
        let mut killed = 0;
        for k in 1.. {
            world.ok(["daemon", "start"]);
            let story = block_on(story(&world, k));
            if story.finished {
                break;
            }
            killed += 1;
            world.ok(["daemon", "start"]);
            check(&world, k, &story, &old, &new);
            // The next story begins with the same project.
            if project::see(&world.project()) != old {
                world.json(0, ["undo", &story.session]);
                assert_eq!(
                    project::see(&world.project()),
                    old,
                    "event {k}: what was applied can still be undone"
                );
            }
        }
        assert!(killed >= 15, "only {killed} events: the story is not what it was");
    }
}

/// The hunks that are left of a file, in a session's diff.
fn hunks_left(diff: &serde_json::Value) -> usize {
    let entries = diff["entries"].as_array().unwrap();
    entries.first().map_or(0, |entry| entry["hunks"].as_array().unwrap().len())
}

#[test]
fn a_daemon_that_dies_while_a_merged_part_lands_leaves_the_old_or_the_new_text() {
    let text: String = (1..=30).map(|line| format!("line {line}\n")).collect();
    let mine = format!("mine\n{text}");
    let merged = mine.replace("line 25\n", "agent 25\n");
    let (mut old, mut new) = (0, 0);
    for step in 1..=6 {
        let world = World::new(Who::Me);
        world.files(&[("f", &text)]);
        let last = world.shell("sed -i 's/^line 3$/agent 3/; s/^line 25$/agent 25/' f");
        let session = last["session"].as_str().unwrap();
        world.files(&[("f", &mine)]);
        let preview = world.json(0, ["diff", session, "--hunk", "f:2"]);
        let hunk = v1::HunkChoice { hunk: "2".into(), ..Default::default() };
        let part = v1::Part { path: b"f".to_vec(), hunks: vec![hunk] };
        let request = v1::ApproveRequest {
            session: session.into(),
            digest: preview["digest"].as_str().unwrap().into(),
            selection: Some(v1::Selection { parts: vec![part], ..Default::default() }),
            ..Default::default()
        };
        let pid = world.daemon_pid();
        let seen = events(&world, session).last().unwrap().seq;
        block_on(async {
            let client = Client::connect(&world.socket()).await.unwrap();
            decide(seen + step, seen + 1, pid, client, Decision::Approve(request)).await
        });
        world.ok(["daemon", "start"]);
        let diff = world.json(0, ["diff", session]);
        let found = std::fs::read_to_string(world.project().join("f")).unwrap();
        match hunks_left(&diff) {
            2 => (old, _) = (old + 1, assert_eq!(found, mine, "step {step}")),
            1 => (new, _) = (new + 1, assert_eq!(found, merged, "step {step}")),
            left => panic!("step {step}: {left} hunks are left: {diff}"),
        }
        // What is left lands beside the human's line all the same.
        let rest = world.json(0, ["diff", session, "--preview"]);
        world.json(0, ["approve", session, "--digest", rest["digest"].as_str().unwrap()]);
        let all = merged.replace("line 3\n", "agent 3\n");
        assert_eq!(std::fs::read_to_string(world.project().join("f")).unwrap(), all, "step {step}");
    }
    assert!(new > 0, "{old} died before it landed, {new} after");
}

#[test]
fn the_work_of_an_agent_that_runs_when_the_daemon_dies_is_kept_for_review() {
    for who in World::everybody() {
        let world = World::new(who);
        world.files(&[("a.txt", "one\n")]);
        world.ok(["daemon", "start"]);
        let pid = world.daemon_pid();
        // Double-forked and in sessions of their own: nothing but the sandbox's end reaches them.
        let script =
            "echo two >> a.txt; (setsid sh -c 'sleep 87654 & sleep 87654' &) ; echo ready; sleep 87654";
        let mut code = world
            .ftlctl(["--no-start", "--json", "code", "--no-review", "--agent", "shell", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(code.stdout.take().unwrap()).lines();
        let events = lines.map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap());
        let output = events.into_iter().find(|event| event["type"] == "output").unwrap();
        let session = output["session"].as_str().unwrap().to_owned();
        assert!(!processes("sleep 87654").is_empty(), "the agent works");
        kill(pid);
        world.ok(["daemon", "start"]);
        assert_eq!(processes("sleep 87654"), Vec::<String>::new());
        let diff = world.json(0, ["diff", &session]);
        assert_eq!(diff["entries"][0]["path"], "a.txt", "{diff}");
        world.json(0, ["approve", &session, "--digest", diff["digest"].as_str().unwrap()]);
        assert_eq!(std::fs::read_to_string(world.project().join("a.txt")).unwrap(), "one\ntwo\n");
        code.kill().unwrap();
        code.wait().unwrap();
    }
}

#[test]
fn killing_a_session_kills_every_process_in_it() {
    let world = World::new(Who::Me);
    world.ok(["daemon", "start"]);
    block_on(async {
        let mut client = Client::connect(&world.socket()).await.unwrap();
        let script =
            "(setsid sh -c 'trap \"\" TERM INT HUP; sleep 76543 & wait' &) ; echo ready; sleep 76543";
        let session = client.shell(&world.project(), script).await.unwrap();
        let request = v1::WatchRequest {
            session: session.clone(),
            from_seq: 1,
            follow: true,
            until_idle: true,
            ..Default::default()
        };
        let mut stream = client.sessions.watch(request).await.unwrap().into_inner();
        while let Some(event) = stream.message().await.unwrap() {
            if matches!(event.kind, Some(Kind::Output(_))) {
                break;
            }
        }
        assert!(processes("sleep 76543").len() >= 2);
        client.sessions.stop(v1::StopRequest { session }).await.unwrap();
    });
    assert_eq!(processes("sleep 76543"), Vec::<String>::new());
}
