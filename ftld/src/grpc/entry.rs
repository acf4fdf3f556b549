//! The messages of a diff: one per changed path.
//!
//! Owns their making from changes and what is known of them, as fast as they are taken. Must not know what the
//! diff is of.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ftl_core::diff::{After, Change, Kind};
use ftl_core::hunk::{self, Elided};
use ftl_core::lint::Finding;
use ftl_core::refuse;
use ftl_core::review::{Contested, Item};
use ftl_core::three::Decision;
use ftl_core::tree::RelPath;
use ftl_proto::v1;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;

use super::convert;
use super::status::status;
use crate::session::Error;
use crate::session::appraise::{Appraisal, Appraiser};

/// Parts that wait for a slow client at most.
const STREAM_BUFFER: usize = 4;
/// Replies of a part.
const PART: usize = 256;
/// Bytes of a part, but for its last reply.
const PART_BYTES: usize = 256 * 1024;

/// What is sent of a diff, reply by reply. It is handed over in parts: waking somebody for each of many small replies
/// takes longer than making them.
pub(super) struct Pieces {
    parts: mpsc::Receiver<Vec<Reply>>,
    at_hand: std::vec::IntoIter<Reply>,
}

type Reply = Result<v1::DiffItem, Status>;

impl Stream for Pieces {
    type Item = Reply;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Reply>> {
        loop {
            if let Some(reply) = self.at_hand.next() {
                return Poll::Ready(Some(reply));
            }
            match self.parts.poll_recv(context) {
                Poll::Ready(Some(part)) => self.at_hand = part.into_iter(),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Hands replies over in parts: the first ones at once, later ones together.
struct Parts {
    to: mpsc::Sender<Vec<Reply>>,
    part: Vec<Reply>,
    bytes: usize,
    most: usize,
}

impl Parts {
    /// Takes one more; `false` when nobody waits for it.
    fn take(&mut self, reply: Reply) -> bool {
        self.bytes += reply.as_ref().map_or(0, Message::encoded_len);
        self.part.push(reply);
        if self.part.len() < self.most && self.bytes < PART_BYTES {
            return true;
        }
        self.most = (self.most * 2).min(PART);
        self.hand_over()
    }

    fn hand_over(&mut self) -> bool {
        self.bytes = 0;
        let part = std::mem::take(&mut self.part);
        part.is_empty() || self.to.blocking_send(part).is_ok()
    }
}

/// A diff, computed as fast as it is taken.
pub(super) fn streamed(
    appraiser: Appraiser,
    header: v1::DiffHeader,
    changes: Vec<Change>,
    (stat_only, contents): (bool, bool),
) -> Pieces {
    sent(header, move || {
        let appraiser = Arc::new(appraiser.with_renames(&changes));
        let looking = Arc::clone(&appraiser);
        Appraiser::look_along(looking, changes).map(move |looked| {
            let (change, found) = looked?;
            let mut entry = entry(&change, found, stat_only);
            renamed(&mut entry, appraiser.renamed_from(&change.path));
            if contents && !entry.elided.is_empty() {
                [entry.content_before, entry.content_after] = appraiser.contents(&change)?;
            }
            Ok(entry)
        })
    })
}

/// Tells of a file where it was before, if it is found under another name.
pub(super) fn renamed(entry: &mut v1::DiffEntry, from: Option<&RelPath>) {
    if let Some(from) = from {
        entry.kind = v1::EntryKind::Renamed.into();
        entry.renamed_from = from.as_bytes().to_vec();
    }
}

/// A diff of entries that come one after the other.
pub(super) fn sent<I: Iterator<Item = Result<v1::DiffEntry, Error>>>(
    header: v1::DiffHeader,
    entries: impl FnOnce() -> I + Send + 'static,
) -> Pieces {
    let (to, parts) = mpsc::channel(STREAM_BUFFER);
    tokio::task::spawn_blocking(move || {
        let mut to = Parts { to, part: Vec::new(), bytes: 0, most: 1 };
        let mut send = |item: Result<v1::diff_item::Item, Error>| {
            to.take(item.map(|item| v1::DiffItem { item: Some(item) }).map_err(|error| status(&error)))
        };
        // The header goes before anything is looked at.
        if send(Ok(v1::diff_item::Item::Header(header)))
            && entries().all(|entry| send(entry.map(v1::diff_item::Item::Entry)))
        {
            to.hand_over();
        }
    });
    Pieces { parts, at_hand: Vec::new().into_iter() }
}

/// One entry with its hunks.
pub(super) fn entry(change: &Change, found: Appraisal, stat_only: bool) -> v1::DiffEntry {
    let needs_naming = change.refused.is_none() && found.needs_naming().is_some();
    let kind = match change.kind(found.binary) {
        // What the project has already, and would not change.
        Kind::Mode if change.before.as_ref() == change.result() => v1::EntryKind::Modified,
        Kind::Added => v1::EntryKind::Added,
        Kind::Modified => v1::EntryKind::Modified,
        Kind::Deleted => v1::EntryKind::Deleted,
        Kind::Mode => v1::EntryKind::Mode,
        Kind::Symlink => v1::EntryKind::Symlink,
        Kind::Binary => v1::EntryKind::Binary,
        Kind::Refused => v1::EntryKind::Refused,
    };
    let after = match &change.after {
        After::Node(node) => Some(convert::node(node)),
        After::Special(kind) => Some(v1::Node { r#type: kind.name().into(), ..v1::Node::default() }),
        After::Absent => None,
    };
    let Appraisal { hunks, risks, findings, .. } = found;
    v1::DiffEntry {
        path: change.path.as_bytes().to_vec(),
        kind: kind.into(),
        reason: change.refused.as_ref().map(ToString::to_string).unwrap_or_default(),
        risk_reasons: risks.iter().map(|risk| risk.reason().to_owned()).collect(),
        risks: risks.into_iter().map(|risk| risk.name().to_owned()).collect(),
        before: change.before.as_ref().map(convert::node),
        after,
        added_lines: hunks.added,
        removed_lines: hunks.removed,
        elided: hunks.elided.map(Elided::reason).unwrap_or_default().to_owned(),
        hunks: if stat_only {
            Vec::new()
        } else {
            Arc::unwrap_or_clone(hunks).hunks.into_iter().map(wire_hunk).collect()
        },
        hidden_before: change.refused == Some(refuse::Refusal::SecretFile),
        needs_naming,
        findings: findings.into_iter().map(wire_finding).collect(),
        ..v1::DiffEntry::default()
    }
}

/// One path of what would be written.
pub(super) fn proposed(item: &Item, found: Appraisal, stat_only: bool) -> v1::DiffEntry {
    let conflicts = item.conflicts.iter().zip(1..).map(|(conflict, number)| contested(conflict, number));
    v1::DiffEntry {
        merged: item.merged,
        conflicts: conflicts.collect(),
        ..entry(&item.change, found, stat_only)
    }
}

fn wire_finding(finding: Finding) -> v1::Finding {
    v1::Finding {
        id: finding.id,
        class: finding.class.name().to_owned(),
        line: finding.line,
        message: finding.message,
        holds: finding.holds,
        accepted: String::new(),
    }
}

fn contested(conflict: &Contested, number: u32) -> v1::Conflict {
    let decision = conflict.decision.as_ref().map(|decision| match decision {
        Decision::Ours => v1::Decision::Ours,
        Decision::Theirs => v1::Decision::Theirs,
        Decision::Both => v1::Decision::Both,
        Decision::Edited(_) => v1::Decision::Edited,
    });
    v1::Conflict {
        number,
        line: conflict.line,
        base: conflict.base.clone(),
        ours: conflict.ours.clone(),
        theirs: conflict.theirs.clone(),
        decision: decision.map(Into::into),
        whole: conflict.whole.unwrap_or_default().to_owned(),
    }
}

fn wire_hunk(hunk: hunk::Hunk) -> v1::Hunk {
    let span = |range: Range<u32>| v1::Span { start: range.start, end: range.end };
    let spans = |ranges: Vec<Range<u32>>| ranges.into_iter().map(span).collect();
    let changed = hunk::changed_words(&hunk.lines);
    v1::Hunk {
        id: hunk.id,
        old_start: hunk.old_start,
        old_lines: hunk.old_lines,
        new_start: hunk.new_start,
        new_lines: hunk.new_lines,
        lines: hunk
            .lines
            .into_iter()
            .zip(changed)
            .map(|(line, changed)| v1::Line {
                tag: line.tag.sign().into(),
                text: line.text,
                changed: spans(changed),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn every_reply_comes_in_its_order_and_the_first_at_once() {
        let entry = |number: usize| v1::DiffEntry {
            path: number.to_string().into_bytes(),
            // One of them is larger than a part may be.
            reason: "x".repeat(if number == 700 { PART_BYTES } else { 0 }),
            ..v1::DiffEntry::default()
        };
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let mut pieces = sent(v1::DiffHeader::default(), move || {
            wait.recv().unwrap();
            (0..3000).map(move |number| Ok(entry(number)))
        });
        let first = pieces.next().await.unwrap().unwrap();
        assert!(matches!(first.item, Some(v1::diff_item::Item::Header(_))));
        go.send(()).unwrap();
        let rest: Vec<_> = pieces.map(|reply| reply.unwrap().item).collect().await;
        let paths = rest.into_iter().map(|item| match item {
            Some(v1::diff_item::Item::Entry(entry)) => String::from_utf8(entry.path).unwrap(),
            other => panic!("{other:?}"),
        });
        assert!(paths.eq((0..3000).map(|number: usize| number.to_string())));
    }
}
