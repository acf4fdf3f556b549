//! Keys in the shapes of their vendors.
//!
//! Owns how the catalogue's forms are found in the midst of a text, and what tells a key there from a name,
//! an example or a piece of encoded data. What has no fixed beginning is in `shapes`. Must not know how a
//! vendor's values look: that is the catalogue's.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use sha2::{Digest as _, Sha256};

use super::drawn::{different, is_drawn, is_placeholder, is_sequence, is_wordy};
use super::place::{Family, Place};
use super::{Class, Found, shapes, written};
use crate::credential::catalogue::{Catalogue, Form, Vendor};
use crate::credential::shape::crc32_base62;

/// Letters behind a prefix at least, whatever the catalogue says; a text has more than values.
const SHORTEST: usize = 14;
/// The same when several vendors have the prefix, or hardly anything to tell it by.
const SHORTEST_SHARED: usize = 20;
/// Letters with a checksum at their end, without the prefix.
const CHECKED: usize = 36;
/// Bytes that are looked at on either side of a place.
const AROUND: usize = 200;
/// Longest value.
const LONGEST: usize = 512;
/// Letters of a value by which it is judged.
const JUDGED: usize = 200;
/// Beginnings of SHA-256 digests of values that their vendors, or standards, print for everybody to try.
const PUBLISHED: &str = include_str!("published.txt");

static SEARCH: LazyLock<Search> = LazyLock::new(Search::new);

struct Search {
    forms: Vec<(&'static Vendor, &'static Form)>,
    /// For each prefix, the forms that have it.
    prefixes: Vec<Vec<usize>>,
    automaton: Option<AhoCorasick>,
}

impl Search {
    fn new() -> Self {
        let usable = |form: &Form| form.prefix.len() >= 3 && form.prefix.is_ascii();
        let forms: Vec<_> = Catalogue::builtin().forms().filter(|(_, form)| usable(form)).collect();
        let mut texts: Vec<&str> = Vec::new();
        let mut prefixes: Vec<Vec<usize>> = Vec::new();
        for (at, (_, form)) in forms.iter().enumerate() {
            match texts.iter().position(|text| *text == form.prefix) {
                Some(known) => prefixes[known].push(at),
                None => {
                    texts.push(&form.prefix);
                    prefixes.push(vec![at]);
                }
            }
        }
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&texts).ok();
        Self { forms, prefixes, automaton }
    }
}

/// What looks like a vendor's key, in any order.
pub(super) fn search(place: &Place, text: &[u8]) -> Vec<Found> {
    let mut found = plain(place, text);
    found.extend(shapes::search(place, text));
    if let Some((joined, from)) = written::joined(text) {
        let moved = plain(place, &joined).into_iter().chain(shapes::search(place, &joined));
        let whole = |span: &Range<usize>| from[span.start]..from[span.end - 1] + 1;
        // Those that are in one piece were found before.
        let moved = moved.filter(|one| whole(&one.span).len() > one.span.len());
        found.extend(moved.map(|one| Found { span: whole(&one.span), ..one }));
    }
    if place.family != Family::Generated {
        for (span, inner) in written::decoded(text) {
            let one = plain(place, &inner).into_iter().chain(shapes::search(place, &inner)).next();
            found.extend(one.map(|one| Found { span, message: format!("{}, encoded", one.message), ..one }));
        }
    }
    found
}

/// Keys that stand there as they are.
fn plain(place: &Place, text: &[u8]) -> Vec<Found> {
    let search = &*SEARCH;
    let Some(automaton) = &search.automaton else { return Vec::new() };
    let mut found = Vec::new();
    for hit in automaton.find_iter(text) {
        let fits = |form: &Form| key(place, form, text, hit.start());
        let forms = search.prefixes[hit.pattern().as_usize()].iter().map(|at| search.forms[*at]);
        let mut best: Option<(&Vendor, &Form, Range<usize>)> = None;
        for (vendor, form) in forms {
            if let Some(span) = fits(form)
                && best.as_ref().is_none_or(|(_, other, _)| other.shared && !form.shared)
            {
                best = Some((vendor, form, span));
            }
        }
        found.extend(best.map(|(vendor, form, span)| {
            let what = if form.shared { "a key in the shape of some vendors'" } else { "a key of" };
            let name = if form.shared { "" } else { vendor.name.as_str() };
            let message = format!("{} ({}…)", format!("{what} {name}").trim_end(), form.prefix);
            Found { class: Class::VendorKey, what: text[span.clone()].to_vec(), span, message, old: false }
        }));
    }
    found
}

/// Where the key is that begins with a form's prefix at a place, if that is one.
fn key(place: &Place, form: &Form, text: &[u8], at: usize) -> Option<Range<usize>> {
    let letters_only = form.prefix.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !begins(text, at, letters_only) {
        return None;
    }
    let begin = at + form.prefix.len();
    let letter = |byte: &&u8| form.has(**byte) && (byte.is_ascii_alphanumeric() || b"-_.+/=~".contains(byte));
    let length = text[begin..].iter().take(LONGEST).take_while(letter).count();
    let body = trimmed(&text[begin..begin + length]);
    let (least, most) = form.lengths();
    let id = least == most && is_id(body);
    let checked = form.crc32 && body.len() >= CHECKED && has_checksum(&body[..CHECKED]);
    // Other letters may not go on where the length is known.
    let goes_on = body.len() == length && text.get(begin + length).is_some_and(u8::is_ascii_alphanumeric);
    let least = least.max(if form.shared { SHORTEST_SHARED } else { SHORTEST });
    let fits = (least..=most).contains(&body.len())
        && !(goes_on && most < LONGEST)
        && (form.contains.is_empty()
            || body.windows(form.contains.len()).any(|part| part == form.contains.as_bytes()));
    if !fits || is_path_like(form, body) {
        return None;
    }
    let value = std::str::from_utf8(&text[at..begin + body.len()]).ok()?;
    let weak = form.shared || form.prefix.len() < 4;
    let rest = &value[form.prefix.len()..];
    let real = checked
        || looks_real(place, rest, weak || letters_only)
        || (id && !place.shows() && !is_placeholder(rest));
    (real && !is_published(value) && !is_public(text, at, &form.prefix)).then_some(at..begin + body.len())
}

/// Whether what stands behind a prefix is a key's.
pub(super) fn looks_real(place: &Place, body: &str, must_be_drawn: bool) -> bool {
    // So much of it says what the rest is, and a long run of prefixes costs no more than others.
    let body = body.get(..JUDGED).unwrap_or(body);
    let bytes = body.as_bytes();
    if different(bytes) < 6 || is_wordy(body) || is_placeholder(body) {
        return false;
    }
    let sequence = is_sequence(bytes);
    match (place.shows(), must_be_drawn) {
        (true, _) => !sequence && is_drawn(bytes),
        (false, true) => is_drawn(bytes),
        // What somebody counted up in a program is no example any more.
        (false, false) => is_drawn(bytes) || (sequence && different(bytes) >= 10),
    }
}

/// Whether a text of a known length is drawn from capital letters and the digits of base 32, of which there may
/// be too few to tell it from a word by its looks.
fn is_id(body: &[u8]) -> bool {
    let letter = |byte: &u8| matches!(byte, b'A'..=b'Z' | b'2'..=b'7');
    body.iter().all(letter) && body.iter().any(u8::is_ascii_digit) && different(body) >= 9
}

/// A value without what ends a sentence or a list.
fn trimmed(body: &[u8]) -> &[u8] {
    let end =
        body.iter().rposition(|byte| byte.is_ascii_alphanumeric() || *byte == b'=').map_or(0, |at| at + 1);
    &body[..end]
}

/// Whether a value has the rest of a path behind it, or is a piece of a longer word.
fn is_path_like(form: &Form, body: &[u8]) -> bool {
    let slashes = body.iter().filter(|byte| **byte == b'/').count();
    let dots = body.iter().filter(|byte| **byte == b'.').count();
    !form.has(b'+') && slashes > 1 && dots > 2
}

/// Whether a value begins here: not within a word, nor within encoded data.
pub(super) fn begins(text: &[u8], at: usize, letters_only: bool) -> bool {
    let Some(before) = at.checked_sub(1).map(|at| text[at]) else { return true };
    let two = at.checked_sub(2).map(|at| text[at]);
    if before.is_ascii_alphanumeric() || before == b'_' {
        // `\n` and `%3D` end before it.
        let escape = matches!(before, b'n' | b'r' | b't') && two == Some(b'\\');
        let percent = at >= 3
            && text[at - 3] == b'%'
            && before.is_ascii_hexdigit()
            && two.is_some_and(|two| two.is_ascii_hexdigit());
        return escape || percent;
    }
    if !letters_only {
        return true;
    }
    // Letters alone come up in encoded data; a sign of base 64 before them means that these are its.
    match before {
        b'+' => false,
        b'-' | b'/' => {
            let run = text[..at]
                .iter()
                .rev()
                .take(AROUND)
                .take_while(|byte| byte.is_ascii_alphanumeric() || b"+/-".contains(byte));
            run.count() < 24
        }
        _ => true,
    }
}

fn has_checksum(body: &[u8]) -> bool {
    let (letters, checksum) = body.split_at(body.len() - 6);
    body.iter().all(u8::is_ascii_alphanumeric) && crc32_base62(letters).as_bytes() == checksum
}

/// Whether a value is printed for everybody to try.
pub(super) fn is_published(value: &str) -> bool {
    let digest = Sha256::digest(value.as_bytes());
    let start = digest[..8].iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    PUBLISHED.lines().filter_map(|line| line.split(' ').next()).any(|known| known == start)
}

/// Whether the key tells a project of Firebase apart and opens nothing: its neighbours say so.
fn is_public(text: &[u8], at: usize, prefix: &str) -> bool {
    if prefix != "AIza" {
        return false;
    }
    let around = &text[at.saturating_sub(AROUND)..(at + AROUND).min(text.len())];
    let around = String::from_utf8_lossy(around).to_ascii_lowercase();
    ["authdomain", "firebase", "messagingsenderid"].iter().any(|word| around.contains(word))
}
