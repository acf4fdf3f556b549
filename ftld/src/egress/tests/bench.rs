//! A session without a sandbox, and the programs in it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddrV4;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ftl_core::credential::secret_value::Secret;
use ftl_core::credential::slots::Held;
use ftl_core::credential::{Binding, CredentialName, Grant, Slot};
use ftl_core::egress::host::HostPattern;
use ftl_core::egress::policy::{Policy, Source};
use ftl_core::egress::preset::Preset;
use ftl_core::oauth::NewToken;
use ftl_core::scrub::Scrubber;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming as Body;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::egress::dial::DialConfig;
use crate::egress::guard::{Answer, AuditFailed, Guard, Intent, Outcome, Question, Refused, Unavailable};
use crate::egress::resolve::Resolver;
use crate::egress::testing::{Script, Site, World, authority};
use crate::egress::{Egress, EgressConfig, Gateway, Limits};
use crate::pipe::{Arrived, Incoming, Names, Pipe, Question as NameQuestion};

/// A session that is told everything and does what the test says.
pub(super) struct Told {
    rules: Mutex<(Arc<Policy>, u64)>,
    held: Mutex<Arc<Held>>,
    pub(super) reals: Mutex<HashMap<String, String>>,
    pub(super) answer: Mutex<Answer>,
    pub(super) deaf: AtomicBool,
    pub(super) intents: Mutex<Vec<Intent>>,
    /// Numbers of what left.
    pub(super) left: Mutex<Vec<u64>>,
    pub(super) outcomes: Mutex<Vec<(u64, Outcome)>>,
    pub(super) refused: Mutex<Vec<Refused>>,
    pub(super) questions: Mutex<Vec<Question>>,
    pub(super) learned: Mutex<Vec<(String, String, String)>>,
    /// Whether the human takes their time.
    pub(super) thinks: watch::Sender<bool>,
    /// A rule that an answer adds.
    pub(super) adds: Mutex<Vec<String>>,
}

/// A session on its pipe.
pub(super) struct Bench {
    pub(super) gateway: Arc<Gateway>,
    pub(super) told: Arc<Told>,
    pub(super) cancel: CancellationToken,
    pub(super) serving: JoinHandle<()>,
    proxy: mpsc::UnboundedSender<Arrived>,
    transparent: mpsc::UnboundedSender<Arrived>,
    names: mpsc::UnboundedSender<NameQuestion>,
}

/// What a session has and may do.
#[derive(Default)]
pub(super) struct Setup<'a> {
    pub(super) rules: &'a [&'a str],
    pub(super) grants: Vec<(Grant, &'a str)>,
    pub(super) sites: &'a [(&'a str, &'a Site)],
    pub(super) resolver: Option<Arc<Script>>,
    pub(super) limits: Option<Limits>,
}

pub(super) fn policy(rules: &[&str]) -> Policy {
    let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    Policy::new(Preset::Locked, vec![(Source::Session, rules)])
}

/// A credential for one host in one slot.
pub(super) fn grant(name: &str, shadow: &str, host: &str, slot: Slot) -> Grant {
    let binding = Binding {
        hosts: vec![HostPattern::parse(host).unwrap()],
        port: 443,
        methods: Vec::new(),
        paths: Vec::new(),
        slots: vec![slot],
        optional: true,
    };
    Grant { name: CredentialName::parse(name).unwrap(), shadow: shadow.into(), bindings: vec![binding] }
}

pub(super) fn bearer() -> Slot {
    Slot::Header { name: "authorization".into(), format: "Bearer {}".into() }
}

/// A stream that gives one byte at once.
struct Slow(DuplexStream);

impl tokio::io::AsyncRead for Slow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut byte = [0];
        let mut one = tokio::io::ReadBuf::new(&mut byte);
        std::task::ready!(Pin::new(&mut self.0).poll_read(cx, &mut one))?;
        buf.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Slow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

struct Door(mpsc::UnboundedReceiver<Arrived>);
struct Asked(mpsc::UnboundedReceiver<NameQuestion>);

#[async_trait]
impl Incoming for Door {
    async fn accept(&mut self) -> io::Result<Arrived> {
        self.0.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

#[async_trait]
impl Names for Asked {
    async fn next(&mut self) -> io::Result<NameQuestion> {
        self.0.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Told {
    /// Other rules from now on.
    pub(super) fn set_rules(&self, rules: &[&str]) {
        let mut current = self.rules.lock().unwrap();
        current.1 += 1;
        current.0 = Arc::new(policy(rules).with_generation(current.1));
    }

    /// Other credentials from now on.
    pub(super) fn set_grants(&self, grants: Vec<Grant>) {
        *self.held.lock().unwrap() = Arc::new(Held::new(grants));
    }

    /// Codes of what was refused.
    pub(super) fn reasons(&self) -> Vec<&'static str> {
        self.refused.lock().unwrap().iter().map(|refused| refused.reason.code()).collect()
    }
}

#[async_trait]
impl Guard for Told {
    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.rules.lock().unwrap().0)
    }

    fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held.lock().unwrap())
    }

    async fn real(&self, name: &CredentialName) -> Result<Secret, Unavailable> {
        let reals = self.reals.lock().unwrap();
        reals.get(name.as_str()).map(|real| Secret::from(real.as_str())).ok_or(Unavailable("gone".into()))
    }

    fn scrubber(&self) -> Scrubber {
        let (reals, held) = (self.reals.lock().unwrap(), self.held());
        let shadow = |name: &str| {
            let found = held.grants().iter().find(|grant| grant.name.as_str() == name);
            found.map_or("revoked".into(), |grant| grant.shadow.clone())
        };
        let pairs: Vec<(String, String)> =
            reals.iter().map(|(name, real)| (real.clone(), shadow(name))).collect();
        Scrubber::new(&pairs)
    }

    async fn record(&self, intent: &Intent) -> Result<u64, AuditFailed> {
        if self.deaf.load(Ordering::SeqCst) {
            return Err(AuditFailed("disk full".into()));
        }
        let mut intents = self.intents.lock().unwrap();
        intents.push(intent.clone());
        Ok(intents.len() as u64)
    }

    fn leaving(&self, id: u64) {
        self.left.lock().unwrap().push(id);
    }

    fn settle(&self, id: u64, outcome: &Outcome) {
        self.outcomes.lock().unwrap().push((id, *outcome));
    }

    fn refused(&self, refused: &Refused) {
        self.refused.lock().unwrap().push(refused.clone());
    }

    fn answers(&self) -> bool {
        *self.answer.lock().unwrap() != Answer::Nobody
    }

    async fn ask(&self, question: &Question) -> Answer {
        self.questions.lock().unwrap().push(question.clone());
        self.thinks.subscribe().wait_for(|thinks| !*thinks).await.map(drop).unwrap();
        let adds = self.adds.lock().unwrap().clone();
        if !adds.is_empty() {
            self.set_rules(&adds.iter().map(String::as_str).collect::<Vec<_>>());
        }
        *self.answer.lock().unwrap()
    }

    async fn learn(&self, from: &[CredentialName], tokens: Vec<NewToken>) -> Result<(), Unavailable> {
        assert!(!from.is_empty());
        let told = tokens.into_iter().map(|token| (token.field, token.real, token.shadow));
        self.learned.lock().unwrap().extend(told);
        Ok(())
    }
}

/// The time as tests have it: real enough for certificates.
fn now_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}

impl Bench {
    pub(super) fn new(world: &World, setup: Setup<'_>) -> Self {
        let Setup { rules, grants, sites, resolver, limits } = setup;
        let reals = grants.iter().map(|(grant, real)| (grant.name.to_string(), (*real).to_owned())).collect();
        let held = Held::new(grants.into_iter().map(|(grant, _)| grant).collect());
        let told = Arc::new(Told {
            rules: Mutex::new((Arc::new(policy(rules)), 0)),
            held: Mutex::new(Arc::new(held)),
            reals: Mutex::new(reals),
            answer: Mutex::new(Answer::Nobody),
            deaf: AtomicBool::new(false),
            intents: Mutex::default(),
            left: Mutex::default(),
            outcomes: Mutex::default(),
            refused: Mutex::default(),
            questions: Mutex::default(),
            learned: Mutex::default(),
            thinks: watch::Sender::new(false),
            adds: Mutex::default(),
        });
        let connect_to = sites.iter().map(|(name, site)| (authority(name), site.address)).collect();
        let resolver = resolver.unwrap_or_else(|| Script::new(&[], &[]));
        let egress = Egress::new(EgressConfig {
            dial: DialConfig { roots: vec![world.root.clone()], connect_to },
            resolver: Some(resolver as Arc<dyn Resolver>),
            limits: limits.unwrap_or_default(),
            now_us: Arc::new(now_us),
        });
        let gateway = Arc::new(egress.gateway("s-test", Arc::clone(&told) as Arc<dyn Guard>).unwrap());
        let (proxy, proxy_door) = mpsc::unbounded_channel();
        let (transparent, transparent_door) = mpsc::unbounded_channel();
        let (names, asked) = mpsc::unbounded_channel();
        let pipe = Pipe {
            proxy: Box::new(Door(proxy_door)),
            transparent: Some(Box::new(Door(transparent_door))),
            names: Box::new(Asked(asked)),
        };
        let cancel = CancellationToken::new();
        let (serving, until) = (Arc::clone(&gateway), cancel.clone());
        let serving = tokio::spawn(async move { serving.serve(pipe, until).await });
        Self { gateway, told, cancel, serving, proxy, transparent, names }
    }

    /// A connection to the proxy.
    pub(super) fn open(&self) -> DuplexStream {
        let (ours, theirs) = duplex(64 << 10);
        self.proxy.send(Arrived { stream: Box::new(theirs), origin: None }).unwrap();
        ours
    }

    /// The same, and what is sent arrives byte by byte.
    pub(super) fn open_slow(&self) -> DuplexStream {
        let (ours, theirs) = duplex(64 << 10);
        self.proxy.send(Arrived { stream: Box::new(Slow(theirs)), origin: None }).unwrap();
        ours
    }

    /// A connection to this address, redirected.
    pub(super) fn open_to(&self, origin: &str) -> DuplexStream {
        let (ours, theirs) = duplex(64 << 10);
        let origin: SocketAddrV4 = origin.parse().unwrap();
        self.transparent.send(Arrived { stream: Box::new(theirs), origin: Some(origin) }).unwrap();
        ours
    }

    /// A plain connection to the address that an answer ends with.
    pub(super) fn open_to_address(&self, answer: &[u8]) -> DuplexStream {
        let [.., a, b, c, d] = *answer else { panic!() };
        self.open_to(&format!("{a}.{b}.{c}.{d}:80"))
    }

    /// A plain connection to this host, redirected after its name was asked for.
    pub(super) async fn open_to_host(&self, name: &str) -> DuplexStream {
        let answer = self.look_up(name).await.unwrap();
        self.open_to_address(&answer)
    }

    /// Asks for a name's address; the answer's bytes.
    pub(super) async fn look_up(&self, name: &str) -> Option<Vec<u8>> {
        let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend(label.as_bytes());
        }
        message.extend([0, 0, 1, 0, 1]);
        let (send, receive) = tokio::sync::oneshot::channel();
        let answer = Box::new(move |answer| drop(send.send(answer)));
        self.names.send(NameQuestion { message, answer }).unwrap();
        receive.await.ok()
    }

    /// A tunnel to this host and port.
    pub(super) async fn tunnel(&self, to: &str) -> DuplexStream {
        let mut stream = self.open();
        let head = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        stream
    }

    /// TLS as a program of the sandbox speaks it.
    pub(super) async fn secure<S>(&self, stream: S, sni: &str, alpn: &[&str]) -> io::Result<TlsStream<S>>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let mut roots = RootCertStore::empty();
        let pem = self.gateway.trust().ca.as_bytes();
        roots.add(CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(sni.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// HTTP/1.1 over TLS in a tunnel to this host, on 443.
    pub(super) async fn https(&self, host: &str) -> http1::SendRequest<Out> {
        let stream = self.tunnel(&format!("{host}:443")).await;
        http1_over(self.secure(stream, host, &["http/1.1"]).await.unwrap()).await
    }

    /// HTTP/2 over TLS in a tunnel to this host, on 443.
    pub(super) async fn http2(&self, host: &str) -> http2::SendRequest<Out> {
        let stream = self.tunnel(&format!("{host}:443")).await;
        let stream = self.secure(stream, host, &["h2"]).await.unwrap();
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// One request over a connection of its own.
    pub(super) async fn ask(&self, request: Request<Out>) -> (StatusCode, HeaderMap, String) {
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        let mut sender = self.https(&host).await;
        read(sender.send_request(request).await.unwrap()).await
    }

    /// Sends bytes over a connection to the proxy and reads until it is closed.
    pub(super) async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.open();
        stream.write_all(bytes).await.unwrap();
        drain(&mut stream).await
    }
}

/// The body of a program's request.
pub(super) type Out = UnsyncBoxBody<Bytes, io::Error>;

pub(super) fn body(bytes: impl Into<Bytes>) -> Out {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// `GET` with these headers.
pub(super) fn get(host: &str, path: &str, headers: &[(&str, &str)]) -> Request<Out> {
    let mut request = Request::get(path).header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body("")).unwrap()
}

/// HTTP/1.1 over a stream.
pub(super) async fn http1_over<S>(stream: S) -> http1::SendRequest<Out>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

/// Reads a response to its end.
pub(super) async fn read(response: Response<Body>) -> (StatusCode, HeaderMap, String) {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8_lossy(&body).into_owned())
}

/// Reads to the end of a head.
pub(super) async fn read_head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads until the other side closes.
pub(super) async fn drain(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut all)).await;
    let _broken = read.expect("the connection stays open");
    String::from_utf8_lossy(&all).into_owned()
}

/// The reason in a refusal's header.
pub(super) fn reason(headers: &HeaderMap) -> &str {
    headers.get("x-ftl-refused").map_or("", |reason| reason.to_str().unwrap())
}
