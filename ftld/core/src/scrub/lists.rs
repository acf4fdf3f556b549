//! Values that are written as lists of numbers: in hex or in decimals, with something between.
//!
//! Owns what such a list may look like and the search for it. Must not know other encodings.
//!
//! A list is several times as long as its value and made of few characters, so most of a text is stepped
//! over: it is looked at only around places where eight bytes in a row could be of a list.

use super::table::Pairs;

/// Bytes that are looked at to see whether a list may be there.
const SAMPLE: usize = 8;
/// Most bytes between samples.
const APART: usize = 64;
/// Most bytes between two numbers; fewer than a sample has, so that each sample has a digit.
const BETWEEN: usize = 7;
/// Most bytes of a number with what is between it and the next.
const WIDEST: usize = BETWEEN + 4;

/// What a byte may be in a list.
const NOTHING: u8 = 0;
const DIGIT: u8 = 1;
const MARK: u8 = 2;
const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut all = [NOTHING; 256];
    let mut at = 0_u8;
    loop {
        all[at as usize] = match at {
            b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' => DIGIT,
            b':' | b'-' | b',' | b' ' | b'\t' | b'\r' | b'\n' | b'x' | b'X' => MARK,
            _ => NOTHING,
        };
        if at == u8::MAX {
            return all;
        }
        at += 1;
    }
}

/// The search, without any stream's state.
pub(super) struct Lists {
    /// Values, each with bytes of the same number that replace it.
    values: Vec<(Vec<u8>, Vec<u8>)>,
    /// The two digits that a list may begin with.
    begins: Pairs,
    firsts: [bool; 256],
    /// Bytes between samples: no list is so short that it falls between two.
    apart: usize,
    /// Most bytes of a list.
    longest: usize,
}

/// How a number is written.
#[derive(Clone, Copy)]
enum Base {
    Hex,
    Decimal,
}

/// How a value and a text compare.
enum Compared {
    /// All of it is there, with its numbers at these places.
    Match(Vec<(usize, usize)>),
    /// The text ends before it can be said.
    Cut,
    Differ,
}

impl Lists {
    /// The search for these values, each of 8 bytes or more.
    pub(super) fn new(values: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        let (mut begins, mut firsts) = (Pairs::new(), [false; 256]);
        let mut begin = |text: String| {
            let both = text.as_bytes();
            match both[1..] {
                [next, ..] => begins.insert(both[0], next),
                [] => b":-, \t\r\n".iter().for_each(|mark| begins.insert(both[0], *mark)),
            }
            firsts[usize::from(both[0])] = true;
        };
        for (value, _) in &values {
            begin(format!("{:02x}", value[0]));
            begin(format!("{:02X}", value[0]));
            begin(format!("{}", value[0]));
        }
        let shortest = values.iter().map(|(value, _)| shortest(value)).min().unwrap_or(APART);
        let most = values.iter().map(|(value, _)| value.len()).max().unwrap_or(0);
        let apart = (shortest - SAMPLE + 1).min(APART);
        Self { values, begins, firsts, apart, longest: most * WIDEST }
    }

    /// Replaces in `text`. Says from where on it must be kept until more is there; nothing is kept of the
    /// `last`.
    pub(super) fn replace(&self, text: &mut [u8], last: bool) -> usize {
        let (mut done, mut at) = (0, 0);
        while let Some(sample) = text.get(at..at + SAMPLE) {
            if !may_be_of_list(sample) {
                at += self.apart;
                continue;
            }
            let is_of = |byte: &&u8| CLASSES[usize::from(**byte)] != NOTHING;
            let from = at - text[done..at].iter().rev().take_while(is_of).count();
            let end = at + text[at..].iter().take_while(is_of).count();
            if let Some(keep) = self.within(text, from, end, last) {
                return keep;
            }
            (done, at) = (end, end);
        }
        if last {
            return text.len();
        }
        let is_of = |byte: &&u8| CLASSES[usize::from(**byte)] != NOTHING;
        let tail = text[done..].iter().rev().take(self.longest).take_while(is_of).count();
        self.within(text, text.len() - tail, text.len(), last).unwrap_or(text.len())
    }

    /// Replaces what begins in a part of `text`; where what may become a list begins, if something does.
    fn within(&self, text: &mut [u8], from: usize, end: usize, last: bool) -> Option<usize> {
        let mut at = from;
        while at < end {
            let may_begin = match text[at..] {
                [one, two, ..] => self.begins.contains(one, two),
                [one] => self.firsts[usize::from(one)],
                [] => false,
            };
            if !may_begin {
                at += 1;
                continue;
            }
            let mut next = at + 1;
            for (value, replacement) in &self.values {
                for base in [Base::Hex, Base::Decimal] {
                    match compare(text, at, value, base) {
                        Compared::Match(places) => {
                            rewrite(text, &places, replacement, base);
                            next = next.max(places.last().map_or(next, |place| place.1));
                        }
                        Compared::Cut if !last => return Some(at),
                        _ => {}
                    }
                }
            }
            at = next;
        }
        None
    }
}

/// Fewest bytes of a list of these numbers.
fn shortest(value: &[u8]) -> usize {
    let digits = |byte: &u8| byte.to_string().len().min(2);
    value.iter().map(digits).sum::<usize>() + value.len() - 1
}

/// Whether bytes from the middle of a list can look like this: there are no four digits in a row.
fn may_be_of_list(sample: &[u8]) -> bool {
    let (mut digits, mut any) = (0, false);
    for byte in sample {
        match CLASSES[usize::from(*byte)] {
            DIGIT if digits < 3 => (digits, any) = (digits + 1, true),
            MARK => digits = 0,
            _ => return false,
        }
    }
    any
}

/// Compares a text from `at` on with a value that is written as a list.
fn compare(text: &[u8], mut at: usize, value: &[u8], base: Base) -> Compared {
    let mut places = Vec::new();
    for (which, byte) in value.iter().enumerate() {
        if which > 0 {
            let between = text[at..].iter().take(BETWEEN);
            let length = between.take_while(|byte| b":-, \t\r\n".contains(byte)).count();
            let is_end = |byte: &&u8| **byte == b'\n';
            if text[at..at + length].iter().filter(is_end).count() > 1 {
                return Compared::Differ;
            }
            let marked = matches!(base, Base::Hex) && text[at + length..].first() == Some(&b'0');
            match text.get(at + length + 1) {
                None if length < BETWEEN && at + length + usize::from(marked) >= text.len() => {
                    return Compared::Cut;
                }
                Some(b'x' | b'X') if marked => at += length + 2,
                _ if length == 0 => return Compared::Differ,
                _ => at += length,
            }
        }
        let length = match base {
            Base::Hex => hex(&text[at..], *byte),
            Base::Decimal => decimal(&text[at..], *byte),
        };
        match length {
            Some(length) if at + length <= text.len() => places.push((at, at + length)),
            Some(_) => return Compared::Cut,
            None => return Compared::Differ,
        }
        at = places[which].1;
    }
    Compared::Match(places)
}

/// How many bytes a number takes, or would if the text went on.
fn hex(text: &[u8], byte: u8) -> Option<usize> {
    let digit = |at: usize, wanted: u8| {
        text.get(at).is_none_or(|found| char::from(*found).to_digit(16) == Some(u32::from(wanted)))
    };
    (digit(0, byte >> 4) && digit(1, byte & 15)).then_some(2)
}

/// The same in decimals.
fn decimal(text: &[u8], byte: u8) -> Option<usize> {
    let (digits, length) = decimals(byte);
    let digits = &digits[3 - length..];
    digits.iter().zip(text).all(|(one, other)| one == other).then_some(length)
}

/// A byte's decimals behind zeros, and how many count.
fn decimals(byte: u8) -> ([u8; 3], usize) {
    let digits = [byte / 100, byte / 10 % 10, byte % 10].map(|digit| b'0' + digit);
    (digits, if byte > 99 { 3 } else { 1 + usize::from(byte > 9) })
}

/// Writes the replacement over the numbers, each with as many digits as before.
fn rewrite(text: &mut [u8], places: &[(usize, usize)], replacement: &[u8], base: Base) {
    for ((from, to), byte) in places.iter().zip(replacement) {
        let place = &mut text[*from..*to];
        match base {
            Base::Hex => {
                let upper = place.iter().any(u8::is_ascii_uppercase);
                for (digit, value) in place.iter_mut().zip([byte >> 4, byte & 15]) {
                    let lower = b"0123456789abcdef"[usize::from(value)];
                    *digit = if upper { lower.to_ascii_uppercase() } else { lower };
                }
            }
            Base::Decimal => match decimals(*byte) {
                (digits, length) if length == place.len() => place.copy_from_slice(&digits[3 - length..]),
                _ => place.copy_from_slice(&b"120"[3 - place.len().max(1)..]),
            },
        }
    }
}
