//! What Aider prints.
//!
//! Owns what its lines mean. There are no events, only text for people, and the exit status is 0 whatever
//! happened. So the lines that count are known by their beginnings, everything else is the agent's words,
//! and a turn in which no answer of the model was counted has failed:
//!
//! ```text
//! (all lines until `Repo-map: …`)            -> Note
//! Applied edit to FILE                       -> ToolStarted, ToolFinished
//! Tokens: 1.2k sent, 15 received. Cost: …    added up           -> Usage, Finished
//! litellm.SomeError: …                       what went wrong    -> Finished, when nothing came after it
//! ```

use super::detail::cut;
use super::{AgentEvent, LineParser, MAX_NOTE, truncate};

/// The parser of one turn.
#[derive(Debug, Default)]
pub struct AiderStream {
    /// Whether the program has told of itself and the conversation begins.
    has_begun: bool,
    answers: u64,
    edits: u64,
    input_tokens: u64,
    output_tokens: u64,
    cost_micro_usd: u64,
    /// The newest error since the newest answer.
    error: Option<String>,
    /// The last line with words.
    last: String,
}

/// The last line that tells of the program itself, before the model says anything.
const BEGINNING: &str = "Repo-map:";

impl AiderStream {
    /// A parser for a turn.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn counted(&mut self, counted: Counted) {
        self.answers += 1;
        self.input_tokens = self.input_tokens.saturating_add(counted.sent);
        self.output_tokens = self.output_tokens.saturating_add(counted.received);
        self.cost_micro_usd = self.cost_micro_usd.saturating_add(counted.cost_micro_usd);
        self.error = None;
    }
}

impl LineParser for AiderStream {
    fn line(&mut self, line: &[u8]) -> Vec<AgentEvent> {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end();
        if let Some(counted) = counted(text) {
            self.counted(counted);
            return Vec::new();
        }
        if let Some(file) = text.strip_prefix("Applied edit to ") {
            self.edits += 1;
            let id = format!("edit-{}", self.edits);
            let started = AgentEvent::ToolStarted { id: id.clone(), name: "edit".into(), detail: cut(file) };
            return vec![started, AgentEvent::ToolFinished { id, ok: true }];
        }
        if text.starts_with("litellm.") {
            let mut error = text.to_owned();
            truncate(&mut error, MAX_NOTE);
            self.error = Some(error);
            return vec![AgentEvent::note(text)];
        }
        if !self.has_begun {
            self.has_begun = text.starts_with(BEGINNING);
            return if text.is_empty() { Vec::new() } else { vec![AgentEvent::note(text)] };
        }
        if !text.is_empty() {
            text.clone_into(&mut self.last);
            truncate(&mut self.last, MAX_NOTE);
        }
        vec![AgentEvent::Text { text: format!("{text}\n"), fragment: true }]
    }

    fn end(&mut self) -> Vec<AgentEvent> {
        let Self { input_tokens, output_tokens, cost_micro_usd, .. } = *self;
        let mut events = vec![AgentEvent::Text { text: String::new(), fragment: false }];
        if self.answers > 0 {
            events.push(AgentEvent::Usage { input_tokens, output_tokens, cost_micro_usd });
        }
        let last = std::mem::take(&mut self.last);
        let (ok, message) = match self.error.take() {
            Some(error) => (false, error),
            None if self.answers == 0 && last.is_empty() => (false, "the model has answered nothing".into()),
            None => (self.answers > 0, last),
        };
        events.push(AgentEvent::Finished { ok, message });
        events
    }
}

/// What one answer used.
struct Counted {
    sent: u64,
    received: u64,
    cost_micro_usd: u64,
}

/// A line such as `Tokens: 1.2k sent, 300 cache hit, 15 received. Cost: $0.0021 message, $0.0042 session.`
fn counted(line: &str) -> Option<Counted> {
    let (tokens, cost) = line.strip_prefix("Tokens: ")?.split_once(". Cost: $").unwrap_or((&line[8..], ""));
    let mut counted = Counted { sent: 0, received: 0, cost_micro_usd: 0 };
    for part in tokens.trim_end_matches('.').split(", ") {
        let (number, what) = part.split_once(' ')?;
        match what {
            "sent" => counted.sent = tokens_of(number)?,
            "received" => counted.received = tokens_of(number)?,
            // Parts of what was sent.
            _ => {}
        }
    }
    let dollars = cost.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    counted.cost_micro_usd = (dollars * 1e6).round() as u64;
    Some(counted)
}

/// A number of tokens: `15`, `1.2k`, `3M`.
fn tokens_of(text: &str) -> Option<u64> {
    let (digits, factor) = match text.strip_suffix('k') {
        Some(digits) => (digits, 1e3),
        None => text.strip_suffix('M').map_or((text, 1.0), |digits| (digits, 1e6)),
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    plain.then(|| digits.parse::<f64>().ok()).flatten().map(|number| (number * factor).round() as u64)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::Stream;
    use super::*;

    fn check(lines: &str, expected: &Expect) {
        let mut stream = Stream::new(AiderStream::new());
        let mut events = stream.push(lines.as_bytes());
        events.extend(stream.end());
        let shown: Vec<_> = events.iter().map(|event| format!("{event:?}\n")).collect();
        expected.assert_eq(&shown.concat());
    }

    #[test]
    fn answers_are_added_up_and_edits_are_tools() {
        check(
            "Aider v0.86.2\nModel: openai/x with whole edit format\nRepo-map: disabled\n\nWriting.\n\na.txt\n```\nModel: T\n```\n\
             Tokens: 1.2k sent, 300 cache hit, 15 received. Cost: $0.0021 message, $0.0021 session.\n\
             Applied edit to a.txt\nTokens: 649 sent, 7 received.\nDone.\n",
            &expect![[r#"
                Note { text: "Aider v0.86.2" }
                Note { text: "Model: openai/x with whole edit format" }
                Note { text: "Repo-map: disabled" }
                Text { text: "\n", fragment: true }
                Text { text: "Writing.\n", fragment: true }
                Text { text: "\n", fragment: true }
                Text { text: "a.txt\n", fragment: true }
                Text { text: "```\n", fragment: true }
                Text { text: "Model: T\n", fragment: true }
                Text { text: "```\n", fragment: true }
                ToolStarted { id: "edit-1", name: "edit", detail: "a.txt" }
                ToolFinished { id: "edit-1", ok: true }
                Text { text: "Done.\n", fragment: true }
                Text { text: "", fragment: false }
                Usage { input_tokens: 1849, output_tokens: 22, cost_micro_usd: 2100 }
                Finished { ok: true, message: "Done." }
            "#]],
        );
    }

    #[test]
    fn a_turn_without_an_answer_has_failed_whatever_the_exit_status() {
        check(
            "Repo-map: disabled\nlitellm.AuthenticationError: no\nThe API provider is not able to authenticate you.\n",
            &expect![[r#"
                Note { text: "Repo-map: disabled" }
                Note { text: "litellm.AuthenticationError: no" }
                Text { text: "The API provider is not able to authenticate you.\n", fragment: true }
                Text { text: "", fragment: false }
                Finished { ok: false, message: "litellm.AuthenticationError: no" }
            "#]],
        );
        check(
            "Repo-map:\nTokens: 1e9k sent, x received.\nTokens: -1 sent\n",
            &expect![[r#"
                Note { text: "Repo-map:" }
                Text { text: "Tokens: 1e9k sent, x received.\n", fragment: true }
                Text { text: "Tokens: -1 sent\n", fragment: true }
                Text { text: "", fragment: false }
                Finished { ok: false, message: "Tokens: -1 sent" }
            "#]],
        );
        check(
            "",
            &expect![[r#"
                Text { text: "", fragment: false }
                Finished { ok: false, message: "the model has answered nothing" }
            "#]],
        );
    }
}
