//! The stream of opencode (`run --format json`).
//!
//! Owns what each of its lines means. It tells whole parts only, and has no line for the end of a turn:
//!
//! ```text
//! step_start                  a request to the model begins; every line names the conversation
//! text                        a message                  -> Text
//! tool_use                    a tool's use, with result  -> ToolStarted, ToolFinished
//! step_finish                 tokens and cost of a step, and why it ended
//! error                       what went wrong            -> Finished
//! (end of the stream)         the sums                   -> Usage, Finished
//! ```

use serde_json::Value;

use super::detail::detail;
use super::{AgentEvent, LineParser, count, id, micro_usd, text};

/// The parser of one turn.
#[derive(Debug, Default)]
pub struct OpencodeStream {
    /// Whether the conversation's id was told.
    known: bool,
    input_tokens: u64,
    output_tokens: u64,
    cost_micro_usd: u64,
    /// Why the newest step ended; `stop` when the model had nothing more to do.
    reason: Option<String>,
    /// The newest error, until a step ends well after it.
    error: Option<String>,
    /// The agent's last words.
    last: String,
}

impl OpencodeStream {
    /// A parser for a turn.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn tool(part: &Value) -> Vec<AgentEvent> {
        let state = &part["state"];
        let id = id(part, "callID");
        let started = AgentEvent::ToolStarted {
            id: id.clone(),
            name: super::id(part, "tool"),
            detail: detail(&state["input"]),
        };
        vec![started, AgentEvent::ToolFinished { id, ok: text(state, "status") == "completed" }]
    }

    fn step(&mut self, part: &Value) {
        let tokens = &part["tokens"];
        // What was read from and written into the cache is counted apart from `input`, reasoning from `output`.
        let read = [(tokens, "input"), (&tokens["cache"], "read"), (&tokens["cache"], "write")];
        let wrote = [(tokens, "output"), (tokens, "reasoning")];
        let sum = |parts: &[(&Value, &str)], before: u64| {
            parts.iter().fold(before, |sum, (value, name)| sum.saturating_add(count(value, name)))
        };
        self.input_tokens = sum(&read, self.input_tokens);
        self.output_tokens = sum(&wrote, self.output_tokens);
        self.cost_micro_usd = self.cost_micro_usd.saturating_add(micro_usd(&part["cost"]));
        self.reason = Some(id(part, "reason"));
        self.error = None;
    }
}

impl LineParser for OpencodeStream {
    fn line(&mut self, line: &[u8]) -> Vec<AgentEvent> {
        if line.trim_ascii().is_empty() {
            return Vec::new();
        }
        let Ok(value) = serde_json::from_slice::<Value>(line) else {
            return vec![AgentEvent::unknown(line)];
        };
        let mut events = Vec::new();
        if !self.known && value.get("sessionID").is_some() {
            self.known = true;
            events.push(AgentEvent::conversation(text(&value, "sessionID")));
        }
        let part = &value["part"];
        match text(&value, "type") {
            "step_start" | "reasoning" => {}
            "text" => {
                text(part, "text").clone_into(&mut self.last);
                events.push(AgentEvent::Text { text: self.last.clone(), fragment: false });
            }
            "tool_use" => events.extend(Self::tool(part)),
            "step_finish" => self.step(part),
            "error" => self.error = Some(error(&value["error"])),
            _ => events.push(AgentEvent::unknown(line)),
        }
        events
    }

    fn end(&mut self) -> Vec<AgentEvent> {
        let Self { input_tokens, output_tokens, cost_micro_usd, .. } = *self;
        let mut events = Vec::new();
        if self.reason.is_some() {
            events.push(AgentEvent::Usage { input_tokens, output_tokens, cost_micro_usd });
        }
        match (self.error.take(), self.reason.take().as_deref()) {
            (Some(message), _) => events.push(AgentEvent::Finished { ok: false, message }),
            (None, Some("stop")) => {
                events.push(AgentEvent::Finished { ok: true, message: std::mem::take(&mut self.last) });
            }
            (None, Some(reason)) => {
                let message = format!("the last step ended with {reason:?}");
                events.push(AgentEvent::Finished { ok: false, message });
            }
            // Nothing was done: the exit status says why.
            (None, None) => {}
        }
        events
    }
}

/// An error in words.
fn error(error: &Value) -> String {
    let words = [text(&error["data"], "message"), text(error, "message"), text(error, "name")];
    let found = words.into_iter().find(|words| !words.is_empty());
    found.map_or_else(|| error.to_string(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::Stream;
    use super::*;

    fn check(lines: &str, expected: &Expect) {
        let mut stream = Stream::new(OpencodeStream::new());
        let mut events = stream.push(lines.as_bytes());
        events.extend(stream.end());
        let shown: Vec<_> = events.iter().map(|event| format!("{event:?}\n")).collect();
        expected.assert_eq(&shown.concat());
    }

    #[test]
    fn steps_are_added_up_and_the_last_one_ends_the_turn() {
        check(
            r#"{"type":"step_start","sessionID":"ses_1","part":{"type":"step-start"}}
{"type":"text","sessionID":"ses_1","part":{"type":"text","text":"I will."}}
{"type":"tool_use","sessionID":"ses_1","part":{"tool":"write","callID":"c1","state":{"status":"completed","input":{"filePath":"/workspace/a","content":"x"}}}}
{"type":"tool_use","sessionID":"ses_1","part":{"tool":"bash","callID":"c2","state":{"status":"error","input":{"command":"false"},"error":"no"}}}
{"type":"step_finish","sessionID":"ses_1","part":{"reason":"tool-calls","tokens":{"input":100,"output":12,"reasoning":3,"cache":{"write":1,"read":2}},"cost":0.00048}}
{"type":"text","sessionID":"ses_1","part":{"text":"Done."}}
{"type":"step_finish","sessionID":"ses_1","part":{"reason":"stop","tokens":{"input":100,"output":12},"cost":0.00052}}
{"type":"something_new","sessionID":"ses_1"}
"#,
            &expect![[r#"
                Conversation { id: "ses_1" }
                Text { text: "I will.", fragment: false }
                ToolStarted { id: "c1", name: "write", detail: "/workspace/a" }
                ToolFinished { id: "c1", ok: true }
                ToolStarted { id: "c2", name: "bash", detail: "false" }
                ToolFinished { id: "c2", ok: false }
                Text { text: "Done.", fragment: false }
                Note { text: "{\"type\":\"something_new\",\"sessionID\":\"ses_1\"}" }
                Usage { input_tokens: 203, output_tokens: 27, cost_micro_usd: 1000 }
                Finished { ok: true, message: "Done." }
            "#]],
        );
    }

    #[test]
    fn an_error_and_a_step_in_the_middle_are_no_success() {
        check(
            r#"{"type":"error","sessionID":"s","error":{"name":"APIError","data":{"message":"402: pay"}}}
"#,
            &expect![[r#"
                Conversation { id: "s" }
                Finished { ok: false, message: "402: pay" }
            "#]],
        );
        check(
            r#"{"type":"step_finish","part":{"reason":"tool-calls","tokens":null,"cost":"x"}}"#,
            &expect![[r#"
                Usage { input_tokens: 0, output_tokens: 0, cost_micro_usd: 0 }
                Finished { ok: false, message: "the last step ended with \"tool-calls\"" }
            "#]],
        );
        check("", &expect![""]);
    }
}
