//! From a key to a new state, and to what is to be done outside of it.
//!
//! Owns what every key does in every mode. Pure: no terminal, no daemon, no clock. Whatever asks the daemon
//! or the terminal is an [`Effect`] for the shell.

use crossterm::event::{KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use crate::review::keys::{self, Action};
use crate::review::page::Subject;
use crate::review::state::{Effect, Focus, Mode, Purpose, Question, Source, State};

mod choosing;
mod deciding;
mod moving;
mod paging;
mod searching;

pub(crate) use deciding::TYPED;
pub(crate) use paging::merged;
pub(crate) use searching::matches_in;

/// Rows that a turn of the wheel moves.
const WHEEL: usize = 3;

/// Characters of an answer.
const LONGEST: usize = 1000;

// === impl State ===

impl State {
    /// Acts on a key.
    pub(crate) fn key(&mut self, key: &KeyEvent) -> Option<Effect> {
        self.list_again();
        let spelt = keys::spell(key)?;
        match spelt.as_str() {
            "Ctrl-c" => return Some(Effect::Quit),
            "Ctrl-z" => return Some(Effect::Suspend),
            _ => {}
        }
        self.message = None;
        match &self.mode {
            Mode::Review => {
                let action = keys::action(key)?;
                self.act(action)
            }
            Mode::Help(_) => {
                self.help_key(&spelt);
                None
            }
            Mode::Page(_) => self.page_key(&spelt),
            Mode::Ask(..) => self.typed(key, &spelt),
            Mode::Findings(_) => {
                self.finding_key(&spelt);
                None
            }
            Mode::Conflicts(..) => self.conflict_key(&spelt),
            Mode::Waiting(_) => None,
            Mode::Approving(_) => self.approving_key(&spelt),
        }
    }

    /// Acts on the mouse. A click never chooses or approves: it moves to what it hits.
    pub(crate) fn mouse(&mut self, event: &MouseEvent) {
        self.list_again();
        let is_list = !self.shows_both() && self.focus == Focus::List || {
            self.shows_both() && event.column < self.list_width()
        };
        match event.kind {
            MouseEventKind::ScrollDown => self.wheel(is_list, true),
            MouseEventKind::ScrollUp => self.wheel(is_list, false),
            MouseEventKind::Down(MouseButton::Left) if matches!(self.mode, Mode::Review) => {
                let row = usize::from(event.row);
                if !(2..2 + self.body_height()).contains(&row) {
                    return;
                }
                if is_list {
                    self.focus = Focus::List;
                    self.list.cursor = (self.list.top + row - 2).min(self.list.rows.len().saturating_sub(1));
                    self.follow_list();
                } else {
                    self.focus = Focus::Diff;
                    let last = self.pane.index.rows.len().saturating_sub(1);
                    // The first row of the pane is the file's heading.
                    self.pane.cursor = (self.pane.top + row.saturating_sub(3)).min(last);
                }
            }
            _ => {}
        }
    }

    /// Takes pasted text: an answer that is typed takes its first line, an approval takes none.
    pub(crate) fn paste(&mut self, text: &str) {
        if let Mode::Ask(question, typed) = &mut self.mode
            && !matches!(question, Question::Quit | Question::RejectGoOn { .. })
        {
            typed.extend(text.lines().next().unwrap_or_default().chars().take(LONGEST));
        }
    }

    /// Takes another size of the screen.
    pub(crate) fn resize(&mut self, size: (u16, u16)) {
        self.size = size;
        let page_size = self.page_size();
        if let Mode::Page(page) = &mut self.mode {
            page.resize(page_size);
        }
        self.index_again();
        self.scroll();
    }

    fn act(&mut self, action: Action) -> Option<Effect> {
        match action {
            Action::Approve => return self.preview(Purpose::Approve),
            Action::Conflicts => return self.preview(Purpose::Conflicts),
            Action::Ledger => {
                let title = "what left the sandbox, and what did not".to_owned();
                return Some(self.open_page(Subject::Ledger, title, Source::Ledger));
            }
            Action::Origins => return self.origins(),
            Action::Reload => return Some(self.wait("the diff", Effect::Reload)),
            Action::Edit => return self.edit_hunk(),
            Action::Quit => return self.quit(),
            Action::Interrupt => return Some(Effect::Quit),
            Action::Suspend => return Some(Effect::Suspend),
            Action::Search => self.mode = Mode::Ask(Question::Search, String::new()),
            Action::Command => self.mode = Mode::Ask(Question::Command, String::new()),
            Action::RejectSession => self.mode = Mode::Ask(Question::RejectWhy, String::new()),
            Action::Help => self.mode = Mode::Help(0),
            Action::Findings => self.show_findings(),
            Action::Toggle
            | Action::Accept
            | Action::AcceptFile
            | Action::Leave
            | Action::LeaveFile
            | Action::AcceptAll
            | Action::Split
            | Action::Lines
            | Action::Undo => self.choose(action),
            Action::SideBySide | Action::Spaces | Action::Wrap | Action::Fold | Action::FoldAll => {
                self.look(action);
            }
            _ => self.go(action),
        }
        self.scroll();
        None
    }

    /// Shows that the daemon is being asked.
    fn wait(&mut self, what: &'static str, effect: Effect) -> Effect {
        self.mode = Mode::Waiting(what);
        effect
    }

    fn quit(&mut self) -> Option<Effect> {
        if self.choices.any() || !self.resolutions.is_empty() || !self.accepted.is_empty() {
            self.mode = Mode::Ask(Question::Quit, String::new());
            return None;
        }
        Some(Effect::Quit)
    }

    /// Moves in the list of keys.
    fn help_key(&mut self, key: &str) {
        let height = self.body_height();
        let last = crate::review::view::help_rows().saturating_sub(height);
        let Mode::Help(top) = &mut self.mode else { return };
        *top = match key {
            "j" | "Down" => *top + 1,
            "k" | "Up" => top.saturating_sub(1),
            "PgDn" | "Space" | "Ctrl-f" | "Ctrl-d" => *top + height,
            "PgUp" | "Ctrl-b" | "Ctrl-u" => top.saturating_sub(height),
            "g" | "Home" => 0,
            "G" | "End" => last,
            "q" | "Esc" | "?" => {
                self.mode = Mode::Review;
                return;
            }
            _ => *top,
        }
        .min(last);
    }

    /// A key of an answer.
    fn typed(&mut self, key: &KeyEvent, spelt: &str) -> Option<Effect> {
        let Mode::Ask(question, typed) = &mut self.mode else { return None };
        if spelt == "Esc" {
            self.mode = Mode::Review;
            return None;
        }
        let question = question.clone();
        match question {
            Question::Quit => {
                if matches!(spelt, "y" | "Y") {
                    return Some(Effect::Quit);
                }
                self.mode = Mode::Review;
                return None;
            }
            Question::RejectGoOn { why } => return self.reject_key(spelt, why),
            _ => {}
        }
        match spelt {
            "Enter" => {
                let typed = std::mem::take(typed);
                self.mode = Mode::Review;
                return self.answered(question, typed);
            }
            "Backspace" => drop(typed.pop()),
            "Ctrl-u" => typed.clear(),
            _ => {
                let plain = key.modifiers.difference(KeyModifiers::SHIFT).is_empty();
                if let crossterm::event::KeyCode::Char(char) = key.code
                    && plain
                    && typed.len() < LONGEST
                {
                    typed.push(char);
                }
            }
        }
        None
    }

    fn answered(&mut self, question: Question, typed: String) -> Option<Effect> {
        match question {
            Question::Search => self.search_for(&typed),
            Question::Command => return self.command(typed.trim()),
            Question::RejectWhy => {
                self.mode = Mode::Ask(Question::RejectGoOn { why: typed }, String::new());
            }
            Question::FindingWhy { finding } => self.accept_finding(finding, typed.trim()),
            Question::Quit | Question::RejectGoOn { .. } => {}
        }
        self.scroll();
        None
    }

    fn command(&mut self, typed: &str) -> Option<Effect> {
        match typed {
            "approve" => self.act(Action::Approve),
            "reject" => self.act(Action::RejectSession),
            "reload" => self.act(Action::Reload),
            "help" => self.act(Action::Help),
            "q" | "quit" => self.act(Action::Quit),
            "" => None,
            _ => {
                self.complain("commands: approve, reject, reload, help, quit");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
