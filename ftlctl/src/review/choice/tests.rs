//! Choices and what becomes of them, as tables.

use super::*;

/// A file with hunks of these tags.
fn entry(path: &str, hunks: &[&str]) -> v1::DiffEntry {
    let hunks = hunks.iter().enumerate().map(|(number, tags)| {
        let lines = tags.chars().map(|tag| v1::Line {
            tag: tag.to_string(),
            text: b"x\n".to_vec(),
            ..Default::default()
        });
        v1::Hunk { id: format!("{path}#{number}"), lines: lines.collect(), ..Default::default() }
    });
    let after = Some(v1::Node { r#type: "file".into(), ..Default::default() });
    v1::DiffEntry { path: path.into(), hunks: hunks.collect(), after, ..Default::default() }
}

fn document(entries: &[v1::DiffEntry]) -> Document {
    let mut document = Document::default();
    entries.iter().cloned().for_each(|entry| document.push(entry));
    document
}

/// The selection in short: paths, then `path:hunk[lines]`.
fn told(choices: &Choices, document: &Document) -> String {
    let selection = choices.selection(document);
    let mut told: Vec<String> =
        selection.paths.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
    for part in &selection.parts {
        for hunk in &part.hunks {
            let lines: Vec<_> =
                hunk.lines.iter().map(|line| format!("{}+{}", line.first, line.count)).collect();
            let edited = hunk.edited.as_ref().map_or("", |_| "*");
            told.push(format!("{}[{}]{edited}", hunk.hunk, lines.join(",")));
        }
    }
    told.join(" ")
}

#[test]
fn a_selection_names_what_was_chosen_and_nothing_else() {
    let (a, b) = (entry("a", &["-+", " + +"]), entry("b", &[]));
    let document = document(&[a.clone(), b.clone()]);
    let mut choices = Choices::default();
    assert_eq!(told(&choices, &document), "");
    choices.set_piece(&a, 0, 0, Choice::In);
    assert_eq!((told(&choices, &document).as_str(), choices.mark(&a)), ("a#0[]", Mark::Some));
    choices.set_piece(&a, 1, 0, Choice::In);
    assert_eq!((told(&choices, &document).as_str(), choices.mark(&a)), ("a", Mark::All(Choice::In)));
    choices.set_piece(&a, 0, 0, Choice::Out);
    assert_eq!(told(&choices, &document), "a#1[]");
    choices.set_files([&b], Choice::In);
    assert_eq!(told(&choices, &document), "b a#1[]");
    choices.set_files([&a, &b], Choice::Out);
    assert_eq!((told(&choices, &document).as_str(), choices.any_in()), ("", false));
    assert!(choices.any());
}

#[test]
fn lines_become_pieces_of_their_own() {
    let a = entry("a", &["++++++"]);
    let document = document(std::slice::from_ref(&a));
    let mut choices = Choices::default();
    choices.set_lines(&a, 0, 1..3, Choice::In);
    assert_eq!(told(&choices, &document), "a#0[1+2]");
    choices.set_lines(&a, 0, 2..5, Choice::Out);
    assert_eq!(told(&choices, &document), "a#0[1+1]");
    let pieces: Vec<_> = choices.of(&a).hunks[0].pieces.iter().map(|piece| piece.lines.clone()).collect();
    assert_eq!(pieces, [0..1, 1..2, 2..5, 5..6]);
    choices.set_lines(&a, 0, 0..6, Choice::In);
    assert_eq!(choices.of(&a).hunks[0].pieces.len(), 1);
    assert_eq!(told(&choices, &document), "a");
}

#[test]
fn a_hunk_is_split_where_nothing_changed() {
    let table: [(&str, &[Range<usize>]); 5] =
        [(" + +", &[0..3, 3..4]), ("-+ -+ +", &[0..3, 3..6, 6..7]), ("+ ", &[]), ("  +", &[]), ("-+", &[])];
    for (tags, expected) in table {
        let a = entry("a", &[tags]);
        let mut choices = Choices::default();
        assert_eq!(choices.split(&a, 0, 0), !expected.is_empty(), "{tags:?}");
        let pieces = choices.of(&a).hunks[0].pieces.clone();
        if !expected.is_empty() {
            let lines: Vec<_> = pieces.into_iter().map(|piece| piece.lines).collect();
            assert_eq!(lines, expected, "{tags:?}");
        }
    }
}

#[test]
fn an_edited_hunk_is_a_part_and_goes_when_it_is_left_out() {
    let a = entry("a", &["-+"]);
    let document = document(std::slice::from_ref(&a));
    let mut choices = Choices::default();
    choices.edit(&a, 0, b"mine\n".to_vec());
    assert_eq!(told(&choices, &document), "a#0[]*");
    assert!(!choices.split(&a, 0, 0));
    choices.set_piece(&a, 0, 0, Choice::Out);
    choices.set_piece(&a, 0, 0, Choice::In);
    assert_eq!(told(&choices, &document), "a");
}

#[test]
fn every_change_can_be_taken_back() {
    let a = entry("a", &["-+ +"]);
    let document = document(std::slice::from_ref(&a));
    let mut choices = Choices::default();
    choices.split(&a, 0, 0);
    choices.set_piece(&a, 0, 1, Choice::In);
    choices.edit(&a, 0, b"x".to_vec());
    let steps: Vec<_> = std::iter::from_fn(|| {
        let told = told(&choices, &document);
        choices.undo().then_some(told)
    })
    .collect();
    assert_eq!(steps, ["a#0[]*", "a#0[3+1]", ""]);
    assert!(!choices.any());
}

#[test]
fn a_directory_is_named_only_with_everything_beneath_it() {
    let mut dir = entry("d", &[]);
    dir.after = Some(v1::Node { r#type: "directory".into(), ..Default::default() });
    let (one, other) = (entry("d/one", &["+"]), entry("d/other", &["+"]));
    let document = document(&[dir.clone(), one.clone(), other.clone()]);
    let mut choices = Choices::default();
    choices.set_files([&dir, &one], Choice::In);
    assert_eq!(told(&choices, &document), "d/one");
    choices.set_files([&other], Choice::In);
    assert_eq!(told(&choices, &document), "d d/one d/other");
}

#[test]
fn choices_outlive_a_reload_where_the_hunks_are_the_same() {
    let (a, b) = (entry("a", &["+", "-"]), entry("b", &["+"]));
    let mut choices = Choices::default();
    choices.set_piece(&a, 1, 0, Choice::In);
    choices.set_files([&b], Choice::In);
    let mut changed = b.clone();
    changed.hunks[0].id = "another".into();
    let after = document(&[a, changed]);
    assert_eq!(choices.keep_what_fits(&after), 1);
    assert_eq!(told(&choices, &after), "a#1[]");
    assert_eq!(choices.progress(&after), (1, 1));
}

#[test]
fn what_was_chosen_of_other_bytes_does_not_stay() {
    let node = |mode, blake3: &str| {
        let (kind, blake3) = ("file".into(), blake3.into());
        Some(v1::Node { r#type: kind, mode, blake3, ..Default::default() })
    };
    let binary = v1::DiffEntry {
        before: node(0o644, "0"),
        after: node(0o644, "1"),
        kind: v1::EntryKind::Binary.into(),
        ..entry("a", &[])
    };
    let link = |target: &str| v1::DiffEntry {
        after: Some(v1::Node { r#type: "symlink".into(), target: target.into(), ..Default::default() }),
        kind: v1::EntryKind::Symlink.into(),
        ..entry("a", &[])
    };
    let lines = v1::DiffEntry { before: node(0o644, "0"), after: node(0o644, "1"), ..entry("a", &["-+"]) };
    let table = [
        (binary.clone(), v1::DiffEntry { after: node(0o644, "2"), ..binary.clone() }),
        (binary.clone(), v1::DiffEntry { before: node(0o644, "2"), ..binary.clone() }),
        (binary.clone(), v1::DiffEntry { kind: v1::EntryKind::Mode.into(), ..binary.clone() }),
        (link("b"), link("c")),
        (lines.clone(), v1::DiffEntry { after: node(0o755, "1"), ..lines.clone() }),
        (lines.clone(), v1::DiffEntry { needs_naming: true, ..lines.clone() }),
        (lines.clone(), v1::DiffEntry { renamed_from: b"b".to_vec(), ..lines }),
    ];
    for (before, after) in table {
        for (now, gone) in [(before.clone(), 0), (after, 1)] {
            let mut choices = Choices::default();
            choices.set_files([&before], Choice::In);
            let document = document(std::slice::from_ref(&now));
            assert_eq!(choices.keep_what_fits(&document), gone, "{before:?} {now:?}");
            assert_eq!(told(&choices, &document), if gone == 0 { "a" } else { "" });
        }
    }
}
