//! A diff with something of everything, for tests.

use ftl_proto::v1;

use crate::review::state::State;

/// A hunk of lines that begin with their tag.
pub(super) fn hunk(id: &str, start: u64, lines: &[&str]) -> v1::Hunk {
    let lines: Vec<_> = lines
        .iter()
        .map(|line| {
            let (tag, text) = line.split_at(1);
            let text = text.strip_suffix("\\").map_or_else(|| format!("{text}\n"), str::to_owned);
            v1::Line { tag: tag.to_owned(), text: text.into_bytes(), changed: Vec::new() }
        })
        .collect();
    let count = |without: &str| lines.iter().filter(|line| line.tag != without).count() as u64;
    v1::Hunk {
        id: id.to_owned(),
        old_start: start,
        old_lines: count("+"),
        new_start: start,
        new_lines: count("-"),
        lines,
    }
}

/// A text file with these hunks.
pub(super) fn file(path: &str, kind: v1::EntryKind, hunks: Vec<v1::Hunk>) -> v1::DiffEntry {
    let lines =
        |tag: &str| hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.tag == tag).count() as u64;
    let node = || {
        Some(v1::Node {
            r#type: "file".into(),
            mode: 0o644,
            size: 10,
            blake3: "cd34".repeat(16),
            ..Default::default()
        })
    };
    v1::DiffEntry {
        path: path.as_bytes().to_vec(),
        kind: kind.into(),
        before: if kind == v1::EntryKind::Added { None } else { node() },
        after: if kind == v1::EntryKind::Deleted { None } else { node() },
        added_lines: lines("+"),
        removed_lines: lines("-"),
        hunks,
        ..Default::default()
    }
}

/// The entries.
pub(super) fn entries() -> Vec<v1::DiffEntry> {
    use v1::EntryKind::{Added, Binary, Deleted, Modified, Refused, Symlink};
    let mut main = vec![
        hunk(
            "h1",
            10,
            &[" fn main() {", "-    let port = 80;", "+    let port = 8080;", "+\tstart(port); ", " }"],
        ),
        hunk("h2", 40, &[" /* one", "+   two */", " let s = \"text\";", "-old()", "+new()", " end\\"]),
    ];
    main[0].lines[1].changed = vec![v1::Span { start: 15, end: 17 }];
    main[0].lines[2].changed = vec![v1::Span { start: 15, end: 19 }];
    let hostile = hunk(
        "h3",
        1,
        &[
            "+\u{1b}[2Jcleared?",
            "+if is_\u{430}dmin { /* \u{202e} } */",
            "+crlf\r",
            "+zero\u{200b}width 漢字\\",
        ],
    );
    let mut ci = file(".github/workflows/ci.yml", Added, vec![hunk("h4", 1, &["+on: push", "+run: make"])]);
    ci.risks = vec!["ci".into()];
    ci.risk_reasons = vec!["runs on the project's CI".into()];
    ci.needs_naming = true;
    let mut key = file("config.toml", Modified, vec![hunk("h5", 3, &[" a = 1", "+key = \"AKIA…\""])]);
    key.findings = vec![v1::Finding {
        id: "f1".into(),
        class: "vendor-key".into(),
        line: 4,
        message: "looks like a key of AWS".into(),
        holds: true,
        ..Default::default()
    }];
    let mut logo = file("assets/logo.png", Binary, Vec::new());
    logo.after = Some(v1::Node {
        r#type: "file".into(),
        mode: 0o644,
        size: 4096,
        blake3: "ab12".repeat(16),
        ..Default::default()
    });
    let mut link = file("link", Symlink, Vec::new());
    link.before = None;
    link.after =
        Some(v1::Node { r#type: "symlink".into(), target: b"../elsewhere".to_vec(), ..Default::default() });
    let mut refused = file(".git/config", Refused, Vec::new());
    refused.reason = "it is the repository's own configuration".into();
    vec![
        refused,
        ci,
        logo,
        key,
        link,
        file("src/evil\u{202e}.rs", Added, vec![hostile]),
        file("src/main.rs", Modified, main),
        file("src/old.rs", Deleted, vec![hunk("h6", 1, &["-gone", "-too"])]),
    ]
}

/// A review of the entries at this size.
pub(super) fn state(columns: u16, rows: u16) -> State {
    let session = v1::Session {
        session: "s-bcdfghjkmn".into(),
        project: b"/home/me/shop".to_vec(),
        task: "make the port configurable\nand more".into(),
        digest: "3f1a9c0d22b7".repeat(5),
        ..Default::default()
    };
    let entries = entries();
    let header = v1::DiffHeader {
        session: session.session.clone(),
        digest: session.digest.clone(),
        entries: entries.len() as u64,
        ..Default::default()
    };
    let mut state = State::new(session, header, (columns, rows));
    entries.into_iter().for_each(|entry| state.push(entry));
    state.document.is_complete = true;
    state.list_again();
    state
}

/// What the daemon would say of the chosen paths.
pub(super) fn preview(state: &State) -> (v1::DiffHeader, Vec<v1::DiffEntry>) {
    let selection = state.choices.selection(&state.document);
    let parts = selection.parts.iter().map(|part| part.path.as_slice());
    let chosen: Vec<&[u8]> = selection.paths.iter().map(Vec::as_slice).chain(parts).collect();
    let mut entries = state.document.entries.clone();
    entries.retain(|entry| chosen.contains(&entry.path.as_slice()));
    entries.iter_mut().for_each(|entry| entry.hunks.clear());
    let header = v1::DiffHeader {
        digest: "c0ffee".repeat(10),
        whole: state.document.header.digest.clone(),
        entries: entries.len() as u64,
        ..Default::default()
    };
    (header, entries)
}
