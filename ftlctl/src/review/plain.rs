//! The review as one question after another: for screen readers, and for whoever likes `git add -p`.
//!
//! Owns the words and the order of the questions. Uses the same model as the screen, so that what can be
//! chosen and how it is approved are the same. Nothing moves, nothing is drawn twice.

use ftl_proto::v1;
use tonic::Streaming;

use crate::connect::Client;
use crate::context::Context;
use crate::decide;
use crate::failure::Failure;
use crate::prompt;
use crate::render::diff::{self, Depth};
use crate::render::escape::{self, name};
use crate::render::measure::plural;
use crate::render::style::Tone;
use crate::review::choice::{Choice, FileChoices, Mark};
use crate::review::document::{Row, Section, section};
use crate::review::page::{Page, Subject};
use crate::review::rows::{Index, Plan};
use crate::review::state::{Edited, Mode, Purpose, State};
use crate::review::update::{TYPED, merged};
use crate::review::{End, editor, remote};

/// What the questions' letters mean.
const HELP: &str = "\
y - accept this hunk
n - leave it out
a - accept it and all further ones of the file
d - leave it and all further ones of the file out
s - split it
e - edit it in $EDITOR
q - ask no more; what was accepted can be approved then
? - this help
An empty answer accepts nothing: the question is put again.";

/// What was answered about a hunk or a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    All,
    None,
    Split,
    Edit,
    Quit,
    Help,
}

struct Plain<'a> {
    context: &'a Context,
    client: &'a Client,
    state: State,
}

/// Whether to go on with the next file.
#[derive(PartialEq, Eq)]
enum Next {
    Go,
    Stop,
}

/// Reviews line by line.
pub(super) async fn run(
    context: &Context,
    client: &Client,
    session: v1::Session,
    header: v1::DiffHeader,
    items: Streaming<v1::DiffItem>,
) -> Result<End, Failure> {
    let mut state = State::new(session, header.clone(), (80, 24));
    remote::entries(&header, items, |entry| state.push(entry)).await?;
    state.document.is_complete = true;
    let mut plain = Plain { context, client, state };
    plain.files().await?;
    plain.decide().await
}

// === impl Plain ===

impl Plain<'_> {
    fn line(&self, text: &str) -> Result<(), Failure> {
        self.context.output.line(text)
    }

    async fn files(&mut self) -> Result<(), Failure> {
        let rows = self.state.document.rows(&std::collections::HashSet::new());
        let places: Vec<usize> = rows
            .iter()
            .filter_map(|row| if let Row::File(place, _) = row { Some(*place) } else { None })
            .collect();
        for (number, place) in places.iter().enumerate() {
            let entry = self.state.document.entries[*place].clone();
            let of = format!("file {} of {}", number + 1, places.len());
            if self.file(*place, &entry, &of).await? == Next::Stop {
                break;
            }
        }
        Ok(())
    }

    async fn file(&mut self, place: usize, entry: &v1::DiffEntry, of: &str) -> Result<Next, Failure> {
        let heading = format!("{of}: {}", diff::heading(entry));
        self.line("")?;
        self.line(&self.context.output.style.paint(Tone::Heading, &heading))?;
        let choices = self.state.choices.of(entry);
        for fact in &self.index(entry, &choices).facts {
            self.line(&format!("  {}", fact.text))?;
        }
        if section(entry) == Section::Refused {
            return Ok(Next::Go);
        }
        if entry.hunks.is_empty() {
            return self.whole(entry).await;
        }
        let (mut hunk, mut piece) = (0, 0);
        while hunk < entry.hunks.len() {
            let choices = self.state.choices.of(entry);
            self.show(entry, &choices, hunk, piece)?;
            let pieces = choices.hunks[hunk].pieces.len();
            let part = if pieces > 1 { format!(", part {} of {pieces}", piece + 1) } else { String::new() };
            let question =
                format!("Accept hunk {} of {}{part}? [y,n,a,d,s,e,q,?] ", hunk + 1, entry.hunks.len());
            match self.ask(&question).await? {
                Answer::Yes => self.state.choices.set_piece(entry, hunk, piece, Choice::In),
                Answer::No => self.state.choices.set_piece(entry, hunk, piece, Choice::Out),
                Answer::Quit => return Ok(Next::Stop),
                answer @ (Answer::All | Answer::None) => {
                    let choice = if answer == Answer::All { Choice::In } else { Choice::Out };
                    self.rest(entry, hunk, piece, choice);
                    return Ok(Next::Go);
                }
                Answer::Split => {
                    if !self.state.choices.split(entry, hunk, piece) {
                        self.line("it cannot be split further")?;
                    }
                    continue;
                }
                Answer::Edit => {
                    if !self.edit(place, entry, hunk).await? {
                        continue;
                    }
                    // What was typed stands for all of the hunk's parts.
                    piece = usize::MAX - 1;
                }
                Answer::Help => {
                    self.line(HELP)?;
                    continue;
                }
            }
            let pieces = self.state.choices.of(entry).hunks[hunk].pieces.len();
            (hunk, piece) = if piece + 1 < pieces { (hunk, piece + 1) } else { (hunk + 1, 0) };
        }
        Ok(Next::Go)
    }

    /// A file without lines.
    async fn whole(&mut self, entry: &v1::DiffEntry) -> Result<Next, Failure> {
        loop {
            match self.ask("Accept this file? [y,n,q,?] ").await? {
                Answer::Yes | Answer::All => self.state.choices.set_files([entry], Choice::In),
                Answer::No | Answer::None => self.state.choices.set_files([entry], Choice::Out),
                Answer::Quit => return Ok(Next::Stop),
                Answer::Help => {
                    self.line(HELP)?;
                    continue;
                }
                Answer::Split | Answer::Edit => {
                    self.line("it has no lines")?;
                    continue;
                }
            }
            return Ok(Next::Go);
        }
    }

    fn rest(&mut self, entry: &v1::DiffEntry, hunk: usize, piece: usize, choice: Choice) {
        let choices = self.state.choices.of(entry);
        for (number, of) in choices.hunks.iter().enumerate().skip(hunk) {
            for part in 0..of.pieces.len() {
                if number > hunk || part >= piece {
                    self.state.choices.set_piece(entry, number, part, choice);
                }
            }
        }
    }

    fn index(&self, entry: &v1::DiffEntry, choices: &FileChoices) -> Index {
        let folded = std::collections::HashSet::new();
        let session = &self.state.session.session;
        Index::build(
            entry,
            choices,
            Plan { side_by_side: false, folded: &folded, width: usize::MAX, session },
        )
    }

    fn show(
        &self,
        entry: &v1::DiffEntry,
        choices: &FileChoices,
        hunk: usize,
        piece: usize,
    ) -> Result<(), Failure> {
        let index = self.index(entry, choices);
        let mut part = entry.hunks[hunk].clone();
        part.lines = index.lines(entry, hunk).to_vec();
        if let Some(piece) = choices.hunks[hunk].pieces.get(piece)
            && !index.is_typed(hunk)
        {
            part.lines = part.lines[piece.lines.clone()].to_vec();
        }
        self.line(diff::hunk(&part, self.context.output.style).trim_end_matches('\n'))
    }

    async fn edit(&mut self, place: usize, entry: &v1::DiffEntry, hunk: usize) -> Result<bool, Failure> {
        let lines = entry.hunks[hunk].lines.iter().filter(|line| line.tag != "-");
        let bytes: Vec<u8> = lines.flat_map(|line| line.text.clone()).collect();
        match editor::edit(self.context, &bytes, &entry.path).await {
            Ok(None) => {
                self.line("not edited")?;
                Ok(false)
            }
            Ok(edited) => {
                self.state.edited(Edited::Hunk(place, hunk), edited);
                Ok(true)
            }
            Err(error) => {
                self.line(&name(error.to_string()))?;
                Ok(false)
            }
        }
    }

    async fn ask(&self, question: &str) -> Result<Answer, Failure> {
        loop {
            let Some(typed) = prompt::ask(self.context, question).await? else { return Ok(Answer::Quit) };
            if let Some(answer) = answer(&typed) {
                return Ok(answer);
            }
        }
    }

    /// What is done with what was accepted.
    async fn decide(mut self) -> Result<End, Failure> {
        let entries = &self.state.document.entries;
        let taken = entries
            .iter()
            .filter(|entry| !matches!(self.state.choices.mark(entry), Mark::All(Choice::Open | Choice::Out)));
        let taken = taken.count() as u64;
        self.line("")?;
        if taken == 0 {
            return self.reject().await;
        }
        loop {
            let request = self.state.preview_request();
            let items = self.client.reviews().preview(request.clone()).await?.into_inner();
            let (header, entries) = decide::collect(items).await?;
            self.state.previewed(request, Purpose::Approve, header, entries);
            let mode = std::mem::replace(&mut self.state.mode, Mode::Review);
            let is_decided = match mode {
                Mode::Approving(approving) => return self.approve(*approving).await,
                Mode::Page(Page { of: Subject::Merged(approving), .. }) => {
                    self.line("With your own edits, this would be written:")?;
                    for line in merged(&approving.entries) {
                        self.line(&line.text)?;
                    }
                    return self.approve(*approving).await;
                }
                Mode::Conflicts(..) => self.conflicts().await?,
                Mode::Findings(_) => self.findings().await?,
                _ => {
                    if let Some((_, text)) = &self.state.message {
                        self.context.output.note(text)?;
                    }
                    false
                }
            };
            if !is_decided {
                return Ok(End::Left);
            }
        }
    }

    async fn conflicts(&mut self) -> Result<bool, Failure> {
        let conflicts: Vec<_> =
            self.state.conflicts().iter().map(|(path, one)| (path.to_vec(), (*one).clone())).collect();
        for (path, conflict) in conflicts {
            if self.state.decision(&path, &conflict).is_some() {
                continue;
            }
            self.line(&format!("{} line {} was changed by you too", name(&path), conflict.line))?;
            for (whose, bytes) in [("ours", &conflict.ours), ("theirs", &conflict.theirs)] {
                self.line(&format!("{whose}:\n{}", escape::bytes(bytes).trim_end_matches('\n')))?;
            }
            let question = "Take [o]urs, [t]heirs, [b]oth, or [q]uit? ";
            let decision = loop {
                match prompt::ask(self.context, question).await?.as_deref().map(str::trim) {
                    Some("o") => break v1::Decision::Ours,
                    Some("t") => break v1::Decision::Theirs,
                    Some("b") if conflict.whole.is_empty() => break v1::Decision::Both,
                    Some("q") | None => return Ok(false),
                    _ => {}
                }
            };
            self.state.resolutions.insert((path, conflict.number), (decision, Vec::new()));
        }
        Ok(true)
    }

    async fn findings(&mut self) -> Result<bool, Failure> {
        let findings: Vec<_> =
            self.state.findings().iter().map(|(path, one)| (path.to_vec(), (*one).clone())).collect();
        for (path, finding) in findings {
            if !finding.holds || self.state.accepted.contains_key(&finding.id) {
                continue;
            }
            let (class, message) = (name(&finding.class), name(&finding.message));
            self.line(&format!("{} line {}: {message} ({class})", name(&path), finding.line))?;
            let question = "Accept it, because (nothing keeps the work for later): ";
            let why = prompt::ask(self.context, question).await?.unwrap_or_default();
            if why.trim().is_empty() {
                return Ok(false);
            }
            self.state.accepted.insert(finding.id, why.trim().to_owned());
        }
        Ok(true)
    }

    /// The daemon's own words, then the digest.
    async fn approve(&self, approving: crate::review::state::Approving) -> Result<End, Failure> {
        let (header, mut entries) = (approving.header, approving.entries);
        entries.iter_mut().for_each(|entry| entry.hunks.clear());
        self.line(&diff::diff(&header, &entries, Depth::Stat, self.context.output.style))?;
        let wanted = header.digest.get(..TYPED).unwrap_or_default();
        let question =
            format!("Type {wanted}, the beginning of the digest, to approve; nothing keeps it for later: ");
        let typed = prompt::ask(self.context, &question).await?.unwrap_or_default();
        if typed.trim() != wanted {
            self.line("nothing was approved")?;
            return Ok(End::Left);
        }
        let request = approving.request;
        let request = v1::ApproveRequest {
            session: request.session,
            digest: header.digest,
            paths: Vec::new(),
            selection: request.selection,
            resolutions: request.resolutions,
            accepted: request.accepted,
            shown: request.shown,
        };
        Ok(End::Approved(Box::new(self.client.reviews().approve(request).await?.into_inner())))
    }

    async fn reject(&self) -> Result<End, Failure> {
        let files = plural(self.state.document.counts.files, "file", "files");
        let question = format!("Nothing of {files} was accepted. Reject the session? [y/N] ");
        let typed = prompt::ask(self.context, &question).await?.unwrap_or_default();
        if !matches!(typed.trim(), "y" | "yes") {
            return Ok(End::Left);
        }
        let why = prompt::ask(self.context, "Because: ").await?.unwrap_or_default().trim().to_owned();
        let go_on =
            !why.is_empty() && prompt::confirm(self.context, "Hand that to the agent to go on?").await?;
        let session = self.state.session.session.clone();
        let reply = self.client.reviews().reject(v1::RejectRequest { session, why, go_on }).await?;
        Ok(End::Rejected(Box::new(reply.into_inner()), go_on))
    }
}

/// What was meant; an empty line is nothing.
fn answer(typed: &str) -> Option<Answer> {
    match typed.trim() {
        "y" => Some(Answer::Yes),
        "n" => Some(Answer::No),
        "a" => Some(Answer::All),
        "d" => Some(Answer::None),
        "s" => Some(Answer::Split),
        "e" => Some(Answer::Edit),
        "q" => Some(Answer::Quit),
        "?" => Some(Answer::Help),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_answer_is_one() {
        let table = [
            ("y\n", Some(Answer::Yes)),
            (" n \n", Some(Answer::No)),
            ("?\n", Some(Answer::Help)),
            ("\n", None),
            ("yes\n", None),
            ("Y\n", None),
            ("y\ny\n", None),
        ];
        for (typed, expected) in table {
            assert_eq!(answer(typed), expected, "{typed:?}");
        }
    }
}
