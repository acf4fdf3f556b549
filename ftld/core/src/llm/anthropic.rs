//! Anthropic's Messages: the request and the events of its stream.
//!
//! Owns the names of that protocol. Must not know how events are carried. Blocks and events of kinds that
//! this version does not know are left out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Conversation, End, Event, Message, StreamError, Usage, call, message, plain};

/// An answer as far as it came.
#[derive(Default)]
pub(super) struct Messages {
    /// Calls that are not finished, by the number of their block.
    calls: BTreeMap<u64, Call>,
    usage: Usage,
    end: Option<End>,
}

struct Call {
    id: String,
    name: String,
    input: String,
}

/// The body of a request.
pub(super) fn request(model: &str, conversation: &Conversation) -> Value {
    let mut body = json!({
        "model": model,
        "max_tokens": conversation.max_tokens,
        "stream": true,
        "messages": conversation.messages.iter().map(wire).collect::<Vec<_>>(),
    });
    if !conversation.system.is_empty() {
        body["system"] = conversation.system.as_str().into();
    }
    if !conversation.tools.is_empty() {
        let tools = conversation.tools.iter().map(
            |tool| json!({"name": tool.name, "description": tool.description, "input_schema": tool.schema}),
        );
        body["tools"] = tools.collect();
    }
    body
}

fn wire(message: &Message) -> Value {
    match message {
        Message::User(text) => json!({"role": "user", "content": text}),
        Message::Assistant { text, calls } => {
            // The service refuses empty texts.
            let text = (!text.is_empty()).then(|| json!({"type": "text", "text": text}));
            let calls = calls.iter().map(
                |call| json!({"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}),
            );
            json!({"role": "assistant", "content": text.into_iter().chain(calls).collect::<Vec<_>>()})
        }
        Message::Results(results) => {
            let results = results.iter().map(|result| {
                json!({"type": "tool_result", "tool_use_id": result.id, "content": result.text,
                       "is_error": result.failed})
            });
            json!({"role": "user", "content": results.collect::<Vec<_>>()})
        }
    }
}

impl Messages {
    /// Reads an event.
    pub(super) fn event(&mut self, data: &[u8], events: &mut Vec<Event>) -> Result<(), StreamError> {
        let value: Value =
            serde_json::from_slice(data).map_err(|_| StreamError::Malformed("an event that is no JSON"))?;
        match value["type"].as_str().unwrap_or_default() {
            "message_start" => self.used(&value["message"]["usage"]),
            "content_block_start" => self.block(&value),
            "content_block_delta" => self.delta(&value, events),
            "content_block_stop" => {
                if let Some(Call { id, name, input }) = self.calls.remove(&index(&value)) {
                    events.push(call(&id, &name, &input)?);
                }
            }
            "message_delta" => {
                self.used(&value["usage"]);
                self.end = value["delta"]["stop_reason"].as_str().map(end);
            }
            "message_stop" => {
                let end = self.end.ok_or(StreamError::Malformed("an end without a reason"))?;
                if !self.calls.is_empty() {
                    return Err(StreamError::Malformed("an end in the middle of a call"));
                }
                events.extend([Event::Usage(self.usage), Event::End(end)]);
            }
            "error" => {
                let kind = value["error"]["type"].as_str().unwrap_or_default();
                let message = plain(message(&value).unwrap_or(kind));
                return Err(StreamError::Said { status: status(kind), message });
            }
            _ => {}
        }
        Ok(())
    }

    fn block(&mut self, value: &Value) {
        let block = &value["content_block"];
        if block["type"] == "tool_use" {
            let text = |name: &str| block[name].as_str().unwrap_or_default().to_owned();
            let call = Call { id: text("id"), name: text("name"), input: String::new() };
            self.calls.insert(index(value), call);
        }
    }

    fn delta(&mut self, value: &Value, events: &mut Vec<Event>) {
        let delta = &value["delta"];
        match delta["type"].as_str().unwrap_or_default() {
            "text_delta" => {
                let text = delta["text"].as_str().unwrap_or_default();
                if !text.is_empty() {
                    events.push(Event::Text(text.to_owned()));
                }
            }
            "input_json_delta" => {
                if let Some(call) = self.calls.get_mut(&index(value)) {
                    call.input += delta["partial_json"].as_str().unwrap_or_default();
                }
            }
            _ => {}
        }
    }

    /// Counts are those of the whole answer so far; what is not said stays.
    fn used(&mut self, usage: &Value) {
        let count = |name: &str| usage[name].as_u64();
        let cached = |name: &str| count(name).unwrap_or_default();
        if let Some(input) = count("input_tokens") {
            let read = cached("cache_read_input_tokens");
            let written = cached("cache_creation_input_tokens");
            self.usage.input = input.saturating_add(read).saturating_add(written);
            self.usage.cache_written |= written > 0;
        }
        self.usage.output = count("output_tokens").unwrap_or(self.usage.output);
    }
}

fn index(value: &Value) -> u64 {
    value["index"].as_u64().unwrap_or_default()
}

fn end(reason: &str) -> End {
    match reason {
        "end_turn" | "stop_sequence" => End::Done,
        "tool_use" => End::Tools,
        "max_tokens" | "model_context_window_exceeded" => End::Length,
        "refusal" => End::Refused,
        _ => End::Unknown,
    }
}

/// The status that goes with an error of this type.
fn status(kind: &str) -> u16 {
    match kind {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "permission_error" => 403,
        "not_found_error" => 404,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "overloaded_error" => 529,
        _ => 500,
    }
}
