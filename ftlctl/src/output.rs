//! The one place that writes: data to standard output, everything else to standard error.
//!
//! Owns the format (`--json` or for people), colour, and whether anything moves. In one format the methods of
//! the other write nothing, so the two cannot mix. Must not know what is written.

use std::cell::RefCell;
use std::io::{self, IsTerminal as _, Write};

use serde_json::Value;

use crate::failure::Failure;
use crate::render::escape;
use crate::render::event::{self, Piece};
use crate::render::style::Style;
use crate::render::surface::{self, INDENT, Surface};

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
    /// Whether nothing may move, though a terminal is there.
    is_plain: bool,
    /// What is on the terminal around the cursor.
    surface: RefCell<Surface>,
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
            is_plain: false,
            surface: RefCell::default(),
        }
    }

    /// The same as plain lines: nothing moves, and only who asked for colour gets it.
    pub(crate) fn plain(mut self, color: ColorChoice) -> Self {
        if color != ColorChoice::Always {
            (self.style, self.error_style) = (Style::Plain, Style::Plain);
        }
        self.is_plain = true;
        self
    }

    /// Whether nothing may move, though a terminal is there.
    pub(crate) fn is_plain(&self) -> bool {
        self.is_plain
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
        self.format == Format::Human && self.terminals.stdout && !self.is_plain
    }

    /// Columns of the terminal that a table for people has to fit, if standard output is one.
    pub(crate) fn width(&self) -> Option<usize> {
        (self.format == Format::Human && self.terminals.stdout).then(columns)
    }

    /// Columns that a session's view has, where it is a terminal's.
    fn folds(&self) -> Option<usize> {
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
        let bytes = self.surface.borrow_mut().line(text, "", None);
        self.stdout(bytes.as_bytes())
    }

    /// A piece of a session's view.
    pub(crate) fn piece(&self, piece: &Piece) -> Result<(), Failure> {
        if self.is_json() {
            return Ok(());
        }
        let bar = event::bar(self.style);
        let mut surface = self.surface.borrow_mut();
        let bytes = match piece {
            Piece::Line(line) => surface.line(line, INDENT, self.folds()),
            Piece::Said(lines) => surface.line(lines, &bar, self.folds()),
            Piece::Text(text) if text.is_empty() => return Ok(()),
            Piece::Text(text) => surface.text(text, &bar, self.folds()),
        };
        self.stdout(bytes.as_bytes())
    }

    /// Draws the status line anew, or removes it.
    pub(crate) fn moving(&self, text: Option<&str>) -> Result<(), Failure> {
        if !self.can_move() {
            return Ok(());
        }
        let line = text.map(|text| surface::fit(text, columns()));
        let bytes = self.surface.borrow_mut().status(line.as_deref());
        if bytes.is_empty() { Ok(()) } else { self.stdout(bytes.as_bytes()) }
    }

    /// A question, without a newline after it. Only for interactive output, where it is sure to be seen.
    pub(crate) fn ask(&self, question: &str) -> Result<(), Failure> {
        let start = self.surface.borrow_mut().begin();
        self.stdout(format!("{start}{question}").as_bytes())
    }

    /// Something that is not data, on standard error.
    pub(crate) fn note(&self, text: &str) -> Result<(), Failure> {
        self.moving(None)?;
        if self.terminals.stderr && self.surface.borrow().is_midline() {
            let start = self.surface.borrow_mut().begin();
            self.stdout(start.as_bytes())?;
        }
        self.stderr(format!("{text}\n").as_bytes())
    }

    /// What a command in a sandbox writes, as it is; our own next line will begin on a line of its own.
    pub(crate) fn pass(&self, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(last) = bytes.last() {
            self.surface.borrow_mut().written(*last != b'\n');
        }
        self.stdout(bytes)
    }

    /// What a terminal acts on without showing it, if standard output is one.
    pub(crate) fn unseen(&self, bytes: &[u8]) -> Result<(), Failure> {
        if self.can_move() { self.stdout(bytes) } else { Ok(()) }
    }

    /// Bytes as they are.
    pub(crate) fn stdout(&self, bytes: &[u8]) -> Result<(), Failure> {
        write(&mut io::stdout().lock(), bytes)
    }

    /// Bytes as they are, to standard error.
    pub(crate) fn stderr(&self, bytes: &[u8]) -> Result<(), Failure> {
        write(&mut io::stderr().lock(), bytes)
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
    fn plain_lines_neither_move_nor_have_colours_unless_asked() {
        let terminals = Terminals { stdin: true, stdout: true, stderr: true };
        let plain = |color| Output::new(Format::Human, terminals, color, false).plain(color);
        assert!(!plain(ColorChoice::Auto).can_move() && plain(ColorChoice::Auto).is_interactive());
        assert_eq!(plain(ColorChoice::Auto).style, Style::Plain);
        assert_eq!(plain(ColorChoice::Always).style, Style::Color);
    }

    #[test]
    fn a_script_is_never_asked() {
        let terminals = Terminals { stdin: true, stdout: true, stderr: true };
        assert!(!Output::new(Format::Json, terminals, ColorChoice::Auto, false).is_interactive());
        assert!(Output::new(Format::Human, terminals, ColorChoice::Auto, false).is_interactive());
    }
}
