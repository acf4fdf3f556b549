//! Two changes of one text, made apart, as one.
//!
//! Owns what merges without asking and what is a conflict, and which side a path's type, permissions and
//! absence come from. A region that one side changed is that side's; one that both changed in the same way
//! is so; anything else that overlaps, or touches, is a conflict, and never decided here. Must not know where
//! the contents come from, nor what the sides are to each other. The time it takes is bounded by the limits.
//!
//! "Ours" is what stands in the project, with the human's edits; "theirs" is the session's.

mod node;

use std::ops::Range;

use similar::{Algorithm, DiffTag, capture_diff_slices};

use crate::hunk::{self, Elided, Limits};

pub use node::{Clash, NodeMerge, merge_nodes};

/// Two changes of one text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Merged {
    /// All of the text, in order.
    pub regions: Vec<Region>,
}

/// Some lines of a merge, with their line ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Region {
    /// Nobody changed them.
    Same(Vec<u8>),
    /// Ours changed them to this, or deleted them when it is empty.
    Ours(Vec<u8>),
    /// Theirs changed them to this, or deleted them when it is empty.
    Theirs(Vec<u8>),
    /// Both changed them to this.
    Both(Vec<u8>),
    /// Both changed them, each in its own way.
    Conflict(Conflict),
}

/// Lines that both sides changed. Lines at its edges that both have are not in it, but in a region of their
/// own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// What both started from, there and where their edges are.
    pub base: Vec<u8>,
    /// What ours has.
    pub ours: Vec<u8>,
    /// What theirs has.
    pub theirs: Vec<u8>,
    /// First of its lines in ours, from 1; the line that it would stand in front of when ours has none.
    pub line: u64,
}

/// What becomes of a conflict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Our lines.
    Ours,
    /// Their lines.
    Theirs,
    /// Our lines, then theirs. When the last of ours has no line end it gets the one that ours uses.
    Both,
    /// These bytes.
    Edited(Vec<u8>),
}

/// Contents that are not merged line by line, though all three differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the two sides cannot be merged line by line: {}", .0.reason())]
pub struct NotMergeable(pub Elided);

/// Decisions that make no text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResolveError {
    /// Not one decision for each conflict.
    #[error("there are {conflicts} conflicts and {given} decisions")]
    Count {
        /// Conflicts.
        conflicts: usize,
        /// Decisions.
        given: usize,
    },
    /// The text that was written for a conflict does not end its last line, and others follow.
    #[error("what was written for conflict {conflict} does not end its last line")]
    Joined {
        /// Which, from 1.
        conflict: usize,
    },
}

/// Lines of the base and what a side has in their place; one of the two may be empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edit {
    /// Lines of the base, counted from 0.
    pub base: Range<usize>,
    /// Lines of the side, counted from 0.
    pub side: Range<usize>,
}

/// Merges two changes of `base`. Any contents merge when one of the sides did not change or both are equal;
/// the result is then one region.
///
/// # Errors
/// When all three differ and one is not text, or two of them are larger than the limits.
pub fn merge(base: &[u8], ours: &[u8], theirs: &[u8], limits: Limits) -> Result<Merged, NotMergeable> {
    let whole = |region: Region| Ok(Merged { regions: vec![region] });
    match (base == ours, base == theirs, ours == theirs) {
        (true, true, _) => return whole(Region::Same(base.to_vec())),
        (true, false, _) => return whole(Region::Theirs(theirs.to_vec())),
        (false, true, _) => return whole(Region::Ours(ours.to_vec())),
        (false, false, true) => return whole(Region::Both(ours.to_vec())),
        (false, false, false) => {}
    }
    let sides = [base, ours, theirs];
    let pairs = |of: &dyn Fn(usize) -> usize| {
        let [base, ours, theirs] = [of(0), of(1), of(2)];
        (base + ours).max(base + theirs).max(ours + theirs)
    };
    if pairs(&|side| sides[side].len()) as u64 > limits.bytes {
        return Err(NotMergeable(Elided::TooLarge));
    }
    if !sides.iter().all(|side| hunk::is_text(side)) {
        return Err(NotMergeable(Elided::Binary));
    }
    let lines = sides.map(hunk::lines);
    if pairs(&|side| lines[side].len()) > limits.lines {
        return Err(NotMergeable(Elided::TooManyLines));
    }
    let [base, ours, theirs] = &lines;
    Ok(merge_edits([base, ours, theirs], &edits(base, ours), &edits(base, theirs)))
}

/// Merges the lines of base, ours and theirs by what each side is said to have done. The edits of a side are
/// in order, do not touch each other, and outside of them base and side are equal.
#[must_use]
pub fn merge_edits([base, ours, theirs]: [&[&[u8]]; 3], our: &[Edit], their: &[Edit]) -> Merged {
    let (mut our, mut their) = (Side { edits: our, taken: 0 }, Side { edits: their, taken: 0 });
    let mut merged = Merged { regions: Vec::new() };
    let mut at = 0;
    while let Some(start) = [our.next(), their.next()].into_iter().flatten().min() {
        merged.push(Region::Same(base[at..start].concat()));
        // Edits that overlap or touch are one region, whose edits they are.
        let before = (our, their);
        let mut end = start;
        while our.take(&mut end) | their.take(&mut end) {}
        let our_lines = before.0.place(start)..our.place(end);
        let their_lines = before.1.place(start)..their.place(end);
        match (our.taken > before.0.taken, their.taken > before.1.taken) {
            (true, true) => merged.both(&base[start..end], (ours, our_lines), &theirs[their_lines]),
            (true, false) => merged.push(Region::Ours(ours[our_lines].concat())),
            (false, _) => merged.push(Region::Theirs(theirs[their_lines].concat())),
        }
        at = end;
    }
    merged.push(Region::Same(base[at..].concat()));
    merged
}

/// What a side has done to the base, as few lines as can be found in bounded time.
fn edits(base: &[&[u8]], side: &[&[u8]]) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    let ops = capture_diff_slices(Algorithm::Myers, base, side);
    for op in ops.iter().filter(|op| op.tag() != DiffTag::Equal) {
        let edit = Edit { base: op.old_range(), side: op.new_range() };
        match edits.last_mut() {
            Some(last) if last.base.end == edit.base.start && last.side.end == edit.side.start => {
                (last.base.end, last.side.end) = (edit.base.end, edit.side.end);
            }
            _ => edits.push(edit),
        }
    }
    settled(edits, base, side)
}

/// The same edits as far down as they can be. Where equal lines stand next to each other, which of them are
/// new or gone cannot be told; the two sides must at least be told the same way.
fn settled(edits: Vec<Edit>, base: &[&[u8]], side: &[&[u8]]) -> Vec<Edit> {
    let mut settled: Vec<Edit> = Vec::new();
    for mut edit in edits.into_iter().rev() {
        let bound = settled.last().map_or(base.len(), |next| next.base.start);
        let (range, text) = if edit.base.is_empty() { (&edit.side, side) } else { (&edit.base, base) };
        let is_one_sided = edit.base.is_empty() || edit.side.is_empty();
        let room = if is_one_sided { bound - edit.base.end } else { 0 };
        let down = (0..room).take_while(|by| text[range.start + by] == text[range.end + by]).count();
        for range in [&mut edit.base, &mut edit.side] {
            *range = range.start + down..range.end + down;
        }
        match settled.last_mut() {
            Some(next) if next.base.start == edit.base.end => {
                (next.base.start, next.side.start) = (edit.base.start, edit.side.start);
            }
            _ => settled.push(edit),
        }
    }
    settled.reverse();
    settled
}

/// What stands in a conflict's place, below what is above it.
fn decided(sides: &Conflict, decision: &Decision, above: &[u8]) -> Vec<u8> {
    match decision {
        Decision::Ours => sides.ours.clone(),
        Decision::Theirs => sides.theirs.clone(),
        Decision::Both if sides.theirs.is_empty() => sides.ours.clone(),
        Decision::Both => {
            let has_return = |text: &[u8]| {
                let end = text.iter().rposition(|byte| *byte == b'\n')?;
                Some(text[..end].ends_with(b"\r"))
            };
            let end: &[u8] = match (sides.ours.last(), has_return(&sides.ours).or(has_return(above))) {
                (None | Some(b'\n'), _) => b"",
                (Some(_), Some(true)) => b"\r\n",
                (Some(_), _) => b"\n",
            };
            [&sides.ours, end, &sides.theirs].concat()
        }
        Decision::Edited(bytes) => bytes.clone(),
    }
}

/// A side's edits, of which the first so many were taken.
#[derive(Clone, Copy)]
struct Side<'a> {
    edits: &'a [Edit],
    taken: usize,
}

// === impl Side ===

impl Side<'_> {
    /// Where in the base the next edit begins.
    fn next(&self) -> Option<usize> {
        self.edits.get(self.taken).map(|edit| edit.base.start)
    }

    /// Takes the next edit if it begins where a region ends or before, and stretches the region over it.
    fn take(&mut self, end: &mut usize) -> bool {
        let Some(edit) = self.edits.get(self.taken).filter(|edit| edit.base.start <= *end) else {
            return false;
        };
        *end = edit.base.end.max(*end);
        self.taken += 1;
        true
    }

    /// Where a line of the base that no edit covers is in the side, when all edits before it are taken.
    fn place(&self, base: usize) -> usize {
        let last = self.taken.checked_sub(1).and_then(|last| self.edits.get(last));
        last.map_or(base, |last| base - last.base.end + last.side.end)
    }
}

// === impl Merged ===

impl Merged {
    /// The conflicts, in order.
    pub fn conflicts(&self) -> impl Iterator<Item = &Conflict> {
        self.regions.iter().filter_map(|region| match region {
            Region::Conflict(conflict) => Some(conflict),
            Region::Same(_) | Region::Ours(_) | Region::Theirs(_) | Region::Both(_) => None,
        })
    }

    /// The merged text, when there is no conflict.
    #[must_use]
    pub fn clean(&self) -> Option<Vec<u8>> {
        self.resolve(&[]).ok()
    }

    /// The merged text with one decision for each conflict, in order.
    ///
    /// # Errors
    /// When there are more or fewer, or one would join two lines.
    pub fn resolve(&self, decisions: &[Decision]) -> Result<Vec<u8>, ResolveError> {
        let conflicts = self.conflicts().count();
        if conflicts != decisions.len() {
            return Err(ResolveError::Count { conflicts, given: decisions.len() });
        }
        let mut out = Vec::new();
        let mut decisions = decisions.iter().enumerate();
        let mut conflict = 0;
        for region in &self.regions {
            let bytes = match region {
                Region::Same(bytes) | Region::Ours(bytes) | Region::Theirs(bytes) | Region::Both(bytes) => {
                    bytes.clone()
                }
                Region::Conflict(sides) => match decisions.next() {
                    Some((index, decision)) => {
                        conflict = index + 1;
                        decided(sides, decision, &out)
                    }
                    None => Vec::new(),
                },
            };
            if !bytes.is_empty() && out.last().is_some_and(|byte| *byte != b'\n') {
                return Err(ResolveError::Joined { conflict });
            }
            out.extend(bytes);
        }
        Ok(out)
    }

    /// Adds a region, unless it says nothing.
    fn push(&mut self, region: Region) {
        if !matches!(&region, Region::Same(bytes) | Region::Both(bytes) if bytes.is_empty()) {
            self.regions.push(region);
        }
    }

    /// Adds a region that both sides changed.
    fn both(&mut self, base: &[&[u8]], (ours, range): (&[&[u8]], Range<usize>), theirs: &[&[u8]]) {
        let mine = &ours[range.clone()];
        let most = mine.len().min(theirs.len());
        let head = mine.iter().zip(theirs).take_while(|(ours, theirs)| ours == theirs).count();
        let tails = mine.iter().rev().zip(theirs.iter().rev()).take(most - head);
        let tail = tails.take_while(|(ours, theirs)| ours == theirs).count();
        let [left, right] = [mine, theirs].map(|side| side[head..side.len() - tail].concat());
        self.push(Region::Both(mine[..head].concat()));
        if left != right {
            let line = (range.start + head) as u64 + 1;
            self.push(Region::Conflict(Conflict { base: base.concat(), ours: left, theirs: right, line }));
        }
        self.push(Region::Both(mine[mine.len() - tail..].concat()));
    }
}

#[cfg(test)]
mod tests;
