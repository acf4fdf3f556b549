//! A project that is kept up to date is what a walk from scratch finds, whatever was done to it and
//! whatever became of the events.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use rustix::fs::{RenameFlags, renameat_with};

use super::super::blob::Blobs;
use super::bench::{Bench, key, swap};
use super::*;

#[derive(Clone, Debug)]
enum Edit {
    Write(PathBuf, u8),
    Key(PathBuf),
    Append(PathBuf),
    Truncate(PathBuf),
    Rename(PathBuf, PathBuf),
    Exchange(PathBuf, PathBuf),
    Out(PathBuf),
    Back(PathBuf),
    Remove(PathBuf),
    Remake(PathBuf),
    MakeDir(PathBuf),
    Link(PathBuf, u8),
    HardLink(PathBuf, PathBuf),
    LinkOut(PathBuf),
    WriteOut(u8),
    Mode(PathBuf, bool),
    Touch(PathBuf, i64),
    Swap(PathBuf),
    Rules(PathBuf, u8),
    Exclude(u8),
    Take,
    Warm,
    Fate(u32),
    Reload,
}

/// Appends to a file that is there.
fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    io::Write::write_all(&mut fs::OpenOptions::new().append(true).open(path)?, bytes)
}

impl Edit {
    fn apply(&self, bench: &Bench) {
        let (project, outside) = (bench.project(), bench.outside());
        let at = |path: &PathBuf| project.join(path);
        let parents = |path: &PathBuf| {
            let _ = fs::create_dir_all(at(path).parent().unwrap());
        };
        // An error means that there is nothing to edit, or something else.
        let _ = match self {
            Self::Write(path, byte) => {
                parents(path);
                fs::write(at(path), [*byte; 3])
            }
            // Swapped, it is none any more and has the same stamp but for its change.
            Self::Key(path) => fs::write(at(path), key()),
            Self::Append(path) => append(&at(path), b"more"),
            Self::Truncate(path) => {
                fs::OpenOptions::new().write(true).open(at(path)).and_then(|file| file.set_len(1))
            }
            Self::Rename(from, to) => {
                parents(to);
                fs::rename(at(from), at(to))
            }
            Self::Exchange(one, other) => {
                renameat_with(CWD, at(one), CWD, at(other), RenameFlags::EXCHANGE).map_err(io::Error::from)
            }
            Self::Out(path) => {
                let _ = fs::remove_dir_all(outside.join("moved"));
                let _ = fs::remove_file(outside.join("moved"));
                let moved = fs::rename(at(path), outside.join("moved"));
                let _ = fs::write(outside.join("moved/f"), "written outside");
                moved
            }
            Self::Back(path) => {
                parents(path);
                fs::rename(outside.join("moved"), at(path))
            }
            Self::Remove(path) => fs::remove_file(at(path)).or_else(|_| fs::remove_dir_all(at(path))),
            Self::Remake(path) => {
                let _ = fs::remove_dir_all(at(path));
                let _ = fs::create_dir_all(at(path));
                fs::write(at(path).join("f"), "remade")
            }
            Self::MakeDir(path) => fs::create_dir_all(at(path)),
            Self::Link(path, target) => {
                let half = outside.join("link");
                let _ = fs::remove_file(&half);
                let _ = symlink(target.to_string(), &half);
                fs::rename(&half, at(path))
            }
            other => other.apply_more(bench),
        };
    }

    fn apply_more(&self, bench: &Bench) -> io::Result<()> {
        let (project, outside) = (bench.project(), bench.outside());
        let at = |path: &PathBuf| project.join(path);
        match self {
            Self::HardLink(from, to) => fs::hard_link(at(from), at(to)),
            Self::LinkOut(path) => {
                let _ = fs::remove_file(outside.join("twin"));
                fs::rename(at(path), outside.join("twin"))
                    .and_then(|()| fs::hard_link(outside.join("twin"), at(path)))
            }
            Self::WriteOut(byte) => append(&outside.join("twin"), &[*byte]),
            Self::Mode(path, is_run) => {
                let mode = if *is_run { 0o755 } else { 0o700 };
                fs::set_permissions(at(path), fs::Permissions::from_mode(mode))
            }
            Self::Touch(path, seconds) => {
                if at(path).symlink_metadata().is_ok() {
                    set_mtime(&at(path), *seconds, 0);
                }
                Ok(())
            }
            Self::Swap(path) => swap(&at(path)),
            Self::Rules(path, which) => fs::write(
                at(path).join(".gitignore"),
                ["", "f\n", "*.log\n", "a/\n!f\n"][usize::from(*which % 4)],
            ),
            Self::Exclude(which) => fs::create_dir_all(project.join(".git/info")).and_then(|()| {
                fs::write(project.join(".git/info/exclude"), ["", "b\n", "g.log\n"][usize::from(*which % 3)])
            }),
            other => other.step(bench),
        }
    }

    /// What happens to the daemon and not to the project.
    fn step(&self, bench: &Bench) -> io::Result<()> {
        match self {
            Self::Take => bench.check("edits"),
            Self::Warm => {
                bench.take();
                bench.warm();
            }
            Self::Fate(fate) => bench.fate.store(*fate, Ordering::Relaxed),
            Self::Reload => bench.projects.park(),
            other => panic!("{other:?}"),
        }
        Ok(())
    }
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let dir = || prop_oneof![Just("a"), Just("b"), Just("c")];
    let name =
        || prop_oneof![4 => dir(), 4 => Just("f"), 1 => Just("g.log"), 1 => Just(".env"), 1 => Just("A")];
    let path = move || {
        prop_oneof![
            name().prop_map(PathBuf::from),
            (dir(), name()).prop_map(|(a, b)| PathBuf::from(a).join(b)),
            (dir(), dir(), name()).prop_map(|(a, b, c)| PathBuf::from(a).join(b).join(c)),
        ]
    };
    let one = prop_oneof![
        6 => (path(), any::<u8>()).prop_map(|(path, byte)| Edit::Write(path, byte)),
        3 => path().prop_map(Edit::Key),
        2 => path().prop_map(Edit::Append),
        2 => path().prop_map(Edit::Truncate),
        5 => (path(), path()).prop_map(|(from, to)| Edit::Rename(from, to)),
        1 => (path(), path()).prop_map(|(one, other)| Edit::Exchange(one, other)),
        2 => path().prop_map(Edit::Out),
        2 => path().prop_map(Edit::Back),
        4 => path().prop_map(Edit::Remove),
        2 => path().prop_map(Edit::Remake),
        4 => path().prop_map(Edit::MakeDir),
        2 => (path(), any::<u8>()).prop_map(|(path, target)| Edit::Link(path, target)),
    ];
    let other = prop_oneof![
        3 => (path(), path()).prop_map(|(from, to)| Edit::HardLink(from, to)),
        2 => path().prop_map(Edit::LinkOut),
        2 => any::<u8>().prop_map(Edit::WriteOut),
        2 => (path(), any::<bool>()).prop_map(|(path, run)| Edit::Mode(path, run)),
        2 => (path(), 1i64..1000).prop_map(|(path, time)| Edit::Touch(path, time)),
        2 => path().prop_map(Edit::Swap),
        1 => (path(), any::<u8>()).prop_map(|(path, which)| Edit::Rules(path, which)),
        1 => any::<u8>().prop_map(Edit::Exclude),
        6 => Just(Edit::Take),
        4 => Just(Edit::Warm),
        2 => (0u32..8).prop_map(Edit::Fate),
        1 => Just(Edit::Reload),
    ];
    prop_oneof![one, other]
}

/// Any of these edits, with snapshots between them.
fn any_edits_are_seen(cases: u32, edits: impl Strategy<Value = Edit>) {
    let store = tempfile::tempdir().unwrap();
    let blobs = Arc::new(Blobs::open(store.path(), None).unwrap());
    let config = ProptestConfig { cases, max_shrink_iters: 2000, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let run = |edits: Vec<Edit>| {
        let bench = Bench::over(tempfile::tempdir().unwrap(), Arc::clone(&blobs), 10_000);
        edits.iter().for_each(|edit| edit.apply(&bench));
        bench.check("all");
        bench.warm();
        bench.check("all, watched");
        Ok(())
    };
    runner.run(&proptest::collection::vec(edits, 0..60), run).unwrap();
}

#[test]
fn every_snapshot_is_what_a_walk_from_scratch_finds() {
    let is_fair = |edit: &Edit| !matches!(edit, Edit::Fate(_));
    any_edits_are_seen(96, any_edit().prop_filter("the kernel's own", is_fair));
}

#[test]
fn events_that_are_lost_late_or_told_twice_change_no_snapshot() {
    any_edits_are_seen(96, any_edit());
}
