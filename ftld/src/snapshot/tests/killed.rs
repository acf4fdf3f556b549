//! The process killed at every step by which the store changes the disk.
//!
//! A child, this same program, does one story and is killed at its k-th step, for every k. It says on its
//! way what was acknowledged; the parent opens what is left and looks for exactly that.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use ftl_core::diff::UpperNode;

use super::super::step::ABORT_AT;
use ftl_core::diff::SeenFiles;

use super::*;

const DIR: &str = "FTL_TEST_STORE";

fn large(seed: u8) -> Vec<u8> {
    (0..5000u32).flat_map(|n| Hash::of(&[&[seed], n.to_le_bytes().as_slice()].concat()).0).collect()
}

/// What the project holds before each of its snapshots.
const STATES: [[(&str, &str); 3]; 2] = [
    [("a", "first a"), ("d/b", "first b"), ("d/c", "kept")],
    [("a", "second a"), ("d/b", "second b"), ("d/c", "kept")],
];

fn make(project: &Path, state: usize) {
    for (at, content) in STATES[state] {
        write(project, at, content);
    }
    write(project, "large", large(u8::try_from(state).unwrap()));
}

fn restores(store: &LocalStore, id: SnapshotId, state: usize, out: &Path) {
    let restored = store.restore(id, out).unwrap();
    assert_eq!((restored.lost, restored.files), (vec![], 4));
    for (at, content) in STATES[state] {
        assert_eq!(fs::read(out.join(at)).unwrap(), content.as_bytes());
    }
    assert_eq!(fs::read(out.join("large")).unwrap(), large(u8::try_from(state).unwrap()));
    fs::remove_dir_all(out).unwrap();
}

/// The story: two snapshots, captured work, a pre-image, a collection that drops the first snapshot, and more
/// work after it. Does nothing unless it is the child.
#[test]
fn the_child() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let mut told = fs::File::options().append(true).create(true).open(dir.join("told")).unwrap();
    let mut tell = |what: &str, name: String| told.write_all(format!("{what} {name}\n").as_bytes()).unwrap();
    let store = LocalStore::open(&dir.join("store"), None).unwrap();
    let project = dir.join("project");
    let mut ids = Vec::new();
    for state in 0..STATES.len() {
        make(&project, state);
        let id = store.take(&project, LATER).unwrap().id;
        store.settle().unwrap();
        tell("take", id.to_string());
        ids.push(id);
    }
    write(&dir.join("upper"), "work", "captured");
    write(&dir.join("upper"), "large", large(7));
    let captured = store.capture(&dir.join("upper"), ids[1], &SeenFiles::new()).unwrap();
    let hash = |node: &UpperNode| match node {
        UpperNode::File { hash, .. } => Some(*hash),
        _ => None,
    };
    let kept: BTreeSet<Hash> = captured.upper.values().filter_map(hash).collect();
    kept.iter().for_each(|hash| tell("content", hash.to_string()));
    let image = store.keep(&fs::File::open(project.join("a")).unwrap()).unwrap();
    tell("content", image.to_string());
    let kept = kept.into_iter().chain([image]).collect();
    let needed = Needed { snapshots: [ids[1]].into(), contents: kept, indexed: true, ..Needed::default() };
    tell("dropped", ids[0].to_string());
    store.collect(false, &mut || Ok::<_, SnapshotError>(needed.clone())).unwrap();
    let late = store.put_captured(b"after the collection").unwrap();
    tell("content", late.to_string());
}

/// Runs the child; says whether it came to its end.
fn run(dir: &Path, abort_at: Option<u64>) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "snapshot::tests::killed::the_child", "--test-threads=1"]).env(DIR, dir);
    child.stdout(Stdio::null()).stderr(Stdio::null()).env_remove(ABORT_AT);
    if let Some(step) = abort_at {
        child.env(ABORT_AT, step.to_string());
    }
    child.status().unwrap().success()
}

/// What the child acknowledged: snapshots with their states, and contents.
fn told(dir: &Path) -> (Vec<(SnapshotId, usize)>, BTreeSet<Hash>) {
    let (mut taken, mut contents) = (Vec::new(), BTreeSet::new());
    for line in fs::read_to_string(dir.join("told")).unwrap_or_default().lines() {
        let (what, name) = line.split_once(' ').unwrap();
        let hash: Hash = name.parse().unwrap();
        match what {
            "take" => taken.push((SnapshotId(hash), taken.len())),
            "dropped" => taken.retain(|(id, _)| id.0 != hash),
            _ => {
                contents.insert(hash);
            }
        }
    }
    (taken, contents)
}

#[test]
fn whatever_was_acknowledged_is_there_after_a_kill_at_any_step() {
    let mut steps = 0;
    loop {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path();
        fs::create_dir(dir.join("project")).unwrap();
        let ended = run(dir, Some(steps));
        let (taken, contents) = told(dir);
        let store = LocalStore::open(&dir.join("store"), None).unwrap();
        let snapshots = taken.iter().map(|(id, _)| *id).collect();
        let needed = Needed { snapshots, contents, ..Needed::default() };
        // Nothing half is there, whether anyone needs it or not.
        let checked = store.verify(&needed, &mut |_, _| {}).unwrap();
        assert_eq!(checked.damage, [], "killed at step {steps}");
        for (id, state) in taken {
            restores(&store, id, state, &dir.join("out"));
        }
        drop(store);
        // And the story can go on from there.
        if !ended && steps % 5 == 0 {
            fs::remove_file(dir.join("told")).ok();
            assert!(run(dir, None), "killed at step {steps}");
        }
        if ended {
            break;
        }
        steps += 1;
    }
    assert!(steps > 40, "only {steps} steps");
}
