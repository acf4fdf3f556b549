//! The rows of one file's diff, found once and drawn only where they are seen.
//!
//! Owns what stands in which row: facts, hunks and their parts, lines or pairs of lines. A row holds numbers
//! and no text, so that fifty thousand of them cost nothing. Must not know the screen.

use std::collections::{HashMap, HashSet};

use ftl_proto::v1;
use similar::{Algorithm, ChangeTag, TextDiff};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::render::{diff, escape};
use crate::review::choice::{FileChoices, HunkChoices};

/// What a fact is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// To be known.
    Plain,
    /// Deserves a look.
    Warning,
    /// Cannot be applied.
    Bad,
}

/// Something about the file that is not in its lines. Escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    /// How much it matters.
    pub(crate) weight: Weight,
    /// One sentence.
    pub(crate) text: String,
}

/// A line with where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its place in the hunk.
    pub(crate) line: u32,
    /// Its number in the file, from 1, on the side that it is of.
    pub(crate) number: u32,
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    /// By its place in `Index.facts`.
    Fact(usize),
    /// The heading of a hunk, or of a part of one.
    Head {
        /// The hunk.
        hunk: usize,
        /// Its part.
        piece: usize,
    },
    /// A line, under one another.
    Line {
        /// The hunk.
        hunk: usize,
        /// Where it is before, unless it is added.
        old: Option<Place>,
        /// Where it is after, unless it is removed.
        new: Option<Place>,
    },
    /// What was and what is, beside one another.
    Pair {
        /// The hunk.
        hunk: usize,
        /// What was.
        old: Option<Place>,
        /// What is.
        new: Option<Place>,
    },
}

/// How the rows are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    /// Two columns.
    pub(crate) side_by_side: bool,
    /// Hunks of which only the heading is shown.
    pub(crate) folded: &'a HashSet<usize>,
    /// Columns of a fact; a longer one takes several rows.
    pub(crate) width: usize,
    /// The session's id, for commands that can be typed.
    pub(crate) session: &'a str,
}

/// The rows of a file.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// In order.
    pub(crate) rows: Vec<Row>,
    /// What stands above the hunks.
    pub(crate) facts: Vec<Fact>,
    /// Lines of hunks that were edited, in place of their own.
    typed: HashMap<usize, Vec<v1::Line>>,
}

// === impl Row ===

impl Row {
    /// The hunk it is of.
    pub(crate) fn hunk(&self) -> Option<usize> {
        match self {
            Self::Fact(_) => None,
            Self::Head { hunk, .. } | Self::Line { hunk, .. } | Self::Pair { hunk, .. } => Some(*hunk),
        }
    }

    /// The places in the hunk of the lines that stand in it.
    pub(crate) fn lines(&self) -> impl Iterator<Item = usize> + use<> {
        let (old, new) = match self {
            Self::Line { old, new, .. } | Self::Pair { old, new, .. } => (*old, *new),
            _ => (None, None),
        };
        old.into_iter().chain(new).map(|place| place.line as usize)
    }
}

// === impl Index ===

impl Index {
    /// Finds the rows.
    pub(crate) fn build(entry: &v1::DiffEntry, choices: &FileChoices, plan: Plan<'_>) -> Self {
        let facts =
            facts(entry, plan.session).into_iter().flat_map(|fact| wrapped(fact, plan.width)).collect();
        let mut index = Self { facts, ..Self::default() };
        index.rows.extend((0..index.facts.len()).map(Row::Fact));
        for (number, hunk) in entry.hunks.iter().enumerate() {
            let Some(choices) = choices.hunks.get(number) else { continue };
            if let Some(edited) = &choices.edited {
                index.typed.insert(number, typed(hunk, edited));
            }
            index.hunk(number, hunk, choices, plan);
        }
        index
    }

    /// The lines of a hunk, as they would be.
    pub(crate) fn lines<'a>(&'a self, entry: &'a v1::DiffEntry, hunk: usize) -> &'a [v1::Line] {
        match self.typed.get(&hunk) {
            Some(lines) => lines,
            None => entry.hunks.get(hunk).map_or(&[], |hunk| &hunk.lines),
        }
    }

    /// Whether a hunk has other lines than the session's.
    pub(crate) fn is_typed(&self, hunk: usize) -> bool {
        self.typed.contains_key(&hunk)
    }

    /// The first row of a hunk's part.
    pub(crate) fn head(&self, hunk: usize, piece: usize) -> Option<usize> {
        let wanted = Row::Head { hunk, piece };
        self.rows.iter().position(|row| *row == wanted)
    }

    /// The row that has this line of a hunk, or the hunk's heading when it is folded.
    pub(crate) fn find(&self, hunk: usize, line: usize) -> Option<usize> {
        let first = self.head(hunk, 0)?;
        let rows = self.rows[first..].iter();
        let inside = rows.take_while(|row| row.hunk() == Some(hunk));
        let found = inside.into_iter().position(|row| row.lines().any(|found| found == line));
        Some(first + found.unwrap_or(0))
    }

    /// The hunk and its part that a row is in.
    pub(crate) fn part_at(&self, row: usize) -> Option<(usize, usize)> {
        let rows = self.rows.get(..=row)?;
        rows.iter().rev().find_map(|row| match row {
            Row::Head { hunk, piece } => Some((*hunk, *piece)),
            _ => None,
        })
    }

    fn hunk(&mut self, number: usize, hunk: &v1::Hunk, choices: &HunkChoices, plan: Plan<'_>) {
        let typed = self.typed.remove(&number);
        let shown = typed.as_ref().unwrap_or(&hunk.lines);
        let mut count = Numbers::of(hunk);
        for (piece, part) in choices.pieces.iter().enumerate() {
            self.rows.push(Row::Head { hunk: number, piece });
            if plan.folded.contains(&number) {
                break;
            }
            let range = if typed.is_some() { 0..shown.len() } else { part.lines.clone() };
            let places = range.filter_map(|line| Some((line, count.next(&shown.get(line)?.tag, line))));
            let mut run = Run::default();
            for (line, (old, new)) in places {
                match (old, new) {
                    (Some(old), None) if run.new.is_empty() => run.old.push(old),
                    (Some(old), None) => {
                        self.run(number, &mut run, plan);
                        run.old.push(old);
                    }
                    (None, Some(new)) => run.new.push(new),
                    _ => {
                        self.run(number, &mut run, plan);
                        self.rows.push(same(number, line, old, new, plan));
                    }
                }
            }
            self.run(number, &mut run, plan);
        }
        if let Some(typed) = typed {
            self.typed.insert(number, typed);
        }
    }

    /// Removed lines and those that took their place.
    fn run(&mut self, hunk: usize, run: &mut Run, plan: Plan<'_>) {
        let Run { old, new } = std::mem::take(run);
        if plan.side_by_side {
            for at in 0..old.len().max(new.len()) {
                let (old, new) = (old.get(at).copied(), new.get(at).copied());
                self.rows.push(Row::Pair { hunk, old, new });
            }
            return;
        }
        self.rows.extend(old.into_iter().map(|place| Row::Line { hunk, old: Some(place), new: None }));
        self.rows.extend(new.into_iter().map(|place| Row::Line { hunk, old: None, new: Some(place) }));
    }
}

#[derive(Default)]
struct Run {
    old: Vec<Place>,
    new: Vec<Place>,
}

/// Counts the lines of both sides.
struct Numbers {
    old: u64,
    new: u64,
}

impl Numbers {
    fn of(hunk: &v1::Hunk) -> Self {
        Self { old: hunk.old_start, new: hunk.new_start }
    }

    fn next(&mut self, tag: &str, line: usize) -> (Option<Place>, Option<Place>) {
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        let take = |number: &mut u64| {
            let place = Place { line, number: u32::try_from(*number).unwrap_or(u32::MAX) };
            *number += 1;
            Some(place)
        };
        match tag {
            "-" => (take(&mut self.old), None),
            "+" => (None, take(&mut self.new)),
            _ => (take(&mut self.old), take(&mut self.new)),
        }
    }
}

fn same(hunk: usize, line: usize, old: Option<Place>, new: Option<Place>, plan: Plan<'_>) -> Row {
    debug_assert!(old.is_some_and(|place| place.line as usize == line));
    if plan.side_by_side { Row::Pair { hunk, old, new } } else { Row::Line { hunk, old, new } }
}

/// What an edited hunk would do, as lines.
fn typed(hunk: &v1::Hunk, edited: &[u8]) -> Vec<v1::Line> {
    let before: Vec<u8> =
        hunk.lines.iter().filter(|line| line.tag != "+").flat_map(|line| line.text.clone()).collect();
    let diff = TextDiff::configure().algorithm(Algorithm::Myers).diff_lines(before.as_slice(), edited);
    let line = |tag: ChangeTag, text: &[u8]| {
        let tag = match tag {
            ChangeTag::Equal => " ",
            ChangeTag::Delete => "-",
            ChangeTag::Insert => "+",
        };
        v1::Line { tag: tag.to_owned(), text: text.to_vec(), changed: Vec::new() }
    };
    diff.iter_all_changes().map(|change| line(change.tag(), change.value())).collect()
}

/// What is to be known about a file besides its lines.
fn facts(entry: &v1::DiffEntry, session: &str) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut tell = |weight: Weight, text: String| facts.push(Fact { weight, text });
    if entry.kind() == v1::EntryKind::Refused {
        tell(Weight::Bad, format!("refused, never applied: {}", escape::name(&entry.reason)));
    }
    for (number, risk) in entry.risks.iter().enumerate() {
        let why = entry.risk_reasons.get(number).filter(|why| !why.is_empty());
        let why = why.map_or_else(String::new, |why| format!(": {}", escape::name(why)));
        tell(Weight::Warning, format!("! {}{why}", escape::name(risk)));
    }
    if entry.needs_naming {
        tell(Weight::Warning, "! is left out of `accept everything`: choose it by itself".to_owned());
    }
    for finding in &entry.findings {
        let line = if finding.line == 0 { String::new() } else { format!("line {}: ", finding.line) };
        let holds = if finding.holds { ", holds the approval" } else { "" };
        let (class, message) = (escape::name(&finding.class), escape::name(&finding.message));
        tell(Weight::Warning, format!("? {line}{message} ({class}{holds})"));
    }
    if entry.merged {
        tell(Weight::Plain, "holds both the session's changes and your own since".to_owned());
    }
    for fact in diff::facts(entry) {
        tell(Weight::Plain, fact);
    }
    if entry.hidden_before {
        tell(Weight::Warning, "! replaces a file of yours that the session was not shown".to_owned());
    }
    if !entry.elided.is_empty() {
        tell(Weight::Warning, format!("no lines: {}", escape::name(&entry.elided)));
        tell(
            Weight::Plain,
            format!(
                "`ftlctl snapshots restore {} --to DIR` gives you the whole of it",
                escape::name(session)
            ),
        );
    }
    facts
}

/// A fact in rows that fit, broken between words where there are some.
fn wrapped(fact: Fact, width: usize) -> Vec<Fact> {
    let width = width.max(16);
    if fact.text.width() <= width {
        return vec![fact];
    }
    let (mut rows, mut row) = (Vec::new(), String::new());
    for word in fact.text.split_inclusive(' ') {
        if !row.is_empty() && row.width() + word.trim_end().width() > width {
            rows.push(std::mem::replace(&mut row, "  ".to_owned()));
        }
        for char in word.chars() {
            if row.width() + char.width().unwrap_or(0) > width {
                rows.push(std::mem::replace(&mut row, "  ".to_owned()));
            }
            row.push(char);
        }
    }
    rows.push(row);
    rows.into_iter().map(|text| Fact { weight: fact.weight, text }).collect()
}

#[cfg(test)]
mod tests;
