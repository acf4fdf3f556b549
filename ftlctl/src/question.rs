//! The questions of requests that wait for the human while a session is watched.
//!
//! Owns their order, the one that stands on the screen, and the way of the answers. Must not know
//! sessions or rules: an answer is bound to the number that was shown with its question. While a question
//! stands, what the session tells is held back, so that it does not run through what is being typed.

use std::collections::VecDeque;
use std::time::Duration;

use ftl_proto::v1;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::connect::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::render::event::Piece;
use crate::render::style::Tone;
use crate::render::{egress, escape};
use crate::terminal::{self, Input};

/// Pieces that are held back at most; then they are shown and the question is put again.
const HELD: usize = 1000;

/// The questions of one session.
pub(crate) struct Questions {
    waiting: VecDeque<Waiting>,
    open: Option<Open>,
    held: Vec<Piece>,
    answers: JoinSet<Result<bool, tonic::Status>>,
}

struct Waiting {
    ask: u64,
    text: String,
    /// When its patience ends, microseconds since the Unix epoch.
    until_us: i64,
}

/// The question on the screen.
struct Open {
    ask: u64,
    text: String,
    until: Instant,
    input: Input,
}

/// Something to act on.
pub(crate) enum Said {
    /// The human typed a line; nothing when they closed the input.
    Typed(Option<Vec<u8>>),
    /// Nobody has answered in time.
    Expired,
    /// An answer arrived, or did not.
    Heard(Result<bool, String>),
}

// === impl Questions ===

impl Questions {
    /// None so far.
    pub(crate) fn new() -> Self {
        Self { waiting: VecDeque::new(), open: None, held: Vec::new(), answers: JoinSet::new() }
    }

    /// Whether one stands on the screen.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes a question for later.
    pub(crate) fn push(&mut self, event: &v1::EgressAsked, asked_us: i64) {
        let patience = i64::try_from(egress::patience_us(event)).unwrap_or(i64::MAX);
        self.waiting.push_back(Waiting {
            ask: event.ask,
            text: egress::question(event),
            until_us: asked_us.saturating_add(patience),
        });
    }

    /// Puts the next question that still waits, unless one stands already, and says whether it did.
    pub(crate) fn put(&mut self, context: &Context) -> Result<bool, Failure> {
        let now_us = context.now().as_microsecond();
        while self.open.is_none() {
            let Some(next) = self.waiting.pop_front() else { return Ok(false) };
            let left = u64::try_from(next.until_us.saturating_sub(now_us)).unwrap_or(0);
            if left == 0 {
                continue;
            }
            let until = Instant::now() + Duration::from_micros(left);
            self.open = Some(Open::put(context, next.ask, next.text, until)?);
            return Ok(true);
        }
        Ok(false)
    }

    /// Shows a piece, or holds it back while a question stands. Says whether the question had to be put
    /// again behind it.
    pub(crate) fn piece(&mut self, context: &Context, piece: Piece) -> Result<bool, Failure> {
        let Some(open) = &self.open else {
            context.output.piece(&piece)?;
            return Ok(false);
        };
        self.held.push(piece);
        if self.held.len() < HELD {
            return Ok(false);
        }
        let text = open.text.clone();
        context.output.line("")?;
        self.release(context)?;
        show(context, &text)?;
        Ok(true)
    }

    /// Somebody, or the end of patience, has answered this one.
    pub(crate) fn answered(&mut self, context: &Context, ask: u64) -> Result<(), Failure> {
        self.waiting.retain(|waiting| waiting.ask != ask);
        if self.open.as_ref().is_some_and(|open| open.ask == ask) { self.withdraw(context) } else { Ok(()) }
    }

    /// Takes the question off the screen without an answer.
    pub(crate) fn withdraw(&mut self, context: &Context) -> Result<(), Failure> {
        if self.open.take().is_some() {
            // Half an answer to this question is none to whatever is asked next.
            terminal::forget_typed();
            context.output.line("")?;
        }
        self.release(context)
    }

    /// What comes next. Nothing is lost when this is dropped before it ends.
    pub(crate) async fn next(&mut self) -> Said {
        tokio::select! {
            Some(heard) = self.answers.join_next() => Said::Heard(match heard {
                Ok(answer) => answer.map_err(|status| escape::name(status.message())),
                Err(_) => Err("the answer was dropped".to_owned()),
            }),
            said = said(&mut self.open) => said,
        }
    }

    /// Acts on it.
    pub(crate) fn act(
        &mut self,
        context: &Context,
        client: &Client,
        session: &str,
        said: Said,
    ) -> Result<(), Failure> {
        match said {
            Said::Expired => self.withdraw(context),
            Said::Heard(Ok(true)) => Ok(()),
            Said::Heard(Ok(false)) => context.output.note("too late: the request does not wait any more"),
            Said::Heard(Err(why)) => context.output.note(&format!("the answer did not arrive: {why}")),
            Said::Typed(typed) => {
                let Some(open) = self.open.take() else { return Ok(()) };
                let line = typed.as_deref().map(String::from_utf8_lossy);
                let Some(answer) = line.as_deref().map_or(Some(v1::EgressAnswer::No), meant) else {
                    let left = open.until.saturating_duration_since(Instant::now());
                    return self.again(context, open, left);
                };
                if typed.is_none() {
                    context.output.line("")?;
                }
                let request =
                    v1::AnswerRequest { session: session.to_owned(), ask: open.ask, answer: answer.into() };
                let mut client = client.egress();
                self.answers.spawn(async move { Ok(client.answer(request).await?.into_inner().waiting) });
                self.release(context)
            }
        }
    }

    /// Puts a question once more whose answer was not understood.
    fn again(&mut self, context: &Context, open: Open, left: Duration) -> Result<(), Failure> {
        if left.is_zero() {
            return self.release(context);
        }
        let Open { ask, text, until, input } = open;
        drop(input);
        self.open = Some(Open::put(context, ask, text, until)?);
        Ok(())
    }

    /// Shows what was held back.
    fn release(&mut self, context: &Context) -> Result<(), Failure> {
        for piece in self.held.drain(..) {
            context.output.piece(&piece)?;
        }
        Ok(())
    }
}

// === impl Open ===

impl Open {
    /// Shows the question and begins to listen.
    fn put(context: &Context, ask: u64, text: String, until: Instant) -> Result<Self, Failure> {
        // What was typed before this question was not an answer to it.
        terminal::forget_typed();
        show(context, &text)?;
        let input = Input::open().map_err(Failure::io("read the answer"))?;
        Ok(Self { ask, text, until, input })
    }
}

fn show(context: &Context, text: &str) -> Result<(), Failure> {
    context.output.ask(&context.output.style.paint(Tone::Heading, text))
}

async fn said(open: &mut Option<Open>) -> Said {
    match open {
        Some(open) => tokio::select! {
            typed = open.input.next() => Said::Typed(typed),
            () = sleep_until(open.until) => Said::Expired,
        },
        None => std::future::pending().await,
    }
}

/// What was meant; an empty line is a no, and what is not understood is nothing.
fn meant(typed: &str) -> Option<v1::EgressAnswer> {
    match typed.trim().to_ascii_lowercase().as_str() {
        "o" | "once" => Some(v1::EgressAnswer::Once),
        "s" | "session" => Some(v1::EgressAnswer::Session),
        "a" | "always" => Some(v1::EgressAnswer::Always),
        "" | "n" | "no" => Some(v1::EgressAnswer::No),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_answer_allows() {
        let table = [
            ("o\n", Some(v1::EgressAnswer::Once)),
            (" Session \n", Some(v1::EgressAnswer::Session)),
            ("A\n", Some(v1::EgressAnswer::Always)),
            ("\n", Some(v1::EgressAnswer::No)),
            ("n\n", Some(v1::EgressAnswer::No)),
            ("y\n", None),
            ("oo\n", None),
            ("\x1b[A\n", None),
        ];
        for (typed, expected) in table {
            assert_eq!(meant(typed), expected, "{typed:?}");
        }
    }

    #[test]
    fn an_answer_from_elsewhere_takes_a_waiting_question_away() {
        let mut questions = Questions::new();
        let asked = |ask| v1::EgressAsked { ask, patience_ms: 1000, ..Default::default() };
        questions.push(&asked(1), 5_000_000);
        questions.push(&asked(2), 5_000_000);
        assert_eq!(questions.waiting[0].until_us, 6_000_000);
        questions.waiting.retain(|waiting| waiting.ask != 1);
        assert_eq!(questions.waiting.front().map(|waiting| waiting.ask), Some(2));
    }
}
