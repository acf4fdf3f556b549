//! The review as one question after another: for screen readers, and for whoever likes `git add -p`.
//!
//! Owns the words and the order of the questions. Uses the same model as the screen, so that what can be
//! chosen and how it is approved are the same. Nothing moves, nothing is drawn twice.

use std::collections::HashSet;
use std::ops::Range;

use ftl_proto::v1;
use tonic::Streaming;

use crate::connect::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::prompt;
use crate::render::diff::{self, Depth};
use crate::render::escape::name;
use crate::render::measure::plural;
use crate::render::style::Tone;
use crate::review::choice::{Choice, FileChoices, Mark};
use crate::review::document::{Row, Section, section};
use crate::review::page::{Page, Subject};
use crate::review::rows::{Index, Plan};
use crate::review::state::{Edited, Mode, Purpose, State};
use crate::review::update::{TYPED, merged};
use crate::review::{End, editor, remote};

mod answers;
mod asides;

use self::answers::{Answer, HELP, answer};

struct Plain<'a> {
    context: &'a Context,
    client: &'a Client,
    state: State,
}

/// Which hunk of which file is asked about, and which part of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct At {
    file: usize,
    hunk: usize,
    piece: usize,
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
    match plain.walk().await? {
        Some(end) => Ok(end),
        None => plain.decide().await,
    }
}

// === impl Plain ===

impl Plain<'_> {
    fn line(&self, text: &str) -> Result<(), Failure> {
        self.context.output.line(text)
    }

    /// The entries in the order of the list.
    fn places(&self) -> Vec<usize> {
        let rows = self.state.document.rows(&HashSet::new());
        rows.iter()
            .filter_map(|row| if let Row::File(place, _) = row { Some(*place) } else { None })
            .collect()
    }

    /// One question after the other; an end when the session was rejected meanwhile.
    async fn walk(&mut self) -> Result<Option<End>, Failure> {
        let (mut places, mut at, mut told) = (self.places(), At::default(), None);
        while let Some(place) = places.get(at.file).copied() {
            let entry = self.state.document.entries[place].clone();
            if told.replace(at.file) != Some(at.file) {
                self.introduce(&entry, &format!("file {} of {}", at.file + 1, places.len()))?;
            }
            if section(&entry) == Section::Refused {
                at = At { file: at.file + 1, ..At::default() };
                continue;
            }
            let answer = self.asked(&entry, at).await?;
            at = match answer {
                Answer::Quit => return Ok(None),
                Answer::Reject => match self.reject("Reject the session?").await? {
                    End::Left => at,
                    end => return Ok(Some(end)),
                },
                Answer::Reload => {
                    self.reload().await?;
                    (places, told) = (self.places(), None);
                    At::default()
                }
                Answer::Edit if !entry.hunks.is_empty() => {
                    match self.edit(place, &entry, at.hunk).await? {
                        // What was typed stands for all of the hunk's parts.
                        true => self.after(&entry, At { piece: usize::MAX - 1, ..at }),
                        false => at,
                    }
                }
                Answer::Back
                | Answer::NextFile
                | Answer::FileBefore
                | Answer::File(_)
                | Answer::Search(_) => self.moved(&places, at, answer)?,
                Answer::Findings
                | Answer::Conflicts
                | Answer::Origins
                | Answer::Ledger
                | Answer::Inquire
                | Answer::Test
                | Answer::Help => {
                    self.aside(&entry, at, &answer).await?;
                    at
                }
                answer => self.chosen(&entry, at, answer)?,
            };
        }
        Ok(None)
    }

    fn introduce(&self, entry: &v1::DiffEntry, of: &str) -> Result<(), Failure> {
        let heading = format!("{of}: {}", diff::heading(entry));
        self.line("")?;
        self.line(&self.context.output.style.paint(Tone::Heading, &heading))?;
        let choices = self.state.choices.of(entry);
        self.index(entry, &choices).facts.iter().try_for_each(|fact| self.line(&format!("  {}", fact.text)))
    }

    /// Shows what is asked about, and asks.
    async fn asked(&self, entry: &v1::DiffEntry, at: At) -> Result<Answer, Failure> {
        if entry.hunks.is_empty() {
            return self.ask("Accept this file? [y,n,q,?] ").await;
        }
        let choices = self.state.choices.of(entry);
        self.show(entry, &choices, at.hunk, at.piece)?;
        let pieces = choices.hunks[at.hunk].pieces.len();
        let part = if pieces > 1 { format!(", part {} of {pieces}", at.piece + 1) } else { String::new() };
        let of = entry.hunks.len();
        self.ask(&format!("Accept hunk {} of {of}{part}? [y,n,a,d,s,e,q,?] ", at.hunk + 1)).await
    }

    /// Does what chooses something; where to go on.
    fn chosen(&mut self, entry: &v1::DiffEntry, at: At, answer: Answer) -> Result<At, Failure> {
        let next_file = At { file: at.file + 1, ..At::default() };
        match answer {
            Answer::Undo => {
                if !self.state.choices.undo() {
                    self.line("nothing was chosen before")?;
                }
                self.state.resolutions.clear();
                // Its parts may be others now.
                return Ok(At { piece: 0, ..at });
            }
            Answer::Everything => {
                self.state.accept_all();
                self.complaint()?;
                return Ok(at);
            }
            Answer::Next => return Ok(self.after(entry, at)),
            _ => {}
        }
        self.state.touched(&entry.path);
        if entry.hunks.is_empty() {
            match answer {
                Answer::Yes | Answer::All => self.state.choices.set_files([entry], Choice::In),
                Answer::No | Answer::None => self.state.choices.set_files([entry], Choice::Out),
                _ => {
                    self.line("it has no lines")?;
                    return Ok(at);
                }
            }
            return Ok(next_file);
        }
        match answer {
            Answer::Yes => self.state.choices.set_piece(entry, at.hunk, at.piece, Choice::In),
            Answer::No => self.state.choices.set_piece(entry, at.hunk, at.piece, Choice::Out),
            Answer::All | Answer::None => {
                let choice = if answer == Answer::All { Choice::In } else { Choice::Out };
                self.rest(entry, at.hunk, at.piece, choice);
                return Ok(next_file);
            }
            Answer::Lines(lines) => return self.lines(entry, at, lines),
            _ => {
                if !self.state.choices.split(entry, at.hunk, at.piece) {
                    self.line("it cannot be split further; l 2-4 takes single lines")?;
                }
                return Ok(at);
            }
        }
        Ok(self.after(entry, at))
    }

    /// Accepts some of the lines that are shown, and goes to the first of the others.
    fn lines(&mut self, entry: &v1::DiffEntry, at: At, lines: Range<usize>) -> Result<At, Failure> {
        let choices = self.state.choices.of(entry);
        let Some(shown) = choices.hunks[at.hunk].pieces.get(at.piece).map(|piece| piece.lines.clone()) else {
            return Ok(at);
        };
        if lines.end > shown.len() || self.index(entry, &choices).is_typed(at.hunk) {
            self.line(&format!("there are lines 1 to {}", shown.len()))?;
            return Ok(at);
        }
        let lines = shown.start + lines.start..shown.start + lines.end;
        self.state.choices.set_lines(entry, at.hunk, lines, Choice::In);
        let pieces = &self.state.choices.of(entry).hunks[at.hunk].pieces;
        Ok(match pieces.iter().position(|piece| piece.choice == Choice::Open) {
            Some(piece) => At { piece, ..at },
            None => self.after(entry, At { piece: usize::MAX - 1, ..at }),
        })
    }

    /// The part behind this one.
    fn after(&self, entry: &v1::DiffEntry, at: At) -> At {
        let choices = self.state.choices.of(entry);
        let pieces = choices.hunks.get(at.hunk).map_or(0, |hunk| hunk.pieces.len());
        if at.piece + 1 < pieces {
            return At { piece: at.piece + 1, ..at };
        }
        match at.hunk + 1 < entry.hunks.len() {
            true => At { hunk: at.hunk + 1, piece: 0, ..at },
            false => At { file: at.file + 1, ..At::default() },
        }
    }

    /// Where an answer leads that decides nothing.
    fn moved(&self, places: &[usize], at: At, answer: Answer) -> Result<At, Failure> {
        let entries = &self.state.document.entries;
        let is_open = |file: &usize| {
            places.get(*file).is_some_and(|place| section(&entries[*place]) != Section::Refused)
        };
        let first = |file| At { file, ..At::default() };
        let found = match answer {
            Answer::Back if at.piece > 0 => Some(At { piece: at.piece - 1, ..at }),
            Answer::Back if at.hunk > 0 => Some(At { hunk: at.hunk - 1, piece: 0, ..at }),
            Answer::Back => (0..at.file).rev().find(is_open).map(|file| {
                let hunks = entries[places[file]].hunks.len();
                At { file, hunk: hunks.saturating_sub(1), piece: 0 }
            }),
            Answer::FileBefore => (0..at.file).rev().find(is_open).map(first),
            Answer::NextFile => (at.file + 1..places.len()).find(is_open).map(first),
            Answer::File(file) => Some(file).filter(is_open).map(first),
            Answer::Search(words) => {
                let has = |entry: &v1::DiffEntry, hunk: usize| {
                    let mut lines = entry.hunks[hunk].lines.iter();
                    lines.any(|line| String::from_utf8_lossy(&line.text).contains(&words))
                };
                let mut files = (at.file..places.len()).filter(is_open);
                files.find_map(|file| {
                    let entry = &entries[places[file]];
                    let from = if file == at.file { at.hunk + 1 } else { 0 };
                    let hunk = (from..entry.hunks.len()).find(|hunk| has(entry, *hunk))?;
                    Some(At { file, hunk, piece: 0 })
                })
            }
            _ => Some(at),
        };
        if found.is_none() {
            self.line("there is none")?;
        }
        Ok(found.unwrap_or(at))
    }

    /// Shows something, and changes nothing of what was chosen.
    async fn aside(&mut self, entry: &v1::DiffEntry, at: At, answer: &Answer) -> Result<(), Failure> {
        match answer {
            Answer::Findings => self.findings(true).await.map(drop),
            Answer::Conflicts => self.show_conflicts().await,
            Answer::Origins => self.origins(entry, at.hunk).await,
            Answer::Ledger => self.ledger().await,
            Answer::Inquire => self.inquire(entry, at.hunk).await,
            Answer::Test => self.test().await,
            _ => self.line(HELP),
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
        let folded = HashSet::new();
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
            let files = plural(self.state.document.counts.files, "file", "files");
            return self.reject(&format!("Nothing of {files} was accepted. Reject the session?")).await;
        }
        loop {
            let is_decided = match self.look_ahead(Purpose::Approve).await? {
                Mode::Approving(approving) => return self.approve(*approving).await,
                Mode::Page(Page { of: Subject::Merged(approving), .. }) => {
                    self.line("With your own edits, this would be written:")?;
                    for line in merged(&approving.entries) {
                        self.line(&line.text)?;
                    }
                    return self.approve(*approving).await;
                }
                Mode::Conflicts(..) => self.conflicts(false).await?,
                Mode::Findings(_) => self.findings(false).await?,
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

    /// Asks whether to reject the session; [`End::Left`] when not.
    async fn reject(&self, question: &str) -> Result<End, Failure> {
        let typed = prompt::ask(self.context, &format!("{question} [y/N] ")).await?.unwrap_or_default();
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
