//! The list of files.
//!
//! Owns the marks: what kind of change, what deserves a look, what was chosen. Each is a character, so that
//! nothing needs colour. Must not know the diff.

use ftl_proto::v1;
use ratatui_core::layout::Rect;
use unicode_width::UnicodeWidthStr as _;

use crate::render::escape;
use crate::render::measure::count;
use crate::review::choice::{Choice, Mark};
use crate::review::document::{Row, Section, is_directory, section, split};
use crate::review::state::{Focus, State};
use crate::review::view::theme::Ink;
use crate::review::view::{Canvas, cut_front};

/// Columns that another name of a file must have to be worth showing, with the arrow.
const OTHER: usize = 7;

/// Draws the rows that are seen.
pub(super) fn draw(state: &State, area: Rect, canvas: &mut Canvas<'_>) {
    let rows = state.list.rows.iter().enumerate().skip(state.list.top).take(usize::from(area.height));
    for ((number, row), y) in rows.zip(area.y..) {
        let is_here = number == state.list.cursor;
        if is_here {
            let ink = if state.focus == Focus::List { Ink::Heading } else { Ink::Faint };
            canvas.put(area.x, y, ">", ink);
        }
        let width = usize::from(area.width);
        match row {
            Row::Section(section, number) => {
                let text = format!("{} ({})", heading(*section), count(*number as u64));
                canvas.put(area.x + 1, y, &cut_front(&text, width - 2), Ink::Heading);
            }
            Row::Directory(path, number) => {
                let fold = if state.list.folded.contains(path) {
                    format!("+ {}", count(*number as u64))
                } else {
                    "-".to_owned()
                };
                let path = format!("{}/", escape::name(path));
                let room = width.saturating_sub(fold.len() + 4);
                canvas.put(area.x + 1, y, &fold, Ink::Faint);
                let x = area.x + 2 + u16::try_from(fold.len()).unwrap_or(0);
                canvas.put(x, y, &cut_front(&path, room), Ink::Position);
            }
            Row::File(place, is_inside) => {
                if let Some(entry) = state.document.entries.get(*place) {
                    let row = Rect { y, height: 1, ..area };
                    file(state, entry, *is_inside, row, is_here, canvas);
                }
            }
        }
    }
}

fn file(
    state: &State,
    entry: &v1::DiffEntry,
    is_inside: bool,
    row: Rect,
    is_here: bool,
    canvas: &mut Canvas<'_>,
) {
    let (text, ink) = mark(state, entry);
    let x = canvas.put(row.x + 1, row.y, text, ink);
    let x = canvas.put(x + 1, row.y, kind(entry), kind_ink(entry));
    let x = canvas.put(x, row.y, sign(entry), Ink::Warning) + 1;
    let path = if is_inside { split(&entry.path).1 } else { &entry.path };
    let path = escape::name(path) + if is_directory(entry) { "/" } else { "" };
    let changed = changed(entry);
    let room = usize::from(row.right().saturating_sub(x + 1));
    let counted = if room > changed.width() + 12 { changed.as_str() } else { "" };
    let room = room.saturating_sub(if counted.is_empty() { 0 } else { counted.width() + 1 });
    let ink = match section(entry) {
        Section::Refused => Ink::Bad,
        _ if is_here && state.focus == Focus::List => Ink::Heading,
        _ => Ink::Plain,
    };
    let other = other_name(state, entry);
    // The path first; the other name has what is left, if that is worth it.
    let beside = room.saturating_sub(path.width());
    let x = canvas.put(x, row.y, &cut_front(&path, room), ink);
    if let Some(other) = other.filter(|_| beside > OTHER) {
        canvas.put(x, row.y, &format!(" {} {}", other.0, cut_front(&other.1, beside - 3)), Ink::Faint);
    }
    let end = usize::from(row.right()).saturating_sub(counted.width() + 1);
    canvas.put(u16::try_from(end).unwrap_or(0), row.y, counted, Ink::Faint);
}

/// The name that a file had, or under which it is found now, with an arrow to or from there.
fn other_name(state: &State, entry: &v1::DiffEntry) -> Option<(&'static str, String)> {
    if !entry.renamed_from.is_empty() {
        return Some(("←", escape::name(&entry.renamed_from)));
    }
    state.document.moved_to(&entry.path).map(|to| ("→", escape::name(to)))
}

/// What was chosen of a file.
pub(super) fn mark(state: &State, entry: &v1::DiffEntry) -> (&'static str, Ink) {
    match state.choices.mark(entry) {
        _ if section(entry) == Section::Refused => (" x ", Ink::Bad),
        Mark::All(choice) => chosen(choice),
        Mark::Some => ("[~]", Ink::Good),
    }
}

/// What was chosen.
pub(super) fn chosen(choice: Choice) -> (&'static str, Ink) {
    match choice {
        Choice::Open => ("[ ]", Ink::Plain),
        Choice::In => ("[x]", Ink::Good),
        Choice::Out => ("[-]", Ink::Faint),
    }
}

/// The kind of change in one letter.
pub(super) fn kind(entry: &v1::DiffEntry) -> &'static str {
    match entry.kind() {
        v1::EntryKind::Added => "A",
        v1::EntryKind::Modified => "M",
        v1::EntryKind::Deleted => "D",
        v1::EntryKind::Renamed => "R",
        v1::EntryKind::Mode => "m",
        v1::EntryKind::Symlink => "L",
        v1::EntryKind::Binary => "B",
        v1::EntryKind::Refused => "x",
        v1::EntryKind::Unspecified => " ",
    }
}

fn kind_ink(entry: &v1::DiffEntry) -> Ink {
    match entry.kind() {
        v1::EntryKind::Added => Ink::Good,
        v1::EntryKind::Deleted => Ink::Removed,
        v1::EntryKind::Refused => Ink::Bad,
        _ => Ink::Plain,
    }
}

/// Whether it deserves a look: `!` for a risk, `?` for a finding that holds the approval.
pub(super) fn sign(entry: &v1::DiffEntry) -> &'static str {
    if entry.findings.iter().any(|finding| finding.holds) {
        "?"
    } else if entry.risks.is_empty() && !entry.needs_naming {
        " "
    } else {
        "!"
    }
}

/// How many lines changed.
pub(super) fn changed(entry: &v1::DiffEntry) -> String {
    match (entry.added_lines, entry.removed_lines) {
        (0, 0) => String::new(),
        (added, 0) => format!("+{}", count(added)),
        (0, removed) => format!("-{}", count(removed)),
        (added, removed) => format!("+{} -{}", count(added), count(removed)),
    }
}

fn heading(section: Section) -> &'static str {
    match section {
        Section::Look => "Look at these",
        Section::Changes => "Changes",
        Section::Refused => "Refused",
    }
}
