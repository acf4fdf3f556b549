//! Findings, conflicts, the approval and the rejection, and what the daemon said.
//!
//! Owns the two steps of an approval: a preview from the daemon, then its digest typed by the human on a
//! screen that shows nothing of the agent's. Must not know how it is shown.

use ftl_proto::v1;

use crate::render::measure::plural;
use crate::review::choice::{Choice, Mark};
use crate::review::document::{Document, is_beneath};
use crate::review::state::{Approving, Edited, Effect, Focus, Mode, Purpose, Question, State};

/// Characters of the digest that are typed to approve.
pub(crate) const TYPED: usize = 6;

// === impl State ===

impl State {
    /// Asks the daemon what the selection would do.
    pub(super) fn preview(&mut self, purpose: Purpose) -> Option<Effect> {
        let request = Box::new(self.choice()?);
        Some(self.wait("what the selection would do", Effect::Preview(request, purpose)))
    }

    /// What is chosen, of a diff that is whole and not older than the session's work.
    pub(crate) fn choice(&mut self) -> Option<v1::PreviewRequest> {
        if !self.document.is_complete {
            self.complain("the diff has not come as a whole yet");
            return None;
        }
        if let Some(stale) = &self.stale {
            let stale = format!("{stale}; r loads the diff anew");
            self.complain(stale);
            return None;
        }
        if !self.choices.any_in() {
            self.complain("nothing is chosen yet: a accepts a hunk, A a file, * everything");
            return None;
        }
        Some(self.preview_request())
    }

    /// The daemon has said what a selection would do.
    pub(crate) fn previewed(
        &mut self,
        request: v1::PreviewRequest,
        purpose: Purpose,
        header: v1::DiffHeader,
        entries: Vec<v1::DiffEntry>,
    ) {
        self.mode = Mode::Review;
        self.preview.clone_from(&entries);
        if purpose == Purpose::Conflicts || header.conflicts > 0 {
            self.show_conflicts(header.conflicts);
            return;
        }
        if entries.iter().flat_map(|entry| &entry.findings).any(|one| self.is_open(one)) {
            self.show_findings();
            self.complain("findings hold the approval: a accepts one with a reason");
            return;
        }
        let strangers = entries.iter().filter(|entry| !self.is_chosen(&entry.path)).count();
        if strangers > 0 {
            let paths = plural(strangers as u64, "path", "paths");
            self.complain(format!("the preview has {paths} that you did not choose: nothing is approved"));
            return;
        }
        if header.digest.len() < TYPED {
            self.complain("nothing of this can be approved");
            return;
        }
        if header.whole != self.document.header.digest {
            self.complain("the preview is of other work than what is shown: nothing is approved");
            return;
        }
        self.before_approval(Approving { header, entries, request, typed: String::new(), top: 0 });
    }

    /// A call has failed. The text is escaped.
    pub(crate) fn failed(&mut self, text: String) {
        self.mode = Mode::Review;
        self.complain(text);
    }

    /// The human has edited something; nothing when they left it as it was.
    pub(crate) fn edited(&mut self, what: Edited, bytes: Option<Vec<u8>>) {
        let Some(bytes) = bytes else { return self.say("not edited") };
        match what {
            Edited::Hunk(place, hunk) => {
                let Some(entry) = self.document.entries.get(place).cloned() else { return };
                self.choices.edit(&entry, hunk, bytes);
                self.resolutions.retain(|(path, _), _| *path != entry.path);
                self.index_again();
                self.say("the hunk has your words now, and is accepted");
            }
            Edited::Conflict(path, number) => {
                self.resolutions.insert((path, number), (v1::Decision::Edited, bytes));
            }
        }
        self.scroll();
    }

    /// The diff has come anew. Choices about the same hunks stay.
    pub(crate) fn reloaded(&mut self, session: v1::Session, document: Document) {
        let path = self.entry().map(|entry| entry.path.clone());
        let size = self.size;
        let fresh = Self::new(session, document.header.clone(), size);
        let old = std::mem::replace(self, fresh);
        (self.options, self.focus, self.choices) = (old.options, old.focus, old.choices);
        (self.accepted, self.search, self.pages) = (old.accepted, old.search, old.pages);
        self.document = document;
        let gone = self.choices.keep_what_fits(&self.document);
        self.list_again();
        match path.and_then(|path| self.document.place(&path)) {
            Some(place) => self.reveal(place),
            None => self.follow_list(),
        }
        let gone = match gone {
            0 => String::new(),
            gone => format!("; the choices in {} did not fit any more", plural(gone as u64, "file", "files")),
        };
        self.say(format!("loaded anew{gone}"));
        self.scroll();
    }

    /// What is shown is not the session's work any more. The text is escaped.
    pub(crate) fn grow_stale(&mut self, why: String) {
        if self.is_asked() {
            self.mode = Mode::Review;
        }
        self.message = None;
        self.stale = Some(why);
    }

    pub(super) fn show_findings(&mut self) {
        if self.findings().is_empty() {
            self.say("there are no findings");
        } else {
            let findings = self.findings();
            let first = findings.iter().position(|(_, one)| self.is_open(one));
            self.mode = Mode::Findings(first.unwrap_or(0));
        }
    }

    pub(super) fn finding_key(&mut self, key: &str) {
        let findings = self.findings();
        let Mode::Findings(cursor) = self.mode else { return };
        let Some((path, finding)) = findings.get(cursor) else {
            self.mode = Mode::Review;
            return;
        };
        let last = findings.len() - 1;
        let (path, id, line, holds) = (path.to_vec(), finding.id.clone(), finding.line, finding.holds);
        match key {
            "j" | "Down" | "n" => self.mode = Mode::Findings((cursor + 1).min(last)),
            "k" | "Up" | "p" => self.mode = Mode::Findings(cursor.saturating_sub(1)),
            "a" if holds => {
                self.mode = Mode::Ask(Question::FindingWhy { finding: id }, String::new());
            }
            "a" => self.say("this one holds nothing up"),
            "d" | "u" => drop(self.accepted.remove(&id)),
            "Enter" => {
                self.mode = Mode::Review;
                self.show_line(&path, line);
            }
            "q" | "Esc" | "f" => self.mode = Mode::Review,
            _ => {}
        }
    }

    pub(super) fn accept_finding(&mut self, finding: String, why: &str) {
        if why.is_empty() {
            self.complain("a finding needs a reason to be accepted");
        } else {
            self.accepted.insert(finding, why.to_owned());
        }
        self.show_findings();
    }

    /// Goes to a line of a file as it would be.
    fn show_line(&mut self, path: &[u8], line: u64) {
        let Some(place) = self.document.place(path) else { return };
        self.reveal(place);
        self.focus = Focus::Diff;
        let rows = self.pane.index.rows.iter();
        let numbered = |row: &crate::review::rows::Row| match row {
            crate::review::rows::Row::Line { new, .. } | crate::review::rows::Row::Pair { new, .. } => {
                new.is_some_and(|place| u64::from(place.number) == line)
            }
            _ => false,
        };
        if let Some(row) = rows.into_iter().position(numbered) {
            self.show_from(row);
        }
        self.scroll();
    }

    fn show_conflicts(&mut self, open: u64) {
        let conflicts = self.conflicts();
        if conflicts.is_empty() {
            self.say("nothing conflicts with your own edits");
            return;
        }
        let undecided = |(path, one): &(&[u8], &v1::Conflict)| self.decision(path, one).is_none();
        let first = conflicts.iter().position(undecided).unwrap_or(0);
        self.mode = Mode::Conflicts(first, 0);
        if open > 0 {
            let both = plural(open, "region was", "regions were");
            self.complain(format!("{both} changed by you too: o ours, t theirs, b both, e edit"));
        }
    }

    pub(super) fn conflict_key(&mut self, key: &str) -> Option<Effect> {
        let Mode::Conflicts(cursor, top) = self.mode else { return None };
        let conflicts = self.conflicts();
        let last = conflicts.len().saturating_sub(1);
        let (path, conflict) = conflicts.get(cursor).map(|(path, one)| (path.to_vec(), (*one).clone()))?;
        let decision = match key {
            "o" => v1::Decision::Ours,
            "t" => v1::Decision::Theirs,
            "b" => v1::Decision::Both,
            "e" if conflict.whole.is_empty() => {
                let bytes = [conflict.ours, conflict.theirs].concat();
                return Some(Effect::Edit(Edited::Conflict(path.clone(), conflict.number), bytes, path));
            }
            "n" | "]" => return self.at_conflict((cursor + 1).min(last), 0),
            "p" | "[" => return self.at_conflict(cursor.saturating_sub(1), 0),
            "j" | "Down" => return self.at_conflict(cursor, top + 1),
            "k" | "Up" => return self.at_conflict(cursor, top.saturating_sub(1)),
            "PgDn" | "Space" => return self.at_conflict(cursor, top + self.body_height()),
            "PgUp" => return self.at_conflict(cursor, top.saturating_sub(self.body_height())),
            "u" => {
                self.resolutions.remove(&(path, conflict.number));
                return None;
            }
            "y" => {
                self.mode = Mode::Review;
                return self.preview(Purpose::Approve);
            }
            "q" | "Esc" | "c" => {
                self.mode = Mode::Review;
                return None;
            }
            _ => return None,
        };
        if !conflict.whole.is_empty() && decision == v1::Decision::Both {
            self.complain("there are no lines to choose from: o or t");
            return None;
        }
        self.resolutions.insert((path, conflict.number), (decision, Vec::new()));
        if self.conflicts().iter().all(|(path, one)| self.decision(path, one).is_some()) {
            self.say("every conflict is decided: y shows what comes of it");
        }
        self.at_conflict((cursor + 1).min(last), 0)
    }

    fn at_conflict(&mut self, cursor: usize, top: usize) -> Option<Effect> {
        self.mode = Mode::Conflicts(cursor, top);
        None
    }

    /// The last step: the beginning of the digest, typed. Enter alone does nothing.
    pub(super) fn approving_key(&mut self, key: &str) -> Option<Effect> {
        let height = self.body_height();
        let Mode::Approving(approving) = &mut self.mode else { return None };
        match key {
            "Esc" => {
                self.mode = Mode::Review;
                self.say("nothing was approved");
            }
            "Down" => approving.top += 1,
            "Up" => approving.top = approving.top.saturating_sub(1),
            "PgDn" => approving.top += height / 2,
            "PgUp" => approving.top = approving.top.saturating_sub(height / 2),
            "Backspace" => drop(approving.typed.pop()),
            "Enter" => {
                let wanted = approving.header.digest.get(..TYPED)?.to_owned();
                if approving.typed == wanted {
                    return Some(self.approve());
                }
                approving.typed.clear();
                self.complain(format!("type {wanted} first: Enter alone approves nothing"));
            }
            key if key.len() == 1 && approving.typed.len() < TYPED => {
                approving.typed.push_str(&key.to_ascii_lowercase());
            }
            _ => {}
        }
        None
    }

    fn approve(&mut self) -> Effect {
        let Mode::Approving(approving) = std::mem::replace(&mut self.mode, Mode::Waiting("the approval"))
        else {
            return Effect::Quit;
        };
        let request = approving.request;
        Effect::Approve(Box::new(v1::ApproveRequest {
            session: request.session,
            digest: approving.header.digest,
            paths: Vec::new(),
            selection: request.selection,
            resolutions: request.resolutions,
            accepted: request.accepted,
            shown: request.shown,
        }))
    }

    pub(super) fn reject_key(&mut self, key: &str, why: String) -> Option<Effect> {
        let go_on = match key {
            "y" => true,
            "n" => false,
            _ => return None,
        };
        if go_on && why.trim().is_empty() {
            self.mode = Mode::Ask(Question::RejectWhy, String::new());
            self.complain("the agent needs a reason to go on with");
            return None;
        }
        let request = v1::RejectRequest { session: self.session.session.clone(), why, go_on };
        Some(self.wait("the rejection", Effect::Reject(request)))
    }

    /// Whether a path was chosen, or is a directory that something chosen needs.
    fn is_chosen(&self, path: &[u8]) -> bool {
        let chosen = |entry: &v1::DiffEntry| {
            !matches!(self.choices.mark(entry), Mark::All(Choice::Open | Choice::Out))
        };
        if let Some(place) = self.document.place(path)
            && chosen(&self.document.entries[place])
        {
            return true;
        }
        let entries = self.document.entries.iter().filter(|entry| chosen(entry));
        entries.into_iter().any(|entry| is_beneath(&entry.path, path) || entry.renamed_from == path)
    }
}
