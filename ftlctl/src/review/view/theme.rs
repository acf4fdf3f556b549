//! Colours of the review.
//!
//! Owns which meaning looks how: the sixteen colours that every terminal has, on the background that it has,
//! so that light and dark ones work and nothing is asked of the terminal. Without colour what a style says is
//! said by a character too. Must not know where anything stands.

use ratatui_core::style::{Color, Modifier, Style};

use crate::review::glyphs::Look;
use crate::review::syntax::Class;

/// What a piece of the screen means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Text.
    Plain,
    /// Of less interest.
    Faint,
    /// A heading.
    Heading,
    /// Where a hunk stands.
    Position,
    /// Added, accepted, good.
    Good,
    /// Removed.
    Removed,
    /// Deserves a look.
    Warning,
    /// Cannot be, or went wrong.
    Bad,
    /// A character that would not have been seen as what it is.
    Hidden,
    /// What the keys act on.
    Cursor,
}

/// Which side of a change a line is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Both.
    Same,
    /// Only what was.
    Old,
    /// Only what would be.
    New,
}

/// What is known about a character of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code {
    /// Its line's side.
    pub(crate) side: Side,
    /// What it is in its language.
    pub(crate) class: Option<Class>,
    /// It differs from the other side's line.
    pub(crate) differs: bool,
    /// It is what was looked for.
    pub(crate) found: bool,
    /// How it looks.
    pub(crate) look: Look,
}

/// The colours, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Theme {
    /// Whether there are colours.
    pub(crate) color: bool,
}

// === impl Theme ===

impl Theme {
    /// How it looks.
    pub(crate) fn ink(self, ink: Ink) -> Style {
        let style = Style::default();
        match ink {
            Ink::Plain => style,
            Ink::Faint => style.add_modifier(Modifier::DIM),
            Ink::Heading => style.add_modifier(Modifier::BOLD),
            Ink::Position => self.fg(style, Color::Cyan),
            Ink::Good => self.fg(style, Color::Green),
            Ink::Removed => self.fg(style, Color::Red),
            Ink::Warning => self.fg(style, Color::Yellow),
            Ink::Bad => self.fg(style, Color::Red).add_modifier(Modifier::BOLD),
            Ink::Hidden if self.color => style.fg(Color::Black).bg(Color::Yellow),
            Ink::Hidden | Ink::Cursor => style.add_modifier(Modifier::REVERSED),
        }
    }

    /// How a character of code looks.
    pub(crate) fn code(self, code: Code) -> Style {
        match code.look {
            Look::Hidden => return self.ink(Ink::Hidden),
            Look::Trailing if code.side == Side::New => return self.ink(Ink::Hidden),
            Look::Faint | Look::Trailing => return self.ink(Ink::Faint),
            Look::Text => {}
        }
        let mut style = Style::default();
        // A word that differs is one block, whatever it is in its language.
        let class = code.class.filter(|_| !code.differs);
        style = match (code.side, class) {
            (Side::New, Some(Class::Text | Class::Number)) => self.fg(style, Color::Cyan),
            (Side::Old, Some(Class::Text | Class::Number)) => self.fg(style, Color::Magenta),
            (Side::New, _) => self.fg(style, Color::Green),
            (Side::Old, _) => self.fg(style, Color::Red),
            (Side::Same, Some(Class::Text)) => self.fg(style, Color::Yellow),
            (Side::Same, Some(Class::Number)) => self.fg(style, Color::Cyan),
            (Side::Same, Some(Class::Keyword)) => self.fg(style, Color::Blue),
            (Side::Same, _) => style,
        };
        match class {
            Some(Class::Keyword) => style = style.add_modifier(Modifier::BOLD),
            Some(Class::Comment) => style = style.add_modifier(Modifier::DIM),
            _ => {}
        }
        if code.differs {
            style = style.add_modifier(Modifier::REVERSED);
        }
        if code.found {
            style = style.add_modifier(Modifier::UNDERLINED | Modifier::BOLD);
        }
        style
    }

    fn fg(self, style: Style, color: Color) -> Style {
        if self.color { style.fg(color) } else { style }
    }
}
