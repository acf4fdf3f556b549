//! The approving screen.
//!
//! Owns what stands on it: the daemon's counts, paths, reasons and digest, and what the human types. Nothing
//! that an agent wrote is on it but escaped paths: no task, no line of a file, no message.

use ftl_proto::v1;
use ratatui_core::layout::Rect;
use unicode_width::UnicodeWidthStr as _;

use crate::render::escape;
use crate::render::measure::{count, plural};
use crate::review::state::{Approving, State};
use crate::review::update::TYPED;
use crate::review::view::theme::Ink;
use crate::review::view::{Canvas, cut_front, files};

/// Draws it.
pub(super) fn draw(state: &State, approving: &Approving, canvas: &mut Canvas<'_>) {
    let area = canvas.area;
    let width = usize::from(area.width);
    canvas.put(1, 0, "Approve", Ink::Heading);
    let id = format!("session {}", escape::name(&state.session.session));
    canvas.right(0, &id, Ink::Faint);
    let project = escape::name(&state.session.project);
    canvas.put(1, 1, "This writes into ", Ink::Plain);
    canvas.put(18, 1, &cut_front(&project, width.saturating_sub(20)), Ink::Heading);
    for (line, y) in told(approving, width.saturating_sub(2)).iter().zip(2..4) {
        canvas.put(1, y, line, Ink::Plain);
    }
    let list = Rect { x: 0, y: 4, width: area.width, height: area.height.saturating_sub(8).max(1) };
    paths(approving, list, canvas);
    let end = area.height - 1;
    canvas.put(1, end - 2, "digest ", Ink::Plain);
    let mut digest = escape::name(&approving.header.digest);
    if digest.len() + 9 > width {
        digest = digest.chars().take(width.saturating_sub(10)).chain(['…']).collect();
    }
    let (first, rest) = digest.split_at(TYPED.min(digest.len()));
    let x = canvas.put(8, end - 2, first, Ink::Heading);
    canvas.put(x, end - 2, rest, Ink::Faint);
    if state.is_early {
        return;
    }
    let x =
        canvas.put(1, end - 1, &format!("Type {first} and Enter to approve, Esc to go back: "), Ink::Heading);
    let x = canvas.put(x, end - 1, &escape::name(&approving.typed), Ink::Plain);
    canvas.put(x, end - 1, " ", Ink::Cursor);
    match &state.message {
        Some((_, text)) => canvas.put(1, end, text, Ink::Bad),
        None => canvas.put(1, end, "Up Down PgUp PgDn scroll the paths", Ink::Faint),
    };
}

/// What the daemon would do, in numbers, on as many lines as they need.
fn told(approving: &Approving, width: usize) -> Vec<String> {
    let entries = &approving.entries;
    let sum = |lines: fn(&v1::DiffEntry) -> u64| entries.iter().map(lines).sum::<u64>();
    let mut parts = vec![
        plural(entries.len() as u64, "path", "paths"),
        format!("+{}", count(sum(|entry| entry.added_lines))),
        format!("-{}", count(sum(|entry| entry.removed_lines))),
    ];
    let deleted = entries.iter().filter(|entry| entry.after.is_none()).count() as u64;
    let risky = entries.iter().filter(|entry| !entry.risks.is_empty()).count() as u64;
    let decided = entries.iter().map(|entry| entry.conflicts.len() as u64).sum();
    let accepted = approving.request.accepted.len() as u64;
    for (number, words) in [
        (deleted, format!("{} deleted", count(deleted))),
        (risky, format!("{} to look at twice", count(risky))),
        (approving.header.merged, format!("{} merged with your own edits", count(approving.header.merged))),
        (decided, format!("{} decided", plural(decided, "conflict", "conflicts"))),
        (accepted, format!("{} accepted", plural(accepted, "finding", "findings"))),
    ] {
        if number > 0 {
            parts.push(words);
        }
    }
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.width() + 3 + part.width() <= width => *line += &format!(" · {part}"),
            _ => lines.push(part),
        }
    }
    lines
}

/// The paths, those that deserve a look first, each with the daemon's reason.
fn paths(approving: &Approving, area: Rect, canvas: &mut Canvas<'_>) {
    let mut entries: Vec<_> = approving.entries.iter().collect();
    entries.sort_by_key(|entry| entry.risks.is_empty() && !entry.needs_naming);
    let shown = usize::from(area.height);
    let top = approving.top.min(entries.len().saturating_sub(shown));
    for (entry, y) in entries.iter().skip(top).zip(area.y..area.bottom()) {
        let x = canvas.put(1, y, files::kind(entry), Ink::Plain);
        let x = canvas.put(x, y, files::sign(entry), Ink::Warning) + 1;
        let why = entry.risk_reasons.iter().chain(&entry.risks).next();
        let why = why.map_or_else(String::new, escape::name);
        let changed = files::changed(entry);
        let room = usize::from(area.width.saturating_sub(x + 1)).saturating_sub(changed.len() + 2);
        let x = canvas.put(x, y, &cut_front(&escape::name(&entry.path), room), Ink::Plain) + 2;
        let x = canvas.put(x, y, &changed, Ink::Faint) + 2;
        canvas.put(x, y, &why, Ink::Warning);
    }
    let hidden = entries.len() - shown.min(entries.len() - top) - top;
    if hidden > 0 || top > 0 {
        let text = format!("{} above, {} below", count(top as u64), count(hidden as u64));
        canvas.put(1, area.bottom(), &text, Ink::Faint);
    }
}
