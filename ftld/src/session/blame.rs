//! Where a change comes from: the turns that made each hunk, the tool calls that name its file, and what
//! had been fetched from the network by then.
//!
//! Owns how checkpoints, events and the ledger are put together for one path. Must not decide which turn a
//! line is of; [`ftl_core::blame`] does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::ops::ControlFlow;
use std::sync::Arc;

use ftl_core::blame::{self, Call, Version};
use ftl_core::diff::Change;
use ftl_core::event::Kind;
use ftl_core::hunk::{Hunks, Limits, hunks};
use ftl_core::id::{Hash, SessionId};
use ftl_core::review::{ApproveRefused, Review};
use ftl_core::tree::{Node, RelPath};

use super::appraise::Appraiser;
use super::decide::blocking;
use super::outlet::{Wanted, rows};
use super::record::Record;
use super::{Error, Sessions};
use crate::app::Parts;

/// Where the project stands for an agent.
const WORKSPACE: &str = "/workspace";
/// Turns, calls and hosts that are listed of one origin.
pub const LISTED: usize = 100;
/// Events that are read at a time.
const EVENTS: usize = 1000;

/// One hunk, or a change without hunks. Hunks of the same turns share what is known of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfHunk {
    /// The hunk's id; `None` for a change as a whole.
    pub hunk: Option<String>,
    /// Where it comes from.
    pub origin: Arc<Origin>,
}

/// Where something comes from. Every list is cut at [`LISTED`]; the numbers beside them are of all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The last of the turns that made it, each with its instruction.
    pub turns: Vec<(u32, String)>,
    /// How many there are.
    pub turns_total: usize,
    /// The first of the tool calls of these turns that name the file.
    pub calls: Vec<Call>,
    /// How many there are.
    pub calls_total: usize,
    /// How many other calls these turns made: any of them may have written the file.
    pub others: usize,
    /// What had been fetched when the last of them was over: the first by host.
    pub fetched: Vec<Fetched>,
    /// How many hosts there are.
    pub fetched_total: usize,
}

/// A host that was reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// Host and port.
    pub authority: String,
    /// How many requests went there by then.
    pub requests: u64,
    /// When the first of them did, microseconds since the Unix epoch.
    pub first_us: i64,
}

/// What the session's events tell of one turn's tool calls.
#[derive(Default)]
struct Told {
    /// The first calls that name the file.
    calls: Vec<Call>,
    /// How many of them there are.
    naming: usize,
    /// The last of them: its event, and when it began, or was over where that was told.
    last: Option<(u64, i64)>,
    /// How many calls there are in all.
    all: usize,
    /// When the turn was over.
    over_us: i64,
}

impl Sessions {
    /// Where the change of a path comes from, a hunk at a time.
    ///
    /// # Errors
    /// When the session has nothing to show, or nothing at this path.
    pub async fn blame(&self, id: &SessionId, path: RelPath) -> Result<Vec<OfHunk>, Error> {
        let reviewed = self.review(id).await?;
        let change = reviewed.review.changes().iter().find(|change| change.path == path);
        let change = change.ok_or(ApproveRefused::Unknown { path })?.clone();
        let record = self.get(id)?;
        // A file that is found under another name is compared with what it was there.
        let renamed = self.renamed(&reviewed.review, &change).await?;
        let versions = self.versions(&record, &change.path, renamed.as_ref().map(|(path, _)| path))?;
        let parts = Arc::clone(self.parts());
        blocking(move || {
            let before = change.before.as_ref().or(renamed.as_ref().map(|(_, node)| node));
            let found = by_turns(&parts, before, change.result(), &versions)?;
            let told = told(&parts, &record, &change.path)?;
            let fetched = forwarded(&parts, &record.id)?;
            let text = |turn: u32| {
                let made = record.checkpoints.iter().find(|checkpoint| checkpoint.turn == turn);
                made.map(|checkpoint| checkpoint.text.clone()).unwrap_or_default()
            };
            Ok(shared(found, |turns| origin(turns, &told, &fetched, &text)))
        })
        .await
    }

    /// Where a new file was before, and what stood there.
    async fn renamed(&self, review: &Review, change: &Change) -> Result<Option<(RelPath, Node)>, Error> {
        if change.before.is_some() {
            return Ok(None);
        }
        let (store, changes) = (Arc::clone(&self.parts().store), review.changes().to_vec());
        let path = change.path.clone();
        blocking(move || {
            let appraiser = Appraiser::new(store, BTreeSet::new()).with_renames(&changes);
            let Some(from) = appraiser.renamed_from(&path).cloned() else { return Ok(None) };
            Ok(appraiser.renamed().remove(&path).map(|node| (from, node)))
        })
        .await
    }

    /// What stood at a path after each turn that the work came along, the first one first.
    fn versions(
        &self,
        record: &Record,
        path: &RelPath,
        renamed_from: Option<&RelPath>,
    ) -> Result<Vec<(u32, Option<Node>)>, Error> {
        let (mut found, mut at) = (Vec::new(), record.at);
        while let Some(checkpoint) = record.checkpoint(at) {
            at = checkpoint.parent;
            if checkpoint.stack.is_unread() {
                // What it changed counts for the turn after it.
                continue;
            }
            let point = self.point(&format!("{}@{}", record.id, checkpoint.number))?;
            let at = |path: &RelPath| point.tree.get(path).map(|entry| entry.node.clone());
            found.push((checkpoint.turn, at(path).or_else(|| renamed_from.and_then(at))));
        }
        found.reverse();
        Ok(found)
    }
}

/// A hunk's id, or none for a change as a whole, and the turns that made it.
type OfTurns = (Option<String>, BTreeSet<u32>);

/// The hunks of a change with the turns that made each.
fn by_turns(
    parts: &Parts,
    before: Option<&Node>,
    after: Option<&Node>,
    versions: &[(u32, Option<Node>)],
) -> Result<Vec<OfTurns>, Error> {
    let limits = Limits::default();
    let fits = versions
        .iter()
        .map(|(_, node)| size(node.as_ref()))
        .chain([size(before), size(after)])
        .all(|size| size <= limits.bytes / 2);
    if fits && before.and_then(Node::hash) != after.and_then(Node::hash) {
        let (old, new) = (content(parts, before)?, content(parts, after)?);
        let Hunks { hunks, elided, .. } = hunks(&old, &new, limits);
        if elided.is_none() && !hunks.is_empty() {
            let mut read: Vec<Version> = Vec::new();
            for (turn, node) in versions {
                read.push(Version { turn: *turn, content: content(parts, node.as_ref())? });
            }
            let turns = blame::turns(&old, &read, &hunks);
            return Ok(hunks.into_iter().map(|hunk| Some(hunk.id)).zip(turns).collect());
        }
    }
    // As a whole: the turns after which something else stood there than before them.
    let mut last = before;
    let mut turns = BTreeSet::new();
    for (turn, node) in versions {
        if node.as_ref() != last {
            turns.insert(*turn);
        }
        last = node.as_ref();
    }
    Ok(vec![(None, turns)])
}

/// Looks once for all hunks that the same turns made.
fn shared(found: Vec<OfTurns>, origin: impl Fn(&BTreeSet<u32>) -> Origin) -> Vec<OfHunk> {
    let mut known: BTreeMap<BTreeSet<u32>, Arc<Origin>> = BTreeMap::new();
    let of = found.into_iter().map(|(hunk, turns)| {
        let origin = match known.get(&turns) {
            Some(origin) => Arc::clone(origin),
            None => {
                let made = Arc::new(origin(&turns));
                known.insert(turns, Arc::clone(&made));
                made
            }
        };
        OfHunk { hunk, origin }
    });
    of.collect()
}

/// Everything that is known of what these turns made.
fn origin(
    turns: &BTreeSet<u32>,
    told: &BTreeMap<u32, Told>,
    fetched: &[(i64, String, u64)],
    text: &dyn Fn(u32) -> String,
) -> Origin {
    let of_turns: Vec<&Told> = turns.iter().filter_map(|turn| told.get(turn)).collect();
    let last = of_turns.iter().filter_map(|told| told.last).next_back().map(|(_, over_us)| over_us);
    let until = last.or_else(|| turns.last().and_then(|turn| told.get(turn)).map(|told| told.over_us));
    let mut by_host: BTreeMap<&str, Fetched> = BTreeMap::new();
    for (time_us, authority, count) in fetched.iter().filter(|row| until.is_some_and(|until| row.0 <= until))
    {
        let new = || Fetched { authority: authority.clone(), requests: 0, first_us: *time_us };
        by_host.entry(authority).or_insert_with(new).requests += count;
    }
    let calls_total = of_turns.iter().map(|told| told.naming).sum();
    Origin {
        turns_total: turns.len(),
        turns: turns
            .iter()
            .skip(turns.len().saturating_sub(LISTED))
            .map(|turn| (*turn, text(*turn)))
            .collect(),
        others: of_turns.iter().map(|told| told.all).sum::<usize>() - calls_total,
        calls_total,
        calls: of_turns.iter().flat_map(|told| &told.calls).take(LISTED).cloned().collect(),
        fetched_total: by_host.len(),
        fetched: by_host.into_values().take(LISTED).collect(),
    }
}

/// Reads a session's events for its tool calls, and keeps of each turn what can be shown of it.
fn told(parts: &Parts, record: &Record, path: &RelPath) -> Result<BTreeMap<u32, Told>, Error> {
    let mut told: BTreeMap<u32, Told> = BTreeMap::new();
    // The calls that are not over, with their turns.
    let mut open: BTreeMap<String, (u32, u64)> = BTreeMap::new();
    let (mut from, mut turn) = (1, 0);
    loop {
        let events = parts.db.events(&record.id, from, EVENTS)?;
        let Some(last) = events.last() else { return Ok(told) };
        from = last.seq + 1;
        for event in events {
            let of_turn = told.entry(turn).or_default();
            of_turn.over_us = event.time_us;
            match event.kind {
                Kind::TurnStarted { turn: next, .. } => turn = next,
                Kind::ToolStarted { id, name, detail } => {
                    let call = Call { seq: event.seq, turn, name, detail, time_us: event.time_us };
                    if of_turn.take(path, call) {
                        open.insert(id, (turn, event.seq));
                    }
                }
                Kind::ToolFinished { id, .. } => {
                    let Some((turn, seq)) = open.remove(&id) else { continue };
                    if let Some(Told { last: Some(last), .. }) = told.get_mut(&turn)
                        && last.0 == seq
                    {
                        last.1 = event.time_us;
                    }
                }
                _ => {}
            }
        }
    }
}

impl Told {
    /// Takes a call, and says whether it names the file.
    fn take(&mut self, path: &RelPath, call: Call) -> bool {
        self.all += 1;
        if !blame::names(path, WORKSPACE, &call) {
            return false;
        }
        self.naming += 1;
        self.last = Some((call.seq, call.time_us));
        if self.calls.len() < LISTED {
            self.calls.push(call);
        }
        true
    }
}

/// The requests of a session that left, oldest first: when, where, how many.
fn forwarded(parts: &Parts, session: &SessionId) -> Result<Vec<(i64, String, u64)>, Error> {
    let wanted = Wanted { session: session.to_string(), ..Wanted::default() };
    let mut found = Vec::new();
    rows(&*parts.audit, &wanted, |row| {
        if row.allowed && !row.unsent {
            found.push((row.time_us, row.authority, row.count.max(1)));
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

fn size(node: Option<&Node>) -> u64 {
    match node {
        Some(Node::File { size, .. }) => *size,
        _ => 0,
    }
}

/// A file's content; empty for everything else.
fn content(parts: &Parts, node: Option<&Node>) -> Result<Vec<u8>, Error> {
    let Some(hash): Option<Hash> = node.and_then(Node::hash) else { return Ok(Vec::new()) };
    let mut content = Vec::new();
    parts.store.open_blob(hash)?.read_to_end(&mut content).map_err(|_| Error::Interrupted)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn hunks_of_the_same_turns_share_what_is_known() {
        let hunks = 2500;
        let turns = |number: usize| BTreeSet::from([1, 2 + u32::from(number.is_multiple_of(2))]);
        let found = (0..hunks).map(|number| (Some(number.to_string()), turns(number))).collect();
        let looked = Cell::new(0);
        let of = shared(found, |turns| {
            looked.set(looked.get() + 1);
            origin(turns, &BTreeMap::new(), &[], &|_| String::new())
        });
        assert_eq!((of.len(), looked.get()), (hunks, 2));
        assert!(Arc::ptr_eq(&of[0].origin, &of[2].origin) && !Arc::ptr_eq(&of[0].origin, &of[1].origin));
    }

    #[test]
    fn what_is_kept_and_told_has_an_end() {
        let path = RelPath::new("src/a.rs").unwrap();
        let mut told = BTreeMap::new();
        for turn in 1..=300 {
            let of_turn: &mut Told = told.entry(turn).or_default();
            for seq in 0..1000 {
                let detail = if seq % 2 == 0 { "src/a.rs" } else { "src/b.rs" };
                let (name, detail) = ("Edit".to_owned(), detail.to_owned());
                let names = of_turn.take(&path, Call { seq, turn, name, detail, time_us: 5 });
                assert_eq!(names, seq % 2 == 0);
            }
            assert_eq!((of_turn.calls.len(), of_turn.naming, of_turn.all), (LISTED, 500, 1000));
        }
        let hosts: Vec<(i64, String, u64)> = (0..300).map(|host| (host % 7, host.to_string(), 1)).collect();
        let origin = origin(&(1..=300).collect(), &told, &hosts, &|_| String::new());
        assert_eq!((origin.turns.len(), origin.turns[99].0, origin.turns_total), (LISTED, 300, 300));
        assert_eq!((origin.calls.len(), origin.calls_total, origin.others), (LISTED, 150_000, 150_000));
        // Those of the sixth microsecond came later.
        assert_eq!((origin.fetched.len(), origin.fetched_total), (LISTED, 258));
    }
}
