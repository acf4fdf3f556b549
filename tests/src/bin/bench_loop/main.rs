//! The whole loop of a task, beside the way an earlier system went about it.
//!
//!     cargo build --release && cargo run --release -p ftl-tests --bin bench_loop -- [--image NAME] [FILES...]
//!
//! Owns what is measured; `ftl_tests::earlier` is the way that it is compared with. The rows are those of the table
//! that FTL v1 published: trees of files of about one KiB, snapshot, prepare, diff of nothing and of five
//! changed files, and the warm loop of prepare, edit and diff. With `--image` the earlier way goes through a
//! container of that image on the engine that `docker` reaches, as it did; it must have `sh` and `python3`.
//! Without, it runs on this machine itself, which is quicker than it ever was. Needs `rsync` and `python3`.

use std::path::{Path, PathBuf};

use ftl_proto::v1::event::Kind;
use ftl_tests::earlier::rows::{RUNS, diff_rows, earlier_takes, ours_takes, prepare_row, whole_row};
use ftl_tests::earlier::{EDIT, Earlier, make_tree, print_published};
use ftl_tests::measure::{self, Outcome, Place, append, median, row, timed};

/// Files of the trees, when none are named: those of the published table, and one that is a project's.
const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let (mut image, mut sizes) = (None, Vec::new());
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--image" => image = Some(args.next().ok_or("--image needs a name")?),
            size => sizes.push(size.parse()?),
        }
    }
    let sizes = if sizes.is_empty() { SIZES.to_vec() } else { sizes };
    let scratch = tempfile::tempdir_in("/var/tmp")?;
    measure::head();
    for size in sizes {
        let tree = scratch.path().join(format!("tree-{size}"));
        let files = make_tree(&tree, size)?;
        let earlier =
            Earlier::new(&tree, &scratch.path().join(format!("earlier-{size}")), image.as_deref(), None)?;
        rows(&tree, &files, &earlier)?;
    }
    print_published();
    Ok(())
}

fn rows(tree: &Path, files: &[PathBuf], earlier: &Earlier) -> Outcome<()> {
    let size = files.len();
    let place = Place::new(tree)?;
    let named = |what: &str| format!("{what}, {size} files");

    let first = timed(|| place.snapshot())?;
    let theirs = earlier_takes("snapshot", || earlier.snapshot())?;
    row(&named("snapshot, the first"), first, "rsync of everything, manifest", theirs);
    let some: Vec<&PathBuf> = files.iter().take(5).collect();
    let project = place.world.project();
    let again = median((0..RUNS).map(|_| append(&project, &some).and_then(|()| timed(|| place.snapshot()))))?;
    row(&named("snapshot, 5 changed"), again, "the same", theirs);
    let unchanged = median((0..RUNS).map(|_| timed(|| place.snapshot())))?;
    row(&named("snapshot, nothing changed"), unchanged, "the same", theirs);

    let ready = ours_takes("prepare", || {
        timed(|| place.until(&place.start("echo ready")?, |kind| matches!(kind, Kind::Output(_))).map(drop))
    })?;
    prepare_row(&named("prepare (create to first output)"), ready, earlier)?;
    diff_rows(&place, earlier, size)?;

    let ours = ours_takes("warm loop", || {
        timed(|| {
            place.snapshot()?;
            let session = place.start(EDIT)?;
            place.until_idle(&session)?;
            place.diff(&session)
        })
    })?;
    let prepared = earlier_takes("prepare, edit, diff", || {
        earlier.prepare()?;
        earlier.edit(EDIT)?;
        earlier.diff()
    })?;
    row(&named("warm loop (ours with its snapshot)"), ours, "prepare, edit, diff", prepared);
    whole_row("", ours, earlier)
}
