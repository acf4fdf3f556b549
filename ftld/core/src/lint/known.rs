//! Values that are known: the human's real ones and a session's shadows.
//!
//! Owns the search for them in every encoding that `scrub` knows, backwards and rotated, and for parts of
//! real ones. Must not say a value: what is found is named by its credential.

use std::collections::HashMap;
use std::ops::Range;

use super::drawn::{different, is_wordy};
use super::{Class, Found, MOST};
use crate::credential::secret_value::Secret;
use crate::id::Hash;
use crate::scrub::{SHORTEST, Scrubber};

/// Bytes of a value that are searched for as a part of it.
const PART: usize = 12;
/// Fewest different bytes in such a part.
const DIFFERENT: usize = 8;
/// A value of one sort of letters only that is shorter than this is a word.
const WORD: usize = 16;

/// Bytes that one letter of a value has at most, as it is written: `&#x0000041;` in two bytes each.
const LONGEST_LETTER: usize = 24;

/// The values that are searched for. Keeps copies of them in memory.
pub struct Known {
    values: Vec<Value>,
    left_out: Vec<String>,
    all: Scrubber,
    parts: Parts,
    mark: Hash,
    longest: usize,
}

/// One value, with a search of its own to tell which one was found.
struct Value {
    name: String,
    class: Class,
    text: Secret,
    search: Scrubber,
}

/// Parts of values by their bytes.
struct Parts {
    /// To which value each belongs.
    owners: HashMap<[u8; PART], usize>,
    /// The first four bytes of each, hashed, so that most places cost one look.
    begins: Vec<u64>,
}

impl Known {
    /// The search for real values and shadows, each with the name of its credential. Values under 8 bytes
    /// and those that are a mere word would be found everywhere by chance; they are left out.
    #[must_use]
    pub fn new<N: AsRef<str>, V: AsRef<str>>(secrets: &[(N, V)], shadows: &[(N, V)]) -> Self {
        let (mut values, mut left_out) = (Vec::new(), Vec::new());
        let secrets = secrets.iter().map(|pair| (Class::Secret, pair));
        for (class, (name, value)) in secrets.chain(shadows.iter().map(|pair| (Class::Shadow, pair))) {
            let (name, text) = (name.as_ref().to_owned(), value.as_ref().trim());
            if is_findable(text) {
                let search = Scrubber::new(&variants(text, class));
                values.push(Value { name, class, text: text.into(), search });
            } else {
                left_out.push(name);
            }
        }
        let pairs: Vec<_> =
            values.iter().flat_map(|value| variants(value.text.expose(), value.class)).collect();
        let all = Scrubber::new(&pairs);
        let parts = Parts::new(&values);
        let (mark, longest) = (mark(&values), values.iter().map(|value| value.text.expose().len()).max());
        Self { values, left_out, all, parts, mark, longest: longest.unwrap_or_default() }
    }

    /// A search for nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::new::<&str, &str>(&[], &[])
    }

    /// Names of the credentials whose values are too short or too plain to be searched for.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The same for two searches that find the same. It says as little of the values as any digest, and is to stay
    /// in memory.
    #[must_use]
    pub fn mark(&self) -> Hash {
        self.mark
    }

    /// Bytes that the longest value has at most, however it is written.
    pub(super) fn reach(&self) -> usize {
        self.longest.saturating_mul(LONGEST_LETTER)
    }

    /// What of it stands in a content, each place once.
    pub(super) fn in_text(&self, text: &[u8], before: &[u8]) -> Vec<Found> {
        let mut found = Vec::new();
        if !self.all.places(text).is_empty() {
            for value in &self.values {
                let places = value.search.places(text);
                let old = !places.is_empty() && !value.search.places(before).is_empty();
                found.extend(
                    merged(places).into_iter().take(MOST).map(|span| value.found(span, text, old, false)),
                );
            }
        }
        // A real value is worse than a shadow with the same bytes, and the whole worse than a part.
        found.sort_by_key(|found| {
            (found.class != Class::Secret, found.span.start, usize::MAX - found.span.end)
        });
        let mut kept: Vec<Found> = Vec::new();
        for one in found {
            if !kept.iter().any(|other| super::touch(&other.span, &one.span)) {
                kept.push(one);
            }
        }
        for (span, owner) in self.parts.places(text).into_iter().take(MOST) {
            let value = &self.values[owner];
            let whole = kept.iter().any(|other| super::touch(&other.span, &span));
            if !whole {
                let old = self.parts.places(before).iter().any(|(_, other)| *other == owner);
                kept.push(value.found(span, text, old, true));
            }
        }
        kept
    }
}

impl Value {
    fn found(&self, span: Range<usize>, text: &[u8], old: bool, part: bool) -> Found {
        let message = match (self.class, part) {
            (Class::Shadow, _) => {
                format!("the shadow of {}, which means nothing outside of its sandbox", self.name)
            }
            (_, false) => format!("the real value of {}", self.name),
            (_, true) => format!("a part of the real value of {}", self.name),
        };
        let what = text[span.clone()].to_vec();
        Found { class: self.class, span, message, what, old }
    }
}

fn mark(values: &[Value]) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key("ftl lint known values 1");
    for value in values {
        for part in [value.class.name().as_bytes(), value.name.as_bytes(), value.text.expose().as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
    }
    Hash(*hasher.finalize().as_bytes())
}

/// Places that overlap or follow each other closely as one.
fn merged(places: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut all: Vec<Range<usize>> = Vec::new();
    for place in places {
        match all.last_mut() {
            Some(last) if place.start < last.end => last.end = last.end.max(place.end),
            _ => all.push(place),
        }
    }
    all
}

/// Whether a value is found where it is meant and hardly anywhere else.
fn is_findable(value: &str) -> bool {
    let one_sort = |sort: fn(&u8) -> bool| value.bytes().all(|byte| sort(&byte));
    let plain =
        one_sort(u8::is_ascii_lowercase) || one_sort(u8::is_ascii_uppercase) || one_sort(u8::is_ascii_digit);
    value.len() >= SHORTEST && different(value.as_bytes()) >= 4 && !(plain && value.len() < WORD)
}

/// A value as it is, backwards and rotated by 13 letters, each beside bytes that differ from all of its own.
fn variants(value: &str, class: Class) -> Vec<(String, String)> {
    let other = |text: &str| text.bytes().map(|byte| if byte == b'x' { 'y' } else { 'x' }).collect();
    let mut all = vec![value.to_owned()];
    if class == Class::Secret {
        let turn = |c: char, first: u8| char::from((c as u8 - first + 13) % 26 + first);
        let rotated = value.chars().map(|c| match c {
            'a'..='z' => turn(c, b'a'),
            'A'..='Z' => turn(c, b'A'),
            _ => c,
        });
        all.extend([value.chars().rev().collect(), rotated.collect()]);
    }
    all.into_iter().map(|text: String| (text.clone(), other(&text))).collect()
}

impl Parts {
    fn new(values: &[Value]) -> Self {
        let mut this = Self { owners: HashMap::new(), begins: vec![0; 1 << 10] };
        for (owner, value) in values.iter().enumerate().filter(|(_, value)| value.class == Class::Secret) {
            let text = value.text.expose();
            // Of a token only the signature is its own.
            let own = match text.rsplit_once('.') {
                Some((_, signature)) if text.starts_with("eyJ") => signature,
                _ => text,
            };
            for part in own.as_bytes().windows(PART).filter(|part| tells(part)) {
                if let Ok(part) = <[u8; PART]>::try_from(part) {
                    let (word, bit) = bucket(&part);
                    this.begins[word] |= bit;
                    this.owners.insert(part, owner);
                }
            }
        }
        this
    }

    /// Where parts of values stand, each run of them once.
    fn places(&self, text: &[u8]) -> Vec<(Range<usize>, usize)> {
        let mut found: Vec<(Range<usize>, usize)> = Vec::new();
        if self.owners.is_empty() {
            return found;
        }
        for (at, part) in text.windows(PART).enumerate() {
            let (word, bit) = bucket(part);
            if self.begins[word] & bit == 0 {
                continue;
            }
            let Some(owner) = <[u8; PART]>::try_from(part).ok().and_then(|part| self.owners.get(&part))
            else {
                continue;
            };
            match found.last_mut() {
                Some((last, same)) if *same == *owner && at <= last.end => last.end = at + PART,
                _ => found.push((at..at + PART, *owner)),
            }
        }
        found
    }
}

/// Whether twelve bytes of a value could hardly be in a text that has nothing to do with it.
fn tells(part: &[u8]) -> bool {
    let count = |sort: fn(&u8) -> bool| part.iter().filter(|byte| sort(byte)).count();
    let sorts = [u8::is_ascii_lowercase, u8::is_ascii_uppercase, u8::is_ascii_digit];
    let mixed = sorts.into_iter().filter(|sort| count(*sort) >= 2).count() >= 2;
    let token = part.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/_-".contains(byte));
    let words = std::str::from_utf8(part).is_ok_and(is_wordy);
    token && mixed && different(part) >= DIFFERENT && !words
}

fn bucket(part: &[u8]) -> (usize, u64) {
    let word = part.iter().take(4).fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
    let hash = word.wrapping_mul(0x9e37_79b1) >> 16;
    ((hash / 64) as usize, 1 << (hash % 64))
}
