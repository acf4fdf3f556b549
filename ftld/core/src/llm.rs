//! What a language model is asked, and what it answers.
//!
//! Owns a conversation with a model as a value, the requests and streams of the protocols that models are
//! served with, how models are named, where they are served, what they cost, and which failures pass by
//! themselves. Everything that comes from a model or its service is foreign: it is bounded, and read
//! strictly where it decides anything. Must not know connections, keys or clocks.
//!
//! Reading order: [`name`] says which model and where; a codec makes the request ([`request`]) and reads the
//! stream ([`Decoder`]); [`again`] and [`price`] are what one thinks of the outcome.

pub mod again;
mod anthropic;
mod bedrock;
mod chat;
mod framed;
pub mod name;
pub mod price;
mod sse;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use anthropic::Messages;
use bedrock::Converse;
use chat::Chat;
use framed::Framed;
use sse::Sse;

/// The protocol that a service speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Api {
    /// Anthropic's Messages.
    Anthropic,
    /// OpenAI's chat completions, which many others speak as well.
    Chat,
    /// Bedrock's ConverseStream.
    Bedrock,
}

/// What a model is asked.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Conversation {
    /// What it is to be and do.
    pub system: String,
    /// What was said, oldest first.
    pub messages: Vec<Message>,
    /// What it may call.
    pub tools: Vec<Tool>,
    /// The most tokens of the answer.
    pub max_tokens: u32,
}

/// Something that was said.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Message {
    /// By whoever asks.
    User(String),
    /// By the model.
    Assistant {
        /// Its text; may be empty.
        text: String,
        /// What it called.
        calls: Vec<ToolCall>,
    },
    /// What came of its calls.
    Results(Vec<ToolResult>),
}

/// Something that a model may call.
#[derive(Clone, PartialEq, Debug)]
pub struct Tool {
    /// Its name: letters, digits, `_` and `-`.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON schema of its input.
    pub schema: Value,
}

/// A call that a model wants.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ToolCall {
    /// The service's id of it.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// Its input: an object.
    pub input: Value,
}

/// What came of a call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ToolResult {
    /// [`ToolCall::id`].
    pub id: String,
    /// What the tool said.
    pub text: String,
    /// Whether it failed.
    pub failed: bool,
}

/// A piece of an answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// Some text.
    Text(String),
    /// A whole call.
    ToolCall(ToolCall),
    /// What the answer used; at most once, before [`Self::End`].
    Usage(Usage),
    /// The request is sent once more, after a wait. Nothing of an answer has come before.
    Again {
        /// The attempt that begins, from 2.
        attempt: u32,
        /// How long is waited before it, milliseconds.
        wait_ms: u64,
        /// Why, as a part of a sentence.
        why: String,
    },
    /// The last event.
    End(End),
}

/// How an answer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum End {
    /// The model has said what it wanted.
    Done,
    /// It waits for what comes of its calls.
    Tools,
    /// It was cut: the most tokens were reached.
    Length,
    /// The model, or a filter of its service, refuses.
    Refused,
    /// For a reason that this version does not know.
    #[default]
    Unknown,
}

/// Tokens that an answer used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Tokens that the model read.
    pub input: u64,
    /// Tokens that it wrote.
    pub output: u64,
    /// Whether some of the input was written to a cache, which costs more than reading it.
    pub cache_written: bool,
}

/// Why a stream is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StreamError {
    /// More than an answer ever has.
    #[error("the model's service sends an answer without end")]
    TooLong,
    /// Not what such a service sends.
    #[error("the model's service sends {0}")]
    Malformed(&'static str),
    /// It ends in the middle.
    #[error("the answer breaks off")]
    Cut,
    /// The service says that it fails.
    #[error("the model's service fails: {message}")]
    Said {
        /// The status that it would have answered with.
        status: u16,
        /// Its words, plain and short.
        message: String,
    },
}

/// Reads an answer as it comes.
pub struct Decoder {
    carrier: Carrier,
    codec: Codec,
    received: usize,
    is_over: bool,
}

/// Tells events from each other.
enum Carrier {
    Sse(Sse),
    Framed(Framed),
}

/// Reads the events of one protocol.
enum Codec {
    Messages(Messages),
    Chat(Chat),
    Converse(Converse),
}

/// An event as it was carried.
enum Carried {
    Data(Vec<u8>),
    Frame(framed::Frame),
}

/// The most bytes of a stream.
const LONGEST: usize = 32 << 20;
/// Characters of a service's message that are kept.
const LONGEST_MESSAGE: usize = 300;

/// The body of a request for a streamed answer.
#[must_use]
pub fn request(endpoint: &name::Endpoint, conversation: &Conversation) -> Value {
    match endpoint.api {
        Api::Anthropic => anthropic::request(&endpoint.model, conversation),
        Api::Chat => chat::request(&endpoint.model, endpoint.limit_name, conversation),
        Api::Bedrock => bedrock::request(conversation),
    }
}

impl Api {
    /// What a request's path ends in, after the service's own. The model's name may have any character that a name
    /// can have.
    #[must_use]
    pub fn path(self, model: &str) -> String {
        match self {
            Self::Anthropic => "/v1/messages".to_owned(),
            Self::Chat => "/chat/completions".to_owned(),
            Self::Bedrock => {
                let model = percent_encoding::utf8_percent_encode(model, percent_encoding::NON_ALPHANUMERIC);
                format!("/model/{model}/converse-stream")
            }
        }
    }

    /// The type of the stream that answers.
    #[must_use]
    pub fn stream_type(self) -> &'static str {
        match self {
            Self::Anthropic | Self::Chat => "text/event-stream",
            Self::Bedrock => "application/vnd.amazon.eventstream",
        }
    }

    /// The header that a key stands in, and what stands before it there.
    #[must_use]
    pub fn key_header(self) -> (&'static str, &'static str) {
        match self {
            Self::Anthropic => ("x-api-key", ""),
            Self::Chat | Self::Bedrock => ("authorization", "Bearer "),
        }
    }

    /// Headers that every request has.
    #[must_use]
    pub fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Anthropic => &[("anthropic-version", "2023-06-01")],
            Self::Chat | Self::Bedrock => &[],
        }
    }

    /// Its name in configurations.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "anthropic" => Some(Self::Anthropic),
            "openai" => Some(Self::Chat),
            "bedrock" => Some(Self::Bedrock),
            _ => None,
        }
    }
}

impl Decoder {
    /// A decoder of an answer that begins.
    #[must_use]
    pub fn new(api: Api) -> Self {
        let codec = match api {
            Api::Anthropic => Codec::Messages(Messages::default()),
            Api::Chat => Codec::Chat(Chat::default()),
            Api::Bedrock => Codec::Converse(Converse::default()),
        };
        let carrier = match api {
            Api::Anthropic | Api::Chat => Carrier::Sse(Sse::default()),
            Api::Bedrock => Carrier::Framed(Framed::default()),
        };
        Self { carrier, codec, received: 0, is_over: false }
    }

    /// Reads on. After the last event, or an error, nothing more is read.
    ///
    /// # Errors
    /// When it is no answer; what `events` has got before counts.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), StreamError> {
        let mut rest = bytes;
        while !self.is_over && !rest.is_empty() {
            // Where a stream is cut into pieces makes no difference to where it is found too long.
            let (read, found) = self.carrier.next(rest);
            self.received += read;
            rest = rest.get(read..).unwrap_or_default();
            if self.received > LONGEST {
                return self.fail(StreamError::TooLong);
            }
            match found {
                Ok(None) => {}
                Ok(Some(carried)) => self.event(&carried, events)?,
                Err(error) => return self.fail(error),
            }
        }
        Ok(())
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// When the answer has not.
    pub fn end(&mut self, events: &mut Vec<Event>) -> Result<(), StreamError> {
        if self.is_over {
            return Ok(());
        }
        self.is_over = true;
        match &mut self.codec {
            Codec::Messages(_) => Err(StreamError::Cut),
            // Not every service says `[DONE]`.
            Codec::Chat(chat) => chat.end(events),
            Codec::Converse(_) if self.carrier.is_open() => Err(StreamError::Cut),
            Codec::Converse(converse) => converse.end(events),
        }
    }

    fn event(&mut self, carried: &Carried, events: &mut Vec<Event>) -> Result<(), StreamError> {
        let read = match (&mut self.codec, carried) {
            (Codec::Messages(messages), Carried::Data(data)) => messages.event(data, events),
            (Codec::Chat(chat), Carried::Data(data)) => chat.event(data, events),
            (Codec::Converse(converse), Carried::Frame(frame)) => converse.event(frame, events),
            // A decoder is made of two that fit.
            _ => Ok(()),
        };
        match read {
            Ok(()) => {
                self.is_over = matches!(events.last(), Some(Event::End(_)));
                Ok(())
            }
            Err(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: StreamError) -> Result<(), StreamError> {
        self.is_over = true;
        Err(error)
    }
}

impl Carrier {
    fn next(&mut self, bytes: &[u8]) -> (usize, Result<Option<Carried>, StreamError>) {
        match self {
            Self::Sse(sse) => {
                let (read, found) = sse.next(bytes);
                (read, found.map(|found| found.map(Carried::Data)))
            }
            Self::Framed(framed) => {
                let (read, found) = framed.next(bytes);
                (read, found.map(|found| found.map(Carried::Frame)))
            }
        }
    }

    fn is_open(&self) -> bool {
        matches!(self, Self::Framed(framed) if framed.is_open())
    }
}

/// What a service says of an error, from the body of its answer: short and plain, empty when it says nothing
/// that can be read.
#[must_use]
pub fn fault(body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    // Some wrap it in a list.
    let value = value.get(0).unwrap_or(&value);
    plain(message(value).unwrap_or_default())
}

/// The words of an error: at `error.message`, `error` or `message`.
fn message(value: &Value) -> Option<&str> {
    let error = value.get("error").unwrap_or(value);
    error.get("message").and_then(Value::as_str).or(error.as_str())
}

/// Foreign words, short and without what a terminal or a log would obey.
fn plain(text: &str) -> String {
    let one = |char: char| if char.is_control() { ' ' } else { char };
    text.trim().chars().take(LONGEST_MESSAGE).map(one).collect()
}

/// A finished call. Its input is text until then.
fn call(id: &str, name: &str, input: &str) -> Result<Event, StreamError> {
    let input = if input.trim().is_empty() { "{}" } else { input };
    match serde_json::from_str::<Value>(input) {
        Ok(input @ Value::Object(_)) if !name.is_empty() => {
            Ok(Event::ToolCall(ToolCall { id: id.to_owned(), name: name.to_owned(), input }))
        }
        _ => Err(StreamError::Malformed("a call that cannot be read")),
    }
}

#[cfg(test)]
mod tests;
