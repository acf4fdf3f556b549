//! Bedrock's ConverseStream: the request and the events of its stream.
//!
//! Owns the names of that protocol. Must not know how events are carried. Blocks and events of kinds that
//! this version does not know are left out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::framed::Frame;
use super::{Conversation, End, Event, Message, StreamError, Usage, call, message, plain};

/// An answer as far as it came.
#[derive(Default)]
pub(super) struct Converse {
    /// Calls that are not finished, by the number of their block.
    calls: BTreeMap<u64, Call>,
    end: Option<End>,
}

struct Call {
    id: String,
    name: String,
    input: String,
}

/// The body of a request; the model is in its path.
pub(super) fn request(conversation: &Conversation) -> Value {
    let mut body = json!({
        "inferenceConfig": {"maxTokens": conversation.max_tokens},
        "messages": conversation.messages.iter().map(wire).collect::<Vec<_>>(),
    });
    if !conversation.system.is_empty() {
        body["system"] = json!([{"text": conversation.system}]);
    }
    if !conversation.tools.is_empty() {
        let tools = conversation.tools.iter().map(|tool| {
            json!({"toolSpec": {"name": tool.name, "description": tool.description, "inputSchema": {"json": tool.schema}}})
        });
        body["toolConfig"] = json!({"tools": tools.collect::<Vec<_>>()});
    }
    body
}

fn wire(message: &Message) -> Value {
    match message {
        Message::User(text) => json!({"role": "user", "content": [{"text": text}]}),
        Message::Assistant { text, calls } => {
            // The service refuses empty texts.
            let text = (!text.is_empty()).then(|| json!({"text": text}));
            let calls = calls.iter().map(
                |call| json!({"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.input}}),
            );
            json!({"role": "assistant", "content": text.into_iter().chain(calls).collect::<Vec<_>>()})
        }
        Message::Results(results) => {
            let results = results.iter().map(|result| {
                // It refuses empty results as well.
                let text = if result.text.is_empty() { "(nothing)" } else { &result.text };
                let status = if result.failed { "error" } else { "success" };
                json!({"toolResult": {"toolUseId": result.id, "content": [{"text": text}], "status": status}})
            });
            json!({"role": "user", "content": results.collect::<Vec<_>>()})
        }
    }
}

impl Converse {
    /// Reads a message.
    pub(super) fn event(&mut self, frame: &Frame, events: &mut Vec<Event>) -> Result<(), StreamError> {
        if frame.message != "event" {
            return Err(fault(frame));
        }
        let value: Value = serde_json::from_slice(&frame.payload)
            .map_err(|_| StreamError::Malformed("an event that is no JSON"))?;
        match frame.kind.as_str() {
            "contentBlockStart" => self.block(&value),
            "contentBlockDelta" => self.delta(&value, events),
            "contentBlockStop" => {
                if let Some(Call { id, name, input }) = self.calls.remove(&index(&value)) {
                    events.push(call(&id, &name, &input)?);
                }
            }
            "messageStop" => {
                if !self.calls.is_empty() {
                    return Err(StreamError::Malformed("an end in the middle of a call"));
                }
                self.end = Some(end(value["stopReason"].as_str().unwrap_or_default()));
            }
            // What was used comes after the end.
            "metadata" => {
                let end = self.end.ok_or(StreamError::Malformed("an end without a reason"))?;
                events.extend([Event::Usage(used(&value["usage"])), Event::End(end)]);
            }
            _ => {}
        }
        Ok(())
    }

    /// The stream has ended; what was used may not have been said.
    pub(super) fn end(&mut self, events: &mut Vec<Event>) -> Result<(), StreamError> {
        let end = self.end.take().ok_or(StreamError::Cut)?;
        events.push(Event::End(end));
        Ok(())
    }

    fn block(&mut self, value: &Value) {
        let tool = &value["start"]["toolUse"];
        if tool.is_object() {
            let text = |name: &str| tool[name].as_str().unwrap_or_default().to_owned();
            let call = Call { id: text("toolUseId"), name: text("name"), input: String::new() };
            self.calls.insert(index(value), call);
        }
    }

    fn delta(&mut self, value: &Value, events: &mut Vec<Event>) {
        let delta = &value["delta"];
        if let Some(text) = delta["text"].as_str().filter(|text| !text.is_empty()) {
            events.push(Event::Text(text.to_owned()));
        }
        if let (Some(input), Some(call)) =
            (delta["toolUse"]["input"].as_str(), self.calls.get_mut(&index(value)))
        {
            call.input += input;
        }
    }
}

fn index(value: &Value) -> u64 {
    value["contentBlockIndex"].as_u64().unwrap_or_default()
}

fn used(usage: &Value) -> Usage {
    let count = |name: &str| usage[name].as_u64().unwrap_or_default();
    let written = count("cacheWriteInputTokens");
    Usage {
        input: count("inputTokens").saturating_add(count("cacheReadInputTokens")).saturating_add(written),
        output: count("outputTokens"),
        cache_written: written > 0,
    }
}

fn end(reason: &str) -> End {
    match reason {
        "end_turn" | "stop_sequence" => End::Done,
        "tool_use" => End::Tools,
        "max_tokens" | "model_context_window_exceeded" => End::Length,
        "content_filtered" | "guardrail_intervened" => End::Refused,
        _ => End::Unknown,
    }
}

/// What the service says of its failure.
fn fault(frame: &Frame) -> StreamError {
    let status = match frame.kind.as_str() {
        "validationException" => 400,
        "accessDeniedException" => 403,
        "throttlingException" => 429,
        "serviceUnavailableException" => 503,
        _ => 500,
    };
    let value: Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
    let words = String::from_utf8_lossy(&frame.payload);
    let words = if value.is_null() { &*words } else { message(&value).unwrap_or_default() };
    StreamError::Said { status, message: plain(if words.is_empty() { &frame.kind } else { words }) }
}
