//! The same text written in another way: put together from pieces, or in base 64 or hex.
//!
//! Owns undoing these for the search of what looks like a credential; known values have their own search.
//! Must not know what is searched for.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Bytes between two pieces of a string at most.
const BETWEEN: usize = 24;
/// Fewest and most letters of an encoded text.
const ENCODED: (usize, usize) = (24, 4096);

/// The text with strings that are put together from pieces as one, and where each byte comes from; `None`
/// when there are none such.
pub(super) fn joined(text: &[u8]) -> Option<(Vec<u8>, Vec<usize>)> {
    let (mut out, mut from) = (Vec::new(), Vec::new());
    let (mut at, mut done, mut any) = (0, 0, false);
    while at < text.len() {
        let quote = text[at];
        let gap = matches!(quote, b'"' | b'\'' | b'`').then(|| gap(&text[at..])).flatten();
        let Some(length) = gap else {
            at += 1;
            continue;
        };
        out.extend_from_slice(&text[done..at]);
        from.extend(done..at);
        at += length;
        (done, any) = (at, true);
    }
    if !any {
        return None;
    }
    out.extend_from_slice(&text[done..]);
    from.extend(done..text.len());
    Some((out, from))
}

/// The length of the end of one piece, what joins it with the next, and that one's beginning.
fn gap(text: &[u8]) -> Option<usize> {
    let mut sign = false;
    for (at, byte) in text.iter().enumerate().take(BETWEEN).skip(1) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b'\\' => {}
            b'+' | b'.' | b'&' | b'~' if !sign => sign = true,
            b'"' | b'\'' | b'`' if at > 1 && (sign || text[1..at].contains(&b'\n')) => return Some(at + 1),
            _ => return None,
        }
    }
    None
}

/// The printable texts that stand in base 64 or hex, and where.
pub(super) fn decoded(text: &[u8]) -> Vec<(Range<usize>, Vec<u8>)> {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let length = text[at..].iter().take_while(|byte| letter(byte)).count();
        if (ENCODED.0..=ENCODED.1).contains(&length) {
            let run = &text[at..at + length];
            found.extend(decode(run).map(|inner| (at..at + length, inner)));
        }
        at += length + 1;
    }
    found
}

fn decode(run: &[u8]) -> Option<Vec<u8>> {
    let printable = |bytes: &Vec<u8>| {
        bytes.len() >= 16
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))
    };
    // Nearly nothing that is not an encoded text begins as one.
    let whole = &run[..run.len() - usize::from(run.len() % 4 == 1)];
    let start = &whole[..whole.len().min(16)];
    let begins = |engine: &dyn Fn(&[u8]) -> Option<Vec<u8>>| {
        engine(start).is_some_and(|bytes| bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' '))
    };
    let standard = |text: &[u8]| STANDARD_NO_PAD.decode(text).ok();
    let url = |text: &[u8]| URL_SAFE_NO_PAD.decode(text).ok();
    if run.iter().all(u8::is_ascii_hexdigit) && run.len().is_multiple_of(2) {
        return unhex(run).filter(printable);
    }
    if begins(&standard) {
        return standard(whole).filter(printable);
    }
    if begins(&url) { url(whole).filter(printable) } else { None }
}

fn unhex(run: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    run.chunks_exact(2).map(|pair| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_string_are_joined() {
        for (text, expected) in [
            ("a = \"b\" + \"c\"", Some("a = \"bc\"")),
            ("'b' .\n  'c'", Some("'bc'")),
            ("\"b\"\n\"c\"", Some("\"bc\"")),
            ("\"b\", \"c\"", None),
            ("\"b\" \"c\"", None),
            ("\"\"", None),
        ] {
            let seen = joined(text.as_bytes()).map(|(text, _)| String::from_utf8(text).unwrap());
            assert_eq!(seen.as_deref(), expected, "{text}");
        }
        let (text, from) = joined(b"x'b'+'c'").unwrap();
        assert_eq!(text.len(), from.len());
        assert_eq!(from[text.iter().position(|byte| *byte == b'c').unwrap()], 6);
    }

    #[test]
    fn encoded_texts_are_read() {
        let read = |text: &str| {
            decoded(text.as_bytes()).into_iter().map(|(_, inner)| String::from_utf8(inner).unwrap())
        };
        let seen: Vec<_> =
            read("k: aGVsbG8gd29ybGQsIGhvdyBhcmUgeW91 68656c6c6f20776f726c642c20686f7720617265").collect();
        assert_eq!(seen, ["hello world, how are you", "hello world, how are"]);
        assert_eq!(read("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk").count(), 0);
    }
}
