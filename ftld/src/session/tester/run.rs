//! Trying generated tests over what would land.
//!
//! Owns that each file has sandboxes of its own, over the same stand as the project's checks, with nothing laid over
//! the work but that file; and that one that passed is tried once more with a test that must fail. Must not know what
//! the runs mean: that is [`ftl_core::tester`]'s.

use ftl_core::event::Bytes;
use ftl_core::id::Hash;
use ftl_core::tester::control::{self, Run as Laid};
use ftl_core::tester::{self, Framework, Written, trial};
use ftl_core::verify::{Check, Limits, Outcome, Source, Verdict};
use futures_util::stream::{self, StreamExt as _};

use super::store::{self, FileResult, Kept, Tested};
use crate::session::Error;
use crate::session::ask;
use crate::session::check::{Ended, NOT_HEARD, Tried, Work};
use crate::session::checks::{Key, Known};
use crate::session::driver::told;
use crate::session::stand::Stand;
use crate::verify::{Run, run};

/// The name of what stands for tests that are not there.
const NONE: &str = "generated tests";
/// Files that are tried at once; the places for checks are fewer, and each waits for one.
const AT_ONCE: usize = 2;

/// A file that was tried.
pub(super) struct Judged {
    pub(super) ended: Ended,
    /// Whether another file may have it run.
    pub(super) lacks_names: bool,
}

impl Work {
    /// Tries a session's generated tests, when it has a tester. What cannot be tried holds the work as a test that
    /// could not run.
    pub(in crate::session) async fn generated(
        &self,
        stand: &Stand,
        limits: Limits,
    ) -> Result<Vec<Ended>, Error> {
        if self.record.spec.tests.model.is_none() {
            return Ok(Vec::new());
        }
        let parts = self.sessions.parts();
        tokio::select! {
            () = parts.tests.written(&self.record.id) => {}
            () = self.ending.cancelled() => return Err(Error::Stopped { why: NOT_HEARD }),
        }
        let kept = match store::load(parts, &self.record.id).await {
            Ok(Some(kept)) if kept.why.is_empty() => kept,
            Ok(Some(kept)) => return Ok(vec![self.none(kept.why)]),
            Ok(None) => return Ok(vec![self.none("none were written".to_owned())]),
            Err(error) => return Ok(vec![self.none(told(&error))]),
        };
        let Some(framework) = Framework::named(&kept.framework) else {
            return Ok(vec![self.none("this version does not know their framework".to_owned())]);
        };
        let mut judged = self.try_all(stand, framework, &kept.tests, limits).await?;
        let mut kept = kept;
        if !kept.adapted && judged.iter().any(|one| one.lacks_names) {
            kept = self.adapted(stand, framework, kept, (&mut judged, limits)).await?;
        }
        let ended: Vec<Ended> = judged.into_iter().map(|one| one.ended).collect();
        kept.tested = Some(tested(self, stand, &ended));
        store::save(parts, &self.record.id, &kept).await?;
        Ok(ended)
    }

    /// Tries these files, in their order.
    pub(super) async fn try_all(
        &self,
        stand: &Stand,
        framework: Framework,
        tests: &[Written],
        limits: Limits,
    ) -> Result<Vec<Judged>, Error> {
        let each: Vec<_> = tests.iter().map(|test| self.try_one(stand, framework, test, limits)).collect();
        let all = stream::iter(each).buffered(AT_ONCE).collect::<Vec<_>>().await;
        all.into_iter().collect()
    }

    async fn try_one(
        &self,
        stand: &Stand,
        framework: Framework,
        test: &Written,
        limits: Limits,
    ) -> Result<Judged, Error> {
        let trial = trial::Trial { framework, path: &test.path, contents: &test.contents };
        let around = stand.files(true);
        let laid = control::plain(&trial, &around);
        let check = Check {
            name: test.path.clone(),
            command: laid.command.clone(),
            source: Source::Generated { covers: test.covers.clone() },
        };
        if let Some(why) = trial::unfit(&trial) {
            let ended = self.ended(check, Verdict::CouldNotRun { why: why.to_owned() });
            return Ok(Judged { ended, lacks_names: true });
        }
        let what = Hash::of(test.contents.as_bytes());
        let key = |which: &str| self.key(stand, format!("{which} {what} {}", laid.command));
        let (run, of_run) = self.laid(stand, &check, (&laid, false), (limits, key("generated"))).await?;
        let mut ended = Ended {
            elapsed_us: run.elapsed_us,
            remembered: of_run,
            tail: run.run.tail.clone(),
            ..self.ended(check.clone(), tester::judge(&run.run.outcome, None))
        };
        if run.run.outcome == Outcome::Passed {
            let control = control::control(&trial, &around, ask::number()?);
            let (held, of_held) =
                self.laid(stand, &check, (&control, true), (limits, key("control"))).await?;
            ended.verdict = tester::judge(&run.run.outcome, Some(&held.run.outcome));
            ended.elapsed_us = ended.elapsed_us.saturating_add(held.elapsed_us);
            ended.remembered = of_run && of_held;
        }
        Ok(Judged { ended, lacks_names: tester::lacks_names(&run.run.outcome) })
    }

    /// One run of files that are laid over the work, or what is known of it already.
    async fn laid(
        &self,
        stand: &Stand,
        check: &Check,
        (laid, is_control): (&Laid, bool),
        (limits, key): (Limits, Key),
    ) -> Result<(Known, bool), Error> {
        if let Some(known) = self.remembered(&key) {
            return Ok((known, true));
        }
        let _place = self.place(&check.name).await?;
        let detail = serde_json::json!({
            "digest": self.digest, "base": stand.snapshot, "check": check.name, "command": laid.command,
            "generated": true, "control": is_control,
        });
        self.audit("check_begun", detail).await?;
        let clock = &self.sessions.parts().clock;
        let start = clock.monotonic_us();
        let run = self.run_laid(stand, check, (laid, is_control), limits).await;
        let elapsed_us = clock.monotonic_us().saturating_sub(start);
        let how = run.as_ref().map_or_else(|error| told(error), |run| run.outcome.told());
        let detail = serde_json::json!({
            "digest": self.digest, "check": check.name, "generated": true, "control": is_control, "how": how,
            "elapsed_us": elapsed_us,
        });
        self.audit("check_ended", detail).await?;
        let known = Known { run: run?, elapsed_us };
        if known.run.outcome.is_lasting() {
            self.sessions.parts().checks.remember(key, known.clone());
        }
        Ok((known, false))
    }

    async fn run_laid(
        &self,
        stand: &Stand,
        check: &Check,
        (laid, is_control): (&Laid, bool),
        limits: Limits,
    ) -> Result<Run, Error> {
        let not_started =
            |error: &Error| Run { outcome: Outcome::NotStarted { why: told(error) }, tail: Vec::new() };
        if let Some(run) = self.ready(stand, limits, false).await? {
            return Ok(run);
        }
        let over = match stand.lay_over(&laid.files).await {
            Ok(over) => over,
            Err(error) => return Ok(not_started(&error)),
        };
        // Never left half-way: what a launch makes is removed with the place that it gives.
        let place = match stand.open(true, Some(&over)).await {
            Ok(place) => place,
            Err(error) => {
                stand.take_off(over).await;
                return Ok(not_started(&error));
            }
        };
        if !is_control {
            let unenforced = place.sandbox.enforcement().unenforced.clone();
            self.tell(Tried::Started { check: check.clone(), without: false, unenforced });
        }
        // Several run at once; what each has printed is told with its verdict.
        let run = run(&*place.sandbox, &laid.command, limits, &|_| {}, &self.ending).await;
        stand.close(place).await;
        stand.take_off(over).await;
        run.ok_or(Error::Stopped { why: NOT_HEARD })
    }

    /// Tests that are not there.
    fn none(&self, why: String) -> Ended {
        let source = Source::Generated { covers: String::new() };
        let check = Check { name: NONE.to_owned(), command: String::new(), source };
        self.ended(check, Verdict::CouldNotRun { why })
    }

    fn ended(&self, check: Check, verdict: Verdict) -> Ended {
        Ended { digest: self.digest, check, verdict, elapsed_us: 0, remembered: false, tail: Vec::new() }
    }
}

fn tested(work: &Work, stand: &Stand, ended: &[Ended]) -> Tested {
    let result = |one: &Ended| FileResult {
        path: one.check.name.clone(),
        verdict: one.verdict.name().to_owned(),
        why: one.verdict.why().to_owned(),
        tail: Bytes::from(one.tail.as_slice()),
    };
    Tested { digest: work.digest, base: stand.snapshot, results: ended.iter().map(result).collect() }
}

/// What is kept with tests that were written again.
pub(super) fn with_new(kept: Kept, unfit: &[&str], new: Vec<Written>, notes: &str) -> Kept {
    let mut tests: Vec<Written> =
        kept.tests.iter().filter(|test| !unfit.contains(&test.path.as_str())).cloned().collect();
    tests.extend(new);
    let notes = [kept.notes.as_str(), notes]
        .iter()
        .filter(|text| !text.is_empty())
        .copied()
        .collect::<Vec<_>>()
        .join("\n");
    Kept { tests, notes, adapted: true, ..kept }
}
