//! Which headers travel, and which end here.
//!
//! Owns the lists: what concerns one connection only, what says something about the way a request took,
//! and what would get past the search for values. Must not know credentials; their places are the core's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    ACCEPT_ENCODING, ALT_SVC, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, FORWARDED, HOST,
    HeaderName, HeaderValue, IF_RANGE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, SET_COOKIE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, StatusCode};
use sha1::{Digest as _, Sha1};

/// What concerns one connection only.
const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authentication-info"),
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// What says where a request came from and through whom.
const TRACES: [HeaderName; 2] = [FORWARDED, VIA];

/// What authenticates, and so has no place in trailers.
const NOT_IN_TRAILERS: [HeaderName; 6] =
    [http::header::AUTHORIZATION, http::header::COOKIE, SET_COOKIE, HOST, CONTENT_LENGTH, CONTENT_ENCODING];

/// Takes out what concerns one connection only, and all that `Connection` names.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    let proxy: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("proxy-")).cloned().collect();
    proxy.iter().for_each(|name| {
        headers.remove(name);
    });
}

/// Whether a list of tokens in a header has this one.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// What a client wants its connection to become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// Nothing else.
    Plain,
    /// A WebSocket.
    WebSocket,
    /// Something that is not forwarded.
    Other,
}

/// Reads what a client wants its connection to become.
pub(super) fn wanted(headers: &HeaderMap) -> Wanted {
    let mut upgrades = headers.get_all(UPGRADE).into_iter();
    match (upgrades.next(), upgrades.next()) {
        (None, _) => Wanted::Plain,
        (Some(one), None)
            if one.as_bytes().eq_ignore_ascii_case(b"websocket")
                && has_token(headers, &CONNECTION, "upgrade") =>
        {
            Wanted::WebSocket
        }
        _ => Wanted::Other,
    }
}

/// Prepares a request's headers: what is left is what the host gets, except for credentials. `scrubbed`
/// says that the answer will be searched for values; it must then come whole and as it is, so `Range` and
/// `Accept-Encoding` are not the client's to choose.
pub(super) fn prepare_request(headers: &mut HeaderMap, scrubbed: bool) {
    let trailers = has_token(headers, &TE, "trailers");
    strip_hop_by_hop(headers);
    for name in TRACES.iter().chain(&[HOST, CONTENT_LENGTH, EXPECT, TE]) {
        headers.remove(name);
    }
    let forwarded: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-forwarded-")).cloned().collect();
    forwarded.iter().for_each(|name| {
        headers.remove(name);
    });
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if scrubbed {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.remove(RANGE);
        headers.remove(IF_RANGE);
        // Other names that some hosts take for it.
        headers.remove("request-range");
        headers.remove("x-ms-range");
    }
}

/// The part of the resource that a request wants.
pub(super) fn wanted_part(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let wanted = [RANGE, IF_RANGE].into_iter();
    wanted.filter_map(|name| headers.get(&name).cloned().map(|value| (name, value))).collect()
}

/// What a host's answer to a key is computed from, beside the key.
const ACCEPT_WITH: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The one value of a header.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut all = headers.get_all(name).into_iter();
    all.next().filter(|_| all.next().is_none())
}

/// The key of a WebSocket's handshake, when the rest of it is in order as well.
pub(super) fn websocket_key(headers: &HeaderMap) -> Option<&HeaderValue> {
    let key = only(headers, &SEC_WEBSOCKET_KEY)?;
    let known = only(headers, &SEC_WEBSOCKET_VERSION)? == "13";
    let sound = STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16);
    (known && sound).then_some(key)
}

/// Says that the connection is to become a WebSocket, or has. No extension is agreed on: compressed
/// frames could not be searched.
pub(super) fn want_websocket(headers: &mut HeaderMap) {
    headers.remove(SEC_WEBSOCKET_EXTENSIONS);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Whether a host agreed that the connection becomes a WebSocket: the one that was asked for with this
/// key, without extensions.
pub(super) fn is_websocket(status: StatusCode, headers: &HeaderMap, key: &HeaderValue) -> bool {
    let hash = Sha1::new().chain_update(key.as_bytes()).chain_update(ACCEPT_WITH).finalize();
    let accepted = only(headers, &SEC_WEBSOCKET_ACCEPT);
    status == StatusCode::SWITCHING_PROTOCOLS
        && wanted(headers) == Wanted::WebSocket
        && accepted.is_some_and(|accept| *accept == STANDARD.encode(hash))
        && !headers.contains_key(SEC_WEBSOCKET_EXTENSIONS)
}

/// Whether a host's answer, before it is prepared, can be searched: why not.
pub(super) fn unsearchable(status: StatusCode, headers: &HeaderMap, ranged: bool) -> Option<&'static str> {
    let codings = headers.get_all(TRANSFER_ENCODING).iter();
    if codings.into_iter().any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")) {
        return Some("the answer is transferred in an encoding that was not asked for");
    }
    let part = status == StatusCode::PARTIAL_CONTENT || headers.contains_key(http::header::CONTENT_RANGE);
    (part && status != StatusCode::RANGE_NOT_SATISFIABLE && !ranged)
        .then_some("the answer is a part although the whole was asked for")
}

/// Prepares a response's headers. On a host that credentials are for, cookies stay outside: one can be as
/// good as the credential, and would outlive it.
pub(super) fn prepare_response(headers: &mut HeaderMap, scrubbed: bool) {
    strip_hop_by_hop(headers);
    headers.remove(ALT_SVC);
    if scrubbed {
        headers.remove(SET_COOKIE);
    }
}

/// Whether a body comes as it is.
pub(super) fn is_identity(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().all(|value| {
        let value = value.as_bytes().trim_ascii();
        value.is_empty() || value.eq_ignore_ascii_case(b"identity")
    })
}

/// Prepares trailers of either direction.
pub(super) fn prepare_trailers(trailers: &mut HeaderMap) {
    strip_hop_by_hop(trailers);
    for name in TRACES.iter().chain(&NOT_IN_TRAILERS) {
        trailers.remove(name);
    }
    // Whatever else authenticates is sent by this proxy in headers alone.
    let carriers: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| ftl_core::credential::carriers::is_carrier(name.as_str()))
        .cloned()
        .collect();
    carriers.iter().for_each(|name| {
        trailers.remove(name);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_concerns_one_connection_ends_here() {
        let mut headers = map(&[
            ("connection", "close, X-Secret-Hop"),
            ("connection", "keep-alive"),
            ("x-secret-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic eA=="),
            ("proxy-foo", "1"),
            ("te", "gzip, trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAA"),
            ("via", "1.1 x"),
            ("forwarded", "for=1"),
            ("x-forwarded-for", "1"),
            ("x-forwarded-anything", "1"),
            ("host", "a"),
            ("content-length", "3"),
            ("expect", "100-continue"),
            ("accept-encoding", "gzip"),
            ("range", "bytes=0-3"),
            ("accept", "*/*"),
        ]);
        let mut scrubbed = headers.clone();
        prepare_request(&mut headers, false);
        assert_eq!(names(&headers), ["accept", "accept-encoding", "range", "te"]);
        assert_eq!(headers["te"], "trailers");
        prepare_request(&mut scrubbed, true);
        assert_eq!(names(&scrubbed), ["accept", "accept-encoding", "te"]);
        assert_eq!(scrubbed["accept-encoding"], "identity");
    }

    #[test]
    fn only_websockets_are_an_upgrade() {
        for (lines, expected) in [
            (&[][..], Wanted::Plain),
            (&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")], Wanted::WebSocket),
            (&[("upgrade", "websocket")], Wanted::Other),
            (&[("connection", "upgrade"), ("upgrade", "h2c")], Wanted::Other),
            (&[("connection", "upgrade"), ("upgrade", "websocket, h2c")], Wanted::Other),
            (&[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")], Wanted::Other),
        ] {
            assert_eq!(wanted(&map(lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn responses_lose_what_leads_around_the_proxy() {
        let lines = [("alt-svc", "h3=\":443\""), ("set-cookie", "a=b"), ("content-type", "x")];
        let mut headers = map(&lines);
        prepare_response(&mut headers, false);
        assert_eq!(names(&headers), ["content-type", "set-cookie"]);
        prepare_response(&mut headers, true);
        assert_eq!(names(&headers), ["content-type"]);
    }

    #[test]
    fn trailers_do_not_authenticate() {
        let mut trailers =
            map(&[("grpc-status", "0"), ("authorization", "x"), ("x-api-key", "x"), ("connection", "a")]);
        prepare_trailers(&mut trailers);
        assert_eq!(names(&trailers), ["grpc-status"]);
        assert!(is_identity(&map(&[("content-encoding", "Identity")])));
        assert!(!is_identity(&map(&[("content-encoding", "identity"), ("content-encoding", "gzip")])));
    }
}
