//! Rows that every comparison with the earlier way has: its slow steps, timed as often as there is time for.
//!
//! Owns how often each side is run, and what is told meanwhile. Must not know which sandbox ours is.

use std::time::{Duration, Instant};

use super::{EDIT, Earlier};
use crate::measure::{Outcome, Place, median, row, shown, timed};

/// Runs of ours.
pub const RUNS: usize = 11;
/// Runs of the earlier way, when they are quick.
const LONG_RUNS: usize = 3;
/// Once its runs have taken so long together, there are no more of them.
const LONG_ENOUGH: Duration = Duration::from_secs(20);

/// The time in the middle of the earlier way's runs; of a step that takes minutes there is one. `what` is told
/// beforehand on standard error, and afterwards how long it took.
///
/// # Errors
/// The first of a run.
pub fn earlier_takes(what: &str, mut work: impl FnMut() -> Outcome<()>) -> Outcome<Duration> {
    eprintln!("  the earlier way: {what} ...");
    let begun = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || (times.len() < LONG_RUNS && begun.elapsed() < LONG_ENOUGH) {
        times.push(timed(&mut work));
    }
    let runs = times.len();
    let time = median(times)?;
    eprintln!("  the earlier way: {what}: {} in {runs} runs", shown(time));
    Ok(time)
}

/// The time in the middle of our runs, told as [`earlier_takes`] does.
///
/// # Errors
/// The first of a run.
pub fn ours_takes(what: &str, mut work: impl FnMut() -> Outcome<Duration>) -> Outcome<Duration> {
    eprintln!("  ours: {what} ...");
    let (begun, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || (times.len() < RUNS && begun.elapsed() < LONG_ENOUGH) {
        times.push(work());
    }
    let runs = times.len();
    let time = median(times)?;
    eprintln!("  ours: {what}: {} in {runs} runs", shown(time));
    Ok(time)
}

/// The row of preparing: `ours` is from a task's beginning to its first output.
///
/// # Errors
/// When the earlier way's step fails.
pub fn prepare_row(what: &str, ours: Duration, earlier: &Earlier) -> Outcome<()> {
    let theirs = earlier_takes("prepare", || earlier.prepare())?;
    row(what, ours, "wipe and copy", theirs);
    Ok(())
}

/// The rows of a diff of nothing, and of five changed files.
///
/// # Errors
/// When a step of either side fails.
pub fn diff_rows(place: &Place, earlier: &Earlier, size: usize) -> Outcome<()> {
    for (what, script) in [("diff, nothing changed", "true"), ("diff, 5 changed", EDIT)] {
        let ours = ours_takes(what, || place.diff_time(script, script == EDIT))?;
        earlier.prepare()?;
        earlier.edit(script)?;
        let theirs = earlier_takes(what, || earlier.diff())?;
        row(&format!("{what}, {size} files"), ours, "walk, read all, send, compare", theirs);
    }
    Ok(())
}

/// The row of a whole task, `ours` with its snapshot.
///
/// # Errors
/// When a step of the earlier way fails.
pub fn whole_row(what: &str, ours: Duration, earlier: &Earlier) -> Outcome<()> {
    let theirs = earlier_takes("snapshot, prepare, edit, diff", || {
        earlier.snapshot()?;
        earlier.prepare()?;
        earlier.edit(EDIT)?;
        earlier.diff()
    })?;
    row(what, ours, "snapshot, prepare, edit, diff", theirs);
    Ok(())
}
