//! Texts of a sandbox as the ledger keeps them.
//!
//! Owns that they are bounded, have no control characters, and that a cut one can be told from a whole one.
//! Must not know what they are.

use std::fmt::Write as _;

/// The most of a path that is kept, bytes.
pub(super) const PATH: usize = 512;
/// The most of a method that is kept, bytes.
pub(super) const METHOD: usize = 32;
/// The most of a host with its port that is kept, bytes; canonical ones are shorter.
pub(super) const AUTHORITY: usize = 300;
/// The most of a rule that is kept, bytes.
pub(super) const RULE: usize = 1024;

/// Stands where something was cut off. No canonical path has it.
const CUT: char = '…';

/// A text with its control characters escaped, and no longer than `most` bytes and a mark. The mark has the
/// length of the whole and the beginning of its BLAKE3 hash, so that equal texts stay equal.
pub(super) fn excerpt(text: &str, most: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(most));
    for character in text.chars() {
        let before = kept.len();
        match character {
            plain if !plain.is_control() && plain != CUT => kept.push(plain),
            other => kept.extend(other.escape_unicode()),
        }
        if kept.len() > most {
            kept.truncate(before);
            let hash = blake3::hash(text.as_bytes()).to_hex();
            let _infallible = write!(kept, "{CUT}({} bytes, blake3 {})", text.len(), &hash[..16]);
            break;
        }
    }
    kept
}

/// Whether something was cut off.
pub(super) fn is_cut(text: &str) -> bool {
    text.contains(CUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_stay_and_long_ones_are_cut_and_told_apart() {
        assert_eq!(excerpt("/a/b", 4), "/a/b");
        assert_eq!(excerpt("/a\x1b[2J\n", 50), "/a\\u{1b}[2J\\u{a}");
        let (one, other) = (format!("/{}1", "é".repeat(300)), format!("/{}2", "é".repeat(300)));
        let (first, second) = (excerpt(&one, PATH), excerpt(&other, PATH));
        assert!(first.starts_with("/éé") && first.contains("é…(602 bytes, blake3 "), "{first}");
        assert!(first.len() < PATH + 50 && first != second && first == excerpt(&one, PATH));
        assert!(is_cut(&first) && !is_cut(&excerpt("/…", 50)));
    }
}
