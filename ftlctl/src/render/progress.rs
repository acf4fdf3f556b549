//! How far a turn is: what runs now and for how long, how often each tool ran, tokens and cost so far.
//!
//! Owns what the status line says, and the sparse lines that stand for it where nothing can move. Must not know
//! the terminal or the clock: events and the present come in, text goes out. What names an agent's doing is
//! escaped.

use ftl_proto::v1;
use ftl_proto::v1::event::Kind;

use crate::render::measure::{self, count};
use crate::render::{escape, surface};

/// Characters of a tool's detail that are shown.
const DETAIL: usize = 120;

/// Silence that is worth a word in the status line.
const QUIET_US: i64 = 10_000_000;

/// Silence before the first line that says so where nothing moves; each further one takes twice as long.
const BEAT_US: i64 = 60_000_000;

/// The most between two such lines.
const LONGEST_BEAT_US: i64 = 600_000_000;

/// Columns that the present activity keeps before what else is told has to go.
const ACTIVITY: usize = 36;

/// Columns of what stands between two parts, as [`surface::fit`] counts them.
const BETWEEN: usize = 4;

/// A tool or a stage that runs.
pub(crate) struct Running {
    id: String,
    /// What it is, escaped.
    pub(crate) label: String,
    since_us: i64,
}

/// How far a turn is.
#[derive(Default)]
pub(crate) struct Progress {
    /// Tools that run, oldest first.
    tools: Vec<Running>,
    stage: Option<Running>,
    /// When the turn began.
    began_us: Option<i64>,
    /// How often each tool was begun in this turn, in the order of their first use.
    counts: Vec<(String, u64)>,
    /// What this turn has cost so far, and what the turns before it did.
    usage: v1::Usage,
    before: v1::Usage,
    /// When anything was heard last.
    heard_us: Option<i64>,
    /// When silence is told next, and how long after that again.
    beat: Option<(i64, i64)>,
}

// === impl Progress ===

impl Progress {
    /// Takes note of an event.
    pub(crate) fn event(&mut self, event: &v1::Event) {
        let Some(kind) = &event.kind else { return };
        self.heard_us = Some(event.time_us);
        self.beat = Some((event.time_us.saturating_add(BEAT_US), BEAT_US));
        match kind {
            Kind::TurnStarted(_) => {
                self.began_us = Some(event.time_us);
                self.counts.clear();
                self.before = sum(self.before, std::mem::take(&mut self.usage));
            }
            Kind::Usage(usage) => self.usage = *usage,
            Kind::ToolStarted(tool) => self.started(tool, event.time_us),
            Kind::StateChanged(change) => self.state(change.state(), event.time_us),
            _ => {}
        }
    }

    /// The tool that ended, if it was seen to begin.
    pub(crate) fn ended(&mut self, tool: &v1::ToolFinished) -> Option<Running> {
        let index = self.tools.iter().position(|running| running.id == tool.id)?;
        Some(self.tools.remove(index))
    }

    /// Tools whose end nobody told.
    pub(crate) fn unfinished(&mut self) -> Vec<Running> {
        std::mem::take(&mut self.tools)
    }

    /// Nothing is watched any more.
    pub(crate) fn rest(&mut self) {
        self.tools.clear();
        self.stage = None;
        self.beat = None;
    }

    /// What the status line says, at most `columns - 1` wide; nothing while nothing runs.
    pub(crate) fn status(&self, now_us: i64, columns: usize) -> Option<String> {
        let activity = self.activity(now_us)?;
        // What comes first in this list goes last when there is no room.
        let total = self.began_us.map(|began| format!("turn {}", elapsed(began, now_us)));
        let parts = [self.cost(), total, self.tokens(), self.tally()];
        let mut room = columns.saturating_sub(1 + ACTIVITY.min(double(&activity)));
        let mut shown = Vec::new();
        for part in parts.into_iter().flatten() {
            let wanted = double(&part) + BETWEEN;
            if wanted > room {
                break;
            }
            room -= wanted;
            shown.push(part);
        }
        let taken: usize = shown.iter().map(|part| double(part) + BETWEEN).sum();
        let mut line = shorten(&activity, columns.saturating_sub(1 + taken));
        // Counters stand beside what they count.
        for part in shown.iter().rev() {
            line += " · ";
            line += part;
        }
        Some(surface::fit(&line, columns))
    }

    /// A line that says that it still goes on, where nothing moves and nothing was said for long.
    pub(crate) fn beat(&mut self, now_us: i64) -> Option<String> {
        let (due, after) = self.beat?;
        let running = self.tools.last().or(self.stage.as_ref())?;
        if now_us < due {
            return None;
        }
        let after = after.saturating_mul(2).min(LONGEST_BEAT_US);
        self.beat = Some((now_us.saturating_add(after), after));
        let quiet = elapsed(self.heard_us?, now_us);
        Some(format!("still at it: {}, nothing said for {quiet}", running.label))
    }

    fn started(&mut self, tool: &v1::ToolStarted, now_us: i64) {
        let name = escape::summary(&tool.name, 40);
        let label = format!("{name}  {}", escape::summary(&tool.detail, DETAIL));
        match self.counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, number)) => *number += 1,
            None => self.counts.push((name, 1)),
        }
        let label = label.trim_end().to_owned();
        self.tools.push(Running { id: tool.id.clone(), label, since_us: now_us });
    }

    fn state(&mut self, state: v1::State, now_us: i64) {
        let label = match state {
            v1::State::Created => Some("waiting to begin"),
            v1::State::Snapshotting => Some("reading the project"),
            v1::State::Starting => Some("building the sandbox"),
            v1::State::Working => Some("working"),
            v1::State::Capturing => Some("comparing"),
            v1::State::Applying => Some("applying"),
            v1::State::Unspecified
            | v1::State::AwaitingReview
            | v1::State::NoChanges
            | v1::State::Merged
            | v1::State::Rejected
            | v1::State::Failed => None,
        };
        self.stage =
            label.map(|label| Running { id: String::new(), label: label.to_owned(), since_us: now_us });
    }

    /// What runs now: the newest tool, else the stage.
    fn activity(&self, now_us: i64) -> Option<String> {
        let Some(tool) = self.tools.last() else {
            let stage = self.stage.as_ref()?;
            let heard = self.heard_us.unwrap_or(now_us);
            let quiet = now_us.saturating_sub(heard) >= QUIET_US && heard > stage.since_us;
            let quiet = if quiet { format!(", quiet {}", elapsed(heard, now_us)) } else { String::new() };
            return Some(format!("… {}{quiet}{}", stage.label, for_how_long(stage.since_us, now_us)));
        };
        let others = match self.tools.len() - 1 {
            0 => String::new(),
            others => format!(" (+{others})"),
        };
        Some(format!("… {}{others}{}", tool.label, for_how_long(tool.since_us, now_us)))
    }

    fn tally(&self) -> Option<String> {
        let one = |(name, number): &(String, u64)| format!("{name} {}", count(*number));
        let counts: Vec<String> = self.counts.iter().map(one).collect();
        (!counts.is_empty()).then(|| counts.join(", "))
    }

    fn tokens(&self) -> Option<String> {
        let all = sum(self.before, self.usage);
        (all.input_tokens + all.output_tokens > 0).then(|| {
            format!("{} in, {} out", measure::brief(all.input_tokens), measure::brief(all.output_tokens))
        })
    }

    fn cost(&self) -> Option<String> {
        let all = sum(self.before, self.usage);
        (all.cost_micro_usd > 0).then(|| measure::cost(all.cost_micro_usd))
    }
}

/// Two usages together.
pub(crate) fn sum(one: v1::Usage, other: v1::Usage) -> v1::Usage {
    v1::Usage {
        input_tokens: one.input_tokens.saturating_add(other.input_tokens),
        output_tokens: one.output_tokens.saturating_add(other.output_tokens),
        cost_micro_usd: one.cost_micro_usd.saturating_add(other.cost_micro_usd),
    }
}

/// Below a second a number would only flicker.
fn for_how_long(since_us: i64, now_us: i64) -> String {
    if now_us.saturating_sub(since_us) < 1_000_000 {
        String::new()
    } else {
        format!("  {}", elapsed(since_us, now_us))
    }
}

fn elapsed(since_us: i64, now_us: i64) -> String {
    measure::elapsed(u64::try_from(now_us.saturating_sub(since_us)).unwrap_or(0))
}

/// Columns that a text surely fits into, as [`surface::fit`] counts them.
fn double(text: &str) -> usize {
    text.chars().map(|char| if char.is_ascii() { 1 } else { 2 }).sum()
}

/// The activity in this room: what is cut is the middle, so that the time at its end stays.
fn shorten(activity: &str, room: usize) -> String {
    if double(activity) <= room {
        return activity.to_owned();
    }
    let (label, time) =
        activity.rsplit_once("  ").filter(|(_, time)| time.len() < 16).unwrap_or((activity, ""));
    let time = if time.is_empty() { String::new() } else { format!("  {time}") };
    // One more column, which `fit` keeps free, and two for the dots.
    format!("{}…{time}", surface::fit(label, room.saturating_sub(double(&time) + 1)))
}

#[cfg(test)]
mod tests;
