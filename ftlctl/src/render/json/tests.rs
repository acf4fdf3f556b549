//! The shapes that others rely on, spelt out.

use super::*;

fn file(mode: u32, size: u64) -> v1::Node {
    v1::Node { r#type: "file".into(), mode, size, blake3: "ab".into(), target: Vec::new() }
}

#[test]
fn a_diff_has_the_documented_shape() {
    let header = v1::DiffHeader {
        session: "s-1".into(),
        base: "b".into(),
        digest: "d".into(),
        entries: 2,
        ignored: 3,
        ..Default::default()
    };
    let line =
        |tag: &str, text: &[u8]| v1::Line { tag: tag.into(), text: text.to_vec(), changed: Vec::new() };
    let hunk = v1::Hunk {
        id: "h1".into(),
        old_start: 1,
        old_lines: 1,
        new_start: 1,
        new_lines: 1,
        lines: vec![line("-", b"old\n"), line("+", b"n\xff\n")],
    };
    let entries = [
        v1::DiffEntry {
            path: b"a\xff".to_vec(),
            kind: v1::EntryKind::Modified.into(),
            risks: vec!["executable".into()],
            before: Some(file(0o644, 4)),
            after: Some(file(0o755, 3)),
            hunks: vec![hunk],
            added_lines: 1,
            removed_lines: 1,
            ..Default::default()
        },
        v1::DiffEntry {
            path: b".git/hooks/x".to_vec(),
            kind: v1::EntryKind::Refused.into(),
            reason: "inside .git".into(),
            after: Some(v1::Node {
                r#type: "symlink".into(),
                mode: 0o777,
                target: b"/etc".to_vec(),
                ..Default::default()
            }),
            ..Default::default()
        },
    ];
    let expected = json!({
        "session": "s-1", "base": "b", "digest": "d", "ignored": 3, "unread": [],
        "conflicts": 0, "merged": 0, "findings": 0, "left_out": [],
        "entries": [
            {
                "path": "a\u{fffd}", "path_bytes": "Yf8=", "kind": "modified", "change": "modified",
                "risk": ["executable"], "risk_reasons": [], "needs_naming": false, "added_lines": 1, "removed_lines": 1,
                "before": {"type": "file", "mode": "0644", "size": 4, "blake3": "ab"},
                "after": {"type": "file", "mode": "0755", "size": 3, "blake3": "ab"},
                "hunks": [{
                    "id": "h1", "old_start": 1, "old_lines": 1, "new_start": 1, "new_lines": 1,
                    "lines": [
                        {"tag": "-", "text": "old\n"},
                        {"tag": "+", "text": "n\u{fffd}\n", "text_bytes": "bv8K"},
                    ],
                }],
            },
            {
                "path": ".git/hooks/x", "kind": "refused", "change": "added", "reason": "inside .git",
                "risk": [], "risk_reasons": [], "needs_naming": false, "added_lines": 0, "removed_lines": 0,
                "after": {"type": "symlink", "mode": "0777", "target": "/etc"},
            },
        ],
    });
    assert_eq!(diff(&header, &entries), expected);
}

#[test]
fn an_event_line_has_seq_time_and_type() {
    let stage = v1::StageFinished { stage: "snapshot".into(), elapsed_us: 12_000 };
    let event = v1::Event {
        session: "s-1".into(),
        seq: 4,
        time_us: 1_700_000_000_000_001,
        kind: Some(Kind::StageFinished(stage)),
    };
    assert_eq!(
        super::event(&event),
        json!({"seq": 4, "time": "2023-11-14T22:13:20.000001Z", "type": "stage_finished", "session": "s-1",
               "stage": "snapshot", "elapsed_us": 12_000})
    );
    let later = v1::Event { kind: None, ..event };
    assert_eq!(super::event(&later)["type"], "unknown");
}

#[test]
fn output_that_is_not_text_is_carried_exactly() {
    let output = v1::Output { data: vec![b'a', 0xff], stderr: true };
    let event = v1::Event { kind: Some(Kind::Output(output)), ..Default::default() };
    let value = super::event(&event);
    assert_eq!(
        (&value["data"], &value["data_bytes"], &value["stderr"]),
        (&json!("a\u{fffd}"), &json!("Yf8="), &json!(true))
    );
}

#[test]
fn the_last_line_names_a_digest_only_when_there_is_one() {
    let mut session =
        v1::Session { session: "s-1".into(), state: v1::State::NoChanges.into(), ..Default::default() };
    assert_eq!(outcome(&session), json!({"session": "s-1", "state": "no_changes"}));
    session.set_state(v1::State::AwaitingReview);
    session.digest = "d".into();
    assert_eq!(outcome(&session), json!({"session": "s-1", "state": "awaiting_review", "digest": "d"}));
}

#[test]
fn a_session_has_every_documented_key() {
    let value = session(&v1::Session::default());
    for key in
        ["session", "project", "agent", "sandbox", "state", "base", "digest", "task", "created", "updated"]
    {
        assert!(value.get(key).is_some(), "{key}");
    }
}

#[test]
fn the_detail_of_a_record_is_a_value() {
    let record =
        |detail: &str| super::record(&v1::LogRecord { detail_json: detail.into(), ..Default::default() });
    assert_eq!(record("{\"a\":1}")["detail"], json!({"a": 1}));
    assert_eq!(record("no json")["detail"], json!("no json"));
}

#[test]
fn what_happens_to_a_hidden_file_is_told_although_it_is_not_shown() {
    let some = || Some(v1::Node { r#type: "file".into(), ..Default::default() });
    let entry =
        |hidden_before, before, after| v1::DiffEntry { hidden_before, before, after, ..Default::default() };
    assert_eq!(change(&entry(true, None, some())), "modified");
    assert_eq!(change(&entry(true, None, None)), "deleted");
    assert_eq!(change(&entry(false, None, some())), "added");
    assert_eq!(change(&entry(false, some(), None)), "deleted");
    assert_eq!(change(&entry(false, some(), some())), "modified");
}
