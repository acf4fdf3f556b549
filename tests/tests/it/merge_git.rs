//! The merge engine beside git: the same texts are merged by both, and nothing they do differently goes
//! unexplained.
//!
//! Two things are allowed to differ, and each difference must be one of them:
//!
//! * Git's `zdiff3` style marks as a conflict what both sides have in the same words when they came to it by
//!   unlike edits. Git's default style does not, and neither does this engine.
//! * Repeated lines can be matched in more ways than one. Where git and this engine match them otherwise, the
//!   engine must make git's result from git's matching, byte for byte, conflicts included.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use ftl_core::hunk::Limits;
use ftl_core::three::{self, Edit, Merged, Region};
use ftl_tests::repo;

mod releases;

/// Length of git's markers here; no text has such lines, though some have long rules of one sign.
const MARKER: usize = 500;

/// Three texts.
struct Case {
    name: String,
    base: Vec<u8>,
    ours: Vec<u8>,
    theirs: Vec<u8>,
}

/// A merge as both tell of it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    /// Lines without a conflict.
    Text(Vec<u8>),
    /// Ours, base, theirs; a missing line end at the end of one does not count.
    Conflict([Vec<u8>; 3]),
}

/// How many cases went how.
#[derive(Default, Debug)]
struct Tally {
    clean: usize,
    conflicts: usize,
    equal_sides: usize,
    /// By what became of them: "clean here, conflict there" and so on.
    matched_otherwise: BTreeMap<&'static str, usize>,
    unexplained: Vec<String>,
}

fn git(dir: &Path, args: &[&str]) -> (i32, Vec<u8>) {
    let out = Command::new("git")
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CEILING_DIRECTORIES", dir)
        .output()
        .expect("git runs");
    let code = out.status.code().expect("it ends by itself");
    assert!(code < 128, "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    (code, out.stdout)
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

fn open(text: &[u8]) -> Vec<u8> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text).to_vec()
}

/// Parts without empty texts and with neighbouring texts as one. A conflict of equal sides is text; but git
/// ends the last line of each, so that `open_end` says whether there they are not equal.
fn joined(parts: Vec<Part>, open_end: bool, equal: &mut usize) -> Vec<Part> {
    let mut all: Vec<Part> = Vec::new();
    let last = parts.iter().rposition(|part| !matches!(part, Part::Text(text) if text.is_empty()));
    for (place, part) in parts.into_iter().enumerate() {
        let part = match part {
            Part::Conflict([ours, _, theirs]) if ours == theirs && !(open_end && Some(place) == last) => {
                *equal += 1;
                Part::Text(ours)
            }
            Part::Conflict(sides) => Part::Conflict(sides.map(|side| open(&side))),
            text @ Part::Text(_) => text,
        };
        match (all.last_mut(), part) {
            (Some(Part::Text(text)), Part::Text(more)) => text.extend(more),
            (_, Part::Text(text)) if text.is_empty() => {}
            (_, part) => all.push(part),
        }
    }
    all
}

fn parts(merged: &Merged) -> Vec<Part> {
    let part = |region: &Region| match region {
        Region::Same(text) | Region::Ours(text) | Region::Theirs(text) | Region::Both(text) => {
            Part::Text(text.clone())
        }
        Region::Conflict(conflict) => {
            Part::Conflict([conflict.ours.clone(), conflict.base.clone(), conflict.theirs.clone()])
        }
    };
    let mut none = 0;
    let parts = joined(merged.regions.iter().map(part).collect(), false, &mut none);
    assert_eq!(none, 0, "equal sides are no conflict");
    parts
}

/// Git's result in the style that shows the base and takes common lines out of conflicts' edges.
fn marked(text: &[u8]) -> Vec<Part> {
    let mut parts = vec![Part::Text(Vec::new())];
    let mut side = 0;
    for line in lines(text) {
        let mark = line
            .first()
            .filter(|mark| line.len() > MARKER && line[..MARKER].iter().all(|byte| byte == *mark));
        match mark {
            Some(b'<') => {
                parts.push(Part::Conflict(Default::default()));
                side = 0;
            }
            Some(b'|') => side = 1,
            Some(b'=') => side = 2,
            Some(b'>') => parts.push(Part::Text(Vec::new())),
            _ => match parts.last_mut() {
                Some(Part::Text(text)) => text.extend_from_slice(line),
                Some(Part::Conflict(sides)) => sides[side].extend_from_slice(line),
                None => {}
            },
        }
    }
    parts
}

/// What git says each file of `from` became in `to`, by the file's name.
fn edits(dir: &Path, from: &str, to: &str) -> BTreeMap<String, Vec<Edit>> {
    // Without context git would cut a common end off first, which it does not when it merges.
    let args =
        ["diff", "--no-index", "--text", "-U1", "--no-indent-heuristic", "--diff-algorithm=myers", from, to];
    let (_, out) = git(dir, &args);
    let mut all = BTreeMap::new();
    let mut edits: &mut Vec<Edit> = &mut Vec::new();
    let (mut old, mut new, mut left) = (0, 0, (0, 0));
    for line in lines(&out) {
        if left == (0, 0) {
            let text = String::from_utf8_lossy(line);
            if text.starts_with("diff --git ") {
                let name = text.trim_end().rsplit('/').next().expect("a name").to_owned();
                edits = all.entry(name).or_default();
            } else if let Some(head) = text.strip_prefix("@@ -") {
                let range = |text: &str| {
                    let (start, count) = text.split_once(',').unwrap_or((text, "1"));
                    let (start, count): (usize, usize) = (start.parse().unwrap(), count.parse().unwrap());
                    (if count == 0 { start } else { start - 1 }, count)
                };
                let mut ranges = head.split(' ').map(|text| text.trim_start_matches('+')).map(range);
                let (before, after) = (ranges.next().unwrap(), ranges.next().unwrap());
                (old, new, left) = (before.0, after.0, (before.1, after.1));
            }
            continue;
        }
        let (removed, added) = (usize::from(line[0] == b'-'), usize::from(line[0] == b'+'));
        match line[0] {
            b' ' => {
                (old, new, left) = (old + 1, new + 1, (left.0 - 1, left.1 - 1));
                continue;
            }
            b'-' | b'+' => {}
            _ => continue,
        }
        match edits.last_mut() {
            Some(last) if last.base.end == old && last.side.end == new => {
                (last.base.end, last.side.end) = (old + removed, new + added);
            }
            _ => edits.push(Edit { base: old..old + removed, side: new..new + added }),
        }
        (old, new, left) = (old + removed, new + added, (left.0 - removed, left.1 - added));
    }
    all
}

/// Merges all cases with git and here.
fn compare(cases: &[Case]) -> Tally {
    let dir = tempfile::tempdir().unwrap();
    for side in ["base", "ours", "theirs"] {
        fs::create_dir(dir.path().join(side)).unwrap();
    }
    for (number, case) in cases.iter().enumerate() {
        for (side, text) in [("base", &case.base), ("ours", &case.ours), ("theirs", &case.theirs)] {
            fs::write(dir.path().join(format!("{side}/{number}")), text).unwrap();
        }
    }
    let (ours, theirs) = (edits(dir.path(), "base", "ours"), edits(dir.path(), "base", "theirs"));
    let half = cases.len().div_ceil(2);
    let judge = |from: usize, cases: &[Case]| {
        let mut tally = Tally::default();
        for (number, case) in cases.iter().enumerate() {
            let name = (from + number).to_string();
            let of = |edits: &BTreeMap<String, Vec<Edit>>| edits.get(&name).cloned().unwrap_or_default();
            judge(case, dir.path(), &name, &[of(&ours), of(&theirs)], &mut tally);
        }
        tally
    };
    let (mut tally, other) = std::thread::scope(|scope| {
        let (first, second) = cases.split_at(half);
        let second = scope.spawn(move || judge(half, second));
        (judge(0, first), second.join().expect("no panic"))
    });
    tally.clean += other.clean;
    tally.conflicts += other.conflicts;
    tally.equal_sides += other.equal_sides;
    tally.unexplained.extend(other.unexplained);
    for (what, count) in other.matched_otherwise {
        *tally.matched_otherwise.entry(what).or_default() += count;
    }
    tally
}

fn judge(case: &Case, dir: &Path, name: &str, matched: &[Vec<Edit>; 2], tally: &mut Tally) {
    let [ours, base, theirs] = ["ours", "base", "theirs"].map(|side| format!("{side}/{name}"));
    let size = format!("--marker-size={MARKER}");
    let merge_file = |style: &[&str]| {
        git(dir, &[&["merge-file", "-p", "-q", &size], style, &[&ours, &base, &theirs]].concat())
    };
    let (shown_conflicts, shown) = merge_file(&["--zdiff3"]);
    // The default style has no conflict where this one has none.
    let conflicts = if shown_conflicts == 0 { 0 } else { merge_file(&[]).0 };
    let open_end = case.ours.ends_with(b"\n") != case.theirs.ends_with(b"\n");
    let theirs = joined(marked(&shown), open_end, &mut tally.equal_sides);
    let limits = Limits { bytes: 8 << 20, lines: 200_000 };
    let merged = three::merge(&case.base, &case.ours, &case.theirs, limits).expect("they are texts");
    let mine = parts(&merged);
    let is_clean = |parts: &[Part]| !parts.iter().any(|part| matches!(part, Part::Conflict(_)));
    let mut unexplained = |what: &str| {
        let texts = [&case.base, &case.ours, &case.theirs].map(|text| text.escape_ascii().to_string());
        tally.unexplained.push(format!("{what}: {}: {texts:#?} {}", case.name, theirs.len()));
    };
    if is_clean(&theirs) != (conflicts == 0) {
        unexplained("git's styles do not agree about whether there is a conflict");
    }
    if mine == theirs {
        *(if is_clean(&mine) { &mut tally.clean } else { &mut tally.conflicts }) += 1;
        return;
    }
    let sides = [&case.base, &case.ours, &case.theirs].map(|side| lines(side));
    let [base, ours, other] = &sides;
    let by_git = parts(&three::merge_edits([base, ours, other], &matched[0], &matched[1]));
    if by_git != theirs {
        unexplained("not git's result even by git's matching");
        return;
    }
    let what = match (is_clean(&mine), is_clean(&theirs)) {
        (true, true) => "both clean",
        (true, false) => "clean here, conflict in git",
        (false, true) => "conflict here, clean in git",
        (false, false) => "other conflicts",
    };
    *tally.matched_otherwise.entry(what).or_default() += 1;
}

/// Numbers that look like chance and are the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound.max(1)
    }

    fn once_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }
}

/// One edit of a text of lines: some go, some come, or some are found elsewhere as well.
fn edit(chance: &mut Chance, text: &mut Vec<String>, kinds: usize) {
    let at = chance.below(text.len() + 1);
    let gone = chance.below(4).min(text.len() - at);
    let come = chance.below(4);
    let new: Vec<String> = match chance.below(6) {
        0 if !text.is_empty() => {
            let from = chance.below(text.len());
            text[from..(from + come).min(text.len())].to_vec()
        }
        1 => Vec::new(),
        _ => (0..come).map(|_| line(chance, kinds)).collect(),
    };
    text.splice(at..at + gone, new);
}

/// A line of so many kinds, of which a few are frequent in real texts.
fn line(chance: &mut Chance, kinds: usize) -> String {
    match chance.below(8) {
        0 => String::new(),
        1 => "}".to_owned(),
        _ => format!("line {}", chance.below(kinds)),
    }
}

/// Texts with edits of two sides, of which some are shared.
fn generated(count: usize) -> Vec<Case> {
    let mut chance = Chance(1);
    (0..count)
        .map(|number| {
            let kinds = [3, 12, 100_000][number % 3];
            let length = chance.below([8, 30, 120][number / 3 % 3]);
            let base: Vec<String> = (0..length).map(|_| line(&mut chance, kinds)).collect();
            let (mut ours, mut theirs) = (base.clone(), base.clone());
            if chance.once_in(3) {
                let seed = chance.below(usize::MAX) as u64;
                edit(&mut Chance(seed), &mut ours, kinds);
                edit(&mut Chance(seed), &mut theirs, kinds);
            }
            for side in [&mut ours, &mut theirs] {
                for _ in 0..chance.below(5) {
                    edit(&mut chance, side, kinds);
                }
            }
            let end = if chance.once_in(5) { "\r\n" } else { "\n" };
            let [base, ours, theirs] = [base, ours, theirs].map(|side| {
                let mut text: String = side.iter().map(|line| format!("{line}{end}")).collect();
                if chance.once_in(6) {
                    text.truncate(text.trim_end_matches(['\r', '\n']).len());
                }
                text.into_bytes()
            });
            Case { name: format!("generated {number}"), base, ours, theirs }
        })
        .collect()
}

/// Files that both sides of a merge in this repository's history changed, as far as the history is there.
fn own() -> Vec<Case> {
    let root = repo::root();
    let text = |args: &[&str]| String::from_utf8_lossy(&git(&root, args).1).trim().to_owned();
    let mut cases = Vec::new();
    for merge in text(&["rev-list", "--merges", "--max-count=40", "HEAD"]).lines() {
        let base = text(&["merge-base", &format!("{merge}^1"), &format!("{merge}^2")]);
        let [ours, theirs] = ["1", "2"]
            .map(|side| text(&["diff", "--name-only", "--diff-filter=M", &base, &format!("{merge}^{side}")]));
        for path in ours.lines().filter(|path| theirs.lines().any(|other| other == *path)) {
            let file = |commit: &str| git(&root, &["show", &format!("{commit}:{path}")]).1;
            let [base, ours, theirs] =
                [&base, &format!("{merge}^1"), &format!("{merge}^2")].map(|commit| file(commit));
            cases.push(Case { name: format!("{merge} {path}"), base, ours, theirs });
        }
    }
    cases
}

/// Nothing is unexplained, and no more than this much is explained by other matching.
fn assert_explained(cases: &[Case], percent: usize) {
    let tally = compare(cases);
    println!("{} cases: {tally:?}", cases.len());
    assert!(tally.unexplained.is_empty(), "{:#?}", tally.unexplained);
    let otherwise: usize = tally.matched_otherwise.values().sum();
    assert!(otherwise * 100 <= cases.len() * percent, "{tally:?}");
    let silent = tally.matched_otherwise.get("both clean").copied().unwrap_or_default();
    assert!(silent * 1000 <= cases.len(), "{tally:?}");
}

#[test]
fn generated_texts_merge_as_git_merges_them() {
    assert_explained(&generated(3000), 15);
}

#[test]
fn merges_of_this_project_merge_as_git_merges_them() {
    assert_explained(&own(), 15);
}
