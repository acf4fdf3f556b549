//! JSON web tokens.
//!
//! Owns which of a token's claims a shadow keeps: those that clients act on and that say nothing about a
//! person, such as when it expires. Must not check signatures.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::alphabet::{BASE64URL, last_of_base64};
use super::{Piece, Shape};

/// Fields of the header that are kept.
const HEADER: [&str; 2] = ["alg", "typ"];
/// Claims that are kept.
const CLAIMS: [&str; 9] = ["exp", "iat", "nbf", "iss", "aud", "scope", "scp", "role", "token_use"];
/// Longest claim that is kept, bytes of JSON; a longer one may hold anything.
const LONGEST_CLAIM: usize = 512;
/// Letters of a signature at least, for 128 bits.
const SIGNATURE: usize = 22;

/// The shape of a token with header, payload and signature; `None` when the value is none.
pub(super) fn shape(value: &str) -> Option<Shape> {
    let mut parts = value.split('.');
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let header = kept(&object(header)?, &HEADER);
    if !header.contains_key("alg") {
        return None;
    }
    let claims = kept(&object(payload)?, &CLAIMS);
    let head = format!("{}.{}.", encoded(header), encoded(claims));
    let mut length = signature.len().max(SIGNATURE);
    if length % 4 == 1 {
        length += 1;
    }
    let pieces = vec![
        Piece::Fixed(head),
        Piece::Random(BASE64URL, length - 1),
        Piece::Random(if length % 4 == 0 { BASE64URL } else { last_of_base64(length) }, 1),
    ];
    // Without its signature a token opens nothing.
    Some(Shape { pieces, secrets: vec![signature.into()] })
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?;
    match serde_json::from_slice(&bytes).ok()? {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

fn kept(map: &Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    let texts = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
    let simple = |value: &Value| value.is_number() || value.is_string() || texts(value);
    map.iter()
        .filter(|(name, value)| names.contains(&name.as_str()) && simple(value))
        .filter(|(_, value)| value.to_string().len() <= LONGEST_CLAIM)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn encoded(map: Map<String, Value>) -> String {
    URL_SAFE_NO_PAD.encode(Value::Object(map).to_string())
}
