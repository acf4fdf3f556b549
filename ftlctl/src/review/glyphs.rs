//! A line of a file as columns of a screen.
//!
//! Owns tab stops, the width of characters, what white space looks like and where a screen cuts a line. What
//! cannot be seen is spelt out by `render::escape`. Must not know colours, nor which line it is.

use unicode_width::UnicodeWidthChar as _;

use crate::render::escape::{self, Visible};

/// Columns between tab stops.
const TAB: usize = 4;

/// Accents over one character that are shown; more are spelt out, for they would cover other lines.
const ACCENTS: usize = 2;

/// How a glyph looks besides what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// As the line it stands in.
    Text,
    /// The mark of a tab, or of a space where spaces are marked.
    Faint,
    /// White space at the end of a line.
    Trailing,
    /// Spelt out.
    Hidden,
}

/// Something that stands together on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Glyph {
    /// Where its text begins in `Laid.text`.
    pub(crate) start: usize,
    /// Where its text ends.
    pub(crate) end: usize,
    /// Its first column, from the line's beginning.
    pub(crate) column: usize,
    /// Columns it takes.
    pub(crate) width: usize,
    /// Its first byte in the line.
    pub(crate) source: usize,
    /// How it looks.
    pub(crate) look: Look,
}

/// A part of a line that is laid out.
#[derive(Debug, Default)]
pub(crate) struct Laid {
    /// The text of all glyphs.
    pub(crate) text: String,
    /// In the order of columns.
    pub(crate) glyphs: Vec<Glyph>,
    /// Whether the line goes on.
    pub(crate) is_cut: bool,
    /// Columns that are laid out.
    pub(crate) columns: usize,
}

/// Lays a line without its newline out, until `until` columns are full.
pub(crate) fn lay(line: &[u8], until: usize, marks_spaces: bool) -> Laid {
    let mut laid = Laid::default();
    // A carriage return before the newline is seen anyway, and what stands before it is the line's end.
    let content = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_end().len();
    let (mut source, mut accents) = (0, 0);
    for (length, visible) in escape::visible(line) {
        if laid.columns >= until {
            laid.is_cut = true;
            return laid;
        }
        let is_trailing = source >= content;
        match visible {
            Visible::Char('\t') => {
                let width = TAB - laid.columns % TAB;
                let look = if is_trailing { Look::Trailing } else { Look::Faint };
                laid.push(&format!("{:<width$}", "→"), width, source, look);
            }
            Visible::Char(' ') if is_trailing => laid.push("·", 1, source, Look::Trailing),
            Visible::Char(' ') if marks_spaces => laid.push("·", 1, source, Look::Faint),
            Visible::Char(char) => match char.width().unwrap_or(0) {
                0 if accents < ACCENTS && !laid.glyphs.is_empty() => {
                    accents += 1;
                    laid.accent(char);
                }
                0 => laid.spell(&format!("\\u{{{:x}}}", u32::from(char)), source),
                width => {
                    accents = 0;
                    laid.push(char.encode_utf8(&mut [0; 4]), width, source, Look::Text);
                }
            },
            Visible::Spelt(spelt) => {
                accents = ACCENTS;
                laid.spell(&spelt, source);
            }
        }
        source += length;
    }
    laid
}

// === impl Laid ===

impl Laid {
    fn push(&mut self, text: &str, width: usize, source: usize, look: Look) {
        let start = self.text.len();
        self.text.push_str(text);
        let glyph = Glyph { start, end: self.text.len(), column: self.columns, width, source, look };
        self.glyphs.push(glyph);
        self.columns += width;
    }

    /// One glyph per character, so that a screen can cut it anywhere.
    fn spell(&mut self, spelt: &str, source: usize) {
        for char in spelt.chars() {
            self.push(char.encode_utf8(&mut [0; 4]), 1, source, Look::Hidden);
        }
    }

    fn accent(&mut self, char: char) {
        self.text.push(char);
        if let Some(last) = self.glyphs.last_mut() {
            last.end = self.text.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        lay(line.as_bytes(), 1000, false).text
    }

    #[test]
    fn nothing_is_invisible() {
        let table = [
            ("a b", "a b"),
            ("\tx", "→   x"),
            ("ab\tx", "ab→ x"),
            ("x  ", "x··"),
            ("x \r", "x·\\r"),
            ("a\rb", "a\\rb"),
            ("\u{1b}[2J", "\\x1b[2J"),
            ("\u{202e}x", "\\u{202e}x"),
            ("e\u{301}", "e\u{301}"),
            ("e\u{301}\u{301}\u{301}", "e\u{301}\u{301}\\u{301}"),
            ("\u{301}", "\\u{301}"),
            ("p\u{430}y", "p\\u{430}y"),
            ("漢x", "漢x"),
        ];
        for (line, expected) in table {
            assert_eq!(shown(line), expected, "{line:?}");
        }
        assert_eq!(lay(b"a b", 9, true).text, "a·b");
        assert_eq!(lay(b"\xff", 9, false).text, "\\xff");
    }

    #[test]
    fn columns_add_up_and_the_rest_is_not_looked_at() {
        let laid = lay("漢\tx".as_bytes(), 100, false);
        let columns: Vec<_> = laid.glyphs.iter().map(|glyph| (glyph.column, glyph.width)).collect();
        assert_eq!(columns, [(0, 2), (2, 2), (4, 1)]);
        assert!(!laid.is_cut);
        let long = vec![b'x'; 10_000_000];
        let laid = lay(&long, 80, false);
        assert_eq!((laid.glyphs.len(), laid.is_cut), (80, true));
        assert!(!lay(&long[..80], 80, false).is_cut);
    }
}
