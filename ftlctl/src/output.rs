//! The one place that writes: data to standard output, everything else to standard error.
//!
//! Owns the format (`--json` or for people), colour, and the moving line. In one format the methods of
//! the other write nothing, so the two cannot mix. Must not know what is written.

use std::cell::Cell;
use std::io::{self, IsTerminal as _, Write};

use serde_json::Value;

use crate::failure::Failure;
use crate::render::escape;
use crate::render::event::Piece;
use crate::render::style::Style;

/// Who reads standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A person.
    Human,
    /// A script.
    Json,
}

/// When text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Which of the standard streams are terminals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminals {
    /// Standard input.
    pub(crate) stdin: bool,
    /// Standard output.
    pub(crate) stdout: bool,
    /// Standard error.
    pub(crate) stderr: bool,
}

/// The output layer.
pub(crate) struct Output {
    format: Format,
    terminals: Terminals,
    /// Colour on standard output.
    pub(crate) style: Style,
    /// Colour on standard error.
    pub(crate) error_style: Style,
    /// What the cursor stands behind.
    cursor: Cell<Cursor>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cursor {
    /// The beginning of an empty line.
    Start,
    /// Streamed text without its newline.
    Text,
    /// The moving line.
    Moving,
}

// === impl Terminals ===

impl Terminals {
    /// Asks the operating system.
    pub(crate) fn detect() -> Self {
        Self {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
        }
    }
}

// === impl Output ===

impl Output {
    /// An output of this format.
    pub(crate) fn new(format: Format, terminals: Terminals, color: ColorChoice, no_color: bool) -> Self {
        let style = |terminal: bool| match color {
            ColorChoice::Always => Style::Color,
            ColorChoice::Auto if terminal && !no_color => Style::Color,
            ColorChoice::Auto | ColorChoice::Never => Style::Plain,
        };
        Self {
            format,
            terminals,
            style: style(terminals.stdout),
            error_style: style(terminals.stderr),
            cursor: Cell::new(Cursor::Start),
        }
    }

    /// Whether a script reads.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether a human can be asked.
    pub(crate) fn is_interactive(&self) -> bool {
        self.format == Format::Human && self.terminals.stdin && self.terminals.stdout
    }

    /// Whether what is read is typed by somebody, whatever becomes of the output.
    pub(crate) fn reads_terminal(&self) -> bool {
        self.terminals.stdin
    }

    /// Whether a line can move.
    pub(crate) fn can_move(&self) -> bool {
        self.format == Format::Human && self.terminals.stdout
    }

    /// Columns of the terminal that a table for people has to fit, if standard output is one.
    pub(crate) fn width(&self) -> Option<usize> {
        self.can_move().then(columns)
    }

    /// A JSON value on a line of its own; nothing for people.
    pub(crate) fn json(&self, value: &Value) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.stdout((escape::json(&value.to_string()) + "\n").as_bytes()),
            Format::Human => Ok(()),
        }
    }

    /// A line (or several) for people; nothing for scripts. It must be escaped already.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        if self.is_json() {
            return Ok(());
        }
        let start = self.to_start();
        self.cursor.set(Cursor::Start);
        self.stdout(format!("{start}{text}\n").as_bytes())
    }

    /// A piece of a session's view.
    pub(crate) fn piece(&self, piece: &Piece) -> Result<(), Failure> {
        let text = match piece {
            Piece::Line(line) => return self.line(line),
            Piece::Text(text) => text,
        };
        if self.is_json() || text.is_empty() {
            return Ok(());
        }
        let start = if self.cursor.get() == Cursor::Text { "" } else { self.to_start() };
        self.cursor.set(if text.ends_with('\n') { Cursor::Start } else { Cursor::Text });
        self.stdout(format!("{start}{text}").as_bytes())
    }

    /// Draws the moving line anew, or removes it.
    pub(crate) fn moving(&self, text: Option<&str>) -> Result<(), Failure> {
        if !self.can_move() || self.cursor.get() == Cursor::Text {
            return Ok(());
        }
        match text {
            Some(text) => {
                let line = fit(text, columns());
                self.cursor.set(Cursor::Moving);
                self.stdout(format!("\r\x1b[K{line}").as_bytes())
            }
            None if self.cursor.get() == Cursor::Moving => {
                self.cursor.set(Cursor::Start);
                self.stdout(b"\r\x1b[K")
            }
            None => Ok(()),
        }
    }

    /// A question, without a newline after it. Only for interactive output, where it is sure to be seen.
    pub(crate) fn ask(&self, question: &str) -> Result<(), Failure> {
        let start = self.to_start();
        self.cursor.set(Cursor::Start);
        self.stdout(format!("{start}{question}").as_bytes())
    }

    /// Something that is not data, on standard error.
    pub(crate) fn note(&self, text: &str) -> Result<(), Failure> {
        self.moving(None)?;
        if self.cursor.get() == Cursor::Text && self.terminals.stderr {
            self.cursor.set(Cursor::Start);
            self.stdout(b"\n")?;
        }
        self.stderr(format!("{text}\n").as_bytes())
    }

    /// What a command in a sandbox writes, as it is; our own next line will begin on a line of its own.
    pub(crate) fn pass(&self, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(last) = bytes.last() {
            self.cursor.set(if *last == b'\n' { Cursor::Start } else { Cursor::Text });
        }
        self.stdout(bytes)
    }

    /// Bytes as they are.
    pub(crate) fn stdout(&self, bytes: &[u8]) -> Result<(), Failure> {
        write(&mut io::stdout().lock(), bytes)
    }

    /// Bytes as they are, to standard error.
    pub(crate) fn stderr(&self, bytes: &[u8]) -> Result<(), Failure> {
        write(&mut io::stderr().lock(), bytes)
    }

    fn to_start(&self) -> &'static str {
        match self.cursor.get() {
            Cursor::Start => "",
            Cursor::Text => "\n",
            Cursor::Moving => "\r\x1b[K",
        }
    }
}

fn write(stream: &mut dyn Write, bytes: &[u8]) -> Result<(), Failure> {
    stream.write_all(bytes).and_then(|()| stream.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::Io { act: "write the output".to_owned(), source: error },
    })
}

fn columns() -> usize {
    match rustix::termios::tcgetwinsize(rustix::stdio::stdout()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => 80,
    }
}

/// As much of a line as surely fits; characters beyond ASCII count double because some are that wide.
fn fit(text: &str, columns: usize) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn style(color: ColorChoice, terminal: bool, no_color: bool) -> Style {
        let terminals = Terminals { stdin: true, stdout: terminal, stderr: !terminal };
        Output::new(Format::Human, terminals, color, no_color).style
    }

    #[test]
    fn colour_is_for_terminals() {
        assert_eq!(style(ColorChoice::Auto, true, false), Style::Color);
        assert_eq!(style(ColorChoice::Auto, true, true), Style::Plain);
        assert_eq!(style(ColorChoice::Auto, false, false), Style::Plain);
        assert_eq!(style(ColorChoice::Always, false, true), Style::Color);
        assert_eq!(style(ColorChoice::Never, true, false), Style::Plain);
    }

    #[test]
    fn a_moving_line_never_wraps() {
        assert_eq!(fit("abcdef", 5), "abcd");
        assert_eq!(fit("漢字漢字", 6), "漢字");
        assert_eq!(fit("abc", 80), "abc");
        assert_eq!(fit("abc", 0), "");
    }

    #[test]
    fn a_script_is_never_asked() {
        let terminals = Terminals { stdin: true, stdout: true, stderr: true };
        assert!(!Output::new(Format::Json, terminals, ColorChoice::Auto, false).is_interactive());
        assert!(Output::new(Format::Human, terminals, ColorChoice::Auto, false).is_interactive());
    }
}
