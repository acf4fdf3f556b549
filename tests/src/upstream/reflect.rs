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

/// Answers `/reflect/ENCODING`; `cut=N` sends the first N bytes for themselves, `cut=each` every byte.
/// `header` reflects in headers, `gzip` compresses.
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
    if encoding == "gzip" {
        let mut response = text(200, gzip(body.as_bytes()));
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return response;
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

fn encoded(encoding: &str, value: &str) -> String {
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
        "basic" => STANDARD.encode(format!("user:{value}")),
        _ => value.to_owned(),
    }
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
