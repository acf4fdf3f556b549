//! Search in paths and lines.
//!
//! Owns what matches and in which order. Must not know how a match is shown.

use std::ops::Range;

use crate::review::document::Row as ListRow;
use crate::review::glyphs;
use crate::review::state::{Focus, State};

/// Bytes of a line in which matches are marked.
const LONGEST: usize = 65_536;

/// Whether the pattern occurs; capitals count only where it has some.
fn matches(text: &[u8], pattern: &[u8]) -> bool {
    next(text, pattern, 0).is_some()
}

/// The first occurrence from an offset on.
fn next(text: &[u8], pattern: &[u8], from: usize) -> Option<usize> {
    let exact = pattern.iter().any(u8::is_ascii_uppercase);
    let rest = text.get(from..)?;
    if pattern.is_empty() || rest.len() < pattern.len() {
        return None;
    }
    let same = |window: &[u8]| if exact { window == pattern } else { window.eq_ignore_ascii_case(pattern) };
    rest.windows(pattern.len()).position(same).map(|at| from + at)
}

/// Every occurrence in a line, as far as anybody reads.
pub(crate) fn matches_in(text: &[u8], pattern: &[u8]) -> Vec<Range<usize>> {
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(at) = next(&text[..text.len().min(LONGEST)], pattern, from) {
        from = at + pattern.len();
        found.push(at..from);
    }
    found
}

/// Something that can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// The path itself.
    Path,
    /// A line of a hunk.
    Line(usize, usize),
}

// === impl State ===

impl State {
    pub(super) fn search_for(&mut self, pattern: &str) {
        if pattern.is_empty() {
            self.search = None;
            return;
        }
        self.search = Some(pattern.as_bytes().to_vec());
        self.search_again(true);
    }

    /// Goes to the next match, or the one before, over all files and around.
    pub(super) fn search_again(&mut self, forward: bool) {
        let Some(pattern) = self.search.clone() else { return };
        let places: Vec<usize> = self
            .document
            .rows(&std::collections::HashSet::new())
            .iter()
            .filter_map(|row| if let ListRow::File(place, _) = row { Some(*place) } else { None })
            .collect();
        if places.is_empty() {
            return;
        }
        let current = self.pane.file.and_then(|file| places.iter().position(|place| *place == file));
        let start = current.unwrap_or(0);
        let at = self.position();
        // The current file twice: first what lies ahead, at the end what lies behind.
        for step in 0..=places.len() {
            let step = if forward { step } else { places.len() - step % (places.len() + 1) };
            let place = places[(start + step) % places.len()];
            let is_current = (start + step) % places.len() == start;
            let is_first = is_current && step == if forward { 0 } else { places.len() };
            let mut found = self.found(place, &pattern);
            if is_first {
                found.retain(|one| if forward { rank(*one) > rank(at) } else { rank(*one) < rank(at) });
            }
            let one = if forward { found.first() } else { found.last() };
            if let Some(one) = one {
                return self.show_found(place, *one);
            }
        }
        let shown = crate::render::escape::name(&pattern);
        self.complain(format!("no {shown}"));
    }

    fn position(&self) -> Found {
        let row = self.pane.index.rows.get(self.pane.cursor);
        match row.and_then(|row| Some((row.hunk()?, row.lines().last()))) {
            Some((hunk, Some(line))) => Found::Line(hunk, line),
            // Before the hunk's first line.
            Some((hunk, None)) if hunk > 0 => Found::Line(hunk - 1, usize::MAX),
            _ => Found::Path,
        }
    }

    fn found(&self, place: usize, pattern: &[u8]) -> Vec<Found> {
        let Some(entry) = self.document.entries.get(place) else { return Vec::new() };
        let mut found = Vec::new();
        if matches(&entry.path, pattern) {
            found.push(Found::Path);
        }
        for (number, hunk) in entry.hunks.iter().enumerate() {
            let lines = hunk.lines.iter().enumerate().filter(|(_, line)| matches(&line.text, pattern));
            found.extend(lines.map(|(line, _)| Found::Line(number, line)));
        }
        found
    }

    /// Brings the first match of a long line onto the screen.
    fn show_match(&mut self, row: usize) {
        let width = self.text_width();
        let column = self.search.as_ref().and_then(|pattern| {
            let text = self.row_texts(row).find(|text| matches(text, pattern))?;
            let at = next(text, pattern, 0)?;
            let laid = glyphs::lay(text, WIDEST, self.options.spaces);
            let end = laid.glyphs.iter().find(|glyph| glyph.source >= at + pattern.len());
            Some(end.map_or(laid.columns, |glyph| glyph.column))
        });
        self.pane.left = match column {
            Some(column) if column > width => column.saturating_sub(width / 2),
            _ => 0,
        };
    }

    fn show_found(&mut self, place: usize, found: Found) {
        self.reveal(place);
        match found {
            Found::Path => {
                (self.pane.cursor, self.pane.top) = (0, 0);
            }
            Found::Line(hunk, line) => {
                self.focus = Focus::Diff;
                if self.folded.remove(&(place, hunk)) {
                    self.index_again();
                }
                if let Some(row) = self.pane.index.find(hunk, line) {
                    self.show_from(row);
                    self.show_match(row);
                }
            }
        }
    }
}

/// Columns of a line in which a match is brought onto the screen.
const WIDEST: usize = 100_000;

fn rank(found: Found) -> (usize, usize) {
    match found {
        Found::Path => (0, 0),
        Found::Line(hunk, line) => (hunk + 1, line),
    }
}
