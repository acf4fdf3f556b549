//! `ftl.v1.ReviewService`: what would change, and the human's decision.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::Arc;

use ftl_core::diff::{After, Change, Kind};
use ftl_core::hunk::{self, Elided, Hunks, Limits};
use ftl_core::refuse::{self, Content};
use ftl_core::tree::{Node, RelPath};
use ftl_proto::v1;
use ftl_proto::v1::review_service_server::ReviewService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::convert::{self, wide};
use super::status::status;
use crate::session::{Error, Outcome, Reviewed, Sessions};
use crate::snapshot::LocalStore;

/// The service over the registry of sessions.
pub(super) struct ReviewApi(pub(super) Arc<Sessions>);

/// Bytes of a large file that are read to tell text from binary.
const BEGINNING: u64 = 8 * 1024;
/// Paths that one reply lists at most; a message has a largest size.
const LISTED: usize = 1000;
/// Replies that wait for a slow client at most.
const STREAM_BUFFER: usize = 16;

#[tonic::async_trait]
impl ReviewService for ReviewApi {
    type GetDiffStream = ReceiverStream<Result<v1::DiffItem, Status>>;
    type PreviewStream = ReceiverStream<Result<v1::DiffItem, Status>>;
    type ListAppliedStream = ReceiverStream<Result<v1::Application, Status>>;

    async fn preview(&self, _: Request<v1::PreviewRequest>) -> Result<Response<Self::PreviewStream>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn list_applied(
        &self,
        _: Request<v1::ListAppliedRequest>,
    ) -> Result<Response<Self::ListAppliedStream>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn get_diff(
        &self,
        request: Request<v1::GetDiffRequest>,
    ) -> Result<Response<Self::GetDiffStream>, Status> {
        let request = request.into_inner();
        let id = super::resolve(&self.0, &request.session)?;
        let reviewed = self.0.review(&id).await.map_err(|error| status(&error))?;
        let store = Arc::clone(&self.0.parts().store);
        let header = header(&reviewed);
        let (changes, collisions) = (reviewed.review.changes().to_vec(), reviewed.collisions.clone());
        Ok(Response::new(streamed(store, header, (changes, collisions), request.stat_only)))
    }

    async fn approve(
        &self,
        request: Request<v1::ApproveRequest>,
    ) -> Result<Response<v1::ApproveReply>, Status> {
        let request = request.into_inner();
        let id = super::resolve(&self.0, &request.session)?;
        let paths = convert::rel_paths(request.paths)?;
        let outcome = self.0.approve(&id, request.digest, paths).await.map_err(|error| status(&error))?;
        let Outcome { apply, paths, left_alone, record } = outcome;
        Ok(Response::new(v1::ApproveReply {
            apply: apply.to_string(),
            paths_total: wide(paths.len()),
            paths: paths.into_iter().take(LISTED).map(|path| path.as_bytes().to_vec()).collect(),
            left_alone: left_alone
                .into_iter()
                .take(LISTED)
                .map(|left| v1::LeftAlone {
                    path: left.path.as_bytes().to_vec(),
                    reason: left.why.to_owned(),
                })
                .collect(),
            session: Some(super::wire(&self.0, record)?),
        }))
    }

    async fn reject(&self, request: Request<v1::RejectRequest>) -> Result<Response<v1::RejectReply>, Status> {
        let request = request.into_inner();
        let id = super::resolve(&self.0, &request.session)?;
        let record = self.0.reject(&id, request.why).await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::RejectReply { session: Some(super::wire(&self.0, record)?) }))
    }

    async fn undo(&self, request: Request<v1::UndoRequest>) -> Result<Response<v1::UndoReply>, Status> {
        let request = request.into_inner();
        let id = match request.session.as_str() {
            "" => {
                let project = convert::absolute(request.project, "project")?;
                let project = std::os::unix::ffi::OsStrExt::as_bytes(project.as_os_str());
                self.0.last_applied(project).map_err(|error| status(&error))?
            }
            text => super::resolve(&self.0, text)?,
        };
        let outcome = self.0.undo(&id).await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::UndoReply {
            apply: outcome.apply.to_string(),
            paths_total: wide(outcome.paths.len()),
            paths: outcome.paths.into_iter().take(LISTED).map(|path| path.as_bytes().to_vec()).collect(),
            session: Some(super::wire(&self.0, outcome.record)?),
        }))
    }
}

/// A diff, computed as fast as it is taken. With the changes come the paths that a host which folds names
/// would take for another one.
pub(super) fn streamed(
    store: Arc<LocalStore>,
    header: v1::DiffHeader,
    (changes, collisions): (Vec<Change>, BTreeSet<RelPath>),
    stat_only: bool,
) -> ReceiverStream<Result<v1::DiffItem, Status>> {
    let (items, stream) = mpsc::channel(STREAM_BUFFER);
    tokio::task::spawn_blocking(move || {
        let header = v1::diff_item::Item::Header(header);
        let entries = changes.iter().map(|change| {
            let collides = collisions.contains(&change.path);
            entry(&store, change, collides, stat_only).map(v1::diff_item::Item::Entry)
        });
        for item in std::iter::once(Ok(header)).chain(entries) {
            let item = item.map(|item| v1::DiffItem { item: Some(item) }).map_err(|error| status(&error));
            if items.blocking_send(item).is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(stream)
}

fn header(reviewed: &Reviewed) -> v1::DiffHeader {
    v1::DiffHeader {
        session: reviewed.review.session().to_string(),
        base: reviewed.review.base().to_string(),
        digest: reviewed.review.digest().map(|digest| digest.to_string()).unwrap_or_default(),
        entries: wide(reviewed.review.changes().len()),
        ignored: reviewed.ignored,
        unread: reviewed.unread.clone(),
    }
}

/// One entry with its hunks, computed from the store's bytes.
fn entry(
    store: &LocalStore,
    change: &Change,
    collides: bool,
    stat_only: bool,
) -> Result<v1::DiffEntry, Error> {
    let (hunks, content) = compare(store, change)?;
    let risks = refuse::risks(change, content, collides);
    let kind = match change.kind(content.binary) {
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
    let Hunks { hunks, added, removed, elided } = hunks;
    Ok(v1::DiffEntry {
        path: change.path.as_bytes().to_vec(),
        kind: kind.into(),
        reason: change.refused.as_ref().map(ToString::to_string).unwrap_or_default(),
        risks: risks.into_iter().map(|risk| risk.name().to_owned()).collect(),
        before: change.before.as_ref().map(convert::node),
        after,
        hunks: if stat_only { Vec::new() } else { hunks.into_iter().map(wire_hunk).collect() },
        added_lines: added,
        removed_lines: removed,
        elided: elided.map(Elided::reason).unwrap_or_default().to_owned(),
        hidden_before: change.refused == Some(refuse::Refusal::SecretFile),
    })
}

/// How an entry's two sides differ, and what is known of them.
fn compare(store: &LocalStore, change: &Change) -> Result<(Hunks, Content), Error> {
    let limits = Limits::default();
    let (before, after) = (change.before.as_ref(), change.result());
    let size = |node: Option<&Node>| match node {
        Some(Node::File { size, .. }) => *size,
        _ => 0,
    };
    if before.and_then(Node::hash) == after.and_then(Node::hash) {
        return Ok((Hunks::default(), Content::default()));
    }
    // Of files that are too large to be shown only the beginning is read, to tell text from binary.
    let fits = size(before).saturating_add(size(after)) <= limits.bytes;
    let most = if fits { u64::MAX } else { BEGINNING };
    let (old, new) = (read(store, before, most)?, read(store, after, most)?);
    let hunks = if fits {
        hunk::hunks(&old, &new, limits)
    } else {
        Hunks { elided: Some(Elided::TooLarge), ..Hunks::default() }
    };
    let content = hunk::content(&old, &new, &hunks);
    Ok((hunks, content))
}

fn read(store: &LocalStore, node: Option<&Node>, most: u64) -> Result<Vec<u8>, Error> {
    let Some(hash) = node.and_then(Node::hash) else { return Ok(Vec::new()) };
    let mut content = Vec::new();
    let file = store.open_blob(hash)?;
    file.take(most).read_to_end(&mut content).map_err(|_| Error::Interrupted)?;
    Ok(content)
}

fn wire_hunk(hunk: hunk::Hunk) -> v1::Hunk {
    v1::Hunk {
        id: hunk.id,
        old_start: hunk.old_start,
        old_lines: hunk.old_lines,
        new_start: hunk.new_start,
        new_lines: hunk.new_lines,
        lines: hunk
            .lines
            .into_iter()
            .map(|line| v1::Line { tag: line.tag.sign().into(), text: line.text })
            .collect(),
    }
}
