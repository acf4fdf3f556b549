//! What the turns of a session cost: layers folded beside it, work kept in parts, branches that copy nothing.

use std::path::{Path, PathBuf};

use ftl_tests::project::Seen;
use ftl_tests::world::{Who, World};

use crate::branch::{id, kill, layers, names, say, written};

/// A turn whose layer takes longer to fold than a small turn takes.
const HEAVY: &str = "seq 1 4000 | sed 's:.*:d/&/e:' | xargs mkdir -p; echo 0 > n";
/// Appends a line to a file, and the number of layers that the workspace has to another.
const SMALL: &str = "echo line >> n; \
    sed -n 's/.* lowerdir=\\([^,]*\\).*/\\1/p; s/.*,lowerdir=\\([^,]*\\).*/\\1/p' /proc/self/mountinfo \
    | tr ':' '\\n' | wc -l >> layers";

/// Layers that a fold is being written to.
fn half_folded(world: &World) -> Vec<PathBuf> {
    let halves = names(world).into_iter().filter(|name| name.ends_with(".new"));
    halves.map(|name| world.ftl_home().join("layers").join(name)).collect()
}

fn folded(world: &World) -> usize {
    names(world).iter().filter(|name| name.contains("-folded-") && !name.ends_with(".new")).count()
}

fn text(world: &World, state: &str, name: &str) -> String {
    match &written(world, state)[name.as_bytes()] {
        Seen::File(_, content) => String::from_utf8(content.clone()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn turns_go_on_while_layers_are_folded() {
    let world = World::new(Who::Me);
    let session = id(&world.shell(HEAVY));
    let mut beside = 0;
    for turn in 2..=40 {
        say(&world, &session, SMALL);
        // Another turn has come and gone, and the fold that the one before began is not done.
        beside += usize::from(turn > 17 && !half_folded(&world).is_empty());
        if turn == 24 {
            say(&world, &session, "rm -r d");
        }
    }
    assert!(beside > 0, "every turn waited for a fold, or folds are too fast for this test");
    let counts: Vec<usize> =
        text(&world, &session, "layers").lines().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!(counts.len(), 39);
    assert!(counts.iter().all(|count| (1..=48).contains(count)), "{counts:?}");
    assert!(counts.windows(2).any(|two| two[1] < two[0]), "no fold took its place: {counts:?}");
    let lines = text(&world, &session, "n");
    assert_eq!(lines, "0\n".to_owned() + &"line\n".repeat(39));
    assert_eq!(text(&world, &format!("{session}@12"), "n").lines().count(), 12);
    world.ok(["rm", &session, "--discard"]);
    assert_eq!(layers(&world), 0, "a fold that was under way leaves nothing");
}

#[test]
fn a_daemon_that_dies_while_it_folds_leaves_the_layers_or_the_fold() {
    let world = World::new(Who::Me);
    let session = id(&world.shell(HEAVY));
    for _ in 2..=16 {
        say(&world, &session, "echo line >> n");
    }
    let mut expected = 16;
    // Killed as it begins, in its middle, and when the layer has its name but no record may know it.
    for round in 0..4 {
        let pid = world.daemon_pid();
        say(&world, &session, "echo line >> n");
        expected += 1;
        loop {
            let begun = half_folded(&world);
            let inner = begun.first().and_then(|path| std::fs::read_dir(path.join("d")).ok());
            let far = match round {
                0 => !begun.is_empty(),
                1 => inner.is_some_and(|entries| entries.count() > 500),
                _ => false,
            };
            if far || folded(&world) > 0 {
                break;
            }
            std::thread::yield_now();
        }
        kill(pid);
        world.ok(["daemon", "start"]);
        assert_eq!(half_folded(&world), Vec::<PathBuf>::new(), "round {round}: half a fold is swept away");
        assert_eq!(text(&world, &session, "n").lines().count(), expected, "round {round}");
        let seen = world.ok(["exec", &session, "--", "sh", "-c", "wc -l < n; ls d | wc -l"]);
        assert_eq!(seen, format!("{expected}\n4000\n"), "round {round}");
    }
    assert_eq!(text(&world, &format!("{session}@5"), "n").lines().count(), 5);
    world.ok(["rm", &session, "--discard"]);
    assert_eq!(layers(&world), 0);
}

/// Sizes and number of all that lies beneath some directories.
fn amount(dirs: &[PathBuf]) -> (u64, u64) {
    fn add(dir: &Path, sum: &mut (u64, u64)) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(meta) = std::fs::symlink_metadata(entry.path()) else { continue };
            sum.1 += 1;
            match meta.is_dir() {
                true => add(&entry.path(), sum),
                false => sum.0 += meta.len(),
            }
        }
    }
    let mut sum = (0, 0);
    dirs.iter().for_each(|dir| add(dir, &mut sum));
    sum
}

#[test]
fn a_small_turn_and_a_branch_cost_nothing_of_what_was_changed_before() {
    let world = World::new(Who::Me);
    let many =
        "mkdir n; awk 'BEGIN { for (i = 1; i <= 20000; i++) { f = \"n/\" i; print i > f; close(f) } }'";
    let session = id(&world.shell(many));
    let store = [world.ftl_home().join("store")];
    let mut before = amount(&store).0;
    for turn in 2..=6 {
        say(&world, &session, &format!("echo {turn} >> n/{turn}"));
        let after = amount(&store).0;
        assert!(after - before < 8 * 1024, "turn {turn} wrote {} bytes", after - before);
        before = after;
    }
    let all = ["store", "layers", "sessions"].map(|name| world.ftl_home().join(name));
    let before = amount(&all);
    let branch = id(&world.json(0, ["snapshots", "branch", &session]));
    let after = amount(&all);
    assert!(after.0 - before.0 < 8 * 1024, "a branch wrote {} bytes", after.0 - before.0);
    assert!(after.1 - before.1 < 32, "a branch made {} files", after.1 - before.1);
    // What a collection leaves is all of it, also where a part is the base of several.
    world.json(0, ["rewind", &format!("{session}@3")]);
    say(&world, &session, "echo other > n/other");
    world.ok(["rm", &branch, "--discard"]);
    world.ok(["snapshots", "clean", "--all"]);
    world.ok(["daemon", "stop"]);
    let tree = written(&world, &session);
    assert_eq!(tree.len(), 20_002);
    assert_eq!(tree[b"n/3".as_slice()], Seen::File(0o644, b"3\n3\n".to_vec()));
    assert_eq!(tree[b"n/4".as_slice()], Seen::File(0o644, b"4\n".to_vec()));
    assert_eq!(text(&world, &format!("{session}@6"), "n/6"), "6\n6\n");
    assert_eq!(world.json(0, ["snapshots", "verify"])["damaged"], 0);
}
