//! From an arrived connection to requests.
//!
//! Owns what a connection is before its first request: its first bytes, the host it is for, the handshake
//! with the session's own certificates, and which HTTP is spoken on it. What cannot be classified is
//! closed. Must not know what becomes of a request, and opens no connection itself: a refused host is
//! talked to as well, so that its client can read why.

mod sniffed;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ftl_core::egress::host::{Authority, DnsName, Host};
use ftl_core::egress::policy::Reason;
use ftl_core::egress::rule::Scheme;
use ftl_core::egress::sniff::{self, Class};
use ftl_core::egress::synthetic;
use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use self::sniffed::Sniffed;
use super::alpn::{self, Alpn};
use super::body::{self, Reply};
use super::exchange;
use super::gate::{Gate, STAND_IN, Switch};
use super::gateway::Shared;
use super::guard::What;
use super::refusal::{self, Refusal};
use super::target::{self, Entry, Tie};
use crate::pipe::{Arrived, Stream};

/// What a connection is for, before its first byte.
pub(super) enum Bound {
    /// The proxy: it says itself where it goes.
    Proxy,
    /// One host.
    To(Authority),
}

/// A connection's place among those that a session may have; its tunnel has it after it.
pub(super) type Slot = Arc<OwnedSemaphorePermit>;

/// Serves a connection until it ends.
type Served = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Headers of a request at most.
const MOST_HEADERS: usize = 128;
/// Streams that a client may open and reset before they are served.
const MOST_RESETS: usize = 32;

/// Serves a connection that a program of the sandbox opened.
pub(super) async fn serve(shared: Arc<Shared>, arrived: Arrived, redirected: bool, slot: Slot) {
    let bound = if redirected {
        match arrived.origin.and_then(|origin| shared.meant(*origin.ip(), origin.port())) {
            Some(authority) => Bound::To(authority),
            None => return closed(&shared, None, Reason::Unclassified, "nobody knows where it was to go"),
        }
    } else {
        Bound::Proxy
    };
    connection(shared, arrived.stream, bound, slot).await;
}

/// Serves a connection, also one within another: after `CONNECT` it begins anew.
fn connection(shared: Arc<Shared>, stream: Box<dyn Stream>, bound: Bound, slot: Slot) -> Served {
    Box::pin(async move {
        let authority = match &bound {
            Bound::Proxy => None,
            Bound::To(authority) => Some(authority.clone()),
        };
        match sniff(stream, shared.limits.opening).await {
            Ok((stream, Class::Tls)) => tls(shared, stream, authority, slot).await,
            Ok((stream, Class::Http1)) => {
                let plain = |authority| Entry::Tied(Tie { authority, scheme: Scheme::Http, spoilt: None });
                http1(shared, stream, authority.map_or(Entry::Proxy, plain), slot).await;
            }
            Ok((_, Class::Refused(why))) => closed(&shared, authority, Reason::Unclassified, why),
            Ok((_, Class::Undecided)) => {}
            Err(_) => closed(&shared, authority, Reason::Timeout, "the first bytes did not come"),
        }
    })
}

/// Tells the session of a connection that was closed before any request.
fn closed(shared: &Shared, authority: Option<Authority>, reason: Reason, why: &str) {
    shared.guard.refused(&Refusal::because(reason, why).of(What::Connection, authority));
}

/// Reads until it is certain what a connection is; [`Class::Undecided`] when it ends before.
async fn sniff(
    mut stream: Box<dyn Stream>,
    patience: Duration,
) -> Result<(Sniffed, Class), tokio::time::error::Elapsed> {
    let mut first = Vec::with_capacity(sniff::LONGEST_UNDECIDED);
    let class = timeout(patience, async {
        loop {
            match sniff::classify(&first) {
                Class::Undecided => {}
                class => return class,
            }
            if !matches!(stream.read_buf(&mut first).await, Ok(1..)) {
                return Class::Undecided;
            }
        }
    });
    let class = class.await?;
    Ok((Sniffed::new(first, stream), class))
}

/// Speaks TLS with the sandbox, as the host that it wants.
async fn tls(shared: Arc<Shared>, stream: Sniffed, authority: Option<Authority>, slot: Slot) {
    let patience = shared.limits.opening;
    let acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
    let Ok(Ok(start)) = timeout(patience, acceptor).await else {
        return closed(&shared, authority, Reason::Unclassified, "the handshake does not begin as one");
    };
    let hello = start.client_hello();
    let sni = hello.server_name().and_then(|name| DnsName::parse(name).ok()).map(Host::Dns);
    let named = || sni.clone().map(|host| Authority { host, port: Scheme::Https.port() });
    let Some(authority) = authority.or_else(named) else {
        return closed(&shared, None, Reason::HostMismatch, "the handshake names no host");
    };
    let tie = Tie::over_tls(authority.clone(), sni.as_ref());
    // Whoever asked for another host than the connection's gets that one's certificate and a refusal.
    let host = sni.as_ref().unwrap_or(&authority.host);
    let config = match shared.ca.server_config(host, Alpn::Any, (shared.now_us)() / 1_000_000) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(%error, %host, "there is no certificate");
            return closed(&shared, Some(authority), Reason::Unsupported, "there is no certificate for it");
        }
    };
    match timeout(patience, start.into_stream(config)).await {
        Err(_) => closed(&shared, Some(authority), Reason::Timeout, "the handshake did not end"),
        Ok(Err(error)) => {
            tracing::debug!(%error, %authority, "the handshake failed");
            let why = "the program broke off the handshake: it may not trust the session's certificates";
            closed(&shared, Some(authority), Reason::Unsupported, why);
        }
        Ok(Ok(stream)) if is_http2(&stream) => http2(shared, stream, Entry::Tied(tie)).await,
        Ok(Ok(stream)) => http1(shared, stream, Entry::Tied(tie), slot).await,
    }
}

fn is_http2(stream: &TlsStream<Sniffed>) -> bool {
    alpn::is_http2(stream.get_ref().1.alpn_protocol())
}

/// An HTTP/1 connection, for each of its requests.
#[derive(Clone)]
struct Line {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    switch: Arc<Switch>,
    slot: Slot,
}

/// Answers the requests of an HTTP/1 connection.
async fn http1(shared: Arc<Shared>, stream: impl Stream + 'static, entry: Entry, slot: Slot) {
    let switch = Arc::new(Switch::default());
    let gate = Gate::new(stream, Arc::clone(&switch), shared.limits.head, shared.limits.opening);
    let head = shared.limits.head;
    let line = Line { shared, entry: Arc::new(entry), switch, slot };
    let service = service_fn(move |request| {
        let line = line.clone();
        async move {
            let response = answer_http1(&line, request).await;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                line.switch.upgrade();
            }
            Ok::<_, Infallible>(response)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        // The gate has the time of a head; this one would run on idle connections, too.
        .header_read_timeout(None)
        .max_headers(MOST_HEADERS)
        .max_buf_size(head.max(8 << 10))
        .serve_connection(TokioIo::new(gate), service)
        .with_upgrades();
    if let Err(error) = served.await {
        tracing::trace!(%error, "a connection of the sandbox broke off");
    }
}

async fn answer_http1(line: &Line, request: Request<Incoming>) -> Response<Reply> {
    let Line { shared, entry, switch, slot } = line;
    if request.method().as_str() == STAND_IN
        && let Some(fault) = switch.fault()
    {
        let asked = target::asked(entry, &Request::new(()).into_parts().0);
        let refusal = Refusal::because(Reason::BadRequest, fault);
        return last(exchange::refuse(shared, &refusal, &asked));
    }
    if request.method() != Method::CONNECT {
        let response = exchange::answer(shared, entry, request).await;
        // What could be read in two ways may have another end than it seems.
        return if refusal::is_malformed(&response) { last(response) } else { response };
    }
    match **entry {
        Entry::Proxy => tunnel(shared, request, Arc::clone(slot)),
        // What follows on the connection is no request any more, so it must end.
        Entry::Tied(_) => last(exchange::answer(shared, entry, request).await),
    }
}

/// Says that the connection ends with this answer.
fn last(mut response: Response<Reply>) -> Response<Reply> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Answers `CONNECT`. Nothing is decided here: what comes through the tunnel is, request by request.
fn tunnel(shared: &Arc<Shared>, mut request: Request<Incoming>, slot: Slot) -> Response<Reply> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, _) = request.into_parts();
    let authority = match target::of_connect(&parts) {
        Ok(authority) => authority,
        Err(refusal) => {
            let asked = target::asked(&Entry::Proxy, &parts);
            return last(exchange::refuse(shared, &refusal, &asked));
        }
    };
    let inner = Arc::clone(shared);
    shared.spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            connection(inner, Box::new(TokioIo::new(upgraded)), Bound::To(authority), slot).await;
        }
    });
    Response::new(body::empty())
}

/// Answers the requests of an HTTP/2 connection.
async fn http2(shared: Arc<Shared>, stream: TlsStream<Sniffed>, entry: Entry) {
    let entry = Arc::new(entry);
    let limits = &shared.limits;
    let mut builder = http2::Builder::new(Tasks(Arc::clone(&shared)));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MOST_RESETS);
    let service = service_fn(move |request| {
        let (shared, entry) = (Arc::clone(&shared), Arc::clone(&entry));
        async move { Ok::<_, Infallible>(exchange::answer(&shared, &entry, request).await) }
    });
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::trace!(%error, "a connection of the sandbox broke off");
    }
}

/// Runs the streams of HTTP/2 connections for as long as the session lasts.
#[derive(Clone)]
struct Tasks(Arc<Shared>);

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(async move {
            task.await;
        });
    }
}

impl Shared {
    /// The host and port that a redirected connection was for: the name behind a synthetic address, or the
    /// address itself. The address is never dialled as such unless a rule names it.
    fn meant(&self, address: std::net::Ipv4Addr, port: u16) -> Option<Authority> {
        let host = if synthetic::is_synthetic(address) {
            Host::Dns(
                self.names
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .name_of(address)?
                    .clone(),
            )
        } else {
            Host::of(address.into())
        };
        (port != 0).then_some(Authority { host, port })
    }
}
