//! The stream of Gemini CLI (`--output-format stream-json`).
//!
//! Owns what each of its lines means:
//!
//! ```text
//! init               the conversation's id, told with the first result: the program keeps no
//!                    conversation that failed before
//! message            of the assistant: a piece of its text  -> Text, fragment
//! tool_use           a tool's use                           -> ToolStarted
//! tool_result        its result                             -> ToolFinished
//! error              a warning, a retry                     -> Note
//! result             the end of the turn                    -> Usage, Finished
//! ```

use serde_json::Value;

use super::detail::detail;
use super::{AgentEvent, LineParser, MAX_NOTE, count, id, text, truncate};

/// The parser of one turn. The program counts tokens for each of its runs, and no cost.
#[derive(Debug, Default)]
pub struct GeminiStream {
    /// The conversation, as long as it is not told.
    conversation: Option<AgentEvent>,
    /// Whether pieces of a text were told and its end was not.
    is_open: bool,
    /// The agent's last words, at most [`MAX_NOTE`] bytes, which the end of the turn does not repeat.
    last: String,
}

impl GeminiStream {
    /// A parser for a turn.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn message(&mut self, value: &Value) -> Vec<AgentEvent> {
        // The prompt is echoed as the user's message.
        if text(value, "role") != "assistant" {
            return Vec::new();
        }
        let piece = text(value, "content").to_owned();
        let fragment = value["delta"] == Value::Bool(true);
        if !self.is_open {
            self.last.clear();
        }
        self.last += &piece;
        truncate(&mut self.last, MAX_NOTE);
        self.is_open = fragment;
        vec![AgentEvent::Text { text: piece, fragment }]
    }

    fn result(&mut self, value: &Value) -> Vec<AgentEvent> {
        let stats = &value["stats"];
        // Cached input is part of `input_tokens`.
        let usage = AgentEvent::Usage {
            input_tokens: count(stats, "input_tokens"),
            output_tokens: count(stats, "output_tokens"),
            cost_micro_usd: 0,
        };
        let ok = text(value, "status") == "success";
        let last = std::mem::take(&mut self.last);
        let message = if ok { last } else { text(&value["error"], "message").to_owned() };
        let conversation = self.conversation.take().filter(|_| ok);
        conversation.into_iter().chain([usage, AgentEvent::Finished { ok, message }]).collect()
    }
}

impl LineParser for GeminiStream {
    fn line(&mut self, line: &[u8]) -> Vec<AgentEvent> {
        if line.trim_ascii().is_empty() {
            return Vec::new();
        }
        let Ok(value) = serde_json::from_slice::<Value>(line) else {
            return vec![AgentEvent::unknown(line)];
        };
        if text(&value, "type") == "message" {
            return self.message(&value);
        }
        let mut events = self.end();
        match text(&value, "type") {
            "init" => self.conversation = Some(AgentEvent::conversation(text(&value, "session_id"))),
            "tool_use" => events.push(AgentEvent::ToolStarted {
                id: id(&value, "tool_id"),
                name: id(&value, "tool_name"),
                detail: detail(&value["parameters"]),
            }),
            "tool_result" => {
                let ok = text(&value, "status") == "success";
                events.extend(self.conversation.take());
                events.push(AgentEvent::ToolFinished { id: id(&value, "tool_id"), ok });
            }
            "error" => events.push(AgentEvent::note(text(&value, "message"))),
            "result" => events.extend(self.result(&value)),
            _ => events.push(AgentEvent::unknown(line)),
        }
        events
    }

    fn end(&mut self) -> Vec<AgentEvent> {
        let was_open = std::mem::take(&mut self.is_open);
        was_open.then(|| AgentEvent::Text { text: String::new(), fragment: false }).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::Stream;
    use super::*;

    fn check(lines: &str, expected: &Expect) {
        let mut stream = Stream::new(GeminiStream::new());
        let mut events = stream.push(lines.as_bytes());
        events.extend(stream.end());
        let shown: Vec<_> = events.iter().map(|event| format!("{event:?}\n")).collect();
        expected.assert_eq(&shown.concat());
    }

    #[test]
    fn pieces_end_where_something_else_begins() {
        check(
            r#"{"type":"init","session_id":"7453-a","model":"m"}
{"type":"message","role":"user","content":"do it"}
{"type":"message","role":"assistant","content":"I ","delta":true}
{"type":"message","role":"assistant","content":"will.","delta":true}
{"type":"tool_use","tool_name":"write_file","tool_id":"w0","parameters":{"file_path":"/workspace/a","content":"x"}}
{"type":"tool_result","tool_id":"w0","status":"success"}
{"type":"tool_use","tool_name":"run_shell_command","tool_id":"r0","parameters":{"command":"false"}}
{"type":"tool_result","tool_id":"r0","status":"error"}
{"type":"error","severity":"warning","message":"loop detected"}
{"type":"message","role":"assistant","content":"Done.","delta":true}
{"type":"result","status":"success","stats":{"input_tokens":200,"output_tokens":24,"cached":50}}
"#,
            &expect![[r#"
                Text { text: "I ", fragment: true }
                Text { text: "will.", fragment: true }
                Text { text: "", fragment: false }
                ToolStarted { id: "w0", name: "write_file", detail: "/workspace/a" }
                Conversation { id: "7453-a" }
                ToolFinished { id: "w0", ok: true }
                ToolStarted { id: "r0", name: "run_shell_command", detail: "false" }
                ToolFinished { id: "r0", ok: false }
                Note { text: "loop detected" }
                Text { text: "Done.", fragment: true }
                Text { text: "", fragment: false }
                Usage { input_tokens: 200, output_tokens: 24, cost_micro_usd: 0 }
                Finished { ok: true, message: "Done." }
            "#]],
        );
    }

    #[test]
    fn an_error_is_told_with_its_words() {
        check(
            r#"{"type":"init","session_id":"7453-a","model":"m"}
{"type":"message","role":"assistant","content":"half","delta":true}
{"type":"result","status":"error","error":{"type":"Error","message":"quota"},"stats":{}}
{"type":"new"}"#,
            &expect![[r#"
                Text { text: "half", fragment: true }
                Text { text: "", fragment: false }
                Usage { input_tokens: 0, output_tokens: 0, cost_micro_usd: 0 }
                Finished { ok: false, message: "quota" }
                Note { text: "{\"type\":\"new\"}" }
            "#]],
        );
    }
}
