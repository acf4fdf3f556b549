//! Makes hostile text harmless: what could move a cursor, hide, reorder or fake text is spelt out.
//!
//! Owns the list of characters that are never written to a terminal as they are, and that a letter of another
//! script among Latin ones is one of them. Must not know what the text is: names, file contents, an agent's words
//! and the daemon's messages all pass here.

use std::fmt::Write as _;

use crate::render::alike;
use crate::render::style::{Style, Tone};

/// Columns of a line that are shown; the rest is counted, not shown.
pub(crate) const COLUMNS: usize = 500;

/// One line, cut to [`COLUMNS`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CutLine {
    /// What is shown, escaped.
    pub(crate) text: String,
    /// How many characters are not.
    pub(crate) hidden: usize,
}

/// How text is split over lines where it is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Newlines and tabs stay.
    Lines,
    /// Tabs stay.
    Line,
    /// Nothing stays: a name must not look like two.
    Name,
}

/// A character, or a byte that is none.
enum Unit {
    Char(char),
    /// A character that looks like another one in its word.
    Alike(char),
    Byte(u8),
}

/// A piece of a line in its visible form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Visible {
    /// A character that is shown as it is; a tab is one.
    Char(char),
    /// What stands for a character or byte that would not have been seen as what it is.
    Spelt(String),
}

/// Text of several lines; only newlines and tabs stay as they are.
pub(crate) fn text(text: &str) -> String {
    escape(text.as_bytes(), Layout::Lines, Style::Plain)
}

/// Bytes of several lines; only newlines and tabs stay as they are.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    escape(bytes, Layout::Lines, Style::Plain)
}

/// A name: a path, an id, a word. Newlines and tabs are spelt out too.
pub(crate) fn name(name: impl AsRef<[u8]>) -> String {
    escape(name.as_ref(), Layout::Name, Style::Plain)
}

/// The first line of a text, at most `limit` characters of it, with `…` where something is missing.
pub(crate) fn summary(text: &str, limit: usize) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let mut short = name(line);
    if short.chars().count() > limit {
        short = short.chars().take(limit.saturating_sub(1)).collect::<String>() + "…";
    } else if line.len() < text.trim().len() {
        short.push('…');
    }
    short
}

/// One line of a file without its newline, cut after [`COLUMNS`] columns.
pub(crate) fn line(bytes: &[u8], style: Style) -> CutLine {
    let mut shown = String::new();
    let mut columns = 0;
    let mut units = units(bytes);
    while columns < COLUMNS {
        let Some(unit) = units.next() else { return CutLine { text: shown, hidden: 0 } };
        columns += push(&mut shown, &unit, Layout::Line, style);
    }
    CutLine { text: shown, hidden: units.count() }
}

/// The visible form of a line without its newline, each piece with the bytes it takes in the line. Nothing is
/// cut: whoever shows it takes as many as fit.
pub(crate) fn visible(bytes: &[u8]) -> impl Iterator<Item = (usize, Visible)> {
    units(bytes).map(|unit| {
        let length = match unit {
            Unit::Char(char) | Unit::Alike(char) => char.len_utf8(),
            Unit::Byte(_) => 1,
        };
        let visible = match (spelt(&unit, Layout::Line), unit) {
            (Some(spelt), _) => Visible::Spelt(spelt),
            (None, Unit::Char(char) | Unit::Alike(char)) => Visible::Char(char),
            // Every byte that is no character is spelt out.
            (None, Unit::Byte(_)) => Visible::Spelt(String::new()),
        };
        (length, visible)
    })
}

/// JSON text in which no such character stands: inside its strings they become `\u` escapes, so that
/// the value is the same and a terminal is safe.
pub(crate) fn json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for char in json.chars() {
        if char.is_ascii() && char != '\x7f' || !is_hostile(char) {
            safe.push(char);
        } else {
            for unit in char.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        }
    }
    safe
}

/// Whether a terminal shows the bytes as they are: they hold nothing that moves its cursor, hides or reorders.
/// A carriage return may stand at the end of a line.
pub(crate) fn is_harmless(bytes: &[u8]) -> bool {
    let mut units = bytes.utf8_chunks().flat_map(|chunk| {
        let broken = chunk.invalid().iter().copied().map(Unit::Byte);
        chunk.valid().chars().map(Unit::Char).chain(broken)
    });
    let mut last = '\0';
    units.all(|unit| {
        let is_fine = match unit {
            Unit::Char('\n' | '\t') => true,
            Unit::Char(char) => last != '\r' && (char == '\r' || !is_hostile(char)),
            Unit::Alike(_) => true,
            // Where text is not UTF-8, these are control characters of their own.
            Unit::Byte(byte) => last != '\r' && !(0x80..=0x9f).contains(&byte),
        };
        last = if let Unit::Char(char) = unit { char } else { '\0' };
        is_fine
    })
}

fn escape(bytes: &[u8], layout: Layout, style: Style) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for unit in units(bytes) {
        push(&mut shown, &unit, layout, style);
    }
    shown
}

fn units(bytes: &[u8]) -> impl Iterator<Item = Unit> {
    bytes
        .utf8_chunks()
        .flat_map(|chunk| chars(chunk.valid()).chain(chunk.invalid().iter().copied().map(Unit::Byte)))
}

fn chars(text: &str) -> impl Iterator<Item = Unit> {
    let mut alike = alike::positions(text).into_iter().peekable();
    text.char_indices().map(move |(at, char)| {
        if alike.next_if_eq(&at).is_some() { Unit::Alike(char) } else { Unit::Char(char) }
    })
}

/// What stands in the unit's place; nothing when it may be shown as it is.
fn spelt(unit: &Unit, layout: Layout) -> Option<String> {
    match unit {
        Unit::Char('\t') if layout != Layout::Name => None,
        Unit::Char('\n') if layout == Layout::Lines => None,
        Unit::Char(char) if !(is_hostile(*char) || layout == Layout::Name && is_like_a_separator(*char)) => {
            None
        }
        Unit::Char('\n') => Some("\\n".to_owned()),
        Unit::Char('\t') => Some("\\t".to_owned()),
        Unit::Char('\r') => Some("\\r".to_owned()),
        Unit::Char(char) if char.is_ascii() => Some(format!("\\x{:02x}", u32::from(*char))),
        Unit::Char(char) | Unit::Alike(char) => Some(format!("\\u{{{:x}}}", u32::from(*char))),
        Unit::Byte(byte) => Some(format!("\\x{byte:02x}")),
    }
}

/// Appends the unit's visible form and says how many columns it takes, as far as can be known.
fn push(shown: &mut String, unit: &Unit, layout: Layout, style: Style) -> usize {
    match (spelt(unit, layout), unit) {
        (Some(spelt), _) => {
            shown.push_str(&style.paint(Tone::Hidden, &spelt));
            spelt.len()
        }
        (None, Unit::Char(char) | Unit::Alike(char)) => {
            shown.push(*char);
            1
        }
        (None, Unit::Byte(_)) => 0,
    }
}

/// Whether a character acts on the terminal, changes the order of others, or is not seen at all.
fn is_hostile(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}'
            // Hangul fillers and Khmer inherent vowels look like nothing or like a space.
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{17b4}' | '\u{17b5}'
            // Mongolian variation selectors and vowel separator.
            | '\u{180b}'..='\u{180f}'
            // Zero width, direction marks, line and paragraph separator, bidi controls, invisible operators.
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            // Variation selectors, byte order mark, interlinear annotation.
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
            // Invisible controls of shorthand and music; tags, more variation selectors and what is kept for such.
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a character would make one component of a path look like two.
fn is_like_a_separator(char: char) -> bool {
    matches!(
        char,
        '\u{2044}'
            | '\u{2215}'
            | '\u{2216}'
            | '\u{29f5}'
            | '\u{29f8}'
            | '\u{29f9}'
            | '\u{fe68}'
            | '\u{ff0f}'
            | '\u{ff3c}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_is_what_a_terminal_shows_as_it_is() {
        let table: [(&[u8], bool); 12] = [
            (b"plain\n\ttabs\r\nends\r\n", true),
            ("漢字 é Приве́т".as_bytes(), true),
            (b"caf\xe9\n", true),
            (b"", true),
            (b"a\rb", false),
            (b"a\r\rb\n", false),
            (b"\x1b[2K", false),
            (b"\x07", false),
            ("\u{202e}".as_bytes(), false),
            ("\u{9b}2K".as_bytes(), false),
            (b"\x9b2K", false),
            ("zero\u{200b}width".as_bytes(), false),
        ];
        for (bytes, expected) in table {
            assert_eq!(is_harmless(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn every_hostile_character_is_spelt_out() {
        let table: [(&[u8], &str); 20] = [
            (b"plain \xc3\xa9 \xe6\xbc\xa2", "plain é 漢"),
            (b"\x1b[2J", "\\x1b[2J"),
            (b"a\rb", "a\\rb"),
            (b"\x00\x07\x08\x7f", "\\x00\\x07\\x08\\x7f"),
            // 8-bit CSI as a bare byte, and as the UTF-8 form of U+009B.
            (b"\x9b31m", "\\x9b31m"),
            (b"\xc2\x9b31m", "\\u{9b}31m"),
            (b"\xc2\x85", "\\u{85}"),
            (b"\xff\xfe", "\\xff\\xfe"),
            // A surrogate and an overlong slash are not UTF-8.
            (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
            (b"\xc0\xaf", "\\xc0\\xaf"),
            ("\u{202e}txt.exe\u{2066}".as_bytes(), "\\u{202e}txt.exe\\u{2066}"),
            ("\u{200e}\u{200f}\u{61c}".as_bytes(), "\\u{200e}\\u{200f}\\u{61c}"),
            (
                "a\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}b".as_bytes(),
                "a\\u{200b}\\u{200c}\\u{200d}\\u{2060}\\u{feff}b",
            ),
            ("\u{2028}\u{2029}".as_bytes(), "\\u{2028}\\u{2029}"),
            ("\u{e0041}\u{e007f}".as_bytes(), "\\u{e0041}\\u{e007f}"),
            ("\u{fe0f}\u{e0100}\u{e01ef}".as_bytes(), "\\u{fe0f}\\u{e0100}\\u{e01ef}"),
            (
                "\u{ad}\u{3164}\u{ffa0}\u{115f}\u{1160}".as_bytes(),
                "\\u{ad}\\u{3164}\\u{ffa0}\\u{115f}\\u{1160}",
            ),
            ("is_\u{430}dmin \u{430}\u{431}".as_bytes(), "is_\\u{430}dmin \u{430}\u{431}"),
            (b"tab\tnewline\n", "tab\tnewline\n"),
            (b"", ""),
        ];
        for (hostile, shown) in table {
            assert_eq!(bytes(hostile), shown);
        }
    }

    #[test]
    fn no_input_leaves_a_control_character() {
        for code in (0..=0x11_ffff).filter_map(char::from_u32) {
            let shown = name(code.to_string());
            assert!(
                !shown.chars().any(|char| char.is_control() || is_hostile(char)),
                "{:x}",
                u32::from(code)
            );
        }
        for byte in 0..=255_u8 {
            assert!(!name([byte]).chars().any(char::is_control), "{byte:x}");
        }
    }

    #[test]
    fn a_name_is_one_line() {
        assert_eq!(name(b"a\nb\tc"), "a\\nb\\tc");
        assert_eq!(name("src\u{2215}main.rs"), "src\\u{2215}main.rs");
        assert_eq!(text("1\u{2215}2 \u{1bca0}"), "1\u{2215}2 \\u{1bca0}");
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let cut = line(&[b'x'; 700], Style::Plain);
        assert_eq!((cut.text.len(), cut.hidden), (500, 200));
        assert_eq!(line(&[b'x'; 500], Style::Plain).hidden, 0);
        // Spelt-out characters take the columns they need, so that nothing is pushed out of sight.
        let cut = line(&[0x1b; 700], Style::Plain);
        assert_eq!((cut.text.len(), cut.hidden), (500, 575));
    }

    #[test]
    fn a_newline_inside_a_line_is_spelt_out_in_colour() {
        assert_eq!(line(b"a\rb", Style::Color).text, "a\x1b[30;43m\\r\x1b[0mb");
    }

    #[test]
    fn every_byte_of_a_line_is_accounted_for() {
        let line = "a\t\u{202e}\u{430}b\r".as_bytes();
        let pieces: Vec<_> = visible(&[line, &[0xff]].concat()).collect();
        assert_eq!(pieces.iter().map(|(length, _)| length).sum::<usize>(), line.len() + 1);
        assert_eq!(pieces[1].1, Visible::Char('\t'));
        let spelt: Vec<_> = pieces.iter().filter(|(_, piece)| matches!(piece, Visible::Spelt(_))).collect();
        assert_eq!(spelt.len(), 4, "{pieces:?}");
    }

    #[test]
    fn json_keeps_its_value() {
        let value = serde_json::json!({"a": "\u{202e}\u{9b}\u{7f}\u{e0041}\n漢"});
        let safe = json(&value.to_string());
        assert!(!safe.chars().any(is_hostile), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }

    #[test]
    fn a_summary_is_one_short_line() {
        let table = [
            ("a\nb", 9, "a…"),
            ("  one  ", 9, "one"),
            ("123456", 5, "1234…"),
            ("", 3, ""),
            ("12345", 5, "12345"),
        ];
        for (long, limit, short) in table {
            assert_eq!(summary(long, limit), short);
        }
    }
}
