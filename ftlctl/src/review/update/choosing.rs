//! What is accepted and what is left out.
//!
//! Owns which thing a key is about: a hunk, its part, lines, a file, a directory. Must not know how the
//! choices are kept.

use ftl_proto::v1;

use crate::review::choice::{Choice, Mark};
use crate::review::document::{Row as ListRow, Section, section};
use crate::review::keys::Action;
use crate::review::state::{Edited, Effect, Focus, State};

// === impl State ===

impl State {
    /// Acts on a choice.
    pub(super) fn choose(&mut self, action: Action) {
        match action {
            Action::Undo => {
                if self.choices.undo() {
                    // What was decided about other bytes does not fit these.
                    self.resolutions.clear();
                    self.say("took the last choice back");
                } else {
                    self.say("there is no choice to take back");
                }
            }
            Action::AcceptAll => self.accept_all(),
            Action::Split => self.split(),
            Action::Lines => self.begin_lines(),
            Action::AcceptFile => self.whole_file(Choice::In),
            Action::LeaveFile => self.whole_file(Choice::Out),
            _ if self.focus == Focus::List => self.listed(action),
            _ => self.in_diff(action),
        }
        self.index_again();
    }

    /// Begins to edit the hunk that the cursor is in.
    pub(super) fn edit_hunk(&mut self) -> Option<Effect> {
        let place = self.pane.file?;
        let Some((hunk, _)) = self.pane.index.part_at(self.pane.cursor) else {
            self.complain("put the cursor on a hunk first");
            return None;
        };
        let entry = self.entry()?;
        if self.is_refused(entry) {
            return self.refuse();
        }
        let lines = self.pane.index.lines(entry, hunk).iter().filter(|line| line.tag != "-");
        let bytes = lines.flat_map(|line| line.text.clone()).collect();
        let path = entry.path.clone();
        Some(Effect::Edit(Edited::Hunk(place, hunk), bytes, path))
    }

    /// Forgets what was decided about a path whose bytes are others now.
    pub(crate) fn touched(&mut self, path: &[u8]) {
        self.resolutions.retain(|(decided, _), _| decided != path);
    }

    fn is_refused(&self, entry: &v1::DiffEntry) -> bool {
        section(entry) == Section::Refused
    }

    fn refuse<T>(&mut self) -> Option<T> {
        self.complain("this is refused and cannot be applied");
        None
    }

    /// Accepts everything that needs no naming.
    pub(crate) fn accept_all(&mut self) {
        if !self.document.is_complete {
            return self.complain("the diff has not come as a whole yet");
        }
        let document = &self.document;
        let listed = document.entries.iter().enumerate().filter(|(place, _)| !document.is_implied(*place));
        let open = listed.map(|(_, entry)| entry).filter(|entry| section(entry) != Section::Refused);
        let (named, free): (Vec<_>, Vec<_>) = open.partition(|entry| entry.needs_naming);
        let undecided = |entry: &&&v1::DiffEntry| self.choices.mark(entry) == Mark::All(Choice::Open);
        let left = named.iter().filter(undecided).count();
        let count = free.len();
        self.choices.set_files(free, Choice::In);
        self.resolutions.clear();
        let named = if left > 0 { format!("; {left} must be chosen one by one") } else { String::new() };
        self.say(format!("accepted {count}{named}"));
    }

    fn split(&mut self) {
        let (Some(part), Some(entry)) = (self.pane.index.part_at(self.pane.cursor), self.entry()) else {
            return self.complain("put the cursor on a hunk first");
        };
        let entry = entry.clone();
        if self.choices.split(&entry, part.0, part.1) {
            self.touched(&entry.path);
        } else {
            self.complain("nothing unchanged stands between these lines; v selects single ones");
        }
    }

    fn begin_lines(&mut self) {
        self.focus = Focus::Diff;
        let has_lines =
            self.pane.index.rows.get(self.pane.cursor).is_some_and(|row| row.lines().next().is_some());
        match (self.pane.anchor, has_lines) {
            (Some(_), _) => self.pane.anchor = None,
            (None, true) => self.pane.anchor = Some(self.pane.cursor),
            (None, false) => self.complain("put the cursor on a line first"),
        }
    }

    fn whole_file(&mut self, choice: Choice) {
        let place = match (self.focus, self.list_row()) {
            (Focus::List, Some(ListRow::File(place, _))) => Some(*place),
            (Focus::List, _) => None,
            _ => self.pane.file,
        };
        let Some(entry) = place.and_then(|place| self.document.entries.get(place)) else {
            return self.complain("put the cursor on a file first");
        };
        let entry = entry.clone();
        self.set_file(&entry, choice);
    }

    fn set_file(&mut self, entry: &v1::DiffEntry, choice: Choice) {
        if self.is_refused(entry) {
            self.refuse::<()>();
            return;
        }
        self.choices.set_files([entry], choice);
        self.touched(&entry.path);
    }

    /// A choice in the list: of a file, or of what stands beneath a directory and needs no naming.
    fn listed(&mut self, action: Action) {
        match self.list_row().cloned() {
            Some(ListRow::File(place, _)) => {
                let entry = self.document.entries[place].clone();
                let choice = wanted(action, self.choices.mark(&entry));
                self.set_file(&entry, choice);
            }
            Some(ListRow::Directory(path, _)) => self.directory(&path, action),
            _ => self.complain("put the cursor on a file first"),
        }
    }

    fn directory(&mut self, path: &[u8], action: Action) {
        let is_here = |entry: &&v1::DiffEntry| {
            crate::review::document::split(&entry.path).0 == path && section(entry) == Section::Changes
        };
        let entries: Vec<_> = self.document.entries.iter().filter(is_here).cloned().collect();
        let is_all = entries.iter().all(|entry| self.choices.mark(entry) == Mark::All(Choice::In));
        let mark = if is_all { Mark::All(Choice::In) } else { Mark::Some };
        self.choices.set_files(&entries, wanted(action, mark));
        entries.iter().for_each(|entry| self.touched(&entry.path));
    }

    /// A choice in the diff: of lines, of a hunk's part, or of a file without lines.
    fn in_diff(&mut self, action: Action) {
        let Some(entry) = self.entry().cloned() else { return };
        if self.is_refused(&entry) {
            self.refuse::<()>();
            return;
        }
        if entry.hunks.is_empty() {
            let choice = wanted(action, self.choices.mark(&entry));
            return self.set_file(&entry, choice);
        }
        if let Some(anchor) = self.pane.anchor.take() {
            return self.choose_lines(&entry, anchor, action);
        }
        let Some((hunk, piece)) = self.pane.index.part_at(self.pane.cursor) else {
            return self.complain("n goes to the next hunk, A accepts the file");
        };
        let now = self.choices.of(&entry).hunks.get(hunk).and_then(|hunk| hunk.pieces.get(piece)).cloned();
        let Some(now) = now else { return };
        let choice = wanted(action, Mark::All(now.choice));
        self.choices.set_piece(&entry, hunk, piece, choice);
        self.touched(&entry.path);
        if action != Action::Toggle {
            self.on_to_the_next();
        }
    }

    fn choose_lines(&mut self, entry: &v1::DiffEntry, anchor: usize, action: Action) {
        let (first, last) = (anchor.min(self.pane.cursor), anchor.max(self.pane.cursor));
        let rows: Vec<_> = self.pane.index.rows[first..=last].to_vec();
        let mut hunks: Vec<usize> = rows.iter().filter_map(|row| row.hunk()).collect();
        hunks.dedup();
        let choice = if action == Action::Leave { Choice::Out } else { Choice::In };
        for hunk in hunks {
            if self.pane.index.is_typed(hunk) {
                self.complain("this hunk was edited: u takes that back");
                continue;
            }
            let lines = rows.iter().filter(|row| row.hunk() == Some(hunk)).flat_map(|row| row.lines());
            let mut lines: Vec<usize> = lines.collect();
            lines.sort_unstable();
            if let (Some(first), Some(last)) = (lines.first(), lines.last()) {
                self.choices.set_lines(entry, hunk, *first..*last + 1, choice);
            }
        }
        self.touched(&entry.path);
    }

    /// After a decision the next open part is shown, so that one key after another does a whole file.
    fn on_to_the_next(&mut self) {
        self.index_again();
        let rows = &self.pane.index.rows;
        let heads = rows.iter().enumerate().skip(self.pane.cursor + 1);
        let next =
            heads.filter(|(_, row)| matches!(row, crate::review::rows::Row::Head { .. })).map(|(at, _)| at);
        if let Some(next) = next.into_iter().next() {
            self.show_from(next);
        }
    }
}

/// What a key makes of what has this mark.
fn wanted(action: Action, now: Mark) -> Choice {
    match (action, now) {
        (Action::Leave, _) => Choice::Out,
        (Action::Toggle, Mark::All(Choice::In)) => Choice::Open,
        _ => Choice::In,
    }
}
