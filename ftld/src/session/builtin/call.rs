//! One request of the agent's model.
//!
//! Owns that it is in the audit log before it is sent and after it has ended, never with what was asked or
//! answered; that the key stays out of what comes back; and which failures are worth another request.

use std::sync::Arc;

use ftl_core::agent::AgentEvent;
use ftl_core::credential::secret_value::Secret;
use ftl_core::event::Bytes;
use ftl_core::id::SessionId;
use ftl_core::llm::again::ATTEMPTS;
use ftl_core::llm::name::Endpoint;
use ftl_core::llm::price::cost;
use ftl_core::llm::{Conversation, End, Event, StreamError, ToolCall, Usage};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::saying::Saying;
use crate::app::Parts;
use crate::audit::{Entry, Sync};
use crate::llm::{Client, Llm, LlmError, Patience, Settings};
use crate::session::Error;
use crate::session::ask::{Chosen, ModelError};
use crate::session::decide::blocking;
use crate::session::driver::told;
use crate::session::record::Record;

/// Asks one model on behalf of one session.
pub(super) struct Asker {
    parts: Arc<Parts>,
    session: SessionId,
    project: Bytes,
    endpoint: Endpoint,
    key: Option<(String, Secret)>,
    llm: Box<dyn Llm>,
    /// Whether a request is recorded whose end is not.
    is_open: bool,
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
        let Chosen { endpoint, key, .. } = chosen;
        let settings = Settings {
            endpoint: endpoint.clone(),
            key: key.as_ref().map(|(_, value)| value.clone()),
            roots: parts.roots.clone(),
            patience: Patience::default(),
        };
        let failed = |source| ModelError::Call {
            model: format!("{}/{}", endpoint.provider, endpoint.model),
            provider: endpoint.provider.clone(),
            key: key.as_ref().map(|(name, _)| name.clone()),
            source,
        };
        let llm = Box::new(Client::new(settings).map_err(failed)?);
        let (session, project) = (record.id.clone(), record.project.root.clone());
        Ok(Self { parts, session, project, endpoint, key, llm, is_open: false })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks, and says the answer's text as it comes.
    pub(super) async fn ask(
        &mut self,
        conversation: Conversation,
        saying: &Saying,
    ) -> Result<Answer, Failed> {
        self.record_begun(conversation.messages.len()).await.map_err(fatal)?;
        self.is_open = true;
        let mut answer = Answer::default();
        let heard = self.hear(conversation, &mut answer, saying).await;
        let outcome = match &heard {
            Ok(()) => outcome(answer.end),
            Err(error) => error.kind(),
        };
        self.record_ended(outcome, answer.usage).await.map_err(fatal)?;
        self.is_open = false;
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
        if std::mem::take(&mut self.is_open)
            && let Err(error) = self.record_ended("left", None).await
        {
            tracing::warn!(session = %self.session, error = %told(&error), "a request's end is not recorded");
        }
    }

    async fn hear(
        &self,
        conversation: Conversation,
        answer: &mut Answer,
        saying: &Saying,
    ) -> Result<(), LlmError> {
        let mut events = self.llm.stream(conversation);
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
                    saying.say(AgentEvent::Text { text: self.without_key(&text), fragment: true }).await;
                }
            }
        };
        if !answer.text.is_empty() {
            saying.say(AgentEvent::Text { text: String::new(), fragment: false }).await;
        }
        heard
    }

    /// Whether the key is in an answer, which must reach neither the conversation nor the sandbox.
    fn tells_key(&self, answer: &Answer) -> bool {
        let Some((_, key)) = &self.key else { return false };
        let has = |text: &str| text.contains(key.expose());
        has(&answer.text) || answer.calls.iter().any(|call| any_text(&call.input, &has))
    }

    fn without_key(&self, text: &str) -> String {
        match &self.key {
            Some((_, key)) if text.contains(key.expose()) => text.replace(key.expose(), "[the key]"),
            _ => text.to_owned(),
        }
    }

    fn failed(&self, error: &LlmError) -> Failed {
        let name = self.key.as_ref().map(|(name, _)| name.as_str());
        let mut why =
            format!("{}/{} gives no answer: {}", self.endpoint.provider, self.endpoint.model, told(error));
        let hint = error.hint(&self.endpoint.provider, name);
        if !hint.is_empty() {
            why = format!("{why}; {hint}");
        }
        let may_be_repeated =
            matches!(error, LlmError::Broken(_) | LlmError::Stream(StreamError::Cut) | LlmError::Slow(_));
        Failed { why: self.without_key(&why), may_be_repeated }
    }

    async fn record_begun(&self, messages: usize) -> Result<(), Error> {
        let detail = json!({
            "model": format!("{}/{}", self.endpoint.provider, self.endpoint.model),
            "host": self.endpoint.base.authority.to_string(),
            "purpose": PURPOSE,
            "credential": self.key.as_ref().map(|(name, _)| name),
            "messages": messages,
            "attempts_at_most": ATTEMPTS,
        });
        self.append("model_asked", detail).await
    }

    async fn record_ended(&self, outcome: &'static str, usage: Option<Usage>) -> Result<(), Error> {
        let detail = json!({
            "model": format!("{}/{}", self.endpoint.provider, self.endpoint.model),
            "purpose": PURPOSE,
            "outcome": outcome,
            "input_tokens": usage.map(|usage| usage.input),
            "output_tokens": usage.map(|usage| usage.output),
            "cost_micro_usd_at_most": usage.and_then(|usage| cost(&self.endpoint, usage)).map(|cost| cost.micro_usd),
        });
        self.append("model_answered", detail).await
    }

    async fn append(&self, action: &'static str, detail: Value) -> Result<(), Error> {
        let entry = Entry {
            time_us: self.parts.clock.now_us(),
            action,
            session: Some(self.session.clone()),
            project: Some(self.project.clone()),
            detail,
        };
        let audit = Arc::clone(&self.parts.audit);
        blocking(move || Ok(audit.append(entry, Sync::Kernel)?)).await
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

fn outcome(end: End) -> &'static str {
    match end {
        End::Done => "answered",
        End::Tools => "answered with calls",
        End::Length => "answered, cut at its longest",
        End::Refused => "refused by the model",
        End::Unknown => "ended oddly",
    }
}
