//! The forms in which a host may write a value back.
//!
//! Owns the list of encodings and, for each, what a value and its replacement look like in it. Must not
//! know how they are searched for.
//!
//! Covered, for values of 8 bytes or more:
//!
//! | written as | as a whole | mixed with others, broken over lines |
//! |---|---|---|
//! | the value itself | yes | yes |
//! | percent-encoding, in upper and lower case, of some or all bytes | yes | yes, up to sixteen levels |
//! | JSON and JavaScript: `\u`, `\u{}`, `\x`, octal, needless backslashes | yes | yes, any number of backslashes |
//! | HTML: names, decimals, hex, with zeros, without semicolons | yes | yes, any number of `amp;` |
//! | quoted-printable | yes | yes |
//! | base64 and its URL alphabet at every alignment | yes | yes |
//! | base32 at every alignment, in upper and lower case | yes | yes |
//! | hex in upper and lower case | yes | yes |
//! | lists of hex or decimals with `:`, `-`, commas, blanks, ends of lines, `0x` | up to 7 bytes between two | no |
//! | UTF-16 of either byte order | yes | no |
//!
//! A break is an end of a line, as it is or escaped, with what indents the next line or makes it one of an
//! event. A blank line is none: it ends an event, which must not wait.
//!
//! Not covered: the value backwards, rotated or in another case; digests, ciphers, compression; UTF-32,
//! base58, base85; dumps with offsets; escapes of one family within another; and a value of which one
//! answer, or one message of a WebSocket, has only a part: pages, ranges, a listing of characters. The value
//! is kept from hosts that do so by its binding, not by this list.

use std::collections::HashSet;

use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{GeneralPurpose, general_purpose::NO_PAD};

/// A text as it is searched for, and what stands there afterwards.
pub(crate) struct Form {
    /// What is searched for.
    pub(crate) pattern: Vec<u8>,
    /// What replaces it.
    pub(crate) replacement: Vec<u8>,
}

/// Letters of a `\u` or `%` escape.
#[derive(Clone, Copy)]
enum Case {
    Lower,
    Upper,
}

/// Which characters JSON writers escape although they need not.
#[derive(Clone, Copy)]
enum Json {
    /// None, as JavaScript, Python and Rust.
    Plain,
    /// `/`, as PHP.
    Slash,
    /// `<`, `>` and `&` in lower case, as Go and Ruby.
    Html,
    /// Those, quotes, `+`, `=` and more in upper case, as .NET and Java's Gson.
    Strict(Case),
    /// Every character.
    All(Case),
}

/// Every form of `real` beside the same form of `shadow`, each pattern once, the value itself first.
pub(crate) fn forms(real: &str, shadow: &str) -> Vec<Form> {
    let mut seen = HashSet::new();
    let mut forms = Vec::new();
    let mut add = |pattern: Vec<u8>, replacement: Vec<u8>| {
        if pattern != replacement && seen.insert(pattern.clone()) {
            forms.push(Form { pattern, replacement });
        }
    };
    for encode in texts() {
        add(encode(real), encode(shadow));
    }
    // In base64, a replacement of another length would shift everything behind it.
    let or_zeros = if shadow.is_empty() { "0" } else { shadow };
    let fitted: Vec<u8> = or_zeros.bytes().cycle().take(real.len()).collect();
    for (pattern, replacement) in base32s(real.as_bytes(), &fitted) {
        add(pattern, replacement);
    }
    let unbroken = unbroken(real);
    let replacement = fitted[..unbroken.len()].to_vec();
    add(unbroken, replacement);
    for alphabet in [&STANDARD, &URL_SAFE] {
        for before in 0..3 {
            let pattern = core(alphabet, before, real.as_bytes());
            let replacement = core(alphabet, before, &fitted);
            for encode in [plain, percent_upper, percent_lower, json_slash] {
                add(encode(&pattern), encode(&replacement));
            }
        }
    }
    forms
}

/// The texts that are also searched for with escapes and breaks within, each with one of the same length
/// that replaces it.
pub(super) fn texts_that_break(real: &str, shadow: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (_, fitted) = fitted(real, shadow);
    // Breaks may be anywhere, so those of the value itself need not be there.
    let unbroken = unbroken(real);
    let mut all = vec![(unbroken.clone(), fitted[..unbroken.len()].to_vec())];
    for case in [Case::Lower, Case::Upper] {
        let hex = |bytes: &[u8]| bytes.iter().flat_map(|byte| digits(*byte, case)).collect();
        all.push((hex(real.as_bytes()), hex(&fitted)));
    }
    for alphabet in [&STANDARD, &URL_SAFE] {
        for before in 0..3 {
            let of = |bytes: &[u8]| core(alphabet, before, bytes).into_bytes();
            all.push((of(real.as_bytes()), of(&fitted)));
        }
    }
    all.extend(base32s(real.as_bytes(), &fitted));
    let mut seen = HashSet::new();
    all.retain(|(pattern, replacement)| pattern != replacement && seen.insert(pattern.clone()));
    all
}

/// The value's bytes, and as many of ASCII that replace it.
pub(super) fn fitted(real: &str, shadow: &str) -> (Vec<u8>, Vec<u8>) {
    let plain: Vec<u8> = shadow.bytes().filter(u8::is_ascii).collect();
    let source = if plain.is_empty() { vec![b'0'] } else { plain };
    (real.as_bytes().to_vec(), source.into_iter().cycle().take(real.len()).collect())
}

/// The value without the ends of its lines.
fn unbroken(real: &str) -> Vec<u8> {
    real.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect()
}

/// The value in base32 at every alignment, without what its neighbours share.
fn base32s(real: &[u8], fitted: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let encode = |before: usize, value: &[u8]| -> Vec<u8> {
        let bit =
            |at: usize| at.checked_sub(8 * before).is_some_and(|at| value[at / 8] >> (7 - at % 8) & 1 == 1);
        let (first, whole) = ((before * 8).div_ceil(5), (before + value.len()) * 8 / 5);
        let letter = |at: usize| (5 * at..5 * at + 5).fold(0, |code, at| code << 1 | usize::from(bit(at)));
        (first..whole).map(|at| ALPHABET[letter(at)]).collect()
    };
    let pairs = (0..5).map(|before| (encode(before, real), encode(before, fitted)));
    pairs.flat_map(|(one, two)| [(one.to_ascii_lowercase(), two.to_ascii_lowercase()), (one, two)]).collect()
}

/// An encoding of a whole text.
type Encode = Box<dyn Fn(&str) -> Vec<u8>>;

fn texts() -> Vec<Encode> {
    let mut all: Vec<Encode> = vec![Box::new(plain)];
    // What stays as it is: nothing, then in RFC 3986, `encodeURIComponent`, `encodeURI`, forms, others.
    for kept in ["", "-._~", "-._~!'()*", "-._~!'()*;/?:@&=+$,#", "-._*", "-._"] {
        for case in [Case::Lower, Case::Upper] {
            all.push(Box::new(move |text| percent(text, case, Some(kept), false)));
            all.push(Box::new(move |text| percent(text, case, Some(kept), true)));
        }
    }
    for case in [Case::Lower, Case::Upper] {
        all.push(Box::new(move |text| percent(text, case, None, false)));
        all.push(Box::new(move |text| hex(text, case)));
        all.push(Box::new(move |text| json(text, Json::Strict(case)).into_bytes()));
        all.push(Box::new(move |text| json(text, Json::All(case)).into_bytes()));
    }
    for kind in [Json::Plain, Json::Slash, Json::Html] {
        all.push(Box::new(move |text| json(text, kind).into_bytes()));
        // JSON as a string within JSON, as many logs are.
        all.push(Box::new(move |text| json(&json(text, kind), kind).into_bytes()));
    }
    for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
        all.push(Box::new(move |text| text.encode_utf16().flat_map(bytes).collect()));
    }
    for style in [["&quot;", "&#39;"], ["&#34;", "&#39;"], ["&quot;", "&#x27;"], ["&quot;", "&apos;"]] {
        for wide in [false, true] {
            all.push(Box::new(move |text| html(text, style, wide).into_bytes()));
        }
    }
    for kept in ["", "-._~", "-._~!*'()"] {
        for numeral in
            [|code| format!("&#{code};"), |code| format!("&#x{code:x};"), |code| format!("&#x{code:X};")]
        {
            all.push(Box::new(move |text| html_numerals(text, kept, numeral).into_bytes()));
        }
    }
    all
}

fn plain(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn percent_upper(text: &str) -> Vec<u8> {
    percent(text, Case::Upper, Some("-._~"), false)
}

fn percent_lower(text: &str) -> Vec<u8> {
    percent(text, Case::Lower, Some("-._~"), false)
}

fn json_slash(text: &str) -> Vec<u8> {
    json(text, Json::Slash).into_bytes()
}

/// Percent-encoding of everything but letters, digits and `kept`, or of every byte; `plus` writes a space
/// as `+`.
fn percent(text: &str, case: Case, kept: Option<&str>, plus: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match kept {
            Some(kept) if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) => out.push(byte),
            Some(_) if plus && byte == b' ' => out.push(b'+'),
            _ => {
                out.push(b'%');
                out.extend_from_slice(&digits(byte, case));
            }
        }
    }
    out
}

fn hex(text: &str, case: Case) -> Vec<u8> {
    text.bytes().flat_map(|byte| digits(byte, case)).collect()
}

/// The two hex digits of a byte.
fn digits(byte: u8, case: Case) -> [u8; 2] {
    let digit = |value: u8| match (value, case) {
        (0..=9, _) => b'0' + value,
        (_, Case::Lower) => b'a' + value - 10,
        (_, Case::Upper) => b'A' + value - 10,
    };
    [digit(byte >> 4), digit(byte & 15)]
}

/// The text as it stands between the quotes of a JSON string.
fn json(text: &str, kind: Json) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let escaped = match kind {
            Json::Plain => None,
            Json::Slash => (character == '/').then(|| "\\/".to_owned()),
            Json::Html => "<>&\u{2028}\u{2029}".contains(character).then(|| units(character, Case::Lower)),
            Json::Strict(case) => {
                let doubtful = "<>&\"'+=`\u{7f}".contains(character) || !character.is_ascii();
                doubtful.then(|| units(character, case))
            }
            Json::All(case) => Some(units(character, case)),
        };
        match (escaped, character) {
            (Some(escaped), _) => out.push_str(&escaped),
            (None, '"') => out.push_str("\\\""),
            (None, '\\') => out.push_str("\\\\"),
            (None, '\n') => out.push_str("\\n"),
            (None, '\r') => out.push_str("\\r"),
            (None, '\t') => out.push_str("\\t"),
            (None, '\u{8}') => out.push_str("\\b"),
            (None, '\u{c}') => out.push_str("\\f"),
            (None, other) if other.is_control() => out.push_str(&units(other, Case::Lower)),
            (None, other) => out.push(other),
        }
    }
    out
}

/// A character as `\u` escapes.
fn units(character: char, case: Case) -> String {
    let mut buffer = [0; 2];
    let write = |unit: &mut u16| match case {
        Case::Lower => format!("\\u{unit:04x}"),
        Case::Upper => format!("\\u{unit:04X}"),
    };
    character.encode_utf16(&mut buffer).iter_mut().map(write).collect()
}

/// The text within HTML, everything but letters, digits and `kept` by its number.
fn html_numerals(text: &str, kept: &str, numeral: fn(u32) -> String) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || kept.contains(c);
    text.chars().map(|c| if plain(c) { c.to_string() } else { numeral(c.into()) }).collect()
}

/// The text within HTML; `quotes` are how the two quotes are written, `wide` escapes what some libraries
/// escape beyond the five.
fn html(text: &str, quotes: [&str; 2], wide: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str(quotes[0]),
            '\'' => out.push_str(quotes[1]),
            '/' if wide => out.push_str("&#x2F;"),
            '=' if wide => out.push_str("&#x3D;"),
            '`' if wide => out.push_str("&#x60;"),
            '+' if wide => out.push_str("&#43;"),
            other => out.push(other),
        }
    }
    out
}

/// The characters of the value's base64 that do not depend on what stands around it, when `before` bytes
/// (modulo 3) precede it.
fn core(alphabet: &Alphabet, before: usize, value: &[u8]) -> String {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(value);
    let whole = bytes.len() * 8 / 6;
    let encoded = GeneralPurpose::new(alphabet, NO_PAD).encode(&bytes);
    let first = (before * 8).div_ceil(6);
    encoded.get(first..whole).unwrap_or_default().to_owned()
}
