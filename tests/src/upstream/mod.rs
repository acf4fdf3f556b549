//! A server for whole host names, which records what arrives.
//!
//! Owns the listeners, TLS with its own root, HTTP/1 and HTTP/2, and the record of every request as it came
//! off the wire; [`service`] and its neighbours answer. Must not know FTL: the same server is what the
//! benchmark reaches directly.

pub mod authority;
mod git;
mod grpc;
mod packages;
mod reflect;
mod service;
mod websocket;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub use authority::Authority;
pub use packages::{Packages, VERSION};
pub use reflect::{ENCODINGS, RARE, encoded};
pub use service::Service;

/// Body of an answer.
pub type Answer = UnsyncBoxBody<Bytes, std::io::Error>;

/// Bytes of one request's body that are kept.
const KEPT: usize = 1 << 20;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Number of the connection it came on.
    pub connection: usize,
    /// Name that the client's TLS asked for; `None` without TLS or without a name.
    pub sni: Option<String>,
    /// Version of HTTP.
    pub version: http::Version,
    /// Method.
    pub method: String,
    /// Target as it was sent; of HTTP/2 the path and query.
    pub target: String,
    /// `Host`, or the authority of HTTP/2.
    pub host: String,
    /// Header lines in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The first MiB of the body.
    pub body: Vec<u8>,
    /// Length of the whole body.
    pub body_bytes: u64,
}

/// What services share.
pub struct Shared {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    services: HashMap<String, Service>,
    /// Numbers that clients acknowledged, by the key of their stream.
    acknowledged: Mutex<HashMap<String, watch::Sender<u64>>>,
}

/// The server; it ends when dropped.
pub struct Upstream {
    shared: Arc<Shared>,
    authority: Arc<Authority>,
    tls: SocketAddr,
    plain: SocketAddr,
    dir: tempfile::TempDir,
    runtime: Option<tokio::runtime::Runtime>,
}

// === impl Seen ===

impl Seen {
    /// Values of a header, in their order.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The one value of a header; `None` when there is none or more than one.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        match self.all(name)[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// Path without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

// === impl Upstream ===

impl Upstream {
    /// Serves these hosts, on one port with TLS and on another without.
    ///
    /// # Panics
    /// When there is no port or no runtime.
    #[must_use]
    pub fn start(services: Vec<(&str, Service)>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let authority = Arc::new(Authority::new());
        let dir =
            tempfile::Builder::new().prefix("ftl-upstream-").tempdir_in("/var/tmp").expect("a directory");
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), everybody).expect("its mode");
        std::fs::write(dir.path().join("root.pem"), authority.pem()).expect("the root");
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            services: services.into_iter().map(|(host, service)| (host.to_owned(), service)).collect(),
            acknowledged: Mutex::default(),
        });
        let listen = || runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        let (with, without) = (listen(), listen());
        let address = |listener: &TcpListener| listener.local_addr().expect("an address");
        let (tls, plain) = (address(&with), address(&without));
        let config = Some(tls_config(&authority));
        runtime.spawn(accept(with, config, Arc::clone(&shared)));
        runtime.spawn(accept(without, None, Arc::clone(&shared)));
        Self { shared, authority, tls, plain, dir, runtime: Some(runtime) }
    }

    /// File with the root that has signed the server's certificates.
    #[must_use]
    pub fn root_file(&self) -> PathBuf {
        self.dir.path().join("root.pem")
    }

    /// A directory of the server's own.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The root itself.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Where it speaks TLS.
    #[must_use]
    pub fn tls(&self) -> SocketAddr {
        self.tls
    }

    /// Where it does not.
    #[must_use]
    pub fn plain(&self) -> SocketAddr {
        self.plain
    }

    /// Every host with the ports 443 and 80 and where it really is: `host:443=127.0.0.1:port,...`.
    #[must_use]
    pub fn routes(&self) -> String {
        let hosts = self.shared.services.keys();
        let pairs = hosts.map(|host| format!("{host}:443={},{host}:80={}", self.tls, self.plain));
        pairs.collect::<Vec<_>>().join(",")
    }

    /// Every request so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen().clone()
    }

    /// Requests to one path so far.
    #[must_use]
    pub fn at(&self, path: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.path() == path).collect()
    }

    /// Connections that were accepted so far, on both ports.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Forgets what was seen and counted.
    pub fn forget(&self) {
        self.shared.seen().clear();
        self.shared.connections.store(0, Ordering::SeqCst);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Clients may hold connections open for ever.
            runtime.shutdown_background();
        }
    }
}

fn tls_config(authority: &Arc<Authority>) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let versions = builder.with_safe_default_protocol_versions().expect("the provider has them");
    let mut config = versions.with_no_client_auth().with_cert_resolver(Arc::<Authority>::clone(authority));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

async fn accept(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        let _delayed = stream.set_nodelay(true);
        tokio::spawn(connection(stream, tls.clone(), number, Arc::clone(&shared)));
    }
}

/// Serves one connection to its end, however it ends.
async fn connection(
    stream: TcpStream,
    tls: Option<Arc<rustls::ServerConfig>>,
    number: usize,
    shared: Arc<Shared>,
) {
    let Some(tls) = tls else {
        return serve(stream, false, number, None, shared).await;
    };
    let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await else { return };
    let session = stream.get_ref().1;
    let sni = session.server_name().map(str::to_owned);
    let two = session.alpn_protocol() == Some(b"h2");
    serve(stream, two, number, sni, shared).await;
}

async fn serve<S>(stream: S, two: bool, connection: usize, sni: Option<String>, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (shared, sni) = (Arc::clone(&shared), sni.clone());
        async move { Ok::<_, Infallible>(answer(request, connection, sni, shared).await) }
    });
    let io = TokioIo::new(stream);
    // A client that breaks off is no fault of the server's.
    let _broken = if two {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(1 << 20).initial_connection_window_size(4 << 20);
        builder.serve_connection(io, answer).await.is_err()
    } else {
        let builder = hyper::server::conn::http1::Builder::new();
        builder.serve_connection(io, answer).with_upgrades().await.is_err()
    };
}

async fn answer(
    request: Request<Incoming>,
    connection: usize,
    sni: Option<String>,
    shared: Arc<Shared>,
) -> Response<Answer> {
    let uri = request.uri();
    let named = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
    let host = named.or_else(|| uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default();
    let target = if request.version() == http::Version::HTTP_2 {
        uri.path_and_query().map(ToString::to_string).unwrap_or_default()
    } else {
        uri.to_string()
    };
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let seen = Seen {
        connection,
        version: request.version(),
        method: request.method().to_string(),
        target,
        host: host.to_owned(),
        headers: request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: Vec::new(),
        body_bytes: 0,
        sni: sni.clone(),
    };
    let name = sni.unwrap_or_else(|| host.split(':').next().unwrap_or_default().to_ascii_lowercase());
    let index = shared.record(seen);
    let request = request.map(|body| Tapped { body, index, shared: Arc::clone(&shared) });
    match shared.services.get(&name) {
        Some(service) => service.answer(request, &shared).await,
        None => service::text(404, format!("no such host: {name}")),
    }
}

// === impl Shared ===

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn record(&self, seen: Seen) -> usize {
        let mut all = self.seen();
        all.push(seen);
        all.len() - 1
    }

    /// Follows the numbers that are acknowledged for a key.
    fn acknowledged(&self, key: &str) -> watch::Receiver<u64> {
        self.acknowledgements(key, |sender| sender.subscribe())
    }

    /// Acknowledges a number for a key.
    fn acknowledge(&self, key: &str, number: u64) {
        self.acknowledgements(key, |sender| sender.send_replace(number));
    }

    fn acknowledgements<T>(&self, key: &str, with: impl FnOnce(&watch::Sender<u64>) -> T) -> T {
        let mut all = self.acknowledged.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        with(all.entry(key.to_owned()).or_insert_with(|| watch::channel(0).0))
    }
}

/// A request's body, recorded as it is read.
pub(crate) struct Tapped {
    body: Incoming,
    index: usize,
    shared: Arc<Shared>,
}

impl Body for Tapped {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
            && let Some(seen) = self.shared.seen().get_mut(self.index)
        {
            seen.body_bytes += data.len() as u64;
            let room = KEPT - seen.body.len().min(KEPT);
            seen.body.extend_from_slice(&data[..data.len().min(room)]);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// A whole body.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Answer {
    http_body_util::Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}
