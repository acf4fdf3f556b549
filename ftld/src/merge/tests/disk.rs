//! A disk that becomes full, or can no longer be written to, at every point of every kind of writing; and two
//! that write at once.
//!
//! The tests run themselves once more in namespaces of their own, where they may mount a small disk.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Set for a test that runs on a disk of its own.
const OWN_DISK: &str = "FTL_TEST_OWN_DISK";
/// What is wrong with a disk.
type Fault = fn(&Path);

/// Runs a test on a small disk that is its own: all its temporary directories are there.
fn on_own_disk(test: &str, act: impl Fn(&Path)) {
    if let Some(disk) = std::env::var_os(OWN_DISK) {
        return act(Path::new(&disk));
    }
    let disk = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=2m none "$0" && exec "$@""#;
    let ran = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(disk.path())
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .envs([(OWN_DISK, disk.path()), ("TMPDIR", disk.path())])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{told}{}", String::from_utf8_lossy(&ran.stderr));
    assert!(told.contains("1 passed"), "{told}");
}

fn remount(disk: &Path, how: &str) {
    let done = Command::new("mount").args(["-o", how]).arg(disk).output().unwrap();
    assert!(done.status.success(), "{how}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Takes all space, to the last byte.
fn fill(disk: &Path) {
    let mut file = File::create(disk.join("filler")).unwrap();
    for size in [64 * 1024, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

/// Breaks the disk at every point in turn, until one run reaches the end before that. Whatever the engine says
/// then, the project is as it was or as it was to be, and the journals know which.
fn at_every_point(kind: Kind, (breaks, mends): (Fault, Fault), disk: &Path) {
    let act = |place: &Place, merge: &Merge, approval: &Approval| {
        place.carry_out(merge, 1, (&place.plan(approval), approval), &place.store)
    };
    let whole = Place::of(kind);
    act(&whole, &whole.merge(), &whole.approve(&[])).unwrap();
    let new = whole.nodes("project");
    for stop in 0.. {
        let place = Place::of(kind);
        let (old, approval) = (place.nodes("project"), place.approve(&[]));
        let reached = Arc::new(AtomicUsize::new(0));
        let (count, at) = (Arc::clone(&reached), disk.to_owned());
        let probe = move |_| {
            if count.fetch_add(1, Ordering::Relaxed) == stop {
                breaks(&at);
            }
            Ok(())
        };
        let merge = Merge::with_probe(&place.path("journals"), Box::new(probe)).unwrap();
        let outcome = act(&place, &merge, &approval);
        if reached.load(Ordering::Relaxed) <= stop {
            outcome.unwrap();
            assert!(stop > 20, "{kind:?}: only {stop} points");
            return;
        }
        mends(disk);
        let recovered = place.merge().recover(&place.store).unwrap();
        assert!(recovered.iter().all(|one| one.foreign.is_empty() && one.failed.is_none()), "{recovered:?}");
        let (now, happened) = (place.nodes("project"), place.merge().happened(&id(1)).unwrap());
        assert_eq!(now, if happened { new.clone() } else { old }, "{kind:?}, point {stop}: {outcome:?}");
        assert!(happened || outcome.is_err(), "{kind:?}, point {stop}");
        place.assert_outside_untouched();
        // Once there is space again it can be done.
        if !happened {
            act(&place, &place.merge(), &approval).unwrap();
            assert_eq!(place.nodes("project"), new);
        }
    }
}

#[test]
fn a_disk_that_becomes_full_leaves_the_old_or_the_new() {
    on_own_disk("merge::tests::disk::a_disk_that_becomes_full_leaves_the_old_or_the_new", |disk| {
        let empty = |disk: &Path| fs::remove_file(disk.join("filler")).unwrap();
        for kind in KINDS {
            at_every_point(kind, (fill, empty), disk);
        }
    });
}

#[test]
fn a_disk_that_becomes_read_only_leaves_the_old_or_the_new() {
    on_own_disk("merge::tests::disk::a_disk_that_becomes_read_only_leaves_the_old_or_the_new", |disk| {
        let (shut, open): (Fault, Fault) =
            (|disk| remount(disk, "remount,ro"), |disk| remount(disk, "remount,rw"));
        for kind in KINDS {
            at_every_point(kind, (shut, open), disk);
        }
    });
}

#[test]
fn of_two_at_once_one_writes_and_the_other_says_why_not() {
    for kind in KINDS {
        let place = Place::of(kind);
        let approval = place.approve(&[]);
        let plan = place.plan(&approval);
        // Two daemons: neither knows of the other's turns.
        let write = |number| place.carry_out(&place.merge(), number, (&plan, &approval), &place.store);
        let outcomes = std::thread::scope(|scope| {
            let both = [1, 2].map(|number| scope.spawn(move || write(number)));
            both.map(|one| one.join().unwrap())
        });
        let refused = |outcome: &Result<Applied, MergeError>| {
            matches!(
                outcome,
                Err(MergeError::Busy { .. } | MergeError::Changed(_) | MergeError::AlreadyUndone { .. })
            )
        };
        assert_eq!(outcomes.iter().filter(|one| one.is_ok()).count(), 1, "{kind:?}: {outcomes:?}");
        assert_eq!(outcomes.iter().filter(|one| refused(one)).count(), 1, "{kind:?}: {outcomes:?}");
        let whole = Place::of(kind);
        let approval = whole.approve(&[]);
        whole.carry_out(&whole.merge(), 1, (&whole.plan(&approval), &approval), &whole.store).unwrap();
        assert_eq!(place.nodes("project"), whole.nodes("project"), "{kind:?}");
        assert!(place.merge().recover(&place.store).unwrap().is_empty());
    }
}
