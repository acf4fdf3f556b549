//! OpenAI's chat completions: the request and the events of its stream.
//!
//! Owns the names of that protocol, which OpenAI, OpenRouter, Gemini, Ollama and many others serve with small
//! differences. Must not know how events are carried.

use serde_json::{Value, json};

use super::{Conversation, End, Event, Message, StreamError, Usage, call, message, plain};

/// An answer as far as it came.
#[derive(Default)]
pub(super) struct Chat {
    calls: Vec<Call>,
    usage: Option<Usage>,
    end: Option<End>,
    refused: bool,
}

struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    input: String,
}

/// Calls of one answer at most.
const MOST_CALLS: usize = 128;

/// The body of a request; `limit_name` is what the service calls the most tokens.
pub(super) fn request(model: &str, limit_name: &str, conversation: &Conversation) -> Value {
    let system =
        (!conversation.system.is_empty()).then(|| json!({"role": "system", "content": conversation.system}));
    let messages: Vec<Value> =
        system.into_iter().chain(conversation.messages.iter().flat_map(wire)).collect();
    let mut body = json!({
        "model": model,
        "stream": true,
        "stream_options": {"include_usage": true},
        "messages": messages,
    });
    body[limit_name] = conversation.max_tokens.into();
    if !conversation.tools.is_empty() {
        let tools = conversation.tools.iter().map(|tool| {
            json!({"type": "function", "function":
                {"name": tool.name, "description": tool.description, "parameters": tool.schema}})
        });
        body["tools"] = tools.collect();
    }
    body
}

fn wire(message: &Message) -> Vec<Value> {
    match message {
        Message::User(text) => vec![json!({"role": "user", "content": text})],
        Message::Assistant { text, calls } => {
            let mut said = json!({"role": "assistant", "content": text});
            if !calls.is_empty() {
                let calls = calls.iter().map(|call| {
                    json!({"id": call.id, "type": "function", "function":
                        {"name": call.name, "arguments": call.input.to_string()}})
                });
                said["tool_calls"] = calls.collect();
            }
            vec![said]
        }
        // The protocol has no word for a call that failed.
        Message::Results(results) => results
            .iter()
            .map(|result| json!({"role": "tool", "tool_call_id": result.id, "content": result.text}))
            .collect(),
    }
}

impl Chat {
    /// Reads an event.
    pub(super) fn event(&mut self, data: &[u8], events: &mut Vec<Event>) -> Result<(), StreamError> {
        if data.trim_ascii() == b"[DONE]" {
            return self.end(events);
        }
        let value: Value =
            serde_json::from_slice(data).map_err(|_| StreamError::Malformed("an event that is no JSON"))?;
        if value.get("error").is_some_and(|error| !error.is_null()) {
            let code = value["error"]["code"].as_u64().and_then(|code| u16::try_from(code).ok());
            let status = code.filter(|code| (400..600).contains(code)).unwrap_or(500);
            let message = plain(message(&value).unwrap_or("no reason"));
            return Err(StreamError::Said { status, message });
        }
        self.used(&value["usage"]);
        let choice = &value["choices"][0];
        let delta = &choice["delta"];
        if let Some(text) = delta["content"].as_str().filter(|text| !text.is_empty()) {
            events.push(Event::Text(text.to_owned()));
        }
        if let Some(text) = delta["refusal"].as_str().filter(|text| !text.is_empty()) {
            self.refused = true;
            events.push(Event::Text(text.to_owned()));
        }
        for piece in delta["tool_calls"].as_array().into_iter().flatten() {
            self.piece(piece)?;
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            self.end = Some(end(reason));
        }
        Ok(())
    }

    /// The stream is over.
    pub(super) fn end(&mut self, events: &mut Vec<Event>) -> Result<(), StreamError> {
        let end = self.end.ok_or(StreamError::Cut)?;
        for Call { id, name, input, .. } in std::mem::take(&mut self.calls) {
            events.push(call(&id, &name, &input)?);
        }
        events.extend(self.usage.map(Event::Usage));
        events.push(Event::End(if self.refused { End::Refused } else { end }));
        Ok(())
    }

    /// A part of a call: the first one names it. Some services send whole calls, without numbers.
    fn piece(&mut self, piece: &Value) -> Result<(), StreamError> {
        let index = piece["index"].as_u64();
        let id = piece["id"].as_str().unwrap_or_default();
        let function = &piece["function"];
        let known = self.calls.iter().position(|call| match index {
            Some(_) => call.index == index,
            None => !id.is_empty() && call.id == id,
        });
        let at = match known {
            Some(at) => at,
            None if self.calls.len() == MOST_CALLS => {
                return Err(StreamError::Malformed("more calls than an answer ever has"));
            }
            None => {
                let (id, name, input) = (id.to_owned(), String::new(), String::new());
                self.calls.push(Call { index, id, name, input });
                self.calls.len() - 1
            }
        };
        if let Some(call) = self.calls.get_mut(at) {
            call.name += function["name"].as_str().unwrap_or_default();
            call.input += function["arguments"].as_str().unwrap_or_default();
        }
        Ok(())
    }

    fn used(&mut self, usage: &Value) {
        let count = |name: &str| usage[name].as_u64();
        if let (Some(input), Some(output)) = (count("prompt_tokens"), count("completion_tokens")) {
            self.usage = Some(Usage { input, output, cache_written: false });
        }
    }
}

fn end(reason: &str) -> End {
    match reason {
        "stop" => End::Done,
        "tool_calls" | "function_call" => End::Tools,
        "length" => End::Length,
        "content_filter" => End::Refused,
        _ => End::Unknown,
    }
}
