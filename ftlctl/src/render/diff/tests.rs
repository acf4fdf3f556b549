//! Diffs in, text out.

use super::*;

fn node(kind: &str, mode: u32, size: u64, hash: &str, target: &[u8]) -> Option<v1::Node> {
    Some(v1::Node { r#type: kind.into(), mode, size, blake3: hash.into(), target: target.to_vec() })
}

fn entry(path: &[u8], kind: v1::EntryKind) -> v1::DiffEntry {
    v1::DiffEntry { path: path.to_vec(), kind: kind.into(), ..Default::default() }
}

fn text_entry(lines: &[(&str, &[u8])]) -> v1::DiffEntry {
    let lines = lines
        .iter()
        .map(|(tag, text)| v1::Line { tag: (*tag).into(), text: text.to_vec(), changed: Vec::new() })
        .collect();
    let hunk = v1::Hunk { id: "h".into(), old_start: 1, old_lines: 2, new_start: 1, new_lines: 2, lines };
    v1::DiffEntry {
        before: node("file", 0o644, 1, "a", b""),
        after: node("file", 0o644, 1, "b", b""),
        hunks: vec![hunk],
        added_lines: 1,
        removed_lines: 1,
        ..entry(b"src/main.rs", v1::EntryKind::Modified)
    }
}

fn header(digest: &str) -> v1::DiffHeader {
    v1::DiffHeader { session: "s-1".into(), digest: digest.into(), ..Default::default() }
}

fn shown(entries: &[v1::DiffEntry]) -> String {
    diff(&header(""), entries, Depth::Full, Style::Plain)
}

#[test]
fn a_text_change_is_unified() {
    let entry = text_entry(&[(" ", b"same\n"), ("-", b"old\n"), ("+", b"new")]);
    assert_eq!(
        diff(&header("abcdef"), &[entry], Depth::Full, Style::Plain),
        "modified src/main.rs  +1 -1\n@@ -1,2 +1,2 @@ hunk 1\n same\n-old\n+new\n\\ No newline at end of file\n\n\
         1 change\ndigest  abcdef"
    );
}

#[test]
fn stat_leaves_the_hunks_out() {
    let entry = text_entry(&[("+", b"new\n")]);
    assert_eq!(
        diff(&header(""), &[entry], Depth::Stat, Style::Plain),
        "modified src/main.rs  +1 -1\n\n1 change"
    );
}

#[test]
fn every_kind_says_what_cannot_be_seen() {
    let table = [
        (
            v1::DiffEntry {
                before: node("file", 0o644, 9, "a", b""),
                after: node("file", 0o755, 9, "a", b""),
                risks: vec!["executable".into()],
                ..entry(b"run.sh", v1::EntryKind::Mode)
            },
            "modified run.sh (mode)  [executable]\n  mode 0644 → 0755",
        ),
        (
            v1::DiffEntry {
                after: node("symlink", 0o777, 0, "", b"../\x1b[2Jx"),
                ..entry(b"link", v1::EntryKind::Symlink)
            },
            "added    link (symlink)\n  now a link to ../\\x1b[2Jx",
        ),
        (
            v1::DiffEntry {
                before: node("file", 0o644, 100, "aaaaaaaaaaaaaaaa", b""),
                after: node("file", 0o644, 2048, "bbbbbbbbbbbbbbbb", b""),
                elided: "not text".into(),
                ..entry(b"logo.png", v1::EntryKind::Binary)
            },
            "modified logo.png (binary)\n  was 100 B, blake3 aaaaaaaaaaaa\n  now 2.0 KiB, blake3 bbbbbbbbbbbb\n  not shown: not text",
        ),
        (
            v1::DiffEntry {
                before: node("file", 0o644, 1, "a", b""),
                after: node("symlink", 0o777, 0, "", b"t"),
                ..entry(b"swap", v1::EntryKind::Symlink)
            },
            "modified swap (symlink)\n  type file → symlink\n  now a link to t",
        ),
        (
            v1::DiffEntry {
                after: node("directory", 0o755, 0, "", b""),
                ..entry(b"d", v1::EntryKind::Added)
            },
            "added    d\n  directory",
        ),
        (
            v1::DiffEntry {
                before: node("file", 0o600, 0, "", b""),
                ..entry(b"gone", v1::EntryKind::Deleted)
            },
            "deleted  gone",
        ),
        (
            v1::DiffEntry {
                reason: "it is inside .git".into(),
                after: node("fifo", 0o644, 0, "", b""),
                ..entry(b".git/p", v1::EntryKind::Refused)
            },
            "added    .git/p (refused)\n  refused, never applied: it is inside .git",
        ),
    ];
    for (entry, expected) in table {
        let text = shown(&[entry]);
        assert!(text.starts_with(&format!("{expected}\n\n")), "{text}\n--- wanted\n{expected}");
    }
}

#[test]
fn a_name_cannot_fake_a_second_entry() {
    let text = shown(&[entry(b"a\nadded    b\r\x1b[A\xff", v1::EntryKind::Added)]);
    assert_eq!(text.lines().next().unwrap(), "modified a\\nadded    b\\r\\x1b[A\\xff");
}

#[test]
fn long_lines_are_cut_and_counted() {
    let text = shown(&[text_entry(&[("+", &[[b'x'; 600].as_slice(), b"\n"].concat())])]);
    assert!(text.contains("x…+100 characters\n"), "{text}");
    assert!(text.ends_with("1 line was cut at 500 columns; --json has them whole"), "{text}");
}

#[test]
fn carriage_returns_and_trailing_space_are_seen() {
    let entry = text_entry(&[("+", b"crlf\r\n"), ("+", b"tail \t\n")]);
    assert!(shown(std::slice::from_ref(&entry)).contains("+crlf\\r\n"));
    let colored = diff(&header(""), &[entry], Depth::Full, Style::Color);
    assert!(colored.contains("\x1b[32m+tail\x1b[0m\x1b[30;43m \t\x1b[0m\n"), "{colored:?}");
}

#[test]
fn the_summary_counts_what_is_left_out() {
    let entries = [entry(b"a", v1::EntryKind::Added), entry(b"b", v1::EntryKind::Refused)];
    let header = v1::DiffHeader { ignored: 1, unread: Vec::new(), ..header("") };
    let text = diff(&header, &entries, Depth::Stat, Style::Plain);
    assert!(
        text.contains("1 change, 1 refused; 1 ignored path also changed and will not be applied\n"),
        "{text}"
    );
    assert_eq!(shown(&[]), "no changes");
    let refused = shown(&entries[1..]);
    assert!(refused.ends_with("0 changes, 1 refused\nnothing here can be approved"), "{refused}");
}

#[test]
fn a_preview_says_what_is_joined_what_conflicts_and_what_holds_it() {
    let conflict = v1::Conflict {
        number: 1,
        line: 7,
        base: b"old\n".to_vec(),
        ours: b"mine\n".to_vec(),
        theirs: b"theirs\x1b\n".to_vec(),
        ..Default::default()
    };
    let finding = v1::Finding {
        id: "f0".into(),
        class: "secret".into(),
        line: 3,
        message: "the real value of KEY".into(),
        holds: true,
        accepted: String::new(),
    };
    let entry = v1::DiffEntry {
        merged: true,
        conflicts: vec![conflict],
        findings: vec![finding],
        needs_naming: true,
        risks: vec!["executable".into()],
        risk_reasons: vec!["it can now be run as a program".into()],
        ..text_entry(&[("+", b"new\n")])
    };
    let left = v1::LeftAlone { path: b"run".to_vec(), reason: "it runs".into() };
    let header = v1::DiffHeader { conflicts: 1, findings: 1, left_out: vec![left], ..header("") };
    assert_eq!(
        diff(&header, &[entry], Depth::Part, Style::Plain),
        "modified src/main.rs  +1 -1  [executable]\n\
         \x20 must be named to be approved; executable: it can now be run as a program\n\
         \x20 finding f0 (secret) in line 3: the real value of KEY; it holds the approval until it is accepted\n\
         \x20 joined with your own edits since the session began\n\
         @@ -1,2 +1,2 @@\n+new\n\
         conflict 1 at line 7; decide with --ours, --theirs or --both src/main.rs:1\n\
         <<<<<<< yours\n mine\n||||||| what the session began with\n old\n\
         ======= the session's\n theirs\\x1b\n>>>>>>>\n\n\
         1 change\nleft out: run must be named (it runs)\n\
         1 finding holds the approval; let one pass with --accept ID='why'\n\
         1 path has conflicts that wait for a decision; nothing can be approved"
    );
}
