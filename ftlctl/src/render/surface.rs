//! What bytes put lines, streamed text and one status line on a terminal.
//!
//! Owns where the cursor stands, and that the status line leaves nothing behind: it is always drawn below the
//! place where the next text goes, and the cursor goes back there, so that erasing everything after the cursor
//! removes it whatever size the terminal has by then. Also owns the folding of long lines: what a sandboxed
//! program says keeps its bar in every row. Must not know the terminal: its width is an argument, and bytes are
//! handed back.

use unicode_width::UnicodeWidthChar as _;

/// Erases everything from the cursor on.
const ERASE: &str = "\x1b[J";

/// Makes sure that there is a row below without leaving the column: down, which scrolls at the bottom, and up.
const ROOM: &str = "\x1bD\x1bM";

/// Columns that a text must have at least to be folded; below that the terminal does it.
const NARROWEST: usize = 20;

/// What a row of our own begins with that goes on from the one above.
pub(crate) const INDENT: &str = "    ";

/// What is on the terminal around the cursor.
#[derive(Debug, Default)]
pub(crate) struct Surface {
    /// The column of the cursor; 0 is the beginning of an empty line.
    column: usize,
    /// The status line that is drawn.
    status: Option<String>,
}

// === impl Surface ===

impl Surface {
    /// A whole line, behind a new line when text stands in the middle of one. `bar` begins every row that has no
    /// room in the one above; without `columns` nothing is folded.
    pub(crate) fn line(&mut self, text: &str, bar: &str, columns: Option<usize>) -> String {
        let mut bytes = self.begin();
        for line in text.split('\n') {
            let mut column = 0;
            fold(line, bar, columns, &mut column, &mut bytes);
            bytes.push('\n');
        }
        bytes
    }

    /// Text that goes on where the last text ended.
    pub(crate) fn text(&mut self, text: &str, bar: &str, columns: Option<usize>) -> String {
        let mut bytes = self.erase();
        fold(text, bar, columns, &mut self.column, &mut bytes);
        bytes
    }

    /// Draws the status line, which must be shorter than a row, or removes it.
    pub(crate) fn status(&mut self, status: Option<&str>) -> String {
        if self.status.as_deref() == status {
            return String::new();
        }
        let mut bytes = self.erase();
        if let Some(text) = status {
            if self.column == 0 {
                bytes += &format!("{text}\r");
            } else {
                bytes += &format!("{ROOM}\x1b7\x1b[B\r{text}\x1b8");
            }
            self.status = Some(text.to_owned());
        }
        bytes
    }

    /// Goes to the beginning of an empty line.
    pub(crate) fn begin(&mut self) -> String {
        let mut bytes = self.erase();
        if self.column > 0 {
            bytes.push('\n');
            self.column = 0;
        }
        bytes
    }

    /// Somebody else wrote, and stopped in the middle of a line or not.
    pub(crate) fn written(&mut self, is_midline: bool) {
        self.status = None;
        self.column = usize::from(is_midline);
    }

    /// Whether text stands in the middle of a line.
    pub(crate) fn is_midline(&self) -> bool {
        self.column > 0
    }

    fn erase(&mut self) -> String {
        match (self.status.take(), self.column) {
            (None, _) => String::new(),
            // What somebody typed meanwhile stands in its place.
            (Some(_), 0) => format!("\r{ERASE}"),
            (Some(_), _) => ERASE.to_owned(),
        }
    }
}

/// As much of a line as surely fits; characters beyond ASCII count double because some are that wide.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    let mut room = columns.saturating_sub(1);
    text.chars()
        .take_while(|char| {
            let width = if char.is_ascii() { 1 } else { 2 };
            let fits = width <= room;
            room = room.saturating_sub(width);
            fits
        })
        .collect()
}

/// Appends the text with new lines, each with the bar, where a row would be longer than the terminal is wide. The
/// last column stays free: a cursor behind it is in no row.
fn fold(text: &str, bar: &str, columns: Option<usize>, column: &mut usize, bytes: &mut String) {
    let limit = columns.filter(|columns| *columns >= NARROWEST).map_or(usize::MAX, |columns| columns - 1);
    let mut rest = text;
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(word_end(rest));
        rest = behind;
        let room = limit.saturating_sub(*column);
        let whole = width(word);
        // A word that fills half a row is cut like everything that has no spaces.
        if whole > room && whole <= limit / 2 && *column > width(bar) {
            let word = word.trim_start_matches(' ');
            *bytes += &format!("\n{bar}{word}");
            *column = width(bar) + width(word);
        } else {
            cut(word, bar, limit, column, bytes);
        }
    }
}

/// Where the first word ends, with the spaces before it.
fn word_end(text: &str) -> usize {
    let spaces = text.len() - text.trim_start_matches(' ').len();
    text[spaces..].find([' ', '\n']).map_or(text.len(), |end| {
        let end = spaces + end;
        // A newline is a word of its own.
        if end == 0 { 1 } else { end }
    })
}

fn cut(word: &str, bar: &str, limit: usize, column: &mut usize, bytes: &mut String) {
    let mut painted = false;
    for char in word.chars() {
        match char {
            '\n' => *column = 0,
            '\x1b' => painted = true,
            'm' if painted => painted = false,
            _ if painted => {}
            _ => {
                let width = match char {
                    '\t' => 8 - *column % 8,
                    _ => char.width().unwrap_or(0),
                };
                if column.saturating_add(width) > limit && *column > 0 {
                    *bytes += &format!("\n{bar}");
                    *column = self::width(bar);
                }
                *column = column.saturating_add(width);
            }
        }
        bytes.push(char);
    }
}

/// Columns that a text takes; what only colours takes none.
pub(crate) fn width(text: &str) -> usize {
    let mut painted = false;
    text.chars()
        .map(|char| match char {
            '\x1b' => {
                painted = true;
                0
            }
            'm' if painted => {
                painted = false;
                0
            }
            _ if painted => 0,
            '\t' => 8,
            _ => char.width().unwrap_or(0),
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAR: &str = "│ ";

    #[test]
    fn the_status_is_below_what_is_said_and_goes_before_the_next_word() {
        let mut surface = Surface::default();
        assert_eq!(surface.status(Some("… working")), "… working\r");
        assert_eq!(surface.status(Some("… working")), "", "the same is not drawn again");
        assert_eq!(surface.line("done", "", None), "\r\x1b[Jdone\n");
        assert_eq!(surface.text("│ Hel", BAR, None), "│ Hel");
        assert_eq!(surface.status(Some("… x")), "\x1bD\x1bM\x1b7\x1b[B\r… x\x1b8");
        assert_eq!(surface.text("lo", BAR, None), "\x1b[Jlo");
        assert_eq!(surface.line("next", "", None), "\nnext\n");
        assert_eq!(surface.status(None), "");
    }

    #[test]
    fn what_another_wrote_is_not_erased() {
        let mut surface = Surface::default();
        surface.status(Some("x"));
        surface.written(true);
        assert!(surface.is_midline());
        assert_eq!(surface.begin(), "\n");
    }

    #[test]
    fn a_long_line_keeps_its_bar_in_every_row() {
        let mut surface = Surface::default();
        let said = format!("│ {}applied 4 paths", "x".repeat(17));
        let shown = surface.line(&said, BAR, Some(20));
        assert_eq!(shown, format!("│ {}\n│ applied 4 paths\n", "x".repeat(17)));
        let painted = "\x1b[2m│ \x1b[0m";
        assert_eq!(
            surface.line(&format!("{painted}{}", "y".repeat(40)), painted, Some(40)).lines().count(),
            2
        );
        assert_eq!(surface.line(&"z".repeat(100), BAR, None).lines().count(), 1, "a file has no width");
        assert_eq!(surface.line(&"z".repeat(100), BAR, Some(10)).lines().count(), 1, "no room for anything");
    }

    #[test]
    fn streamed_text_is_folded_over_its_pieces() {
        let mut surface = Surface::default();
        let mut shown = surface.text("│ one two three", BAR, Some(20));
        shown += &surface.text(" four five", BAR, Some(20));
        shown += &surface.text("\n│ six", BAR, Some(20));
        assert_eq!(shown, "│ one two three\n│ four five\n│ six");
        for row in shown.lines() {
            assert!(width(row) < 20 && row.starts_with(BAR), "{row}");
        }
    }

    #[test]
    fn wide_characters_and_tabs_count_as_they_are_shown() {
        assert_eq!(width("漢字"), 4);
        assert_eq!(width("\x1b[1ma\x1b[0m"), 1);
        let mut surface = Surface::default();
        assert_eq!(
            surface.line(&"漢".repeat(15), "", Some(20)),
            format!("{}\n{}\n", "漢".repeat(9), "漢".repeat(6))
        );
    }

    #[test]
    fn a_status_line_never_wraps() {
        assert_eq!(fit("abcdef", 5), "abcd");
        assert_eq!(fit("漢字漢字", 6), "漢字");
        assert_eq!(fit("abc", 80), "abc");
        assert_eq!(fit("abc", 0), "");
    }
}
