//! What an agent program says while it works, as typed events.
//!
//! Owns the closed list of things an agent can say and one parser per program's stream. Must not know how
//! the program is started or where its output comes from: bytes arrive as arguments, and every byte of
//! them is hostile. What cannot be understood becomes a [`AgentEvent::Note`], never an error.

mod aider;
mod claude;
mod codex;
pub(crate) mod detail;
mod endpoint;
mod gemini;
mod lines;
mod opencode;
pub mod own;

pub use aider::AiderStream;
pub use claude::ClaudeStream;
pub use codex::CodexStream;
pub use endpoint::is_loopback;
pub use gemini::GeminiStream;
pub use lines::{Line, Lines, MAX_LINE};
pub use opencode::OpencodeStream;

/// One thing an agent said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AgentEvent {
    /// Words for the human.
    Text {
        /// The words; empty when only the end of a text is told.
        text: String,
        /// Whether the same text goes on with the next event.
        fragment: bool,
    },
    /// It begins to use a tool; its input is known by now.
    ToolStarted {
        /// The call's id, unique within the turn.
        id: String,
        /// Tool's name.
        name: String,
        /// The most telling argument, cut to [`MAX_DETAIL`] characters.
        detail: String,
    },
    /// The tool has given its result.
    ToolFinished {
        /// The call's id.
        id: String,
        /// Whether it succeeded.
        ok: bool,
    },
    /// What this turn used, whatever the program itself counts from; once per turn.
    Usage {
        /// Tokens the model read, cached ones included.
        input_tokens: u64,
        /// Tokens the model wrote.
        output_tokens: u64,
        /// Millionths of a US dollar, as the program reckons; 0 when it does not.
        cost_micro_usd: u64,
    },
    /// The conversation's id: with it a later turn continues here.
    Conversation {
        /// Letters, digits, `-` and `_`, at most [`MAX_ID`], not beginning with `-`.
        id: String,
    },
    /// The program's own account of the turn; nothing but the exit status comes after it.
    Finished {
        /// Whether it says that it succeeded.
        ok: bool,
        /// What it says: its last words, or the error.
        message: String,
    },
    /// Something else it said, at most [`MAX_NOTE`] bytes: a warning, a retry, an unknown line.
    Note {
        /// The words, or the line.
        text: String,
    },
}

/// The sum of the usage that a conversation's earlier turns told. Programs count some things from the
/// conversation's beginning, also over restarts; with this a parser can tell one turn's share.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Spent {
    /// Tokens the model read.
    pub input_tokens: u64,
    /// Tokens the model wrote.
    pub output_tokens: u64,
    /// Millionths of a US dollar.
    pub cost_micro_usd: u64,
}

/// Reads one program's stream. A new one serves each turn.
pub trait LineParser {
    /// What a line (without its line feed) says.
    fn line(&mut self, line: &[u8]) -> Vec<AgentEvent>;

    /// What is still to be told when the stream has ended.
    fn end(&mut self) -> Vec<AgentEvent>;
}

/// A program's output from raw chunks to events.
#[derive(Debug, Default)]
pub struct Stream<P> {
    lines: Lines,
    parser: P,
}

/// Longest note, in bytes.
pub const MAX_NOTE: usize = 4096;
/// Longest tool detail, in characters.
pub const MAX_DETAIL: usize = 200;
/// Longest id, in bytes.
pub const MAX_ID: usize = 128;

// === impl Stream ===

impl<P: LineParser> Stream<P> {
    /// A stream from its beginning.
    #[must_use]
    pub fn new(parser: P) -> Self {
        Self { lines: Lines::default(), parser }
    }

    /// What the next bytes say; how they are cut into chunks makes no difference.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<AgentEvent> {
        let lines = self.lines.push(chunk);
        lines.into_iter().flat_map(|line| self.events(line)).collect()
    }

    /// What is still to be told when there are no more bytes.
    pub fn end(&mut self) -> Vec<AgentEvent> {
        let last = self.lines.end();
        let mut events: Vec<_> = last.into_iter().flat_map(|line| self.events(line)).collect();
        events.extend(self.parser.end());
        events
    }

    fn events(&mut self, line: Line) -> Vec<AgentEvent> {
        match line {
            Line::Whole(line) => self.parser.line(&line),
            Line::TooLong { start, length } => {
                let start = String::from_utf8_lossy(&start);
                vec![AgentEvent::note(format!("a line of {length} bytes was skipped: {start}"))]
            }
        }
    }
}

// === impl AgentEvent ===

impl AgentEvent {
    /// A note, cut to its longest.
    fn note(text: impl Into<String>) -> Self {
        let mut text = text.into();
        truncate(&mut text, MAX_NOTE);
        Self::Note { text }
    }

    /// A line that is not understood, kept as it is.
    fn unknown(line: &[u8]) -> Self {
        Self::note(String::from_utf8_lossy(&line[..line.len().min(MAX_NOTE)]))
    }

    /// The id of a conversation, when it can be one. It becomes an argument of the next turn's command
    /// line, where anything else could be taken for an option.
    fn conversation(id: &str) -> Self {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !id.is_empty() && id.len() <= MAX_ID && !id.starts_with('-') && id.bytes().all(good) {
            Self::Conversation { id: id.to_owned() }
        } else {
            Self::note(format!("the conversation's id cannot be used: {id}"))
        }
    }
}

/// Shortens a text to at most `max` bytes without splitting a character.
fn truncate(text: &mut String, max: usize) {
    if text.len() > max {
        let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
}

/// A string member of a JSON object; empty when there is none.
fn text<'a>(value: &'a serde_json::Value, name: &str) -> &'a str {
    value.get(name).and_then(serde_json::Value::as_str).unwrap_or("")
}

/// A count in a JSON object; 0 when there is none.
fn count(value: &serde_json::Value, name: &str) -> u64 {
    value.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0)
}

/// Dollars in a JSON value as millionths; 0 when it is no number.
fn micro_usd(value: &serde_json::Value) -> u64 {
    (value.as_f64().unwrap_or(0.0) * 1e6).round() as u64
}

/// An id, short enough to be kept.
fn id(value: &serde_json::Value, name: &str) -> String {
    let mut id = text(value, name).to_owned();
    truncate(&mut id, MAX_ID);
    id
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole<P: LineParser>(parser: P, bytes: &[u8]) -> Vec<AgentEvent> {
        let mut stream = Stream::new(parser);
        let mut events = stream.push(bytes);
        events.extend(stream.end());
        events
    }

    fn chunked<P: LineParser>(parser: P, bytes: &[u8], size: usize) -> Vec<AgentEvent> {
        let mut stream = Stream::new(parser);
        let mut events: Vec<_> = bytes.chunks(size).flat_map(|chunk| stream.push(chunk)).collect();
        events.extend(stream.end());
        events
    }

    /// Bytes that look enough like a stream to get past the first check.
    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            proptest::sample::select(vec![
                r#"{"type":"assistant","message":{"content":[{"type":"text","text":"é"}]}}"#,
                r#"{"type":"assistant","message":{"content":[{"type":"tool_use","id":7,"input":[[]]}]}}"#,
                r#"{"type":"stream_event","event":{"type":"content_block_delta","delta":{"type":"text_delta","text":"éé"}}}"#,
                r#"{"type":"stream_event","event":{"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}}"#,
                r#"{"type":"stream_event","event":null}"#,
                r#"{"type":"user","message":{"content":{"a":1}}}"#,
                r#"{"type":"result","total_cost_usd":-1e300,"usage":{"input_tokens":18446744073709551615}}"#,
                r#"{"type":"result","total_cost_usd":1e300,"subtype":7,"errors":[1]}"#,
                r#"{"type":"system","subtype":"init","session_id":"--help"}"#,
                r#"{"type":"thread.started","thread_id":"t"}"#,
                r#"{"type":"item.started","item":{"id":"i","type":"command_execution"}}"#,
                r#"{"type":"item.completed","item":{"id":"i","type":"command_execution","exit_code":"x"}}"#,
                r#"{"type":"item.completed","item":[]}"#,
                r#"{"type":"turn.completed","usage":{"output_tokens":-4}}"#,
                r#"{"type":"step_finish","part":{"reason":7,"tokens":{"input":18446744073709551615},"cost":1e300}}"#,
                r#"{"type":"tool_use","sessionID":"-x","part":{"callID":1},"tool_id":"t","parameters":[]}"#,
                r#"{"type":"message","role":"assistant","content":"é","delta":true}"#,
                r#"{"type":"result","status":"error","stats":7}"#,
                "Tokens: 99999999999999999999999k sent, 1 received. Cost: $1e400 message",
                "Applied edit to é",
                "litellm.Error: é",
                "[",
                "7",
            ])
            .prop_map(|line| line.as_bytes().to_vec()),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.join(&b'\n'))
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_chunks_make_no_difference(bytes in hostile(), size in 1usize..64) {
            let claude = || ClaudeStream::new(Spent { cost_micro_usd: 5, ..Spent::default() });
            prop_assert_eq!(chunked(claude(), &bytes, size), whole(claude(), &bytes));
            let codex = || CodexStream::new(Spent { input_tokens: 5, ..Spent::default() });
            prop_assert_eq!(chunked(codex(), &bytes, size), whole(codex(), &bytes));
            prop_assert_eq!(chunked(OpencodeStream::new(), &bytes, size), whole(OpencodeStream::new(), &bytes));
            prop_assert_eq!(chunked(GeminiStream::new(), &bytes, size), whole(GeminiStream::new(), &bytes));
            prop_assert_eq!(chunked(AiderStream::new(), &bytes, size), whole(AiderStream::new(), &bytes));
        }

        #[test]
        fn a_truncated_text_is_a_prefix(text in ".*", max in 0usize..20) {
            let mut cut = text.clone();
            truncate(&mut cut, max);
            prop_assert!(cut.len() <= max.max(text.len().min(max)) && text.starts_with(&cut));
        }
    }

    #[test]
    fn an_overlong_line_is_told_and_skipped() {
        let mut bytes = vec![b'x'; MAX_LINE + 1];
        bytes.extend(b"\n{\"type\":\"turn.failed\",\"error\":{\"message\":\"no\"}}\n");
        let events = whole(CodexStream::default(), &bytes);
        let [AgentEvent::Note { text }, AgentEvent::Finished { ok: false, message }] = &events[..] else {
            panic!("{events:?}")
        };
        assert!(text.starts_with(&format!("a line of {} bytes was skipped: xxx", MAX_LINE + 1)));
        assert_eq!(message, "no");
    }
}
