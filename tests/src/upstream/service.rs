//! What a host of the test's server answers.
//!
//! Owns the table of services, and the service for tests: echoes, streams, statuses, long bodies. Must not
//! know what a test expects.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio_stream::StreamExt as _;

use super::packages::Packages;
use super::{Answer, Shared, Tapped, full, git, grpc, reflect, websocket};

/// Bytes of one piece of a long answer.
const PIECE: usize = 64 * 1024;

/// What a host is.
pub enum Service {
    /// Answers by path: `/echo`, `/reflect/ENCODING?cut=N`, `/sse?key=K&n=N` and `/ack?key=K&n=N`, `/ws`,
    /// `/bytes/N`, `/upload`, `/status/N`, `/redirect?to=URL`, `/hang`, `/cookie`, and gRPC: each message
    /// of a call to any service comes back.
    Test,
    /// Bare git repositories beneath a directory, for who sends this `Authorization` header.
    Git {
        /// The directory.
        root: PathBuf,
        /// The whole header.
        authorization: String,
    },
    /// A registry of npm, PyPI or Cargo, for who sends this `Authorization` header.
    Packages {
        /// What it has.
        packages: Packages,
        /// The whole header.
        authorization: String,
    },
    /// Another server on this machine, which speaks plain HTTP/1.
    Forward(SocketAddr),
}

impl Service {
    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Tapped>, shared: &Arc<Shared>) -> Response<Answer> {
        let authorized =
            |wanted: &str| request.headers().get(header::AUTHORIZATION).is_some_and(|found| found == wanted);
        match self {
            Self::Test => test(request, shared).await,
            Self::Forward(address) => forward(request, *address).await,
            Self::Git { authorization, .. } | Self::Packages { authorization, .. }
                if !authorized(authorization) =>
            {
                let mut refused = text(401, "a credential is needed");
                let realm = header::HeaderValue::from_static("Basic realm=\"test\"");
                refused.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
                refused
            }
            Self::Git { root, .. } => git::answer(request, root).await,
            Self::Packages { packages, .. } => packages.answer(request.uri().path()),
        }
    }
}

/// A short answer in plain text.
pub(crate) fn text(status: u16, body: impl Into<Bytes>) -> Response<Answer> {
    typed(status, "text/plain", body)
}

/// A whole answer of a media type.
pub(crate) fn typed(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Response<Answer> {
    let mut response = Response::new(full(body));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// One parameter of a query, as it stands there.
pub(crate) fn parameter<'a>(uri: &'a http::Uri, name: &str) -> Option<&'a str> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// An answer in pieces.
pub(crate) fn pieces<S>(stream: S) -> Answer
where
    S: tokio_stream::Stream<Item = Bytes> + Send + 'static,
{
    StreamBody::new(stream.map(|piece| Ok(Frame::data(piece)))).boxed_unsync()
}

async fn test(request: Request<Tapped>, shared: &Arc<Shared>) -> Response<Answer> {
    if request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/grpc") {
        return grpc::answer(request);
    }
    let uri = request.uri().clone();
    let mut parts = uri.path().trim_start_matches('/').splitn(2, '/');
    let (verb, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match verb {
        "ws" => websocket::answer(request),
        "reflect" => reflect::answer(&request, rest),
        "bytes" => bytes_of(rest.parse().unwrap_or(0)),
        "status" => text(rest.parse().unwrap_or(500), "as you wish"),
        "sse" => events(&uri, shared),
        "ack" => {
            let number = parameter(&uri, "n").and_then(|n| n.parse().ok()).unwrap_or(0);
            shared.acknowledge(parameter(&uri, "key").unwrap_or_default(), number);
            text(200, "")
        }
        "redirect" => {
            let mut response = text(302, "");
            let to = parameter(&uri, "to").unwrap_or_default();
            let to = header::HeaderValue::from_str(to).unwrap_or(header::HeaderValue::from_static("/"));
            response.headers_mut().insert(header::LOCATION, to);
            response
        }
        "hang" => std::future::pending().await,
        "upload" => {
            let mut body = request.into_body();
            let mut count = 0;
            while let Some(Ok(frame)) = body.frame().await {
                count += frame.data_ref().map_or(0, Bytes::len);
            }
            text(200, count.to_string())
        }
        _ => echo(request).await,
    }
}

/// What arrived, as JSON: header names and values, and the body as text.
async fn echo(request: Request<Tapped>) -> Response<Answer> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return text(400, "the body broke off") };
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let text_of = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Vec<_> = head.headers.iter().map(|(name, value)| (name.as_str(), text_of(value))).collect();
    let echoed = json!({
        "method": head.method.as_str(), "target": head.uri.to_string(), "headers": headers, "body": body,
    });
    typed(200, "application/json", echoed.to_string())
}

/// A long answer of known length.
fn bytes_of(length: usize) -> Response<Answer> {
    let piece = Bytes::from(vec![b'x'; PIECE]);
    let count = length.div_ceil(PIECE);
    let sizes = (0..count).map(move |at| if at + 1 == count { length - at * PIECE } else { PIECE });
    let body = pieces(tokio_stream::iter(sizes.map(move |size| piece.slice(..size))));
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_LENGTH, header::HeaderValue::from(length));
    response
}

/// Server-sent events: the first at once, each other one when its forerunner was acknowledged.
fn events(uri: &http::Uri, shared: &Arc<Shared>) -> Response<Answer> {
    let count: u64 = parameter(uri, "n").and_then(|n| n.parse().ok()).unwrap_or(3);
    let mut acknowledged = shared.acknowledged(parameter(uri, "key").unwrap_or_default());
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        for number in 1..=count {
            let event = Bytes::from(format!("event: tick\ndata: {number}\n\n"));
            if sender.send(event).await.is_err() {
                return;
            }
            if number < count && acknowledged.wait_for(|seen| *seen >= number).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(pieces(tokio_stream::wrappers::ReceiverStream::new(receiver)));
    let kind = header::HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Hands a request on to a server on this machine and its answer back, as both stream.
async fn forward(request: Request<Tapped>, address: SocketAddr) -> Response<Answer> {
    let unreachable = |why: String| text(502, why);
    let stream = match tokio::net::TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(error) => return unreachable(error.to_string()),
    };
    let _delayed = stream.set_nodelay(true);
    let (mut sender, connection) =
        match hyper::client::conn::http1::handshake::<_, Tapped>(TokioIo::new(stream)).await {
            Ok(pair) => pair,
            Err(error) => return unreachable(error.to_string()),
        };
    tokio::spawn(connection);
    let (mut head, body) = request.into_parts();
    if let (Some(authority), false) = (head.uri.authority(), head.headers.contains_key(header::HOST))
        && let Ok(host) = header::HeaderValue::from_str(authority.as_str())
    {
        head.headers.insert(header::HOST, host);
    }
    head.version = http::Version::HTTP_11;
    let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    head.uri = target.parse().unwrap_or_default();
    match sender.send_request(Request::from_parts(head, body)).await {
        Ok(response) => response.map(|body| body.map_err(std::io::Error::other).boxed_unsync()),
        Err(error) => unreachable(error.to_string()),
    }
}
