//! What a value looks like, and other values that look the same.
//!
//! Owns how a shadow is made: same prefix, separators, alphabet and length, so that clients that check a
//! credential's form accept it, and nothing of the value itself. Must not know names, hosts or where
//! randomness comes from.

mod alphabet;
mod jwt;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

pub(super) use alphabet::Alphabet;
pub(crate) use alphabet::crc32_base62;
use alphabet::{BASE62, Letters, in_base64, last_of_base64};

use super::catalogue::Vendor;
use super::secret_value::Secret;

/// A source of random bytes: fills what it is given.
pub type Random<'a> = dyn FnMut(&mut [u8]) + 'a;

/// What a value looks like. It holds the value's secret parts too, so that no shadow repeats one of them.
pub struct Shape {
    pieces: Vec<Piece>,
    secrets: Vec<Secret>,
}

/// A part of a value.
enum Piece {
    /// Stays as it is.
    Fixed(String),
    /// So many random letters.
    Random(Letters, usize),
    /// Six letters that check the random ones before them.
    Crc32,
}

/// Random bits of a shadow, in hundredths.
const ENOUGH: usize = 128 * 100;
/// Bytes in a row that a shadow has in common with the value at most, and one more.
const IN_A_ROW: usize = 8;
/// How often a shadow that repeats some of the value is thrown away. A second time is rarer than any other
/// fault of a machine, unless the value is only a few letters long.
const TRIES: usize = 64;
/// Letters of a checksum.
const CHECKSUM: usize = 6;
/// Letters of a value that ends in a checksum, without its prefix.
const CHECKED: usize = 36;
/// Characters between the segments of a value that mean nothing to a shell, a header or a URL.
const SEPARATORS: &[u8] = b"-_.~:";
/// A segment that is at least so long has its own digits, such as an account's number.
const NUMBER: usize = 6;

impl Shape {
    /// The shape of a value; a vendor's prefix is part of it.
    #[must_use]
    pub fn of(value: &str, vendor: Option<&Vendor>) -> Self {
        let mut shape = jwt::shape(value).or_else(|| pem(value)).unwrap_or_else(|| opaque(value, vendor));
        shape.lengthen();
        shape
    }

    /// The shape of any value that is so long, letters and digits only.
    pub(super) fn flat(value: &str) -> Self {
        let pieces = vec![Piece::Random(BASE62, value.len())];
        let mut shape = Self { pieces, secrets: vec![value.into()] };
        shape.lengthen();
        shape
    }

    /// A new value of this shape with at least 128 random bits; longer than the original where that is
    /// too short for them.
    #[must_use]
    pub fn mint(&self, random: &mut Random<'_>) -> String {
        let mut shadow = self.draw(random);
        for _ in 0..TRIES {
            if !self.repeats(&shadow) {
                break;
            }
            shadow = self.draw(random);
        }
        shadow
    }

    fn draw(&self, random: &mut Random<'_>) -> String {
        let (mut shadow, mut drawn) = (String::new(), 0);
        for piece in &self.pieces {
            let from = shadow.len();
            match piece {
                Piece::Fixed(text) => shadow.push_str(text),
                Piece::Random(letters, length) => {
                    letters.draw(*length, random, &mut shadow);
                    drawn = from;
                }
                Piece::Crc32 => {
                    let checksum = alphabet::crc32_base62(&shadow.as_bytes()[drawn..]);
                    shadow.push_str(&checksum);
                }
            }
        }
        shadow
    }

    /// Whether a shadow has a run of the value's characters where it should have its own.
    fn repeats(&self, shadow: &str) -> bool {
        let fixed = self.pieces.first().map_or(0, |piece| match piece {
            Piece::Fixed(text) => text.len(),
            Piece::Random(..) | Piece::Crc32 => 0,
        });
        let own = &shadow.as_bytes()[fixed..];
        self.secrets.iter().map(|secret| secret.expose().as_bytes()).any(|secret| {
            let length = secret.len().min(IN_A_ROW);
            let runs: HashSet<&[u8]> = own.windows(length.max(1)).collect();
            length > 0 && secret.windows(length).any(|run| runs.contains(run))
        })
    }

    /// Makes the last random piece long enough for all of them together to have the bits.
    fn lengthen(&mut self) {
        let bits = |piece: &Piece| match piece {
            Piece::Random(letters, length) => letters.bits() * length,
            Piece::Fixed(_) | Piece::Crc32 => 0,
        };
        let missing = ENOUGH.saturating_sub(self.pieces.iter().map(bits).sum());
        if missing == 0 {
            return;
        }
        let last = self.pieces.iter_mut().rev().find_map(|piece| match piece {
            Piece::Random(letters, length) if !letters.ends_base64() => Some((letters, length)),
            _ => None,
        });
        match last {
            // Base64 is whole groups of four; for the rest it does not matter.
            Some((letters, length)) => *length += missing.div_ceil(letters.bits()).next_multiple_of(4),
            None => self.pieces.push(Piece::Random(BASE62, missing.div_ceil(BASE62.bits()))),
        }
    }
}

/// A value that has no structure but separators, behind a prefix that the vendor has for all.
fn opaque(value: &str, vendor: Option<&Vendor>) -> Shape {
    let form = vendor.and_then(|vendor| vendor.form(value));
    // A brace says only that it is JSON, of which no part is kept.
    let prefix = form.map_or("", |form| form.prefix.as_str()).trim_matches('{');
    let rest = value.strip_prefix(prefix).unwrap_or(value);
    let mut pieces = Vec::new();
    if !prefix.is_empty() {
        pieces.push(Piece::Fixed(prefix.to_owned()));
    }
    let checked = form.is_some_and(|form| form.crc32) && rest.len() == CHECKED;
    if checked && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        pieces.extend([Piece::Random(BASE62, CHECKED - CHECKSUM), Piece::Crc32]);
    } else if let Some(segments) = segments(rest) {
        pieces.extend(segments);
    } else if in_base64(rest) {
        let body = rest.trim_end_matches('=');
        let padding = &rest[body.len()..];
        let own = usize::from(!padding.is_empty());
        pieces.push(Piece::Random(BASE62, body.len() - own));
        if own == 1 {
            pieces.push(Piece::Random(last_of_base64(body.len()), 1));
            pieces.push(Piece::Fixed(padding.to_owned()));
        }
    } else {
        pieces.push(Piece::Random(BASE62, rest.len()));
    }
    Shape { pieces, secrets: vec![rest.into()] }
}

/// Letters and digits with separators between them, unless the separators are so many that they would say
/// something about the value.
fn segments(rest: &str) -> Option<Vec<Piece>> {
    let separator = |byte: u8| SEPARATORS.contains(&byte);
    let separators = rest.bytes().filter(|byte| separator(*byte)).count();
    let good = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || separator(byte));
    let neighbours = rest.as_bytes().windows(2).any(|pair| separator(pair[0]) && separator(pair[1]));
    if rest.is_empty() || !good || neighbours || separators * 3 > rest.len() {
        return None;
    }
    let parts: Vec<&str> = rest.split(|c: char| c.is_ascii() && separator(c as u8)).collect();
    let whole = Letters::of(&parts.concat());
    let letters = |part: &str| {
        let number = part.len() >= NUMBER && part.bytes().all(|byte| byte.is_ascii_digit());
        if number && !whole.is_hex() { Letters::of(part) } else { whole }
    };
    let mut pieces = Vec::new();
    let mut at = 0;
    for part in parts {
        if at > 0 {
            pieces.push(Piece::Fixed(rest[at - 1..at].to_owned()));
        }
        pieces.push(Piece::Random(letters(part), part.len()));
        at += part.len() + 1;
    }
    Some(pieces)
}

/// A key or certificate in lines between `-----BEGIN` and `-----END`; their ends may be written out, as
/// `.env` files have it.
fn pem(value: &str) -> Option<Shape> {
    let marker = |line: &str| {
        let label = line.trim().strip_prefix("-----").and_then(|rest| rest.strip_suffix("-----"));
        let label = label.and_then(|rest| rest.strip_prefix("BEGIN ").or_else(|| rest.strip_prefix("END ")));
        label.is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b' '))
    };
    let end = if value.contains('\n') { "\n" } else { "\\n" };
    let lines: Vec<&str> = value.split(end).collect();
    if !lines.first().is_some_and(|line| marker(line)) {
        return None;
    }
    let (mut pieces, mut secrets) = (Vec::new(), Vec::new());
    for (number, line) in lines.iter().enumerate() {
        if number > 0 {
            pieces.push(Piece::Fixed(end.to_owned()));
        }
        if marker(line) {
            pieces.push(Piece::Fixed(line.trim().to_owned()));
        } else if !line.trim().is_empty() {
            pieces.push(Piece::Random(BASE62, line.trim().len()));
            secrets.push(line.trim().into());
        }
    }
    // A marker alone is no key, and would come again in its own shadow.
    (!secrets.is_empty()).then_some(Shape { pieces, secrets })
}
