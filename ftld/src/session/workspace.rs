//! The work of a turn: frozen, read, compared, shown.
//!
//! Owns how a session's upper layer becomes a review. Runs only when every process of the sandbox has
//! ended, so that what is shown cannot change any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use ftl_core::diff::{self, SeenFiles, UpperTree};
use ftl_core::event::{Kind, LISTED, Level, Stage as StageName};
use ftl_core::id::SnapshotId;
use ftl_core::landed;
use ftl_core::lifecycle::{Changes, Request, Step};
use ftl_core::refuse::Surroundings;
use ftl_core::review::Review;
use ftl_core::tree::{Entry, RelPath, Tree};
use serde_json::json;

use super::decide::blocking;
use super::driver::{Driver, told};
use super::layers;
use super::record::{Record, Work};
use super::turn::{Ended, Said};
use super::{Error, captured, seen, standing};
use crate::app::Parts;
use crate::audit::Sync;
use crate::sandbox::lost;
use crate::snapshot::{Captured, Lease, Unread};

/// What a human is shown.
#[derive(Debug)]
pub struct Reviewed {
    /// The changes and their digest.
    pub review: Review,
    /// Changed paths that the ignore rules leave out.
    pub ignored: u64,
    /// What could not be read and is not part of the diff, one sentence each.
    pub unread: Vec<String>,
    /// What all changes say of each of them.
    pub around: Arc<Surroundings>,
}

impl Driver {
    /// Reads the frozen work and brings the session to rest.
    pub(super) async fn capture(&mut self, ended: Result<Ended, Error>, said: Said) -> Result<(), Error> {
        let start = self.parts.clock.monotonic_us();
        self.audit("capture_begun", json!({}), Sync::Kernel).await?;
        let mut facts = vec![];
        // An agent that was given a follow-up in such a session says how it went.
        let by_hand = self.record.spec.is_by_hand() && said.is_none();
        let mut verdict = if by_hand { Verdict::of_commands(ended) } else { Verdict::of(ended, said) };
        facts.extend(verdict.fact.clone());
        if let Some(why) = self.what_is_lost().await? {
            facts.push(Kind::Notice { level: Level::Warning, text: why.clone() });
            (verdict.failed, verdict.reason) = (true, why);
        }
        self.enter(Step::CaptureBegun, String::new(), facts).await?;
        // Until the record names the work.
        let _lease = self.lease().await?;
        self.capture_work().await?;
        let reviewed = self.show().await?;
        self.record.digest = reviewed.review.digest();
        let refused = reviewed.review.changes().iter().filter(|change| change.refused.is_some()).count();
        let entries = reviewed.review.changes().len() - refused;
        let checkpoint = self.checkpoint(count(entries)).await;
        let captured = Kind::WorkCaptured {
            digest: self.record.digest,
            entries: count(entries),
            refused: count(refused),
            ignored: reviewed.ignored,
        };
        let elapsed_us = self.parts.clock.monotonic_us().saturating_sub(start);
        let time = Kind::StageFinished { stage: StageName::Diff, elapsed_us };
        let digest = self.record.digest;
        self.audit(
            "captured",
            json!({ "digest": digest, "entries": entries, "refused": refused }),
            Sync::Kernel,
        )
        .await?;
        let none = reviewed.review.changes().is_empty();
        let step = match verdict.failed {
            true if none => Step::Failed { work: Changes::None },
            _ => Step::Captured { changes: if none { Changes::None } else { Changes::Some } },
        };
        let facts = [Some(captured), checkpoint, Some(time)].into_iter().flatten();
        self.enter(step, verdict.reason, facts.collect()).await
    }

    /// What of the turn's work is gone for good: where it was, nobody has it any more.
    async fn what_is_lost(&self) -> Result<Option<String>, Error> {
        let dir = self.parts.home.sessions().join(self.record.id.as_str());
        if let Some(backend) = self.parts.sandboxes.get(self.record.spec.sandbox.as_str())
            && let Err(error) = backend.bring_home(&self.record.id, &dir).await
        {
            // What can still be had is asked for again before anything is read.
            tracing::debug!(session = %self.record.id, error = %told(&error), "its work did not come");
        }
        blocking(move || Ok(lost::told(&dir))).await
    }

    /// As long as it lives, nothing that the store holds goes.
    pub(super) async fn lease(&self) -> Result<Lease, Error> {
        let parts = Arc::clone(&self.parts);
        blocking(move || Ok(parts.store.lease())).await
    }

    pub(super) async fn told_time(&mut self, stage: StageName, start: u64) {
        let elapsed_us = self.parts.clock.monotonic_us().saturating_sub(start);
        self.teller.tell(Kind::StageFinished { stage, elapsed_us }).await;
    }

    /// Reads the upper layer into the store and remembers it.
    pub(super) async fn capture_work(&mut self) -> Result<(), Error> {
        let (parts, record) = (Arc::clone(&self.parts), self.record.clone());
        if let Some(backend) = parts.sandboxes.get(record.spec.sandbox.as_str()) {
            let dir = parts.home.sessions().join(record.id.as_str());
            backend.bring_home(&record.id, &dir).await?;
        }
        let (hash, unread) = blocking(move || {
            let base = record.base.ok_or(Error::Interrupted)?;
            layers::thaw(&parts, &record)?;
            if let Err(error) = super::history::park(&parts.home.sessions().join(record.id.as_str())) {
                // It is then refused like any other `.git`.
                tracing::warn!(session = %record.id, %error, "the session's .git cannot be put away");
            }
            let upper_dir = layers::upper(&parts, &record.id);
            let shown = parts.store.read_seen(&seen::dir(&parts, &record))?;
            let captured = match upper_dir.exists() {
                true => parts.store.capture(&upper_dir, base, &shown)?,
                // The layer of a turn that ended before anything could be written.
                false => Captured::default(),
            };
            if record.stack.is_unread() {
                // What this turn stands on is not known, and would be missing from what is shown.
                return Err(Error::UnreadableCheckpoint { number: record.at });
            }
            let unread: Vec<String> = captured.unread.into_iter().take(LISTED).map(sentence).collect();
            let turn = Work {
                upper: captured.upper.into_iter().collect(),
                left_out: captured.ignored.into_iter().collect(),
                unread: unread.clone(),
                seen: shown.into_iter().collect(),
            };
            Ok((captured::put(&parts, record.stack.work, turn)?, unread))
        })
        .await?;
        self.record.work = Some(hash);
        for text in unread {
            self.teller.tell(Kind::Notice { level: Level::Warning, text }).await;
        }
        Ok(())
    }

    /// The review of what was captured last, without what was applied since.
    pub(super) async fn show(&self) -> Result<Reviewed, Error> {
        let (parts, record) = (Arc::clone(&self.parts), self.record.clone());
        self.may_show()?;
        blocking(move || reviewed(&parts, &record)).await
    }

    fn may_show(&self) -> Result<(), Error> {
        if self.record.state.is_idle() { self.may(Request::Diff) } else { Ok(()) }
    }

    /// Tells that an earlier daemon ended during a turn, then captures what there is.
    pub(super) async fn capture_interrupted(&mut self, reason: &str) -> Result<(), Error> {
        let text = format!("{reason}; the work up to then was kept");
        self.teller.tell(Kind::Notice { level: Level::Warning, text }).await;
        self.capture(Ok(Ended::Stopped("the daemon ended while the agent worked")), None).await
    }
}

/// What a human may have of a work: the base with every change that is not refused. What differs from the base
/// gets the time `mtime_ns`, nanoseconds since the epoch.
pub(super) fn allowed(base: &Tree, work: Work, mtime_ns: i64) -> Tree {
    let (upper, seen) = (work.upper.into_iter().collect(), work.seen.into_iter().collect());
    let mut tree = base.clone();
    for change in diff::between_seen(base, &seen, &upper, &|_, _| false).changes {
        match change.result() {
            _ if change.refused.is_some() => {}
            Some(node) => tree.insert(&change.path, Entry { node: node.clone(), mtime_ns }),
            None => drop(tree.remove(&change.path)),
        }
    }
    tree
}

/// Computes a review from what is stored. The agent has no part in it.
pub(super) fn reviewed(parts: &Parts, record: &Record) -> Result<Reviewed, Error> {
    let base_id: SnapshotId = record.base.ok_or(Error::Interrupted)?;
    let base = parts.store.tree(base_id)?;
    let work = captured::get(parts, record.work)?;
    let upper: UpperTree = work.upper.into_iter().collect::<BTreeMap<_, _>>();
    let seen: SeenFiles = work.seen.into_iter().collect();
    let landed = standing::landed(parts, record)?;
    let never = |_: &RelPath, _: bool| false;
    let (base, changes) = if landed.is_empty() {
        let changes = diff::between_seen(&base, &seen, &upper, &never).changes;
        (base, changes)
    } else {
        let now = landed::base(&base, &landed);
        let changes = diff::between_seen(&now, &seen, &landed::upper(&base, &upper, &landed), &never).changes;
        (Arc::new(now), changes)
    };
    let around = Arc::new(Surroundings::of(&base, &changes));
    let review = Review::new(record.id.clone(), &record.project.root.0, base_id, base, changes);
    Ok(Reviewed { review, ignored: count(work.left_out.len()), unread: work.unread, around })
}

/// How the turn went, in words.
struct Verdict {
    failed: bool,
    reason: String,
    fact: Option<Kind>,
}

impl Verdict {
    /// A human's own commands cannot fail a session: their status is the human's concern.
    fn of_commands(ended: Result<Ended, Error>) -> Self {
        match ended {
            Ok(Ended::Exit(0)) => Self { failed: false, reason: String::new(), fact: None },
            Ok(Ended::Exit(code)) => Self {
                failed: false,
                reason: format!("the last command ended with status {code}"),
                fact: None,
            },
            other => Self::of(other, None),
        }
    }

    fn of(ended: Result<Ended, Error>, said: Said) -> Self {
        match ended {
            Ok(Ended::Exit(exit_code)) => {
                let (said_ok, message) = said.unwrap_or((exit_code == 0, String::new()));
                let ok = said_ok && exit_code == 0;
                let reason = match (ok, message.as_str()) {
                    (true, _) => String::new(),
                    (false, "") => format!("the agent ended with status {exit_code}"),
                    (false, message) => format!("the agent ended with status {exit_code}: {message}"),
                };
                Self { failed: !ok, reason, fact: Some(Kind::AgentFinished { ok, message, exit_code }) }
            }
            Ok(Ended::Stopped(why)) => Self { failed: false, reason: why.to_owned(), fact: None },
            Ok(Ended::Died(ending)) => {
                Self { failed: true, reason: format!("the sandbox ended: {ending}"), fact: None }
            }
            Err(error) => Self { failed: true, reason: told(&error), fact: None },
        }
    }
}

/// What could not be read, for people. A path that is too deep to be told is cut in its middle.
fn sentence(unread: Unread) -> String {
    let dir = unread.dir.map_or_else(|| "the workspace".to_owned(), |dir| dir.to_string());
    let letters: Vec<char> = dir.chars().collect();
    let shown = match letters.as_slice() {
        [start @ .., _, _, _] if start.len() > 200 => {
            let (head, tail) = (&letters[..100], &letters[letters.len() - 60..]);
            format!("{}…{}", head.iter().collect::<String>(), tail.iter().collect::<String>())
        }
        _ => dir,
    };
    format!("something in {shown} is not part of the diff: {}", unread.why)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
