//! One line that a human types in answer to a question.
//!
//! Owns that what was typed before the question does not count. Must not know what is asked.

use crate::context::Context;
use crate::failure::Failure;
use crate::render::style::Tone;
use crate::terminal::{self, Input};

/// Asks and waits; `None` when the human leaves with Ctrl-C or Ctrl-D. The question must be escaped, and
/// the output interactive.
pub(crate) async fn ask(context: &Context, question: &str) -> Result<Option<String>, Failure> {
    // What was typed before this question was not an answer to it.
    terminal::forget_typed();
    context.output.ask(&context.output.style.paint(Tone::Heading, question))?;
    let mut input = Input::open().map_err(Failure::io("read the answer"))?;
    let typed = tokio::select! {
        typed = input.next() => typed,
        _ = tokio::signal::ctrl_c() => None,
    };
    if typed.is_none() {
        context.output.line("")?;
    }
    Ok(typed.map(|typed| String::from_utf8_lossy(&typed).into_owned()))
}

/// Whether the human says yes; everything else is a no.
pub(crate) async fn confirm(context: &Context, question: &str) -> Result<bool, Failure> {
    let typed = ask(context, &format!("{question} [y/N]: ")).await?.unwrap_or_default();
    Ok(matches!(typed.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
