//! Credentials that are known by their whole shape and not by a beginning.
//!
//! Owns private keys, signed tokens, URLs with passwords and those few vendors whose keys have no prefix of
//! their own. Must not know names that stand beside a value; that is `assigned`.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::drawn::{different, is_drawn, is_placeholder, is_sequence, is_weak_placeholder, is_wordy};
use super::place::Place;
use super::vendor::{begins, is_published, looks_real};
use super::{Class, Found};
use crate::credential::classify::is_random;

/// What a shape is looked for by, and the check of what stands there: where the credential is.
struct Shape {
    anchor: &'static str,
    says: &'static str,
    check: fn(&Place, &[u8], usize) -> Option<Range<usize>>,
}

const SHAPES: [Shape; 17] = [
    Shape { anchor: "-----BEGIN ", says: "a private key", check: pem },
    Shape { anchor: "PuTTY-User-Key-File-", says: "a private key of PuTTY", check: putty },
    Shape { anchor: "eyJ", says: "a signed token (eyJ…)", check: jwt },
    Shape { anchor: "://", says: "a URL with a password in it", check: url },
    Shape { anchor: ":AA", says: "a token of a Telegram bot", check: telegram },
    Shape { anchor: "AccountKey=", says: "a key of an Azure account", check: azure },
    Shape { anchor: "SharedAccessKey=", says: "a shared access key of Azure", check: azure },
    Shape { anchor: "sig=", says: "a signed URL of Azure", check: azure_signature },
    Shape { anchor: "hooks.slack.com/services/T", says: "a webhook of Slack", check: webhook },
    Shape { anchor: "/api/webhooks/", says: "a webhook of Discord", check: webhook },
    Shape { anchor: "webhook.office.com/webhookb2/", says: "a webhook of Microsoft Teams", check: webhook },
    Shape { anchor: ".atlasv1.", says: "a token of HCP Terraform", check: atlas },
    Shape { anchor: "SK", says: "a key of Twilio (SK…)", check: twilio },
    Shape { anchor: "Bearer ", says: "a bearer token", check: bearer },
    Shape { anchor: "Basic ", says: "a user's name and password in base 64", check: basic },
    Shape { anchor: "-us", says: "a key of Mailchimp", check: mailchimp },
    Shape { anchor: "1//0", says: "a refresh token of Google (1//0…)", check: google_refresh },
];

static ANCHORS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let anchors = SHAPES.iter().map(|shape| shape.anchor);
    AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(anchors).ok()
});

/// What has one of the shapes, in any order.
pub(super) fn search(place: &Place, text: &[u8]) -> Vec<Found> {
    let mut found = Vec::new();
    let Some(anchors) = &*ANCHORS else { return found };
    let mut done = 0;
    for hit in anchors.find_iter(text) {
        let shape = &SHAPES[hit.pattern().as_usize()];
        let Some(span) = (shape.check)(place, text, hit.start()) else { continue };
        if span.start >= done {
            done = span.end;
            found.push(one(span, text, shape.says));
        }
    }
    found.extend(discord(text).into_iter().map(|span| one(span, text, "a token of a Discord bot")));
    found
}

fn one(span: Range<usize>, text: &[u8], says: &str) -> Found {
    Found {
        class: Class::VendorKey,
        what: text[span.clone()].to_vec(),
        span,
        message: says.to_owned(),
        old: false,
    }
}

/// The run of such bytes that begins at a place.
pub(super) fn run(text: &[u8], at: usize, most: usize, letter: impl Fn(u8) -> bool) -> &[u8] {
    let rest = text.get(at..).unwrap_or_default();
    let length = rest.iter().take(most).take_while(|byte| letter(**byte)).count();
    &rest[..length]
}

pub(super) fn in_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

fn in_url_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// A line that begins a private key, with a line of one soon behind it.
fn pem(_: &Place, text: &[u8], at: usize) -> Option<Range<usize>> {
    let begin = at + "-----BEGIN ".len();
    let label =
        run(text, begin, 64, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ');
    let private = label.ends_with(b"PRIVATE KEY") || label.ends_with(b"PRIVATE KEY BLOCK");
    let behind = begin + label.len();
    let mut from = behind;
    let end = (behind + 600).min(text.len());
    if !private || !text[behind..].starts_with(b"-----") {
        return None;
    }
    while from < end {
        let line = run(text, from, 4096, in_base64);
        // `\n` is a sign and a letter that is none of the key's.
        if line.len() >= 40 {
            let line = line.strip_prefix(b"n").unwrap_or(line);
            let real =
                is_drawn(line) && different(line) >= 12 && !is_placeholder(&String::from_utf8_lossy(line));
            return real.then_some(at..from + line.len());
        }
        if text[from..].starts_with(b"-----END") {
            return None;
        }
        from += line.len().max(1);
    }
    None
}

fn putty(_: &Place, text: &[u8], at: usize) -> Option<Range<usize>> {
    let end = (at + 4096).min(text.len());
    let lines = super::lexed::find(&text[..end], at, b"Private-Lines:")?;
    Some(at..lines)
}

/// Header, claims and signature, that are none of those in every manual.
fn jwt(place: &Place, text: &[u8], at: usize) -> Option<Range<usize>> {
    if !begins(text, at, true) {
        return None;
    }
    let part = |from| run(text, from, 8 * 1024, in_url_base64);
    let header = part(at);
    let claims_at = at + header.len() + 1;
    let claims = part(claims_at);
    let signature_at = claims_at + claims.len() + 1;
    let signature = part(signature_at);
    let dots = text.get(claims_at - 1) == Some(&b'.') && text.get(signature_at - 1) == Some(&b'.');
    if !dots || signature.len() < 20 || !claims.starts_with(b"eyJ") {
        return None;
    }
    let read = |part: &[u8]| -> Option<serde_json::Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
    };
    let (header, claims) = (read(header)?, read(claims)?);
    let says = |name: &str| claims.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    // The key that Supabase means for everybody, and the person whom manuals are about.
    let public = says("role") == "anon" || says("name") == "John Doe" || says("sub") == "1234567890";
    let span = at..signature_at + signature.len();
    let value = std::str::from_utf8(&text[span.clone()]).ok()?;
    let drawn = different(signature) >= 10 && !is_placeholder(&String::from_utf8_lossy(signature));
    let real = header.get("alg").is_some() && claims.is_object() && !public && drawn;
    (real && !(place.shows() && is_sequence(signature)) && !is_published(value)).then_some(span)
}

/// `scheme://user:password@host` with a password that somebody means.
fn url(place: &Place, text: &[u8], at: usize) -> Option<Range<usize>> {
    let begin = at + 3;
    let authority =
        run(text, begin, 300, |byte| byte.is_ascii_graphic() && !b"/\"'`<>\\,?# ()|".contains(&byte));
    let authority = std::str::from_utf8(authority).ok()?;
    let (user_info, host) = authority.rsplit_once('@')?;
    let (user, password) = user_info.split_once(':')?;
    let span = begin..begin + user_info.len();
    let reference = password.contains(['$', '{', '}', '%', '*', '[', ']']) && !percent_encoded(password);
    if password.len() < 6 || reference || user.contains(['{', '$']) || password.eq_ignore_ascii_case(user) {
        return None;
    }
    let host_name = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let reserved = [
        "example.com",
        "example.org",
        "example.net",
        ".example",
        ".test",
        ".invalid",
        "localhost",
        "domain.com",
        "host.com",
    ];
    let nowhere = reserved.iter().any(|end| host_name.ends_with(end)) || host_name.starts_with("127.");
    let elsewhere = host_name.contains('.') && !nowhere;
    let drawn = is_random(password) || (password.len() >= 12 && is_drawn(password.as_bytes()));
    let digits = password.bytes().any(|byte| byte.is_ascii_digit());
    let letters = password.bytes().any(|byte| byte.is_ascii_alphabetic());
    let meant = elsewhere && !place.shows() && password.len() >= 8 && digits && letters;
    let filler = is_weak_placeholder(password) || is_wordy(password) && !drawn || is_published(password);
    ((drawn && !nowhere || meant) && !filler).then_some(span)
}

fn percent_encoded(text: &str) -> bool {
    let hex = |part: &str| part.len() >= 2 && part.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    !text.contains(['$', '{', '}', '*', '[', ']']) && text.split('%').skip(1).all(hex)
}

/// A bot's number, a colon and 35 letters of which the first two are always the same.
fn telegram(place: &Place, text: &[u8], at: usize) -> Option<Range<usize>> {
    let digits = text[..at].iter().rev().take(12).take_while(|byte| byte.is_ascii_digit()).count();
    let rest = run(text, at + 1, 64, in_url_base64);
    let before = at.checked_sub(digits + 1).map(|at| text[at]);
    let alone =
        before.is_none_or(|byte| !byte.is_ascii_alphanumeric() || text[..at - digits].ends_with(b"bot"));
    let body = std::str::from_utf8(rest).ok()?;
    let real = (8..=10).contains(&digits) && rest.len() == 35 && alone && looks_real(place, body, true);
    real.then_some(at - digits..at + 1 + rest.len())
}

/// 256 or 512 bits in base 64, but for the keys of the emulators that everybody has.
fn azure(_: &Place, text: &[u8], at: usize) -> Option<Range<usize>> {
    let begin = at + run(text, at, 20, |byte| byte != b'=').len() + 1;
    let body = run(text, begin, 128, in_base64);
    let value = std::str::from_utf8(body).ok()?;
    let long = body.len() == 86 || body.len() == 43;
    (long && is_drawn(body) && !is_placeholder(value) && !is_published(value))
        .then_some(begin..begin + body.len())
}

fn azure_signature(_: &Place, text: &[u8], at: usize) -> Option<Range<usize>> {
    let before = text[..at].last();
    let body = run(text, at + 4, 100, |byte| in_base64(byte) || byte == b'%');
    let near = &text[at.saturating_sub(400)..(at + 400).min(text.len())];
    let version = near.windows(4).any(|part| matches!(part, [b'?' | b'&', b's', b'v', b'=']));
    let long = (43..=64).contains(&body.len());
    let real = matches!(before, Some(b'?' | b'&')) && version && long && is_drawn(body);
    (real && !is_placeholder(&String::from_utf8_lossy(body))).then_some(at + 4..at + 4 + body.len())
}

/// The last part of a webhook's path is its key.
fn webhook(_: &Place, text: &[u8], at: usize) -> Option<Range<usize>> {
    let path = run(text, at, 300, |byte| byte.is_ascii_graphic() && !b"\"'`<>\\,?# ()|".contains(&byte));
    let discord = path.starts_with(b"/api/webhooks/");
    let domain = &text[at.saturating_sub(16)..at];
    if discord && !domain.ends_with(b"discord.com") && !domain.ends_with(b"discordapp.com") {
        return None;
    }
    let path = std::str::from_utf8(path).ok()?.trim_end_matches(['.', ';', ':']);
    let key = path.rsplit('/').next()?;
    let least = if discord { 50 } else { 20 };
    let real =
        key.len() >= least && is_drawn(key.as_bytes()) && !is_placeholder(path) && !path.contains("XXXX");
    real.then_some(at..at + path.len())
}

fn atlas(place: &Place, text: &[u8], at: usize) -> Option<Range<usize>> {
    let before = text[..at].iter().rev().take(20).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let body = run(text, at + ".atlasv1.".len(), 100, in_url_base64);
    let value = std::str::from_utf8(body).ok()?;
    let real = before == 14 && body.len() >= 40 && looks_real(place, value, false);
    real.then_some(at - before..at + ".atlasv1.".len() + body.len())
}

fn twilio(_: &Place, text: &[u8], at: usize) -> Option<Range<usize>> {
    let body = run(text, at + 2, 40, |byte| byte.is_ascii_alphanumeric());
    let hex = body.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
    let before = at.checked_sub(1).map(|at| text[at]);
    let alone = before.is_none_or(|byte| !in_base64(byte) && byte != b'_');
    (body.len() == 32 && hex && alone && is_drawn(body)).then_some(at..at + 34)
}

/// A token in a header that is written out.
fn bearer(place: &Place, text: &[u8], at: usize) -> Option<Range<usize>> {
    let begin = at + "Bearer ".len();
    let body =
        run(text, begin, 512, |byte| in_url_base64(byte) || matches!(byte, b'.' | b'+' | b'/' | b'=' | b'~'));
    let value = std::str::from_utf8(body).ok()?.trim_end_matches(['.', '=']);
    let real = value.len() >= 20 && is_random(value) && looks_real(place, value, true);
    (real && !is_published(value) && !is_weak_placeholder(value)).then_some(begin..begin + value.len())
}

fn basic(place: &Place, text: &[u8], at: usize) -> Option<Range<usize>> {
    let begin = at + "Basic ".len();
    let body = run(text, begin, 512, in_base64);
    (body.len() >= 16 && holds_login(place, body)).then_some(begin..begin + body.len())
}

/// Whether a text is base 64 of a name, a colon and a password that somebody means.
pub(super) fn holds_login(place: &Place, body: &[u8]) -> bool {
    let whole = &body[..body.len() - usize::from(body.len() % 4 == 1)];
    let Ok(bytes) = STANDARD_NO_PAD.decode(whole) else { return false };
    let Ok(login) = std::str::from_utf8(&bytes) else { return false };
    let Some((user, password)) = login.split_once(':') else { return false };
    let plain = login.bytes().all(|byte| byte.is_ascii_graphic());
    let drawn = is_random(password) || (password.len() >= 12 && is_drawn(password.as_bytes()));
    let digits = password.bytes().any(|byte| byte.is_ascii_digit());
    let meant = !place.shows() && password.len() >= 8 && digits && password != user;
    plain && (drawn || meant) && !is_weak_placeholder(password) && !is_wordy(password)
}

fn mailchimp(_: &Place, text: &[u8], at: usize) -> Option<Range<usize>> {
    let hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let before = text[..at].iter().rev().take(40).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let body = &text[at - before..at];
    let digits = run(text, at + 3, 4, |byte| byte.is_ascii_digit()).len();
    let ends = !text.get(at + 3 + digits).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    let real =
        body.len() == 32 && body.iter().all(hex) && (1..=2).contains(&digits) && ends && is_drawn(body);
    real.then_some(at - before..at + 3 + digits)
}

fn google_refresh(place: &Place, text: &[u8], at: usize) -> Option<Range<usize>> {
    let body = run(text, at + 4, 200, in_url_base64);
    let before = at.checked_sub(1).map(|at| text[at]);
    let alone = before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && byte != b'/');
    let value = std::str::from_utf8(body).ok()?;
    (body.len() >= 40 && alone && looks_real(place, value, true)).then_some(at..at + 4 + body.len())
}

/// A bot's number in base 64, a time and a signature.
fn discord(text: &[u8]) -> Vec<Range<usize>> {
    let letter = |byte: u8| in_url_base64(byte) || byte == b'.';
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let token = run(text, at, 512, letter);
        if (58..=80).contains(&token.len()) && matches!(token[0], b'M' | b'N' | b'O') {
            let token = token.strip_suffix(b".").unwrap_or(token);
            let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
            let lengths = matches!(parts.as_slice(), [id, time, key]
                if (24..=28).contains(&id.len()) && (6..=7).contains(&time.len()) && (27..=40).contains(&key.len()) && different(key) >= 10);
            let id = URL_SAFE_NO_PAD.decode(parts[0]).or_else(|_| STANDARD_NO_PAD.decode(parts[0]));
            if lengths && id.is_ok_and(|id| id.iter().all(u8::is_ascii_digit)) {
                found.push(at..at + token.len());
            }
        }
        at += token.len() + 1;
    }
    found
}
