//! `ftl.v1.ReviewService`: what would change, and the human's decision.

use std::sync::Arc;

use ftl_core::id::SessionId;
use ftl_core::review::LeftOut;
use ftl_core::tree::RelPath;
use ftl_proto::v1;
use ftl_proto::v1::review_service_server::ReviewService;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::convert::{self, wide};
use super::entry::{self, Pieces};
use super::status::{status, status_of};
use super::wanted;
use crate::session::{Application, Asked, Outcome, Proposed, Reviewed, Sessions, Undo, Undone, WouldUndo};

/// The service over the registry of sessions.
pub(super) struct ReviewApi(pub(super) Arc<Sessions>);

/// Paths that one reply lists at most; a message has a largest size.
const LISTED: usize = 1000;

#[tonic::async_trait]
impl ReviewService for ReviewApi {
    type GetDiffStream = Pieces;
    type PreviewStream = Pieces;
    type ListAppliedStream = ReceiverStream<Result<v1::Application, Status>>;
    type BlameStream = ReceiverStream<Result<v1::Origin, Status>>;
    type PreviewUndoStream = Pieces;

    async fn get_diff(
        &self,
        request: Request<v1::GetDiffRequest>,
    ) -> Result<Response<Self::GetDiffStream>, Status> {
        let request = request.into_inner();
        let id = super::resolve(&self.0, &request.session)?;
        let reviewed = self.0.review(&id).await.map_err(|error| status_of(&id, &error))?;
        let appraiser = self.0.appraiser(&id, &reviewed).await.map_err(|error| status_of(&id, &error))?;
        let changes = reviewed.review.changes().to_vec();
        Ok(Response::new(entry::streamed(
            appraiser,
            header(&reviewed),
            changes,
            (request.stat_only, request.contents),
        )))
    }

    async fn preview(
        &self,
        request: Request<v1::PreviewRequest>,
    ) -> Result<Response<Self::PreviewStream>, Status> {
        let request = request.into_inner();
        let id = super::resolve(&self.0, &request.session)?;
        let asked = wanted::asked(request.selection, request.resolutions, request.accepted)?;
        let asked = Asked { shown: request.shown, ..asked };
        let proposed = self.0.preview(&id, asked).await.map_err(|error| status_of(&id, &error))?;
        let header = preview_header(&proposed);
        let (stat_only, merged_hunks, contents) = (request.stat_only, request.merged_hunks, request.contents);
        let entries = move || {
            (0..proposed.proposal.items().len()).filter_map(move |at| {
                let item = proposed.proposal.items().get(at)?;
                let found = proposed.appraisals.get(at)?.clone();
                let mut entry = entry::proposed(
                    item,
                    found,
                    stat_only && !(merged_hunks && (item.merged || !item.conflicts.is_empty())),
                );
                entry::renamed(&mut entry, proposed.appraiser.renamed_from(&item.change.path));
                if contents && !entry.elided.is_empty() {
                    match proposed.appraiser.contents(&item.change) {
                        Ok(found) => [entry.content_before, entry.content_after] = found,
                        Err(error) => return Some(Err(error)),
                    }
                }
                for finding in &mut entry.findings {
                    finding.accepted = proposed.accepted.get(&finding.id).cloned().unwrap_or_default();
                }
                Some(Ok(entry))
            })
        };
        Ok(Response::new(entry::sent(header, entries)))
    }

    async fn list_applied(
        &self,
        request: Request<v1::ListAppliedRequest>,
    ) -> Result<Response<Self::ListAppliedStream>, Status> {
        let request = request.into_inner();
        let applied = match request.session.as_str() {
            "" => self.0.applied_to(&convert::optional_project(request.project)?),
            text => self.0.applied_from(text),
        };
        let applied = applied.map_err(|error| status(&error))?;
        let (items, stream) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            for application in applied {
                if items.send(Ok(wire_application(application))).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn blame(&self, request: Request<v1::BlameRequest>) -> Result<Response<Self::BlameStream>, Status> {
        let request = request.into_inner();
        let id = super::resolve(&self.0, &request.session)?;
        let mut paths = convert::rel_paths(vec![request.path])?;
        let path = paths.pop().ok_or_else(|| Status::invalid_argument("no path"))?;
        let origins = self.0.blame(&id, path).await.map_err(|error| status_of(&id, &error))?;
        Ok(Response::new(super::blame::streamed(origins)))
    }

    async fn approve(
        &self,
        request: Request<v1::ApproveRequest>,
    ) -> Result<Response<v1::ApproveReply>, Status> {
        let request = request.into_inner();
        let id = super::resolve(&self.0, &request.session)?;
        let selection = wanted::of_paths(request.paths, request.selection)?;
        let asked = wanted::asked(Some(selection), request.resolutions, request.accepted)?;
        let asked = Asked { shown: request.shown, ..asked };
        let outcome =
            self.0.approve(&id, request.digest, asked).await.map_err(|error| status_of(&id, &error))?;
        let Outcome { apply, paths, left_alone, record } = outcome;
        Ok(Response::new(v1::ApproveReply {
            apply: apply.to_string(),
            paths_total: wide(paths.len()),
            paths: listed(&paths),
            left_alone: left_alone
                .into_iter()
                .take(LISTED)
                .map(|(path, reason)| v1::LeftAlone { path: path.as_bytes().to_vec(), reason })
                .collect(),
            session: Some(super::wire(&self.0, record)?),
        }))
    }

    async fn reject(&self, request: Request<v1::RejectRequest>) -> Result<Response<v1::RejectReply>, Status> {
        let request = request.into_inner();
        let id = super::resolve(&self.0, &request.session)?;
        let rejected = self.0.reject(&id, request.why, request.go_on).await;
        let record = rejected.map_err(|error| status_of(&id, &error))?;
        Ok(Response::new(v1::RejectReply {
            kept_until_us: self.0.kept_until_us(&record).map_err(|error| status(&error))?,
            checkpoint: record.at,
            session: Some(super::wire(&self.0, record)?),
        }))
    }

    async fn undo(&self, request: Request<v1::UndoRequest>) -> Result<Response<v1::UndoReply>, Status> {
        let request = request.into_inner();
        let id = self.applied(&request.session, request.project)?;
        if request.merge && request.digest.is_empty() {
            return Err(Status::invalid_argument("`merge` without the `digest` that PreviewUndo tells"));
        }
        let how = Undo { merge: request.merge, digest: request.digest };
        let Undone::Done(outcome) = self.0.undo(&id, how).await.map_err(|error| status_of(&id, &error))?
        else {
            return Err(Status::internal("nothing was taken back"));
        };
        Ok(Response::new(v1::UndoReply {
            apply: outcome.apply.to_string(),
            paths_total: wide(outcome.paths.len()),
            paths: listed(&outcome.paths),
            session: Some(super::wire(&self.0, outcome.record)?),
        }))
    }

    async fn preview_undo(
        &self,
        request: Request<v1::PreviewUndoRequest>,
    ) -> Result<Response<Self::PreviewUndoStream>, Status> {
        let request = request.into_inner();
        let id = self.applied(&request.session, request.project)?;
        let how = Undo { merge: true, digest: String::new() };
        let Undone::Would(would) = self.0.undo(&id, how).await.map_err(|error| status_of(&id, &error))?
        else {
            return Err(Status::internal("it was taken back unasked"));
        };
        let WouldUndo { proposal, appraisals, record, .. } = would;
        let header = v1::DiffHeader {
            session: record.id.to_string(),
            digest: proposal.digest().map(|digest| digest.to_string()).unwrap_or_default(),
            entries: wide(proposal.items().len()),
            ..v1::DiffHeader::default()
        };
        let entries = move || {
            let mut appraisals = appraisals.into_iter();
            (0..proposal.items().len()).filter_map(move |at| {
                let item = proposal.items().get(at)?;
                Some(Ok(entry::proposed(item, appraisals.next()?, false)))
            })
        };
        Ok(Response::new(entry::sent(header, entries)))
    }
}

impl ReviewApi {
    /// The session that is meant: a named one, or the last that was applied to the project.
    fn applied(&self, session: &str, project: Vec<u8>) -> Result<SessionId, Status> {
        if !session.is_empty() {
            return super::resolve(&self.0, session);
        }
        let project = convert::absolute(project, "project")?;
        let project = std::os::unix::ffi::OsStrExt::as_bytes(project.as_os_str());
        self.0.last_applied(project).map_err(|error| status(&error))
    }
}

fn listed(paths: &[RelPath]) -> Vec<Vec<u8>> {
    paths.iter().take(LISTED).map(|path| path.as_bytes().to_vec()).collect()
}

fn header(reviewed: &Reviewed) -> v1::DiffHeader {
    v1::DiffHeader {
        session: reviewed.review.session().to_string(),
        base: reviewed.review.base().to_string(),
        digest: reviewed.review.digest().map(|digest| digest.to_string()).unwrap_or_default(),
        entries: wide(reviewed.review.changes().len()),
        ignored: reviewed.ignored,
        unread: reviewed.unread.clone(),
        ..v1::DiffHeader::default()
    }
}

fn preview_header(proposed: &Proposed) -> v1::DiffHeader {
    let proposal = &proposed.proposal;
    let left_out =
        |left: &LeftOut| v1::LeftAlone { path: left.path.as_bytes().to_vec(), reason: left.why.clone() };
    v1::DiffHeader {
        digest: proposal.digest().map(|digest| digest.to_string()).unwrap_or_default(),
        entries: wide(proposal.items().len()),
        conflicts: wide(proposal.open()),
        findings: wide(proposed.holding().count()),
        merged: wide(proposal.items().iter().filter(|item| item.merged).count()),
        left_out: proposal.left_out().iter().take(LISTED).map(left_out).collect(),
        whole: proposed.reviewed.review.digest().map(|digest| digest.to_string()).unwrap_or_default(),
        ..header(&proposed.reviewed)
    }
}

fn wire_application(application: Application) -> v1::Application {
    v1::Application {
        apply: application.apply.to_string(),
        session: application.session.to_string(),
        time_us: application.time_us,
        digest: application.digest.to_string(),
        paths_total: application.paths_total,
        paths: listed(&application.paths),
        undone: application.undone,
        by: application.by,
        removed: application.removed,
    }
}
