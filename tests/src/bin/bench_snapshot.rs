//! How long a snapshot takes, beside programs that people know, all from one run.
//!
//!     cargo run --release -p ftl-tests --bin bench_snapshot -- [--cold] [FILES...]
//!
//! Owns what is measured and what it is compared with; asserts nothing. The trees are sources of published
//! crates, unpacked from cargo's registry cache and repeated under different directories. Snapshots are
//! taken through the store itself, without the daemon's socket. Every number is the median of several runs
//! with warm caches; `--cold` empties the kernel's caches before each run of the rows that say so, which
//! only root can. Needs `git`, `rsync` and `tar`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ftl_tests::measure::{self, Outcome, append, median, row, run, shown, slashed, timed, tree_of_crates};
use ftld::snapshot::LocalStore;

/// Files of the trees, when none are named.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// Runs of what is quick and of what takes a while.
const RUNS: usize = 11;
const LONG_RUNS: usize = 3;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_cold = args.iter().any(|arg| arg == "--cold");
    let named = args.iter().filter(|arg| !arg.starts_with('-')).map(|arg| arg.parse());
    let named: Vec<usize> = named.collect::<Result<_, _>>()?;
    let sizes = if named.is_empty() { SIZES.to_vec() } else { named };
    let scratch = tempfile::tempdir_in("/var/tmp")?;
    measure::head();
    for size in sizes {
        let place = scratch.path().join(size.to_string());
        let files = tree_of_crates(&place.join("project"), size)?;
        rows(&place, &files, is_cold)?;
        fs::remove_dir_all(place)?;
    }
    Ok(())
}

fn rows(place: &Path, files: &[PathBuf], is_cold: bool) -> Outcome<()> {
    let (project, size) = (place.join("project"), files.len());
    let fresh = |name: &str, run: usize| place.join(format!("{name}-{run}"));
    let first = |run: usize| {
        let store = LocalStore::open(&fresh("store", run), None)?;
        timed(|| store.take(&project, now_ns()?).map(drop).map_err(Into::into))
    };
    let rsync = |to: &Path| timed(|| run("rsync", ["-a".into(), slashed(&project), slashed(to)], None));
    let copy = |to: &Path| {
        timed(|| {
            run("cp", [OsStr::new("-a"), OsStr::new("--reflink=auto"), project.as_ref(), to.as_ref()], None)
        })
    };
    let label = format!("first, {size} files");
    let ours = median((0..LONG_RUNS).map(first))?;
    row(
        &label,
        ours,
        "rsync -a into nothing",
        median((0..LONG_RUNS).map(|run| rsync(&fresh("rsync", run))))?,
    );
    row("", ours, "cp -a --reflink=auto", median((0..LONG_RUNS).map(|run| copy(&fresh("cp", run))))?);

    let git = fresh("cp", 0);
    for args in [&["init", "-q"][..], &["add", "-A"], &["write-tree"]] {
        run("git", args, Some(&git))?;
    }
    let status = || timed(|| run("git", ["status", "--porcelain"], Some(&git)));
    let add = || {
        run("git", ["add", "-A"], Some(&git))?;
        run("git", ["write-tree"], Some(&git))
    };
    let store = LocalStore::open(&fresh("store", 0), None)?;
    let walk = || {
        store.park();
        timed(|| store.take(&project, now_ns()?).map(drop).map_err(Into::into))
    };
    let walked = median((0..RUNS).map(|_| walk()))?;
    walk()?;
    let watched = timed(|| {
        while store.watching().first().is_none_or(|project| project.sweeping.is_some()) {
            std::thread::yield_now();
        }
        Ok(())
    })?;
    row(&format!("unchanged, by a walk, {size}"), walked, "git status", median((0..RUNS).map(|_| status()))?);
    let take = || timed(|| store.take(&project, now_ns()?).map(drop).map_err(Into::into));
    let unchanged = median((0..RUNS).map(|_| take()))?;
    row(
        &format!("unchanged, watched, {size}"),
        unchanged,
        "git status",
        median((0..RUNS).map(|_| status()))?,
    );
    row("", unchanged, "git add -A && git write-tree", median((0..RUNS).map(|_| timed(add)))?);
    row("", unchanged, "rsync -a with nothing to do", median((0..RUNS).map(|_| rsync(&fresh("rsync", 0))))?);
    let some: Vec<&PathBuf> = files.iter().step_by((size / 10).max(1)).take(10).collect();
    let changed = median((0..RUNS).map(|_| append(&project, &some).and_then(|()| take())))?;
    let added = median((0..RUNS).map(|_| append(&git, &some).and_then(|()| timed(add))))?;
    row(&format!("10 changed of {size}, watched"), changed, "git add -A && git write-tree", added);
    let synced = (0..RUNS).map(|_| append(&project, &some).and_then(|()| rsync(&fresh("rsync", 0))));
    row("", changed, "rsync -a", median(synced)?);
    let directories = store.watching().first().map_or(0, |project| project.directories);
    println!("{:<44} {:>11}   {directories} directories", "  until all is watched", shown(watched));
    if is_cold {
        let ours = median((0..LONG_RUNS).map(|_| empty_caches().and_then(|()| walk())))?;
        let theirs = median((0..LONG_RUNS).map(|_| empty_caches().and_then(|()| status())))?;
        row(&format!("unchanged, by a walk, cold, {size}"), ours, "git status, cold", theirs);
        let ours = median((LONG_RUNS..2 * LONG_RUNS).map(|run| empty_caches().and_then(|()| first(run))))?;
        let to = |run| rsync(&fresh("rsync", run));
        let theirs = median((LONG_RUNS..2 * LONG_RUNS).map(|run| empty_caches().and_then(|()| to(run))))?;
        row(&format!("first, cold, {size}"), ours, "rsync -a into nothing, cold", theirs);
    }
    Ok(())
}

fn now_ns() -> Outcome<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}

fn empty_caches() -> Outcome<()> {
    rustix::fs::sync();
    Ok(fs::write("/proc/sys/vm/drop_caches", "3")?)
}
