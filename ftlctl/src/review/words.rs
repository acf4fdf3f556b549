//! Which words differ between a line and the one that took its place.
//!
//! Owns what a word is, and the bounds that keep long lines cheap. Must not know how it is shown.

use std::ops::Range;

use similar::{Algorithm, DiffTag, capture_diff_slices};

/// Bytes of a line beyond which no words are compared.
const LONGEST: usize = 4096;

/// Words of a line beyond which only the common beginning and end are found.
const MOST: usize = 400;

/// The bytes that differ in each of two lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// In the line before.
    pub(crate) old: Vec<Range<usize>>,
    /// In the line after.
    pub(crate) new: Vec<Range<usize>>,
}

/// Compares two lines word by word. Nothing is marked where hardly anything is left: then all of it differs.
pub(crate) fn compare(old: &[u8], new: &[u8]) -> Changed {
    if old.len() > LONGEST || new.len() > LONGEST {
        return Changed::default();
    }
    let (before, after) = (words(old), words(new));
    let texts = |words: &[Range<usize>], line: &[u8]| -> Vec<Vec<u8>> {
        words.iter().map(|word| line[word.clone()].to_vec()).collect()
    };
    let (left, right) = (texts(&before, old), texts(&after, new));
    let mut changed = Changed::default();
    if before.len() > MOST || after.len() > MOST {
        let head = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
        let tail = left[head..].iter().rev().zip(right[head..].iter().rev()).take_while(|(a, b)| a == b);
        let tail = tail.count();
        mark(&mut changed.old, &before[head..before.len() - tail]);
        mark(&mut changed.new, &after[head..after.len() - tail]);
    } else {
        for operation in capture_diff_slices(Algorithm::Myers, &left, &right) {
            let (tag, old, new) = operation.as_tag_tuple();
            if tag != DiffTag::Equal {
                mark(&mut changed.old, &before[old]);
                mark(&mut changed.new, &after[new]);
            }
        }
    }
    if is_rewritten(&changed.old, old) && is_rewritten(&changed.new, new) {
        return Changed::default();
    }
    changed
}

/// Adds the words as one range, joined with the one before when they touch.
fn mark(ranges: &mut Vec<Range<usize>>, words: &[Range<usize>]) {
    let (Some(first), Some(last)) = (words.first(), words.last()) else { return };
    match ranges.last_mut() {
        Some(before) if before.end == first.start => before.end = last.end,
        _ => ranges.push(first.start..last.end),
    }
}

fn is_rewritten(ranges: &[Range<usize>], line: &[u8]) -> bool {
    let ink = |bytes: &[u8]| bytes.iter().filter(|byte| !byte.is_ascii_whitespace()).count();
    let marked: usize = ranges.iter().map(|range| ink(&line[range.clone()])).sum();
    marked * 10 >= ink(line) * 7
}

/// Runs of letters and digits, runs of white space, and everything else one by one.
fn words(line: &[u8]) -> Vec<Range<usize>> {
    let kind = |byte: u8| match byte {
        b'_' | 0x80.. => 1,
        byte if byte.is_ascii_alphanumeric() => 1,
        byte if byte.is_ascii_whitespace() => 2,
        _ => 0,
    };
    let mut words: Vec<Range<usize>> = Vec::new();
    for (at, byte) in line.iter().enumerate() {
        match words.last_mut() {
            Some(last) if kind(*byte) != 0 && kind(line[at - 1]) == kind(*byte) => last.end = at + 1,
            _ => words.push(at..at + 1),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_words_that_differ_are_marked() {
        type Ranges = &'static [Range<usize>];
        let table: [(&str, &str, Ranges, Ranges); 6] = [
            ("let a = 1;", "let a = 22;", &[8..9], &[8..10]),
            ("f(a, b)", "f(a, b, c)", &[], &[6..9]),
            ("x = y + z", "x = y", &[5..9], &[]),
            ("same", "same", &[], &[]),
            // Nothing of it is left.
            ("one two", "three four", &[], &[]),
            ("", "x", &[], &[]),
        ];
        for (old, new, left, right) in table {
            let changed = compare(old.as_bytes(), new.as_bytes());
            assert_eq!((changed.old.as_slice(), changed.new.as_slice()), (left, right), "{old} / {new}");
        }
    }

    #[test]
    fn long_lines_are_bounded() {
        let old = "a ".repeat(1000);
        let new = format!("{}b {}", "a ".repeat(500), "a ".repeat(499));
        assert_eq!(compare(old.as_bytes(), new.as_bytes()).new, [1000..1001]);
        let huge = vec![b'x'; LONGEST + 1];
        assert_eq!(compare(&huge, b"x"), Changed::default());
    }

    #[test]
    fn ranges_are_within_their_lines() {
        for line in ["é漢a", "\u{fffd}", "a\tb  c"] {
            for range in words(line.as_bytes()) {
                assert!(range.end <= line.len() && range.start < range.end);
            }
        }
    }
}
