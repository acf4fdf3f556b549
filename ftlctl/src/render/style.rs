//! Colour.
//!
//! Owns which meaning has which colour. Must not know whether a terminal is there: the caller says so.

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Plain text.
    Plain,
    /// With SGR sequences.
    Color,
}

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// An added line.
    Added,
    /// A removed line.
    Removed,
    /// A hunk's position.
    Position,
    /// A heading.
    Heading,
    /// Of less interest.
    Faint,
    /// Went well.
    Good,
    /// Deserves a look.
    Warning,
    /// Went wrong.
    Bad,
    /// A character that would not have been seen as what it is.
    Hidden,
}

impl Style {
    /// The text in the colour of its meaning. It must be escaped already; what is painted in it keeps its
    /// own colour.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Color => {
                let code = code(tone);
                let text = text.replace("\x1b[0m", &format!("\x1b[0m\x1b[{code}m"));
                format!("\x1b[{code}m{text}\x1b[0m")
            }
        }
    }
}

fn code(tone: Tone) -> &'static str {
    match tone {
        Tone::Added | Tone::Good => "32",
        Tone::Removed => "31",
        Tone::Position => "36",
        Tone::Heading => "1",
        Tone::Faint => "2",
        Tone::Warning => "33",
        Tone::Bad => "1;31",
        Tone::Hidden => "30;43",
    }
}
