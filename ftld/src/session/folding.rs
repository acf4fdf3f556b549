//! Folding: many layers of a session become one, beside whatever the session does.
//!
//! Owns when layers are folded and when the one that comes of it takes their place. Layers are immutable, so a
//! turn that begins meanwhile has the ones it knows; the new one takes their place in the record when the
//! session is at rest. Until then no record names it, and what a crash leaves of it is swept away. Must not
//! know how layers are folded.

use std::path::PathBuf;
use std::sync::Arc;

use ftl_core::lifecycle::State;
use tokio::task::{JoinError, JoinHandle};

use super::decide::blocking;
use super::driver::{Driver, Inbox, Stopping, during, told};
use super::layers;
use super::record::{Layer, Record};
use super::{Command, Error, warm};
use crate::app::Parts;
use crate::{db, snapshot};

/// Layers of its own that a session has before they are folded; lookups pass through all of them.
const MANY: usize = 16;
/// Layers of its own that a turn begins with at most: the kernel takes the list of them in 256 bytes, together
/// with the base's. A session that comes so far waits for its layers to be folded.
const MOST: usize = 48;

/// Layers that are being folded.
pub(super) struct Folding {
    /// Which, the one on top first.
    layers: Vec<Layer>,
    made: JoinHandle<Result<Layer, Error>>,
}

impl Driver {
    /// The next command. While nothing is asked, what was folded takes its place.
    pub(super) async fn next(&mut self, inbox: &mut Inbox) -> Option<Command> {
        loop {
            let Some(folding) = &mut self.folding else { return inbox.recv().await };
            tokio::select! {
                made = &mut folding.made => {
                    self.take_over(made).await;
                    warm::hint(&self.parts, &self.record);
                }
                command = inbox.recv() => return command,
            }
        }
    }

    /// Begins to fold the session's layers when they are many. Called when a turn has ended.
    pub(super) fn begin_folding(&mut self) {
        if self.folding.is_some() || self.record.stack.layers.len() <= MANY {
            return;
        }
        let (parts, layers) = (Arc::clone(&self.parts), self.record.stack.layers.clone());
        // A layer of this name is one that no record came to name.
        let name = format!("{}-folded-{}", self.record.id, self.record.folded + 1);
        let those = layers.clone();
        let made = tokio::spawn(blocking(move || fold(&parts, &those, &name)));
        self.folding = Some(Folding { layers, made });
    }

    /// Waits for a fold without which the next turn could not begin. Stopping ends the wait.
    ///
    /// # Errors
    /// When it was stopped, and when there are still too many layers.
    pub(super) async fn make_room(
        &mut self,
        inbox: &mut Inbox,
        stopping: &mut Stopping,
    ) -> Result<(), Error> {
        if self.record.stack.layers.len() < MOST {
            return Ok(());
        }
        self.begin_folding();
        if let Some(folding) = &mut self.folding {
            let waiting = async { Ok((&mut folding.made).await) };
            let made = during(inbox, stopping, State::Starting, waiting).await?;
            self.take_over(made).await;
        }
        match self.record.stack.layers.len() {
            layers if layers < MOST => Ok(()),
            layers => Err(Error::Layers { layers }),
        }
    }

    /// Waits until nothing is folded any more.
    pub(super) async fn end_folding(&mut self) {
        if let Some(folding) = &mut self.folding {
            let made = (&mut folding.made).await;
            self.take_over(made).await;
        }
    }

    /// Puts the new layer where those stand of which it was made.
    async fn take_over(&mut self, made: Result<Result<Layer, Error>, JoinError>) {
        let Some(Folding { layers, .. }) = self.folding.take() else { return };
        let mut record = self.record.clone();
        let kept = match made.map_err(|_| Error::Interrupted) {
            Ok(Ok(layer)) => {
                record.folded += 1;
                replace(&mut record, &layers, &layer);
                self.keep_folded(record).await
            }
            Ok(Err(error)) | Err(error) => Err(error),
        };
        if let Err(error) = kept {
            // It only costs time, and is tried again after the next turn.
            tracing::warn!(session = %self.record.id, error = %told(&error), "layers could not be folded");
            return;
        }
        let parts = Arc::clone(&self.parts);
        let released = blocking(move || {
            layers::release_those(&parts, &layers);
            Ok(())
        });
        if let Err(error) = released.await {
            tracing::warn!(error = %told(&error), "folded layers could not be removed");
        }
    }

    /// Stores the record. Nothing happened that anybody would be told of, so its time stays.
    async fn keep_folded(&mut self, record: Record) -> Result<(), Error> {
        let stored = db::encode(&record, "session record")?;
        self.teller.tell_durably(vec![], stored).await?;
        self.record = record;
        Ok(())
    }
}

fn fold(parts: &Parts, layers: &[Layer], name: &str) -> Result<Layer, Error> {
    let paths: Vec<PathBuf> = layers.iter().map(|layer| layers::path(parts, &layer.name)).collect();
    let name = layers::make(parts, name, |half| Ok(snapshot::fold(&paths, half)?))?;
    Ok(Layer { name, bytes: layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.bytes)) })
}

/// Puts a layer where `those` lie at the bottom: in the session's stack, and in those of its checkpoints.
fn replace(record: &mut Record, those: &[Layer], by: &Layer) {
    let stacks = record.checkpoints.iter_mut().map(|checkpoint| &mut checkpoint.stack);
    for stack in stacks.chain([&mut record.stack]) {
        if stack.layers.ends_with(those) {
            stack.layers.truncate(stack.layers.len() - those.len());
            stack.layers.push(by.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use ftl_core::id::SessionId;

    use super::*;
    use crate::session::record::{Checkpoint, Project, Spec, Stack};

    fn layers(names: &[&str]) -> Vec<Layer> {
        names.iter().map(|name| Layer { name: (*name).to_owned(), bytes: 1 }).collect()
    }

    #[test]
    fn a_fold_takes_the_place_of_its_layers_wherever_all_of_them_lie() {
        let project = Project { root: b"/p".as_slice().into(), dev: 0, ino: 0 };
        let mut record = Record::new(SessionId::from_random([0; 10]), project, Spec::default(), 0);
        let stack = |names: &[&str]| Stack { layers: layers(names), work: None };
        let stacks = [&["1"][..], &["2", "1"], &["3", "2", "1"], &["4", "3", "2", "1"], &["x", "2", "1"]];
        let checkpoint = |(number, names): (u32, &&[&str])| Checkpoint {
            number,
            parent: 0,
            turn: number,
            time_us: 0,
            text: String::new(),
            digest: None,
            entries: 0,
            stack: stack(names),
        };
        record.checkpoints = (1..).zip(&stacks).map(checkpoint).collect();
        // Two turns have ended since, and one of them was gone back from.
        record.stack = stack(&["5", "3", "2", "1"]);
        replace(&mut record, &layers(&["3", "2", "1"]), &layers(&["f"])[0]);
        let found: Vec<_> = record.checkpoints.iter().map(|one| one.stack.layers.clone()).collect();
        let expected: Vec<_> =
            [&["1"][..], &["2", "1"], &["f"], &["4", "f"], &["x", "2", "1"]].map(layers).to_vec();
        assert_eq!((found, record.stack.layers), (expected, layers(&["5", "f"])));
    }
}
