//! Taking real values out of what a host answers.
//!
//! Owns what must hold for it, with encoders of its own. Must not know how the search works.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ftl_core::scrub::Scrubber;
use http::{HeaderMap, HeaderValue};

use crate::pieces::cut;

/// Real values beside their shadows; of the same lengths, and not.
const PAIRS: [(&str, &str); 3] = [
    ("tK9/wQ2+zR7-mX4_bN8.cV5vL3pJ6hG1fD0sAqY=", "Zk4mWq8/rT2+yB6-nH0_xD9.sF3gJ7lP1cV5aEuI="),
    ("p&ss\"w'rd<é>\\", "Qw3rTy-As4Df-Zx5Cv"),
    ("aaaaaaaab", "qqqqqqqqz"),
];

static SCRUBBER: LazyLock<Scrubber> = LazyLock::new(|| Scrubber::new(&PAIRS));
static FORMS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| PAIRS.iter().flat_map(|(real, _)| forms(real)).collect());

static SEARCH: LazyLock<AhoCorasick> =
    LazyLock::new(|| AhoCorasick::new(&*FORMS).expect("a few short forms"));

/// How a host may write a value back.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let bytes = value.as_bytes();
    let each = |form: &dyn Fn(u8) -> String| bytes.iter().map(|byte| form(*byte)).collect::<String>();
    let some = |form: &dyn Fn(u8) -> String| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        each(&|byte| if plain(byte) { char::from(byte).to_string() } else { form(byte) })
    };
    let units = |upper: bool| {
        value
            .encode_utf16()
            .map(|unit| if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") })
            .collect()
    };
    let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
    let mut forms = vec![
        value.to_owned(),
        each(&|byte| format!("{byte:02x}")),
        each(&|byte| format!("{byte:02X}")),
        each(&|byte| format!("%{byte:02x}")),
        each(&|byte| format!("%{byte:02X}")),
        some(&|byte| format!("%{byte:02x}")),
        some(&|byte| format!("%{byte:02X}")),
        units(true),
        units(false),
        quoted.replace('/', "\\/"),
        quoted.replace('\\', "\\\\").replace('"', "\\\""),
        quoted,
        value
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
            .replace('\'', "&#39;"),
    ];
    for before in 0..3 {
        let text = [&b"..."[..before], bytes].concat();
        for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
            // The first and last characters depend on what stands beside the value.
            let end = if text.len() % 3 == 0 { encoded.len() } else { encoded.len() - 1 };
            forms.push(encoded[[0, 2, 3][before]..end].to_owned());
        }
    }
    forms.into_iter().map(String::into_bytes).collect()
}

/// No form of a value comes through, however the answer is cut, and what has none comes through as it is.
/// Bytes from 128 on stand for forms.
pub(crate) fn scrub(input: &[u8]) {
    let (text, _) = cut(input);
    let mut body = Vec::new();
    for byte in text {
        match FORMS.get(usize::from(*byte).wrapping_sub(128)) {
            Some(form) => body.extend_from_slice(form),
            None => body.push(*byte),
        }
    }
    let (_, lengths) = cut(input);
    let whole = stream(&[&body]);
    let mut pieces = Vec::new();
    let mut rest = &body[..];
    for length in lengths.iter().map(|piece| piece.len()).cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    assert_eq!(stream(&pieces), whole, "cuts make a difference");
    if let Some(found) = SEARCH.find(&whole) {
        panic!("{} came through: {}", whole[found.range()].escape_ascii(), whole.escape_ascii());
    }
    assert_eq!(stream(&[&whole]), whole, "what is clean stays");
    if let Ok(value) = HeaderValue::from_bytes(&body) {
        let mut headers = HeaderMap::new();
        headers.insert("x", value);
        SCRUBBER.headers(&mut headers);
        assert!(headers["x"].as_bytes() == whole || headers["x"].is_empty());
    }
}

fn stream(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut scrubber, mut out) = (SCRUBBER.fresh(), Vec::new());
    for piece in pieces {
        scrubber.push(piece, &mut out);
    }
    scrubber.finish(&mut out);
    out
}
