//! What a session holds, ready for look-ups.
//!
//! Owns the two ways to find a shadow: as a whole field, by a map; and anywhere within a text, in any
//! encoding, by a search. Only the first ever leads to a real value. Must not know requests.

use std::collections::HashMap;

use aho_corasick::AhoCorasick;
use percent_encoding::percent_decode;

use crate::credential::{CredentialName, Grant};
use crate::egress::host::Authority;
use crate::scrub;

/// What a session holds.
#[derive(Clone, Debug, Default)]
pub struct Held {
    grants: Vec<Grant>,
    by_shadow: HashMap<String, usize>,
    search: Option<AhoCorasick>,
    /// Patterns of the search, each with the grant whose shadow it is.
    patterns: Vec<(Vec<u8>, usize)>,
}

/// Shortest text that is searched for, bytes.
const SHORTEST: usize = 8;

impl Held {
    /// What a session holds. Of two grants with the same shadow, the first counts.
    #[must_use]
    pub fn new(grants: Vec<Grant>) -> Self {
        let mut by_shadow = HashMap::new();
        let mut patterns = Vec::new();
        for (at, grant) in grants.iter().enumerate().filter(|(_, grant)| !grant.shadow.is_empty()) {
            by_shadow.entry(grant.shadow.clone()).or_insert(at);
            let forms = scrub::forms(&grant.shadow, "").into_iter().map(|form| form.pattern);
            patterns.extend(forms.filter(|pattern| pattern.len() >= SHORTEST).map(|pattern| (pattern, at)));
        }
        let search = AhoCorasick::new(patterns.iter().map(|(pattern, _)| pattern)).ok();
        Self { grants, by_shadow, search, patterns }
    }

    /// All of it.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// A grant by its name.
    #[must_use]
    pub fn grant(&self, name: &CredentialName) -> Option<&Grant> {
        self.grants.iter().find(|grant| &grant.name == name)
    }

    /// A grant by its whole shadow.
    #[must_use]
    pub fn by_shadow(&self, shadow: &str) -> Option<&Grant> {
        self.by_shadow.get(shadow).and_then(|at| self.grants.get(*at))
    }

    /// Whether any credential of the session is for this host and port. Answers from such a host are to
    /// be scrubbed.
    #[must_use]
    pub fn credentialed(&self, authority: &Authority) -> bool {
        self.grants.iter().any(|grant| grant.bindings.iter().any(|binding| binding.reaches(authority)))
    }

    /// Grants whose shadows are somewhere in a text, in any of the encodings that are scrubbed, or behind
    /// percent-encoding.
    pub(super) fn within(&self, text: &[u8]) -> Vec<&Grant> {
        let mut found = Vec::new();
        self.search_in(text, &mut found);
        if text.contains(&b'%') {
            let decoded: Vec<u8> = percent_decode(text).collect();
            self.search_in(&decoded, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|at| self.grants.get(at)).collect()
    }

    fn search_in(&self, text: &[u8], found: &mut Vec<usize>) {
        match &self.search {
            Some(search) => {
                let hits = search.find_overlapping_iter(text);
                found.extend(
                    hits.filter_map(|hit| self.patterns.get(hit.pattern().as_usize())).map(|(_, at)| at),
                );
            }
            // Too many patterns for the automaton: slower, and not without a search.
            None => {
                let is_in = |pattern: &[u8]| text.windows(pattern.len()).any(|window| window == pattern);
                found.extend(self.patterns.iter().filter(|(pattern, _)| is_in(pattern)).map(|(_, at)| at));
            }
        }
    }
}
