//! Lines of code, character by character.
//!
//! Owns what a line of a diff looks like inside: language, words that differ, what was looked for, white space
//! and a missing newline. Works on what is seen: a few lines before the screen are read to know what they
//! begin, and of a long line only what fits. Must not know what stands beside it.

use std::ops::Range;

use ftl_proto::v1;

use crate::review::glyphs::{self, Glyph, Look};
use crate::review::state::State;
use crate::review::syntax::{self, Class, Inside, Language};
use crate::review::update::matches_in;
use crate::review::view::Canvas;
use crate::review::view::theme::{Code, Ink, Side};

/// Rows above the screen that are read to know what its first line begins in.
const LOOK_BACK: usize = 200;

/// Where a line goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Its first column.
    pub(super) x: u16,
    /// Its first row.
    pub(super) y: u16,
    /// Columns.
    pub(super) width: usize,
    /// Rows.
    pub(super) rows: usize,
    /// Rows of the line that are above.
    pub(super) above: usize,
    /// Columns of the line that are to the left, where it is not wrapped.
    pub(super) left: usize,
}

/// Paints lines from top to bottom.
pub(super) struct Painter<'a> {
    state: &'a State,
    entry: &'a v1::DiffEntry,
    language: Option<&'static Language>,
    /// What the next line of each side begins in.
    old: Inside,
    new: Inside,
    /// The row whose beginning that is.
    at: Option<usize>,
}

/// What is known of a line's bytes.
struct Marks {
    classes: Vec<(Range<usize>, Class)>,
    differs: Vec<Range<usize>>,
    found: Vec<Range<usize>>,
}

// === impl Painter ===

impl<'a> Painter<'a> {
    pub(super) fn new(state: &'a State, entry: &'a v1::DiffEntry) -> Self {
        let language = syntax::language(&entry.path);
        Self { state, entry, language, old: Inside::Code, new: Inside::Code, at: None }
    }

    /// Reads what stands a little above a row, to know what it begins in.
    pub(super) fn reach(&mut self, row: usize) {
        if self.language.is_none() || self.at.is_some() {
            return;
        }
        self.at = Some(row);
        let rows = &self.state.pane.index.rows;
        let Some(hunk) = rows.get(row).and_then(|row| row.hunk()) else { return };
        for above in rows[row.saturating_sub(LOOK_BACK)..row].iter().filter(|row| row.hunk() == Some(hunk)) {
            for line in above.lines() {
                let Some(line) = self.state.pane.index.lines(self.entry, hunk).get(line) else { continue };
                let side = match line.tag.as_str() {
                    "-" => Side::Old,
                    "+" => Side::New,
                    _ => Side::Same,
                };
                self.classes(&line.text, side);
            }
        }
    }

    /// What stands where in a line, and what the next one of its side begins in.
    fn classes(&mut self, text: &[u8], side: Side) -> Vec<(Range<usize>, Class)> {
        let Some(language) = self.language else { return Vec::new() };
        match side {
            Side::Old => syntax::classes(language, text, &mut self.old),
            Side::New => syntax::classes(language, text, &mut self.new),
            Side::Same => {
                // Both sides go on with the same line; what it begins in is that of the new one.
                let classes = syntax::classes(language, text, &mut self.new);
                self.old = self.new;
                classes
            }
        }
    }

    /// Paints a line and gives the row behind it.
    pub(super) fn line(
        &mut self,
        hunk: usize,
        line: u32,
        side: Side,
        window: Window,
        canvas: &mut Canvas<'_>,
    ) -> u16 {
        #[cfg(test)]
        PAINTED.with(|painted| painted.set(painted.get() + 1));
        let lines = self.state.pane.index.lines(self.entry, hunk);
        let Some(line) = lines.get(line as usize) else { return window.y + 1 };
        let is_ended = line.text.ends_with(b"\n");
        let text = line.text.strip_suffix(b"\n").unwrap_or(&line.text);
        let differs = line.changed.iter().map(|span| span.start as usize..span.end as usize).collect();
        let found = self.state.search.as_ref().map_or_else(Vec::new, |pattern| matches_in(text, pattern));
        let marks = Marks { classes: self.classes(text, side), differs, found };
        let wraps = window.rows > 1 || self.state.options.wrap;
        let (skipped, until) = if wraps {
            (window.above * window.width, (window.above + window.rows) * window.width)
        } else {
            (window.left, window.left + window.width)
        };
        let laid = glyphs::lay(text, until, self.state.options.spaces);
        let seen = laid.glyphs.iter().filter(|glyph| glyph.column >= skipped && glyph.column < until);
        let mut last = window.y;
        for (style, x, y, text) in runs(seen, &laid.text, |glyph| {
            let at = glyph.column - skipped;
            let (row, column) = if wraps { (at / window.width, at % window.width) } else { (0, at) };
            (code(&marks, glyph, side), row, column)
        }) {
            let (x, y) = (window.x + cells(x), window.y + cells(y));
            last = last.max(y);
            let room = (window.x + cells(window.width)).saturating_sub(x);
            canvas.put_styled(x, y, text, canvas.theme.code(style), room);
        }
        for y in (window.y + 1..=last).filter(|_| wraps) {
            canvas.put(window.x.saturating_sub(2), y, "↪", Ink::Faint);
        }
        if !wraps && laid.is_cut {
            canvas.put(window.x + cells(window.width.saturating_sub(1)), window.y, "…", Ink::Faint);
        }
        if !wraps && window.left > 0 && !text.is_empty() {
            canvas.put(window.x, window.y, "…", Ink::Faint);
        }
        if !is_ended && !laid.is_cut {
            self.no_newline(laid.columns, skipped, window, wraps, canvas);
        }
        last + 1
    }

    fn no_newline(
        &self,
        columns: usize,
        skipped: usize,
        window: Window,
        wraps: bool,
        canvas: &mut Canvas<'_>,
    ) {
        const TEXT: &str = r" \ no newline at the end";
        let at = columns.saturating_sub(skipped);
        let (row, column) =
            if wraps { (at / window.width.max(1), at % window.width.max(1)) } else { (0, at) };
        let room = window.width.saturating_sub(column);
        // Where there is no room for the words, one mark says it.
        let text = if room < TEXT.len() { "∅" } else { TEXT };
        let style = canvas.theme.ink(Ink::Warning);
        canvas.put_styled(window.x + cells(column), window.y + cells(row), text, style, cells(room));
    }
}

#[cfg(test)]
thread_local! {
    static PAINTED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Lines that this thread has painted.
#[cfg(test)]
pub(super) fn painted() -> usize {
    PAINTED.with(std::cell::Cell::get)
}

/// Glyphs that look the same and touch, as one piece of text: style, column, row.
fn runs<'t, 'g>(
    glyphs: impl Iterator<Item = &'g Glyph>,
    text: &'t str,
    place: impl Fn(&Glyph) -> (Code, usize, usize),
) -> Vec<(Code, usize, usize, &'t str)> {
    let mut runs: Vec<(Code, usize, usize, Range<usize>, usize)> = Vec::new();
    for glyph in glyphs {
        let (code, row, column) = place(glyph);
        match runs.last_mut() {
            Some((last, _, y, range, end)) if *last == code && *y == row && *end == column => {
                (range.end, *end) = (glyph.end, column + glyph.width);
            }
            _ => runs.push((code, column, row, glyph.start..glyph.end, column + glyph.width)),
        }
    }
    runs.into_iter().map(|(code, x, y, range, _)| (code, x, y, &text[range])).collect()
}

fn code(marks: &Marks, glyph: &Glyph, side: Side) -> Code {
    let at = glyph.source;
    let within = |ranges: &[Range<usize>]| {
        let next = ranges.partition_point(|range| range.end <= at);
        ranges.get(next).is_some_and(|range| range.contains(&at))
    };
    let next = marks.classes.partition_point(|(range, _)| range.end <= at);
    let class = marks.classes.get(next).filter(|(range, _)| range.contains(&at)).map(|(_, class)| *class);
    let class = if glyph.look == Look::Text { class } else { None };
    Code { side, class, differs: within(&marks.differs), found: within(&marks.found), look: glyph.look }
}

/// As columns or rows of the screen.
fn cells(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}
