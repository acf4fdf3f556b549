//! The stream of Codex (`exec --json`).
//!
//! Owns what each of its lines means. It tells whole messages only, no pieces:
//!
//! ```text
//! thread.started                    the conversation's id
//! item.started, item.completed      a message          -> Text
//!                                   a tool's use       -> ToolStarted, ToolFinished
//!                                   a warning          -> Note
//! error                             a retry            -> Note
//! turn.completed, turn.failed       the end            -> Usage, Finished
//! ```

use std::collections::BTreeSet;

use serde_json::Value;

use super::detail::{cut, detail};
use super::{AgentEvent, LineParser, Spent, count, id, text};

/// The parser of one turn.
#[derive(Debug, Default)]
pub struct CodexStream {
    /// What the conversation's earlier turns used.
    before: Spent,
    /// Tools in use: some items come only when they are complete.
    open: BTreeSet<String>,
    /// The agent's last words, which the end of the turn does not repeat.
    last: String,
}

/// How many tools can be in use at once; more are told without a start of their own.
const MAX_OPEN: usize = 256;

impl CodexStream {
    /// A parser for a turn of a conversation whose earlier turns used `before` in total: the program
    /// counts tokens from the conversation's beginning.
    #[must_use]
    pub fn new(before: Spent) -> Self {
        Self { before, ..Self::default() }
    }

    fn item(&mut self, line: &[u8], item: &Value, stage: Stage) -> Vec<AgentEvent> {
        match (text(item, "type"), stage) {
            ("agent_message", Stage::Completed) => {
                text(item, "text").clone_into(&mut self.last);
                vec![AgentEvent::Text { text: self.last.clone(), fragment: false }]
            }
            ("error", Stage::Completed) => vec![AgentEvent::note(text(item, "message"))],
            ("agent_message" | "error" | "reasoning" | "todo_list", _) | (_, Stage::Updated) => Vec::new(),
            ("", _) => vec![AgentEvent::unknown(line)],
            (kind, stage) => self.tool(item, kind, stage),
        }
    }

    fn tool(&mut self, item: &Value, kind: &str, stage: Stage) -> Vec<AgentEvent> {
        let id = id(item, "id");
        let mut events = Vec::new();
        if !self.open.contains(&id) {
            let (name, detail) = describe(item, kind);
            events.push(AgentEvent::ToolStarted { id: id.clone(), name, detail });
            if self.open.len() < MAX_OPEN {
                self.open.insert(id.clone());
            }
        }
        if stage == Stage::Completed {
            self.open.remove(&id);
            let exit_ok = item["exit_code"].as_i64().is_none_or(|code| code == 0);
            let failed = ["failed", "declined", "error"].contains(&text(item, "status"));
            events.push(AgentEvent::ToolFinished { id, ok: exit_ok && !failed });
        }
        events
    }

    fn completed(&mut self, value: &Value) -> Vec<AgentEvent> {
        let total = &value["usage"];
        // Cached input is part of `input_tokens` here. There is no cost.
        let usage = AgentEvent::Usage {
            input_tokens: count(total, "input_tokens").saturating_sub(self.before.input_tokens),
            output_tokens: count(total, "output_tokens").saturating_sub(self.before.output_tokens),
            cost_micro_usd: 0,
        };
        let message = std::mem::take(&mut self.last);
        vec![usage, AgentEvent::Finished { ok: true, message }]
    }
}

/// How far an item is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Started,
    Updated,
    Completed,
}

impl LineParser for CodexStream {
    fn line(&mut self, line: &[u8]) -> Vec<AgentEvent> {
        if line.trim_ascii().is_empty() {
            return Vec::new();
        }
        let Ok(value) = serde_json::from_slice::<Value>(line) else {
            return vec![AgentEvent::unknown(line)];
        };
        let item = &value["item"];
        match text(&value, "type") {
            "thread.started" => vec![AgentEvent::conversation(text(&value, "thread_id"))],
            "turn.started" => Vec::new(),
            "item.started" => self.item(line, item, Stage::Started),
            "item.updated" => self.item(line, item, Stage::Updated),
            "item.completed" => self.item(line, item, Stage::Completed),
            "error" => vec![AgentEvent::note(text(&value, "message"))],
            "turn.completed" => self.completed(&value),
            "turn.failed" => {
                let message = text(&value["error"], "message").to_owned();
                vec![AgentEvent::Finished { ok: false, message }]
            }
            _ => vec![AgentEvent::unknown(line)],
        }
    }

    fn end(&mut self) -> Vec<AgentEvent> {
        Vec::new()
    }
}

/// A tool item's name and most telling argument.
fn describe(item: &Value, kind: &str) -> (String, String) {
    match kind {
        "file_change" => {
            let changes = item["changes"].as_array().into_iter().flatten();
            let paths: Vec<_> = changes.map(|change| text(change, "path")).collect();
            (kind.to_owned(), cut(&paths.join(", ")))
        }
        "mcp_tool_call" => {
            (cut(&format!("{}.{}", text(item, "server"), text(item, "tool"))), detail(&item["arguments"]))
        }
        "command_execution" => ("command".to_owned(), cut(text(item, "command"))),
        other => (cut(other), detail(item)),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::Stream;
    use super::*;

    fn check(before: Spent, lines: &str, expected: &Expect) {
        let mut stream = Stream::new(CodexStream::new(before));
        let mut events = stream.push(lines.as_bytes());
        events.extend(stream.end());
        let shown: Vec<_> = events.iter().map(|event| format!("{event:?}\n")).collect();
        expected.assert_eq(&shown.concat());
    }

    #[test]
    fn a_follow_up_with_tools_counts_only_its_own_tokens() {
        check(
            Spent { input_tokens: 200, output_tokens: 24, cost_micro_usd: 0 },
            r#"{"type":"thread.started","thread_id":"01a1fd00-e5b7"}
{"type":"turn.started"}
{"type":"item.completed","item":{"id":"item_0","type":"reasoning","text":"hm"}}
{"type":"item.completed","item":{"id":"item_1","type":"agent_message","text":"I will."}}
{"type":"item.started","item":{"id":"item_2","type":"command_execution","command":"/bin/bash -lc ls","aggregated_output":"","exit_code":null,"status":"in_progress"}}
{"type":"item.completed","item":{"id":"item_2","type":"command_execution","command":"/bin/bash -lc ls","aggregated_output":"a\n","exit_code":0,"status":"completed"}}
{"type":"item.started","item":{"id":"item_3","type":"command_execution","command":"exit 3","exit_code":null,"status":"in_progress"}}
{"type":"item.completed","item":{"id":"item_3","type":"command_execution","command":"exit 3","exit_code":3,"status":"failed"}}
{"type":"item.completed","item":{"id":"item_4","type":"file_change","changes":[{"path":"a","kind":"add"},{"path":"b","kind":"update"}],"status":"completed"}}
{"type":"item.completed","item":{"id":"item_5","type":"mcp_tool_call","server":"s","tool":"t","arguments":{"query":"q"},"status":"failed"}}
{"type":"item.completed","item":{"id":"item_6","type":"agent_message","text":"Done."}}
{"type":"turn.completed","usage":{"input_tokens":500,"cached_input_tokens":90,"output_tokens":60}}
"#,
            &expect![[r#"
                Conversation { id: "01a1fd00-e5b7" }
                Text { text: "I will.", fragment: false }
                ToolStarted { id: "item_2", name: "command", detail: "/bin/bash -lc ls" }
                ToolFinished { id: "item_2", ok: true }
                ToolStarted { id: "item_3", name: "command", detail: "exit 3" }
                ToolFinished { id: "item_3", ok: false }
                ToolStarted { id: "item_4", name: "file_change", detail: "a, b" }
                ToolFinished { id: "item_4", ok: true }
                ToolStarted { id: "item_5", name: "s.t", detail: "q" }
                ToolFinished { id: "item_5", ok: false }
                Text { text: "Done.", fragment: false }
                Usage { input_tokens: 300, output_tokens: 36, cost_micro_usd: 0 }
                Finished { ok: true, message: "Done." }
            "#]],
        );
    }

    #[test]
    fn retries_are_notes_and_a_failed_turn_is_not_ok() {
        check(
            Spent::default(),
            r#"{"type":"thread.started","thread_id":"t"}
{"type":"item.completed","item":{"id":"item_0","type":"error","message":"no metadata for this model"}}
{"type":"error","message":"Reconnecting... 1/5 (unexpected status 402)"}
{"type":"turn.failed","error":{"message":"unexpected status 402"}}
"#,
            &expect![[r#"
                Conversation { id: "t" }
                Note { text: "no metadata for this model" }
                Note { text: "Reconnecting... 1/5 (unexpected status 402)" }
                Finished { ok: false, message: "unexpected status 402" }
            "#]],
        );
    }

    #[test]
    fn what_is_not_understood_is_kept() {
        check(
            Spent::default(),
            r#"Not inside a trusted directory
{"type":"thread.forked"}
{"type":"item.completed"}
{"type":"item.started","item":{"id":"item_1","type":"web_search","query":"rust"}}
{"type":"item.updated","item":{"id":"item_1","type":"web_search","query":"rust"}}
{"type":"item.completed","item":{"id":"item_2","type":"hologram","url":"u"}}
"#,
            &expect![[r#"
                Note { text: "Not inside a trusted directory" }
                Note { text: "{\"type\":\"thread.forked\"}" }
                Note { text: "{\"type\":\"item.completed\"}" }
                ToolStarted { id: "item_1", name: "web_search", detail: "rust" }
                ToolStarted { id: "item_2", name: "hologram", detail: "u" }
                ToolFinished { id: "item_2", ok: true }
            "#]],
        );
    }
}
