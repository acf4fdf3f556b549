//! The stream of Claude Code (`--output-format stream-json --include-partial-messages`).
//!
//! Owns what each of its lines means. Lines are told apart by their `type` member, whatever order the
//! members come in. With partial messages every text comes twice, first in pieces and then whole, and is
//! told once:
//!
//! ```text
//! system/init            the conversation's id
//! stream_event           pieces of the text           -> Text, fragment
//! assistant              a whole content block        -> the text's end, or ToolStarted
//! user                   a tool's result              -> ToolFinished
//! result                 the end of the turn          -> Usage, Finished
//! ```

use serde_json::Value;

use super::detail::detail;
use super::{AgentEvent, LineParser, Spent, count, id, micro_usd, text};

/// The parser of one turn.
#[derive(Debug, Default)]
pub struct ClaudeStream {
    /// What the conversation's earlier turns used.
    before: Spent,
    /// Bytes of the present text that were told in pieces.
    streamed: usize,
    /// Whether the conversation's id was told.
    known: bool,
}

impl ClaudeStream {
    /// A parser for a turn of a conversation whose earlier turns used `before` in total. The program
    /// counts tokens per run but cost per conversation, also over restarts.
    #[must_use]
    pub fn new(before: Spent) -> Self {
        Self { before, ..Self::default() }
    }

    fn system(&mut self, line: &[u8], value: &Value) -> Vec<AgentEvent> {
        match text(value, "subtype") {
            "init" if !self.known => {
                self.known = true;
                vec![AgentEvent::conversation(text(value, "session_id"))]
            }
            // A denial is told again, with all others, in the result.
            "init" | "status" | "ui_invalidate" | "permission_denied" => Vec::new(),
            "api_retry" => {
                // Without a status there was no answer, or not all of it.
                let what = match value["error_status"].as_u64() {
                    Some(status) => format!("the model's API answered {status} ({})", text(value, "error")),
                    None => "the connection to the model's API broke off".to_owned(),
                };
                let (attempt, most) = (count(value, "attempt"), count(value, "max_retries"));
                vec![AgentEvent::note(format!("{what}; retry {attempt} of {most}"))]
            }
            _ => vec![AgentEvent::unknown(line)],
        }
    }

    /// A piece of the message that is being written. A sub-agent's pieces would mix with the main text;
    /// its words are told when they are whole.
    fn piece(&mut self, value: &Value) -> Vec<AgentEvent> {
        if text(&value["event"], "type") == "message_start" && !is_nested(value) {
            // The program began anew after a broken connection: what was streamed will not be finished.
            return self.end();
        }
        let delta = &value["event"]["delta"];
        let piece = text(delta, "text");
        if text(delta, "type") != "text_delta" || piece.is_empty() || is_nested(value) {
            return Vec::new();
        }
        self.streamed += piece.len();
        vec![AgentEvent::Text { text: piece.to_owned(), fragment: true }]
    }

    fn block(&mut self, block: &Value, nested: bool) -> Option<AgentEvent> {
        match text(block, "type") {
            "text" if nested => {
                Some(AgentEvent::Text { text: text(block, "text").to_owned(), fragment: false })
            }
            "text" => {
                let whole = text(block, "text");
                // What was told in pieces is not told again; only its end is.
                let told = std::mem::take(&mut self.streamed);
                let rest = whole.get(told..).unwrap_or("");
                (told > 0 || !rest.is_empty())
                    .then(|| AgentEvent::Text { text: rest.to_owned(), fragment: false })
            }
            "tool_use" | "server_tool_use" | "mcp_tool_use" => Some(AgentEvent::ToolStarted {
                id: id(block, "id"),
                name: id(block, "name"),
                detail: detail(&block["input"]),
            }),
            kind if kind.ends_with("tool_result") => {
                let ok = block["is_error"] != Value::Bool(true);
                Some(AgentEvent::ToolFinished { id: id(block, "tool_use_id"), ok })
            }
            _ => None,
        }
    }

    fn result(&mut self, value: &Value) -> Vec<AgentEvent> {
        let mut events = self.end();
        let denied: Vec<_> = value["permission_denials"].as_array().into_iter().flatten().collect();
        if !denied.is_empty() {
            let uses: Vec<_> = denied
                .iter()
                .map(|denial| format!("{} {}", text(denial, "tool_name"), detail(&denial["tool_input"])))
                .collect();
            events.push(AgentEvent::note(format!("the agent was denied: {}", uses.join(", "))));
        }
        let usage = &value["usage"];
        // Cached tokens are counted apart from `input_tokens`.
        let input = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"];
        let total = micro_usd(&value["total_cost_usd"]);
        events.push(AgentEvent::Usage {
            input_tokens: input.iter().fold(0, |sum: u64, name| sum.saturating_add(count(usage, name))),
            output_tokens: count(usage, "output_tokens"),
            cost_micro_usd: total.saturating_sub(self.before.cost_micro_usd),
        });
        // An error of the model's API comes with the subtype `success`.
        let ok = text(value, "subtype") == "success" && value["is_error"] == Value::Bool(false);
        events.push(AgentEvent::Finished { ok, message: message(value) });
        events
    }
}

impl LineParser for ClaudeStream {
    fn line(&mut self, line: &[u8]) -> Vec<AgentEvent> {
        if line.trim_ascii().is_empty() {
            return Vec::new();
        }
        let Ok(value) = serde_json::from_slice::<Value>(line) else {
            return vec![AgentEvent::unknown(line)];
        };
        match text(&value, "type") {
            "system" => self.system(line, &value),
            "stream_event" => self.piece(&value),
            "assistant" | "user" => {
                let blocks = value["message"]["content"].as_array();
                blocks
                    .into_iter()
                    .flatten()
                    .filter_map(|block| match text(&value, "type") {
                        // The prompt itself may be echoed as a user's text.
                        "user" if text(block, "type") == "text" => None,
                        _ => self.block(block, is_nested(&value)),
                    })
                    .collect()
            }
            "result" => self.result(&value),
            "rate_limit_event" => Vec::new(),
            _ => vec![AgentEvent::unknown(line)],
        }
    }

    /// Ends a text that was cut off.
    fn end(&mut self) -> Vec<AgentEvent> {
        match std::mem::take(&mut self.streamed) {
            0 => Vec::new(),
            _ => vec![AgentEvent::Text { text: String::new(), fragment: false }],
        }
    }
}

/// Whether a line comes from a sub-agent.
fn is_nested(value: &Value) -> bool {
    !value["parent_tool_use_id"].is_null()
}

/// What a result line says for itself.
fn message(value: &Value) -> String {
    let errors: Vec<_> = value["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match (text(value, "result"), errors.join("; "), text(value, "subtype")) {
        (result, _, _) if !result.is_empty() => result.to_owned(),
        (_, errors, _) if !errors.is_empty() => errors,
        (_, _, subtype) => subtype.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::Stream;
    use super::*;

    fn check(before: Spent, lines: &str, expected: &Expect) {
        let mut stream = Stream::new(ClaudeStream::new(before));
        let mut events = stream.push(lines.as_bytes());
        events.extend(stream.end());
        let shown: Vec<_> = events.iter().map(|event| format!("{event:?}\n")).collect();
        expected.assert_eq(&shown.concat());
    }

    #[test]
    fn a_turn_with_a_tool_is_told_once() {
        check(
            Spent::default(),
            r#"{"type":"system","subtype":"init","cwd":"/workspace","session_id":"fedce39c-fd52","tools":["Bash"]}
{"type":"system","subtype":"status","status":"requesting","session_id":"fedce39c-fd52"}
{"type":"stream_event","event":{"type":"message_start","message":{"content":[]}},"parent_tool_use_id":null}
{"type":"stream_event","event":{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}},"parent_tool_use_id":null}
{"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"I will "}},"parent_tool_use_id":null}
{"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"write."}},"parent_tool_use_id":null}
{"type":"assistant","message":{"role":"assistant","content":[{"type":"text","text":"I will write."}]},"parent_tool_use_id":null}
{"type":"stream_event","event":{"type":"content_block_stop","index":0},"parent_tool_use_id":null}
{"type":"stream_event","event":{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"file"}},"parent_tool_use_id":null}
{"type":"assistant","message":{"content":[{"type":"tool_use","id":"toolu_1","name":"Write","input":{"file_path":"/workspace/a","content":"x"}}]},"parent_tool_use_id":null}
{"type":"user","message":{"role":"user","content":[{"tool_use_id":"toolu_1","type":"tool_result","content":"File created"}]},"parent_tool_use_id":null}
{"type":"assistant","message":{"content":[{"type":"text","text":"Done."}]},"parent_tool_use_id":null}
{"duration_api_ms":88,"total_cost_usd":0.00128,"usage":{"input_tokens":200,"cache_creation_input_tokens":7,"cache_read_input_tokens":3,"output_tokens":24},"permission_denials":[],"is_error":false,"subtype":"success","result":"Done.","type":"result"}
"#,
            &expect![[r#"
                Conversation { id: "fedce39c-fd52" }
                Text { text: "I will ", fragment: true }
                Text { text: "write.", fragment: true }
                Text { text: "", fragment: false }
                ToolStarted { id: "toolu_1", name: "Write", detail: "/workspace/a" }
                ToolFinished { id: "toolu_1", ok: true }
                Text { text: "Done.", fragment: false }
                Usage { input_tokens: 210, output_tokens: 24, cost_micro_usd: 1280 }
                Finished { ok: true, message: "Done." }
            "#]],
        );
    }

    #[test]
    fn a_follow_up_costs_only_what_it_added() {
        check(
            Spent { input_tokens: 200, output_tokens: 24, cost_micro_usd: 1280 },
            r#"{"type":"result","subtype":"success","is_error":false,"result":"Again.","total_cost_usd":0.00192,"usage":{"input_tokens":100,"output_tokens":12}}"#,
            &expect![[r#"
                Usage { input_tokens: 100, output_tokens: 12, cost_micro_usd: 640 }
                Finished { ok: true, message: "Again." }
            "#]],
        );
    }

    #[test]
    fn success_with_an_error_is_no_success() {
        check(
            Spent::default(),
            r#"{"type":"system","subtype":"api_retry","attempt":1,"max_retries":10,"error_status":402,"error":"billing"}
{"type":"system","subtype":"api_retry","attempt":2,"max_retries":10,"error_status":null,"error":"unknown"}
{"type":"assistant","message":{"content":[{"type":"text","text":"API Error: 402 no budget"}]},"parent_tool_use_id":null,"is_api_error_message":true}
{"type":"result","subtype":"success","is_error":true,"api_error_status":402,"result":"API Error: 402 no budget","total_cost_usd":0,"usage":{}}
"#,
            &expect![[r#"
                Note { text: "the model's API answered 402 (billing); retry 1 of 10" }
                Note { text: "the connection to the model's API broke off; retry 2 of 10" }
                Text { text: "API Error: 402 no budget", fragment: false }
                Usage { input_tokens: 0, output_tokens: 0, cost_micro_usd: 0 }
                Finished { ok: false, message: "API Error: 402 no budget" }
            "#]],
        );
    }

    #[test]
    fn denials_failed_tools_and_a_spent_budget_are_told() {
        check(
            Spent::default(),
            r#"{"type":"system","subtype":"permission_denied","tool_name":"Write","message":"not granted"}
{"type":"user","message":{"content":[{"type":"tool_result","content":"not granted","is_error":true,"tool_use_id":"toolu_2"}]},"parent_tool_use_id":null}
{"type":"result","subtype":"error_max_budget_usd","is_error":true,"errors":["Reached maximum budget ($0.0005)"],"permission_denials":[{"tool_name":"Write","tool_use_id":"toolu_2","tool_input":{"file_path":"/workspace/a"}}]}
"#,
            &expect![[r#"
                ToolFinished { id: "toolu_2", ok: false }
                Note { text: "the agent was denied: Write /workspace/a" }
                Usage { input_tokens: 0, output_tokens: 0, cost_micro_usd: 0 }
                Finished { ok: false, message: "Reached maximum budget ($0.0005)" }
            "#]],
        );
    }

    #[test]
    fn what_is_not_understood_is_kept_and_a_cut_text_is_ended() {
        check(
            Spent::default(),
            r#"Error: something on standard output

{"type":"system","subtype":"init","session_id":"--help"}
{"type":"brand_new","x":1}
[1]
{"type":"stream_event","event":{"type":"content_block_delta","delta":{"type":"text_delta","text":"sub"}},"parent_tool_use_id":"toolu_9"}
{"type":"assistant","message":{"content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"sub"}]},"parent_tool_use_id":"toolu_9"}
{"type":"user","message":{"content":[{"type":"text","text":"the prompt"}]},"parent_tool_use_id":null}
{"type":"stream_event","event":{"type":"content_block_delta","delta":{"type":"text_delta","text":"a broken"}},"parent_tool_use_id":null}
{"type":"stream_event","event":{"type":"message_start","message":{}},"parent_tool_use_id":null}
{"type":"stream_event","event":{"type":"content_block_delta","delta":{"type":"text_delta","text":"half a sen"}},"parent_tool_use_id":null}
{"type":"resu"#,
            &expect![[r#"
                Note { text: "Error: something on standard output" }
                Note { text: "the conversation's id cannot be used: --help" }
                Note { text: "{\"type\":\"brand_new\",\"x\":1}" }
                Note { text: "[1]" }
                Text { text: "sub", fragment: false }
                Text { text: "a broken", fragment: true }
                Text { text: "", fragment: false }
                Text { text: "half a sen", fragment: true }
                Note { text: "{\"type\":\"resu" }
                Text { text: "", fragment: false }
            "#]],
        );
    }
}
