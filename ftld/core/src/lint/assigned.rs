//! Values under names that speak of secrets.
//!
//! Owns the ways in which a name and a value stand together in code and settings, and which values are meant
//! there: not those that are words, are filled in later or point elsewhere. Which names speak of secrets is
//! the classification's. Must not know shapes of vendors.

use std::ops::Range;

use super::drawn::{is_drawn, is_placeholder, is_sequence, is_weak_placeholder, is_wordy};
use super::place::{Family, Place};
use super::shapes::{holds_login, run};
use super::vendor::is_published;
use super::{Class, Found};
use crate::credential::classify::{self, is_password, is_random, is_uuid, parameter_names_secret};

/// Longest name and longest value that are looked at.
const LONGEST: (usize, usize) = (64, 256);
/// Blanks between a name, a sign and a value at most.
const BLANKS: usize = 32;
/// Bytes before a value's `default` or `value` in which its name is looked for.
const ABOVE: usize = 160;

/// Ends of names that are about a secret, beside those that the classification knows.
const ABOUT: [&str; 38] = [
    "hash",
    "digest",
    "salt",
    "id",
    "ids",
    "label",
    "placeholder",
    "title",
    "text",
    "message",
    "error",
    "hint",
    "help",
    "description",
    "pattern",
    "regex",
    "prefix",
    "suffix",
    "header",
    "field",
    "param",
    "env",
    "var",
    "input",
    "count",
    "max",
    "min",
    "size",
    "ttl",
    "expiry",
    "algorithm",
    "publickey",
    "class",
    "selector",
    "icon",
    "ref",
    "arn",
    "kid",
];
/// What stands before `key` where the key is a secret.
const KEYS: [&str; 20] = [
    "encryption",
    "signing",
    "sign",
    "master",
    "hmac",
    "aes",
    "cipher",
    "crypt",
    "service",
    "session",
    "app",
    "deploy",
    "admin",
    "server",
    "jwt",
    "cookie",
    "storage",
    "account",
    "subscription",
    "preshared",
];
/// Names that say too little.
const SAYS_LITTLE: [&str; 6] = ["key", "code", "sig", "sas", "session", "auth"];
/// How values begin that point to a secret, or were made from one.
const ELSEWHERE: [&str; 26] = [
    "$",
    "%",
    "@",
    "&",
    "!",
    "#",
    "{",
    "[",
    "(",
    "process.env",
    "os.",
    "env.",
    "env(",
    "vault:",
    "arn:",
    "op://",
    "ref+",
    "enc[",
    "enc(",
    "sha256",
    "sha512",
    "sha1-",
    "secret://",
    "data:",
    "file:",
    "ssm:",
];

/// What is assigned to such a name, in any order.
pub(super) fn search(place: &Place, text: &[u8]) -> Vec<Found> {
    let mut found = Vec::new();
    if matches!(place.family, Family::Generated | Family::Style) {
        return found;
    }
    let mut done = 0;
    for (at, byte) in text.iter().enumerate() {
        let pair = match byte {
            b'=' | b':' | b',' | b'(' | b'>' => pair(place, text, at),
            b' ' => flag(place, text, at),
            _ => None,
        };
        if let Some((name, span)) = pair
            && span.start >= done
            && is_meant(place, &name, &text[span.clone()])
        {
            done = span.end;
            let message = format!("a secret in `{name}`");
            found.push(Found {
                class: Class::VendorKey,
                what: text[span.clone()].to_vec(),
                span,
                message,
                old: false,
            });
        }
    }
    found
}

/// The name before a sign and the value behind it.
fn pair(place: &Place, text: &[u8], at: usize) -> Option<(String, Range<usize>)> {
    let sign = text[at];
    let (name, quoted_name) = name_before(text, at)?;
    if sign == b'=' && !quoted_name && text[..at - name.len()].ends_with(b"?")
        || text[..at.saturating_sub(name.len())].ends_with(b"&") && sign == b'='
    {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        let body = run(text, at + 1, LONGEST.1, letter);
        return names(&name).then_some((name, at + 1..at + 1 + body.len()));
    }
    // Whether the name says enough costs less than the value.
    let owned = matches!(name.as_str(), "value" | "default" | "Value");
    if !owned && !names(&name) {
        return None;
    }
    let (span, quoted) = value_behind(text, at + 1, sign)?;
    let bare = match place.family {
        Family::Settings | Family::Yaml | Family::Shell | Family::Docker | Family::Make => {
            matches!(sign, b'=' | b':')
        }
        Family::Markup => sign == b'>',
        _ => false,
    };
    if !(quoted || bare) || (sign == b',' && !quoted_name) || (matches!(sign, b',' | b'(') && !quoted) {
        return None;
    }
    let name = if owned { owner(text, at)? } else { name };
    names(&name).then_some((name, span))
}

/// `--password VALUE` and, where logins are kept, `password VALUE`.
fn flag(place: &Place, text: &[u8], at: usize) -> Option<(String, Range<usize>)> {
    let (name, _) = name_before(text, at)?;
    let start = at - name.len();
    let option = text[..start].ends_with(b"--")
        && matches!(place.family, Family::Shell | Family::Yaml | Family::Docker | Family::Make);
    let login = place.family == Family::Settings && name == "password";
    let docker = place.family == Family::Docker && text[..start].ends_with(b"ENV ");
    if !(option || login || docker) || !names(&name) {
        return None;
    }
    let (span, _) = value_behind(text, at, b' ')?;
    Some((name, span))
}

/// The identifier that ends before a place, and whether it is in quotes.
fn name_before(text: &[u8], at: usize) -> Option<(String, bool)> {
    let front = &text[..at];
    let blanks = front.iter().rev().take(BLANKS).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let mut end = at - blanks;
    // `:=`, `=>`, `==` and `+=` have a sign before the one that was found.
    end -= usize::from(end > 0 && matches!(text[end - 1], b':' | b'=' | b'?' | b'+'));
    end -= text[..end]
        .iter()
        .rev()
        .take(BLANKS)
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b']' | b'\\'))
        .count();
    let quoted = end > 0 && matches!(text[end - 1], b'"' | b'\'');
    end -= usize::from(quoted);
    end -= usize::from(quoted && end > 0 && text[end - 1] == b'\\');
    let letter = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let length = text[..end].iter().rev().take(LONGEST.0 + 1).take_while(letter).count();
    let name = std::str::from_utf8(&text[end - length..end]).ok()?.trim_start_matches('-');
    if name.len() < 2 || length > LONGEST.0 {
        return None;
    }
    // `const TOKEN: &str = "…"`, `let password: string = "…"`.
    let typed = ["str", "String", "string", "static", "text", "TEXT"].contains(&name);
    if typed && !quoted {
        let colon = text[..end].iter().rev().take(BLANKS).position(|byte| *byte == b':')?;
        return name_before(text, end - colon - 1);
    }
    Some((name.to_owned(), quoted))
}

/// The value behind a sign, without its quotes, and whether it has some.
fn value_behind(text: &[u8], from: usize, sign: u8) -> Option<(Range<usize>, bool)> {
    let mut at = from;
    if sign == b'=' {
        at += run(text, at, 2, |byte| matches!(byte, b'=' | b'>' | b'~')).len();
    }
    at += run(text, at, BLANKS, |byte| matches!(byte, b' ' | b'\t' | b'\\')).len();
    // What makes a string of another kind of it: `b"…"`, `Some("…")`, `Secret::new("…")`.
    let wrap = run(text, at, 24, |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'.' | b'&' | b'@' | b'(')
    });
    let opened = wrap.ends_with(b"(") || wrap.len() == 1 || wrap == b"&";
    if !wrap.is_empty() && opened && matches!(text.get(at + wrap.len()), Some(b'"' | b'\'' | b'`')) {
        at += wrap.len();
    }
    match text.get(at)? {
        quote @ (b'"' | b'\'' | b'`') => {
            let body = run(text, at + 1, LONGEST.1, |byte| byte != *quote && byte != b'\n' && byte != b'\\');
            let closed =
                matches!(text.get(at + 1 + body.len()), Some(byte) if byte == quote || *byte == b'\\');
            closed.then_some((at + 1..at + 1 + body.len(), true))
        }
        _ => {
            let ends = if sign == b'>' { &b"<"[..] } else { b"\"'`;,<>()" };
            let body = run(text, at, LONGEST.1, |byte| byte.is_ascii_graphic() && !ends.contains(&byte));
            let end = text.get(at + body.len());
            let ended = end.is_none_or(|byte| {
                byte.is_ascii_whitespace() || *byte == b';' || (sign == b'>' && *byte == b'<')
            });
            (ended && !body.is_empty()).then_some((at..at + body.len(), false))
        }
    }
}

/// Whose `value` or `default` it is: what is called so shortly before.
fn owner(text: &[u8], at: usize) -> Option<String> {
    let above = &text[at.saturating_sub(ABOVE)..at];
    let above = String::from_utf8_lossy(above);
    let words = ["variable \"", "name: ", "\"name\": \"", "name = \"", "Name\": \""];
    let found = words.iter().filter_map(|word| above.rfind(word).map(|at| at + word.len())).max()?;
    let letter = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let name: String = above[found..].trim_start_matches(['"', '\'']).chars().take_while(letter).collect();
    (!name.is_empty()).then_some(name)
}

/// Whether a name speaks of a secret and not about one.
fn names(name: &str) -> bool {
    let mut folded = name.to_ascii_lowercase();
    folded.retain(|c| c.is_ascii_alphanumeric());
    let last = name.rsplit(['_', '-']).next().unwrap_or_default().to_ascii_lowercase();
    let about = ABOUT.iter().any(|end| last == *end || (end.len() > 3 && folded.ends_with(end)));
    let key = folded.strip_suffix("key").is_some_and(|front| KEYS.iter().any(|word| front.ends_with(word)));
    (key || parameter_names_secret(name)) && !about && !SAYS_LITTLE.contains(&folded.as_str())
        || folded == "auth"
}

/// Whether a value is one that somebody means. What costs most is asked last.
fn is_meant(place: &Place, name: &str, value: &[u8]) -> bool {
    let Ok(value) = std::str::from_utf8(value) else { return false };
    let value = value.strip_prefix("base64:").unwrap_or(value);
    // What has a vendor's shape is left to the check of that shape.
    let shaped = ["AIza", "eyJ", "AKIA", "ASIA"].iter().any(|start| value.starts_with(start));
    let plain = || name != "auth" && classify::classify(name, value) == classify::Class::Plain;
    !shaped && looks_meant(place, name, value) && !is_published(value) && !plain()
}

fn looks_meant(place: &Place, name: &str, value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let graphic = value.bytes().all(|byte| byte.is_ascii_graphic());
    let filled = ["{", "{{", "$(", "#{", "%(", "%s", "://", "()", "<", "…", "\\"]
        .iter()
        .any(|sign| value.contains(sign));
    let elsewhere = ELSEWHERE.iter().any(|start| lower.starts_with(start));
    if value.len() < 8 || !graphic || filled || elsewhere || is_placeholder(value) {
        return false;
    }
    let folded: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    if folded == "auth" {
        return value.len() >= 16 && holds_login(place, value.trim_end_matches('=').as_bytes());
    }
    if is_uuid(value) {
        let strong = ["apikey", "secret", "password", "authtoken"].iter().any(|word| folded.contains(word));
        return strong && !place.shows() && !is_sequence(value.replace('-', "").as_bytes());
    }
    let words = is_wordy(value) || is_identifier(value);
    let drawn = (is_random(value) && !words) || (value.len() >= 16 && is_drawn(value.as_bytes()));
    let weak = is_weak_placeholder(value);
    if place.shows() {
        return drawn && value.len() >= 20 && !weak && !words && !is_sequence(value.as_bytes());
    }
    if ["password", "passwd", "pwd", "passphrase", "passcode"].iter().any(|word| folded.contains(word)) {
        return !weak && !words && (is_password(value) || sorts(value) >= 3 || drawn);
    }
    drawn && !words && (!weak || value.len() >= 24) && !is_sequence(value.as_bytes())
}

/// Names of programs, such as `com.example.Token2` and `TokenKindV2`, are no values.
fn is_identifier(value: &str) -> bool {
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let part = |part: &str| part.bytes().next().is_none_or(|byte| byte.is_ascii_alphabetic());
    digits <= 2
        && value.split(['.', '_', '/', ':', '-']).all(part)
        && value.contains(['.', '_', '/', ':', '-'])
}

/// How many of small letters, capitals, digits and other signs a value has.
fn sorts(value: &str) -> usize {
    let has = |sort: fn(&u8) -> bool| usize::from(value.bytes().any(|byte| sort(&byte)));
    has(u8::is_ascii_lowercase)
        + has(u8::is_ascii_uppercase)
        + has(u8::is_ascii_digit)
        + has(u8::is_ascii_punctuation)
}
