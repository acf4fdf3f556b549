//! A model's service for the daemon's own calls: strict about what it is asked, and scripted in what it answers.
//!
//! Owns the wire formats of Anthropic's Messages and of chat completions, as far as a streamed answer needs them,
//! and a record of every request. A request that no such service would take is answered with 400 and fails the
//! test that looks. Must not know what a question is about.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};

/// What a request is answered with.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Text, streamed in these pieces.
    Says(Vec<String>),
    /// Text, and then calls of these tools with these inputs.
    Calls(String, Vec<(&'static str, Value)>),
    /// Text, and then the connection breaks off.
    Breaks(Vec<String>),
    /// The same, and then nothing more comes.
    Stops(Vec<String>),
    /// Another status, with headers and a body.
    Fails(u16, Vec<(&'static str, String)>, String),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its path.
    pub path: String,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Value,
    /// What no service would take; empty when it is right.
    pub fault: String,
}

/// The service.
pub struct Model {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// Says what a request is answered with; nothing when what comes next is right.
type Choose = Box<dyn Fn(&Asked) -> Option<Answer> + Send>;

#[derive(Default)]
struct Shared {
    /// Comes before the answers in their order.
    choose: Mutex<Option<Choose>>,
    /// What comes next; the last one stays.
    answers: Mutex<Vec<Answer>>,
    asked: Mutex<Vec<Asked>>,
    /// Connections whose other side went away in the middle of an answer.
    left: Mutex<usize>,
}

impl Answer {
    /// Text in words.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Says(text.split_inclusive(' ').map(str::to_owned).collect())
    }
}

impl Asked {
    /// A header's values.
    #[must_use]
    pub fn header(&self, name: &str) -> Vec<&str> {
        let found = self.headers.iter().filter(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str()).collect()
    }

    /// What the user's side said.
    #[must_use]
    pub fn prompt(&self) -> String {
        let messages = self.body["messages"].as_array().cloned().unwrap_or_default();
        let said = messages.iter().filter(|message| message["role"] == "user");
        said.filter_map(|message| message["content"].as_str().map(str::to_owned)).collect()
    }
}

impl Model {
    /// A service that answers with these, one after the other, and with the last one from then on.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        *lock(&shared.answers) = answers;
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                // A client that goes away ends its connection only.
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// Where its API begins, as the configuration wants it for chat completions.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers with these from now on.
    pub fn answer(&self, answers: Vec<Answer>) {
        *lock(&self.shared.answers) = answers;
    }

    /// Answers each request by what it asks from now on, whatever order several callers come in.
    pub fn choose(&self, choose: impl Fn(&Asked) -> Option<Answer> + Send + 'static) {
        *lock(&self.shared.choose) = Some(Box::new(choose));
    }

    /// The requests since the last call.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut lock(&self.shared.asked))
    }

    /// How many went away in the middle of an answer.
    #[must_use]
    pub fn left(&self) -> usize {
        *lock(&self.shared.left)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let Some(asked) = read(&mut reader) else { return };
    let (path, fault) = (asked.path.clone(), asked.fault.clone());
    let chosen = lock(&shared.choose).as_ref().and_then(|choose| choose(&asked));
    lock(&shared.asked).push(asked);
    let answer = chosen.unwrap_or_else(|| {
        let mut answers = lock(&shared.answers);
        if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() }
    });
    let is_messages = path.ends_with("/messages");
    let number = lock(&shared.asked).len();
    let answer = match fault.is_empty() {
        true => answer,
        false => Answer::Fails(400, Vec::new(), json!({"error": {"message": fault}}).to_string()),
    };
    let mut send = |text: &str| stream.write_all(text.as_bytes()).is_ok();
    let pieces = match &answer {
        Answer::Says(pieces) | Answer::Breaks(pieces) | Answer::Stops(pieces) => pieces,
        Answer::Calls(text, calls) => {
            send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n");
            send(&if is_messages {
                messages_calls(text, calls, number)
            } else {
                chat_calls(text, calls, number)
            });
            return;
        }
        Answer::Fails(status, headers, body) => {
            let headers: String =
                headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let length = body.len();
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n");
            send(&(head + body));
            return;
        }
    };
    send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nconnection: close\r\n\r\n");
    let (before, after) = if is_messages { messages_frame() } else { chat_frame() };
    send(&before);
    for piece in pieces {
        send(&if is_messages { messages_piece(piece) } else { chat_piece(piece) });
    }
    match answer {
        Answer::Says(_) => drop(send(&after)),
        Answer::Stops(_) => {
            // It ends when the other side goes.
            let _gone = reader.read(&mut [0]);
            *lock(&shared.left) += 1;
        }
        Answer::Breaks(_) | Answer::Calls(..) | Answer::Fails(..) => {}
    }
}

/// Reads a request and looks for what is wrong with it.
fn read(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let (method, path) = (words.first()?.to_string(), words.get(1)?.to_string());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut asked = Asked { path, headers, body, fault: String::new() };
    asked.fault = fault(&method, &asked).unwrap_or_default().to_owned();
    Some(asked)
}

fn fault(method: &str, asked: &Asked) -> Option<&'static str> {
    let body = &asked.body;
    let is_messages = asked.path == "/v1/messages";
    let limits = ["max_tokens", "max_completion_tokens"];
    let roles: Vec<&str> =
        body["messages"].as_array()?.iter().filter_map(|one| one["role"].as_str()).collect();
    let checks = [
        (method == "POST", "not a POST"),
        (is_messages || asked.path == "/v1/chat/completions", "an unknown path"),
        (asked.header("content-type") == ["application/json"], "no JSON"),
        (asked.header("host").len() == 1, "no host"),
        (body["model"].is_string(), "no model"),
        (body["stream"] == true, "no stream"),
        (limits.iter().any(|name| body[*name].as_u64().is_some_and(|limit| limit > 0)), "no limit"),
        (roles.ends_with(&["user"]) || roles.ends_with(&["tool"]), "nobody asks"),
        (is_answered(body, is_messages), "a call without its result, or a result without its call"),
        (!is_messages || asked.header("anthropic-version") == ["2023-06-01"], "no version"),
        (
            !is_messages
                || body["system"].is_string()
                    && roles.iter().all(|role| matches!(*role, "user" | "assistant")),
            "a system message among the others",
        ),
        (is_messages || body["stream_options"]["include_usage"] == true, "no usage"),
    ];
    checks.into_iter().find_map(|(good, fault)| (!good).then_some(fault))
}

/// Whether each call has its result in what comes right after it, as services insist.
fn is_answered(body: &Value, is_messages: bool) -> bool {
    let none = Vec::new();
    let messages = body["messages"].as_array().unwrap_or(&none);
    let ids = |value: &Value, kind: &str, name: &str| -> Vec<String> {
        let parts = value.as_array().into_iter().flatten().filter(|part| part["type"] == kind);
        parts.map(|part| part[name].as_str().unwrap_or_default().to_owned()).collect()
    };
    let mut open: Vec<String> = Vec::new();
    for message in messages {
        if is_messages {
            if ids(&message["content"], "tool_result", "tool_use_id") != open {
                return false;
            }
            open = ids(&message["content"], "tool_use", "id");
        } else if message["role"] == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            let Some(at) = open.iter().position(|open| open == id) else { return false };
            open.remove(at);
        } else if open.is_empty() {
            open = ids(&message["tool_calls"], "function", "id");
        } else {
            return false;
        }
    }
    open.is_empty()
}

fn messages_calls(text: &str, calls: &[(&'static str, Value)], number: usize) -> String {
    let (before, _) = messages_frame();
    let mut all = before + &messages_piece(text) + &event(&json!({"type": "content_block_stop", "index": 0}));
    for ((name, input), at) in calls.iter().zip(1..) {
        let block =
            json!({"type": "tool_use", "id": format!("toolu_{number}_{at}"), "name": name, "input": {}});
        all += &event(&json!({"type": "content_block_start", "index": at, "content_block": block}));
        let input = input.to_string();
        // Inputs come in pieces.
        let half = (0..=input.len() / 2).rev().find(|at| input.is_char_boundary(*at)).unwrap_or(0);
        for piece in [&input[..half], &input[half..]] {
            let delta = json!({"type": "input_json_delta", "partial_json": piece});
            all += &event(&json!({"type": "content_block_delta", "index": at, "delta": delta}));
        }
        all += &event(&json!({"type": "content_block_stop", "index": at}));
    }
    let stop = json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 34}});
    all + &event(&stop) + &event(&json!({"type": "message_stop"}))
}

fn chat_calls(text: &str, calls: &[(&'static str, Value)], number: usize) -> String {
    let (before, _) = chat_frame();
    let chunk = |delta: Value, reason: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
        format!("data: {}\n\n", json!({"object": "chat.completion.chunk", "choices": [choice]}))
    };
    let mut all = before + &chat_piece(text);
    for ((name, input), at) in calls.iter().zip(0..) {
        let id = format!("call_{number}_{at}");
        let first =
            json!({"index": at, "id": id, "type": "function", "function": {"name": name, "arguments": ""}});
        all += &chunk(json!({"tool_calls": [first]}), None);
        let rest = json!({"index": at, "function": {"arguments": input.to_string()}});
        all += &chunk(json!({"tool_calls": [rest]}), None);
    }
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 120, "completion_tokens": 34}});
    all + &chunk(json!({}), Some("tool_calls")) + &format!("data: {usage}\n\ndata: [DONE]\n\n")
}

fn event(value: &Value) -> String {
    format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap_or("message"))
}

fn messages_frame() -> (String, String) {
    let usage = json!({"input_tokens": 120, "output_tokens": 1});
    let before = event(&json!({"type": "message_start", "message": {"role": "assistant", "usage": usage}}))
        + &event(
            &json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        );
    let stop = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 34}});
    let after = event(&json!({"type": "content_block_stop", "index": 0}))
        + &event(&stop)
        + &event(&json!({"type": "message_stop"}));
    (before, after)
}

fn messages_piece(piece: &str) -> String {
    event(&json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}))
}

fn chat_frame() -> (String, String) {
    let chunk = |delta: Value, reason: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
        format!("data: {}\n\n", json!({"object": "chat.completion.chunk", "choices": [choice]}))
    };
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 120, "completion_tokens": 34}});
    let after = chunk(json!({}), Some("stop")) + &format!("data: {usage}\n\ndata: [DONE]\n\n");
    (chunk(json!({"role": "assistant", "content": ""}), None), after)
}

fn chat_piece(piece: &str) -> String {
    let choice = json!({"index": 0, "delta": {"content": piece}, "finish_reason": null});
    format!("data: {}\n\n", json!({"object": "chat.completion.chunk", "choices": [choice]}))
}
