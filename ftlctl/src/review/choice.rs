//! What the human has chosen so far: hunks, parts of hunks, whole files, and what was typed instead.
//!
//! Owns the choices, their undoing, and the selection that the daemon is asked about. Must not know the
//! screen. A choice applies nothing: only the daemon's preview of a selection can be approved.

use std::collections::HashMap;
use std::ops::Range;

use ftl_proto::v1;

use crate::review::document::{Document, is_beneath, is_directory};

/// What becomes of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Choice {
    /// Nobody has said.
    #[default]
    Open,
    /// It is to be applied.
    In,
    /// It is not.
    Out,
}

/// What became of something that has parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// All of it is the same.
    All(Choice),
    /// Some is to be applied.
    Some,
}

/// Lines of a hunk that share a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Places in `Hunk.lines`.
    pub(crate) lines: Range<usize>,
    /// What becomes of them.
    pub(crate) choice: Choice,
}

/// One hunk's choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HunkChoices {
    id: String,
    lines: usize,
    /// All lines of the hunk, in order.
    pub(crate) pieces: Vec<Piece>,
    /// What stands in place of its new lines.
    pub(crate) edited: Option<Vec<u8>>,
}

/// What stands in an entry besides its hunks: with them all that a choice is about.
#[derive(Debug, Clone, PartialEq, Default)]
struct Of {
    kind: i32,
    before: Option<v1::Node>,
    after: Option<v1::Node>,
    renamed_from: Vec<u8>,
    needs_naming: bool,
}

/// One file's choices.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct FileChoices {
    /// Where there are no hunks to choose from.
    whole: Choice,
    /// What they were made about.
    of: Of,
    /// In the order of the file's hunks.
    pub(crate) hunks: Vec<HunkChoices>,
}

/// All choices.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    files: HashMap<Vec<u8>, FileChoices>,
    before: Vec<Vec<(Vec<u8>, Option<FileChoices>)>>,
}

// === impl FileChoices ===

impl FileChoices {
    fn of(entry: &v1::DiffEntry) -> Self {
        let hunks = entry.hunks.iter().map(|hunk| HunkChoices {
            id: hunk.id.clone(),
            lines: hunk.lines.len(),
            pieces: vec![Piece { lines: 0..hunk.lines.len(), choice: Choice::Open }],
            edited: None,
        });
        Self { whole: Choice::Open, of: Of::new(entry), hunks: hunks.collect() }
    }

    /// What became of the file.
    pub(crate) fn mark(&self) -> Mark {
        let mut choices = self.hunks.iter().flat_map(|hunk| &hunk.pieces).map(|piece| piece.choice);
        let Some(first) = choices.next() else { return Mark::All(self.whole) };
        let (mut is_same, mut any_in) = (true, first == Choice::In);
        for choice in choices {
            is_same &= choice == first;
            any_in |= choice == Choice::In;
        }
        match (is_same, any_in) {
            (true, _) => Mark::All(first),
            (false, true) => Mark::Some,
            (false, false) => Mark::All(Choice::Open),
        }
    }

    fn set(&mut self, choice: Choice) {
        self.whole = choice;
        for hunk in &mut self.hunks {
            hunk.pieces.iter_mut().for_each(|piece| piece.choice = choice);
            if choice != Choice::In {
                hunk.edited = None;
            }
        }
    }

    fn is_edited(&self) -> bool {
        self.hunks.iter().any(|hunk| hunk.edited.is_some())
    }

    /// Whether the choices were made about the same: the same hunks, from the same bytes and mode to the same.
    fn fits(&self, entry: &v1::DiffEntry) -> bool {
        let same = self.hunks.iter().zip(&entry.hunks).all(|(choices, hunk)| choices.is_of(hunk));
        same && self.hunks.len() == entry.hunks.len() && self.of == Of::new(entry)
    }
}

// === impl Of ===

impl Of {
    fn new(entry: &v1::DiffEntry) -> Self {
        Self {
            kind: entry.kind,
            before: entry.before.clone(),
            after: entry.after.clone(),
            renamed_from: entry.renamed_from.clone(),
            needs_naming: entry.needs_naming,
        }
    }
}

// === impl HunkChoices ===

impl HunkChoices {
    fn is_of(&self, hunk: &v1::Hunk) -> bool {
        self.id == hunk.id && self.lines == hunk.lines.len()
    }

    /// The piece that has this line.
    pub(crate) fn piece_at(&self, line: usize) -> usize {
        self.pieces.iter().position(|piece| piece.lines.contains(&line)).unwrap_or(0)
    }

    /// Makes the range a piece of its own.
    fn cut_out(&mut self, lines: Range<usize>, choice: Choice) {
        let mut pieces = Vec::with_capacity(self.pieces.len() + 2);
        for piece in self.pieces.drain(..) {
            let head = piece.lines.start..piece.lines.end.min(lines.start);
            let tail = piece.lines.start.max(lines.end)..piece.lines.end;
            let middle = piece.lines.start.max(lines.start)..piece.lines.end.min(lines.end);
            for (range, choice) in [(head, piece.choice), (middle, choice), (tail, piece.choice)] {
                if !range.is_empty() {
                    pieces.push(Piece { lines: range, choice });
                }
            }
        }
        pieces.dedup_by(|next, last| {
            let joins = lines.contains(&next.lines.start) && lines.contains(&last.lines.start);
            if joins {
                last.lines.end = next.lines.end;
            }
            joins
        });
        self.pieces = pieces;
    }

    /// The lines to be applied, as the API has them; none means all.
    fn chosen(&self) -> Option<Vec<v1::LineRange>> {
        let chosen = self.pieces.iter().filter(|piece| piece.choice == Choice::In);
        let ranges: Vec<_> = chosen
            .map(|piece| v1::LineRange {
                first: u32::try_from(piece.lines.start).unwrap_or(u32::MAX),
                count: u32::try_from(piece.lines.len()).unwrap_or(u32::MAX),
            })
            .collect();
        if ranges.is_empty() {
            return None;
        }
        let is_all = self.pieces.iter().all(|piece| piece.choice == Choice::In);
        Some(if is_all { Vec::new() } else { ranges })
    }
}

// === impl Choices ===

impl Choices {
    /// A file's choices; a fresh set where none was made.
    pub(crate) fn of(&self, entry: &v1::DiffEntry) -> FileChoices {
        self.files.get(&entry.path).cloned().unwrap_or_else(|| FileChoices::of(entry))
    }

    /// What became of a file. Costs nothing where nothing was chosen.
    pub(crate) fn mark(&self, entry: &v1::DiffEntry) -> Mark {
        self.files.get(&entry.path).map_or(Mark::All(Choice::Open), FileChoices::mark)
    }

    /// Whether anything is to be applied.
    pub(crate) fn any_in(&self) -> bool {
        self.files.values().any(|file| !matches!(file.mark(), Mark::All(Choice::Open | Choice::Out)))
    }

    /// Whether anything was chosen or typed.
    pub(crate) fn any(&self) -> bool {
        self.files.values().any(|file| file.mark() != Mark::All(Choice::Open))
    }

    /// How many of the files are decided, and how many are to be applied at least in part.
    pub(crate) fn progress(&self, document: &Document) -> (u64, u64) {
        let listed = document.entries.iter().enumerate().filter(|(place, _)| !document.is_implied(*place));
        let marks = listed.filter_map(|(_, entry)| self.files.get(&entry.path));
        marks.map(FileChoices::mark).fold((0, 0), |(decided, taken), mark| match mark {
            Mark::All(Choice::Open) => (decided, taken),
            Mark::All(Choice::Out) => (decided + 1, taken),
            Mark::All(Choice::In) | Mark::Some => (decided + 1, taken + 1),
        })
    }

    /// Chooses whole files at once.
    pub(crate) fn set_files<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a v1::DiffEntry>,
        choice: Choice,
    ) {
        let mut step = Vec::new();
        for entry in entries {
            let mut file = self.of(entry);
            file.set(choice);
            step.push((entry.path.clone(), self.files.insert(entry.path.clone(), file)));
        }
        self.remember(step);
    }

    /// Chooses one piece of a hunk.
    pub(crate) fn set_piece(&mut self, entry: &v1::DiffEntry, hunk: usize, piece: usize, choice: Choice) {
        self.change(entry, hunk, |hunk| {
            if let Some(piece) = hunk.pieces.get_mut(piece) {
                piece.choice = choice;
            }
            if choice != Choice::In {
                hunk.edited = None;
            }
        });
    }

    /// Chooses some lines of a hunk; they become a piece of their own. What was typed for it goes.
    pub(crate) fn set_lines(
        &mut self,
        entry: &v1::DiffEntry,
        hunk: usize,
        lines: Range<usize>,
        choice: Choice,
    ) {
        self.change(entry, hunk, |hunk| {
            hunk.edited = None;
            hunk.cut_out(lines, choice);
        });
    }

    /// Splits a piece where unchanged lines stand between changed ones. Says whether there was such a place.
    pub(crate) fn split(&mut self, entry: &v1::DiffEntry, hunk: usize, piece: usize) -> bool {
        let Some(lines) = entry.hunks.get(hunk).map(|hunk| &hunk.lines) else { return false };
        let before = self.of(entry);
        let Some(old) = before.hunks.get(hunk).and_then(|hunk| hunk.pieces.get(piece)) else { return false };
        let mut cuts = Vec::new();
        for line in old.lines.start + 1..old.lines.end {
            let changes = |line: usize| lines.get(line).is_some_and(|line| line.tag != " ");
            let seen = cuts.last().copied().unwrap_or(old.lines.start)..line;
            if changes(line) && !changes(line - 1) && seen.clone().any(changes) {
                cuts.push(line);
            }
        }
        if cuts.is_empty() || before.hunks[hunk].edited.is_some() {
            return false;
        }
        let (range, choice) = (old.lines.clone(), old.choice);
        self.change(entry, hunk, |hunk| {
            let starts = std::iter::once(range.start).chain(cuts.iter().copied());
            let ends = cuts.iter().copied().chain([range.end]);
            let pieces = starts.zip(ends).map(|(start, end)| Piece { lines: start..end, choice });
            hunk.pieces.splice(piece..=piece, pieces);
        });
        true
    }

    /// Puts typed bytes in place of a hunk's new lines, and chooses it.
    pub(crate) fn edit(&mut self, entry: &v1::DiffEntry, hunk: usize, bytes: Vec<u8>) {
        self.change(entry, hunk, |hunk| {
            hunk.pieces = vec![Piece { lines: 0..hunk.lines, choice: Choice::In }];
            hunk.edited = Some(bytes);
        });
    }

    /// Takes the last change back. Says whether there was one.
    pub(crate) fn undo(&mut self) -> bool {
        let Some(step) = self.before.pop() else { return false };
        for (path, file) in step {
            match file {
                Some(file) => drop(self.files.insert(path, file)),
                None => drop(self.files.remove(&path)),
            }
        }
        true
    }

    /// Keeps the choices that were made about the same bytes, and says how many files' are gone.
    pub(crate) fn keep_what_fits(&mut self, document: &Document) -> usize {
        let before = self.files.len();
        self.files.retain(|path, file| {
            document.place(path).is_some_and(|place| file.fits(&document.entries[place]))
        });
        self.before.clear();
        before - self.files.len()
    }

    /// What is to be applied, as the API has it. A directory is named only with everything beneath it.
    pub(crate) fn selection(&self, document: &Document) -> v1::Selection {
        let mut selection = v1::Selection::default();
        for entry in &document.entries {
            let Some(file) = self.files.get(&entry.path) else { continue };
            match file.mark() {
                Mark::All(Choice::Open | Choice::Out) => {}
                Mark::All(Choice::In) if !file.is_edited() => {
                    if self.brings_no_other(entry, document) {
                        selection.paths.push(entry.path.clone());
                    }
                }
                Mark::All(Choice::In) | Mark::Some => selection.parts.push(part(entry, file)),
            }
        }
        selection
    }

    fn brings_no_other(&self, entry: &v1::DiffEntry, document: &Document) -> bool {
        if !is_directory(entry) {
            return true;
        }
        let beneath = document.entries.iter().filter(|other| is_beneath(&other.path, &entry.path));
        beneath
            .into_iter()
            .all(|other| other.kind() != v1::EntryKind::Refused && self.mark(other) == Mark::All(Choice::In))
    }

    fn change(&mut self, entry: &v1::DiffEntry, hunk: usize, change: impl FnOnce(&mut HunkChoices)) {
        let mut file = self.of(entry);
        let Some(hunk) = file.hunks.get_mut(hunk) else { return };
        change(hunk);
        let before = self.files.insert(entry.path.clone(), file);
        self.remember(vec![(entry.path.clone(), before)]);
    }

    fn remember(&mut self, step: Vec<(Vec<u8>, Option<FileChoices>)>) {
        if !step.is_empty() {
            self.before.push(step);
        }
    }
}

fn part(entry: &v1::DiffEntry, file: &FileChoices) -> v1::Part {
    let hunks = file.hunks.iter().filter_map(|hunk| {
        let lines = hunk.chosen()?;
        Some(v1::HunkChoice { hunk: hunk.id.clone(), lines, edited: hunk.edited.clone() })
    });
    v1::Part { path: entry.path.clone(), hunks: hunks.collect() }
}

#[cfg(test)]
mod tests;
