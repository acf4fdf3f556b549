//! One call of a model, from its record to its end.
//!
//! Owns what the audit log says of it: model, host, purpose and session before it, what it used and how it
//! ended after it; never what was asked, answered, or the key. Owns that whoever asked may go, which ends it.

use std::sync::Arc;

use ftl_core::credential::secret_value::Secret;
use ftl_core::event::Bytes;
use ftl_core::id::SessionId;
use ftl_core::llm::again::ATTEMPTS;
use ftl_core::llm::name::Endpoint;
use ftl_core::llm::price::cost;
use ftl_core::llm::{Conversation, End, Event};
use ftl_core::opinion::{self, Material, NoOpinion};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Begun, Heard, ModelError, Purpose, Spent};
use crate::app::Parts;
use crate::audit::{Entry, Sync};
use crate::llm::{Client, Llm, LlmError, Patience, Settings};
use crate::session::Error;
use crate::session::decide::blocking;
use crate::session::record::Record;

/// A call.
pub(super) struct Call {
    parts: Arc<Parts>,
    session: SessionId,
    project: Bytes,
    purpose: Purpose,
    endpoint: Endpoint,
    /// The name of the key that is sent.
    key: Option<String>,
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
        (endpoint, key): (Endpoint, Option<(String, Secret)>),
        purpose: Purpose,
    ) -> Result<Self, Error> {
        let (name, value) = key.unzip();
        let settings = Settings {
            endpoint: endpoint.clone(),
            key: value,
            roots: parts.roots.clone(),
            patience: Patience::default(),
        };
        let failed = |source| no_answer(&endpoint, name.clone(), source);
        let llm = Box::new(Client::new(settings).map_err(failed)?);
        let (session, project) = (record.id.clone(), record.project.root.clone());
        Ok(Self { parts, session, project, purpose, endpoint, key: name, llm })
    }

    /// Records that the call is about to happen.
    pub(super) async fn record_begun(&self, begun: &Begun) -> Result<(), Error> {
        let detail = json!({
            "model": begun.model,
            "host": begun.host,
            "purpose": self.purpose.name(),
            "credential": self.key,
            "digest": begun.digest,
            "files": begun.files,
            "hunks": begun.hunks,
            "attempts_at_most": ATTEMPTS,
        });
        self.append("model_asked", detail).await
    }

    /// Sends it and tells what comes.
    pub(super) async fn run(self, conversation: Conversation, material: Material, tell: Tell) {
        let (mut spent, mut text) = (Spent { attempts: 1, ..Spent::default() }, String::new());
        let outcome = self.hear(conversation, &tell, &mut spent, &mut text).await;
        spent.cost = spent.usage.and_then(|usage| cost(&self.endpoint, usage));
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
        self,
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
        spent.cost = spent.usage.and_then(|usage| cost(&self.endpoint, usage));
        self.record_ended(&outcome, &spent).await?;
        match outcome {
            Outcome::End(end) => Ok(Some((text, end))),
            Outcome::Failed(source) => Err(no_answer(&self.endpoint, self.key.clone(), source)),
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
        loop {
            let event = tokio::select! {
                biased;
                () = tell.closed() => return Outcome::Left,
                event = events.next() => event,
            };
            let heard = match event {
                None => return Outcome::Failed(ftl_core::llm::StreamError::Cut.into()),
                Some(Err(error)) => return Outcome::Failed(error),
                Some(Ok(Event::End(end))) => return Outcome::End(end),
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
                Some(Ok(Event::Text(piece))) if self.purpose == Purpose::Question => Heard::Text(piece),
                Some(Ok(Event::Text(piece))) => {
                    *text += &piece;
                    if text.len() > self.purpose.longest() {
                        return Outcome::TooLong;
                    }
                    Heard::Progress(u64::try_from(text.len()).unwrap_or(u64::MAX))
                }
            };
            if tell.send(Ok(heard)).await.is_err() {
                return Outcome::Left;
            }
        }
    }

    /// What counts of the answer: for a review an opinion, or nothing.
    fn concluded(
        &self,
        outcome: Outcome,
        text: &str,
        material: &Material,
    ) -> Result<(Option<Heard>, End), Error> {
        let model = || format!("{}/{}", self.endpoint.provider, self.endpoint.model);
        let none = |source| Err(ModelError::NoOpinion { model: model(), source }.into());
        let end = match outcome {
            Outcome::End(end) => end,
            Outcome::Failed(source) => return Err(no_answer(&self.endpoint, self.key.clone(), source)),
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

    async fn record_ended(&self, outcome: &Outcome, spent: &Spent) -> Result<(), Error> {
        let outcome = match outcome {
            Outcome::End(End::Done) => "answered",
            Outcome::End(End::Length) => "answered, cut at its longest",
            Outcome::End(End::Refused) => "refused by the model",
            Outcome::End(End::Tools | End::Unknown) => "ended oddly",
            Outcome::Failed(error) => error.kind(),
            Outcome::Left => "left",
            Outcome::TooLong => "too long",
        };
        let detail = json!({
            "model": format!("{}/{}", self.endpoint.provider, self.endpoint.model),
            "purpose": self.purpose.name(),
            "outcome": outcome,
            "attempts": spent.attempts,
            "input_tokens": spent.usage.map(|usage| usage.input),
            "output_tokens": spent.usage.map(|usage| usage.output),
            "cost_micro_usd_at_most": spent.cost.as_ref().map(|cost| cost.micro_usd),
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

fn no_answer(endpoint: &Endpoint, key: Option<String>, source: LlmError) -> Error {
    let provider = endpoint.provider.clone();
    let model = format!("{provider}/{}", endpoint.model);
    ModelError::Call { model, provider, key, source }.into()
}
