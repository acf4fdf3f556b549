//! Values that are written with escapes or broken over lines.
//!
//! Owns the search for what no list of patterns can hold: any mixture of plain and escaped characters with
//! breaks between them. Must not know encodings that change all of a text; it is given these as patterns.
//!
//! A value that is not found as it stands has a first place where it is escaped or broken, and only six
//! bytes begin such a place. Three bytes around each of these say whether any pattern can be there.
//! Replaced is character by character in place, so no text changes its length.

use memchr::memchr3;

use super::written::{self, Escape, Seen};
use super::{HASH_BITS, hash};

/// The search, without any stream's state.
pub(super) struct Loose {
    patterns: Vec<Pattern>,
    /// By the hash of two bytes and the one that may be escaped: where that is. Sorted.
    places: Vec<(u16, u32, u32)>,
    /// Which hashes are in `places`.
    known: Vec<bool>,
    /// Bytes of the longest pattern.
    longest: usize,
}

struct Pattern {
    bytes: Vec<u8>,
    replacement: Vec<u8>,
}

/// How a pattern and a text compare.
enum Compared {
    /// All of it is there, in these pieces.
    Match(Vec<Piece>),
    /// The text ends before it can be said.
    Cut,
    Differ,
}

/// A piece of a text that stands for bytes of a pattern.
struct Piece {
    at: usize,
    /// None is a byte as it is.
    escape: Option<Escape>,
    /// Which byte of the pattern.
    of: usize,
}

/// Where a pattern begins, and what of a text it is; nothing when the text ends before it can be said.
type Found<'a> = (usize, Option<(&'a Pattern, Vec<Piece>)>);

/// What is known of a place where a text is escaped or broken.
enum Place {
    /// It stands for this byte, or the text goes on with it behind the break.
    Byte(u8),
    Cut,
    Nothing,
}

impl Loose {
    /// The search for these texts, each with one of the same length that replaces it.
    pub(super) fn new(texts: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        let pattern = |(bytes, replacement)| Pattern { bytes, replacement };
        let patterns: Vec<Pattern> = texts.map(pattern).collect();
        let (mut places, mut known) = (Vec::new(), vec![false; 1 << HASH_BITS]);
        for (which, pattern) in (0..).zip(&patterns) {
            for (at, byte) in (0_u32..).zip(&pattern.bytes) {
                let before = &pattern.bytes[..at as usize];
                let key = key(before, *byte);
                known[usize::from(key)] = true;
                places.push((key, which, at));
            }
        }
        places.sort_unstable();
        let longest = patterns.iter().map(|pattern| pattern.bytes.len()).max().unwrap_or(0);
        Self { patterns, places, known, longest }
    }

    /// Replaces in `text`. Says from where on it must be kept until more is there; nothing is kept of the
    /// `last`. `goes_on` says that more is there already, and `begins` whether a text may become a pattern
    /// without escapes and breaks.
    pub(super) fn replace(
        &self,
        text: &mut [u8],
        last: bool,
        goes_on: bool,
        begins: impl Fn(&[u8]) -> bool,
    ) -> usize {
        let (mut done, mut from, mut keep) = (0, 0, text.len());
        let mut places = Next::default();
        while let Some(at) = places.after(text, from) {
            from = at + 1;
            match place(text, at) {
                Place::Nothing => {}
                // All of it is looked at anew, so whatever is cut is left for then.
                Place::Cut if !last => {
                    let start = self.beginning(&text[done..at], &begins).map(|start| done + start);
                    let kept =
                        start.or_else(|| matches!(written::escape(&text[at..]), Seen::Cut).then_some(at));
                    keep = keep.min(kept.unwrap_or(keep));
                }
                Place::Cut => {}
                Place::Byte(byte) => match self.at(text, done, at, byte, last) {
                    Some((start, None)) => keep = keep.min(start),
                    Some((start, Some(_))) if start >= keep || keep < text.len() => keep = keep.min(start),
                    Some((start, Some((pattern, pieces)))) => {
                        done = rewrite(text, start, at, pattern, &pieces);
                        from = done;
                    }
                    None => {}
                },
            }
        }
        if goes_on && let Some(start) = self.beginning(&text[done..], &begins) {
            keep = keep.min(done + start);
        }
        keep
    }

    /// Where the end of a text begins that may become a pattern.
    fn beginning(&self, text: &[u8], begins: &impl Fn(&[u8]) -> bool) -> Option<usize> {
        (text.len().saturating_sub(self.longest)..text.len()).find(|start| begins(&text[*start..]))
    }

    /// The pattern that is escaped or broken at this place for the first time, and where it begins; without
    /// pieces when the text ends before it can be said.
    fn at(&self, text: &[u8], done: usize, at: usize, byte: u8, last: bool) -> Option<Found<'_>> {
        let before = &text[done..at];
        let mut found: Option<Found<'_>> = None;
        for known in 0..=before.len().min(2) {
            let key = key(&before[before.len() - known..], byte);
            if !self.known[usize::from(key)] {
                continue;
            }
            let first = self.places.partition_point(|place| place.0 < key);
            for (_, which, of) in self.places[first..].iter().take_while(|place| place.0 == key) {
                let (pattern, of) = (&self.patterns[*which as usize], *of as usize);
                if of.min(2) != known || !before.ends_with(&pattern.bytes[..of]) {
                    continue;
                }
                let pieces = match compare(text, at, pattern, of) {
                    Compared::Match(pieces) => Some(pieces),
                    Compared::Cut if !last => None,
                    _ => continue,
                };
                let start = at - of;
                if found.as_ref().is_none_or(|(earlier, _)| start < *earlier) {
                    found = Some((start, pieces.map(|pieces| (pattern, pieces))));
                }
            }
        }
        found
    }
}

/// A place's key: up to two bytes before it, and its own.
fn key(before: &[u8], byte: u8) -> u16 {
    let block = match before {
        [.., one, two] => [*one, *two, byte],
        [one] => [0, *one, byte],
        [] => [0, 0, byte],
    };
    // The hash has as many bits.
    u16::try_from(hash(&block)).unwrap_or_default()
}

/// The places where an escape or a break begins, from the left.
#[derive(Default)]
struct Next {
    escape: Option<usize>,
    line: Option<usize>,
}

impl Next {
    /// The first one from `from` on; what was found before and is not behind is not looked for again.
    fn after(&mut self, text: &[u8], from: usize) -> Option<usize> {
        let seek = |known: Option<usize>, find: &dyn Fn(&[u8]) -> Option<usize>| match known {
            Some(at) if at >= from => at,
            _ => text.get(from..).and_then(find).map_or(text.len(), |at| from + at),
        };
        let escape = seek(self.escape, &|rest| memchr3(b'%', b'&', b'\\', rest));
        let line = seek(self.line, &|rest| memchr3(b'=', b'\n', b'\r', rest));
        (self.escape, self.line) = (Some(escape), Some(line));
        Some(escape.min(line)).filter(|at| *at < text.len())
    }
}

/// What is at a place where a text may be escaped or broken.
fn place(text: &[u8], at: usize) -> Place {
    let rest = &text[at..];
    // Most are none of both, which the next byte tells.
    match rest {
        [b'=', next, ..] if !next.is_ascii_hexdigit() && !matches!(next, b'\r' | b'\n') => {
            return Place::Nothing;
        }
        [b'%', next, ..] if !next.is_ascii_hexdigit() => return Place::Nothing,
        [b'&', next, ..] if *next != b'#' && !next.is_ascii_alphabetic() => return Place::Nothing,
        _ => {}
    }
    if let Some(gap) = written::gap(rest) {
        return match written::escape(&rest[gap..]) {
            _ if gap == rest.len() => Place::Cut,
            Seen::Escape(escape) => escape.first().map_or(Place::Nothing, Place::Byte),
            Seen::Cut => Place::Cut,
            Seen::Nothing => Place::Byte(rest[gap]),
        };
    }
    match written::escape(rest) {
        Seen::Escape(escape) => escape.first().map_or(Place::Nothing, Place::Byte),
        Seen::Cut => Place::Cut,
        Seen::Nothing => Place::Nothing,
    }
}

/// Compares a text from `at` on with a pattern from `of` on.
fn compare(text: &[u8], mut at: usize, pattern: &Pattern, mut of: usize) -> Compared {
    let mut pieces = Vec::new();
    let mut broken = false;
    while of < pattern.bytes.len() {
        let (rest, wanted) = (&text[at..], &pattern.bytes[of..]);
        let Some(byte) = rest.first() else { return Compared::Cut };
        let seen = written::escape(rest);
        if let Seen::Escape(escape) = seen
            && let length @ 1.. = escape.stands_for(wanted)
        {
            pieces.push(Piece { at, escape: Some(escape), of });
            (at, of, broken) = (at + escape.length, of + length, false);
        } else if *byte == wanted[0] && seen != Seen::Cut {
            pieces.push(Piece { at, escape: None, of });
            (at, of, broken) = (at + 1, of + 1, false);
        } else if let Some(gap) = written::gap(rest)
            && !broken
        {
            (at, broken) = (at + gap, true);
        } else {
            return if seen == Seen::Cut { Compared::Cut } else { Compared::Differ };
        }
    }
    Compared::Match(pieces)
}

/// Writes the replacement over a match that begins at `start` and is as it is until `at`; where it ends.
fn rewrite(text: &mut [u8], start: usize, at: usize, pattern: &Pattern, pieces: &[Piece]) -> usize {
    text[start..at].copy_from_slice(&pattern.replacement[..at - start]);
    let mut end = at;
    for piece in pieces {
        let byte = pattern.replacement[piece.of];
        let length = piece.escape.map_or(1, |escape| escape.length);
        end = piece.at + length;
        match piece.escape {
            Some(escape) => escape.rewrite(&mut text[piece.at..end], byte),
            None => text[piece.at] = byte,
        }
    }
    end
}
