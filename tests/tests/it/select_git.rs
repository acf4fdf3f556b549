//! Chosen hunks and lines beside git: what they make is what `git apply` makes of the same patch.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use ftl_core::hunk::{self, Hunk, Limits, Tag};
use ftl_core::select::{self, Choice, HunkName};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

/// One file with one patch.
struct Case {
    before: Vec<u8>,
    patch: Vec<u8>,
    made: Vec<u8>,
}

/// Lines that repeat, lines that do not, other line ends, no UTF-8, and maybe no end of the last line.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => "[a-z]{1,6}\n",
        2 => Just("}\n".to_owned()),
        1 => Just("\n".to_owned()),
        1 => "[a-z]{1,3}\r\n",
    ];
    let line =
        prop_oneof![20 => line.prop_map(String::into_bytes), 1 => Just(b"caf\xe9 cr\xe8me\n".to_vec())];
    (prop::collection::vec(line, 0..60), prop::bool::weighted(0.3)).prop_map(|(lines, open)| {
        let mut text = lines.concat();
        if open {
            text.pop();
        }
        text
    })
}

/// A text and the same with some edits.
fn pair() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let edit = (
        any::<prop::sample::Index>(),
        0..4usize,
        text().prop_map(|text| text.into_iter().take(20).collect::<Vec<_>>()),
    );
    (text(), prop::collection::vec(edit, 1..6)).prop_map(|(before, edits)| {
        let mut lines: Vec<Vec<u8>> =
            before.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        for (at, gone, come) in edits {
            let at = at.index(lines.len() + 1);
            let gone = gone.min(lines.len() - at);
            let come = come.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
            lines.splice(at..at + gone, come);
        }
        (before, lines.concat())
    })
}

/// What `git add -p` makes of a hunk when a human edits it: removed lines that are not chosen become context,
/// added ones go. `None` when the text would not be made of lines any more.
fn patch(name: &str, hunk: &Hunk, chosen: &dyn Fn(usize) -> bool) -> Vec<u8> {
    let (mut body, mut old, mut new) = (Vec::new(), 0, 0);
    for (place, line) in hunk.lines.iter().enumerate() {
        let sign = match line.tag {
            Tag::Removed if chosen(place) => b'-',
            Tag::Added if chosen(place) => b'+',
            Tag::Same | Tag::Removed => b' ',
            Tag::Added => continue,
        };
        old += usize::from(sign != b'+');
        new += usize::from(sign != b'-');
        body.push(sign);
        body.extend_from_slice(&line.text);
        if !line.text.ends_with(b"\n") {
            body.extend_from_slice(b"\n\\ No newline at end of file\n");
        }
    }
    let start = hunk.old_start;
    let head = format!(
        "diff --git a/{name} b/{name}\n--- a/{name}\n+++ b/{name}\n@@ -{start},{old} +{},{new} @@\n",
        if new == 0 { start - 1 } else { start.max(1) }
    );
    [head.into_bytes(), body].concat()
}

fn git_apply(cases: &[Case]) {
    let dir = tempfile::tempdir().unwrap();
    let patch = dir.path().join("patch");
    fs::write(&patch, cases.iter().flat_map(|case| case.patch.clone()).collect::<Vec<_>>()).unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    for (number, case) in cases.iter().enumerate() {
        fs::write(tree.join(number.to_string()), &case.before).unwrap();
    }
    apply(&tree, &patch);
    for (number, case) in cases.iter().enumerate() {
        // A file that a patch empties is one that git removes.
        let found = fs::read(tree.join(number.to_string())).unwrap_or_default();
        let show = |text: &[u8]| text.escape_ascii().to_string();
        assert_eq!(show(&found), show(&case.made), "{}", String::from_utf8_lossy(&case.patch));
    }
}

fn apply(tree: &Path, patch: &Path) {
    let out = Command::new("git")
        .args(["apply", "--whitespace=nowarn"])
        .arg(patch)
        .current_dir(tree)
        .env("GIT_CEILING_DIRECTORIES", tree.parent().expect("a parent"))
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .expect("git runs");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&fs::read(patch).unwrap()));
}

fn pairs(count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| pair().new_tree(&mut runner).expect("a pair").current()).collect()
}

fn made(
    before: &[u8],
    after: &[u8],
    hunk: usize,
    lines: Vec<Range<u32>>,
) -> Result<Vec<u8>, select::SelectError> {
    let choice = Choice { lines, ..Choice::whole(HunkName::Number(hunk as u32 + 1)) };
    select::select(before, after, Limits::default(), &[choice])
}

#[test]
fn each_hunk_alone_makes_what_git_apply_makes_of_it() {
    let mut cases = Vec::new();
    for (before, after) in pairs(400) {
        for (index, hunk) in hunk::hunks(&before, &after, Limits::default()).hunks.iter().enumerate() {
            let patch = patch(&cases.len().to_string(), hunk, &|_| true);
            let made = made(&before, &after, index, Vec::new()).unwrap();
            cases.push(Case { before: before.clone(), patch, made });
        }
    }
    assert!(cases.len() > 500, "only {}", cases.len());
    git_apply(&cases);
}

#[test]
fn chosen_lines_make_what_git_apply_makes_of_the_edited_hunk() {
    let (mut cases, mut refused) = (Vec::new(), 0);
    for (round, (before, after)) in pairs(500).into_iter().enumerate() {
        for (index, hunk) in hunk::hunks(&before, &after, Limits::default()).hunks.iter().enumerate() {
            let chosen =
                |place: usize| !(place * 7 + round).is_multiple_of(3) && hunk.lines[place].tag != Tag::Same;
            let lines: Vec<_> = (0..hunk.lines.len()).filter(|place| chosen(*place)).collect();
            if lines.is_empty() {
                continue;
            }
            let ranges = lines.iter().map(|place| *place as u32..*place as u32 + 1).collect();
            match made(&before, &after, index, ranges) {
                Ok(made) => {
                    let patch = patch(&cases.len().to_string(), hunk, &chosen);
                    cases.push(Case { before: before.clone(), patch, made });
                }
                Err(select::SelectError::Joined { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(cases.len() > 500 && refused > 0 && refused < 100, "{} {refused}", cases.len());
    git_apply(&cases);
}
