//! Requests: where one ends, which credentials it may carry, how it is signed.
//!
//! Owns what must hold for them, and the comparison with the HTTP library. Must not know connections: the
//! library reads from memory.

mod library;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ftl_core::credential::slots::{self, Held, Outgoing};
use ftl_core::credential::{Binding, CredentialName, Grant, Slot};
use ftl_core::egress::framing::Framing;
use ftl_core::egress::host::{Authority, HostPattern};
use ftl_core::egress::path::CanonicalPath;
use ftl_core::sigv4::{Inbound, Keys, PayloadMode, SigV4Error, Unsigned, payload_hash};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::pieces::{cut, first};

/// Longest head, bytes.
const LONGEST_HEAD: usize = 4096;

/// One request, as the walk or the library sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    method: String,
    target: String,
    /// None when its end did not arrive.
    body: Option<Vec<u8>>,
}

/// What passes the walk is read by the library as the same requests, and cuts make no difference.
pub(crate) fn framing(input: &[u8]) {
    let (bytes, pieces) = cut(input);
    let (out, fault, seen) = walk(bytes);
    assert!(bytes.starts_with(&out), "what passes is what came");
    let mut framing = Framing::new(LONGEST_HEAD);
    let mut again = Vec::new();
    let result = pieces.iter().try_for_each(|piece| framing.push(piece, &mut again));
    assert_eq!((again, result.err()), (out.clone(), fault));
    let theirs = library::read(&out, &pieces);
    assert!(theirs.len() <= seen.len(), "{theirs:?} is more than {seen:?}");
    for (theirs, ours) in theirs.iter().zip(&seen) {
        assert_eq!(theirs.method, ours.method);
        // The library writes the other forms of a target in its own way.
        assert!(theirs.target == ours.target || !ours.target.starts_with('/'), "{theirs:?} {ours:?}");
        assert!(theirs.body.is_none() || theirs.body == ours.body, "{theirs:?} {ours:?}");
    }
}

/// What passes, what was wrong, and the requests between.
fn walk(bytes: &[u8]) -> (Vec<u8>, Option<&'static str>, Vec<Seen>) {
    let mut framing = Framing::new(LONGEST_HEAD);
    let mut out = Vec::new();
    // Where heads begin and end.
    let mut heads: Vec<(usize, usize)> = Vec::new();
    let (mut begin, mut fault) = (None, None);
    for (at, byte) in bytes.iter().enumerate() {
        if framing.is_raw() {
            out.extend_from_slice(&bytes[at..]);
            break;
        }
        if let Err(found) = framing.push(&[*byte], &mut out) {
            fault = Some(found);
            break;
        }
        match (begin, framing.in_head()) {
            (None, true) => begin = Some(at),
            (Some(from), false) => {
                heads.push((from, at + 1));
                begin = None;
            }
            _ => {}
        }
    }
    let ends = heads.iter().skip(1).map(|(from, _)| *from).chain([out.len()]);
    let seen = heads.iter().zip(ends).map(|((from, to), end)| request(&bytes[*from..*to], &out[*to..end]));
    (out.clone(), fault, seen.collect())
}

/// A request from its head and what lies before the next one.
fn request(head: &[u8], behind: &[u8]) -> Seen {
    let head = String::from_utf8_lossy(head).into_owned();
    let mut words = head.split(['\r', ' ']);
    let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let lower = head.to_ascii_lowercase();
    let value = |name: &str| {
        let mut values =
            lower.split("\r\n").skip(1).filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let value = values.next().map(str::trim);
        assert!(values.next().is_none(), "{name} twice");
        value
    };
    let body = match (value("content-length"), value("transfer-encoding")) {
        _ if method == "CONNECT" => Some(Vec::new()),
        (None, None) => {
            assert!(behind.is_empty(), "a body of nothing");
            Some(Vec::new())
        }
        (Some(length), None) => {
            let length: usize = length.parse().unwrap();
            assert!(behind.len() <= length, "a body that is too long");
            (behind.len() == length).then(|| behind.to_vec())
        }
        (None, Some(coding)) => {
            assert_eq!(coding, "chunked");
            chunks(behind)
        }
        (Some(_), Some(_)) => panic!("two lengths"),
    };
    Seen { method, target, body }
}

/// A body in chunks; `None` when its end is not there.
fn chunks(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let digits = bytes[..end].split(|byte| *byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        bytes = &bytes[end + 2..];
        if size == 0 {
            break;
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
    let trailers = bytes.starts_with(b"\r\n") || bytes.windows(4).any(|end| end == b"\r\n\r\n");
    trailers.then_some(body)
}

const SHADOW: &str = "Zk4mWq8/rT2+yB6-nH0_xD9.sF3gJ7lP1cV5aEuI=";
const REAL: &str = "tK9/wQ2+zR7-mX4_bN8.cV5vL3pJ6hG1fD0sAqY=";
const OTHER_SHADOW: &str = "sk-other-Aq1Sw2De3Fr4Gt5Hy6Ju7Ki8Lo9";
const OTHER_REAL: &str = "sk-other-Zz9Xx8Cc7Vv6Bb5Nn4Mm3Aa2Ss1";

/// A real value is put only into requests that its own binding means. The input is a byte of choices, a line
/// with the target, then headers; the bytes 1 to 3 stand for shadows.
pub(crate) fn slots(input: &[u8]) {
    let (choice, rest) = first(input);
    let mut lines = rest.split(|byte| *byte == b'\n').map(filled_in);
    let target = String::from_utf8_lossy(&lines.next().unwrap()).into_owned();
    let Ok(path) = CanonicalPath::parse(&target) else { return };
    let query = target.split_once('?').map(|(_, query)| query.to_owned());
    let host = ["api.example.com", "other.example.com", "evil.example", "api.example.com.evil.example"];
    let port = if choice & 4 == 0 { 443 } else { 8443 };
    let authority = Authority::parse(host[usize::from(choice & 3)], Some(port)).unwrap();
    let tls = choice & 8 == 0;
    let method = if choice & 16 == 0 { "GET" } else { "POST" };
    let mut headers = HeaderMap::new();
    for line in lines {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = HeaderName::from_bytes(parts.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(parts.next().unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let outgoing = Outgoing {
        authority: &authority,
        tls,
        method,
        path: path.as_str(),
        path_is_odd: path.is_odd(),
        query: query.as_deref(),
        headers: &headers,
    };
    let Ok(plan) = slots::plan(&HELD, &outgoing) else { return };
    let (mut filled, mut asked) = (headers.clone(), query.clone());
    let real = |name: &CredentialName| Some(if name.as_str() == "API_KEY" { REAL } else { OTHER_REAL });
    if slots::fill(&plan, &mut filled, &mut asked, &real).is_err() {
        assert_eq!((&filled, &asked), (&headers, &query), "changed, and not sent");
        return;
    }
    assert!(!filled.contains_key("proxy-authorization"));
    let own_path = path.is_plain() && path.is_below("/v1");
    let here = |host: &str| tls && port == 443 && authority.to_string() == format!("{host}:443");
    for (real, own) in [
        (REAL, here("api.example.com") && own_path),
        (OTHER_REAL, here("other.example.com") && method == "POST"),
    ] {
        let count = |headers: &HeaderMap, query: &Option<String>| {
            let values = headers.values().filter(|value| holds(value.as_bytes(), real)).count();
            values + usize::from(query.as_deref().is_some_and(|query| holds(query.as_bytes(), real)))
        };
        // What the sandbox sent itself does not count: it may have guessed.
        let (before, after) = (count(&headers, &query), count(&filled, &asked));
        assert!(own || after <= before, "{authority} {filled:?} {asked:?}");
        assert!(after <= before + 1, "one value in several places: {filled:?} {asked:?}");
    }
    if plan.credentialed() {
        assert!(filled.get_all(AUTHORIZATION).iter().count() <= 1, "{filled:?}");
    }
    assert_eq!(plan.is_empty(), plan.names().is_empty() && plan.endpoint().is_none());
}

fn filled_in(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in line {
        match byte {
            1 => out.extend_from_slice(SHADOW.as_bytes()),
            2 => out.extend_from_slice(OTHER_SHADOW.as_bytes()),
            3 => out.extend_from_slice(STANDARD.encode(format!("user:{SHADOW}")).as_bytes()),
            4 => out.extend_from_slice(
                SHADOW.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D").as_bytes(),
            ),
            _ => out.push(*byte),
        }
    }
    out
}

static HELD: LazyLock<Held> = LazyLock::new(held);

fn held() -> Held {
    let host = |host| vec![HostPattern::parse(host).unwrap()];
    let header = |name: &str, format: &str| Slot::Header { name: name.into(), format: format.into() };
    let api = Binding {
        hosts: host("api.example.com"),
        port: 443,
        methods: Vec::new(),
        paths: vec!["/v1".into()],
        slots: vec![
            header("authorization", "Bearer {}"),
            Slot::BasicPassword,
            Slot::Query { name: "key".into() },
        ],
        optional: true,
    };
    let other = Binding {
        hosts: host("other.example.com"),
        port: 443,
        methods: vec!["POST".into()],
        paths: Vec::new(),
        slots: vec![header("x-api-key", "{}")],
        optional: false,
    };
    let grant = |name, shadow: &str, binding| Grant {
        name: CredentialName::parse(name).unwrap(),
        shadow: shadow.into(),
        bindings: vec![binding],
    };
    Held::new(vec![grant("API_KEY", SHADOW, api), grant("OTHER_KEY", OTHER_SHADOW, other)])
}

/// Whether bytes have a value: plain, percent-encoded, or behind a user in Basic authentication.
fn holds(bytes: &[u8], value: &str) -> bool {
    let contains = |bytes: &[u8]| bytes.windows(value.len()).any(|window| window == value.as_bytes());
    let decoded: Vec<u8> = percent_encoding::percent_decode(bytes).collect();
    let words = bytes.split(|byte| *byte == b' ').filter_map(|word| STANDARD.decode(word).ok());
    contains(bytes) || contains(&decoded) || words.into_iter().any(|word| contains(&word))
}

/// A signature that is read is written again the same, and one that is made is verified, until a byte of the
/// request changes. The input is `Authorization`, the target, the body, then headers, in lines.
pub(crate) fn sigv4(input: &[u8]) {
    const NOW: i64 = 1_440_938_160;
    let text = String::from_utf8_lossy(input);
    let mut lines = text.split('\n');
    let Ok(inbound) = Inbound::parse(lines.next().unwrap_or_default()) else { return };
    assert_eq!(Inbound::parse(&written(&inbound)).as_ref(), Ok(&inbound));
    for (host, region) in
        [("s3.eu-north-9.amazonaws.com", "eu-north-9"), ("ec2.us-east-1.amazonaws.com", "us-east-1")]
    {
        let authority = Authority::parse(host, Some(443)).unwrap();
        if inbound.fits(&authority).is_ok() {
            assert_eq!(inbound.region, region);
            assert!(host.starts_with(&inbound.service), "{} fits {host}", inbound.service);
        }
    }
    let (target, body) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.trim().parse::<HeaderValue>()) {
            headers.append(name, value);
        }
    }
    let mode = inbound.payload(&headers);
    let payload = match &mode {
        Ok(mode) => mode.announced().map_or_else(|| payload_hash(body.as_bytes()), str::to_owned),
        Err(_) => return,
    };
    assert!(!matches!(mode, Ok(PayloadMode::NeedsBody(_))) || payload.len() == 64);
    let request = Unsigned { method: "GET", host: "example.amazonaws.com", path, query };
    let keys = Keys { key_id: "AKIDREAL", secret: REAL, token: Some("session-token") };
    let mut signed = headers.clone();
    if inbound.sign(&request, &mut signed, &payload, &keys, NOW).is_err() {
        return;
    }
    // What was there before does not count: it may have been guessed.
    let count = |headers: &HeaderMap| headers.values().filter(|value| holds(value.as_bytes(), REAL)).count();
    assert!(count(&signed) <= count(&headers), "the secret key itself");
    let line = signed[AUTHORIZATION].to_str().expect("text");
    let made = Inbound::parse(line).expect("what was made can be read");
    assert_eq!((&made.region, &made.service), (&inbound.region, &inbound.service));
    assert!(made.key_id == "AKIDREAL" && made.date == "20150830");
    assert_eq!(made.verify(&request, &signed, &payload, REAL, NOW + 299), Ok(()));
    let moved = Unsigned { host: "evil.amazonaws.com", ..request };
    let refused = Err(SigV4Error::BadSignature);
    assert_eq!(made.verify(&moved, &signed, &payload, REAL, NOW), refused);
    assert_eq!(made.verify(&request, &signed, &payload, SHADOW, NOW), refused);
    assert_eq!(made.verify(&request, &signed, "x", REAL, NOW), refused);
    assert_eq!(made.verify(&request, &signed, &payload, REAL, NOW + 301), Err(SigV4Error::Skewed));
}

fn written(inbound: &Inbound) -> String {
    let Inbound { key_id, date, region, service, signed_headers, signature } = inbound;
    let names = signed_headers.join(";");
    format!(
        "AWS4-HMAC-SHA256 Credential={key_id}/{date}/{region}/{service}/aws4_request, SignedHeaders={names}, \
         Signature={signature}"
    )
}
