//! What a program of a sandbox has put on its terminal, kept as a screen.
//!
//! Owns which of its bytes mean something, and what a human's terminal is sent in their place. The bytes are
//! hostile and never go on as they are: they are read into a grid of characters, and what is sent is made from that
//! grid. So only this reaches the human's terminal: printable characters, colours and other attributes, the place
//! and the shape of the cursor, the keypad's and the cursor keys' mode, bracketed paste, mouse reporting, and one
//! bell for each frame. Titles, the clipboard, notifications, links, other character sets, changes of the window and
//! of the palette, and questions to the terminal do not. The questions that programs wait for are answered here.
//!
//! Must not know whose screen it is or how it is sent.

use std::num::NonZeroU16;
use std::panic::{AssertUnwindSafe, catch_unwind};

use vt100::{Callbacks, Parser};

/// A screen and what somebody has seen of it.
pub struct Screen {
    parser: Parser<Asked>,
    /// What was shown last; nothing when all of it must be shown.
    shown: Option<vt100::Screen>,
}

/// What the program wants beside characters on the screen.
#[derive(Debug, Default)]
struct Asked {
    /// What it is answered.
    answers: Vec<u8>,
    rings: bool,
}

/// Rows and columns, both at most [`LARGEST`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// The most rows, and the most columns.
pub const LARGEST: u16 = 1000;
/// The most bytes of answers that one piece of output brings about.
const ANSWERS: usize = 256;
/// Bytes that are read at once; what they can make the screen do is done before anything else is.
pub const SLICE: usize = 512;
/// What a VT100 with advanced video says that it is.
const DEVICE: &[u8] = b"\x1b[?1;2c";
/// Neither a brand nor a version.
const VERSION: &[u8] = b"\x1b[>0;0;0c";
/// Nothing is wrong.
const WELL: &[u8] = b"\x1b[0n";
/// Ends what stands open, and begins with an empty screen.
const CLEAN: &str = "\x1b[0m\x1b[r\x1b[2J\x1b[H";

impl Screen {
    /// An empty one.
    #[must_use]
    pub fn new(size: Size) -> Self {
        Self { parser: parser(size), shown: None }
    }

    /// Takes what the program wrote, and gives what it is answered, often nothing. Whoever has more than [`SLICE`]
    /// bytes gives them piece by piece.
    #[must_use]
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let read = catch_unwind(AssertUnwindSafe(|| self.parser.process(bytes)));
        if read.is_err() {
            // A defect in the reader of sequences: the program's next picture is a whole one again, or will be soon.
            self.parser = parser(self.size());
            self.shown = None;
        }
        std::mem::take(&mut self.parser.callbacks_mut().answers)
    }

    /// Rows and columns.
    #[must_use]
    pub fn size(&self) -> Size {
        let (rows, columns) = self.parser.screen().size();
        Size { rows: rows.get(), columns: columns.get() }
    }

    /// Makes it another size; all of it will be shown.
    pub fn resize(&mut self, size: Size) {
        let (rows, columns) = (edge(size.rows), edge(size.columns));
        let resized = catch_unwind(AssertUnwindSafe(|| self.parser.set_size(rows, columns)));
        if resized.is_err() {
            self.parser = parser(size);
        }
        self.shown = None;
    }

    /// Somebody else looks, who has seen nothing.
    pub fn forget_shown(&mut self) {
        self.shown = None;
    }

    /// What makes a terminal that shows the last frame show this one; empty when nothing has changed.
    #[must_use]
    pub fn frame(&mut self) -> Vec<u8> {
        let now = self.parser.screen().clone();
        let rings = std::mem::take(&mut self.parser.callbacks_mut().rings);
        let made = catch_unwind(AssertUnwindSafe(|| match &self.shown {
            None => format!("{CLEAN}{}", now.state_formatted()),
            Some(before) => now.state_diff(before),
        }));
        let Ok(mut frame) = made else {
            self.parser = parser(self.size());
            self.shown = None;
            return CLEAN.into();
        };
        if rings {
            frame.push('\x07');
        }
        self.shown = Some(now);
        frame.into_bytes()
    }

    /// The text on it, row by row, without what is empty at the end.
    #[must_use]
    pub fn text(&self) -> String {
        let whole = self.parser.screen().contents();
        whole.trim_end().chars().filter(|c| *c == '\n' || !c.is_control()).collect()
    }
}

impl Callbacks for Asked {
    fn audible_bell(&mut self, _: &mut vt100::Screen) {
        self.rings = true;
    }

    fn visual_bell(&mut self, _: &mut vt100::Screen) {
        self.rings = true;
    }

    fn unhandled_csi(
        &mut self,
        screen: &mut vt100::Screen,
        i1: Option<u8>,
        _i2: Option<u8>,
        params: &[&[u16]],
        c: char,
    ) {
        let first = params.first().and_then(|param| param.first()).copied().unwrap_or(0);
        match (i1, first, c) {
            (None, 0, 'c') => self.answer(DEVICE),
            (Some(b'>'), 0, 'c') => self.answer(VERSION),
            (None, 5, 'n') => self.answer(WELL),
            (None, 6, 'n') => {
                let (row, column) = screen.cursor_position();
                self.answer(format!("\x1b[{};{}R", row + 1, column + 1).as_bytes());
            }
            _ => {}
        }
    }
}

impl Asked {
    fn answer(&mut self, answer: &[u8]) {
        if self.answers.len() < ANSWERS {
            self.answers.extend_from_slice(answer);
        }
    }
}

fn parser(size: Size) -> Parser<Asked> {
    Parser::new_with_callbacks(edge(size.rows), edge(size.columns), 0, Asked::default())
}

/// A number of rows or columns that a screen can have.
fn edge(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number.min(LARGEST)).unwrap_or(NonZeroU16::MIN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: Size = Size { rows: 5, columns: 20 };

    fn shown(frames: &[Vec<u8>], size: Size) -> String {
        let mut terminal = parser(size);
        for frame in frames {
            terminal.process(frame);
        }
        terminal.screen().contents()
    }

    #[test]
    fn what_is_sent_shows_the_same_and_nothing_twice() {
        let mut screen = Screen::new(SIZE);
        assert_eq!(screen.feed(b"one\r\n\x1b[31mtwo\x1b[0m"), b"");
        let first = screen.frame();
        assert!(screen.frame().is_empty(), "nothing has changed");
        let _none = screen.feed(b"\x1b[2;1HTWO\x1b[4;3Hfour");
        let second = screen.frame();
        assert!(second.len() < first.len() + 20);
        assert_eq!(shown(&[first, second], SIZE), "one\nTWO\n\n  four");
        screen.forget_shown();
        assert_eq!(shown(&[b"rubbish".to_vec(), screen.frame()], SIZE), "one\nTWO\n\n  four");
        assert_eq!(screen.text(), "one\nTWO\n\n  four");
        screen.resize(Size { rows: 3, columns: 0 });
        assert_eq!(screen.size(), Size { rows: 3, columns: 1 });
    }

    #[test]
    fn what_a_program_wants_of_the_terminal_itself_is_not_sent() {
        for hostile in [
            "\x1b]0;title\x07",
            "\x1b]2;title\x1b\\",
            "\x1b]52;c;c2VjcmV0\x07",
            "\x1b]52;c;?\x07",
            "\x1b]9;note\x07",
            "\x1b]777;notify;a;b\x07",
            "\x1b]99;i=1;note\x1b\\",
            "\x1b]8;;https://example.com\x1b\\x\x1b]8;;\x1b\\",
            "\x1b]4;1;rgb:ff/00/00\x07",
            "\x1b]10;?\x07",
            "\x1b]1337;File=inline=1:AAAA\x07",
            "\x1bPq#0;2;0;0;0\x1b\\",
            "\x1bP+q544e\x1b\\",
            "\x1b_Ga=T;AAAA\x1b\\",
            "\x1b^private\x1b\\",
            "\x1b[8;50;200t",
            "\x1b[21t",
            "\x1b[5i",
            "\x1b(0",
            "\x1b#8",
            "\x1b[?1049h",
            "\x1b[>1u",
            "\x1b[=1;1u",
            "\x1b[>4;2m",
            "\x1b[6n",
            "\x1bc",
            "\u{9d}52;c;eA==\u{9c}",
        ] {
            let mut screen = Screen::new(SIZE);
            let _first = screen.frame();
            let _answers = screen.feed(hostile.as_bytes());
            let _more = screen.feed(b"y");
            let frame = String::from_utf8(screen.frame()).unwrap();
            assert!(frame.contains('y'), "{hostile:?}: {frame:?}");
            for piece in frame.split('\x1b').skip(1) {
                assert!(piece.starts_with('[') || piece.starts_with(['=', '>']), "{hostile:?}: {frame:?}");
            }
            for word in
                ["title", "c2V", "note", "example", "rgb", "AAAA", "private", "t", "n", "q", "u", "\x07"]
            {
                assert!(!frame.contains(word), "{hostile:?}: {word:?} in {frame:?}");
            }
        }
    }

    #[test]
    fn questions_that_programs_wait_for_are_answered_here() {
        let mut screen = Screen::new(SIZE);
        assert_eq!(screen.feed(b"ab\r\nc\x1b[6n"), b"\x1b[2;2R");
        assert_eq!(screen.feed(b"\x1b[c\x1b[>c\x1b[5n"), [DEVICE, VERSION, WELL].concat());
        assert!(screen.feed(&b"\x1b[6n".repeat(10_000)).len() < ANSWERS + 20);
        let _none = screen.feed(b"\x07\x07");
        assert_eq!(screen.frame().iter().filter(|byte| **byte == 7).count(), 1, "one bell for each frame");
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_every_frame_shows_what_is_there(
            pieces in proptest::collection::vec(prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..30),
                "\x1b\\[[0-9;?]{0,8}[@-~]".prop_map(String::into_bytes),
                "[a-z é漢\r\n\t]{0,12}".prop_map(String::into_bytes),
            ], 0..12),
            rows in 1u16..6,
            columns in 1u16..24,
        ) {
            let size = Size { rows, columns };
            let mut screen = Screen::new(size);
            let mut frames = Vec::new();
            for piece in pieces {
                let _answers = screen.feed(&piece);
                frames.push(screen.frame());
            }
            let last = screen.text();
            screen.forget_shown();
            let whole = shown(&[screen.frame()], size);
            prop_assert_eq!(whole.trim_end(), last.trim_end());
            for frame in &frames {
                prop_assert!(!frame.windows(2).any(|two| two == b"\x1b]" || two == b"\x1bP" || two == b"\x1b_"));
            }
        }
    }
}
