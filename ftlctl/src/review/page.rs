//! A page of lines in the place of files and diff, which may come one after the other.
//!
//! Owns how long lines are broken over the columns that there are, what of them was on the screen, and that a page
//! hears only what was asked for it. Must not know where lines come from. Lines are escaped before they get here.

use std::ops::Range;

use unicode_width::UnicodeWidthChar as _;

use crate::review::state::Approving;

/// Columns beside the text: the mark of a line that goes on, and the margins.
pub(crate) const BESIDE: u16 = 3;

/// What a page is of.
#[derive(Debug)]
pub(crate) enum Subject {
    /// What left the sandbox.
    Ledger,
    /// Where hunks come from.
    Origins,
    /// What would be written where the human has edited too; the approval follows.
    Merged(Box<Approving>),
}

/// What a line is, besides its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voice {
    /// Text.
    Plain,
    /// A heading.
    Heading,
    /// Where a hunk stands.
    Position,
    /// Added.
    Added,
    /// Removed.
    Removed,
    /// Deserves a look.
    Warning,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Escaped, without a newline.
    pub(crate) text: String,
    /// What it is.
    pub(crate) voice: Voice,
}

/// A page.
#[derive(Debug)]
pub(crate) struct Page {
    /// What it is of.
    pub(crate) of: Subject,
    /// What was asked for it: nothing else is heard.
    pub(crate) number: u64,
    /// Its heading. Escaped.
    pub(crate) title: String,
    /// Whether all lines have come.
    pub(crate) is_whole: bool,
    /// The first row that is seen.
    pub(crate) top: usize,
    lines: Vec<Line>,
    /// What of which line stands in which row.
    rows: Vec<(usize, Range<usize>)>,
    columns: usize,
    height: usize,
    /// Rows that were on the screen, from the first one on.
    seen: usize,
}

// === impl Line ===

impl Line {
    /// Text.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), voice: Voice::Plain }
    }

    /// Text of a kind.
    pub(crate) fn new(voice: Voice, text: impl Into<String>) -> Self {
        Self { text: text.into(), voice }
    }
}

// === impl Page ===

impl Page {
    /// A page of which nothing has come.
    pub(crate) fn new(of: Subject, number: u64, title: impl Into<String>, size: (u16, usize)) -> Self {
        let mut page = Self {
            of,
            number,
            title: title.into(),
            is_whole: false,
            top: 0,
            lines: Vec::new(),
            rows: Vec::new(),
            columns: 0,
            height: 0,
            seen: 0,
        };
        page.resize(size);
        page
    }

    /// Takes lines that come behind the others.
    pub(crate) fn extend(&mut self, lines: impl IntoIterator<Item = Line>) {
        for line in lines {
            self.rows.extend(broken(&line.text, self.columns).map(|part| (self.lines.len(), part)));
            self.lines.push(line);
        }
        self.look();
    }

    /// Takes another size of the screen: its columns, and the rows of the page beneath its heading.
    pub(crate) fn resize(&mut self, (columns, height): (u16, usize)) {
        let columns = usize::from(columns.saturating_sub(BESIDE)).max(1);
        self.height = height.max(1);
        if columns != self.columns {
            let at = self.rows.get(self.top).map_or(0, |row| row.0);
            // What was seen is counted in lines: of the one that is cut, nothing.
            let seen = self.rows.get(self.seen).map_or(self.lines.len(), |row| row.0);
            self.columns = columns;
            let lines = self.lines.iter().enumerate();
            self.rows = lines
                .flat_map(|(at, line)| broken(&line.text, columns).map(move |part| (at, part)))
                .collect();
            self.top = self.rows.iter().position(|row| row.0 == at).unwrap_or(0);
            self.seen = self.rows.iter().position(|row| row.0 == seen).unwrap_or(self.rows.len());
        }
        self.look();
    }

    /// Moves by a key; others do nothing.
    pub(crate) fn scroll(&mut self, key: &str) {
        let last = self.rows.len().saturating_sub(self.height);
        let top = match key {
            "j" | "Down" => self.top + 1,
            "k" | "Up" => self.top.saturating_sub(1),
            "PgDn" | "Space" | "Ctrl-f" => self.top + self.height,
            "PgUp" | "Ctrl-b" => self.top.saturating_sub(self.height),
            "Ctrl-d" => self.top + self.height / 2,
            "Ctrl-u" => self.top.saturating_sub(self.height / 2),
            "g" | "Home" => 0,
            "G" | "End" => last,
            _ => self.top,
        };
        self.top = top.min(last);
        self.look();
    }

    /// What is on the screen counts as seen, as far as it goes on from what was.
    fn look(&mut self) {
        if self.top <= self.seen {
            self.seen = self.seen.max(self.top + self.height).min(self.rows.len());
        }
    }

    /// Whether every row was on the screen.
    pub(crate) fn is_seen(&self) -> bool {
        self.is_whole && self.seen >= self.rows.len()
    }

    /// Rows below what is on the screen.
    pub(crate) fn below(&self) -> usize {
        self.rows.len().saturating_sub(self.top + self.height)
    }

    /// The rows that are seen: their text, whether they go on from the one before, and what they are.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (&str, bool, Voice)> {
        let rows = self.rows.iter().skip(self.top).take(self.height);
        rows.filter_map(|(at, part)| {
            let line = self.lines.get(*at)?;
            Some((line.text.get(part.clone())?, part.start > 0, line.voice))
        })
    }
}

/// The parts of a line that fit beside one another; an empty line is one of them.
fn broken(text: &str, columns: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    let (mut parts, mut start, mut taken) = (Vec::new(), 0, 0);
    for (at, char) in text.char_indices() {
        let width = char.width().unwrap_or(0);
        if taken + width > columns && at > start {
            parts.push(start..at);
            (start, taken) = (at, 0);
        }
        taken += width;
    }
    parts.push(start..text.len());
    parts.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(lines: &[&str], size: (u16, usize)) -> Page {
        let mut page = Page::new(Subject::Ledger, 1, "title", size);
        page.extend(lines.iter().map(|line| Line::plain(*line)));
        page
    }

    fn rows(page: &Page) -> Vec<(&str, bool)> {
        page.shown().map(|(text, goes_on, _)| (text, goes_on)).collect()
    }

    #[test]
    fn long_lines_are_broken_and_none_is_cut() {
        let mut page = page(&["abcdef", "", "漢字漢"], (BESIDE + 4, 10));
        let expected = [("abcd", false), ("ef", true), ("", false), ("漢字", false), ("漢", true)];
        assert_eq!(rows(&page), expected);
        page.resize((BESIDE + 6, 10));
        assert_eq!(rows(&page), [("abcdef", false), ("", false), ("漢字漢", false)]);
        page.resize((0, 10));
        assert_eq!(rows(&page).len(), 10);
    }

    #[test]
    fn only_what_was_on_the_screen_is_seen() {
        let mut page = page(&["1", "2", "3", "4", "5", "6"], (20, 2));
        page.is_whole = true;
        assert!(!page.is_seen());
        // The end alone is not the whole way to it.
        page.scroll("G");
        assert!(!page.is_seen());
        for key in ["g", "Space", "j", "j", "j"] {
            page.scroll(key);
        }
        assert!(page.is_seen());
        page.extend([Line::plain("7")]);
        assert!(!page.is_seen());
        page.scroll("Space");
        assert!(page.is_seen());
        // Narrower, every row is a new one where a line was cut.
        let mut wide = self::page(&["abcdefgh", "x"], (BESIDE + 8, 1));
        wide.is_whole = true;
        wide.scroll("j");
        assert!(wide.is_seen());
        wide.resize((BESIDE + 2, 1));
        assert!(wide.is_seen());
    }
}
