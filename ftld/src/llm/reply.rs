//! One answer, over as many attempts as it takes.
//!
//! Owns the order of things: connect, send, read events, and begin anew only while nothing of an answer was
//! told. Must not know protocols; [`ftl_core::llm`] reads them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ftl_core::credential::secret_value::Secret;
use ftl_core::llm::again::{again, wish};
use ftl_core::llm::{self, Conversation, Decoder, Event};
use ftl_core::sigv4::{Inbound, Keys, Unsigned, payload_hash};
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use zeroize::Zeroizing;

use super::{LlmError, Shared, Signing, wire};

/// An answer under way.
pub(super) struct Reply {
    shared: Arc<Shared>,
    /// What is sent, in every attempt the same.
    body: Bytes,
    /// Set with the first event.
    until: Option<Instant>,
    /// Attempts that were begun.
    attempts: u32,
    flow: Option<Flow>,
    ready: VecDeque<Event>,
    /// Whether something of an answer was told.
    is_told: bool,
    is_over: bool,
    /// What is told when nothing else is left to tell.
    failed: Option<LlmError>,
    /// How long to wait before the next attempt.
    wait: Duration,
}

/// An answer whose head has come.
struct Flow {
    response: Response<Incoming>,
    decoder: Decoder,
}

/// Bytes of a refusal that are read.
const LONGEST_REFUSAL: usize = 64 * 1024;

impl Reply {
    pub(super) fn new(shared: Arc<Shared>, conversation: &Conversation) -> Self {
        let body = Bytes::from(llm::request(&shared.endpoint, conversation).to_string());
        Self {
            shared,
            body,
            until: None,
            attempts: 0,
            flow: None,
            ready: VecDeque::new(),
            is_told: false,
            is_over: false,
            failed: None,
            wait: Duration::ZERO,
        }
    }

    /// The next event; `None` after the last one or an error.
    pub(super) async fn next(&mut self) -> Option<Result<Event, LlmError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.is_over = matches!(event, Event::End(_));
                self.is_told |= matches!(event, Event::Text(_) | Event::ToolCall(_));
                if self.is_over {
                    self.flow = None;
                    self.ready.clear();
                }
                return Some(Ok(event));
            }
            if self.is_over {
                return None;
            }
            if let Some(error) = self.failed.take() {
                self.is_over = true;
                return Some(Err(error));
            }
            let until = *self.until.get_or_insert_with(|| Instant::now() + self.shared.patience.whole);
            let step = timeout_at(until, self.step()).await;
            let Err(error) = step.unwrap_or(Err(LlmError::Slow("the answer as a whole"))) else { continue };
            self.flow = None;
            match self.try_again(&error, until) {
                Some(event) => return Some(Ok(event)),
                // What has come before it is told first.
                None => self.failed = Some(error),
            }
        }
    }

    /// Whether there is another attempt, and what is told of it.
    fn try_again(&mut self, error: &LlmError, until: Instant) -> Option<Event> {
        if self.is_told || self.ready.iter().any(is_answer) {
            return None;
        }
        let wish = match error {
            LlmError::Refused { wait_s, .. } => wait_s.map(Duration::from_secs),
            _ => None,
        };
        let wait = again(error.failed(), self.attempts, self.shared.patience.again, wish)?;
        if Instant::now() + wait >= until {
            return None;
        }
        (self.wait, self.flow) = (wait, None);
        self.ready.clear();
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Some(Event::Again { attempt: self.attempts + 1, wait_ms, why: error.to_string() })
    }

    /// One step on the way: an attempt is begun, or a piece is read.
    async fn step(&mut self) -> Result<(), LlmError> {
        let Some(flow) = &mut self.flow else {
            sleep(std::mem::take(&mut self.wait)).await;
            self.attempts += 1;
            self.flow = Some(begin(&self.shared, &self.body).await?);
            return Ok(());
        };
        let mut events = Vec::new();
        let read = read(flow, self.shared.patience.idle, &mut events).await;
        self.ready.extend(events);
        read.map_err(|error| unkeyed(&self.shared, error))
    }
}

fn is_answer(event: &Event) -> bool {
    matches!(event, Event::Text(_) | Event::ToolCall(_))
}

/// Reads a piece of an answer.
async fn read(flow: &mut Flow, idle: Duration, events: &mut Vec<Event>) -> Result<(), LlmError> {
    let frame = timeout(idle, flow.response.body_mut().frame()).await;
    match frame.map_err(|_| LlmError::Slow("the next piece of the answer"))? {
        None => Ok(flow.decoder.end(events)?),
        Some(frame) => match frame.map_err(LlmError::Broken)?.into_data() {
            Ok(data) => Ok(flow.decoder.push(&data, events)?),
            Err(_trailers) => Ok(()),
        },
    }
}

/// Sends the question and waits for the head of the answer.
async fn begin(shared: &Shared, body: &Bytes) -> Result<Flow, LlmError> {
    let patience = shared.patience;
    let opened = timeout(patience.connect, wire::open(&shared.dialer)).await;
    let mut sender = opened.map_err(|_| LlmError::Slow("the connection"))??;
    let sent = sender.send_request(request(shared, body.clone())?);
    let response = timeout(patience.first, sent).await.map_err(|_| LlmError::Slow("the answer"))?;
    let response = response.map_err(LlmError::Broken)?;
    if !response.status().is_success() {
        return Err(unkeyed(shared, refusal(response, patience.idle).await));
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("nothing");
    if !kind.trim_start().to_ascii_lowercase().starts_with(shared.endpoint.api.stream_type()) {
        let shown = kind.chars().filter(|char| !char.is_control()).take(60).collect();
        return Err(unkeyed(shared, LlmError::NotAStream(shown)));
    }
    Ok(Flow { response, decoder: Decoder::new(shared.endpoint.api) })
}

fn request(shared: &Shared, body: Bytes) -> Result<Request<Full<Bytes>>, LlmError> {
    let api = shared.endpoint.api;
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(shared.endpoint.path())
        .header(HOST, shared.endpoint.base.host())
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, api.stream_type());
    for (name, value) in api.headers() {
        request = request.header(*name, *value);
    }
    if let (Some(key), None) = (&shared.key, &shared.signing) {
        let (name, before) = api.key_header();
        let value = Zeroizing::new(format!("{before}{}", key.expose()));
        let mut value = HeaderValue::from_str(&value).map_err(|_| LlmError::Unsendable("key"))?;
        value.set_sensitive(true);
        request = request.header(HeaderName::from_static(name), value);
    }
    let signed = payload_hash(&body);
    let mut request = request.body(Full::new(body)).map_err(|_| LlmError::Unsendable("address"))?;
    if let (Some(key), Some(signing)) = (&shared.key, &shared.signing) {
        sign(shared, signing, key, &signed, &mut request)?;
    }
    Ok(request)
}

/// Signs a request with a key that is not sent.
fn sign(
    shared: &Shared,
    signing: &Signing,
    key: &Secret,
    payload: &str,
    request: &mut Request<Full<Bytes>>,
) -> Result<(), LlmError> {
    let (host, path) = (shared.endpoint.base.host(), shared.endpoint.path());
    let unsigned = Unsigned { method: "POST", host: &host, path: &path, query: None };
    let scope = Inbound {
        key_id: String::new(),
        date: String::new(),
        region: shared.endpoint.region().to_owned(),
        service: "bedrock".to_owned(),
        signed_headers: Vec::new(),
        signature: String::new(),
    };
    let token = signing.token.as_ref().map(Secret::expose);
    let keys = Keys { key_id: signing.key_id.expose(), secret: key.expose(), token };
    let signed = scope.sign(&unsigned, request.headers_mut(), payload, &keys, (signing.now)());
    signed.map_err(|_| LlmError::Unsendable("key"))
}

/// What a service says that does not answer.
async fn refusal(mut response: Response<Incoming>, idle: Duration) -> LlmError {
    let status = response.status();
    let after = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()).and_then(wish);
    let wait_s = after.map(|after| after.as_secs() + u64::from(after.subsec_nanos() > 0));
    let mut body = Vec::new();
    while body.len() < LONGEST_REFUSAL {
        // What cannot be read is not said; the status is what counts.
        let Ok(Some(Ok(frame))) = timeout(idle, response.body_mut().frame()).await else { break };
        if let Ok(data) = frame.into_data() {
            body.extend_from_slice(&data);
        }
    }
    let said = llm::fault(&body);
    let message = match said.is_empty() {
        true => status.canonical_reason().unwrap_or("no reason").to_owned(),
        false => said,
    };
    LlmError::Refused { status: status.as_u16(), message, wait_s }
}

/// The error without the key, which a service may repeat.
fn unkeyed(shared: &Shared, error: LlmError) -> LlmError {
    let Some(key) = shared.key.as_ref().map(|key| key.expose()).filter(|key| !key.is_empty()) else {
        return error;
    };
    let clean = |text: String| without(key, &text);
    match error {
        LlmError::Refused { status, message, wait_s } => {
            LlmError::Refused { status, message: clean(message), wait_s }
        }
        LlmError::Stream(llm::StreamError::Said { status, message }) => {
            llm::StreamError::Said { status, message: clean(message) }.into()
        }
        LlmError::NotAStream(kind) => LlmError::NotAStream(clean(kind)),
        error => error,
    }
}

/// The text without a key, and without the beginning of one at its end: it may have been cut there.
fn without(key: &str, text: &str) -> String {
    let mut clean = text.replace(key, HIDDEN);
    let is_cut = |length: &usize| {
        clean.len() >= *length && key.is_char_boundary(*length) && clean.ends_with(&key[..*length])
    };
    if let Some(length) = (LEAST..key.len()).rev().find(is_cut) {
        clean.truncate(clean.len() - length);
        clean += HIDDEN;
    }
    clean
}

/// What stands in a key's place.
const HIDDEN: &str = "[the key]";
/// So many characters of a key tell nobody which one it is.
const LEAST: usize = 4;
