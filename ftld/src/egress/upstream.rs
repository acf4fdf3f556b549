//! HTTP to the real hosts.
//!
//! Owns one session's connections and which request may travel on which of them. Must not know policy or
//! credentials: a request comes with a route, and is final. It follows no redirect and asks no proxy.
//!
//! ```text
//! exchange ─> kept connection of this route, or dial ─> send ─> head of the response
//!                   ^                                              │ its body is drained
//!                   └──────────── kept again, HTTP/1 ──────────────┘
//! ```

mod line;
mod pool;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use ftl_core::egress::address::AddressRefusal;
use ftl_core::egress::host::Authority;
use ftl_core::egress::policy::Reason;
use http::header::{CONNECTION, EXPECT, HOST, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::TrySendError;

use super::dial::{DialError, Dialer, Route};
use pool::{Handle, Pool};

/// A request's body. An error in it breaks the request off.
pub type Outgoing = UnsyncBoxBody<Bytes, BodyError>;

/// Why a request's body ended early; only that it did is passed on.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The connections of one session. Dropping it closes them all.
pub struct Upstream {
    pool: Pool,
}

/// Why there is no response. The details are for the daemon's log alone.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// There is no connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The response's head takes too long.
    #[error("the response takes too long")]
    Timeout,
    /// The connection was closed from here, because the policy changed or the session ended.
    #[error("the connection was closed")]
    Closed,
    /// The host speaks no HTTP, or breaks off.
    #[error("the exchange fails: {0}")]
    Broken(#[source] hyper::Error),
    /// Something that is not forwarded.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// What came of one attempt.
enum Sent {
    Answered(Response<Incoming>),
    /// The kept connection was gone before the host read anything, so this may be sent again.
    Again(Request<Outgoing>),
}

impl Upstream {
    /// No connections yet.
    #[must_use]
    pub fn new(dialer: Arc<Dialer>) -> Self {
        Self { pool: Pool::new(dialer) }
    }

    /// Sends a request and waits for the head of its response: for `patience` after the last piece of its
    /// body that the connection took, at most twice that.
    ///
    /// Of the request's target only path and query count; host, port and scheme are the route's, whatever
    /// the request says. Headers that name a connection are the caller's to remove, except for what must
    /// not be sent at all over the protocol that the host chose. A request with `Upgrade` goes over
    /// HTTP/1.1 and, answered with 101, is upgraded through `hyper::upgrade::on` as usual. `Expect` is not
    /// sent: the body follows at once, and it is the other side of the proxy that lets the client wait.
    ///
    /// `leaving` is called when there is a connection and the request is about to be written to it; never
    /// when there is none.
    ///
    /// A request that met a kept connection which the host had closed is sent once more on a new one, if
    /// nothing of it was sent, or it has no body and a method that changes nothing.
    ///
    /// # Errors
    /// When there is no response.
    pub async fn exchange(
        &self,
        route: &Route,
        request: Request<Outgoing>,
        patience: Duration,
        leaving: &(dyn Fn() + Sync),
    ) -> Result<Response<Incoming>, UpstreamError> {
        if request.method() == Method::CONNECT {
            return Err(UpstreamError::Unsupported("a tunnel is never asked for"));
        }
        let upgrade = request.headers().contains_key(UPGRADE);
        let only_http1 = upgrade.then(|| route.clone().without_http2());
        let route = only_http1.as_ref().unwrap_or(route);
        let (handle, kept) = self.pool.get(route).await?;
        leaving();
        let response = match attempt(handle, request, patience, kept).await? {
            Sent::Answered(response) => response,
            Sent::Again(request) => {
                let handle = self.pool.open(route).await?;
                match attempt(handle, request, patience, false).await? {
                    Sent::Answered(response) => response,
                    Sent::Again(_) => return Err(UpstreamError::Unsupported("a request is not sent twice")),
                }
            }
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS && !upgrade {
            return Err(UpstreamError::Unsupported("the host switches protocols without being asked"));
        }
        Ok(response)
    }

    /// Closes every connection, idle or in use, upgraded or not, whose route is meant.
    pub fn close_where(&self, meant: impl Fn(&Route) -> bool) {
        self.pool.close_where(meant);
    }

    /// Closes every connection.
    pub fn clear(&self) {
        self.close_where(|_| true);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Sends a request on this connection. `kept` says that it was used before.
async fn attempt(
    handle: Handle,
    request: Request<Outgoing>,
    patience: Duration,
    kept: bool,
) -> Result<Sent, UpstreamError> {
    let request = address(request, handle.route(), handle.is_http2())?;
    let copy = (kept && request.method().is_safe() && request.body().is_end_stream()).then(|| {
        let mut copy = Request::new(empty());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        copy
    });
    let taken = Arc::new(AtomicU64::new(0));
    let request = request.map(|body| Watched { body, taken: Arc::clone(&taken) }.boxed_unsync());
    let closed = handle.closed();
    let failed = match patiently(patience, &taken, handle.send(request)).await? {
        Ok(response) => return Ok(Sent::Answered(response)),
        Err(failed) => failed,
    };
    if closed.is_cancelled() {
        return Err(UpstreamError::Closed);
    }
    again(failed, copy, kept)
}

/// What may be sent again of a request that failed.
fn again(
    mut failed: TrySendError<Request<Outgoing>>,
    copy: Option<Request<Outgoing>>,
    kept: bool,
) -> Result<Sent, UpstreamError> {
    let unsent = failed.take_message().filter(|_| kept);
    let error = failed.into_error();
    // An answer that cannot be read is an answer.
    let copy = copy.filter(|_| !error.is_parse() && !error.is_user());
    unsent.or(copy).map(Sent::Again).ok_or(UpstreamError::Broken(error))
}

/// Waits as long as the body is still being taken, and `patience` beyond.
async fn patiently<T>(
    patience: Duration,
    taken: &AtomicU64,
    work: impl Future<Output = T>,
) -> Result<T, UpstreamError> {
    let mut work = pin!(work);
    let mut before = taken.load(Ordering::Relaxed);
    loop {
        if let Ok(done) = tokio::time::timeout(patience, work.as_mut()).await {
            return Ok(done);
        }
        let now = taken.load(Ordering::Relaxed);
        if now == before {
            return Err(UpstreamError::Timeout);
        }
        before = now;
    }
}

/// Addresses a request to the route's host, in the form that the protocol wants.
fn address(
    mut request: Request<Outgoing>,
    route: &Route,
    http2: bool,
) -> Result<Request<Outgoing>, UpstreamError> {
    let bad = |_| UpstreamError::Unsupported("a host or path that cannot be sent");
    let host = host_text(route.authority(), route.tls());
    let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    request.headers_mut().remove(EXPECT);
    let uri = if http2 {
        for name in [&HOST, &CONNECTION, &UPGRADE, &TRANSFER_ENCODING] {
            request.headers_mut().remove(name);
        }
        *request.version_mut() = Version::HTTP_2;
        let scheme = if route.tls() { Scheme::HTTPS } else { Scheme::HTTP };
        Uri::builder().scheme(scheme).authority(host).path_and_query(path).build().map_err(bad)?
    } else {
        let host = HeaderValue::try_from(host);
        let host = host.map_err(|_| UpstreamError::Unsupported("a host that cannot be sent"))?;
        request.headers_mut().insert(HOST, host);
        *request.version_mut() = Version::HTTP_11;
        Uri::from(path)
    };
    *request.uri_mut() = uri;
    Ok(request)
}

/// The host as a request names it: without the port that its scheme means anyway.
fn host_text(authority: &Authority, tls: bool) -> String {
    let usual = if tls { 443 } else { 80 };
    if authority.port == usual { authority.host.to_string() } else { authority.to_string() }
}

/// A body that is not there.
fn empty() -> Outgoing {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that counts the pieces that were taken of it.
struct Watched {
    body: Outgoing,
    taken: Arc<AtomicU64>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_ready() {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl UpstreamError {
    /// The code that the sandbox is told.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Dial(error) => error.reason(),
            Self::Timeout => Reason::Timeout,
            Self::Closed => Reason::Revoked,
            Self::Broken(error) if error.is_parse_too_large() => Reason::TooLarge,
            Self::Broken(_) => Reason::UpstreamUnreachable,
            Self::Unsupported(_) => Reason::Unsupported,
        }
    }

    /// Why no address of the host may be dialled, when that is it.
    #[must_use]
    pub fn address(&self) -> Option<AddressRefusal> {
        match self {
            Self::Dial(DialError::Address(refusal)) => Some(*refusal),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
