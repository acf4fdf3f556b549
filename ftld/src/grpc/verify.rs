//! `ftl.v1.VerifyService`: what was selected, tried before it lands.

use std::sync::Arc;

use ftl_core::event::Kind;
use ftl_core::tester::Written;
use ftl_core::verify::{Source, Word};
use ftl_proto::v1;
use ftl_proto::v1::test_event::Event;
use ftl_proto::v1::verify_service_server::VerifyService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status};

use super::status::status;
use super::wanted;
use crate::session::Asked;
use crate::session::Sessions;
use crate::session::check::{Ended, Trial, Tried, covers, guessed_from};
use crate::session::tester::Kept;

/// The service over the registry of sessions.
pub(super) struct VerifyApi(pub(super) Arc<Sessions>);

#[tonic::async_trait]
impl VerifyService for VerifyApi {
    type TestStream = UnboundedReceiverStream<Result<v1::TestEvent, Status>>;

    async fn test(&self, request: Request<v1::TestRequest>) -> Result<Response<Self::TestStream>, Status> {
        let v1::TestRequest { session, selection, resolutions, again, stop_when_gone, shown } =
            request.into_inner();
        let id = super::resolve(&self.0, &session)?;
        let asked = wanted::asked(selection, resolutions, Vec::new())?;
        let asked = Asked { shown, ..asked };
        let trial = Trial { asked, again, stop_when_gone };
        let mut heard = self.0.test(&id, trial).await.map_err(|error| status(&error))?;
        // What a check may print is limited, and so is what waits here for a client that does not read.
        let (events, stream) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let tried = tokio::select! {
                    tried = heard.recv() => tried,
                    () = events.closed() => return,
                };
                let Some(tried) = tried else { return };
                let event = tried.map(wire).map_err(|error| status(&error));
                if events.send(event).is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(stream)))
    }

    async fn list_generated(
        &self,
        request: Request<v1::ListGeneratedRequest>,
    ) -> Result<Response<v1::ListGeneratedReply>, Status> {
        let id = super::resolve(&self.0, &request.into_inner().session)?;
        let kept = self.0.generated(&id).await.map_err(|error| status(&error))?;
        Ok(Response::new(kept.map(generated).unwrap_or_default()))
    }

    async fn keep_generated(
        &self,
        request: Request<v1::KeepGeneratedRequest>,
    ) -> Result<Response<v1::KeepGeneratedReply>, Status> {
        let v1::KeepGeneratedRequest { session, paths } = request.into_inner();
        let id = super::resolve(&self.0, &session)?;
        let record = self.0.keep_tests(&id, &paths).await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::KeepGeneratedReply { session: Some(super::wire(&self.0, record)?) }))
    }
}

fn generated(kept: Kept) -> v1::ListGeneratedReply {
    let results = kept.tested.as_ref().map(|tested| tested.results.as_slice()).unwrap_or_default();
    let test = |test: Written| {
        let result = results.iter().find(|result| result.path == test.path);
        v1::GeneratedTest {
            verdict: named_verdict(result.map_or("", |result| &result.verdict)).into(),
            why: result.map(|result| result.why.clone()).unwrap_or_default(),
            tail: result.map(|result| result.tail.0.clone()).unwrap_or_default(),
            path: test.path,
            contents: test.contents.into_bytes(),
            covers: test.covers,
        }
    };
    v1::ListGeneratedReply {
        tests: kept.tests.into_iter().map(test).collect(),
        digest: kept.tested.as_ref().map(|tested| tested.digest.to_string()).unwrap_or_default(),
        model: kept.model,
        framework: kept.framework,
        why: kept.why,
        notes: kept.notes,
    }
}

fn wire(tried: Tried) -> v1::TestEvent {
    let event = match tried {
        Tried::Begun { digest, base, checks } => Event::Begun(v1::ChecksBegun {
            digest: digest.to_string(),
            base: base.to_string(),
            checks: checks.into_iter().map(|check| check.name).collect(),
        }),
        Tried::Notice { text } => Event::Notice(v1::CheckNotice { text }),
        Tried::Waits { name } => Event::Waits(v1::CheckWaits { name }),
        Tried::Started { check, without, unenforced } => Event::Started(v1::CheckStarted {
            guessed_from: guessed_from(&check).to_owned(),
            guessed_from_new: matches!(check.source, Source::Guessed { is_new: true, .. }),
            name: check.name,
            command: check.command,
            without_changes: without,
            unenforced,
        }),
        Tried::Output { piece, without } => Event::Output(v1::CheckOutput {
            data: piece.data,
            stderr: piece.stderr,
            without_changes: without,
        }),
        Tried::Ended(ended) => Event::Ended(end(*ended)),
        Tried::Word { digest, word: Word { ready, why } } => {
            Event::Word(v1::ChecksEnded { digest: digest.to_string(), ready, why })
        }
    };
    v1::TestEvent { event: Some(event) }
}

fn end(ended: Ended) -> v1::CheckEnded {
    let Ended { digest, check, verdict, elapsed_us, remembered, tail } = ended;
    let since = verdict.since();
    v1::CheckEnded {
        covers: covers(&check).to_owned(),
        digest: digest.to_string(),
        guessed_from: guessed_from(&check).to_owned(),
        name: check.name,
        command: check.command,
        verdict: named_verdict(verdict.name()).into(),
        why: verdict.why().to_owned(),
        since: named_since(since.map_or("", |since| since.name())).into(),
        since_why: since.map_or(String::new(), |since| since.why().to_owned()),
        elapsed_us,
        remembered,
        tail,
    }
}

/// What a session's event tells of checks and generated tests; an empty end of any other event.
pub(super) fn stored(kind: Kind) -> v1::event::Kind {
    use v1::event::Kind as W;
    match kind {
        Kind::ChecksBegun { digest, base, checks } => {
            W::ChecksBegun(v1::ChecksBegun { digest: digest.to_string(), base: base.to_string(), checks })
        }
        Kind::ChecksEnded { digest, ready, why, .. } => {
            W::ChecksEnded(v1::ChecksEnded { digest: digest.to_string(), ready, why })
        }
        Kind::CheckEnded {
            digest,
            name,
            command,
            guessed_from,
            verdict,
            why,
            since,
            since_why,
            elapsed_us,
            remembered,
            tail,
            covers,
        } => W::CheckEnded(v1::CheckEnded {
            digest: digest.to_string(),
            name,
            command,
            guessed_from,
            verdict: named_verdict(&verdict).into(),
            why,
            since: named_since(&since).into(),
            since_why,
            elapsed_us,
            remembered,
            tail: tail.0,
            covers,
        }),
        Kind::TestsAsked { model, framework } => W::TestsAsked(v1::TestsAsked { model, framework }),
        Kind::TestsWritten { model, paths, adapted } => {
            W::TestsWritten(v1::TestsWritten { model, paths, adapted })
        }
        Kind::TestsNotWritten { model, why } => W::TestsNotWritten(v1::TestsNotWritten { model, why }),
        Kind::FixAsked { round, of } => W::FixAsked(v1::FixAsked { round, of }),
        _ => W::CheckEnded(v1::CheckEnded::default()),
    }
}

fn named_verdict(name: &str) -> v1::CheckVerdict {
    match name {
        "passed" => v1::CheckVerdict::Passed,
        "failed" => v1::CheckVerdict::Failed,
        "could_not_run" => v1::CheckVerdict::CouldNotRun,
        "nothing_ran" => v1::CheckVerdict::NothingRan,
        _ => v1::CheckVerdict::Unspecified,
    }
}

fn named_since(name: &str) -> v1::CheckSince {
    match name {
        "regression" => v1::CheckSince::Regression,
        "before" => v1::CheckSince::Before,
        "unknown" => v1::CheckSince::Unknown,
        _ => v1::CheckSince::Unspecified,
    }
}

#[cfg(test)]
mod tests {
    use ftl_core::verify::{Outcome, Since, Verdict, judge};

    use super::*;

    #[test]
    fn every_verdict_has_its_name_on_the_wire() {
        let outcomes = [
            Outcome::Passed,
            Outcome::Code(1),
            Outcome::Empty { why: "" },
            Outcome::NotStarted { why: String::new() },
        ];
        for outcome in outcomes {
            let verdict = judge(&outcome, None);
            assert_ne!(named_verdict(verdict.name()), v1::CheckVerdict::Unspecified, "{verdict:?}");
        }
        let why = String::new;
        for since in [Since::Regression, Since::Before { why: why() }, Since::Unknown { why: why() }] {
            let verdict = Verdict::Failed { why: why(), since };
            let name = verdict.since().map_or("", Since::name);
            assert_ne!(named_since(name), v1::CheckSince::Unspecified, "{verdict:?}");
        }
    }
}
