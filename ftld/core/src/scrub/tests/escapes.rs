//! The table of what is covered, each with any value, at any place and in any chunks.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

use super::super::Scrubber;
use super::{chunked, contains, split_at, whole};

const REAL: &str = "sk-test_9fGhQ2rT7uVwXyZ";
const SHADOW: &str = "sk-mock_4aBcD8eFgHiJkLm";

fn each(text: &str, write: impl Fn(u8) -> String, between: &str) -> Vec<u8> {
    text.bytes().map(write).collect::<Vec<_>>().join(between).into_bytes()
}

/// Breaks every so many bytes.
fn broken(text: &[u8], every: usize, with: &str) -> Vec<u8> {
    text.chunks(every).collect::<Vec<_>>().join(with.as_bytes())
}

fn base32(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let of = |five: &[u8]| (0..5).fold(0, |code, at| code << 1 | five.get(at).copied().unwrap_or(0));
    bits.chunks(5).map(|five| char::from(alphabet[usize::from(of(five))])).collect()
}

/// A way of writing and its name.
type Encoding = (&'static str, fn(&str) -> Vec<u8>);

/// What is covered beside the pure forms.
fn covered() -> Vec<Encoding> {
    vec![
        ("utf-16le", |s| s.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("utf-16be", |s| s.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        ("html decimal", |s| each(s, |b| format!("&#{b};"), "")),
        ("html decimal zeros", |s| each(s, |b| format!("&#{b:07};"), "")),
        ("html decimal bare", |s| each(s, |b| format!("&#{b}"), "")),
        ("html hex", |s| each(s, |b| format!("&#x{b:x};"), "")),
        ("html hex zeros", |s| each(s, |b| format!("&#X{b:06X};"), "")),
        ("html twice", |s| each(s, |b| format!("&amp;#{b};"), "")),
        ("html names", |s| s.replace('-', "&hyphen;").replace('_', "&lowbar;").into_bytes()),
        ("json u", |s| each(s, |b| format!("\\u{b:04x}"), "")),
        ("json u in json", |s| each(s, |b| format!("\\\\u{b:04X}"), "")),
        ("javascript braces", |s| each(s, |b| format!("\\u{{{b:x}}}"), "")),
        ("python wide", |s| each(s, |b| format!("\\U{b:08x}"), "")),
        ("c hex", |s| each(s, |b| format!("\\x{b:02x}"), "")),
        ("c octal", |s| each(s, |b| format!("\\{b:03o}"), "")),
        ("slashes", |s| s.replace('-', "\\-").replace('_', "\\_").into_bytes()),
        ("quoted-printable all", |s| each(s, |b| format!("={b:02X}"), "")),
        ("quoted-printable soft", |s| broken(s.as_bytes(), 7, "=\r\n")),
        ("percent twice", |s| each(s, |b| format!("%25{b:02X}"), "")),
        ("percent thrice", |s| each(s, |b| format!("%2525{b:02x}"), "")),
        ("line feed", |s| broken(s.as_bytes(), 9, "\n")),
        ("folded", |s| broken(s.as_bytes(), 5, "\r\n ")),
        ("folded far", |s| broken(s.as_bytes(), 5, "\n        ")),
        ("escaped feed", |s| broken(s.as_bytes(), 6, "\\n")),
        ("escaped return feed", |s| broken(s.as_bytes(), 6, "\\r\\n")),
        ("percent return feed", |s| broken(s.as_bytes(), 6, "%0D%0A")),
        ("continued", |s| broken(s.as_bytes(), 8, "\\\n")),
        ("event lines", |s| broken(s.as_bytes(), 8, "\ndata: ")),
        ("hex lines", |s| broken(&each(s, |b| format!("{b:02x}"), ""), 16, "\n")),
        ("hex colons", |s| each(s, |b| format!("{b:02X}"), ":")),
        ("hex blanks", |s| each(s, |b| format!("{b:02x}"), " ")),
        ("hex dashes", |s| each(s, |b| format!("{b:02x}"), "-")),
        ("hex list", |s| each(s, |b| format!("0x{b:02x}"), ", ")),
        ("decimal list", |s| each(s, |b| b.to_string(), ",")),
        ("decimal list wide", |s| each(s, |b| b.to_string(), ", ")),
        ("base64 percent", |s| each(&STANDARD.encode(s), |b| format!("%{b:02x}"), "")),
        ("base64 in json", |s| each(&STANDARD.encode(s), |b| format!("\\u{b:04x}"), "")),
        ("every other", |s| {
            let write = |(at, b): (usize, u8)| match at % 4 {
                0 => char::from(b).to_string(),
                1 => format!("%{b:02X}"),
                2 => format!("\\u{b:04x}"),
                _ => format!("&#{b};"),
            };
            s.bytes().enumerate().map(write).collect::<String>().into_bytes()
        }),
    ]
}

/// An encoding of bytes and its name.
type Aligned = (&'static str, fn(&[u8]) -> Vec<u8>);

/// The same for what depends on where the value stands.
fn aligned() -> Vec<Aligned> {
    vec![
        ("base64", |b| STANDARD.encode(b).into_bytes()),
        ("base64 url", |b| URL_SAFE.encode(b).into_bytes()),
        ("base64 mime", |b| broken(STANDARD.encode(b).as_bytes(), 16, "\r\n")),
        ("base64 mime in json", |b| broken(URL_SAFE.encode(b).as_bytes(), 16, "\\n")),
        ("base32", |b| base32(b).into_bytes()),
        ("base32 lower", |b| base32(b).to_ascii_lowercase().into_bytes()),
        ("base32 lines", |b| broken(base32(b).as_bytes(), 11, "\n")),
    ]
}

#[test]
fn every_way_of_writing_is_found_at_every_split_and_as_long_as_before() {
    let scrubber = Scrubber::new(&[(REAL, SHADOW)]);
    for (what, encode) in covered() {
        let text = [b"x: ", &encode(REAL)[..], b" y"].concat();
        let out = whole(&scrubber, &text);
        assert_eq!(out.len(), text.len(), "{what}");
        assert!(!contains(&out, &encode(REAL)), "{what}: {}", String::from_utf8_lossy(&out));
        // Whoever takes the same escapes away reads nothing of the middle either.
        let tail = encode(&REAL[9..]);
        assert!(!contains(&out, &tail[..tail.len() - 1]), "{what}: {}", String::from_utf8_lossy(&out));
        for split in 0..=text.len() {
            let (before, after) = text.split_at(split);
            assert_eq!(chunked(&scrubber, &[before, after]), out, "{what} split at {split}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(chunked(&scrubber, &single), out, "{what}");
    }
}

#[test]
fn events_and_lines_are_not_kept() {
    let scrubber = Scrubber::new(&[(REAL, SHADOW)]);
    for text in [
        "data: {\"text\": \"s\"}\n\n",
        "data: sk-test\n\n",
        "{\"text\": \"sk\"}\n",
        "a line\r\n",
        "50% &amp; more",
        "event: s\ndata: 1\n\n",
    ] {
        let mut out = Vec::new();
        scrubber.fresh().push(text.as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}

#[test]
fn a_value_of_several_lines_is_found_however_they_are_written() {
    let real = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n-----END KEY-----\n";
    let scrubber = Scrubber::new(&[(real, "shadow-of-a-key-0123456789")]);
    for with in ["\n", "\r\n", "\\n", "\\\\n", "\n    ", "\ndata: ", "%0A", "&#10;", ""] {
        let out = String::from_utf8(whole(&scrubber, real.replace('\n', with).as_bytes())).unwrap();
        assert!(!out.contains("MIIEvQ") && !out.contains("AQEFAA"), "{with:?}: {out}");
    }
}

#[test]
fn names_of_headers_hold_no_value() {
    let scrubber = Scrubber::new(&[(REAL, SHADOW)]);
    let mut headers = http::HeaderMap::new();
    let hex = String::from_utf8(each(REAL, |b| format!("{b:02x}"), "")).unwrap();
    for name in ["x-plain".to_owned(), format!("x-{}", REAL.to_ascii_lowercase()), hex] {
        headers.insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), "1".parse().unwrap());
    }
    headers.insert("x-escaped", each(REAL, |b| format!("&#{b};"), "").try_into().unwrap());
    scrubber.headers(&mut headers);
    let names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["x-plain", "x-escaped"]);
    assert!(!contains(headers["x-escaped"].as_bytes(), b"&#57;&#102;"));
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[A-Za-z0-9]{12,48}", 2 => "[A-Za-z0-9_.~-]{12,48}", 1 => "[a-z0-9/+]{12,30}={0,2}"]
}

proptest! {
    // Each case is all of the table.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_way_of_writing_brings_a_value_through(
        reals in prop::collection::vec(value(), 1..4),
        which in any::<prop::sample::Index>(),
        around in prop::collection::vec("[ -~]{0,12}", 2),
        before in 0_usize..7,
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let shadows: Vec<String> = reals.iter().map(|real| "0".repeat(real.len())).collect();
        let pairs: Vec<_> = reals.iter().zip(&shadows).collect();
        let scrubber = Scrubber::new(&pairs);
        let real = &reals[which.index(reals.len())];
        // What ends in the beginning of an escape changes what the first character means.
        let lead = around[0].trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c.is_ascii_punctuation());
        for (what, encode) in covered() {
            let written = encode(real);
            let text = [lead.as_bytes(), b" ", &written, b" ", around[1].as_bytes()].concat();
            let out = chunked(&scrubber, &split_at(&text, &cuts));
            prop_assert!(!contains(&out, &written), "{} {:?} {}", what, split_at(&text, &cuts), String::from_utf8_lossy(&out));
            prop_assert_eq!(&out, &whole(&scrubber, &text), "{}", what);
        }
        for (what, encode) in aligned() {
            let plain = [&vec![b'u'; before], real.as_bytes(), around[1].as_bytes()].concat();
            let text = encode(&plain);
            let out = chunked(&scrubber, &split_at(&text, &cuts));
            let (text, out) = (joined(&text), joined(&out));
            prop_assert_eq!(text.len(), out.len());
            // Eight characters from the middle of the value, where neighbours share none.
            let (bits, unit) = if what.starts_with("base64") { (6, 12) } else { (5, 12) };
            let middle = (before + real.len() / 2) * 8 / bits - unit / 2;
            prop_assert_ne!(&out[middle..middle + unit], &text[middle..middle + unit], "{}", what);
        }
    }

    #[test]
    fn texts_without_values_are_unchanged(
        text in prop::collection::vec(
            prop_oneof![Just(b'\\'), Just(b'%'), Just(b'&'), Just(b'='), Just(b'\n'), Just(b'2'), Just(b'5'), any::<u8>()],
            0..300,
        ),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let scrubber = Scrubber::new(&[(REAL, SHADOW)]);
        prop_assert_eq!(chunked(&scrubber, &split_at(&text, &cuts)), text);
    }
}

/// Without breaks.
fn joined(text: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(text).replace("\\n", "").replace(['\r', '\n'], "").into_bytes()
}
