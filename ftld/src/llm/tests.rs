//! Calls against a service that answers, fails, breaks off and dawdles as it is told.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use ftl_core::egress::host::Authority;
use ftl_core::llm::name::{BaseUrl, ModelName, ProviderSettings};
use ftl_core::llm::{End, Message, StreamError, Usage};

use super::*;
use crate::dial::DialError;

const KEY: &str = "sk-test-0123456789abcdefghijklmnop";

/// What a connection does after it has read a request.
#[derive(Clone)]
enum Act {
    /// Sends these bytes.
    Send(String),
    /// The same, where they are no text.
    Bytes(&'static [u8]),
    /// Waits until the other side has gone, and tells of it.
    Dawdle,
}

/// Connections are served one after the other, each by the next of the scripts and the last of them again.
struct Service {
    address: SocketAddr,
    /// Requests as they came, and `"gone"` when a client went away.
    seen: mpsc::Receiver<String>,
}

impl Service {
    fn start(scripts: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, seen) = mpsc::channel();
        thread::spawn(move || {
            for (at, stream) in listener.incoming().enumerate() {
                let script = scripts[at.min(scripts.len() - 1)].clone();
                if serve(stream.unwrap(), script, &tell).is_none() {
                    break;
                }
            }
        });
        Self { address, seen }
    }

    fn requests(&self) -> Vec<String> {
        self.seen.try_iter().collect()
    }
}

fn serve(mut stream: TcpStream, script: Vec<Act>, tell: &mpsc::Sender<String>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut request, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        request += &line;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    tell.send(request + std::str::from_utf8(&body).unwrap()).ok()?;
    for act in script {
        match act {
            // The other side may have gone.
            Act::Send(text) => drop(stream.write_all(text.as_bytes())),
            Act::Bytes(bytes) => drop(stream.write_all(bytes)),
            Act::Dawdle => {
                let _ended = reader.read(&mut [0]);
                tell.send("gone".to_owned()).ok()?;
            }
        }
    }
    Some(())
}

/// An answer without a length, so that its end is the connection's.
fn head(status: &str, more: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: text/event-stream\r\nconnection: close\r\n{more}\r\n")
}

fn text(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":{text:?}}}}}]}}\n\n")
}

fn end() -> String {
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
     data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n"
        .to_owned()
}

fn good() -> Vec<Act> {
    vec![Act::Send(head("200 OK", "") + &text("It ") + &text("works") + &end())]
}

fn refused(status: &str, more: &str, body: &str) -> Vec<Act> {
    vec![Act::Send(head(status, more) + body)]
}

fn patience() -> Patience {
    Patience { again: Duration::from_millis(1), ..Patience::default() }
}

fn client(address: SocketAddr, patience: Patience) -> Client {
    let base_url = BaseUrl::parse(&format!("http://{address}/v1"));
    let said = ProviderSettings { base_url, ..ProviderSettings::default() };
    let endpoint = ModelName::parse("openai/gpt-x").unwrap().endpoint(&[("openai".to_owned(), said)].into());
    let (endpoint, key) = (endpoint.unwrap(), Some(Secret::from(KEY)));
    Client::new(Settings { endpoint, key, signing: None, roots: Vec::new(), patience }).unwrap()
}

fn question() -> Conversation {
    Conversation { messages: vec![Message::User("why?".into())], max_tokens: 9, ..Conversation::default() }
}

async fn heard(events: Events) -> (Vec<Event>, Option<LlmError>) {
    let (mut told, mut failed) = (Vec::new(), None);
    let mut events = events;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => told.push(event),
            Err(error) => failed = Some(error),
        }
    }
    (told, failed)
}

async fn ask(service: &Service) -> (Vec<Event>, Option<LlmError>) {
    heard(client(service.address, patience()).stream(question())).await
}

fn answer() -> Vec<Event> {
    let usage = Usage { input: 3, output: 2, cache_written: false };
    vec![Event::Text("It ".into()), Event::Text("works".into()), Event::Usage(usage), Event::End(End::Done)]
}

#[tokio::test]
async fn an_answer_comes_as_it_is_spoken_and_the_key_is_where_the_service_reads_it() {
    let service = Service::start(vec![good()]);
    let (told, failed) = ask(&service).await;
    assert!(failed.is_none(), "{failed:?}");
    assert_eq!(told, answer());
    let request = service.requests().concat();
    assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{request}");
    assert_eq!(request.matches(KEY).count(), 1);
    assert!(request.contains(&format!("authorization: Bearer {KEY}\r\n")), "{request}");
    assert!(request.contains("\"max_completion_tokens\":9"), "{request}");
}

#[tokio::test]
async fn what_passes_by_itself_is_tried_again_while_nothing_was_told() {
    let busy =
        || refused("429 Too Many Requests", "retry-after: 0\r\n", "{\"error\":{\"message\":\"slow down\"}}");
    let cut = vec![Act::Send(head("200 OK", ""))];
    let service = Service::start(vec![busy(), cut, refused("503 Service Unavailable", "", ""), good()]);
    let (told, failed) = ask(&service).await;
    assert!(failed.is_none(), "{failed:?}");
    let again = told.iter().filter_map(|event| match event {
        Event::Again { attempt, why, .. } => Some((*attempt, why.as_str())),
        _ => None,
    });
    let again: Vec<_> = again.collect();
    assert_eq!(again.iter().map(|(attempt, _)| *attempt).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(again[0].1, "the model's service answers 429: slow down");
    assert_eq!(told[3..], answer());
    assert_eq!(service.requests().len(), 4);
}

#[tokio::test]
async fn after_four_attempts_it_is_enough() {
    let service = Service::start(vec![refused("529 Overloaded", "", "")]);
    let (told, failed) = ask(&service).await;
    assert_eq!((told.len(), service.requests().len()), (3, 4));
    assert!(matches!(failed, Some(LlmError::Refused { status: 529, .. })), "{failed:?}");
}

#[tokio::test]
async fn what_does_not_pass_is_tried_once_and_says_what_to_do() {
    let body = format!("{{\"error\":{{\"message\":\"bad key {KEY}\\u001b[2J, {}\"}}}}", &KEY[..20]);
    let service = Service::start(vec![refused("401 Unauthorized", "", &body)]);
    let (told, failed) = ask(&service).await;
    assert_eq!((told.len(), service.requests().len()), (0, 1));
    let error = failed.unwrap();
    assert_eq!(error.to_string(), "the model's service answers 401: bad key [the key] [2J, [the key]");
    assert!(error.hint("openai", Some("OPENAI_API_KEY")).contains("ftlctl auth OPENAI_API_KEY"));
}

#[tokio::test]
async fn whoever_asks_for_an_hour_is_not_waited_for() {
    let service = Service::start(vec![refused("429 Too Many Requests", "retry-after: 3600\r\n", "")]);
    let (told, failed) = ask(&service).await;
    assert_eq!((told.len(), service.requests().len()), (0, 1));
    assert_eq!(failed.unwrap().hint("openai", None), "try again in 3600 seconds");
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let elsewhere = Service::start(vec![good()]);
    let location = format!("location: http://{}/v1/chat/completions\r\n", elsewhere.address);
    for status in ["301 Moved Permanently", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let service = Service::start(vec![refused(status, &location, "")]);
        let (_, failed) = ask(&service).await;
        assert!(matches!(failed, Some(LlmError::Refused { .. })), "{failed:?}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn once_something_was_told_nothing_is_sent_again() {
    let service = Service::start(vec![vec![Act::Send(head("200 OK", "") + &text("It "))], good()]);
    let (told, failed) = ask(&service).await;
    assert_eq!(told, [Event::Text("It ".into())]);
    assert!(matches!(failed, Some(LlmError::Stream(StreamError::Cut))), "{failed:?}");
    assert_eq!(service.requests().len(), 1);
}

#[tokio::test]
async fn what_is_no_stream_of_events_is_not_read_as_one() {
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>";
    let service = Service::start(vec![vec![Act::Send(page.to_owned())]]);
    let (told, failed) = ask(&service).await;
    assert!(told.is_empty() && matches!(failed, Some(LlmError::NotAStream(_))), "{failed:?}");
    let service = Service::start(vec![vec![Act::Send("SSH-2.0-x\r\n".to_owned())]]);
    let (_, failed) = ask(&service).await;
    assert!(matches!(failed, Some(LlmError::Broken(_))), "{failed:?}");
}

#[tokio::test]
async fn nobody_is_waited_for_without_end() {
    let short = Duration::from_millis(50);
    let silent = Service::start(vec![vec![Act::Dawdle]]);
    let first = Patience { first: short, ..patience() };
    let (told, failed) = heard(client(silent.address, first).stream(question())).await;
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(matches!(failed, Some(LlmError::Slow("the answer"))), "{failed:?}");
    let stuck = Service::start(vec![vec![Act::Send(head("200 OK", "") + &text("It ")), Act::Dawdle]]);
    let idle = Patience { idle: short, ..patience() };
    let (told, failed) = heard(client(stuck.address, idle).stream(question())).await;
    assert_eq!(told, [Event::Text("It ".into())]);
    assert!(matches!(failed, Some(LlmError::Slow("the next piece of the answer"))), "{failed:?}");
    let whole = Patience { whole: short, ..patience() };
    let (_, failed) = heard(client(stuck.address, whole).stream(question())).await;
    assert!(matches!(failed, Some(LlmError::Slow("the answer as a whole"))), "{failed:?}");
}

#[tokio::test]
async fn whoever_goes_ends_the_call() {
    let service = Service::start(vec![vec![Act::Send(head("200 OK", "") + &text("It ")), Act::Dawdle]]);
    let mut events = client(service.address, patience()).stream(question());
    assert_eq!(events.next().await.unwrap().unwrap(), Event::Text("It ".into()));
    drop(events);
    // The connection's task ends when it is next looked at.
    let seen = tokio::task::spawn_blocking(move || service.seen.iter().take(2).collect::<Vec<_>>());
    assert_eq!(seen.await.unwrap()[1], "gone");
}

#[tokio::test]
async fn nobody_elsewhere_is_spoken_to_without_tls() {
    let mut endpoint = ModelName::parse("ollama/x").unwrap().endpoint(&BTreeMap::new()).unwrap();
    // A name of this machine that leads elsewhere.
    endpoint.base.authority = Authority::parse("192.0.2.1:1", None).unwrap();
    let settings = Settings { endpoint, key: None, signing: None, roots: Vec::new(), patience: patience() };
    let (_, failed) = heard(Client::new(settings).unwrap().stream(question())).await;
    assert!(matches!(failed, Some(LlmError::Dial(DialError::Elsewhere { .. }))), "{failed:?}");
}

#[tokio::test]
async fn a_service_without_its_certificate_gets_no_key() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard_by_it = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 4096];
        let length = stream.read(&mut bytes).unwrap();
        drop(listener);
        bytes[..length].to_vec()
    });
    let base_url = BaseUrl::parse(&format!("https://{address}/v1"));
    let said = ProviderSettings { base_url, ..ProviderSettings::default() };
    let endpoint = ModelName::parse("openai/x").unwrap().endpoint(&[("openai".to_owned(), said)].into());
    let (endpoint, key) = (endpoint.unwrap(), Some(Secret::from(KEY)));
    let settings = Settings { endpoint, key, signing: None, roots: Vec::new(), patience: patience() };
    let (_, failed) = heard(Client::new(settings).unwrap().stream(question())).await;
    assert!(failed.is_some());
    let bytes = heard_by_it.join().unwrap();
    assert!(bytes.starts_with(&[22, 3]), "not a handshake: {bytes:?}");
    assert!(!bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes()));
}

/// A stream as Bedrock writes one: text, two calls at once, what was used.
const BEDROCK: &[u8] = include_bytes!("tests/bedrock.bin");

fn bedrock(address: SocketAddr, key: &str, signing: Option<Signing>) -> Client {
    let base_url = BaseUrl::parse(&format!("http://{address}"));
    let said = ProviderSettings { base_url, ..ProviderSettings::default() };
    let name = ModelName::parse("bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0").unwrap();
    let endpoint = name.endpoint(&[("bedrock".to_owned(), said)].into()).unwrap();
    let key = Some(Secret::from(key));
    Client::new(Settings { endpoint, key, signing, roots: Vec::new(), patience: patience() }).unwrap()
}

fn framed_head() -> Act {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\nconnection: close\r\n\r\n";
    Act::Send(head.to_owned())
}

#[tokio::test]
async fn bedrock_gets_a_signed_request_and_its_stream_is_read() {
    use ftl_core::sigv4::{Inbound, Unsigned, payload_hash};

    let service = Service::start(vec![vec![framed_head(), Act::Bytes(BEDROCK)]]);
    let (key_id, token) = (Secret::from("AKIDEXAMPLE"), Some(Secret::from("the-token-of-a-session")));
    let signing = Signing { key_id, token, now: Arc::new(|| 1_767_225_600) };
    let client = bedrock(service.address, KEY, Some(signing));
    let (told, failed) = heard(client.stream(question())).await;
    assert!(failed.is_none(), "{failed:?}");
    let kinds: Vec<String> = told.iter().map(|event| format!("{event:?}")).collect();
    assert_eq!(kinds.len(), 6, "{kinds:#?}");
    assert!(kinds[2].contains("tooluse_1") && kinds[2].contains("path") && kinds[3].contains("tooluse_2"));
    assert_eq!(told[4], Event::Usage(Usage { input: 30, output: 15, cache_written: false }));
    assert_eq!(told[5], Event::End(End::Tools));

    let request = service.requests().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(!request.contains(KEY), "the key itself is not sent");
    let mut headers = http::HeaderMap::new();
    for line in head.lines().skip(1) {
        let (name, value) = line.split_once(": ").unwrap();
        headers.insert(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
    }
    let path = "/model/anthropic%2Eclaude%2Dsonnet%2D4%2D5%2D20250929%2Dv1%3A0/converse-stream";
    assert!(head.starts_with(&format!("POST {path} HTTP/1.1")), "{head}");
    let host = service.address.to_string();
    let unsigned = Unsigned { method: "POST", host: &host, path, query: None };
    let given = Inbound::parse(headers["authorization"].to_str().unwrap()).unwrap();
    assert_eq!((given.service.as_str(), given.region.as_str()), ("bedrock", "us-east-1"));
    assert!(given.signed_headers.iter().any(|name| name == "x-amz-security-token"), "{given:?}");
    let hash = payload_hash(body.as_bytes());
    given.verify(&unsigned, &headers, &hash, KEY, 1_767_225_600).unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["messages"][0]["content"][0]["text"], "why?");
    assert_eq!(body["inferenceConfig"]["maxTokens"], 9);
}

#[tokio::test]
async fn bedrock_takes_a_key_of_its_own_and_a_stream_that_breaks_off_is_no_answer() {
    for cut in [BEDROCK.len() - 1, 40, 0] {
        let whole = vec![framed_head(), Act::Bytes(&BEDROCK[..cut])];
        let service = Service::start(vec![whole]);
        let (_, failed) = heard(bedrock(service.address, KEY, None).stream(question())).await;
        assert!(matches!(failed, Some(LlmError::Stream(StreamError::Cut))), "{cut}: {failed:?}");
        assert!(service.requests()[0].contains(&format!("authorization: Bearer {KEY}")));
    }
    let mut damaged = BEDROCK.to_vec();
    damaged[30] ^= 1;
    let service = Service::start(vec![vec![framed_head(), Act::Bytes(damaged.leak())]]);
    let (_, failed) = heard(bedrock(service.address, KEY, None).stream(question())).await;
    assert!(matches!(failed, Some(LlmError::Stream(StreamError::Malformed(_)))), "{failed:?}");
}
