//! One request of the agent's model.
//!
//! Owns that it is recorded before it is sent and after it has ended, that an answer with the key in it is thrown
//! away, and which failures are worth another request.

use std::sync::Arc;

use ftl_core::agent::AgentEvent;
use ftl_core::llm::name::Endpoint;
use ftl_core::llm::{Conversation, End, Event, StreamError, ToolCall, Usage};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::saying::Saying;
use crate::app::Parts;
use crate::llm::{Llm, LlmError};
use crate::session::Error;
use crate::session::ask::Chosen;
use crate::session::driver::told;
use crate::session::model_call::{Book, outcome};
use crate::session::record::Record;

/// Asks one model on behalf of one session.
pub(super) struct Asker {
    book: Book,
    llm: Box<dyn Llm>,
}

/// A whole answer.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) calls: Vec<ToolCall>,
    pub(super) usage: Option<Usage>,
    pub(super) end: End,
}

/// Why there is none.
pub(super) struct Failed {
    pub(super) why: String,
    /// Whether another request may succeed: the answer broke off in its middle.
    pub(super) may_be_repeated: bool,
}

/// What the audit log calls these requests.
const PURPOSE: &str = "agent";

impl Asker {
    pub(super) fn new(parts: Arc<Parts>, record: &Record, chosen: Chosen) -> Result<Self, Error> {
        let (book, llm) = Book::new(parts, record, (chosen.endpoint, chosen.key, chosen.signing), PURPOSE)?;
        Ok(Self { book, llm })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        self.book.endpoint()
    }

    /// Asks, and says the answer's text as it comes.
    pub(super) async fn ask(
        &mut self,
        conversation: Conversation,
        saying: &Saying,
    ) -> Result<Answer, Failed> {
        let messages = conversation.messages.len();
        self.book.begun(json!({ "messages": messages })).await.map_err(fatal)?;
        let mut answer = Answer::default();
        let heard = self.hear(conversation, &mut answer, saying).await;
        let outcome = match &heard {
            Ok(()) => outcome(answer.end),
            Err(error) => error.kind(),
        };
        self.book.ended(outcome, None, answer.usage).await.map_err(fatal)?;
        match heard {
            Ok(()) if self.tells_key(&answer) => Err(Failed {
                why: "the model's service sent the key back, so its answer was thrown away".to_owned(),
                may_be_repeated: false,
            }),
            Ok(()) => Ok(answer),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Records that nobody waits for the answer any more, when one is under way.
    pub(super) async fn leave(&mut self) {
        if self.book.is_open()
            && let Err(error) = self.book.ended("left", None, None).await
        {
            tracing::warn!(error = %told(&error), "a request's end is not recorded");
        }
    }

    async fn hear(
        &self,
        conversation: Conversation,
        answer: &mut Answer,
        saying: &Saying,
    ) -> Result<(), LlmError> {
        let mut events = self.llm.stream(conversation);
        let mut clean = self.book.clean();
        let heard = loop {
            match events.next().await {
                None => break Err(StreamError::Cut.into()),
                Some(Err(error)) => break Err(error),
                Some(Ok(Event::End(end))) => {
                    answer.end = end;
                    break Ok(());
                }
                Some(Ok(Event::Usage(usage))) => answer.usage = Some(usage),
                Some(Ok(Event::ToolCall(call))) => answer.calls.push(call),
                Some(Ok(Event::Again { attempt, why, .. })) => {
                    saying.note(&format!("{why}; the model is asked again, attempt {attempt}")).await;
                }
                Some(Ok(Event::Text(text))) => {
                    answer.text += &text;
                    let text = clean.piece(&text);
                    if !text.is_empty() {
                        saying.say(AgentEvent::Text { text, fragment: true }).await;
                    }
                }
            }
        };
        if !answer.text.is_empty() {
            saying.say(AgentEvent::Text { text: clean.end(), fragment: false }).await;
        }
        heard
    }

    /// Whether the key is in an answer, which must reach neither the conversation nor the sandbox.
    fn tells_key(&self, answer: &Answer) -> bool {
        let has = |text: &str| self.book.tells_key(text);
        has(&answer.text) || answer.calls.iter().any(|call| has(&call.name) || any_text(&call.input, &has))
    }

    fn failed(&self, error: &LlmError) -> Failed {
        let mut why = format!("{} gives no answer: {}", self.book.model(), told(error));
        let hint = error.hint(&self.endpoint().provider, self.book.key());
        if !hint.is_empty() {
            why = format!("{why}; {hint}");
        }
        let may_be_repeated =
            matches!(error, LlmError::Broken(_) | LlmError::Stream(StreamError::Cut) | LlmError::Slow(_));
        Failed { why: self.book.without_key(&why), may_be_repeated }
    }
}

/// Without its record nothing is asked.
fn fatal(error: Error) -> Failed {
    Failed { why: told(&error), may_be_repeated: false }
}

/// Whether any text in a value, names included, is such a one.
fn any_text(value: &Value, has: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => has(text),
        Value::Array(parts) => parts.iter().any(|part| any_text(part, has)),
        Value::Object(parts) => parts.iter().any(|(name, part)| has(name) || any_text(part, has)),
        _ => false,
    }
}
