//! A session's events as they pass, for people.
//!
//! Owns which event becomes which line; what the status line says is `progress`'s. Must not know the terminal:
//! it hands out pieces of text, and the present is an argument. What a sandboxed program says stands
//! behind a bar, so that it can never pass for a line of FTL's own.

use std::collections::HashMap;

use ftl_proto::v1;
use ftl_proto::v1::event::Kind;

use crate::render::measure::{count, duration, plural};
use crate::render::progress::Progress;
use crate::render::style::{Style, Tone};
use crate::render::{check, egress, escape, json, measure};

/// Something to print. Its text is escaped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A whole line of our own.
    Line(String),
    /// Whole lines of a sandboxed program, each behind a bar.
    Said(String),
    /// Text of a sandboxed program that goes on where the last text ended, each line behind a bar.
    Text(String),
}

/// What has been seen of a session and is not yet told.
pub(crate) struct View {
    style: Style,
    /// What a stage's line will say besides its time, by stage.
    details: HashMap<String, String>,
    /// What runs, and what it has cost.
    progress: Progress,
    /// Output since the last newline: standard output, standard error.
    partial: [Vec<u8>; 2],
    /// Whether the agent has said anything in this turn.
    spoke: bool,
    /// How the agent ended, if that was told and is a state's reason too.
    ending: String,
    /// Whether the agent's streamed text stands in the middle of a line.
    midline: bool,
    /// What waits for the human, by the question's number.
    asks: HashMap<u64, String>,
    /// Whether the human is asked here.
    answers: bool,
    /// Whether work that waits is shown to the human next, with what left the sandbox beside it.
    reviewed: bool,
    /// What left the sandbox, as long as it is not known whether that will be shown.
    totals: Option<String>,
}

/// Output without a newline that is held back at most.
const PARTIAL: usize = 16 * 1024;

/// Characters of a failed agent's message that are shown.
const MESSAGE: usize = 2000;

/// Characters of a tool's detail that are shown.
const DETAIL: usize = 120;

/// Secret files that are named; the rest is counted.
const SECRETS: usize = 4;

// === impl View ===

impl View {
    /// A view of a session of which nothing was seen.
    pub(crate) fn new(style: Style) -> Self {
        Self {
            style,
            details: HashMap::new(),
            progress: Progress::default(),
            partial: [Vec::new(), Vec::new()],
            spoke: false,
            ending: String::new(),
            midline: false,
            asks: HashMap::new(),
            answers: false,
            reviewed: false,
            totals: None,
        }
    }

    /// Says whether work that waits is shown next, with what left the sandbox: then this view does not say it.
    pub(crate) fn set_reviewed(&mut self, reviewed: bool) {
        self.reviewed = reviewed;
    }

    /// Says whether what waits for the human is asked beside this view; if not, it names the command.
    pub(crate) fn set_answers(&mut self, answers: bool) {
        self.answers = answers;
    }

    /// What the status line says now, at most `columns - 1` wide.
    pub(crate) fn status(&self, now_us: i64, columns: usize) -> Option<String> {
        self.progress.status(now_us, columns)
    }

    /// A line that stands for the status line where nothing moves, when nothing was said for long.
    pub(crate) fn beat(&mut self, now_us: i64) -> Option<Piece> {
        let beat = self.progress.beat(now_us)?;
        Some(self.line(Tone::Faint, &beat))
    }

    /// Something else was printed: a text that goes on begins a line, behind a bar of its own.
    pub(crate) fn broke_off(&mut self) {
        self.midline = false;
    }

    /// What to print when nothing more comes.
    pub(crate) fn end(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        self.flush(&mut pieces);
        self.progress.rest();
        pieces.extend(self.totals.take().map(Piece::Line));
        pieces
    }

    /// What to print about an event.
    pub(crate) fn event(&mut self, event: &v1::Event) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let Some(kind) = &event.kind else { return pieces };
        self.progress.event(event);
        if let Kind::Output(output) = kind {
            self.output(output, &mut pieces);
            return pieces;
        }
        self.flush(&mut pieces);
        self.midline &= matches!(kind, Kind::AgentText(_) | Kind::Usage(_) | Kind::ToolStarted(_));
        match kind {
            Kind::Output(_) => {}
            Kind::AgentText(e) => self.agent_text(e, &mut pieces),
            Kind::ToolStarted(_) => {}
            Kind::StateChanged(e) => self.state_changed(e, &mut pieces),
            Kind::TurnStarted(e) => {
                self.spoke = false;
                if e.turn > 1 {
                    let task = escape::summary(&e.text, DETAIL);
                    pieces.push(self.line(Tone::Heading, &format!("turn {}: {task}", e.turn)));
                }
            }
            Kind::Usage(e) => self.usage(e),
            Kind::ToolFinished(e) => pieces.extend(self.tool_finished(e)),
            Kind::StageFinished(e) => pieces.push(self.stage_finished(e)),
            Kind::SnapshotTaken(e) => self.snapshot_taken(e, &mut pieces),
            Kind::SandboxReady(e) => self.sandbox_ready(e, &mut pieces),
            Kind::AgentFinished(e) => pieces.extend(self.agent_finished(e)),
            Kind::WorkCaptured(e) => self.work_captured(e),
            // `sessions --checkpoints` lists them; there is one after every turn.
            Kind::Checkpointed(_) => {}
            Kind::EgressAsked(e) => pieces.push(self.egress_asked(&event.session, e)),
            Kind::EgressAnswered(e) => pieces.push(self.egress_answered(e)),
            Kind::EgressTotals(e) => {
                self.totals = egress::totals(e);
                if !self.reviewed {
                    pieces.extend(self.totals.take().map(Piece::Line));
                }
            }
            Kind::SessionCreated(_)
            | Kind::Notice(_)
            | Kind::Approved(_)
            | Kind::Applied(_)
            | Kind::Undone(_)
            | Kind::Rejected(_)
            | Kind::Rewound(_)
            | Kind::Branched(_)
            | Kind::ChecksBegun(_)
            | Kind::CheckEnded(_)
            | Kind::ChecksEnded(_)
            | Kind::TestsAsked(_)
            | Kind::TestsWritten(_)
            | Kind::TestsNotWritten(_)
            | Kind::FixAsked(_)
            | Kind::EgressRefused(_)
            | Kind::CredentialUsed(_) => pieces.push(self.fact(&event.session, kind)),
        }
        pieces
    }

    /// An event that is one line and nothing else.
    fn fact(&self, session: &str, kind: &Kind) -> Piece {
        match kind {
            Kind::SessionCreated(e) => {
                let (agent, sandbox) = (escape::name(&e.agent), escape::name(&e.sandbox));
                let rest = format!("{agent} · {sandbox} · {}", escape::name(&e.project));
                self.line(Tone::Heading, &format!("session {} · {rest}", escape::name(session)))
            }
            Kind::Notice(e) if e.level == "warning" => {
                self.line(Tone::Warning, &format!("warning: {}", escape::name(&e.text)))
            }
            Kind::Notice(e) => Piece::Line(format!("note: {}", escape::name(&e.text))),
            Kind::Approved(e) if e.paths.is_empty() => Piece::Line(format!("approved {}", short(&e.digest))),
            Kind::Approved(e) => Piece::Line(format!(
                "approved {} of {}",
                plural(e.paths.len() as u64, "path", "paths"),
                short(&e.digest)
            )),
            Kind::Applied(e) => {
                let paths = plural(e.paths, "path", "paths");
                self.line(Tone::Good, &format!("applied {paths} ({})", escape::name(&e.apply)))
            }
            Kind::Undone(e) => Piece::Line(format!(
                "undone {} ({})",
                plural(e.paths, "path", "paths"),
                escape::name(&e.apply)
            )),
            Kind::Rejected(e) if e.why.is_empty() => Piece::Line("rejected".to_owned()),
            Kind::Rejected(e) => Piece::Line(format!("rejected: {}", escape::name(&e.why))),
            Kind::Rewound(e) => Piece::Line(format!("went back from checkpoint {} to {}", e.from, e.to)),
            Kind::Branched(e) => {
                Piece::Line(format!("branched off {}@{}", escape::name(&e.from), e.checkpoint))
            }
            Kind::ChecksBegun(e) => Piece::Line(check::begun(e)),
            Kind::CheckEnded(e) => Piece::Line(check::ended(e, self.style)),
            Kind::ChecksEnded(e) => Piece::Line(check::word(e, self.style)),
            Kind::EgressRefused(e) => Piece::Line(egress::refused(e, self.style)),
            Kind::CredentialUsed(e) => self.line(Tone::Faint, &egress::used(e)),
            other => Piece::Line(check::generated(other, self.style).unwrap_or_default()),
        }
    }

    fn egress_asked(&mut self, session: &str, asked: &v1::EgressAsked) -> Piece {
        self.asks.insert(asked.ask, egress::target(&asked.method, &asked.authority, &asked.path));
        let mut line = self.style.paint(Tone::Warning, &egress::asked(asked));
        if !self.answers {
            line += &format!("\n  answer: {}", egress::answer_command(session, asked.ask));
        }
        Piece::Line(line)
    }

    fn egress_answered(&mut self, answered: &v1::EgressAnswered) -> Piece {
        let target = self.asks.remove(&answered.ask).unwrap_or_else(|| format!("question {}", answered.ask));
        let (tone, line) = egress::answered(&target, &answered.answer);
        self.line(tone, &line)
    }

    fn line(&self, tone: Tone, text: &str) -> Piece {
        Piece::Line(self.style.paint(tone, text))
    }

    fn output(&mut self, output: &v1::Output, pieces: &mut Vec<Piece>) {
        let partial = &mut self.partial[usize::from(output.stderr)];
        partial.extend_from_slice(&output.data);
        while let Some(end) = partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = partial.drain(..=end).collect();
            pieces.push(said(self.style, &line[..end]));
        }
        if partial.len() > PARTIAL {
            pieces.push(said(self.style, &std::mem::take(partial)));
        }
        self.midline = false;
    }

    fn flush(&mut self, pieces: &mut Vec<Piece>) {
        for partial in &mut self.partial {
            if !partial.is_empty() {
                pieces.push(said(self.style, &std::mem::take(partial)));
            }
        }
    }

    fn agent_text(&mut self, text: &v1::AgentText, pieces: &mut Vec<Piece>) {
        self.spoke |= !text.text.is_empty();
        let mut shown = String::new();
        for line in escape::text(&text.text).split_inclusive('\n') {
            if !self.midline {
                shown += &bar(self.style);
            }
            shown += line;
            self.midline = !line.ends_with('\n');
        }
        if !text.fragment && self.midline {
            shown.push('\n');
            self.midline = false;
        }
        if !shown.is_empty() {
            pieces.push(Piece::Text(shown));
        }
    }

    fn tool_finished(&mut self, tool: &v1::ToolFinished) -> Option<Piece> {
        let running = self.progress.ended(tool)?;
        let mark =
            if tool.ok { self.style.paint(Tone::Good, "✓") } else { self.style.paint(Tone::Bad, "✗") };
        let elapsed = self.style.paint(Tone::Faint, &duration(tool.elapsed_us));
        Some(Piece::Line(format!("{mark} {}  {elapsed}", running.label)))
    }

    fn state_changed(&mut self, change: &v1::StateChanged, pieces: &mut Vec<Piece>) {
        for tool in self.progress.unfinished() {
            pieces.push(self.line(Tone::Faint, &format!("· {}  (its end was not told)", tool.label)));
        }
        match change.state() {
            v1::State::AwaitingReview => self.totals = None,
            v1::State::NoChanges | v1::State::Merged | v1::State::Rejected | v1::State::Failed => {
                pieces.extend(self.totals.take().map(Piece::Line));
            }
            _ => {}
        }
        // What was told as the agent's end is not told again as the reason of the state after it.
        if !change.reason.is_empty() && change.reason != std::mem::take(&mut self.ending) {
            let tone = if change.state() == v1::State::Failed { Tone::Bad } else { Tone::Warning };
            let state = json::state(change.state()).replace('_', " ");
            pieces.push(self.line(tone, &format!("{state}: {}", escape::name(&change.reason))));
        }
    }

    fn stage_finished(&mut self, stage: &v1::StageFinished) -> Piece {
        let time = duration(stage.elapsed_us);
        let name = self.style.paint(Tone::Heading, &escape::name(&stage.stage));
        match self.details.remove(&stage.stage) {
            Some(detail) => Piece::Line(format!("{name} {time} · {detail}")),
            None => Piece::Line(format!("{name} {time}")),
        }
    }

    fn snapshot_taken(&mut self, snapshot: &v1::SnapshotTaken, pieces: &mut Vec<Piece>) {
        let mut detail = plural(snapshot.files, "file", "files");
        if snapshot.ignored > 0 {
            detail += &format!(" · {} ignored", count(snapshot.ignored));
        }
        self.details.insert("snapshot".to_owned(), detail);
        for secret in snapshot.secrets.iter().take(SECRETS) {
            let path = escape::name(&secret.path);
            pieces.push(self.line(Tone::Warning, &format!("secret left out: {path} ({})", rule(secret))));
        }
        if let Some(more @ 1..) = snapshot.secrets.len().checked_sub(SECRETS) {
            let told = format!("{} more (`ftlctl snapshots create` lists them)", count(more as u64));
            pieces.push(self.line(Tone::Warning, &format!("secret left out: {told}")));
        }
        for unreadable in &snapshot.unreadable {
            let path = escape::name(&unreadable.path);
            let why = escape::name(&unreadable.rule);
            pieces.push(self.line(Tone::Warning, &format!("not readable: {path} ({why})")));
        }
    }

    fn sandbox_ready(&mut self, sandbox: &v1::SandboxReady, pieces: &mut Vec<Piece>) {
        self.details.insert("sandbox".to_owned(), escape::name(&sandbox.backend));
        for limit in &sandbox.unenforced {
            pieces.push(self.line(Tone::Warning, &format!("not enforced: {}", escape::name(limit))));
        }
    }

    fn usage(&mut self, usage: &v1::Usage) {
        let mut detail =
            format!("{} tokens in, {} out", count(usage.input_tokens), count(usage.output_tokens));
        if usage.cost_micro_usd > 0 {
            detail += &format!(" · {}", measure::cost(usage.cost_micro_usd));
        }
        self.details.insert("agent".to_owned(), detail);
    }

    fn agent_finished(&mut self, end: &v1::AgentFinished) -> Option<Piece> {
        let message = escape::summary(&end.message, MESSAGE);
        if end.ok && end.exit_code == 0 {
            // What was streamed already is not said twice.
            let untold = !self.spoke && !message.is_empty();
            return untold.then(|| said(self.style, end.message.trim_end().as_bytes()));
        }
        let separator = if message.is_empty() { "" } else { ": " };
        let status = format!("the agent ended with status {}{separator}{message}", end.exit_code);
        self.ending.clone_from(&status);
        Some(self.line(Tone::Bad, &status))
    }

    fn work_captured(&mut self, work: &v1::WorkCaptured) {
        let mut detail = plural(work.entries, "change", "changes");
        for (number, what) in [(work.refused, "refused"), (work.ignored, "ignored")] {
            if number > 0 {
                detail += &format!(" · {} {what}", count(number));
            }
        }
        self.details.insert("diff".to_owned(), detail);
    }
}

/// Which rule left a path out, and where it stands.
pub(crate) fn rule(excluded: &v1::Exclusion) -> String {
    let (rule, source) = (escape::name(&excluded.rule), escape::name(&excluded.source));
    if source == "built in" { format!("{rule}, built in") } else { format!("{rule} in {source}") }
}

/// What a sandboxed program said, every line behind a bar.
pub(crate) fn said(style: Style, bytes: &[u8]) -> Piece {
    let shown = escape::bytes(bytes);
    let lines: Vec<String> = shown.split('\n').map(|line| bar(style) + line).collect();
    Piece::Said(lines.join("\n"))
}

/// What every line of a sandboxed program begins with.
pub(crate) fn bar(style: Style) -> String {
    style.paint(Tone::Faint, "│ ")
}

/// The first characters of a digest, as people compare them.
pub(crate) fn short(digest: &str) -> String {
    escape::name(digest.chars().take(12).collect::<String>())
}

#[cfg(test)]
mod tests;
