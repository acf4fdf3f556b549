//! Tests of the way from a hunk to its turns and calls.

use proptest::prelude::*;

use super::*;
use crate::hunk::{Limits, hunks};

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn version(turn: u32, content: &str) -> Version {
    Version { turn, content: content.as_bytes().to_vec() }
}

fn made_by(before: &str, versions: &[Version]) -> Vec<Vec<u32>> {
    let last = versions.last().unwrap();
    let found = hunks(before.as_bytes(), &last.content, Limits::default());
    turns(before.as_bytes(), versions, &found.hunks)
        .into_iter()
        .map(|set| set.into_iter().collect())
        .collect()
}

fn text(changed: &[(usize, &str)]) -> String {
    let line = |n: usize| {
        changed.iter().find(|(at, _)| *at == n).map_or(format!("{n}\n"), |(_, with)| (*with).to_owned())
    };
    (0..40).map(line).collect()
}

#[test]
fn a_hunk_is_of_the_turn_that_wrote_it() {
    let first = text(&[(3, "one\n")]);
    let second = text(&[(3, "one\n"), (30, "two\n")]);
    let both = text(&[(3, "one\n"), (4, "two\n"), (30, "two\n")]);
    assert_eq!(made_by(&text(&[]), &[version(1, &first), version(2, &second)]), [[1], [2]]);
    let found = made_by(&text(&[]), &[version(1, &first), version(2, &second), version(3, &both)]);
    assert_eq!(found, [vec![1, 3], vec![2]]);
}

#[test]
fn what_a_turn_removed_or_undid_is_found() {
    let gone = text(&[(7, "")]);
    assert_eq!(made_by(&text(&[]), &[version(1, &text(&[])), version(2, &gone)]), [[2]]);
    let back = [version(1, &text(&[(7, "x\n"), (30, "y\n")])), version(2, &text(&[(30, "y\n")]))];
    assert_eq!(made_by(&text(&[]), &back), [[1]]);
    assert_eq!(made_by("", &[version(1, ""), version(5, "new\n")]), [[5]]);
    assert_eq!(made_by("old\n", &[version(2, "")]), [[2]]);
}

#[test]
fn what_was_there_before_is_no_turns() {
    // The human approved the first turn's part; the second's is what is left.
    let landed = text(&[(3, "one\n")]);
    let versions = [version(1, &landed), version(2, &text(&[(3, "one\n"), (30, "two\n")]))];
    assert_eq!(made_by(&landed, &versions), [[2]]);
}

#[test]
fn a_call_names_a_path_as_a_whole() {
    let call =
        |detail: &str| Call { seq: 1, turn: 1, name: "Bash".into(), detail: detail.into(), time_us: 0 };
    for (detail, expected) in [
        ("/workspace/src/a.rs", true),
        ("src/a.rs", true),
        ("./src/a.rs", true),
        ("sed -i s/x/y/ src/a.rs && cat 'src/a.rs'.", true),
        ("echo hi >src/a.rs", true),
        ("/workspace/lib/src/a.rs", false),
        ("../src/a.rs", false),
        ("src/a.rs.orig", false),
        ("xsrc/a.rs", false),
        ("src/a", false),
        ("", false),
    ] {
        assert_eq!(names(&path("src/a.rs"), "/workspace", &call(detail)), expected, "{detail}");
    }
}

proptest! {
    #[test]
    fn every_hunk_has_a_turn_that_changed_the_file(
        before in "[ab\n]{0,30}", contents in proptest::collection::vec("[ab\n]{0,30}", 1..5)
    ) {
        let versions: Vec<Version> = contents.iter().zip(1..).map(|(content, turn)| version(turn, content)).collect();
        for found in made_by(&before, &versions) {
            prop_assert!(!found.is_empty());
            for turn in found {
                let earlier = if turn == 1 { &before } else { &contents[turn as usize - 2] };
                prop_assert_ne!(earlier, &contents[turn as usize - 1]);
            }
        }
    }
}
