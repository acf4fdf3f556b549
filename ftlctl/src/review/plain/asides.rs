//! What the plain review shows and asks beside its questions about hunks.
//!
//! Owns the words of conflicts, findings, tests, blame, ledger and a model's answers, each line told when it comes.
//! Must not know which question they interrupt.

use std::cell::RefCell;
use std::rc::Rc;

use ftl_proto::v1;

use super::Plain;
use crate::decide;
use crate::failure::Failure;
use crate::prompt;
use crate::render::escape::{self, name};
use crate::review::document::Document;
use crate::review::page::Line;
use crate::review::state::{Mode, Purpose};
use crate::review::{editor, remote};

/// Columns of the ledger, where nobody cuts it.
const WIDE: usize = 200;

/// Takes lines, escaped.
type Tell<'a> = Box<dyn Fn(Vec<Line>) + 'a>;

impl Plain<'_> {
    /// Tells lines as they come, until the call has ended or the human ends it with Ctrl-C.
    async fn told<'a, F>(&'a self, call: impl FnOnce(Tell<'a>) -> F) -> Result<(), Failure>
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let broken = Rc::new(RefCell::new(None));
        let first = Rc::clone(&broken);
        let tell = move |lines: Vec<Line>| {
            for line in lines {
                if let Err(failure) = self.line(&line.text) {
                    first.borrow_mut().get_or_insert(failure);
                }
            }
        };
        let ended = tokio::select! {
            ended = call(Box::new(tell)) => ended,
            _ = tokio::signal::ctrl_c() => self.line("ended"),
        };
        if let Some(failure) = broken.take() {
            return Err(failure);
        }
        // What the daemon says of a question does not end the review.
        match ended {
            Err(failure) => self.line(&remote::told(&failure)),
            Ok(()) => Ok(()),
        }
    }

    /// What the model of the review has to say.
    pub(super) fn complaint(&mut self) -> Result<(), Failure> {
        match self.state.message.take() {
            Some((_, text)) => self.context.output.note(&text),
            None => Ok(()),
        }
    }

    pub(super) async fn origins(&self, entry: &v1::DiffEntry, hunk: usize) -> Result<(), Failure> {
        let hunk = entry.hunks.get(hunk).map(|hunk| hunk.id.clone());
        let session = self.state.session.session.clone();
        let (reviews, of) = (self.client.reviews(), (session, entry.path.clone(), hunk));
        self.told(|tell| remote::origins(reviews, of, tell)).await
    }

    pub(super) async fn ledger(&self) -> Result<(), Failure> {
        let session = self.state.session.session.clone();
        let egress = self.client.egress();
        self.told(|tell| remote::ledger(egress, session, WIDE, tell)).await
    }

    pub(super) async fn inquire(&self, entry: &v1::DiffEntry, hunk: usize) -> Result<(), Failure> {
        let question = prompt::ask(self.context, "Ask (nothing asks nothing): ").await?.unwrap_or_default();
        let question = question.trim().to_owned();
        if question.is_empty() {
            return Ok(());
        }
        let path = entry.path.clone();
        let scope = match entry.hunks.get(hunk) {
            Some(hunk) => {
                v1::AskScope { paths: Vec::new(), hunks: vec![v1::AskHunk { path, hunk: hunk.id.clone() }] }
            }
            None => v1::AskScope { paths: vec![path], hunks: Vec::new() },
        };
        let session = self.state.session.session.clone();
        let (ask, request) = (self.client.ask(), v1::AskRequest { session, question, scope: Some(scope) });
        self.told(|tell| remote::answer(ask, request, tell)).await
    }

    /// The project's checks on what was accepted so far.
    pub(super) async fn test(&mut self) -> Result<(), Failure> {
        let Some(choice) = self.state.choice() else { return self.complaint() };
        let v1::PreviewRequest { session, selection, resolutions, shown, .. } = choice;
        let request =
            v1::TestRequest { session, selection, resolutions, again: false, stop_when_gone: true, shown };
        let verify = self.client.verify();
        self.told(|tell| remote::checks(verify, request, tell)).await
    }

    /// Asks the daemon what a selection would do. A failure is told, and ends nothing.
    pub(super) async fn look_ahead(&mut self, purpose: Purpose) -> Result<Mode, Failure> {
        let request = self.state.preview_request();
        let whole = async {
            let items = self.client.reviews().preview(request.clone()).await?.into_inner();
            decide::collect(items).await
        };
        let (header, entries) = whole.await?;
        self.state.previewed(request, purpose, header, entries);
        Ok(std::mem::replace(&mut self.state.mode, Mode::Review))
    }

    /// Every conflict of what was accepted so far, decided or not.
    pub(super) async fn show_conflicts(&mut self) -> Result<(), Failure> {
        if self.state.choice().is_none() {
            return self.complaint();
        }
        match self.look_ahead(Purpose::Conflicts).await? {
            Mode::Conflicts(..) => {
                self.state.message = None;
                self.conflicts(true).await.map(drop)
            }
            _ => self.complaint(),
        }
    }

    /// Asks about the conflicts that are not decided, or about all of them. Says whether to go on.
    pub(super) async fn conflicts(&mut self, all: bool) -> Result<bool, Failure> {
        let conflicts: Vec<_> =
            self.state.conflicts().iter().map(|(path, one)| (path.to_vec(), (*one).clone())).collect();
        for (path, conflict) in conflicts {
            let decision = self.state.decision(&path, &conflict);
            if decision.is_some() && !all {
                continue;
            }
            self.line(&format!("{} line {} was changed by you too", name(&path), conflict.line))?;
            for (whose, bytes) in [("ours", &conflict.ours), ("theirs", &conflict.theirs)] {
                self.line(&format!("{whose}:\n{}", escape::bytes(bytes).trim_end_matches('\n')))?;
            }
            if let Some(decision) = decision {
                self.line(&format!(
                    "decided: {}",
                    decision.as_str_name().trim_start_matches("DECISION_").to_lowercase()
                ))?;
            }
            if !self.conflict(path, &conflict).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn conflict(&mut self, path: Vec<u8>, conflict: &v1::Conflict) -> Result<bool, Failure> {
        let has_lines = conflict.whole.is_empty();
        let question = match has_lines {
            true => "Take [o]urs, [t]heirs, [b]oth, [e]dit, [u]ndecided, or [q]uit? ",
            false => "Take [o]urs, [t]heirs, [u]ndecided, or [q]uit? ",
        };
        let decided = loop {
            match prompt::ask(self.context, question).await?.as_deref().map(str::trim) {
                Some("o") => break (v1::Decision::Ours, Vec::new()),
                Some("t") => break (v1::Decision::Theirs, Vec::new()),
                Some("b") if has_lines => break (v1::Decision::Both, Vec::new()),
                Some("e") if has_lines => {
                    let both = [conflict.ours.clone(), conflict.theirs.clone()].concat();
                    match editor::edit(self.context, &both, &path).await {
                        Ok(Some(bytes)) => break (v1::Decision::Edited, bytes),
                        Ok(None) => self.line("not edited")?,
                        Err(error) => self.line(&name(error.to_string()))?,
                    }
                }
                Some("u") => {
                    self.state.resolutions.remove(&(path, conflict.number));
                    return Ok(true);
                }
                Some("q") | None => return Ok(false),
                _ => {}
            }
        };
        self.state.resolutions.insert((path, conflict.number), decided);
        Ok(true)
    }

    /// Asks about the findings that hold the approval, or shows all of them. Says whether to go on.
    pub(super) async fn findings(&mut self, all: bool) -> Result<bool, Failure> {
        let findings: Vec<_> =
            self.state.findings().iter().map(|(path, one)| (path.to_vec(), (*one).clone())).collect();
        if findings.is_empty() && all {
            self.line("there are no findings")?;
        }
        for (path, finding) in findings {
            let accepted = self.state.accepted.get(&finding.id).cloned();
            if !all && (!finding.holds || accepted.is_some()) {
                continue;
            }
            let (class, message) = (name(&finding.class), name(&finding.message));
            self.line(&format!("{} line {}: {message} ({class})", name(&path), finding.line))?;
            if let Some(why) = accepted {
                let question = format!("Accepted, because {}. Take that back? [y/N] ", name(&why));
                let typed = prompt::ask(self.context, &question).await?.unwrap_or_default();
                if matches!(typed.trim(), "y" | "yes") {
                    self.state.accepted.remove(&finding.id);
                }
                continue;
            }
            if !finding.holds {
                self.line("this one holds nothing up")?;
                continue;
            }
            let question = "Accept it, because (nothing keeps the work for later): ";
            let why = prompt::ask(self.context, question).await?.unwrap_or_default();
            if !why.trim().is_empty() {
                self.state.accepted.insert(finding.id, why.trim().to_owned());
            } else if !all {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Fetches the diff and the session anew. Choices that fit stay.
    pub(super) async fn reload(&mut self) -> Result<(), Failure> {
        let session = self.state.session.session.clone();
        let request = v1::GetSessionRequest { session: session.clone(), project: Vec::new() };
        let now = self.client.sessions().get(request).await?.into_inner();
        let request = v1::GetDiffRequest { session, stat_only: false, contents: false };
        let items = self.client.reviews().get_diff(request).await?.into_inner();
        let (header, entries) = decide::collect(items).await?;
        let mut document = Document::new(header);
        entries.into_iter().for_each(|entry| document.push(entry));
        document.is_complete = true;
        self.state.reloaded(now, document);
        self.complaint()
    }
}
