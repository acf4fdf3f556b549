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
mod loose;
#[cfg(test)]
mod tests;
mod written;

use std::sync::Arc;

use aho_corasick::AhoCorasick;
use http::{HeaderMap, HeaderName, HeaderValue};

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
    /// The same, for what is escaped or broken over lines.
    loose: Vec<u8>,
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
    /// Finds what is escaped or broken over lines.
    loose: loose::Loose,
    /// Finds values in names, whose letters have no case.
    names: Option<AhoCorasick>,
}

impl Scrubber {
    /// A scrubber for pairs of a real value and its shadow. Values shorter than 8 bytes are left alone:
    /// they would be found everywhere by chance. Keeps copies of the values in memory.
    #[must_use]
    pub fn new<R: AsRef<str>, S: AsRef<str>>(pairs: &[(R, S)]) -> Self {
        let long = pairs.iter().filter(|(real, _)| real.as_ref().len() >= SHORTEST);
        let forms = long.clone().flat_map(|(real, shadow)| forms(real.as_ref(), shadow.as_ref())).collect();
        let texts =
            long.flat_map(|(real, shadow)| encodings::texts_that_break(real.as_ref(), shadow.as_ref()));
        let loose = loose::Loose::new(texts.filter(|(text, _)| text.len() >= SHORTEST));
        Self { search: Search::new(forms, loose).map(Arc::new), held: Vec::new(), loose: Vec::new() }
    }

    /// A scrubber for another stream, with the same search.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self { search: self.search.clone(), held: Vec::new(), loose: Vec::new() }
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
        let from = out.len();
        out.append(&mut self.loose);
        if self.held.is_empty() {
            let done = search.replace(chunk, false, out);
            self.held.extend_from_slice(chunk.get(done..).unwrap_or_default());
        } else {
            self.held.extend_from_slice(chunk);
            let done = search.replace(&self.held, false, out);
            self.held.drain(..done);
        }
        let text = &mut out[from..];
        let begins = |text: &[u8]| search.may_become(text);
        // What may become a plain match is in `held`; that may also be an escape that a value goes on with.
        let goes_on = !self.held.is_empty();
        let keep = from + search.loose.replace(text, false, goes_on, begins);
        self.loose.extend_from_slice(&out[keep..]);
        out.truncate(keep);
    }

    /// Ends the stream: appends what was held back. After an error of the stream, drop the scrubber
    /// instead.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(search) = &self.search {
            let from = out.len();
            out.append(&mut self.loose);
            search.replace(&self.held, true, out);
            search.replace_last(out, from);
        }
        self.held.clear();
    }

    /// Scrubs every value of a header map; trailers are one as well. A value that cannot be a header
    /// value afterwards is emptied, and a header whose name holds a value is taken out.
    pub fn headers(&self, headers: &mut HeaderMap) {
        let Some(search) = &self.search else { return };
        let tells =
            |name: &&HeaderName| search.names.as_ref().is_none_or(|names| names.is_match(name.as_str()));
        let telling: Vec<HeaderName> = headers.keys().filter(tells).cloned().collect();
        for name in &telling {
            headers.remove(name);
        }
        for value in headers.values_mut() {
            let mut out = Vec::with_capacity(value.len());
            search.replace(value.as_bytes(), true, &mut out);
            search.replace_last(&mut out, 0);
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
    fn new(mut forms: Vec<encodings::Form>, loose: loose::Loose) -> Option<Self> {
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
        // Names of headers have fewer signs than values, and none of the longer encodings.
        let named = forms.iter().filter(|form| HeaderName::from_bytes(&form.pattern).is_ok());
        let names =
            AhoCorasick::builder().ascii_case_insensitive(true).build(named.map(|form| &form.pattern)).ok();
        Some(Self { forms, window, shifts, preserves_length, loose, names })
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

    /// Replaces what is escaped or broken from `from` on, where nothing more comes.
    fn replace_last(&self, text: &mut Vec<u8>, from: usize) {
        let whole = text.len();
        // Behind a blank, no escape can go on.
        text.extend_from_slice(b"    ");
        self.loose.replace(&mut text[from..], true, false, |_| false);
        text.truncate(whole);
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
