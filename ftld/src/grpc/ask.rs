//! `ftl.v1.AskService`: questions about a session's work, and a model's review of it.

use std::sync::Arc;

use ftl_core::llm::End;
use ftl_core::opinion::{self, LeftOut};
use ftl_proto::v1;
use ftl_proto::v1::ask_service_server::AskService;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::convert::{self, wide};
use super::status::status;
use crate::session::Sessions;
use crate::session::ask::{Asking, Begun, Heard, Shown, Spent};

/// The service over the registry of sessions.
pub(super) struct AskApi(pub(super) Arc<Sessions>);

/// Paths that one message lists at most; a message has a largest size.
const LISTED: usize = 1000;

#[tonic::async_trait]
impl AskService for AskApi {
    type AskStream = BoxStream<'static, Result<v1::AskEvent, Status>>;
    type ReviewStream = BoxStream<'static, Result<v1::OpinionEvent, Status>>;

    async fn ask(&self, request: Request<v1::AskRequest>) -> Result<Response<Self::AskStream>, Status> {
        use v1::ask_event::Kind;
        let request = request.into_inner();
        let id = super::resolve(&self.0, &request.session)?;
        let shown = shown(request.scope)?;
        let asking = self.0.question(&id, &request.question, shown).await.map_err(|error| status(&error))?;
        let wire = |piece| match piece {
            Piece::Asked(asked) => Some(Kind::Asked(asked)),
            Piece::Text(text) => Some(Kind::Text(text)),
            Piece::Again(again) => Some(Kind::Again(again)),
            Piece::End(end) => Some(Kind::End(end)),
            Piece::Received(_) | Piece::Opinion(_) => None,
        };
        let event = move |piece: Result<Piece, Status>| piece.map(|piece| v1::AskEvent { kind: wire(piece) });
        Ok(Response::new(pieces(asking).map(event).boxed()))
    }

    async fn review(
        &self,
        request: Request<v1::OpinionRequest>,
    ) -> Result<Response<Self::ReviewStream>, Status> {
        use v1::opinion_event::Kind;
        let request = request.into_inner();
        let id = super::resolve(&self.0, &request.session)?;
        let shown = shown(request.scope)?;
        let asking = self.0.opinion(&id, shown, request.same_model).await.map_err(|error| status(&error))?;
        let wire = |piece| match piece {
            Piece::Asked(asked) => Some(Kind::Asked(asked)),
            Piece::Received(bytes) => Some(Kind::Received(bytes)),
            Piece::Again(again) => Some(Kind::Again(again)),
            Piece::Opinion(opinion) => Some(Kind::Opinion(opinion)),
            Piece::End(end) => Some(Kind::End(end)),
            Piece::Text(_) => None,
        };
        let event =
            move |piece: Result<Piece, Status>| piece.map(|piece| v1::OpinionEvent { kind: wire(piece) });
        Ok(Response::new(pieces(asking).map(event).boxed()))
    }
}

/// A piece of either stream.
enum Piece {
    Asked(v1::ModelAsked),
    Text(String),
    Received(u64),
    Again(v1::ModelAgain),
    Opinion(v1::Opinion),
    End(v1::ModelEnd),
}

fn pieces(asking: Asking) -> impl stream::Stream<Item = Result<Piece, Status>> {
    let first = Piece::Asked(asked(asking.begun));
    let rest =
        ReceiverStream::new(asking.events).map(|heard| heard.map(piece).map_err(|error| status(&error)));
    stream::iter([Ok(first)]).chain(rest)
}

fn shown(scope: Option<v1::AskScope>) -> Result<Shown, Status> {
    let v1::AskScope { paths, hunks } = scope.unwrap_or_default();
    let hunk = |v1::AskHunk { path, hunk }| {
        let path = match path.is_empty() {
            true => None,
            false => convert::rel_paths(vec![path])?.pop(),
        };
        Ok((path, hunk))
    };
    let hunks: Result<Vec<_>, Status> = hunks.into_iter().map(hunk).collect();
    Ok(Shown { paths: convert::rel_paths(paths)?, hunks: hunks? })
}

fn asked(begun: Begun) -> v1::ModelAsked {
    let left_out = |LeftOut { path, why }: &LeftOut| v1::LeftAlone {
        path: path.as_bytes().to_vec(),
        reason: why.to_string(),
    };
    v1::ModelAsked {
        model: begun.model,
        host: begun.host,
        digest: begun.digest.map(|digest| digest.to_string()).unwrap_or_default(),
        files: begun.files,
        hunks: begun.hunks,
        withheld_lines: begun.withheld,
        left_out: begun.left_out.iter().take(LISTED).map(left_out).collect(),
        left_out_total: wide(begun.left_out.len()),
    }
}

fn piece(heard: Heard) -> Piece {
    match heard {
        Heard::Text(text) => Piece::Text(text),
        Heard::Progress(bytes) => Piece::Received(bytes),
        Heard::Again { attempt, wait_ms, why } => Piece::Again(v1::ModelAgain { attempt, wait_ms, why }),
        Heard::Opinion(opinion) => Piece::Opinion(wire(opinion)),
        Heard::End { end, spent } => Piece::End(ended(end, spent)),
    }
}

fn wire(opinion: opinion::Opinion) -> v1::Opinion {
    let finding = |opinion::Finding { severity, path, line, text }| v1::OpinionFinding {
        severity: severity.name().to_owned(),
        path: path.unwrap_or_default(),
        line: line.unwrap_or_default(),
        text,
    };
    v1::Opinion {
        summary: opinion.summary,
        findings: opinion.findings.into_iter().map(finding).collect(),
        task_followed: opinion.task.name().to_owned(),
        why: opinion.why,
    }
}

fn ended(end: End, spent: Spent) -> v1::ModelEnd {
    let reason = match end {
        End::Done => "done",
        End::Length => "length",
        End::Refused => "refused",
        End::Tools | End::Unknown => "unknown",
    };
    v1::ModelEnd {
        reason: reason.to_owned(),
        attempts: spent.attempts,
        input_tokens: spent.usage.map(|usage| usage.input),
        output_tokens: spent.usage.map(|usage| usage.output),
        cost_micro_usd: spent.cost.as_ref().map(|cost| cost.micro_usd),
        prices_of: spent.cost.map(|cost| cost.as_of.to_owned()).unwrap_or_default(),
    }
}
