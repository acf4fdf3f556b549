//! What reflects is scrubbed: every encoding, alignment and chunking.

mod escapes;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

use super::Scrubber;

const REAL: &str = "sk-test-9fGh/Q+2==\"x&<y>' é~";
const SHADOW: &str = "sk-test-ABCD/E+3==\"z&<w>' ü~";

fn whole(scrubber: &Scrubber, text: &[u8]) -> Vec<u8> {
    chunked(scrubber, &[text])
}

fn chunked(scrubber: &Scrubber, chunks: &[&[u8]]) -> Vec<u8> {
    let mut stream = scrubber.fresh();
    let mut out = Vec::new();
    for chunk in chunks {
        stream.push(chunk, &mut out);
    }
    stream.finish(&mut out);
    out
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// An encoding and its name.
type Encoding = (&'static str, fn(&str) -> String);

/// How a host may write a value back, beside the reading that a client does. Written without the code
/// under test where a library has the encoding.
fn encodings() -> Vec<Encoding> {
    vec![
        ("raw", |text| text.to_owned()),
        ("percent", |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()),
        ("percent lower", |text| {
            let upper = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let mut parts = upper.split('%');
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |done, part| done + "%" + &part[..2].to_ascii_lowercase() + &part[2..])
        }),
        ("percent all", |text| text.bytes().map(|byte| format!("%{byte:02X}")).collect()),
        ("percent all lower", |text| text.bytes().map(|byte| format!("%{byte:02x}")).collect()),
        ("json", |text| serde_json::to_string(text).unwrap()),
        ("json in json", |text| serde_json::to_string(&serde_json::to_string(text).unwrap()).unwrap()),
        ("json slash", |text| serde_json::to_string(text).unwrap().replace('/', "\\/")),
        ("json html", |text| {
            let plain = serde_json::to_string(text).unwrap();
            plain.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
        }),
        ("json all", |text| text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()),
        ("html", |text| {
            let plain = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            plain.replace('"', "&quot;").replace('\'', "&#39;")
        }),
        ("hex", |text| text.bytes().map(|byte| format!("{byte:02x}")).collect()),
        ("hex upper", |text| text.bytes().map(|byte| format!("{byte:02X}")).collect()),
    ]
}

#[test]
fn a_reflected_value_is_replaced_in_every_encoding_and_at_every_split() {
    let scrubber = Scrubber::new(&[(REAL, SHADOW)]);
    for (what, encode) in encodings() {
        let text = format!("{{\"echo\": \"{}\", \"x\": 1}}", encode(REAL));
        let wanted = format!("{{\"echo\": \"{}\", \"x\": 1}}", encode(SHADOW));
        for split in 0..=text.len() {
            let (before, after) = text.as_bytes().split_at(split);
            let out = chunked(&scrubber, &[before, after]);
            assert_eq!(String::from_utf8_lossy(&out), wanted, "{what} split at {split}");
        }
    }
}

#[test]
fn base64_is_replaced_at_every_alignment_and_stays_decodable() {
    let shadows = [SHADOW, "sk-short", "sk-test-a-shadow-that-is-longer-than-the-value-itself"];
    for shadow in shadows {
        let scrubber = Scrubber::new(&[(REAL, shadow)]);
        for before in 0..7 {
            for after in 0..4 {
                let plain = [vec![b'u'; before], REAL.as_bytes().to_vec(), vec![0xff; after]].concat();
                let encoded = [STANDARD.encode(&plain), URL_SAFE_NO_PAD.encode(&plain)];
                for (text, engine) in encoded.iter().zip([&STANDARD, &URL_SAFE_NO_PAD]) {
                    let out = whole(&scrubber, text.as_bytes());
                    let decoded = engine.decode(&out).unwrap();
                    assert_eq!(decoded.len(), plain.len());
                    // The outermost bits of a value belong to characters that its neighbours share.
                    let inner = &REAL.as_bytes()[1..REAL.len() - 1];
                    assert!(!contains(&decoded, inner), "{before} {after}");
                    assert_eq!(decoded[..before], plain[..before]);
                    assert_eq!(decoded[before + REAL.len()..], plain[before + REAL.len()..]);
                }
            }
        }
    }
}

#[test]
fn basic_authentication_that_is_reflected_is_replaced() {
    let (real, shadow) =
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "ghp_zyxwvutsrqponmlkjihgZYXWVUTSRQ543210");
    let scrubber = Scrubber::new(&[(real, shadow)]);
    for user in ["", "x", "git", "oauth2", "x-access-token"] {
        let echo = format!("authorization: Basic {}", STANDARD.encode(format!("{user}:{real}")));
        let out = String::from_utf8(whole(&scrubber, echo.as_bytes())).unwrap();
        let decoded = STANDARD.decode(out.strip_prefix("authorization: Basic ").unwrap()).unwrap();
        assert!(!contains(&decoded, &real.as_bytes()[1..39]), "{user}");
    }
}

#[test]
fn only_an_end_that_may_become_a_value_is_held_back() {
    let scrubber = Scrubber::new(&[("sk-abcdefgh", "sk-ABCDEFGH")]);
    let mut stream = scrubber.fresh();
    let mut out = Vec::new();
    stream.push(b"data: {\"delta\": \"hello\"}\n\n", &mut out);
    assert_eq!(out, b"data: {\"delta\": \"hello\"}\n\n");
    stream.push(b"data: sk-abc", &mut out);
    assert!(out.ends_with(b"\n\ndata: "));
    stream.push(b"dance\n", &mut out);
    assert!(out.ends_with(b"data: sk-abcdance\n"));
    stream.push(b"sk-abcdefg", &mut out);
    stream.finish(&mut out);
    assert!(out.ends_with(b"sk-abcdance\nsk-abcdefg"));
}

#[test]
fn the_longest_of_overlapping_values_is_replaced() {
    let pairs = [
        ("password", "11111111"),
        ("password-longer", "222222222222222"),
        ("word-longer-x", "3333333333333"),
    ];
    let scrubber = Scrubber::new(&pairs);
    for (text, wanted) in [
        ("password", "11111111"),
        ("password-long", "11111111-long"),
        ("password-longer-x", "222222222222222-x"),
        ("a word-longer-x", "a 3333333333333"),
        ("passpassword-", "pass11111111-"),
    ] {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(String::from_utf8_lossy(&chunked(&scrubber, &pieces)), wanted);
        assert_eq!(String::from_utf8_lossy(&whole(&scrubber, text.as_bytes())), wanted);
    }
}

#[test]
fn length_is_preserved_when_every_form_is_as_long() {
    assert!(Scrubber::new::<&str, &str>(&[]).preserves_length());
    assert!(Scrubber::new(&[("sk-abcdefgh", "sk-ABCDEFGH")]).preserves_length());
    assert!(!Scrubber::new(&[("sk-abcdefgh", "sk-ABCDEFGHI")]).preserves_length());
    assert!(!Scrubber::new(&[("sk-abcdef/h", "sk-ABCDEFGH")]).preserves_length());
}

#[test]
fn nothing_to_look_for_lets_everything_pass() {
    for scrubber in [Scrubber::new::<&str, &str>(&[]), Scrubber::new(&[("short", "other"), ("", "x")])] {
        assert!(scrubber.is_empty());
        let mut out = Vec::new();
        scrubber.fresh().push(b"short", &mut out);
        assert_eq!(out, b"short");
    }
}

#[test]
fn headers_are_scrubbed_whatever_their_name() {
    let scrubber = Scrubber::new(&[("sk-abcdefgh", "sk-ABCDEFGH")]);
    let mut headers = HeaderMap::new();
    headers.insert("location", HeaderValue::from_static("https://x.example/?key=sk-abcdefgh&a=b"));
    headers.append("set-cookie", HeaderValue::from_static("a=1"));
    headers.append("set-cookie", HeaderValue::from_static("t=sk-abcdefgh; Path=/"));
    headers.insert("www-authenticate", HeaderValue::from_static("Bearer error=\"736b2d6162636465666768\""));
    scrubber.headers(&mut headers);
    assert_eq!(headers["location"], "https://x.example/?key=sk-ABCDEFGH&a=b");
    let cookies: Vec<_> = headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "t=sk-ABCDEFGH; Path=/"]);
    assert_eq!(headers["www-authenticate"], "Bearer error=\"736b2d4142434445464748\"");
}

fn split_at<'a>(text: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.sort_unstable();
    let mut chunks = Vec::new();
    let mut from = 0;
    for cut in cuts {
        chunks.push(&text[from..cut]);
        from = cut;
    }
    chunks.push(&text[from..]);
    chunks
}

proptest! {
    #[test]
    fn chunking_changes_nothing_and_no_value_remains(
        reals in prop::collection::vec("[a-c]{1,3}[A-Za-z0-9/+=\"&é ]{8,40}", 1..5),
        pieces in prop::collection::vec((0_usize..6, 0_usize..16, "[a-c]{0,9}|\\PC{0,9}", 1_usize..60), 0..12),
        cuts in prop::collection::vec(any::<usize>(), 0..30),
    ) {
        let shadows: Vec<String> = (0..reals.len()).map(|at| format!("SHADOW{at}{}", "#".repeat(20))).collect();
        let pairs: Vec<_> = reals.iter().zip(&shadows).collect();
        let scrubber = Scrubber::new(&pairs);
        let encodings = encodings();
        let mut text = Vec::new();
        for (which, how, between, cut) in pieces {
            text.extend_from_slice(between.as_bytes());
            if let Some(real) = reals.get(which) {
                let encoded = match encodings.get(how) {
                    Some((_, encode)) => encode(real),
                    None => STANDARD.encode(format!("{between}{real}{between}")),
                };
                // Some only begin: they must come out as they are.
                let bytes = encoded.as_bytes();
                let whole = cut % 3 != 0;
                text.extend_from_slice(if whole { bytes } else { &bytes[..cut.min(bytes.len())] });
            }
        }
        let once = whole(&scrubber, &text);
        prop_assert_eq!(&chunked(&scrubber, &split_at(&text, &cuts)), &once);
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        prop_assert_eq!(&chunked(&scrubber, &bytes), &once);
        for form in reals.iter().flat_map(|real| super::forms(real, "")) {
            prop_assert!(!contains(&once, &form.pattern), "{}", String::from_utf8_lossy(&form.pattern));
        }
    }

    #[test]
    fn what_holds_no_value_is_unchanged(text in prop::collection::vec(any::<u8>(), 0..400)) {
        let scrubber = Scrubber::new(&[(REAL, SHADOW), ("ghp_0123456789", "ghp_zyxwvutsrq")]);
        prop_assert_eq!(whole(&scrubber, &text), text);
    }
}
