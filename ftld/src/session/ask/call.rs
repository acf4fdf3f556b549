//! One call of a model, from its record to its end.
//!
//! Owns what is heard of it, without the key, and that whoever asked may go, which ends it. What is recorded of it
//! is [`model_call`]'s.

use std::sync::Arc;

use ftl_core::credential::secret_value::Secret;
use ftl_core::llm::name::Endpoint;
use ftl_core::llm::price::cost;
use ftl_core::llm::{Conversation, End, Event};
use ftl_core::opinion::{self, Material, NoOpinion};
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Begun, Heard, ModelError, Purpose, Spent};
use crate::app::Parts;
use crate::llm::{Llm, LlmError, Signing};
use crate::session::Error;
use crate::session::model_call::{self, Book};
use crate::session::record::Record;

/// A call.
pub(super) struct Call {
    book: Book,
    purpose: Purpose,
    llm: Box<dyn Llm>,
}

/// How a call ended.
enum Outcome {
    /// The answer is whole.
    End(End),
    /// There is none.
    Failed(LlmError),
    /// Nobody waits for it any more.
    Left,
    /// It is longer than was asked for, and no more of it was read.
    TooLong,
}

/// Where what is heard goes.
type Tell = mpsc::Sender<Result<Heard, Error>>;

impl Call {
    /// A call that is sent nothing yet.
    pub(super) fn prepare(
        parts: Arc<Parts>,
        record: &Record,
        model: (Endpoint, Option<(String, Secret)>, Option<Signing>),
        purpose: Purpose,
    ) -> Result<Self, Error> {
        let (book, llm) = Book::new(parts, record, model, purpose.name())?;
        Ok(Self { book, purpose, llm })
    }

    /// Records that the call is about to happen.
    pub(super) async fn record_begun(&mut self, begun: &Begun) -> Result<(), Error> {
        let more = json!({ "digest": begun.digest, "files": begun.files, "hunks": begun.hunks });
        self.book.begun(more).await
    }

    /// Sends it and tells what comes.
    pub(super) async fn run(mut self, conversation: Conversation, material: Material, tell: Tell) {
        let (mut spent, mut text) = (Spent { attempts: 1, ..Spent::default() }, String::new());
        let outcome = self.hear(conversation, &tell, &mut spent, &mut text).await;
        spent.cost = spent.usage.and_then(|usage| cost(self.book.endpoint(), usage));
        let recorded = self.record_ended(&outcome, &spent).await;
        let last = match (recorded, self.concluded(outcome, &text, &material)) {
            (Err(error), _) | (Ok(()), Err(error)) => vec![Err(error)],
            (Ok(()), Ok((opinion, end))) => {
                opinion.into_iter().map(Ok).chain([Ok(Heard::End { end, spent })]).collect()
            }
        };
        for heard in last {
            // Whoever asked may have gone.
            let _gone = tell.send(heard).await;
        }
    }

    /// Sends it and gives the whole answer, which nobody hears meanwhile; `None` when it is too long.
    pub(super) async fn whole(
        mut self,
        conversation: Conversation,
        stop: &CancellationToken,
    ) -> Result<Option<(String, End)>, Error> {
        let (mut spent, mut text) = (Spent { attempts: 1, ..Spent::default() }, String::new());
        let (tell, mut pieces) = mpsc::channel(super::BUFFER);
        let outcome = tokio::select! {
            outcome = self.hear(conversation, &tell, &mut spent, &mut text) => outcome,
            () = async { while pieces.recv().await.is_some() {} } => Outcome::Left,
            () = stop.cancelled() => Outcome::Left,
        };
        self.record_ended(&outcome, &spent).await?;
        match outcome {
            Outcome::End(end) => Ok(Some((text, end))),
            Outcome::Failed(source) => Err(self.book.no_answer(source)),
            Outcome::Left => Err(Error::Interrupted),
            Outcome::TooLong => Ok(None),
        }
    }

    async fn hear(
        &self,
        conversation: Conversation,
        tell: &Tell,
        spent: &mut Spent,
        text: &mut String,
    ) -> Outcome {
        let mut events = self.llm.stream(conversation);
        // The key may come in two pieces, so an end of each is held back.
        let mut clean = self.book.clean();
        loop {
            let event = tokio::select! {
                biased;
                () = tell.closed() => return Outcome::Left,
                event = events.next() => event,
            };
            let heard = match event {
                None => return Outcome::Failed(ftl_core::llm::StreamError::Cut.into()),
                Some(Err(error)) => return Outcome::Failed(error),
                Some(Ok(Event::End(end))) => {
                    if let Some(last) = self.said(&clean.end(), text)
                        && tell.send(Ok(last)).await.is_err()
                    {
                        return Outcome::Left;
                    }
                    return Outcome::End(end);
                }
                Some(Ok(Event::Usage(usage))) => {
                    spent.usage = Some(usage);
                    continue;
                }
                // No tool was offered.
                Some(Ok(Event::ToolCall(_))) => continue,
                Some(Ok(Event::Again { attempt, wait_ms, why })) => {
                    spent.attempts = attempt;
                    Heard::Again { attempt, wait_ms, why }
                }
                Some(Ok(Event::Text(piece))) => match self.said(&clean.piece(&piece), text) {
                    _ if text.len() > self.purpose.longest() => return Outcome::TooLong,
                    Some(heard) => heard,
                    None => continue,
                },
            };
            if tell.send(Ok(heard)).await.is_err() {
                return Outcome::Left;
            }
        }
    }

    /// What is told of some of the answer; a review is kept until it is whole.
    fn said(&self, piece: &str, text: &mut String) -> Option<Heard> {
        if self.purpose == Purpose::Question {
            return (!piece.is_empty()).then(|| Heard::Text(piece.to_owned()));
        }
        text.push_str(piece);
        Some(Heard::Progress(u64::try_from(text.len()).unwrap_or(u64::MAX)))
    }

    /// What counts of the answer: for a review an opinion, or nothing.
    fn concluded(
        &self,
        outcome: Outcome,
        text: &str,
        material: &Material,
    ) -> Result<(Option<Heard>, End), Error> {
        let none = |source| Err(ModelError::NoOpinion { model: self.book.model(), source }.into());
        let end = match outcome {
            Outcome::End(end) => end,
            Outcome::Failed(source) => return Err(self.book.no_answer(source)),
            Outcome::Left => return Err(Error::Interrupted),
            Outcome::TooLong => return none(NoOpinion::Size("more text than was asked for")),
        };
        if self.purpose == Purpose::Question {
            return Ok((None, end));
        }
        match end {
            End::Done => match opinion::read(text, |path| material.knows(path)) {
                Ok(opinion) => Ok((Some(Heard::Opinion(opinion)), end)),
                Err(source) => none(source),
            },
            End::Length => none(NoOpinion::Cut),
            End::Refused => none(NoOpinion::Refused),
            End::Tools | End::Unknown => none(NoOpinion::Form),
        }
    }

    async fn record_ended(&mut self, outcome: &Outcome, spent: &Spent) -> Result<(), Error> {
        let outcome = match outcome {
            Outcome::End(End::Tools) => "ended oddly",
            Outcome::End(end) => model_call::outcome(*end),
            Outcome::Failed(error) => error.kind(),
            Outcome::Left => "left",
            Outcome::TooLong => "too long",
        };
        self.book.ended(outcome, Some(spent.attempts), spent.usage).await
    }
}
