//! FTL's own agent at work: the model is asked by the daemon, and what it wants done is done in the sandbox.
//!
//! Owns the loop of one instruction: ask, run what the model calls, tell it what came of that, until it has
//! nothing more to call, a limit is reached or somebody stops it. What a call means is
//! [`ftl_core::builtin`]'s. Nothing that a model or a sandbox says is opened, run or written by the daemon
//! itself: a call becomes a program of the sandbox, and the conversation a file of the daemon's own.

mod call;
mod saying;
mod store;
mod tool;

use std::sync::Arc;

use async_trait::async_trait;
use ftl_core::agent::AgentEvent;
use ftl_core::builtin::limit::{Allowance, Used};
use ftl_core::builtin::{compact, prompt, tool as meaning};
use ftl_core::config::Settings;
use ftl_core::llm::price::cost;
use ftl_core::llm::{Conversation, End, Message, ToolResult, Usage};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::driver::{Driver, Inbox, Stopping};
use super::record::Record;
use super::turn::{Ended, Running, Stage, Telling, Voice};
use super::{Error, ask};
use crate::agent::BUILTIN;
use crate::app::Parts;
use crate::audit::Sync;
use crate::sandbox::{ExitStatus, ProcessControl, Sandbox, SandboxError, Size};
use call::{Answer, Asker};
use saying::Saying;
pub(super) use store::SAID;
use store::Store;
use tool::Bench;

/// The agent during one instruction.
struct Agent<'a> {
    bench: Bench<'a>,
    asker: Asker,
    store: Store,
    messages: Vec<Message>,
    budget: Allowance,
    used: Used,
    saying: Saying,
}

/// Stops the agent as a signal stops a program.
struct Control(CancellationToken);

/// The most tokens of an answer. All models of today can write as many.
const MAX_TOKENS: u32 = 8192;
/// Attempts for an answer that breaks off in the middle; those before its beginning are the client's.
const ATTEMPTS: u32 = 3;

impl Driver {
    /// The agent's part of a turn.
    pub(super) async fn builtin_turn(
        &mut self,
        stage: &mut Stage<'_>,
        settings: &Settings,
        text: &str,
        voice: &mut Voice,
        (inbox, stopping): (&mut Inbox, &mut Stopping),
    ) -> Result<Ended, Error> {
        let place = (stage.sandbox, stage.telling());
        let (running, shown) = start(&self.parts, &self.record, settings, text, place).await?;
        self.audit("agent_started", json!({ "program": shown }), Sync::Kernel).await?;
        Ok(self.follow(stage, Some(running), voice, inbox, stopping).await)
    }
}

/// Starts the agent. What it runs is in `sandbox`, and what it says goes to `tell`.
///
/// # Errors
/// When no model or no key is configured, or the conversation so far cannot be read.
async fn start<'a>(
    parts: &Arc<Parts>,
    record: &Record,
    settings: &Settings,
    text: &str,
    (sandbox, tell): (&'a dyn Sandbox, Telling),
) -> Result<(Running<'a>, String), Error> {
    let agent_settings = settings.agent_settings(BUILTIN);
    let chosen = ask::for_agent(parts, record, agent_settings.model.as_deref()).await?;
    let shown = format!("{BUILTIN} {}", chosen.name);
    let asker = Asker::new(Arc::clone(parts), record, chosen)?;
    let store = Store::of(parts, record);
    let mut messages = store.load().await?;
    compact::mend(&mut messages);
    let stop = CancellationToken::new();
    let saying = Saying::new(tell);
    let agent = Agent {
        bench: Bench::new(sandbox, saying.clone()),
        asker,
        store,
        messages,
        budget: agent_settings.budget,
        used: Used::default(),
        saying,
    };
    let exit = Box::pin(agent.run(text.to_owned(), stop.clone()));
    Ok((Running::new(Arc::new(Control(stop)), exit), shown))
}

impl Agent<'_> {
    /// Works until the end, and tells it.
    async fn run(mut self, text: String, stop: CancellationToken) -> Result<ExitStatus, SandboxError> {
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            ended = self.work(text) => Some(ended),
        };
        let (is_good, message) = match ended {
            Some(Ok(message)) => (true, message),
            Some(Err(why)) => (false, why),
            None => {
                self.asker.leave().await;
                (false, "the agent was stopped".to_owned())
            }
        };
        let Used { input, output, micro_usd, .. } = self.used;
        self.saying
            .say(AgentEvent::Usage { input_tokens: input, output_tokens: output, cost_micro_usd: micro_usd })
            .await;
        self.saying.say(AgentEvent::Finished { ok: is_good, message }).await;
        Ok(ExitStatus::Code(i32::from(!is_good)))
    }

    /// The loop; gives the model's last words, or why there are none.
    async fn work(&mut self, text: String) -> Result<String, String> {
        self.begin(text).await?;
        loop {
            self.budget.allows(&self.used).map_err(|over| over.to_string())?;
            if compact::compact(&mut self.messages, self.budget.context_tokens) {
                self.saying.note("the conversation is long: its oldest parts were shortened").await;
            }
            let Answer { text, calls, end, .. } = self.ask().await?;
            let calls = meaning::tidy(calls, self.messages.len());
            self.keep(Message::Assistant { text: text.clone(), calls: calls.clone() }).await?;
            if calls.is_empty() {
                return match end {
                    End::Done => Ok(text),
                    End::Length => Err("the model's answer was cut at its longest".to_owned()),
                    End::Refused => Err("the model refuses".to_owned()),
                    End::Tools | End::Unknown => Err("the model's answer ended oddly".to_owned()),
                };
            }
            let results = self.results(&calls, end).await;
            self.keep(Message::Results(results)).await?;
        }
    }

    /// The human's instruction, and at the beginning what the project looks like.
    async fn begin(&mut self, text: String) -> Result<(), String> {
        if !self.messages.is_empty() {
            return self.keep(Message::User(text)).await;
        }
        if !self.asker.endpoint().keys.is_empty() && cost(self.asker.endpoint(), Usage::default()).is_none() {
            self.saying
                .note("the model's price is not known: its requests and tokens are limited, its cost is not")
                .await;
        }
        let layout = self.bench.layout().await;
        self.keep(Message::User(prompt::first(&text, &layout))).await
    }

    /// One whole answer. One that breaks off in the middle is nothing, and asked for again.
    async fn ask(&mut self) -> Result<Answer, String> {
        for attempt in 1..=ATTEMPTS {
            self.budget.allows(&self.used).map_err(|over| over.to_string())?;
            self.used.requests += 1;
            let conversation = Conversation {
                system: prompt::SYSTEM.to_owned(),
                messages: self.messages.clone(),
                tools: meaning::tools(),
                max_tokens: MAX_TOKENS,
            };
            match self.asker.ask(conversation, &self.saying).await {
                Ok(answer) => {
                    let usage = answer.usage.unwrap_or_default();
                    let cost = cost(self.asker.endpoint(), usage).map_or(0, |cost| cost.micro_usd);
                    self.used.add(usage, cost);
                    return Ok(answer);
                }
                Err(failed) if failed.may_be_repeated && attempt < ATTEMPTS => {
                    self.saying.note(&format!("{}; the model is asked again", failed.why)).await;
                }
                Err(failed) => return Err(failed.why),
            }
        }
        Err("the model gives no answer".to_owned())
    }

    async fn results(&self, calls: &[ftl_core::llm::ToolCall], end: End) -> Vec<ToolResult> {
        match end {
            // What stands in an answer that was cut may be cut as well.
            End::Length | End::Refused => calls
                .iter()
                .map(|call| ToolResult {
                    id: call.id.clone(),
                    text: "the answer was cut at its longest, so nothing was done; do less at once"
                        .to_owned(),
                    failed: true,
                })
                .collect(),
            _ => self.bench.run(calls, self.used.requests, self.budget.context_tokens).await,
        }
    }

    /// What was said stays said, also when the daemon dies.
    async fn keep(&mut self, message: Message) -> Result<(), String> {
        self.messages.push(message);
        self.store.save(&self.messages).await.map_err(|error| super::driver::told(&error))
    }
}

#[async_trait]
impl ProcessControl for Control {
    async fn signal(&self, _signal: i32) -> Result<(), SandboxError> {
        self.0.cancel();
        Ok(())
    }

    fn resize(&self, _size: Size) -> Result<(), SandboxError> {
        Ok(())
    }
}
