//! Where the human looks: cursors, scrolling, folding, ways to show.
//!
//! Owns that the cursor is always on the screen. Must not know choices.

use crate::review::document::Row as ListRow;
use crate::review::glyphs;
use crate::review::keys::Action;
use crate::review::rows::Row;
use crate::review::state::{Focus, Mode, State};
use crate::review::update::WHEEL;

// === impl State ===

impl State {
    /// Moves.
    pub(super) fn go(&mut self, action: Action) {
        match action {
            Action::SwitchPane => {
                self.focus = if self.focus == Focus::List { Focus::Diff } else { Focus::List };
            }
            Action::Open => self.enter(),
            Action::Cancel => {
                self.pane.anchor = None;
                if self.search.take().is_some() {
                    self.say("the search is over");
                }
            }
            Action::NextFile => self.step_file(true),
            Action::PreviousFile => self.step_file(false),
            Action::Next if self.search.is_some() => self.search_again(true),
            Action::Previous if self.search.is_some() => self.search_again(false),
            Action::Next => self.step_hunk(true),
            Action::Previous => self.step_hunk(false),
            Action::LineStart => self.pane.left = 0,
            Action::Right => self.pane.left += usize::from(self.diff_width() / 2),
            Action::Left => {
                self.pane.left = self.pane.left.saturating_sub(usize::from(self.diff_width() / 2));
            }
            _ if self.focus == Focus::List => self.go_list(action),
            _ => self.go_diff(action),
        }
    }

    /// Another way to show.
    pub(super) fn look(&mut self, action: Action) {
        self.pane.anchor = None;
        match action {
            Action::SideBySide => {
                self.options.side_by_side = !self.options.side_by_side;
                if self.options.side_by_side && !self.room_for_two() {
                    self.complain("the screen is too narrow for two columns");
                }
            }
            Action::Spaces => self.options.spaces = !self.options.spaces,
            Action::Wrap => {
                self.options.wrap = !self.options.wrap;
                (self.pane.left, self.pane.above) = (0, 0);
            }
            Action::FoldAll => self.fold_all(),
            _ if self.focus == Focus::List => return self.fold_directory(),
            _ => self.fold_hunk(),
        }
        self.index_again();
    }

    /// Moves a pane by the wheel.
    pub(super) fn wheel(&mut self, is_list: bool, is_down: bool) {
        match &mut self.mode {
            Mode::Review => {}
            Mode::Page(page) => {
                (0..WHEEL).for_each(|_| page.scroll(if is_down { "Down" } else { "Up" }));
                return;
            }
            // What stands behind something else does not move.
            _ => return,
        }
        let focus = self.focus;
        self.focus = if is_list { Focus::List } else { Focus::Diff };
        for _ in 0..WHEEL {
            self.go(if is_down { Action::Down } else { Action::Up });
        }
        self.focus = focus;
        self.scroll();
    }

    /// Keeps both cursors on the screen.
    pub(crate) fn scroll(&mut self) {
        let height = self.body_height();
        let list = &mut self.list;
        list.top = list.top.clamp(list.cursor.saturating_sub(height - 1), list.cursor);
        // One row of the pane is the file's heading.
        let height = height.saturating_sub(1).max(1);
        let pane = &self.pane;
        if pane.cursor < pane.top {
            (self.pane.top, self.pane.above) = (pane.cursor, 0);
            return;
        }
        let (mut first, mut taken) = (pane.cursor, self.rows_of(pane.cursor));
        while first > pane.top && taken < height {
            let more = self.rows_of(first - 1);
            if taken + more > height {
                break;
            }
            (first, taken) = (first - 1, taken + more);
        }
        if first > pane.top {
            (self.pane.top, self.pane.above) = (first, 0);
        }
    }

    /// Screen lines that a row takes, as far as it matters for one screen.
    fn rows_of(&self, row: usize) -> usize {
        if !self.options.wrap || self.pane.index.rows.get(row).is_none() {
            return 1;
        }
        let width = self.text_width().max(1);
        let most = width * self.body_height();
        let columns = self.row_texts(row).map(|text| glyphs::lay(text, most, self.options.spaces).columns);
        columns.max().unwrap_or(0).div_ceil(width).max(1)
    }

    /// The texts that stand in a row, without their newlines.
    pub(crate) fn row_texts(&self, row: usize) -> impl Iterator<Item = &[u8]> {
        let row = self.pane.index.rows.get(row).copied();
        let lines = match (row.and_then(|row| row.hunk()), self.entry()) {
            (Some(hunk), Some(entry)) => self.pane.index.lines(entry, hunk),
            _ => &[],
        };
        let places = row.into_iter().flat_map(|row| row.lines());
        places
            .filter_map(|line| lines.get(line))
            .map(|line| line.text.strip_suffix(b"\n").unwrap_or(&line.text))
    }

    /// Columns that code has.
    pub(crate) fn text_width(&self) -> usize {
        crate::review::view::text_width(self)
    }

    fn enter(&mut self) {
        match (self.focus, self.list_row()) {
            (Focus::List, Some(ListRow::File(..))) => {
                self.follow_list();
                self.focus = Focus::Diff;
            }
            (Focus::List, Some(ListRow::Directory(..))) => self.fold_directory(),
            _ => {}
        }
    }

    fn go_list(&mut self, action: Action) {
        let page = self.body_height();
        let last = self.list.rows.len().saturating_sub(1);
        let to = moved(self.list.cursor, action, page);
        self.list.cursor = to.min(last);
        self.follow_list();
    }

    fn go_diff(&mut self, action: Action) {
        let page = self.body_height().saturating_sub(1).max(1);
        let last = self.pane.index.rows.len().saturating_sub(1);
        // A line that is wrapped over more than the screen is read before the next one.
        let is_first = self.pane.cursor == self.pane.top;
        if self.options.wrap && is_first {
            let width = self.text_width().max(1);
            let end = width * (self.pane.above + page);
            let goes_on = self
                .row_texts(self.pane.cursor)
                .any(|text| glyphs::lay(text, end, self.options.spaces).is_cut);
            if goes_on && matches!(action, Action::Down | Action::HalfDown | Action::PageDown) {
                self.pane.above += page.div_ceil(2);
                return;
            }
            if self.pane.above > 0 && matches!(action, Action::Up | Action::HalfUp | Action::PageUp) {
                self.pane.above = self.pane.above.saturating_sub(page.div_ceil(2));
                return;
            }
        }
        let to = moved(self.pane.cursor, action, page).min(last);
        if to != self.pane.top {
            self.pane.above = 0;
        }
        self.pane.cursor = to;
    }

    fn step_hunk(&mut self, forward: bool) {
        let rows = &self.pane.index.rows;
        let is_head = |row: &Row| matches!(row, Row::Head { .. });
        let found = if forward {
            rows.iter().skip(self.pane.cursor + 1).position(is_head).map(|at| self.pane.cursor + 1 + at)
        } else {
            rows[..self.pane.cursor.min(rows.len())].iter().rposition(is_head)
        };
        self.focus = Focus::Diff;
        if let Some(found) = found {
            self.show_from(found);
            return;
        }
        let before = self.pane.file;
        self.step_file(forward);
        if self.pane.file == before {
            return;
        }
        let rows = &self.pane.index.rows;
        let head = if forward { rows.iter().position(is_head) } else { rows.iter().rposition(is_head) };
        if let Some(head) = head {
            self.pane.cursor = head;
        }
    }

    /// Puts the cursor on a row, and shows what follows it.
    pub(super) fn show_from(&mut self, row: usize) {
        self.pane.cursor = row;
        let height = self.body_height();
        if row < self.pane.top || row + height / 2 > self.pane.top + height {
            (self.pane.top, self.pane.above) = (row.saturating_sub(height / 4), 0);
        }
    }

    fn step_file(&mut self, forward: bool) {
        let is_file = |row: &ListRow| matches!(row, ListRow::File(..));
        let (rows, cursor) = (&self.list.rows, self.list.cursor);
        let found = if forward {
            rows.iter().skip(cursor + 1).position(is_file).map(|at| cursor + 1 + at)
        } else {
            rows[..cursor.min(rows.len())].iter().rposition(is_file)
        };
        match found {
            Some(found) => {
                self.list.cursor = found;
                self.follow_list();
            }
            None => self.say(if forward { "this is the last file" } else { "this is the first file" }),
        }
    }

    fn fold_directory(&mut self) {
        let path = match self.list_row() {
            Some(ListRow::Directory(path, _)) => path.clone(),
            Some(ListRow::File(place, true)) => {
                crate::review::document::split(&self.document.entries[*place].path).0.to_vec()
            }
            _ => return,
        };
        if !self.list.folded.remove(&path) {
            self.list.folded.insert(path.clone());
        }
        self.refold();
        let row = |row: &ListRow| matches!(row, ListRow::Directory(found, _) if *found == path);
        if let Some(cursor) = self.list.rows.iter().position(row) {
            self.list.cursor = cursor;
        }
    }

    fn fold_hunk(&mut self) {
        let (Some(file), Some((hunk, _))) = (self.pane.file, self.pane.index.part_at(self.pane.cursor))
        else {
            return;
        };
        if !self.folded.remove(&(file, hunk)) {
            self.folded.insert((file, hunk));
            self.pane.cursor = self.pane.index.head(hunk, 0).unwrap_or(self.pane.cursor);
        }
    }

    fn fold_all(&mut self) {
        let (Some(file), Some(entry)) = (self.pane.file, self.entry()) else { return };
        let hunks: Vec<_> = (0..entry.hunks.len()).map(|hunk| (file, hunk)).collect();
        if hunks.iter().all(|hunk| self.folded.contains(hunk)) {
            self.folded.retain(|(folded, _)| *folded != file);
        } else {
            self.folded.extend(hunks);
        }
    }
}

fn moved(from: usize, action: Action, page: usize) -> usize {
    match action {
        Action::Down => from + 1,
        Action::Up => from.saturating_sub(1),
        Action::HalfDown => from + page / 2,
        Action::HalfUp => from.saturating_sub(page / 2),
        Action::PageDown => from + page,
        Action::PageUp => from.saturating_sub(page),
        Action::First => 0,
        Action::Last => usize::MAX,
        _ => from,
    }
}
