//! Values that are written with escapes or broken over lines.
//!
//! Owns the search for what no list of patterns can hold: any mixture of plain and escaped characters with
//! breaks between them. Must not know encodings that change all of a text; it is given these as patterns.
//!
//! A value that is not found as it stands has a first place where it is escaped or broken, and only six
//! bytes begin such a place. Four bytes around each of these say whether any pattern can be there.
//! Replaced is character by character in place, so no text changes its length.

use super::table::{Pairs, hash};
use super::written::{self, Escape, Seen};

/// The search, without any stream's state.
pub(super) struct Loose {
    patterns: Vec<Pattern>,
    /// By the hash of the bytes before and the one that may be escaped: where that is. Sorted.
    places: Vec<(u32, u32, u32)>,
    /// Which hashes are in `places`, by their upper bits.
    known: Vec<u64>,
    /// Where in `places` hashes with the same upper bits begin.
    groups: Vec<u32>,
    /// Which bytes are in a pattern.
    inner: [bool; 256],
    /// The marks and the bytes behind them that can be an escape or a break.
    can: Pairs,
    /// Those that are only a break, and so have a byte of a pattern before them.
    breaks: Pairs,
    /// Bytes of the longest pattern.
    longest: usize,
}

/// Bytes before a place that say what may be there.
const BEFORE: usize = 3;
/// Bits of a hash that `known` tells.
const KNOWN_BITS: u32 = 18;
/// Bits of a hash that say where in `places` it is.
const GROUP_BITS: u32 = 12;
/// Bytes that are searched for marks at once.
const BLOCK: usize = u64::BITS as usize;
/// Marks that are found before the first of them is looked at; a block may add more.
const SECTION: usize = 64;
/// Marks that are written down at once.
const EIGHT: usize = 8;

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
    Byte(First),
    Cut,
    Nothing,
}

/// The first byte of a pattern that is not where it would be without escapes and breaks.
struct First {
    /// What the escape stands for, or the text goes on with behind the break.
    byte: u8,
    /// Bytes of the text from the place to what is behind that byte.
    length: usize,
    /// A pattern has at least so many bytes before the place.
    least: usize,
}

impl Loose {
    /// The search for these texts, each with one of the same length that replaces it.
    pub(super) fn new(texts: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        let pattern = |(bytes, replacement)| Pattern { bytes, replacement };
        let patterns: Vec<Pattern> = texts.map(pattern).collect();
        let (mut places, mut known) = (Vec::new(), vec![0; 1 << (KNOWN_BITS - u64::BITS.ilog2())]);
        let mut inner = [false; 256];
        for (which, pattern) in (0..).zip(&patterns) {
            for (at, byte) in (0_u32..).zip(&pattern.bytes) {
                let before = &pattern.bytes[..at as usize];
                let key = key(before, *byte);
                let (word, bit) = known_at(key);
                known[word] |= bit;
                inner[usize::from(*byte)] = true;
                places.push((key, which, at));
            }
        }
        places.sort_unstable();
        let longest = patterns.iter().map(|pattern| pattern.bytes.len()).max().unwrap_or(0);
        let group = |key: u32| key >> (u32::BITS - GROUP_BITS);
        let first = |of: u32| places.partition_point(|place| group(place.0) < of);
        let groups = (0..=1 << GROUP_BITS).map(|of| u32::try_from(first(of)).unwrap_or(u32::MAX)).collect();
        let (can, breaks) = possible(&inner);
        Self { patterns, places, known, groups, inner, can, breaks, longest }
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
        let mut marks = Marks::new();
        while let Some(at) = marks.next(text, |at| self.can_be_at(text, at)) {
            if at < from {
                continue;
            }
            match self.place(text, at, done) {
                Place::Nothing => {}
                // All of it is looked at anew, so whatever is cut is left for then.
                Place::Cut if !last => {
                    let start = self.beginning(&text[done..at], &begins).map(|start| done + start);
                    let kept =
                        start.or_else(|| matches!(written::escape(&text[at..]), Seen::Cut).then_some(at));
                    keep = keep.min(kept.unwrap_or(keep));
                }
                Place::Cut => {}
                Place::Byte(first) => match self.at(&text[done..], at - done, &first, last) {
                    Some((start, None)) => keep = keep.min(done + start),
                    Some((start, Some(_))) if done + start >= keep || keep < text.len() => {
                        keep = keep.min(done + start);
                    }
                    Some((start, Some((pattern, pieces)))) => {
                        done += rewrite(&mut text[done..], start, at - done, pattern, &pieces);
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
    fn at(&self, text: &[u8], at: usize, first: &First, last: bool) -> Option<Found<'_>> {
        let before = &text[..at];
        let mut found: Option<Found<'_>> = None;
        let behind = text.get(at + first.length..).unwrap_or_default();
        for known in first.least..=before.len().min(BEFORE) {
            let key = key(&before[before.len() - known..], first.byte);
            let (word, bit) = known_at(key);
            if self.known[word] & bit == 0 {
                continue;
            }
            for (_, which, of) in self.with_key(key) {
                let (pattern, of) = (&self.patterns[*which as usize], *of as usize);
                if of.min(BEFORE) != known
                    || differs(behind, &pattern.bytes[of..])
                    || !before.ends_with(&pattern.bytes[..of])
                {
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

/// A place's key: up to three bytes before it, and its own.
fn key(before: &[u8], byte: u8) -> u32 {
    let block = match before {
        [.., one, two, three] => [*one, *two, *three, byte],
        [one, two] => [0, *one, *two, byte],
        [one] => [0, 0, *one, byte],
        [] => [0, 0, 0, byte],
    };
    hash(&block)
}

/// Where `known` has a key.
fn known_at(key: u32) -> (usize, u64) {
    let at = key >> (u32::BITS - KNOWN_BITS);
    ((at / u64::BITS) as usize, 1 << (at % u64::BITS))
}

/// The bytes that may begin an escape or a break, from the left.
///
/// Most marks are none of both. How many a block has cannot be foreseen, so a branch for each would cost
/// more than to write all of them down and then take back those that are none.
struct Marks {
    /// Places of marks: those from `at` to `count` are not given yet.
    places: [usize; SECTION + BLOCK + EIGHT],
    at: usize,
    count: usize,
    /// Where the next block begins.
    next: usize,
}

impl Marks {
    fn new() -> Self {
        Self { places: [0; SECTION + BLOCK + EIGHT], at: 0, count: 0, next: 0 }
    }

    /// The next one that `can_be`. Bytes that were looked at may change, but only in front of what was
    /// given.
    #[inline(always)]
    fn next(&mut self, text: &[u8], can_be: impl Fn(usize) -> bool) -> Option<usize> {
        while self.at == self.count {
            if self.next >= text.len() {
                return None;
            }
            self.fill(text, &can_be);
        }
        let at = self.places[self.at];
        self.at += 1;
        Some(at)
    }

    /// Finds what is in the next blocks.
    #[inline(always)]
    fn fill(&mut self, text: &[u8], can_be: &impl Fn(usize) -> bool) {
        let mut seen = 0;
        while self.next < text.len() && seen < SECTION {
            let rest = &text[self.next..];
            let mut bits = match rest.first_chunk() {
                Some(block) => marked(block),
                None => {
                    let mut block = [0; BLOCK];
                    block[..rest.len()].copy_from_slice(rest);
                    marked(&block)
                }
            };
            let count = bits.count_ones() as usize;
            let mut written = 0;
            while written < count {
                // Those behind the last are written over.
                for place in &mut self.places[seen + written..seen + written + EIGHT] {
                    *place = self.next + bits.trailing_zeros() as usize;
                    bits &= bits.wrapping_sub(1);
                }
                written += EIGHT;
            }
            seen += count;
            self.next += BLOCK;
        }
        (self.at, self.count) = (0, 0);
        for which in 0..seen {
            let place = self.places[which];
            self.places[self.count] = place;
            self.count += usize::from(can_be(place));
        }
    }
}

/// Which bytes of a block are marks. Written so that a compiler makes it a few instructions for many
/// bytes.
#[inline(always)]
fn marked(block: &[u8; BLOCK]) -> u64 {
    let is_mark = |byte: u8| {
        u8::from(byte == b'%')
            | u8::from(byte == b'&')
            | u8::from(byte == b'\\')
            | u8::from(byte == b'=')
            | u8::from(byte == b'\n')
            | u8::from(byte == b'\r')
    };
    let mut marks = [0; BLOCK];
    for (mark, byte) in marks.iter_mut().zip(block) {
        *mark = is_mark(*byte);
    }
    if marks.iter().fold(0, |any, mark| any | mark) == 0 {
        return 0;
    }
    let mut bits = 0;
    for (at, eight) in (0..).zip(marks.as_chunks::<8>().0) {
        // Each byte is 0 or 1: the product has them side by side in its highest byte.
        let word = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080);
        bits |= (word >> 56) << (8 * at);
    }
    bits
}

/// Which marks with which bytes behind them can be an escape or a break when these bytes are in patterns;
/// and of these the ones that are only a break.
fn possible(inner: &[bool; 256]) -> (Pairs, Pairs) {
    let (mut can, mut breaks) = (Pairs::new(), Pairs::new());
    let high = |digit: u8| {
        let high = char::from(digit).to_digit(16);
        (0_u32..).zip(inner).any(|(byte, is)| *is && Some(byte >> 4) == high)
    };
    for next in 0..=u8::MAX {
        let is = inner[usize::from(next)];
        // Behind a break may be what indents a line or begins one of an event.
        if is || b" \t\\%&=d".contains(&next) {
            can.insert(b'\n', next);
            can.insert(b'\r', next);
        }
        if b"nrtuUx01234567\\%&\r\n".contains(&next) || is && next.is_ascii_punctuation() {
            can.insert(b'\\', next);
        }
        if next == b'0' || next == b'2' || high(next) {
            can.insert(b'%', next);
        }
        if next == b'0' || high(next) || b"\r\n\\%&".contains(&next) {
            can.insert(b'=', next);
        }
        if next == b'#' || next == b'a' || written::may_begin_name(next, inner) {
            can.insert(b'&', next);
        }
        breaks.insert(b'\n', next);
        breaks.insert(b'\r', next);
        if b"nrt".contains(&next) {
            breaks.insert(b'\\', next);
        }
    }
    can.insert(b'\r', b'\n');
    (can, breaks)
}

impl Loose {
    /// The places with this key, among a few others.
    fn with_key(&self, key: u32) -> impl Iterator<Item = &(u32, u32, u32)> {
        let group = (key >> (u32::BITS - GROUP_BITS)) as usize;
        let places = &self.places[self.groups[group] as usize..self.groups[group + 1] as usize];
        places.iter().filter(move |place| place.0 == key)
    }

    /// Whether a mark with the bytes around it can be a place.
    #[inline(always)]
    fn can_be_at(&self, text: &[u8], at: usize) -> bool {
        let Some(next) = text.get(at + 1) else { return true };
        let inside = at > 0 && self.inner[usize::from(text[at - 1])];
        self.can.contains(text[at], *next) & (inside | !self.breaks.contains(text[at], *next))
    }

    /// What is at a place where a text may be escaped or broken for the first time since `done`.
    fn place(&self, text: &[u8], at: usize, done: usize) -> Place {
        let rest = &text[at..];
        let inside = || at > done && self.inner[usize::from(text[at - 1])];
        let byte = |byte: u8, length, least| match self.inner[usize::from(byte)] {
            true => Place::Byte(First { byte, length, least }),
            false => Place::Nothing,
        };
        let seen = |escape: Seen, gap: usize| match escape {
            Seen::Escape(escape) => escape
                .first()
                .map_or(Place::Nothing, |first| byte(first, gap + escape.length, usize::from(gap > 0))),
            Seen::Cut => Place::Cut,
            Seen::Nothing if gap > 0 => byte(rest[gap], gap + 1, 1),
            Seen::Nothing => Place::Nothing,
        };
        match rest {
            // No break is written with a name.
            [b'&', next, ..] if next.is_ascii_alphabetic() && *next != b'a' => seen(written::escape(rest), 0),
            [b'\n', next, ..] if is_plain(*next) && inside() => byte(*next, 2, 1),
            [b'\\', b'n', next, ..] if is_plain(*next) && inside() => byte(*next, 3, 1),
            _ => match written::gap(rest) {
                Some(_) if !inside() => Place::Nothing,
                Some(gap) if gap == rest.len() => Place::Cut,
                Some(gap) => seen(written::escape(&rest[gap..]), gap),
                None => seen(written::escape(rest), 0),
            },
        }
    }
}

/// Whether a byte behind a break is what it is, and no more break.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() && byte != b'd'
}

/// Whether what is behind the first byte of `wanted` says at once that it goes on otherwise: letters and
/// digits begin neither an escape nor a break.
fn differs(behind: &[u8], wanted: &[u8]) -> bool {
    if !wanted[0].is_ascii() {
        return false;
    }
    let plain = behind.iter().take(8).take_while(|byte| byte.is_ascii_alphanumeric());
    plain.zip(&wanted[1..]).any(|(one, other)| one != other)
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
