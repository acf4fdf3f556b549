//! Taking real values out of what a host answers, as it streams by.
//!
//! Owns the search for every real value of a session in its common encodings, and what replaces each: the
//! shadow in the same encoding. Must not know which hosts are scrubbed or where the bytes go.
//!
//! This is the second line of defence. The first is that a real value goes only to its own host.
//!
//! Two stages, because one list of patterns cannot hold all that a host may write: fixed patterns first,
//! which may change the length; then, in place, what is written as a list, or with escapes and breaks.

mod encodings;
mod lists;
mod loose;
mod table;
#[cfg(test)]
mod tests;
mod written;

use std::ops::Range;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) use encodings::forms;
use table::Table;

/// Shortest value that is searched for, bytes.
pub(crate) const SHORTEST: usize = 8;
/// Bytes within a value that may be as they were when all others are replaced.
const SAME: usize = 24;

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
    table: Table,
    preserves_length: bool,
    /// Finds what is written as a list of numbers.
    lists: lists::Lists,
    /// Finds what is escaped or broken over lines.
    loose: loose::Loose,
    /// Finds values in names, whose letters have no case.
    names: Option<Table>,
}

impl Scrubber {
    /// A scrubber for pairs of a real value and its shadow. Values shorter than 8 bytes are left alone:
    /// they would be found everywhere by chance. Keeps copies of the values in memory.
    #[must_use]
    pub fn new<R: AsRef<str>, S: AsRef<str>>(pairs: &[(R, S)]) -> Self {
        let long = pairs.iter().filter(|(real, _)| real.as_ref().len() >= SHORTEST);
        let texts = |(real, shadow): (&R, &S)| encodings::texts_that_break(real.as_ref(), shadow.as_ref());
        let forms = long.clone().flat_map(|(real, shadow)| forms(real.as_ref(), shadow.as_ref())).collect();
        let loose = long.clone().flat_map(|(real, shadow)| texts((real, shadow)));
        let loose = loose::Loose::new(loose.filter(|(text, _)| text.len() >= SHORTEST));
        let lists = long.map(|(real, shadow)| encodings::fitted(real.as_ref(), shadow.as_ref()));
        let search = Search::new(forms, loose, lists::Lists::new(lists.collect()));
        Self { search: search.map(Arc::new), held: Vec::new(), loose: Vec::new() }
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
            let done = search.table.replace(chunk, false, out);
            self.held.extend_from_slice(chunk.get(done..).unwrap_or_default());
        } else {
            self.held.extend_from_slice(chunk);
            let done = search.table.replace(&self.held, false, out);
            self.held.drain(..done);
        }
        // What may become a plain match is in `held`; that may also be an escape that a value goes on with.
        let goes_on = !self.held.is_empty();
        let keep = from + search.replace_within(&mut out[from..], false, goes_on);
        self.loose.extend_from_slice(&out[keep..]);
        out.truncate(keep);
    }

    /// Ends the stream: appends what was held back. After an error of the stream, drop the scrubber
    /// instead.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(search) = &self.search {
            let from = out.len();
            out.append(&mut self.loose);
            search.table.replace(&self.held, true, out);
            search.replace_last(out, from);
        }
        self.held.clear();
    }

    /// Where values stand in a whole text, in any form; sorted, and some may overlap. The shadows must
    /// differ from the values in every byte.
    pub(crate) fn places(&self, text: &[u8]) -> Vec<Range<usize>> {
        let Some(search) = &self.search else { return Vec::new() };
        let mut found = search.table.places(text);
        let mut replaced = text.to_vec();
        search.replace_last(&mut replaced, 0);
        let differing = text.iter().zip(&replaced).enumerate().filter(|(_, (old, new))| old != new);
        let mut last: Option<Range<usize>> = None;
        for (at, _) in differing {
            match &mut last {
                Some(range) if at <= range.end + SAME => range.end = at + 1,
                _ => found.extend(last.replace(at..at + 1)),
            }
        }
        found.extend(last);
        found.sort_unstable_by_key(|range| (range.start, range.end));
        found
    }

    /// Scrubs every value of a header map; trailers are one as well. A value that cannot be a header
    /// value afterwards is emptied, and a header whose name holds a value is taken out.
    pub fn headers(&self, headers: &mut HeaderMap) {
        let Some(search) = &self.search else { return };
        let telling: Vec<HeaderName> = headers.keys().filter(|name| search.tells(name)).cloned().collect();
        for name in &telling {
            headers.remove(name);
        }
        for value in headers.values_mut() {
            let mut out = Vec::with_capacity(value.len());
            search.table.replace(value.as_bytes(), true, &mut out);
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
    /// The search for these forms; `None` when there are none.
    fn new(forms: Vec<encodings::Form>, loose: loose::Loose, lists: lists::Lists) -> Option<Self> {
        // Names of headers have fewer signs than values, and no case.
        let named = forms.iter().filter(|form| HeaderName::from_bytes(&form.pattern).is_ok());
        let lower = |form: &encodings::Form| encodings::Form {
            pattern: form.pattern.to_ascii_lowercase(),
            replacement: Vec::new(),
        };
        let names = Table::new(named.map(lower).collect());
        let preserves_length = forms.iter().all(|form| form.pattern.len() == form.replacement.len());
        Some(Self { table: Table::new(forms)?, preserves_length, loose, lists, names })
    }

    /// Whether a header's name holds a value.
    fn tells(&self, name: &HeaderName) -> bool {
        self.names.as_ref().is_some_and(|names| names.is_in(name.as_str().as_bytes()))
    }

    /// Replaces what a list, escapes or breaks make different from every pattern. Says from where on the
    /// text must be kept until more is there. `goes_on` says that more is there already.
    fn replace_within(&self, text: &mut [u8], last: bool, goes_on: bool) -> usize {
        let listed = self.lists.replace(text, last);
        let begins = |text: &[u8]| self.table.may_become(text);
        // What may yet be a list is not touched.
        let goes_on = goes_on || listed < text.len();
        let keep = self.loose.replace(&mut text[..listed], last, goes_on, begins);
        keep.min(listed)
    }

    /// The same where nothing more comes, from `from` on.
    fn replace_last(&self, text: &mut Vec<u8>, from: usize) {
        let whole = text.len();
        // Behind a blank, no escape can go on.
        text.extend_from_slice(b"    ");
        self.replace_within(&mut text[from..], true, false);
        text.truncate(whole);
    }
}
