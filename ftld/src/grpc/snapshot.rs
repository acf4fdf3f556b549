//! `ftl.v1.SnapshotService`: the states of a project.

use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use ftl_core::id::SnapshotId;
use ftl_core::retention::Policy;
use ftl_core::tree::{Entry, RelPath};
use ftl_proto::v1;
use ftl_proto::v1::snapshot_service_server::SnapshotService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::convert::{self, wide};
use super::status::status;
use super::travel;
use crate::db::SnapshotRow;
use crate::session::appraise::Appraiser;
use crate::session::kept::{self, Cleaning};
use crate::session::{Compared, Error, Sessions, compare, remote, taking};
use crate::snapshot::remote::Told;
use crate::snapshot::{Class, Lost};

/// The service over the snapshot store.
pub(super) struct SnapshotApi(pub(super) Arc<Sessions>);

/// Excluded paths that one reply lists at most.
pub(super) const LISTED: usize = 10_000;
/// Replies that wait for a slow client at most.
pub(super) const STREAM_BUFFER: usize = 256;

impl SnapshotApi {
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Sessions) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Status> {
        let sessions = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&sessions))
            .await
            .map_err(|_| Status::internal("interrupted"))?
            .map_err(|error| status(&error))
    }
}

#[tonic::async_trait]
impl SnapshotService for SnapshotApi {
    async fn create(
        &self,
        request: Request<v1::CreateSnapshotRequest>,
    ) -> Result<Response<v1::CreateSnapshotReply>, Status> {
        let request = request.into_inner();
        let root = convert::absolute(request.project, "project")?;
        let parts = Arc::clone(self.0.parts());
        let start = parts.clock.monotonic_us();
        let taken = self.blocking(move |sessions| taking::take_by_hand(sessions.parts(), &root)).await?;
        let elapsed_us = parts.clock.monotonic_us().saturating_sub(start);
        let total = taken.exclusions.len();
        let listed = taken
            .exclusions
            .iter()
            .filter(|excluded| request.explain || !matches!(excluded.class, Class::Ignored | Class::BuiltIn));
        let excluded = listed
            .take(LISTED)
            .map(|excluded| v1::Exclusion {
                path: excluded.path.as_bytes().to_vec(),
                rule: excluded.rule.clone(),
                source: excluded.source.clone(),
            })
            .collect();
        let snapshot = Some(wire(taken.row));
        let excluded_total = wide(total);
        Ok(Response::new(v1::CreateSnapshotReply { snapshot, excluded, excluded_total, elapsed_us }))
    }

    async fn list(
        &self,
        request: Request<v1::ListSnapshotsRequest>,
    ) -> Result<Response<v1::ListSnapshotsReply>, Status> {
        let request = request.into_inner();
        let project = convert::optional_project(request.project)?;
        let mut rows = self.0.parts().db.snapshots("").map_err(|error| status(&error.into()))?;
        rows.retain(|row| project.is_empty() || row.project.0 == project);
        rows.sort_by_key(|row| std::cmp::Reverse((row.created_us, row.snapshot)));
        let page = super::page(rows, request.page_size, &request.page_token)?;
        let snapshots = page.items.into_iter().map(wire).collect();
        Ok(Response::new(v1::ListSnapshotsReply { snapshots, next_page_token: page.next }))
    }

    type ShowStream = ReceiverStream<Result<v1::SnapshotEntry, Status>>;

    async fn show(
        &self,
        request: Request<v1::ShowSnapshotRequest>,
    ) -> Result<Response<Self::ShowStream>, Status> {
        let text = request.into_inner().snapshot;
        let point = self.blocking(move |sessions| sessions.point(&text)).await?;
        let (entries, stream) = mpsc::channel(STREAM_BUFFER);
        tokio::spawn(async move {
            let known = point.tree.iter().map(|(path, entry)| wire_entry(&path, entry));
            for entry in known.chain(point.unread().map(wire_unread)) {
                if entries.send(Ok(entry)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn restore(
        &self,
        request: Request<v1::RestoreSnapshotRequest>,
    ) -> Result<Response<v1::RestoreSnapshotReply>, Status> {
        let request = request.into_inner();
        let target = convert::absolute(request.target, "target")?;
        let restored = self
            .blocking(move |sessions| {
                let parts = sessions.parts();
                let point = sessions.point(&request.snapshot)?;
                taking::audit_restore(parts, &point.name, target.as_os_str().as_bytes())?;
                Ok(parts.store.restore_tree(&point.tree, &target)?)
            })
            .await?;
        let lost_total = wide(restored.lost.len());
        let lost = restored.lost.into_iter().take(LISTED).map(|lost| lost_path(None, lost)).collect();
        let (files, bytes) = (restored.files, restored.bytes);
        Ok(Response::new(v1::RestoreSnapshotReply { files, bytes, lost, lost_total }))
    }

    async fn clean(
        &self,
        request: Request<v1::CleanSnapshotsRequest>,
    ) -> Result<Response<v1::CleanSnapshotsReply>, Status> {
        let request = request.into_inner();
        let policy = policy(&request)?;
        let project = convert::optional_project(request.project)?;
        let cleaning = Cleaning { policy, project, dry_run: request.dry_run };
        let cleaned = self.blocking(move |sessions| kept::clean(sessions.parts(), &cleaning)).await?;
        let snapshots_total = wide(cleaned.snapshots.len());
        Ok(Response::new(v1::CleanSnapshotsReply {
            snapshots: cleaned.snapshots.into_iter().take(LISTED).map(wire).collect(),
            snapshots_total,
            needed: cleaned.needed,
            contents: cleaned.collected.gone.contents,
            bytes: cleaned.collected.gone.bytes,
            trees: cleaned.collected.trees.contents,
            tree_bytes: cleaned.collected.trees.bytes,
        }))
    }

    type VerifyStream = ReceiverStream<Result<v1::VerifySnapshotsReply, Status>>;

    async fn verify(
        &self,
        _request: Request<v1::VerifySnapshotsRequest>,
    ) -> Result<Response<Self::VerifyStream>, Status> {
        let sessions = Arc::clone(&self.0);
        let (pieces, stream) = mpsc::channel(STREAM_BUFFER);
        tokio::task::spawn_blocking(move || verify(&sessions, &pieces));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    type DiffStream = super::entry::Pieces;

    async fn diff(
        &self,
        request: Request<v1::DiffSnapshotsRequest>,
    ) -> Result<Response<Self::DiffStream>, Status> {
        let v1::DiffSnapshotsRequest { before, after, stat_only } = request.into_inner();
        let compared = self
            .blocking(move |sessions| Ok(compare(&sessions.point(&before)?, &sessions.point(&after)?)))
            .await?;
        let Compared { base, changes, around } = compared;
        let header = v1::DiffHeader {
            base: base.to_string(),
            entries: wide(changes.len()),
            ..v1::DiffHeader::default()
        };
        let appraiser = Appraiser::new(Arc::clone(&self.0.parts().store), around);
        Ok(Response::new(super::entry::streamed(appraiser, header, changes, (stat_only, false))))
    }

    async fn propose(
        &self,
        request: Request<v1::ProposeSnapshotRequest>,
    ) -> Result<Response<v1::ProposeSnapshotReply>, Status> {
        let request = request.into_inner();
        let project = convert::absolute(request.project, "project")?;
        let id = self.0.propose(&project, &request.snapshot).await.map_err(|error| status(&error))?;
        let record = self.0.get(&id).map_err(|error| status(&error))?;
        Ok(Response::new(v1::ProposeSnapshotReply { session: Some(super::wire(&self.0, record)?) }))
    }

    type PushStream = ReceiverStream<Result<v1::TravelReply, Status>>;

    async fn push(
        &self,
        request: Request<v1::PushSnapshotsRequest>,
    ) -> Result<Response<Self::PushStream>, Status> {
        let v1::PushSnapshotsRequest { snapshot, project, verify } = request.into_inner();
        let which = travel::which(snapshot, project)?;
        let work = move |sessions: &Sessions, told: &Told<'_>| remote::push(sessions, &which, verify, told);
        Ok(Response::new(travel::streamed(Arc::clone(&self.0), work)))
    }

    type PullStream = ReceiverStream<Result<v1::TravelReply, Status>>;

    async fn pull(
        &self,
        request: Request<v1::PullSnapshotsRequest>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let v1::PullSnapshotsRequest { snapshot, project, list_under } = request.into_inner();
        let which = travel::which(snapshot, project)?;
        let under = convert::optional_project(list_under)?;
        let under = (!under.is_empty()).then(|| under.into());
        let work = move |sessions: &Sessions, told: &Told<'_>| {
            remote::pull(sessions.parts(), &which, under.as_ref(), told)
        };
        Ok(Response::new(travel::streamed(Arc::clone(&self.0), work)))
    }

    async fn list_remote(
        &self,
        request: Request<v1::ListRemoteSnapshotsRequest>,
    ) -> Result<Response<v1::ListRemoteSnapshotsReply>, Status> {
        let which = travel::which(String::new(), request.into_inner().project)?;
        let rows = self.blocking(move |sessions| remote::list(sessions.parts(), &which)).await?;
        let snapshots_total = wide(rows.len());
        let snapshots = rows.into_iter().rev().take(LISTED).map(wire).collect();
        Ok(Response::new(v1::ListRemoteSnapshotsReply { snapshots, snapshots_total }))
    }
}

/// What a request to clean asks for.
fn policy(request: &v1::CleanSnapshotsRequest) -> Result<Policy, Status> {
    let last = request.last.map(|last| Policy::Last(usize::try_from(last).unwrap_or(usize::MAX)));
    let age = |micros: u64| Policy::OlderThan(i64::try_from(micros).unwrap_or(i64::MAX));
    let asked = [last, request.older_than_us.map(age), request.all.then_some(Policy::All)];
    match asked.into_iter().flatten().collect::<Vec<_>>().as_slice() {
        [policy] => Ok(*policy),
        _ => Err(Status::invalid_argument("ask for exactly one of last, older_than_us and all")),
    }
}

type Pieces = mpsc::Sender<Result<v1::VerifySnapshotsReply, Status>>;

/// Checks the store and tells of it. A client that went away ends nothing: what is damaged is noted.
fn verify(sessions: &Sessions, pieces: &Pieces) {
    use v1::verify_snapshots_reply::Piece;
    let piece = |piece: Piece| Ok(v1::VerifySnapshotsReply { piece: Some(piece) });
    let mut told = 0;
    let mut progress = |done_bytes: u64, total_bytes: u64| {
        // A slow reader misses some of them.
        if done_bytes.saturating_sub(told) >= total_bytes / 100 {
            told = done_bytes;
            let _full =
                pieces.try_send(piece(Piece::Progress(v1::VerifyProgress { done_bytes, total_bytes })));
        }
    };
    let checked = match kept::verify(sessions.parts(), &mut progress) {
        Ok(checked) => checked,
        Err(error) => {
            let _gone = pieces.blocking_send(Err(status(&error)));
            return;
        }
    };
    let damaged = wide(checked.damage.len());
    for damage in checked.damage {
        let places = damage.places.into_iter().map(|(id, lost)| lost_path(Some(id), lost)).collect();
        let (blake3, damaged) = (damage.hash.to_hex(), damage.damaged);
        let one = v1::DamagedContent { blake3, damaged, places };
        if pieces.blocking_send(piece(Piece::Damaged(one))).is_err() {
            return;
        }
    }
    let summary = v1::VerifySummary { contents: checked.contents, bytes: checked.bytes, damaged };
    let _gone = pieces.blocking_send(piece(Piece::Summary(summary)));
}

fn lost_path(snapshot: Option<SnapshotId>, lost: Lost) -> v1::LostPath {
    v1::LostPath {
        snapshot: snapshot.map(|id| id.to_string()).unwrap_or_default(),
        path: lost.path.map(|path| path.as_bytes().to_vec()).unwrap_or_default(),
    }
}

pub(super) fn wire(row: SnapshotRow) -> v1::Snapshot {
    v1::Snapshot {
        snapshot: row.snapshot.to_string(),
        project: row.project.0,
        created_us: row.created_us,
        files: row.files,
        bytes: row.bytes,
    }
}

fn wire_unread(path: &RelPath) -> v1::SnapshotEntry {
    let (path, r#type) = (path.as_bytes().to_vec(), "unreadable".to_owned());
    v1::SnapshotEntry { path, r#type, ..v1::SnapshotEntry::default() }
}

fn wire_entry(path: &RelPath, entry: &Entry) -> v1::SnapshotEntry {
    let node = convert::node(&entry.node);
    v1::SnapshotEntry {
        path: path.as_bytes().to_vec(),
        r#type: node.r#type,
        mode: node.mode,
        size: node.size,
        blake3: node.blake3,
        target: node.target,
        mtime_ns: entry.mtime_ns,
    }
}
