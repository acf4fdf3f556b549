//! Methods as a rule names them.
//!
//! Owns which methods are known, and that a misspelt one is not taken for one of its own. Must not know what
//! a method means.

use super::read::{RuleError, Word};

/// Methods that are written as they are: HTTP's own and WebDAV's.
const KNOWN: [&str; 18] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "QUERY",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "SEARCH",
    "MERGE",
];

/// What stands before a method that is not known.
const OTHER: &str = "method:";

/// Methods that would otherwise be read as a host.
pub(super) fn is_list(word: &str) -> bool {
    word.split(',').all(|method| KNOWN[..7].contains(&method))
}

/// Reads methods that are joined by commas: upper case, sorted, each once.
pub(super) fn read(word: &str) -> Result<Vec<String>, RuleError> {
    let mut methods = Vec::new();
    for text in word.split(',') {
        let (method, other) = text.strip_prefix(OTHER).map_or((text, false), |method| (method, true));
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-') {
            return Err(RuleError::Method(Word::new(word)));
        }
        let method = method.to_ascii_uppercase();
        if method == "CONNECT" || method == "TRACE" {
            return Err(RuleError::Tunnel(Word::new(&method)));
        }
        if !other && !is_known(&method) {
            return Err(RuleError::UnknownMethod { given: Word::new(&method), nearest: nearest(&method) });
        }
        methods.push(method);
    }
    methods.sort();
    methods.dedup();
    Ok(methods)
}

/// A method as it is written.
pub(super) fn written(method: &str) -> String {
    if is_known(method) { method.to_owned() } else { format!("{OTHER}{method}") }
}

fn is_known(method: &str) -> bool {
    KNOWN.contains(&method)
}

/// The known method that is most like this one; of equal ones the more usual.
fn nearest(method: &str) -> &'static str {
    let distance = |known: &&&str| strsim::damerau_levenshtein(known, method);
    KNOWN.iter().min_by_key(distance).copied().unwrap_or("GET")
}
