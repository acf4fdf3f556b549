//! Sends a request's credential back, in every encoding that a server might, cut anywhere.
//!
//! Owns the encodings. What it reflects is what arrived, so an answer can only hold what the proxy added.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use tokio_stream::StreamExt as _;

use super::service::{parameter, pieces, text};
use super::{Answer, Tapped};

/// Every encoding that `/reflect/ENCODING` knows.
pub const ENCODINGS: [&str; 17] = [
    "raw",
    "twice",
    "json",
    "json-u",
    "html",
    "percent",
    "percent-all",
    "percent-lower",
    "hex",
    "hex-upper",
    "base64",
    "base64-1",
    "base64-2",
    "base64url",
    "base64url-1",
    "base64url-2",
    "basic",
];

/// Rarer ones.
pub const RARE: [&str; 14] = [
    "utf-16",
    "html-decimal",
    "html-hex",
    "js-braces",
    "js-octal",
    "quoted-printable",
    "percent-twice",
    "base32",
    "hex-colons",
    "decimals",
    "mime",
    "folded",
    "escaped-lines",
    "mixed",
];

/// Answers `/reflect/ENCODING`; `cut=N` sends the first N bytes for themselves, `cut=each` every byte.
/// `header` reflects in headers, `name` in their names and the status text, `gzip` compresses, `silent`
/// compresses and does not say so, `archive` is compressed without reflecting, `part` is a part.
pub(super) fn answer(request: &Request<Tapped>, encoding: &str) -> Response<Answer> {
    let headers = request.headers();
    let carried = headers.get(header::AUTHORIZATION).or_else(|| headers.get("x-api-key"));
    let Some(carried) = carried.and_then(|value| value.to_str().ok()) else {
        return text(400, "there is nothing to reflect");
    };
    let value = carried.rsplit(' ').next().unwrap_or_default();
    if encoding == "header" {
        let mut response = text(200, "in the headers");
        let location = format!("https://elsewhere.example.com/?token={value}");
        for (name, value) in
            [("location", location), ("x-reflected", value.into()), ("set-cookie", format!("s={value}"))]
        {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        return response;
    }
    let body = format!("before {} after", encoded(encoding, value));
    match encoding {
        "name" => return in_names(value),
        "gzip" => return typed(text(200, gzip(body.as_bytes())), &[("content-encoding", "gzip")]),
        "silent" => return typed(text(200, gzip(body.as_bytes())), &[("content-type", "application/json")]),
        "archive" => {
            return typed(text(200, gzip(b"a package")), &[("content-type", "application/octet-stream")]);
        }
        "part" => {
            let part: String = value.chars().take(4).collect();
            return typed(text(206, part), &[("content-range", "bytes 0-3/40")]);
        }
        _ => {}
    }
    let body = Bytes::from(body);
    let parts: Vec<Bytes> = match parameter(request.uri(), "cut") {
        Some("each") => (0..body.len()).map(|at| body.slice(at..=at)).collect(),
        Some(at) => {
            let at = at.parse::<usize>().unwrap_or(0).min(body.len());
            vec![body.slice(..at), body.slice(at..)]
        }
        None => vec![body],
    };
    // Libraries take many empty frames of HTTP/2 for a flood.
    let parts = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
    // Giving way between two pieces has each of them written for itself.
    let stream = tokio_stream::iter(parts).then(|part| async {
        tokio::task::yield_now().await;
        part
    });
    Response::new(pieces(stream))
}

fn typed(mut response: Response<Answer>, headers: &[(&'static str, &'static str)]) -> Response<Answer> {
    for (name, value) in headers {
        response.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    response
}

/// Reflects where only names are looked for.
fn in_names(value: &str) -> Response<Answer> {
    let mut response = text(200, "in the names");
    for name in [format!("x-{}", encoded("hex", value)), encoded("base32", value).to_ascii_lowercase()] {
        if let Ok(name) = header::HeaderName::try_from(name) {
            response.headers_mut().insert(name, HeaderValue::from_static("1"));
        }
    }
    if let Ok(reason) = hyper::ext::ReasonPhrase::try_from(value.as_bytes()) {
        response.extensions_mut().insert(reason);
    }
    response
}

/// In base32, without what fills it up.
fn base32(bytes: &[u8]) -> String {
    let letter = |five: &[u8]| {
        let code = (0..5).fold(0, |code, at| code << 1 | usize::from(five.get(at) == Some(&1)));
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[code])
    };
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    bits.chunks(5).map(letter).collect()
}

/// The value as `/reflect/ENCODING` writes it.
#[must_use]
pub fn encoded(encoding: &str, value: &str) -> String {
    let bytes = value.as_bytes();
    let each = |form: &dyn Fn(u8) -> String| bytes.iter().map(|byte| form(*byte)).collect::<String>();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let shifted = |count: usize| [&b"..."[..count], bytes].concat();
    match encoding {
        "twice" => format!("{value}{value}"),
        "json" => serde_json::Value::from(value).to_string().replace('/', "\\/"),
        "json-u" => each(&|byte| format!("\\u{byte:04x}")),
        "html" => each(&|byte| if plain(byte) { char::from(byte).into() } else { format!("&#{byte};") }),
        "percent" => each(&|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") }),
        "percent-all" => each(&|byte| format!("%{byte:02X}")),
        "percent-lower" => each(&|byte| format!("%{byte:02x}")),
        "hex" => each(&|byte| format!("{byte:02x}")),
        "hex-upper" => each(&|byte| format!("{byte:02X}")),
        "base64" => STANDARD.encode(bytes),
        "base64-1" => STANDARD.encode(shifted(1)),
        "base64-2" => STANDARD.encode(shifted(2)),
        "base64url" => URL_SAFE_NO_PAD.encode(bytes),
        "base64url-1" => URL_SAFE_NO_PAD.encode(shifted(1)),
        "base64url-2" => URL_SAFE_NO_PAD.encode(shifted(2)),
        "utf-16" => each(&|byte| format!("{}\0", char::from(byte))),
        "html-decimal" => each(&|byte| format!("&#{byte};")),
        "html-hex" => each(&|byte| format!("&#x{byte:04X}")),
        "js-braces" => each(&|byte| format!("\\u{{{byte:x}}}")),
        "js-octal" => each(&|byte| format!("\\{byte:03o}")),
        "quoted-printable" => each(&|byte| format!("={byte:02X}")),
        "percent-twice" => each(&|byte| format!("%25{byte:02X}")),
        "base32" => base32(bytes),
        "hex-colons" => each(&|byte| format!("{byte:02x}:")),
        "decimals" => each(&|byte| format!("{byte}, ")),
        "mime" => lines(&STANDARD.encode(bytes), 16, "\r\n"),
        "folded" => lines(value, 9, "\r\n "),
        "escaped-lines" => lines(value, 9, "\\n"),
        "mixed" => each(&|byte| match byte % 3 {
            0 => format!("%{byte:02x}"),
            1 => format!("\\u{byte:04x}"),
            _ => char::from(byte).into(),
        }),
        "basic" => STANDARD.encode(format!("user:{value}")),
        _ => value.to_owned(),
    }
}

/// Broken every so many bytes.
fn lines(text: &str, every: usize, end: &str) -> String {
    let lines = text.as_bytes().chunks(every).map(String::from_utf8_lossy);
    lines.collect::<Vec<_>>().join(end)
}

/// Compressed by the system's own program.
fn gzip(body: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut child =
        Command::new("gzip").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gzip runs");
    child.stdin.take().expect("its input").write_all(body).expect("it reads");
    child.wait_with_output().expect("it ends").stdout
}
