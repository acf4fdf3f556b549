//! Testing what was selected: the project's checks, on exactly what would land.
//!
//! Owns the order: what would land is asked of the session's task, the runs are beside it, each is recorded before
//! it begins, and the gate's word names the digest that it is about. Must not decide what a run means: that is
//! [`ftl_core::verify`]'s.

use std::sync::Arc;

use ftl_core::event::{Bytes, Kind};
use ftl_core::id::{Digest, SessionId, SnapshotId};
use ftl_core::verify::{self, Check, Limits, Outcome, Source, Verdict, Word};
use serde_json::json;
use tokio::sync::{SemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::checks::{Key, Known};
use super::decide::blocking;
use super::driver::{Driver, told};
use super::readying::Hearing;
use super::record::{Gate, Record};
use super::stand::Stand;
use super::{Asked, Error, Proposed, Sessions, tester, trust};
use crate::audit::{Entry, Sync};
use crate::verify::{Piece, Run, run};

/// What is to be tried.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    /// What would land.
    pub asked: Asked,
    /// Whether what is known already runs once more.
    pub again: bool,
    /// Whether it ends when nobody listens any more.
    pub stop_when_gone: bool,
}

/// What is told while checks run.
#[derive(Clone, Debug)]
pub enum Tried {
    /// What is tried.
    Begun {
        /// The digest that approves it.
        digest: Digest,
        /// The project as it is.
        base: SnapshotId,
        /// The checks.
        checks: Vec<Check>,
    },
    /// Something that the human should know of the sandboxes; a sentence without a full stop.
    Notice {
        /// It.
        text: String,
    },
    /// A run waits until others have ended.
    Waits {
        /// The check's name.
        name: String,
    },
    /// A run began.
    Started {
        /// Of what.
        check: Check,
        /// Whether the selected changes are left out.
        without: bool,
        /// What of a sandbox's limits does not hold, with the reason.
        unenforced: Vec<String>,
    },
    /// Some output of a run.
    Output {
        /// It, as it came.
        piece: Piece,
        /// Whether the selected changes are left out.
        without: bool,
    },
    /// A check ended.
    Ended(Box<Ended>),
    /// All have ended; the last of all.
    Word {
        /// What was tried.
        digest: Digest,
        /// What the gate says.
        word: Word,
    },
}

/// A check that ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What was tried.
    pub digest: Digest,
    /// The check.
    pub check: Check,
    /// What came of it.
    pub verdict: Verdict,
    /// How long its runs took, microseconds.
    pub elapsed_us: u64,
    /// Whether the verdict was known already.
    pub remembered: bool,
    /// The last of what it printed.
    pub tail: Vec<u8>,
}

/// Where it is told.
pub type Listener = mpsc::UnboundedReceiver<Result<Tried, Error>>;
type Teller = mpsc::UnboundedSender<Result<Tried, Error>>;

/// What the project's setup is called among the checks.
const SETUP: &str = "setup";
/// Why checks end before their time.
pub(super) const NOT_HEARD: &str = "nobody waits for the checks any more";
const REMOVED: &str = "the session or the daemon ended under its checks";

impl Sessions {
    /// Tries a selection of a session's work. Returns when it is known what would land; the rest is told.
    ///
    /// # Errors
    /// Those of a [preview](Self::preview); when a conflict is open, or nothing would land.
    pub async fn test(self: &Arc<Self>, id: &SessionId, trial: Trial) -> Result<Listener, Error> {
        let proposed = self.preview(id, trial.asked.clone()).await?;
        let Some(digest) = proposed.proposal.digest() else {
            // It has no digest, so that nothing approves it; this says why.
            proposed.proposal.approve(&"0".repeat(64))?;
            return Err(Error::Interrupted);
        };
        let (stop, tasks) = self.parts().checks.enter(id);
        let record = self.get(id)?;
        let (say, listener) = mpsc::unbounded_channel();
        let ending = stop.child_token();
        let (sessions, again) = (Arc::clone(self), trial.again);
        let is_whole = {
            let wanted = &trial.asked.wanted;
            wanted.paths.is_empty() && wanted.parts.is_empty() && wanted.resolutions.is_empty()
        };
        let of = proposed.reviewed.review.digest().filter(|_| is_whole);
        let work = Work { sessions, record, digest, of, again, say, stop: stop.clone(), ending };
        tasks.spawn(async move {
            let (ending, gone) = (work.ending.clone(), work.say.clone());
            let watching = trial.stop_when_gone.then(|| {
                tokio::spawn(async move {
                    tokio::select! {
                        () = gone.closed() => ending.cancel(),
                        () = ending.cancelled() => {}
                    }
                })
            });
            if let Err(error) = work.all(&proposed).await {
                let error = match error {
                    Error::Stopped { .. } if stop.is_cancelled() => Error::Stopped { why: REMOVED },
                    other => other,
                };
                tracing::info!(session = %work.record.id, error = %told(&error), "checks did not end");
                let of = work.of;
                work.note(Kind::ChecksEnded { digest, ready: false, why: told(&error), of }).await;
                let _gone = work.say.send(Err(error));
            }
            if let Some(watching) = watching {
                watching.abort();
            }
        });
        Ok(listener)
    }
}

/// The checks of one selection.
pub(super) struct Work {
    pub(super) sessions: Arc<Sessions>,
    pub(super) record: Record,
    pub(super) digest: Digest,
    /// The whole work, when nothing less is tried.
    of: Option<Digest>,
    again: bool,
    say: Teller,
    /// Ends every check of the session.
    stop: CancellationToken,
    /// Ends all of this.
    pub(super) ending: CancellationToken,
}

/// One run, and whether it was known already.
struct Ran {
    known: Known,
    remembered: bool,
}

impl Work {
    async fn all(&self, proposed: &Arc<Proposed>) -> Result<(), Error> {
        let parts = self.sessions.parts();
        let settings = trust::settings(parts, &super::driver::root(&self.record.project.root))?;
        let limits = Limits {
            seconds: settings.limits.check_seconds,
            output_bytes: settings.limits.check_output_mb.saturating_mul(1 << 20),
        };
        let configured = settings.checks.clone();
        let stand = Stand::new(parts, &self.record, settings, proposed).await?;
        let (before, after) = (stand.files(false), stand.files(true));
        let planned = blocking(move || Ok(verify::plan(&configured, &before, &after))).await;
        let tried = match planned {
            Ok(checks) => self.checks(&stand, checks, limits).await,
            Err(error) => Err(error),
        };
        stand.take_down().await;
        tried
    }

    async fn checks(&self, stand: &Stand, checks: Vec<Check>, limits: Limits) -> Result<(), Error> {
        let (digest, base) = (self.digest, stand.snapshot);
        let names = checks.iter().map(|check| check.name.clone()).collect();
        self.note(Kind::ChecksBegun { digest, base, checks: names }).await;
        self.tell(Tried::Begun { digest, base, checks: checks.clone() });
        for text in stand.packages.notices.clone() {
            self.tell(Tried::Notice { text });
        }
        let mut verdicts = Vec::new();
        for check in checks {
            let ended = self.check(stand, check, limits).await?;
            verdicts.push((ended.check.name.clone(), ended.verdict.clone()));
            self.note(fact(&ended)).await;
            self.tell(Tried::Ended(Box::new(ended)));
        }
        for ended in self.generated(stand, limits).await? {
            verdicts.push((ended.check.name.clone(), ended.verdict.clone()));
            self.note(fact(&ended)).await;
            self.tell(Tried::Ended(Box::new(ended)));
        }
        let word = verify::word(verdicts.iter().map(|(name, verdict)| (name.as_str(), verdict)));
        let detail = json!({ "digest": digest, "ready": word.ready, "why": word.why });
        self.audit("checked", detail).await?;
        let (ready, why) = (word.ready, word.why.clone());
        self.note(Kind::ChecksEnded { digest, ready, why, of: self.of }).await;
        self.tell(Tried::Word { digest, word });
        Ok(())
    }

    /// Tries one check, and where it fails also the project without the changes.
    async fn check(&self, stand: &Stand, check: Check, limits: Limits) -> Result<Ended, Error> {
        let after = self.ran(stand, &check, limits, false).await?;
        let before = match after.known.run.outcome.has_failed() {
            true => Some(self.ran(stand, &check, limits, true).await?),
            false => None,
        };
        let of_before = before.as_ref().map(|ran| &ran.known.run.outcome);
        let verdict = verify::judge(&after.known.run.outcome, of_before);
        let both = || std::iter::once(&after).chain(&before);
        Ok(Ended {
            digest: self.digest,
            verdict,
            elapsed_us: both().map(|ran| ran.known.elapsed_us).sum(),
            remembered: both().all(|ran| ran.remembered),
            tail: after.known.run.tail.clone(),
            check,
        })
    }

    /// A run that is known already, or a new one.
    async fn ran(&self, stand: &Stand, check: &Check, limits: Limits, without: bool) -> Result<Ran, Error> {
        let checks = &self.sessions.parts().checks;
        let key = Key { digest: (!without).then_some(self.digest), ..self.key(stand, check.command.clone()) };
        if let Some(known) = self.remembered(&key) {
            return Ok(Ran { known, remembered: true });
        }
        let _place = self.place(&check.name).await?;
        let detail = json!({
            "digest": self.digest, "base": stand.snapshot, "check": check.name, "command": check.command,
            "guessed_from": guessed_from(check), "without_changes": without, "setup": stand.settings.setup,
        });
        self.audit("check_begun", detail).await?;
        let start = self.sessions.parts().clock.monotonic_us();
        let run = self.run(stand, check, limits, without).await;
        let elapsed_us = self.sessions.parts().clock.monotonic_us().saturating_sub(start);
        let how = run.as_ref().map_or_else(|error| told(error), |run| run.outcome.told());
        let detail = json!({
            "digest": self.digest, "check": check.name, "without_changes": without, "how": how,
            "elapsed_us": elapsed_us,
        });
        self.audit("check_ended", detail).await?;
        let known = Known { run: run?, elapsed_us };
        if known.run.outcome.is_lasting() {
            checks.remember(key, known.clone());
        }
        Ok(Ran { known, remembered: false })
    }

    /// What a run with the selected changes is known by.
    pub(super) fn key(&self, stand: &Stand, command: String) -> Key {
        Key {
            base: stand.snapshot,
            digest: Some(self.digest),
            command,
            packages: stand.packages.digest(),
            setup: stand.settings.setup.clone(),
            sandbox: self.record.spec.sandbox.clone(),
            memory_mb: stand.memory_mb(),
        }
    }

    /// What is known of a run, unless it is to run again.
    pub(super) fn remembered(&self, key: &Key) -> Option<Known> {
        self.sessions.parts().checks.known(key).filter(|_| !self.again)
    }

    /// A place to run in.
    pub(super) async fn place(&self, name: &str) -> Result<Option<SemaphorePermit<'_>>, Error> {
        let checks = &self.sessions.parts().checks;
        if let Some(place) = checks.free_place() {
            return Ok(Some(place));
        }
        self.tell(Tried::Waits { name: name.to_owned() });
        tokio::select! {
            place = checks.place() => Ok(place),
            () = self.ending.cancelled() => Err(Error::Stopped { why: NOT_HEARD }),
        }
    }

    async fn run(&self, stand: &Stand, check: &Check, limits: Limits, without: bool) -> Result<Run, Error> {
        if let Some(run) = self.ready(stand, limits, without).await? {
            return Ok(run);
        }
        // Never left half-way: what a launch makes is removed with the place that it gives.
        let place = match stand.open(!without, None).await {
            Ok(place) => place,
            // Without a sandbox nothing is tried, and nothing runs instead.
            Err(error) => {
                let outcome = Outcome::NotStarted { why: told(&error) };
                return Ok(Run { outcome, tail: Vec::new() });
            }
        };
        let unenforced = place.sandbox.enforcement().unenforced.clone();
        self.tell(Tried::Started { check: check.clone(), without, unenforced });
        let say = |piece| self.tell(Tried::Output { piece, without });
        let run = run(&*place.sandbox, &check.command, limits, &say, &self.ending).await;
        stand.close(place).await;
        run.ok_or(Error::Stopped { why: NOT_HEARD })
    }

    /// Has the project's setup run, when it has not; a run is why the check cannot.
    pub(super) async fn ready(
        &self,
        stand: &Stand,
        limits: Limits,
        without: bool,
    ) -> Result<Option<Run>, Error> {
        let Some(script) = stand.settings.setup.clone() else { return Ok(None) };
        let check = Check { name: SETUP.to_owned(), command: script, source: Source::Configured };
        let begun = |unenforced| self.tell(Tried::Started { check: check.clone(), without, unenforced });
        let say = |piece| self.tell(Tried::Output { piece, without });
        let hearing = Hearing { begun: &begun, say: &say, stop: &self.ending };
        stand.ready(!without, limits, hearing).await.map_err(|error| match error {
            Error::Interrupted if self.ending.is_cancelled() => Error::Stopped { why: NOT_HEARD },
            other => other,
        })
    }

    pub(super) fn tell(&self, tried: Tried) {
        // Whoever asked may have gone; what counts is noted too.
        let _gone = self.say.send(Ok(tried));
    }

    /// Has the session tell it. One that is busy does so when its turn is over; nobody waits for that.
    async fn note(&self, kind: Kind) {
        tester::note(&self.sessions, &self.record.id, kind, &self.stop).await;
    }

    pub(super) async fn audit(&self, action: &'static str, detail: serde_json::Value) -> Result<(), Error> {
        let parts = Arc::clone(self.sessions.parts());
        let entry = Entry {
            time_us: parts.clock.now_us(),
            action,
            session: Some(self.record.id.clone()),
            project: Some(self.record.project.root.clone()),
            detail,
        };
        blocking(move || Ok(parts.audit.append(entry, Sync::Kernel)?)).await
    }
}

impl Driver {
    /// Tells what came of checks since.
    pub(super) async fn tell_of_checks(&mut self) {
        for kind in self.parts.checks.untold(&self.record.id) {
            match kind {
                Kind::ChecksEnded { digest, ready, ref why, of } => {
                    // Of a part of the work, or of what it was when the checks began, it says nothing of this.
                    if of.is_some() && self.record.digest == of {
                        self.record.gate = Some(Gate { digest, ready, why: why.clone(), of });
                    }
                    if let Err(error) = self.keep(vec![kind]).await {
                        tracing::error!(session = %self.record.id, error = %told(&error), "a word could not be kept");
                    }
                }
                other => self.teller.tell(other).await,
            }
        }
        self.parts.tests.at_rest(&self.record);
    }
}

/// The file that a check's command was guessed from; empty when it is configured.
#[must_use]
pub fn guessed_from(check: &Check) -> &'static str {
    match &check.source {
        Source::Configured | Source::Generated { .. } => "",
        Source::Guessed { file, .. } => file,
    }
}

/// A check's end as its session tells it.
fn fact(ended: &Ended) -> Kind {
    let Ended { digest, check, verdict, elapsed_us, remembered, tail } = ended;
    let since = verdict.since();
    Kind::CheckEnded {
        digest: *digest,
        name: check.name.clone(),
        command: check.command.clone(),
        guessed_from: guessed_from(check).to_owned(),
        verdict: verdict.name().to_owned(),
        why: verdict.why().to_owned(),
        since: since.map_or(String::new(), |since| since.name().to_owned()),
        since_why: since.map_or(String::new(), |since| since.why().to_owned()),
        elapsed_us: *elapsed_us,
        remembered: *remembered,
        tail: Bytes::from(tail.as_slice()),
        covers: covers(check).to_owned(),
    }
}

/// What a generated test checks; empty for any other check.
#[must_use]
pub fn covers(check: &Check) -> &str {
    match &check.source {
        Source::Generated { covers } => covers,
        Source::Configured | Source::Guessed { .. } => "",
    }
}
