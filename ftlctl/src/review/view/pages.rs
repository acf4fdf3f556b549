//! Pages that take the place of files and diff: keys, findings, conflicts, lines of whatever was asked for.
//!
//! Owns their rows. Must not know what is done on them.

use ftl_proto::v1;
use ratatui_core::layout::Rect;
use unicode_width::UnicodeWidthStr as _;

use crate::render::escape;
use crate::render::measure::count;
use crate::review::glyphs;
use crate::review::keys::GROUPS;
use crate::review::page::{Page, Voice};
use crate::review::state::State;
use crate::review::view::theme::{Ink, Side};
use crate::review::view::{Canvas, cut_front};

/// Columns of the keys in the help.
const KEYS: u16 = 16;

/// Rows of the help.
pub(crate) fn help_rows() -> usize {
    GROUPS.iter().map(|group| group.bindings.len() + 2).sum::<usize>() + NOTES.len()
}

/// What the marks mean.
const NOTES: [&str; 6] = [
    "Marks: [x] accepted, [~] in part, [-] left out; ! deserves a look, ? has a",
    "finding that holds the approval, x is refused",
    "Kinds: A added, M modified, D deleted, R renamed, m mode, L link, B binary",
    "A choice applies nothing. y shows what the daemon would write; typing the first",
    "characters of its digest approves it. Enter never does.",
    "Characters that would not be seen as what they are stand as \\x1b or \\u{202e}.",
];

/// Draws the keys.
pub(super) fn help(top: usize, area: Rect, canvas: &mut Canvas<'_>) {
    let mut rows: Vec<(String, &str, Ink)> = Vec::new();
    for group in &GROUPS {
        rows.push((group.heading.to_owned(), "", Ink::Heading));
        for binding in group.bindings {
            rows.push((format!("  {}", binding.keys.join(" ")), binding.words, Ink::Position));
        }
        rows.push((String::new(), "", Ink::Plain));
    }
    rows.extend(NOTES.iter().map(|note| ((*note).to_owned(), "", Ink::Plain)));
    for ((keys, words, ink), y) in rows.iter().skip(top).zip(area.y..area.bottom()) {
        canvas.put(area.x + 1, y, keys, *ink);
        canvas.put(area.x + 1 + KEYS, y, words, Ink::Plain);
    }
}

/// Draws a heading and the lines beneath it. A line that goes on from the row above has a mark in front.
pub(super) fn page(page: &Page, area: Rect, canvas: &mut Canvas<'_>) {
    let more = match (page.is_whole, page.below()) {
        (false, _) => "loading…".to_owned(),
        (true, 0) => String::new(),
        (true, below) => format!("{} below", count(below as u64)),
    };
    let room = usize::from(area.width).saturating_sub(more.width() + 4);
    canvas.put(area.x + 1, area.y, &cut_front(&page.title, room), Ink::Heading);
    canvas.right(area.y, &more, Ink::Faint);
    for ((text, goes_on, voice), y) in page.shown().zip(area.y + 1..area.bottom()) {
        if goes_on {
            canvas.put(area.x, y, "›", Ink::Faint);
        }
        let ink = match voice {
            Voice::Plain => Ink::Plain,
            Voice::Heading => Ink::Heading,
            Voice::Position => Ink::Position,
            Voice::Added => Ink::Good,
            Voice::Removed => Ink::Removed,
            Voice::Warning => Ink::Warning,
        };
        canvas.put(area.x + 2, y, text, ink);
    }
}

/// Draws the findings, two rows each.
pub(super) fn findings(state: &State, cursor: usize, area: Rect, canvas: &mut Canvas<'_>) {
    let findings = state.findings();
    let shown = usize::from(area.height / 2).max(1);
    let top = cursor.saturating_sub(shown - 1);
    for (number, (path, finding)) in findings.iter().enumerate().skip(top).take(shown) {
        let y = area.y + u16::try_from(2 * (number - top)).unwrap_or(0);
        if number == cursor {
            canvas.put(area.x, y, ">", Ink::Heading);
        }
        let (mark, ink) = match (finding.holds, state.accepted.contains_key(&finding.id)) {
            (true, true) => ("[x]", Ink::Good),
            (true, false) => ("[ ]", Ink::Warning),
            (false, _) => ("   ", Ink::Faint),
        };
        let x = canvas.put(area.x + 1, y, mark, ink) + 1;
        let place = if finding.line == 0 { String::new() } else { format!(":{}", finding.line) };
        let place = format!("{}{place}", escape::name(path));
        let room = usize::from(area.width.saturating_sub(x + 1));
        let x = canvas.put(x, y, &cut_front(&place, room), Ink::Heading) + 2;
        canvas.put(x, y, &escape::name(&finding.class), Ink::Warning);
        let why = state.accepted.get(&finding.id);
        let why = why.map_or_else(String::new, |why| format!("  accepted: {}", escape::name(why)));
        canvas.put(area.x + 5, y + 1, &format!("{}{why}", escape::name(&finding.message)), Ink::Plain);
    }
}

/// Draws one conflict: your lines, the session's, and what both began from.
pub(super) fn conflicts(state: &State, cursor: usize, top: usize, area: Rect, canvas: &mut Canvas<'_>) {
    let conflicts = state.conflicts();
    let Some((path, conflict)) = conflicts.get(cursor) else { return };
    let decided = match state.decision(path, conflict) {
        None => ("open", Ink::Warning),
        Some(v1::Decision::Ours) => ("ours: your lines stay", Ink::Good),
        Some(v1::Decision::Theirs) => ("theirs: the session's lines come", Ink::Good),
        Some(v1::Decision::Both) => ("both: yours, then the session's", Ink::Good),
        Some(_) => ("edited", Ink::Good),
    };
    let number = format!("conflict {} of {}  ", cursor + 1, conflicts.len());
    let x = canvas.put(area.x + 1, area.y, &number, Ink::Heading);
    let place = format!("{}:{}", escape::name(path), conflict.line);
    let room = usize::from(area.width.saturating_sub(x)).saturating_sub(decided.0.width() + 3);
    let x = canvas.put(x, area.y, &cut_front(&place, room), Ink::Plain) + 2;
    canvas.put(x, area.y, decided.0, decided.1);
    let mut rows: Vec<(Vec<u8>, Ink, Side)> = Vec::new();
    if !conflict.whole.is_empty() {
        rows.push((conflict.whole.clone().into_bytes(), Ink::Warning, Side::Same));
    }
    let mut block = |heading: &str, bytes: &[u8], side: Side| {
        rows.push((heading.as_bytes().to_vec(), Ink::Heading, Side::Same));
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        rows.extend(lines.map(|line| (line.to_vec(), Ink::Plain, side)));
    };
    block("ours: your file has", &conflict.ours, Side::Old);
    block("theirs: the session has", &conflict.theirs, Side::New);
    block("both began from", &conflict.base, Side::Same);
    for ((line, ink, side), y) in rows.iter().skip(top).zip(area.y + 1..area.bottom()) {
        let (sign, tone) = match side {
            Side::Old => ("<", Ink::Removed),
            Side::New => (">", Ink::Good),
            Side::Same => (" ", *ink),
        };
        canvas.put(area.x + 1, y, sign, tone);
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let marks_spaces = state.options.spaces && *ink != Ink::Heading;
        let laid = glyphs::lay(line, usize::from(area.width), marks_spaces);
        canvas.put(area.x + 3, y, &laid.text, tone);
    }
}
