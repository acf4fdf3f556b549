//! Checkpoints: the work after each turn, and the way back to it.
//!
//! Owns what a checkpoint is made of and how a session goes back. Nothing is lost by going back: the work that
//! is left stays a checkpoint. Only the workspace goes back; the agent's home, with the conversation that it
//! remembers, stays as it is. Must not know where layers lie.

use ftl_core::event::{Kind, Level};
use ftl_core::lifecycle::{Changes, Request, Step};
use serde_json::json;

use super::decide::blocking;
use super::driver::{Driver, told};
use super::layers::{self, Frozen};
use super::record::{Checkpoint, Record, Stack};
use super::{Error, Reviewed, workspace};
use crate::audit::Sync;
use crate::snapshot::SnapshotError;

/// Where to go back to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Back {
    /// The checkpoint of this number; 0 is the snapshot.
    To(u32),
    /// So many turns, along the way that the work took.
    Turns(u32),
}

/// Characters of an instruction that a checkpoint keeps.
const TEXT: usize = 500;
/// What a checkpoint of work says that no turn brought to its end.
const LEFT: &str = "left by a turn that failed";

impl Driver {
    /// Makes what was just captured a checkpoint. When that fails the work stays as it is, and goes on.
    pub(super) async fn checkpoint(&mut self, entries: u64) -> Option<Kind> {
        let text = self.record.asked.clone();
        match self.freeze(text, entries, self.record.work).await {
            Ok(fact) => Some(fact),
            Err(error) => {
                let text = format!("this turn cannot be gone back to: {}", told(&error));
                self.teller.tell(Kind::Notice { level: Level::Warning, text }).await;
                None
            }
        }
    }

    /// Freezes the upper layer; `work` is what all layers hold together then.
    async fn freeze(
        &mut self,
        text: String,
        entries: u64,
        work: Option<ftl_core::id::Hash>,
    ) -> Result<Kind, Error> {
        let (parts, record) = (std::sync::Arc::clone(&self.parts), self.record.clone());
        let Frozen { layers, count } = blocking(move || layers::freeze(&parts, &record)).await?;
        self.record.stack = Stack { layers, work };
        self.record.frozen = count;
        let number = self.record.checkpoints.last().map_or(0, |last| last.number) + 1;
        self.record.checkpoints.push(Checkpoint {
            number,
            parent: self.record.at,
            turn: self.record.turns,
            time_us: self.parts.clock.now_us(),
            text: text.chars().take(TEXT).collect(),
            digest: self.record.digest,
            entries,
            stack: self.record.stack.clone(),
        });
        self.record.at = number;
        Ok(Kind::Checkpointed { checkpoint: number, entries })
    }

    /// Makes a checkpoint of what stands in the upper layer, so that nothing depends on it.
    pub(super) async fn secure(&mut self) -> Result<(), Error> {
        if !layers::is_loose(&self.parts, &self.record) {
            return Ok(());
        }
        let _lease = self.lease().await?;
        let work = match self.capture_work().await {
            Ok(()) => self.record.work,
            // It can be kept all the same, although nobody knows what it is. Any other error may pass.
            Err(error @ (Error::Store(SnapshotError::Odd { .. }) | Error::UnreadableCheckpoint { .. })) => {
                let text = format!("what a turn left cannot be read: {}", told(&error));
                self.teller.tell(Kind::Notice { level: Level::Warning, text }).await;
                None
            }
            Err(error) => return Err(error),
        };
        let fact = self.freeze(LEFT.to_owned(), 0, work).await?;
        self.keep(vec![fact]).await
    }

    /// Takes the work back to where it was after an earlier turn.
    pub(super) async fn rewind(&mut self, back: Back) -> Result<Record, Error> {
        self.may(Request::Rewind)?;
        if let Back::To(number) = back {
            // A slip of the hand freezes nothing.
            self.stack_at(number)?;
        }
        self.secure().await?;
        let (from, to) = (self.record.at, self.target(back)?);
        let stack = self.stack_at(to)?;
        let mut record = self.record.clone();
        record.at = to;
        record.work = stack.work;
        record.stack = stack;
        // Looked at before anything is recorded: work that cannot be shown is not gone back to.
        let reviewed = self.reviewed(&record).await?;
        record.digest = reviewed.review.digest();
        self.audit("rewind_begun", json!({ "from": from, "to": to, "digest": record.digest }), Sync::Disk)
            .await?;
        let before = std::mem::replace(&mut self.record, record);
        let step = Step::Rewound { changes: changes(&reviewed) };
        let rewound = self.enter(step, String::new(), vec![Kind::Rewound { from, to }]).await;
        if let Err(error) = rewound {
            self.record = before;
            return Err(error);
        }
        self.audit("rewound", json!({ "from": from, "to": to }), Sync::Kernel).await?;
        Ok(self.record.clone())
    }

    /// The layers of a checkpoint; 0 is the snapshot, which has none.
    pub(super) fn stack_at(&self, number: u32) -> Result<Stack, Error> {
        stack_at(&self.record, number)
    }

    fn target(&self, back: Back) -> Result<u32, Error> {
        let count = match back {
            Back::To(number) => return Ok(number),
            Back::Turns(count) => count,
        };
        let mut at = self.record.at;
        for _ in 0..count {
            let missing = || Error::TooFarBack { turns: count };
            at = self.record.checkpoint(at).ok_or_else(missing)?.parent;
        }
        Ok(at)
    }

    /// What a human would be shown of a record.
    pub(super) async fn reviewed(&self, record: &Record) -> Result<Reviewed, Error> {
        let (parts, record) = (std::sync::Arc::clone(&self.parts), record.clone());
        blocking(move || workspace::reviewed(&parts, &record)).await
    }
}

/// The layers of a session's checkpoint; 0 is the snapshot, which has none.
pub(super) fn stack_at(record: &Record, number: u32) -> Result<Stack, Error> {
    let missing = || Error::NoSuchCheckpoint { session: record.id.clone(), number };
    if number == 0 {
        return record.base.map(|_| Stack::default()).ok_or_else(missing);
    }
    let stack = record.checkpoint(number).ok_or_else(missing)?.stack.clone();
    if stack.is_unread() { Err(Error::UnreadableCheckpoint { number }) } else { Ok(stack) }
}

/// Whether there is anything to review.
pub(super) fn changes(reviewed: &Reviewed) -> Changes {
    if reviewed.review.changes().is_empty() { Changes::None } else { Changes::Some }
}
