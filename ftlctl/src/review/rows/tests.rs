//! Rows of small hunks, as tables.

use super::*;
use crate::review::choice::Choices;

fn hunk(tags: &str) -> v1::Hunk {
    let line = |(at, tag): (usize, char)| v1::Line {
        tag: tag.to_string(),
        text: format!("line {at}\n").into_bytes(),
        changed: Vec::new(),
    };
    let lines = tags.chars().enumerate().map(line).collect();
    v1::Hunk { id: tags.into(), old_start: 10, new_start: 20, lines, ..Default::default() }
}

fn entry(hunks: &[&str]) -> v1::DiffEntry {
    v1::DiffEntry {
        path: b"a".to_vec(),
        hunks: hunks.iter().map(|tags| hunk(tags)).collect(),
        ..Default::default()
    }
}

/// Rows in short: `@` with hunk and part, numbers of both sides.
fn told(entry: &v1::DiffEntry, choices: &Choices, side_by_side: bool, folded: &[usize]) -> String {
    let folded = folded.iter().copied().collect();
    let index = Index::build(
        entry,
        &choices.of(entry),
        Plan { side_by_side, folded: &folded, width: 80, session: "s-1" },
    );
    let number = |place: Option<Place>| place.map_or("-".to_owned(), |place| place.number.to_string());
    let rows = index.rows.iter().map(|row| match row {
        Row::Fact(_) => "fact".to_owned(),
        Row::Head { hunk, piece } => format!("@{hunk}.{piece}"),
        Row::Line { old, new, .. } => format!("{}/{}", number(*old), number(*new)),
        Row::Pair { old, new, .. } => format!("{}|{}", number(*old), number(*new)),
    });
    rows.collect::<Vec<_>>().join(" ")
}

#[test]
fn lines_stand_under_or_beside_one_another() {
    let none = Choices::default();
    let table: [(&str, &str, &str); 4] = [
        (" -+ ", "@0.0 10/20 11/- -/21 12/22", "@0.0 10|20 11|21 12|22"),
        ("--+", "@0.0 10/- 11/- -/20", "@0.0 10|20 11|-"),
        ("++", "@0.0 -/20 -/21", "@0.0 -|20 -|21"),
        ("-+-+", "@0.0 10/- -/20 11/- -/21", "@0.0 10|20 11|21"),
    ];
    for (tags, unified, beside) in table {
        let entry = entry(&[tags]);
        assert_eq!(told(&entry, &none, false, &[]), unified, "{tags}");
        assert_eq!(told(&entry, &none, true, &[]), beside, "{tags}");
    }
}

#[test]
fn a_folded_hunk_is_its_heading() {
    let entry = entry(&["-+", "+"]);
    assert_eq!(told(&entry, &Choices::default(), false, &[0]), "@0.0 @1.0 -/20");
}

#[test]
fn parts_have_headings_and_numbers_go_on() {
    let entry = entry(&["+ +"]);
    let mut choices = Choices::default();
    choices.split(&entry, 0, 0);
    assert_eq!(told(&entry, &choices, false, &[]), "@0.0 -/20 10/21 @0.1 -/22");
}

#[test]
fn what_was_typed_stands_in_place_of_the_lines() {
    let entry = entry(&[" -+"]);
    let mut choices = Choices::default();
    choices.edit(&entry, 0, b"line 0\nmine\nand more\n".to_vec());
    assert_eq!(told(&entry, &choices, false, &[]), "@0.0 10/20 11/- -/21 -/22");
    let folded = HashSet::new();
    let index = Index::build(
        &entry,
        &choices.of(&entry),
        Plan { side_by_side: false, folded: &folded, width: 80, session: "s-1" },
    );
    assert_eq!(index.lines(&entry, 0)[3].text, b"and more\n");
    assert!(index.is_typed(0));
}

#[test]
fn rows_are_found_by_their_lines() {
    let entry = entry(&["-+", " +"]);
    let folded = HashSet::from([1]);
    let choices = Choices::default().of(&entry);
    let index = Index::build(
        &entry,
        &choices,
        Plan { side_by_side: false, folded: &folded, width: 80, session: "s-1" },
    );
    assert_eq!((index.find(0, 1), index.find(1, 1), index.find(2, 0)), (Some(2), Some(3), None));
    assert_eq!((index.part_at(2), index.part_at(3)), (Some((0, 0)), Some((1, 0))));
}

#[test]
fn whatever_is_not_a_line_is_said() {
    let entry = v1::DiffEntry {
        kind: v1::EntryKind::Refused.into(),
        reason: "it is \u{1b}[2J".into(),
        risks: vec!["ci".into()],
        risk_reasons: vec!["runs later".into()],
        elided: "too large".into(),
        needs_naming: true,
        ..Default::default()
    };
    let facts = facts(&entry, "s-1");
    let texts: Vec<_> = facts.iter().map(|fact| fact.text.as_str()).collect();
    assert_eq!(texts[0], "refused, never applied: it is \\x1b[2J");
    assert_eq!(texts[1], "! ci: runs later");
    assert!(texts.iter().any(|text| text.contains("no lines: too large")), "{texts:?}");
    let long =
        Fact { weight: Weight::Plain, text: "one two three four five sixsevenEightNineTenEleven".into() };
    let rows: Vec<_> = wrapped(long, 16).into_iter().map(|fact| fact.text).collect();
    assert_eq!(rows, ["one two three ", "  four five ", "  sixsevenEightN", "  ineTenEleven"]);
}
