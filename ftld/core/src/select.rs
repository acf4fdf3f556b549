//! Some of a text's changes: the content that chosen hunks, or chosen lines of them, make.
//!
//! Owns what a choice means, byte for byte, and when it means nothing. The hunks are those of
//! [`crate::hunk`], so what is chosen is what was shown. Must not know who chose, nor which path it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;

use crate::hunk::{self, Elided, Hunk, Limits, Tag};

/// Characters of a hunk's id.
const ID: usize = 12;
/// Digits of a hunk's number at most; so many lines no text within the limits has.
const DIGITS: usize = 9;

/// How a hunk is named.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum HunkName {
    /// Its number among the hunks of its file, from 1.
    Number(u32),
    /// Its id, all twelve characters.
    Id(String),
}

/// One hunk that is chosen, whole, in part or as something else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// Which.
    pub hunk: HunkName,
    /// Which of [`Hunk::lines`], counted from 0; all when empty. Lines that did not change may be among
    /// them and mean nothing; ranges may overlap. A removed line that is not chosen stays, an added one that
    /// is not chosen does not come, and the order is that of the hunk.
    pub lines: Vec<Range<u32>>,
    /// What stands in place of all that the hunk leaves, the lines around its change included.
    pub edited: Option<Vec<u8>>,
}

/// Why a choice means nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SelectError {
    /// The text is no name of a hunk.
    #[error("a hunk is named by its number from 1 or by its id of {ID} characters, not by {given:?}")]
    Name {
        /// What was given.
        given: String,
    },
    /// The file has no hunks to choose from.
    #[error("the change can only be taken as a whole: {}", .0.reason())]
    Whole(Elided),
    /// No hunk has this name.
    #[error("there is no hunk {name}, the change has {count}")]
    Unknown {
        /// What was given.
        name: HunkName,
        /// How many hunks there are.
        count: usize,
    },
    /// Two hunks have the same id, which only contents that were made for it have.
    #[error("hunks {first} and {second} have the same id, name them by number")]
    Ambiguous {
        /// One of them, by number.
        first: usize,
        /// Another one.
        second: usize,
    },
    /// A range of lines that is empty or does not lie in the hunk.
    #[error("hunk {hunk} has lines 0 to {last}, {first}..{end} are not lines of it")]
    Lines {
        /// Which hunk, by number.
        hunk: usize,
        /// Its last line.
        last: usize,
        /// Start of the range.
        first: u32,
        /// Its end.
        end: u32,
    },
    /// None of the chosen lines changed.
    #[error("no line that was chosen of hunk {hunk} has changed")]
    Nothing {
        /// Which hunk, by number.
        hunk: usize,
    },
    /// A hunk that is edited is chosen by something else as well.
    #[error("hunk {hunk} is edited, so nothing else can be chosen of it")]
    Edited {
        /// Which hunk, by number.
        hunk: usize,
    },
    /// A line without a line end would be followed by another one, and both would be one line.
    #[error("hunk {hunk} would leave a line without its end in front of another line")]
    Joined {
        /// Which hunk, by number.
        hunk: usize,
    },
}

/// What is taken of a hunk.
enum Taken<'a> {
    /// These of its lines.
    Lines(BTreeSet<usize>),
    /// This in its place.
    Edited(&'a [u8]),
}

/// The content that the chosen hunks make of `before`: `before` itself for none of them, `after` for all.
/// Choices of the same hunk add up. Takes time with the size of the contents.
///
/// # Errors
/// When a choice names no hunk or no lines of it, or would join two lines; see [`SelectError`].
pub fn select(
    before: &[u8],
    after: &[u8],
    limits: Limits,
    choices: &[Choice],
) -> Result<Vec<u8>, SelectError> {
    if choices.is_empty() {
        return Ok(before.to_vec());
    }
    let found = hunk::hunks(before, after, limits);
    if let Some(why) = found.elided {
        return Err(SelectError::Whole(why));
    }
    let old = hunk::lines(before);
    let mut out = Vec::with_capacity(before.len().max(after.len()));
    let (mut at, mut number) = (0, 0);
    for (index, taken) in taken(&found.hunks, choices)? {
        let hunk = &found.hunks[index];
        let range = hunk.old_range();
        push(&mut out, &old[at..range.start].concat(), number)?;
        at = range.end;
        number = index + 1;
        match taken {
            Taken::Edited(bytes) => push(&mut out, bytes, number)?,
            Taken::Lines(chosen) => {
                for (place, line) in hunk.lines.iter().enumerate() {
                    let stays = match line.tag {
                        Tag::Same => true,
                        Tag::Removed => !chosen.contains(&place),
                        Tag::Added => chosen.contains(&place),
                    };
                    push(&mut out, if stays { &line.text } else { b"" }, number)?;
                }
            }
        }
    }
    push(&mut out, &old[at..].concat(), number)?;
    Ok(out)
}

/// Adds some lines, behind a line that has its end.
fn push(out: &mut Vec<u8>, bytes: &[u8], hunk: usize) -> Result<(), SelectError> {
    if !bytes.is_empty() && out.last().is_some_and(|byte| *byte != b'\n') {
        return Err(SelectError::Joined { hunk });
    }
    out.extend_from_slice(bytes);
    Ok(())
}

/// What is taken of each chosen hunk, by the hunk's place.
fn taken<'a>(hunks: &[Hunk], choices: &'a [Choice]) -> Result<BTreeMap<usize, Taken<'a>>, SelectError> {
    let mut ids: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, hunk) in hunks.iter().enumerate() {
        ids.entry(&hunk.id).or_default().push(index);
    }
    let mut all = BTreeMap::new();
    for choice in choices {
        let unknown = || SelectError::Unknown { name: choice.hunk.clone(), count: hunks.len() };
        let index = match &choice.hunk {
            HunkName::Number(number) => (*number as usize).checked_sub(1).filter(|at| *at < hunks.len()),
            HunkName::Id(id) => match ids.get(id.as_str()).map(Vec::as_slice) {
                Some([first, second, ..]) => {
                    return Err(SelectError::Ambiguous { first: first + 1, second: second + 1 });
                }
                Some([index]) => Some(*index),
                Some([]) | None => None,
            },
        };
        let index = index.ok_or_else(unknown)?;
        let number = index + 1;
        if let Some(bytes) = &choice.edited {
            if !choice.lines.is_empty() || all.insert(index, Taken::Edited(bytes)).is_some() {
                return Err(SelectError::Edited { hunk: number });
            }
            continue;
        }
        let lines = chosen(&hunks[index], number, &choice.lines)?;
        match all.entry(index).or_insert_with(|| Taken::Lines(BTreeSet::new())) {
            Taken::Edited(_) => return Err(SelectError::Edited { hunk: number }),
            Taken::Lines(taken) => taken.extend(lines),
        }
    }
    Ok(all)
}

/// The changed lines of a hunk that are in one of the ranges.
fn chosen(hunk: &Hunk, number: usize, ranges: &[Range<u32>]) -> Result<BTreeSet<usize>, SelectError> {
    let changed = |place: &usize| hunk.lines[*place].tag != Tag::Same;
    let count = hunk.lines.len();
    if ranges.is_empty() {
        return Ok((0..count).filter(changed).collect());
    }
    let mut covered = vec![false; count];
    for range in ranges {
        let lines = covered.get_mut(range.start as usize..range.end as usize);
        let Some(lines) = lines.filter(|lines| !lines.is_empty()) else {
            let (first, end) = (range.start, range.end);
            return Err(SelectError::Lines { hunk: number, last: count - 1, first, end });
        };
        lines.fill(true);
    }
    let lines: BTreeSet<_> = (0..count).filter(|place| covered[*place]).filter(changed).collect();
    if lines.is_empty() { Err(SelectError::Nothing { hunk: number }) } else { Ok(lines) }
}

// === impl HunkName, Choice ===

impl HunkName {
    /// Reads a number from 1 or an id.
    ///
    /// # Errors
    /// When the text is neither.
    pub fn parse(text: &str) -> Result<Self, SelectError> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() <= DIGITS;
        let number = text.parse().ok().filter(|_| digits && !text.starts_with('0'));
        let hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match number {
            Some(number) => Ok(Self::Number(number)),
            None if hex && text.len() == ID => Ok(Self::Id(text.to_owned())),
            None => Err(SelectError::Name { given: text.to_owned() }),
        }
    }
}

impl fmt::Display for HunkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Id(id) => f.write_str(id),
        }
    }
}

impl Choice {
    /// All of a hunk.
    #[must_use]
    pub fn whole(hunk: HunkName) -> Self {
        Self { hunk, lines: Vec::new(), edited: None }
    }
}

#[cfg(test)]
mod tests;
