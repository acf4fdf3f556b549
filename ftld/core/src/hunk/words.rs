//! Which words of changed lines are the changed ones.
//!
//! Owns what a word is and when showing words helps. It is a help for the eye alone: what is approved are
//! lines. Must not know how it is shown. Long lines and long regions cost no more than a bounded amount.

use std::ops::Range;

use similar::{Algorithm, DiffTag, capture_diff_slices};
use unicode_normalization::char::is_combining_mark;

use super::{Line, Tag};

/// Words of both sides together that are compared at most; of more, what is between the common beginning and
/// the common end is one. The time goes with their number for each word.
const WORDS: usize = 600;
/// Bytes of several lines that are compared as one text.
const REGION: usize = 2_000;
/// Bytes of two lines together whose words are looked for; of longer ones what differs is one range.
const LONG: usize = 128 * 1024;
/// Joins what it stands between to one sign.
const JOINER: char = '\u{200d}';

/// The ranges of bytes that differ in each of a hunk's lines, in order and apart from each other. A line has
/// none when nothing took its place, or when too little is left of it for words to be a help. A range never
/// begins or ends within a character; a line's end can be in one.
#[must_use]
pub fn changed_words(lines: &[Line]) -> Vec<Vec<Range<u32>>> {
    let mut all = vec![Vec::new(); lines.len()];
    let mut at = 0;
    while at < lines.len() {
        let run = |from: usize, tag| lines[from..].iter().take_while(|line| line.tag == tag).count();
        let removed = run(at, Tag::Removed);
        let added = run(at + removed, Tag::Added);
        let (old, new) = (at..at + removed, at + removed..at + removed + added);
        at = new.end.max(at + 1);
        if removed > 0 && added > 0 {
            region(lines, old, new, &mut all);
        }
    }
    all
}

/// Some lines that stand in the place of others: compared as one text when that is short enough, line by line
/// when they are equally many.
fn region(lines: &[Line], old: Range<usize>, new: Range<usize>, all: &mut [Vec<Range<u32>>]) {
    let bytes: usize = lines[old.start..new.end].iter().map(|line| line.text.len()).sum();
    if bytes <= REGION {
        pair(lines, old, new, all);
    } else if old.len() == new.len() {
        for (old, new) in old.zip(new) {
            let [before, after] = [old, new].map(|line| lines[line].text.as_slice());
            if before.len() + after.len() <= LONG {
                pair(lines, old..old + 1, new..new + 1, all);
            } else {
                let [removed, added] = middle(before, after);
                (all[old], all[new]) = (removed, added);
            }
        }
    }
}

/// What is between the common beginning and the common end of two lines, by whole characters.
fn middle(before: &[u8], after: &[u8]) -> [Vec<Range<u32>>; 2] {
    let continues = |text: &[u8], at: usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let mut head = before.iter().zip(after).take_while(|(old, new)| old == new).count();
    while head > 0 && (continues(before, head) || continues(after, head)) {
        head -= 1;
    }
    let ends = before[head..].iter().rev().zip(after[head..].iter().rev());
    let mut tail = ends.take_while(|(old, new)| old == new).count();
    while tail > 0 && continues(before, before.len() - tail) {
        tail -= 1;
    }
    [before, after].map(|text| {
        let range = head as u32..(text.len() - tail) as u32;
        if range.is_empty() { Vec::new() } else { vec![range] }
    })
}

fn pair(lines: &[Line], old: Range<usize>, new: Range<usize>, all: &mut [Vec<Range<u32>>]) {
    let [before, after] = [old, new].map(|side| words(lines, side));
    let text = |word: &Word| &lines[word.line].text[word.bytes.clone()];
    let [old_texts, new_texts] = [&before, &after].map(|side| side.iter().map(text).collect::<Vec<_>>());
    let head = old_texts.iter().zip(&new_texts).take_while(|(old, new)| old == new).count();
    let tails = old_texts[head..].iter().rev().zip(new_texts[head..].iter().rev());
    let tail = tails.take_while(|(old, new)| old == new).count();
    let (old_end, new_end) = (old_texts.len() - tail, new_texts.len() - tail);
    let mut changed = [vec![false; old_texts.len()], vec![false; new_texts.len()]];
    let (old_middle, new_middle) = (&old_texts[head..old_end], &new_texts[head..new_end]);
    if old_middle.len() + new_middle.len() > WORDS {
        changed[0][head..old_end].fill(true);
        changed[1][head..new_end].fill(true);
    } else {
        for op in capture_diff_slices(Algorithm::Myers, old_middle, new_middle) {
            if op.tag() != DiffTag::Equal {
                let place = |range: Range<usize>| head + range.start..head + range.end;
                changed[0][place(op.old_range())].fill(true);
                changed[1][place(op.new_range())].fill(true);
            }
        }
    }
    let sides = [(&before, &old_texts), (&after, &new_texts)];
    if sides.iter().zip(&changed).all(|((_, texts), changed)| says_enough(texts, changed)) {
        for ((words, texts), changed) in sides.into_iter().zip(changed) {
            mark(words, texts, changed, all);
        }
    }
}

/// Whether enough of a side is unchanged: a quarter of what is no white space.
fn says_enough(texts: &[&[u8]], changed: &[bool]) -> bool {
    let seen = |text: &[u8]| text.iter().filter(|byte| !byte.is_ascii_whitespace()).count();
    let (mut same, mut whole) = (0, 0);
    for (text, changed) in texts.iter().zip(changed) {
        whole += seen(text);
        same += if *changed { 0 } else { seen(text) };
    }
    same * 4 >= whole
}

/// Notes the changed words, those with nothing but white space between them as one.
fn mark(words: &[Word], texts: &[&[u8]], mut changed: Vec<bool>, all: &mut [Vec<Range<u32>>]) {
    for at in 1..changed.len().saturating_sub(1) {
        let is_space = texts[at].iter().all(|byte| matches!(byte, b' ' | b'\t'));
        let together = words[at - 1].line == words[at + 1].line;
        changed[at] |= is_space && together && changed[at - 1] && changed[at + 1];
    }
    for (word, _) in words.iter().zip(changed).filter(|(_, changed)| *changed) {
        let (start, end) = (word.bytes.start as u32, word.bytes.end as u32);
        match all[word.line].last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => all[word.line].push(start..end),
        }
    }
}

/// A word in a line.
struct Word {
    line: usize,
    bytes: Range<usize>,
}

/// What a character does to the word before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Letters and digits are a word together.
    Letter,
    /// So is white space.
    Space,
    /// Anything else is one of its own.
    Sign,
}

/// The words of some lines; together they are all of their bytes.
fn words(lines: &[Line], range: Range<usize>) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    for line in range {
        let (mut at, mut kind) = (0, None);
        for chunk in lines[line].text.utf8_chunks() {
            for c in chunk.valid().chars() {
                let end = at + c.len_utf8();
                let this = match c {
                    '_' => Kind::Letter,
                    ' ' | '\t' => Kind::Space,
                    _ if c.is_alphanumeric() => Kind::Letter,
                    _ => Kind::Sign,
                };
                let mark = is_combining_mark(c) || c == JOINER;
                let on = kind.is_some() && (mark || (kind == Some(this) && this != Kind::Sign));
                match words.last_mut().filter(|_| on) {
                    Some(word) => word.bytes.end = end,
                    None => words.push(Word { line, bytes: at..end }),
                }
                kind = if mark && on { kind } else { Some(this) };
                at = end;
            }
            for _ in chunk.invalid() {
                words.push(Word { line, bytes: at..at + 1 });
                (at, kind) = (at + 1, Some(Kind::Sign));
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    #![expect(clippy::single_range_in_vec_init, reason = "lists of ranges, of which a line has one")]

    use proptest::prelude::*;

    use super::*;

    /// A text with its changed words in brackets; removed lines first.
    fn shown(removed: &[&str], added: &[&str]) -> String {
        let line = |tag| move |text: &&str| Line { tag, text: text.as_bytes().to_vec() };
        let lines: Vec<_> =
            removed.iter().map(line(Tag::Removed)).chain(added.iter().map(line(Tag::Added))).collect();
        let mut out = String::new();
        for (line, ranges) in lines.iter().zip(changed_words(&lines)) {
            let mut text = line.text.clone();
            for range in ranges.iter().rev() {
                text.insert(range.end as usize, b']');
                text.insert(range.start as usize, b'[');
            }
            out += &String::from_utf8(text).unwrap();
            out += "|";
        }
        out.replace("\r", "CR").replace('\n', "LF")
    }

    #[test]
    fn words_that_differ_are_marked() {
        for (removed, added, wanted) in [
            (&["let a = old(1);"][..], &["let a = new(1);"][..], "let a = [old](1);|let a = [new](1);|"),
            (&["the cat sat"], &["the big black cat sat"], "the cat sat|the [big black ]cat sat|"),
            // With nothing but a space between them they are one.
            (&["a old one z y x"], &["a new two z y x"], "a [old one] z y x|a [new two] z y x|"),
            // Lines that were broken anew.
            (&["one two three\n"], &["one two\n", "three\n"], "one two[ ]threeLF|one two[LF]|threeLF|"),
            (&["same text\r\n"], &["same text\n"], "same text[CR]LF|same textLF|"),
            (&["same text\n"], &["same text"], "same text[LF]|same text|"),
            // Nothing took its place, or nothing is left.
            (&["gone"], &[], "gone|"),
            (
                &["entirely other words"],
                &["nothing of that here"],
                "entirely other words|nothing of that here|",
            ),
            // Characters stay whole.
            (&["x = cafe\u{301} + 1"], &["x = cafe + 1"], "x = [cafe\u{301}] + 1|x = [cafe] + 1|"),
            (&["stra\u{df}e eins"], &["stra\u{df}en eins"], "[stra\u{df}e] eins|[stra\u{df}en] eins|"),
        ] {
            assert_eq!(shown(removed, added), wanted);
        }
    }

    #[test]
    fn lines_without_a_counterpart_have_no_words() {
        let line = |tag, text: &str| Line { tag, text: text.into() };
        let lines = [
            line(Tag::Removed, "one two"),
            line(Tag::Same, "x"),
            line(Tag::Added, "one three"),
            line(Tag::Removed, "four five"),
            line(Tag::Added, "four six"),
        ];
        assert_eq!(changed_words(&lines), [vec![], vec![], vec![], vec![5..9], vec![5..8]]);
    }

    #[test]
    fn long_lines_are_compared_at_their_ends_and_in_bounded_work() {
        let ones = |count| "1, ".repeat(count);
        let long = |middle: &str| format!("let words = [{}{middle}, {}];\n", ones(9_000), ones(9_000));
        let line = |tag, text: String| Line { tag, text: text.into_bytes() };
        let found = changed_words(&[line(Tag::Removed, long("old")), line(Tag::Added, long("newer"))]);
        assert_eq!(found, [vec![27_013..27_016], vec![27_013..27_018]]);
        let longer = |middle: &str| format!("{}{middle}{}", "\u{e9}".repeat(50_000), "\u{e8}".repeat(50_000));
        let found =
            changed_words(&[line(Tag::Removed, longer("\u{ea}")), line(Tag::Added, longer("\u{eb}\u{eb}"))]);
        assert_eq!(found, [vec![100_000..100_002], vec![100_000..100_004]]);
        // Nothing in common, again and again.
        let hostile = |step: usize| (0..1000).map(|n| format!("{} ", n * n * step % 7)).collect::<String>();
        let removed = (0..500).map(|n| line(Tag::Removed, hostile(n + 3)));
        let added = (0..500).map(|n| line(Tag::Added, hostile(n + 11)));
        assert_eq!(changed_words(&removed.chain(added).collect::<Vec<_>>()).len(), 1000);
    }

    proptest! {
        #[test]
        fn without_the_marked_words_both_sides_are_equal(
            removed in prop::collection::vec(any::<u8>(), 0..60), keep in any::<u64>(), added in "[ab ,\u{e9}\u{301}]{0,9}"
        ) {
            // The other side is the same with some bytes gone and some text put in.
            let mut other: Vec<u8> =
                removed.iter().enumerate().filter(|(n, _)| keep >> (n % 64) & 1 == 1).map(|(_, byte)| *byte).collect();
            let middle = other.len() / 2;
            other.splice(middle..middle, added.into_bytes());
            let lines = [Line { tag: Tag::Removed, text: removed }, Line { tag: Tag::Added, text: other }];
            let found = changed_words(&lines);
            let rest = |side: usize| -> Vec<u8> {
                let gone = |at: usize| found[side].iter().any(|range| range.contains(&(at as u32)));
                lines[side].text.iter().enumerate().filter(|(at, _)| !gone(*at)).map(|(_, byte)| *byte).collect()
            };
            for (line, ranges) in lines.iter().zip(&found) {
                let ends = ranges.iter().flat_map(|range| [range.start, range.end]).collect::<Vec<_>>();
                prop_assert!(ends.windows(2).all(|pair| pair[0] < pair[1]), "{ends:?}");
                prop_assert!(ends.last().is_none_or(|end| *end as usize <= line.text.len()));
            }
            let visible = |text: Vec<u8>| text.into_iter().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<_>>();
            if found.iter().any(|ranges| !ranges.is_empty()) {
                prop_assert_eq!(visible(rest(0)), visible(rest(1)));
            }
        }
    }
}
