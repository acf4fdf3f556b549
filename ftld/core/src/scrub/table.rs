//! The search for many fixed patterns at once.
//!
//! Owns the tables and the scan. Must not know what the patterns are.
//!
//! The search is Wu and Manber's: every pattern is at least 8 bytes long, so a table over four-byte
//! blocks lets it step over most of the text. An Aho-Corasick automaton over as many patterns looks at
//! every byte, and does not say which end of the text could still become a match.
//!
//! One step waits for the one before it, so a long text is scanned at four places in turn.

use std::ops::Range;

use super::encodings::Form;

/// Bytes of a block.
const BLOCK: usize = 4;
/// Longest window, so that a shift is one byte.
const WIDEST: usize = 128;
/// Fewest and most bits of a block's hash. The small table stays in the nearest cache.
const HASH_BITS: (u32, u32) = (13, 17);
/// Places at which a long text is scanned in turn, and how many positions make it long.
const LANES: usize = 4;
const LONG: usize = 1024;

/// The search, without any stream's state.
pub(super) struct Table {
    /// Sorted by pattern.
    forms: Vec<Form>,
    /// Bytes of every pattern that the table knows.
    window: usize,
    /// By a block's hash: how far the window can move when it ends in that block.
    shifts: Vec<u8>,
    /// How far a hash is moved to make an index.
    down: u32,
    /// Which bytes begin a pattern, and which two.
    firsts: [bool; 256],
    pairs: Pairs,
}

/// A set of two bytes that follow each other.
pub(super) struct Pairs(Vec<u64>);

impl Pairs {
    pub(super) fn new() -> Self {
        Self(vec![0; 1 << 10])
    }

    pub(super) fn insert(&mut self, one: u8, two: u8) {
        let at = usize::from(u16::from_be_bytes([one, two]));
        self.0[at / 64] |= 1 << (at % 64);
    }

    pub(super) fn contains(&self, one: u8, two: u8) -> bool {
        let at = usize::from(u16::from_be_bytes([one, two]));
        self.0[at / 64] >> (at % 64) & 1 == 1
    }
}

impl Table {
    /// The search for these forms, each of 8 bytes or more; `None` when there are none. Of two with the
    /// same pattern, the first counts.
    pub(super) fn new(mut forms: Vec<Form>) -> Option<Self> {
        // The sort is stable, so the first of equals stays first.
        forms.sort_by(|one, other| one.pattern.cmp(&other.pattern));
        forms.dedup_by(|later, first| later.pattern == first.pattern);
        let window = forms.iter().map(|form| form.pattern.len()).min()?.min(WIDEST);
        let furthest = u8::try_from(window - BLOCK + 1).unwrap_or(u8::MAX);
        let blocks = forms.len() * usize::from(furthest);
        let bits = (usize::BITS - (2 * blocks).leading_zeros()).clamp(HASH_BITS.0, HASH_BITS.1);
        let mut table = Self {
            window,
            shifts: vec![furthest; 1 << bits],
            down: u32::BITS - bits,
            firsts: [false; 256],
            pairs: Pairs::new(),
            forms: Vec::new(),
        };
        for form in &forms {
            for (at, block) in form.pattern[..window].windows(BLOCK).enumerate() {
                let shift = u8::try_from(window - BLOCK - at).unwrap_or(u8::MAX);
                let known = &mut table.shifts[(hash(block) >> table.down) as usize];
                *known = shift.min(*known);
            }
            table.firsts[usize::from(form.pattern[0])] = true;
            table.pairs.insert(form.pattern[0], form.pattern[1]);
        }
        table.forms = forms;
        Some(table)
    }

    /// Appends `text` to `out` with every pattern replaced, from the left and the longest first. Says how
    /// much of it that was: unless it is the `last`, an end that may become a match is left over.
    pub(super) fn replace(&self, text: &[u8], last: bool, out: &mut Vec<u8>) -> usize {
        let mut done = 0;
        for at in self.candidates(text) {
            if at < done {
                continue;
            }
            let rest = &text[at..];
            if !last && self.may_become(rest) {
                out.extend_from_slice(&text[done..at]);
                return at;
            }
            if let Some(form) = self.longest(rest) {
                out.extend_from_slice(&text[done..at]);
                out.extend_from_slice(&form.replacement);
                done = at + form.pattern.len();
            }
        }
        let mut ends = done.max((text.len() + 1).saturating_sub(self.window))..text.len();
        let end = if last { None } else { ends.find(|end| self.may_become(&text[*end..])) };
        let end = end.unwrap_or(text.len());
        out.extend_from_slice(&text[done..end]);
        end
    }

    /// Whether a pattern is in `text`.
    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        self.candidates(text).into_iter().any(|at| self.longest(&text[at..]).is_some())
    }

    /// Where patterns stand in `text`, the longest at each place.
    pub(super) fn places(&self, text: &[u8]) -> Vec<Range<usize>> {
        let found = self.candidates(text).into_iter();
        found.filter_map(|at| self.longest(&text[at..]).map(|form| at..at + form.pattern.len())).collect()
    }

    /// Whether a pattern begins with all of `text` and goes on.
    pub(super) fn may_become(&self, text: &[u8]) -> bool {
        let can = match text {
            [] => true,
            [one] => self.firsts[usize::from(*one)],
            [one, two, ..] => self.pairs.contains(*one, *two),
        };
        if !can {
            return false;
        }
        let at = self.forms.partition_point(|form| form.pattern.as_slice() <= text);
        self.forms.get(at).is_some_and(|form| form.pattern.starts_with(text))
    }

    /// The places where a pattern may begin that has room behind it, sorted.
    fn candidates(&self, text: &[u8]) -> Vec<usize> {
        let mut found = Vec::new();
        let Some(places) = (text.len() + 1).checked_sub(self.window) else { return found };
        let mut ends = [places; LANES];
        let mut lanes = [places; LANES];
        if places < LONG {
            lanes[0] = 0;
        } else {
            lanes = std::array::from_fn(|lane| places * lane / LANES);
            ends = std::array::from_fn(|lane| places * (lane + 1) / LANES);
            while lanes.iter().zip(&ends).all(|(at, end)| at < end) {
                for at in &mut lanes {
                    *at += self.step(text, *at, &mut found);
                }
            }
        }
        for (mut at, end) in lanes.into_iter().zip(ends) {
            while at < end {
                at += self.step(text, at, &mut found);
            }
        }
        found.sort_unstable();
        found
    }

    /// How far the window at this place can move; when a pattern may begin here, it is added to `found`.
    #[inline(always)]
    fn step(&self, text: &[u8], at: usize, found: &mut Vec<usize>) -> usize {
        let block = &text[at + self.window - BLOCK..at + self.window];
        let shift = usize::from(self.shifts[(hash(block) >> self.down) as usize]);
        if shift > 0 {
            return shift;
        }
        if self.pairs.contains(text[at], text[at + 1]) {
            found.push(at);
        }
        1
    }

    /// The longest pattern that `text` begins with.
    fn longest(&self, text: &[u8]) -> Option<&Form> {
        let window = text.get(..self.window)?;
        let first = self.forms.partition_point(|form| &form.pattern[..self.window] < window);
        let group = self.forms[first..].iter().take_while(|form| form.pattern.starts_with(window));
        group.filter(|form| text.starts_with(&form.pattern)).max_by_key(|form| form.pattern.len())
    }
}

/// A block's hash, of which the upper bits are the best.
#[inline(always)]
pub(super) fn hash(block: &[u8]) -> u32 {
    let word = block.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
    word.wrapping_mul(0x9e37_79b1)
}
