//! The log on a real file system: reopening, segments, failing writes and damage.

use std::fs::OpenOptions;
use std::path::PathBuf;

use super::*;

fn entry(action: &'static str) -> Entry {
    Entry { time_us: 1, action, session: None, project: None, detail: serde_json::json!({}) }
}

fn open(dir: &Path) -> JsonlAudit {
    JsonlAudit::open_with(dir, 7, 1000).unwrap()
}

fn first(dir: &Path) -> PathBuf {
    dir.join("log-000001.jsonl")
}

fn actions(log: &JsonlAudit, order: Order) -> Vec<String> {
    let mut actions = Vec::new();
    log.read(order, &mut |record| {
        actions.push(record.action);
        ControlFlow::Continue(())
    })
    .unwrap();
    actions
}

fn problems(log: &JsonlAudit) -> Vec<String> {
    log.verify().unwrap().problems
}

#[test]
fn records_survive_reopening_and_the_chain_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).append(entry("approved"), Sync::Disk).unwrap();
    let log = open(dir.path());
    log.append(entry("apply_begun"), Sync::Kernel).unwrap();
    assert_eq!(actions(&log, Order::OldestFirst), ["approved", "apply_begun"]);
    assert_eq!(problems(&log), [""; 0]);
}

#[test]
fn the_chain_goes_through_segments_which_are_read_in_both_orders() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    for _ in 0..20 {
        log.append(entry("approved"), Sync::Kernel).unwrap();
    }
    drop(log);
    let log = open(dir.path());
    for _ in 0..20 {
        log.append(entry("applied"), Sync::Kernel).unwrap();
    }
    let segments = std::fs::read_dir(dir.path()).unwrap().count() - 2;
    assert!(segments > 5, "{segments}");
    let oldest_first = actions(&log, Order::OldestFirst);
    assert_eq!(oldest_first.iter().filter(|action| *action == "segment_begun").count(), segments - 1);
    assert_eq!(oldest_first.len(), 40 + segments - 1);
    let mut newest_first = actions(&log, Order::NewestFirst);
    newest_first.reverse();
    assert_eq!(newest_first, oldest_first);
    let verdict = log.verify().unwrap();
    assert_eq!((verdict.records, verdict.problems), (oldest_first.len() as u64, Vec::new()));
    // A segment that is gone, first, between and last.
    for gone in [1, 3, segments] {
        let path = dir.path().join(format!("log-{gone:06}.jsonl"));
        let text = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(problems(&log).len(), 1, "{gone}: {:?}", problems(&log));
        std::fs::write(&path, text).unwrap();
        assert_eq!(problems(&log), [""; 0]);
    }
}

#[test]
fn opening_reads_the_last_segment_alone() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    for _ in 0..20 {
        log.append(entry("approved"), Sync::Kernel).unwrap();
    }
    drop(log);
    let text = std::fs::read(first(dir.path())).unwrap();
    std::fs::write(first(dir.path()), "not a record\n").unwrap();
    // Also without the head's help.
    std::fs::remove_file(dir.path().join("head")).unwrap();
    let log = open(dir.path());
    log.append(entry("applied"), Sync::Kernel).unwrap();
    std::fs::write(first(dir.path()), text).unwrap();
    let found = problems(&log);
    assert!(found.len() == 1 && found[0].contains("the log's head is missing"), "{found:?}");
}

#[test]
fn an_older_versions_log_is_the_first_segment() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).append(entry("approved"), Sync::Kernel).unwrap();
    std::fs::rename(first(dir.path()), dir.path().join("log.jsonl")).unwrap();
    // Its head had no padding.
    let head = std::fs::read_to_string(dir.path().join("head")).unwrap();
    std::fs::write(dir.path().join("head"), head.trim_end()).unwrap();
    let log = open(dir.path());
    log.append(entry("applied"), Sync::Kernel).unwrap();
    assert_eq!(actions(&log, Order::OldestFirst), ["approved", "applied"]);
    assert_eq!(problems(&log), [""; 0]);
    std::fs::write(dir.path().join("log.jsonl"), "").unwrap();
    assert_eq!(problems(&log), ["`log.jsonl` of an older version stands beside the segments"]);
}

#[test]
fn a_record_that_a_crash_cut_short_is_named_and_later_ones_are_readable() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).append(entry("approved"), Sync::Kernel).unwrap();
    let mut text = std::fs::read(first(dir.path())).unwrap();
    text.extend_from_slice(br#"{"seq":2,"#);
    std::fs::write(first(dir.path()), text).unwrap();
    let log = open(dir.path());
    log.append(entry("applied"), Sync::Kernel).unwrap();
    assert_eq!(actions(&log, Order::OldestFirst).last().unwrap(), "applied");
    let found = problems(&log);
    assert!(found.iter().any(|problem| problem.starts_with("record 2 cannot be read")), "{found:?}");
}

#[test]
fn a_log_that_is_shorter_than_its_head_says_stays_told_after_later_records() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    for _ in 0..3 {
        log.append(entry("approved"), Sync::Kernel).unwrap();
    }
    drop(log);
    let text = std::fs::read_to_string(first(dir.path())).unwrap();
    let cut: Vec<&str> = text.split_inclusive('\n').take(2).collect();
    std::fs::write(first(dir.path()), cut.concat()).unwrap();
    let log = open(dir.path());
    for _ in 0..3 {
        log.append(entry("applied"), Sync::Kernel).unwrap();
    }
    let told = ["before record 3: the log was truncated: it held 3 records and holds 2"];
    assert_eq!(problems(&log), told);
    drop(log);
    assert_eq!(problems(&open(dir.path())), told, "once");
}

#[test]
fn a_head_that_is_behind_is_a_crash_and_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append(entry("approved"), Sync::Kernel).unwrap();
    let head = std::fs::read(dir.path().join("head")).unwrap();
    log.append(entry("applied"), Sync::Kernel).unwrap();
    drop(log);
    std::fs::write(dir.path().join("head"), &head).unwrap();
    let log = open(dir.path());
    assert_eq!(problems(&log), [""; 0]);
    log.append(entry("undone"), Sync::Kernel).unwrap();
    assert_eq!(problems(&log), [""; 0]);
    drop(log);
    // A head that was written in part.
    std::fs::write(dir.path().join("head"), &head[..60]).unwrap();
    let log = open(dir.path());
    assert!(problems(&log)[0].contains("the log's head was changed"), "{:?}", problems(&log));
}

#[test]
fn a_write_that_fails_leaves_nothing_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append(entry("approved"), Sync::Kernel).unwrap();
    let before = std::fs::read(first(dir.path())).unwrap();
    // The kernel takes a few more bytes and then none: the file is as long as a file can be.
    let file = OpenOptions::new().write(true).open(first(dir.path())).unwrap();
    let (mut fits, mut too_long) = (0, u64::MAX >> 1);
    while too_long - fits > 1 {
        let middle = fits + (too_long - fits) / 2;
        if file.set_len(middle).is_ok() { fits = middle } else { too_long = middle }
    }
    file.set_len(fits - 10).unwrap();
    log.append(entry("lost"), Sync::Kernel).unwrap_err();
    assert_eq!(std::fs::read(first(dir.path())).unwrap(), before);
    log.append(entry("applied"), Sync::Kernel).unwrap();
    assert_eq!(actions(&log, Order::OldestFirst), ["approved", "applied"]);
    assert_eq!(problems(&log), [""; 0]);
}

#[test]
fn without_a_head_there_is_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    std::fs::create_dir(dir.path().join("head")).unwrap();
    log.append(entry("lost"), Sync::Kernel).unwrap_err();
    assert_eq!(std::fs::read(first(dir.path())).unwrap(), b"");
    std::fs::remove_dir(dir.path().join("head")).unwrap();
    log.append(entry("approved"), Sync::Kernel).unwrap();
    assert_eq!(problems(&log), [""; 0]);
}

#[test]
fn a_segment_that_cannot_be_begun_stops_appending_until_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let second = dir.path().join("log-000002.jsonl");
    std::fs::create_dir(&second).unwrap();
    let kept = (0..20).take_while(|_| log.append(entry("approved"), Sync::Kernel).is_ok()).count();
    assert!((1..20).contains(&kept), "{kept}");
    std::fs::remove_dir(&second).unwrap();
    log.append(entry("applied"), Sync::Kernel).unwrap();
    assert_eq!(log.verify().unwrap().records, kept as u64 + 2);
    assert_eq!(problems(&log), [""; 0]);
}

#[test]
fn the_files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).append(entry("approved"), Sync::Kernel).unwrap();
    for name in ["key", "log-000001.jsonl", "head"] {
        let mode = dir.path().join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
}
