//! Taking real values out of what a host answers, as it streams by.
//!
//! Owns the search for every real value of a session in its common encodings, and what replaces each: the
//! shadow in the same encoding. Must not know which hosts are scrubbed or where the bytes go.
//!
//! This is the second line of defence. The first is that a real value goes only to its own host.
//!
//! The search is Wu and Manber's: every pattern is at least 8 bytes long, so a table over three-byte
//! blocks lets it step over most of the text. An Aho-Corasick automaton over as many patterns looks at
//! every byte, and does not say which end of the text could still become a match.

mod encodings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

pub(crate) use encodings::forms;

/// Shortest value that is searched for, bytes.
const SHORTEST: usize = 8;
/// Bytes of a block.
const BLOCK: usize = 3;
/// Bits of a block's hash.
const HASH_BITS: u32 = 16;
/// Longest window, so that a shift is one byte.
const WIDEST: usize = 128;

/// Replaces real values by shadows in one stream. Cloning is cheap: the search is built once and shared.
#[derive(Clone)]
pub struct Scrubber {
    search: Option<Arc<Search>>,
    /// What was seen and not let go: the beginning of what may become a match.
    held: Vec<u8>,
}

/// The search, without any stream's state.
struct Search {
    /// Sorted by pattern.
    forms: Vec<encodings::Form>,
    /// Bytes of every pattern that the table knows.
    window: usize,
    /// By a block's hash: how far the window can move when it ends in that block.
    shifts: Vec<u8>,
    preserves_length: bool,
}

impl Scrubber {
    /// A scrubber for pairs of a real value and its shadow. Values shorter than 8 bytes are left alone:
    /// they would be found everywhere by chance. Keeps copies of the values in memory.
    #[must_use]
    pub fn new<R: AsRef<str>, S: AsRef<str>>(pairs: &[(R, S)]) -> Self {
        let long = pairs.iter().filter(|(real, _)| real.as_ref().len() >= SHORTEST);
        let forms = long.flat_map(|(real, shadow)| forms(real.as_ref(), shadow.as_ref())).collect();
        Self { search: Search::new(forms).map(Arc::new), held: Vec::new() }
    }

    /// A scrubber for another stream, with the same search.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self { search: self.search.clone(), held: Vec::new() }
    }

    /// Whether it looks for nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.search.is_none()
    }

    /// Whether what comes out is as long as what goes in, so that a `Content-Length` stays right.
    #[must_use]
    pub fn preserves_length(&self) -> bool {
        self.search.as_ref().is_none_or(|search| search.preserves_length)
    }

    /// Takes the next bytes of the stream and appends to `out` all that can be let go. Held back is only
    /// an end that may be the beginning of a value.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let Some(search) = &self.search else {
            return out.extend_from_slice(chunk);
        };
        if self.held.is_empty() {
            let done = search.replace(chunk, false, out);
            self.held.extend_from_slice(chunk.get(done..).unwrap_or_default());
        } else {
            self.held.extend_from_slice(chunk);
            let done = search.replace(&self.held, false, out);
            self.held.drain(..done);
        }
    }

    /// Ends the stream: appends what was held back. After an error of the stream, drop the scrubber
    /// instead.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(search) = &self.search {
            search.replace(&self.held, true, out);
        }
        self.held.clear();
    }

    /// Scrubs every value of a header map; trailers are one as well. A value that cannot be a header
    /// value afterwards is emptied.
    pub fn headers(&self, headers: &mut HeaderMap) {
        let Some(search) = &self.search else { return };
        for value in headers.values_mut() {
            let mut out = Vec::with_capacity(value.len());
            search.replace(value.as_bytes(), true, &mut out);
            if out != value.as_bytes() {
                let sensitive = value.is_sensitive();
                *value = HeaderValue::from_bytes(&out).unwrap_or(HeaderValue::from_static(""));
                value.set_sensitive(sensitive);
            }
        }
    }
}

impl Search {
    /// The search for these forms; `None` when there are none. Of two with the same pattern, the first
    /// counts.
    fn new(mut forms: Vec<encodings::Form>) -> Option<Self> {
        // The sort is stable, so the first of equals stays first.
        forms.sort_by(|one, other| one.pattern.cmp(&other.pattern));
        forms.dedup_by(|later, first| later.pattern == first.pattern);
        let window = forms.iter().map(|form| form.pattern.len()).min()?.min(WIDEST);
        let furthest = window - BLOCK + 1;
        let mut shifts = vec![u8::try_from(furthest).unwrap_or(u8::MAX); 1 << HASH_BITS];
        for form in &forms {
            for (at, block) in form.pattern[..window].windows(BLOCK).enumerate() {
                let shift = u8::try_from(window - BLOCK - at).unwrap_or(u8::MAX);
                let known = &mut shifts[hash(block)];
                *known = shift.min(*known);
            }
        }
        let preserves_length = forms.iter().all(|form| form.pattern.len() == form.replacement.len());
        Some(Self { forms, window, shifts, preserves_length })
    }

    /// Appends `text` to `out` with every pattern replaced, from the left and the longest first. Says how
    /// much of it that was: unless it is the `last`, an end that may become a match is left over.
    fn replace(&self, text: &[u8], last: bool, out: &mut Vec<u8>) -> usize {
        let mut done = 0;
        let mut at = 0;
        while let Some(window) = text.get(at..at + self.window) {
            let shift = usize::from(self.shifts[hash(&window[self.window - BLOCK..])]);
            if shift > 0 {
                at += shift;
                continue;
            }
            let rest = &text[at..];
            if !last && self.may_become(rest) {
                out.extend_from_slice(&text[done..at]);
                return at;
            }
            let Some(form) = self.longest(rest) else {
                at += 1;
                continue;
            };
            out.extend_from_slice(&text[done..at]);
            out.extend_from_slice(&form.replacement);
            at += form.pattern.len();
            done = at;
        }
        // No pattern begins where the table stepped over, not even one that ends behind the text.
        let mut ends = at..text.len();
        let end = if last { None } else { ends.find(|end| self.may_become(&text[*end..])) };
        let end = end.unwrap_or(text.len());
        out.extend_from_slice(&text[done..end]);
        end
    }

    /// Whether a pattern begins with all of `text` and goes on.
    fn may_become(&self, text: &[u8]) -> bool {
        let at = self.forms.partition_point(|form| form.pattern.as_slice() <= text);
        self.forms.get(at).is_some_and(|form| form.pattern.starts_with(text))
    }

    /// The longest pattern that `text` begins with.
    fn longest(&self, text: &[u8]) -> Option<&encodings::Form> {
        let window = text.get(..self.window)?;
        let first = self.forms.partition_point(|form| &form.pattern[..self.window] < window);
        let group = self.forms[first..].iter().take_while(|form| form.pattern.starts_with(window));
        group.filter(|form| text.starts_with(&form.pattern)).max_by_key(|form| form.pattern.len())
    }
}

/// A block's place in the table.
fn hash(block: &[u8]) -> usize {
    let word = block.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
    (word.wrapping_mul(0x9e37_79b1) >> (u32::BITS - HASH_BITS)) as usize
}
