//! The diff of one file.
//!
//! Owns the columns beside the code: the cursor, what was chosen, line numbers and signs. Draws only the rows
//! that are seen. Must not know other files.

use ftl_proto::v1;
use ratatui_core::layout::Rect;

use crate::render::escape;
use crate::render::measure::count;
use crate::review::choice::{Choice, FileChoices};
use crate::review::rows::{Place, Row, Weight};
use crate::review::state::{Focus, State};
use crate::review::view::code::{Painter, Window};
use crate::review::view::theme::{Ink, Side};
use crate::review::view::{Canvas, cut_front, files};

/// Columns from which both line numbers are shown.
const NUMBERED: u16 = 50;

/// Digits of a line number at least.
const DIGITS: usize = 3;

/// Where the code of a pane stands.
struct Columns {
    /// Digits of a line number.
    digits: usize,
    /// Both numbers stand beside a line.
    both: bool,
    /// Columns of code; of one side's, where both stand beside one another.
    text: usize,
}

impl Columns {
    fn of(state: &State) -> Self {
        let width = usize::from(state.diff_width());
        let numbers = state
            .entry()
            .and_then(|entry| entry.hunks.last())
            .map_or(0, |last| (last.old_start + last.old_lines).max(last.new_start + last.new_lines));
        let digits = count(numbers).replace(',', "").len().max(DIGITS);
        let beside = state.options.side_by_side && state.room_for_two();
        let both = state.diff_width() >= NUMBERED;
        // The cursor and the choice, numbers with a space behind each, the sign with a space behind it.
        let text = if beside {
            ((width - 3) / 2).saturating_sub(digits + 3)
        } else {
            width.saturating_sub(2 + (digits + 1) * if both { 2 } else { 1 } + 2)
        };
        Self { digits, both, text }
    }
}

/// Columns that code has.
pub(crate) fn text_width(state: &State) -> usize {
    Columns::of(state).text
}

/// Draws the file's heading and the rows that are seen.
pub(super) fn draw(state: &State, area: Rect, canvas: &mut Canvas<'_>) {
    let Some(entry) = state.entry() else {
        let text = if state.document.is_complete { "nothing changed" } else { "" };
        canvas.put(area.x + 1, area.y, text, Ink::Faint);
        return;
    };
    heading(state, entry, area, canvas);
    let choices = state.choices.of(entry);
    let mut pane = Pane {
        state,
        entry,
        choices: &choices,
        columns: Columns::of(state),
        area,
        painter: Painter::new(state, entry),
    };
    let (mut y, mut above) = (area.y + 1, state.pane.above);
    for number in state.pane.top..state.pane.index.rows.len() {
        if y >= area.bottom() {
            break;
        }
        y = pane.row(number, y, above, canvas).max(y + 1);
        above = 0;
    }
}

fn heading(state: &State, entry: &v1::DiffEntry, area: Rect, canvas: &mut Canvas<'_>) {
    let (mark, ink) = files::mark(state, entry);
    let x = canvas.put(area.x + 1, area.y, mark, ink);
    let x = canvas.put(x + 1, area.y, files::kind(entry), Ink::Plain);
    let x = canvas.put(x, area.y, files::sign(entry), Ink::Warning) + 1;
    let changed = files::changed(entry);
    let room = usize::from(area.right().saturating_sub(x + 2)).saturating_sub(changed.len() + 2);
    let x = canvas.put(x, area.y, &cut_front(&escape::name(&entry.path), room), Ink::Heading);
    canvas.put(x + 2, area.y, &changed, Ink::Faint);
}

struct Pane<'a> {
    state: &'a State,
    entry: &'a v1::DiffEntry,
    choices: &'a FileChoices,
    columns: Columns,
    area: Rect,
    painter: Painter<'a>,
}

// === impl Pane ===

impl Pane<'_> {
    /// Draws a row without its first `above` screen lines, and gives the screen line behind it.
    fn row(&mut self, number: usize, y: u16, above: usize, canvas: &mut Canvas<'_>) -> u16 {
        let Some(row) = self.state.pane.index.rows.get(number).copied() else { return y };
        let is_here = number == self.state.pane.cursor && self.state.focus == Focus::Diff;
        match row {
            Row::Fact(fact) => {
                self.cursor(number, y, canvas);
                let Some(fact) = self.state.pane.index.facts.get(fact) else { return y };
                let ink = match fact.weight {
                    Weight::Plain => Ink::Plain,
                    Weight::Warning => Ink::Warning,
                    Weight::Bad => Ink::Bad,
                };
                self.text(y, &fact.text, ink, canvas)
            }
            Row::Head { hunk, piece } => {
                self.cursor(number, y, canvas);
                self.head(hunk, piece, y, is_here, canvas);
                y + 1
            }
            Row::Line { hunk, old, new } => {
                self.painter.reach(number);
                let side = match (old, new) {
                    (Some(_), None) => Side::Old,
                    (None, Some(_)) => Side::New,
                    _ => Side::Same,
                };
                let place = new.or(old);
                self.gutter(number, (hunk, place), (old, new), y, canvas);
                let columns = &self.columns;
                let numbers = (columns.digits + 1) * if columns.both { 2 } else { 1 };
                let x = self.area.x + cells(2 + numbers);
                self.sign(x, y, side, canvas);
                let Some(place) = place else { return y + 1 };
                let window = self.window(x + 2, y, above);
                self.painter.line(hunk, place.line, side, window, canvas)
            }
            Row::Pair { hunk, old, new } => {
                self.painter.reach(number);
                self.pair(number, hunk, (old, new), (y, above), canvas)
            }
        }
    }

    fn pair(
        &mut self,
        number: usize,
        hunk: usize,
        (old, new): (Option<Place>, Option<Place>),
        (y, above): (u16, usize),
        canvas: &mut Canvas<'_>,
    ) -> u16 {
        let is_same = old.map(|place| place.line) == new.map(|place| place.line);
        self.cursor(number, y, canvas);
        self.bar(hunk, new.or(old), y, canvas);
        let (digits, text) = (self.columns.digits, self.columns.text);
        let middle = self.area.x + 2 + cells(digits + 3 + text);
        let mut end = y + 1;
        for (place, x, side) in [(old, self.area.x + 2, Side::Old), (new, middle + 1, Side::New)] {
            let Some(place) = place else { continue };
            let side = if is_same { Side::Same } else { side };
            canvas.put(x, y, &format!("{:>digits$}", place.number), Ink::Faint);
            self.sign(x + cells(digits + 1), y, side, canvas);
            let window = self.window(x + cells(digits + 3), y, above);
            end = end.max(self.painter.line(hunk, place.line, side, window, canvas));
        }
        for y in y..end.min(self.area.bottom()) {
            canvas.put(middle, y, "│", Ink::Faint);
        }
        end
    }

    fn window(&self, x: u16, y: u16, above: usize) -> Window {
        let options = &self.state.options;
        let rows = if options.wrap { usize::from(self.area.bottom().saturating_sub(y)) } else { 1 };
        Window { x, y, width: self.columns.text, rows, above, left: self.state.pane.left }
    }

    /// The cursor, or that the row is among the selected ones.
    fn cursor(&self, number: usize, y: u16, canvas: &mut Canvas<'_>) {
        let pane = &self.state.pane;
        let is_selected = pane
            .anchor
            .is_some_and(|anchor| (anchor.min(pane.cursor)..=anchor.max(pane.cursor)).contains(&number));
        let is_here = number == pane.cursor;
        let ink = if self.state.focus == Focus::Diff { Ink::Heading } else { Ink::Faint };
        match (is_here, is_selected) {
            (true, _) => canvas.put(self.area.x, y, ">", ink),
            (false, true) => canvas.put(self.area.x, y, "*", ink),
            (false, false) => 0,
        };
    }

    /// What was chosen of a line.
    fn bar(&self, hunk: usize, place: Option<Place>, y: u16, canvas: &mut Canvas<'_>) {
        let hunk = self.choices.hunks.get(hunk);
        let piece = hunk.zip(place).and_then(|(hunk, place)| {
            hunk.pieces.get(hunk.piece_at(place.line as usize)).map(|piece| piece.choice)
        });
        match piece {
            Some(Choice::In) => canvas.put(self.area.x + 1, y, "┃", Ink::Good),
            Some(Choice::Out) => canvas.put(self.area.x + 1, y, "╎", Ink::Faint),
            _ => 0,
        };
    }

    fn gutter(
        &self,
        number: usize,
        (hunk, place): (usize, Option<Place>),
        (old, new): (Option<Place>, Option<Place>),
        y: u16,
        canvas: &mut Canvas<'_>,
    ) {
        self.cursor(number, y, canvas);
        self.bar(hunk, place, y, canvas);
        let digits = self.columns.digits;
        let shown = |place: Option<Place>| match place {
            Some(place) => format!("{:>digits$}", place.number),
            None => " ".repeat(digits),
        };
        let text =
            if self.columns.both { format!("{} {}", shown(old), shown(new)) } else { shown(new.or(old)) };
        let is_here = number == self.state.pane.cursor && self.state.focus == Focus::Diff;
        canvas.put(self.area.x + 2, y, &text, if is_here { Ink::Cursor } else { Ink::Faint });
    }

    fn sign(&self, x: u16, y: u16, side: Side, canvas: &mut Canvas<'_>) {
        match side {
            Side::Same => 0,
            Side::Old => canvas.put(x, y, "-", Ink::Removed),
            Side::New => canvas.put(x, y, "+", Ink::Good),
        };
    }

    fn head(&self, hunk: usize, piece: usize, y: u16, is_here: bool, canvas: &mut Canvas<'_>) {
        let (Some(of), Some(choices)) = (self.entry.hunks.get(hunk), self.choices.hunks.get(hunk)) else {
            return;
        };
        let choice = choices.pieces.get(piece).map_or(Choice::Open, |piece| piece.choice);
        let (mark, ink) = files::chosen(choice);
        let x = canvas.put(self.area.x + 2, y, mark, ink) + 1;
        let mut text = format!("@@ -{},{} +{},{} @@", of.old_start, of.old_lines, of.new_start, of.new_lines);
        if self.entry.hunks.len() > 1 {
            text += &format!("  {} of {}", hunk + 1, self.entry.hunks.len());
        }
        if choices.pieces.len() > 1 {
            text += &format!("  part {} of {}", piece + 1, choices.pieces.len());
        }
        if choices.edited.is_some() {
            text += "  edited";
        }
        if self.state.pane.file.is_some_and(|file| self.state.folded.contains(&(file, hunk))) {
            text += &format!("  folded, {} lines", count(of.lines.len() as u64));
        }
        canvas.put(x, y, &text, if is_here { Ink::Cursor } else { Ink::Position });
    }

    /// Text over as many screen lines as it needs.
    fn text(&self, y: u16, text: &str, ink: Ink, canvas: &mut Canvas<'_>) -> u16 {
        canvas.put(self.area.x + 2, y, text, ink);
        y + 1
    }
}

/// As columns of the screen.
fn cells(columns: usize) -> u16 {
    u16::try_from(columns).unwrap_or(u16::MAX)
}
