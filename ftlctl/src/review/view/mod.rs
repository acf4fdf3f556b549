//! The screen as a function of the state.
//!
//! Owns where everything stands and how it is cut. Pure: a state in, a buffer of cells out; only rows that
//! are seen are drawn. Whatever comes from a session is escaped before it gets here or on its way.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::Style;
use unicode_width::UnicodeWidthStr as _;

use crate::render::escape;
use crate::render::event::short;
use crate::render::measure::{count, plural};
use crate::review::page::{Page, Subject};
use crate::review::state::{Focus, Mode, Question, State, Tone};

mod approving;
mod code;
mod diff;
mod files;
mod pages;
pub(crate) mod theme;

pub(crate) use diff::text_width;
pub(crate) use pages::help_rows;
use theme::{Ink, Theme};

/// A place to draw.
struct Canvas<'a> {
    buffer: &'a mut Buffer,
    theme: Theme,
    area: Rect,
}

/// Draws the state.
pub(crate) fn draw(state: &State, theme: Theme, buffer: &mut Buffer) {
    let area = buffer.area;
    let mut canvas = Canvas { buffer, theme, area };
    if area.width < 20 || area.height < 6 {
        canvas.put(0, 0, "the screen is too small", Ink::Plain);
        return;
    }
    if let Mode::Approving(approving) = &state.mode {
        approving::draw(state, approving, &mut canvas);
        return;
    }
    header(state, &mut canvas);
    let body = Rect { x: 0, y: 2, width: area.width, height: area.height - 3 };
    match &state.mode {
        Mode::Help(top) => pages::help(*top, body, &mut canvas),
        Mode::Page(page) => pages::page(page, body, &mut canvas),
        Mode::Findings(cursor) => pages::findings(state, *cursor, body, &mut canvas),
        Mode::Ask(Question::FindingWhy { finding }, _) => {
            let at = state.findings().iter().position(|(_, one)| one.id == *finding);
            pages::findings(state, at.unwrap_or(0), body, &mut canvas);
        }
        Mode::Conflicts(cursor, top) => pages::conflicts(state, *cursor, *top, body, &mut canvas),
        _ => panes(state, body, &mut canvas),
    }
    footer(state, &mut canvas);
}

fn panes(state: &State, body: Rect, canvas: &mut Canvas<'_>) {
    let left = Rect { width: state.list_width(), ..body };
    if !state.shows_both() {
        match state.focus {
            Focus::List => files::draw(state, left, canvas),
            Focus::Diff => diff::draw(state, body, canvas),
        }
        return;
    }
    files::draw(state, left, canvas);
    for y in body.y..body.bottom() {
        canvas.put(left.width, y, "│", Ink::Faint);
    }
    let right = Rect { x: left.width + 1, width: state.diff_width(), ..body };
    diff::draw(state, right, canvas);
}

/// Two rows: what is looked at, and what it is together.
fn header(state: &State, canvas: &mut Canvas<'_>) {
    let width = usize::from(canvas.area.width);
    let digest = short(&state.document.header.digest);
    let digest = if digest.is_empty() { String::new() } else { format!("digest {digest}") };
    let id = format!("review {}", escape::name(&state.session.session));
    canvas.put(1, 0, &id, Ink::Heading);
    let room = width.saturating_sub(id.width() + digest.width() + 6);
    canvas.put(
        u16::try_from(id.width() + 3).unwrap_or(0),
        0,
        &escape::summary(&state.session.task, room),
        Ink::Plain,
    );
    canvas.right(0, &digest, Ink::Faint);
    let counts = &state.document.counts;
    let (_, taken) = state.choices.progress(&state.document);
    let findings = state.findings().iter().filter(|(_, one)| state.is_open(one)).count() as u64;
    let conflicts = state.conflicts();
    let open = conflicts.iter().filter(|(path, one)| state.decision(path, one).is_none()).count() as u64;
    let files = plural(counts.files, "file", "files");
    let mut parts = vec![(format!("accepted {} of {files}", count(taken)), Ink::Heading)];
    if let Some(gate) = &state.session.gate {
        let (word, ink) = if gate.ready { ("ready", Ink::Good) } else { ("not ready", Ink::Bad) };
        parts.push((word.to_owned(), ink));
    }
    for (number, text, ink) in [
        (counts.risky, "! {} risky", Ink::Warning),
        (findings, "? {} open", Ink::Warning),
        (open, "≠ {} conflicting", Ink::Bad),
        (counts.added, "+{}", Ink::Good),
        (counts.removed, "-{}", Ink::Removed),
        (counts.refused, "x {} refused", Ink::Bad),
        (u64::from(!state.document.is_complete), "loading…", Ink::Faint),
    ] {
        if number > 0 {
            parts.push((text.replace("{}", &count(number)), ink));
        }
    }
    let mut x = 1;
    for (number, (text, ink)) in parts.iter().enumerate() {
        // What has no room is left out as a whole; the list says it too.
        if usize::from(x) + 3 + text.width() > width {
            continue;
        }
        if number > 0 {
            x = canvas.put(x, 1, " · ", Ink::Faint);
        }
        x = canvas.put(x, 1, text, *ink);
    }
}

/// The last row: a question, what happened, or the keys that matter now.
fn footer(state: &State, canvas: &mut Canvas<'_>) {
    let y = canvas.area.height - 1;
    if let Mode::Ask(question, typed) = &state.mode {
        let asked = asked(question);
        let x = canvas.put(1, y, &asked, Ink::Heading);
        // The end of a long answer is what is being typed.
        let room = usize::from(canvas.area.width.saturating_sub(x + 1));
        let shown = escape::name(typed);
        let from = shown.chars().count().saturating_sub(room.saturating_sub(1));
        let shown: String = shown.chars().skip(from).collect();
        let x = canvas.put(x, y, &shown, Ink::Plain);
        canvas.put(x, y, " ", Ink::Cursor);
        if let Some((Tone::Bad, text)) = &state.message {
            canvas.put(x + 2, y, text, Ink::Bad);
        }
        return;
    }
    if let Mode::Waiting(what) = &state.mode {
        canvas.put(1, y, &format!("asking the daemon: {what}…"), Ink::Faint);
        return;
    }
    if state.is_early {
        return;
    }
    let (text, ink) = match (&state.message, &state.stale) {
        (Some((Tone::Plain, text)), _) => (text.clone(), Ink::Plain),
        (Some((Tone::Bad, text)), _) => (text.clone(), Ink::Bad),
        (None, Some(stale)) => (format!("{stale}: r loads the diff anew"), Ink::Warning),
        (None, None) => (hints(state).to_owned(), Ink::Faint),
    };
    canvas.put(1, y, &text, ink);
}

fn asked(question: &Question) -> String {
    match question {
        Question::Search => "/".to_owned(),
        Question::Command => ":".to_owned(),
        Question::RejectWhy => "reject, because: ".to_owned(),
        Question::RejectGoOn { .. } => {
            "hand that to the agent to go on? [y]es, [n]o, end here, Esc: not at all ".to_owned()
        }
        Question::Model { hunk: Some(_), .. } => "ask about this hunk: ".to_owned(),
        Question::Model { hunk: None, .. } => "ask about this file: ".to_owned(),
        Question::FindingWhy { .. } => "accept this finding, because: ".to_owned(),
        Question::Quit => "leave? The choices are not kept, the work is. [y]es [N]o ".to_owned(),
    }
}

fn hints(state: &State) -> &'static str {
    match (&state.mode, state.focus) {
        (Mode::Page(Page { of: Subject::Merged(_), .. }), _) => {
            "Space PgUp j k scroll · y on to the digest, when all was seen · Esc back"
        }
        (Mode::Help(_) | Mode::Page(_), _) => "j k scroll · Esc back",
        (Mode::Findings(_), _) => "a accept with a reason · d take that back · Enter show · Esc back",
        (Mode::Conflicts(..), _) => {
            "o ours · t theirs · b both · e edit · n p next, previous · y approve · Esc"
        }
        _ if !state.shows_both() && state.pane.anchor.is_none() => {
            "a accept · d leave out · y approve · ? all keys"
        }
        _ if state.pane.anchor.is_some() => "j k more lines · a accept them · d leave them out · Esc",
        (_, Focus::List) => "Enter diff · a accept · d leave out · * all · y approve · ? keys · q leave",
        (_, Focus::Diff) => "a accept · d leave out · s split · e edit · v lines · y approve · ? keys",
    }
}

// === impl Canvas ===

impl Canvas<'_> {
    /// Text at a place, cut where the area ends. Gives the column behind it. Must be escaped.
    fn put(&mut self, x: u16, y: u16, text: &str, ink: Ink) -> u16 {
        let style = self.theme.ink(ink);
        self.put_styled(x, y, text, style, self.area.right().saturating_sub(x))
    }

    /// The same with a style, and cut after `width` columns.
    fn put_styled(&mut self, x: u16, y: u16, text: &str, style: Style, width: u16) -> u16 {
        if x >= self.area.right() || y >= self.area.bottom() || width == 0 {
            return x;
        }
        let width = width.min(self.area.right() - x);
        self.buffer.set_stringn(x, y, text, usize::from(width), style).0
    }

    /// Text that ends with the row.
    fn right(&mut self, y: u16, text: &str, ink: Ink) {
        let x = usize::from(self.area.right()).saturating_sub(text.width() + 1);
        self.put(u16::try_from(x).unwrap_or(0), y, text, ink);
    }
}

/// As much of a text's end as fits, with `…` before it where something is missing.
fn cut_front(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    for char in text.chars().rev() {
        if kept.width() + unicode_width::UnicodeWidthChar::width(char).unwrap_or(0) + 1 > room {
            break;
        }
        kept.insert(0, char);
    }
    format!("…{kept}")
}

#[cfg(test)]
mod tests;
