//! What the first snapshot of a tree takes on the disk, beside programs that people know.
//!
//!     cargo run -p ftl-tests --bin bench_store -- DIRECTORY...
//!
//! Owns what is measured and what it is compared with. Asserts nothing. A size is what the file system says
//! that the files take (`st_blocks`), without the base tree that a sandbox mounts: that one stands beside.
//! Needs `git` and `rsync`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ftl_tests::measure::{Outcome, run};
use ftld::snapshot::LocalStore;

/// Later than any file's change, nanoseconds since the Unix epoch.
const LATER: i64 = 4_000_000_000_000_000_000;

fn main() -> Outcome<()> {
    let dirs: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if dirs.is_empty() {
        return Err("name directories whose files are to be stored".into());
    }
    println!(
        "{:<28} {:>8} {:>10} {:>10} {:>10} {:>10} {:>10} {:>8}",
        "tree, sizes in KiB", "files", "snapshot", "rsync -a", "git add", "git gc", "base tree", "/ rsync"
    );
    dirs.iter().try_for_each(|dir| measure(dir))
}

fn measure(dir: &Path) -> Outcome<()> {
    let scratch = tempfile::tempdir_in("/var/tmp")?;
    let at = |name: &str| scratch.path().join(name);
    // The copy is what all of them read: without `.git` or anything that ignore rules leave out.
    let mut from = dir.as_os_str().to_owned();
    from.push("/");
    run("rsync", [OsStr::new("-a"), OsStr::new("--exclude=.git"), &from, at("copy").as_os_str()], None)?;
    for rules in found(&at("copy"), OsStr::new(".gitignore"))? {
        fs::remove_file(rules)?;
    }
    let before = used(&at("copy"))?;

    let store = LocalStore::open(&at("store"), None)?;
    let taken = store.take(&at("copy"), LATER)?;
    store.settle()?;
    let snapshot: u64 =
        ["packs", "objects"].iter().map(|part| used(&at("store").join(part))).sum::<Outcome<u64>>()?;
    // 256 empty directories that every store has once.
    let snapshot = snapshot - empty_store()?;
    let base = store.base(&at("copy"), taken.id)?;
    let base = base.layers().iter().map(|layer| used(layer)).sum::<Outcome<u64>>()?;

    let copy = at("copy");
    let git = |args: &[&str]| {
        let place = [OsStr::new("-C"), copy.as_os_str()];
        run("git", place.into_iter().chain(args.iter().map(OsStr::new)).collect::<Vec<_>>(), None)
    };
    git(&["init", "-q"])?;
    git(&["add", "-A", "-f", "."])?;
    let raw = used(&at("copy/.git/objects"))?;
    git(&["-c", "user.name=b", "-c", "user.email=b@example.invalid", "commit", "-qm", "all"])?;
    git(&["gc", "-q"])?;
    let packed = used(&at("copy/.git/objects"))?;

    let name = dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy();
    let kib = |bytes: u64| bytes / 1024;
    println!(
        "{:<28} {:>8} {:>10} {:>10} {:>10} {:>10} {:>10} {:>8.2}",
        name.chars().take(28).collect::<String>(),
        taken.files,
        kib(snapshot),
        kib(before),
        kib(raw),
        kib(packed),
        kib(base),
        snapshot as f64 / before as f64
    );
    Ok(())
}

fn empty_store() -> Outcome<u64> {
    let dir = tempfile::tempdir_in("/var/tmp")?;
    LocalStore::open(dir.path(), None)?;
    Ok(used(&dir.path().join("objects"))? + used(&dir.path().join("packs"))?)
}

/// What a directory takes on the disk.
fn used(dir: &Path) -> Outcome<u64> {
    let meta = dir.symlink_metadata()?;
    let mut sum = meta.blocks() * 512;
    if meta.is_dir() {
        for entry in fs::read_dir(dir)? {
            sum += used(&entry?.path())?;
        }
    }
    Ok(sum)
}

fn found(dir: &Path, name: &OsStr) -> Outcome<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => all.extend(found(&entry.path(), name)?),
            false if entry.file_name() == name => all.push(entry.path()),
            false => {}
        }
    }
    Ok(all)
}
