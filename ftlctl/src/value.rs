//! A credential's value, typed without echo or read from a pipe.
//!
//! Owns what a value may look like and that it is never shown. Must not know whose value it is or where
//! it goes.

use tokio::signal::unix::{SignalKind, signal};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::terminal::{Hidden, Input};

/// Bytes of a value at most; what is longer is a file, not a key.
const LONGEST: usize = 64 * 1024;

/// Bytes of a line that a terminal hands on at most: it drops the rest without a word.
const TERMINAL_LINE: usize = 4095;

/// Why a value is not taken. Nothing here repeats any of it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ValueError {
    /// Nothing was typed.
    #[error("no value was given")]
    Empty,
    /// More than one line came.
    #[error("the value has more than one line")]
    Lines,
    /// A control character stands in it, such as that of an arrow key.
    #[error("the value has a control character at position {at}")]
    Control {
        /// Where, counted from 1.
        at: usize,
    },
    /// It is not UTF-8.
    #[error("the value is not text in UTF-8")]
    NotText,
    /// It is longer than any key.
    #[error("the value is longer than {LONGEST} bytes")]
    TooLong,
    /// The terminal may have cut it.
    #[error("the value is as long as a line of the terminal can be, so its end may be missing")]
    Cut,
    /// The human left.
    #[error("no value was kept")]
    Cancelled,
}

// === impl ValueError ===

impl ValueError {
    /// How the process ends.
    pub(crate) fn exit(&self) -> Exit {
        if *self == Self::Cancelled { Exit::Failed } else { Exit::Usage }
    }

    /// Its name for scripts.
    pub(crate) fn code(&self) -> &'static str {
        if *self == Self::Cancelled { "cancelled" } else { "bad-value" }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Empty => Some("pipe it in, or run the command on a terminal and paste it".to_owned()),
            Self::Cut => Some("pipe it in: `... < FILE`".to_owned()),
            Self::Lines => Some("a key file cannot be kept; pipe in the one line that is the key".to_owned()),
            Self::Control { .. } | Self::NotText | Self::TooLong | Self::Cancelled => None,
        }
    }
}

/// The value of `name`, which must be escaped: asked for on a terminal, else all of standard input.
pub(crate) async fn read(context: &Context, name: &str) -> Result<String, Failure> {
    if context.output.reads_terminal() {
        let typed = typed(context, name).await?;
        if typed.len() >= TERMINAL_LINE {
            return Err(ValueError::Cut.into());
        }
        return Ok(value(&typed)?);
    }
    let mut input = Input::open().map_err(Failure::io("read standard input"))?;
    let mut whole = Vec::new();
    while let Some(chunk) = input.next().await {
        whole.extend_from_slice(&chunk);
        if whole.len() > LONGEST {
            return Err(ValueError::TooLong.into());
        }
    }
    Ok(value(&whole)?)
}

/// A line typed without echo. Whatever ends the wait, the terminal is as it was.
async fn typed(context: &Context, name: &str) -> Result<Vec<u8>, Failure> {
    let listen = |kind| signal(kind).map_err(Failure::io("listen to signals"));
    let (mut interrupt, mut quit) = (listen(SignalKind::interrupt())?, listen(SignalKind::quit())?);
    let (mut terminate, mut hangup) = (listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    let hidden = Hidden::enter().map_err(Failure::io("turn the terminal's echo off"))?;
    // On standard error: standard output may be a script's.
    context.output.stderr(format!("value of {name} (not shown): ").as_bytes())?;
    let mut input = Input::open().map_err(Failure::io("read the value"))?;
    let mut line = Vec::new();
    let ended = loop {
        let chunk = tokio::select! {
            chunk = input.next() => chunk,
            _ = interrupt.recv() => break Err(ValueError::Cancelled),
            _ = quit.recv() => break Err(ValueError::Cancelled),
            _ = terminate.recv() => break Err(ValueError::Cancelled),
            _ = hangup.recv() => break Err(ValueError::Cancelled),
        };
        let Some(chunk) = chunk else { break Ok(()) };
        line.extend_from_slice(&chunk);
        if line.ends_with(b"\n") {
            break Ok(());
        }
    };
    drop(input);
    drop(hidden);
    if !line.ends_with(b"\n") {
        context.output.stderr(b"\n")?;
    }
    ended?;
    Ok(line)
}

/// What the bytes mean: one line, its end left out.
fn value(bytes: &[u8]) -> Result<String, ValueError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ValueError::NotText)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.trim().is_empty() {
        return Err(ValueError::Empty);
    }
    if text.contains(['\r', '\n']) {
        return Err(ValueError::Lines);
    }
    match text.chars().position(char::is_control) {
        Some(at) => Err(ValueError::Control { at: at + 1 }),
        None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_line() {
        let table: [(&[u8], Result<&str, ValueError>); 12] = [
            (b"sk-1", Ok("sk-1")),
            (b"sk-1\n", Ok("sk-1")),
            (b"sk-1\r\n", Ok("sk-1")),
            (b"sk-1\n\n", Ok("sk-1")),
            // Spaces may belong to a password.
            (b" pass word \n", Ok(" pass word ")),
            ("é\n".as_bytes(), Ok("é")),
            (b"", Err(ValueError::Empty)),
            (b" \n", Err(ValueError::Empty)),
            (b"-----BEGIN\nabc\n", Err(ValueError::Lines)),
            (b"ab\x1b[D", Err(ValueError::Control { at: 3 })),
            (b"ab\0", Err(ValueError::Control { at: 3 })),
            (b"\xff", Err(ValueError::NotText)),
        ];
        for (bytes, expected) in table {
            assert_eq!(value(bytes), expected.map(str::to_owned), "{bytes:?}");
        }
    }
}
