//! Snapshots on the way, as a stream.
//!
//! Owns what a client hears of a journey, and that one which went away ends it.

use std::ops::ControlFlow;
use std::sync::Arc;

use ftl_proto::v1;
use ftl_proto::v1::travel_reply::Piece;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::convert::{self, wide};
use super::snapshot::{LISTED, STREAM_BUFFER, wire};
use super::status::status;
use crate::session::remote::{Journey, Which};
use crate::session::{Error, Sessions};
use crate::snapshot::remote::{Progress, Told};

/// Which snapshots a request means.
pub(super) fn which(snapshot: String, project: Vec<u8>) -> Result<Which, Status> {
    let project = convert::optional_project(project)?;
    Ok(match (snapshot.is_empty(), project.is_empty()) {
        (false, _) => Which::Named(snapshot),
        (true, false) => Which::Project(project.into()),
        (true, true) => Which::All,
    })
}

/// Does the work, and tells of it.
pub(super) fn streamed(
    sessions: Arc<Sessions>,
    work: impl FnOnce(&Sessions, &Told<'_>) -> Result<Journey, Error> + Send + 'static,
) -> ReceiverStream<Result<v1::TravelReply, Status>> {
    let (pieces, stream) = mpsc::channel(STREAM_BUFFER);
    let piece = |piece: Piece| Ok(v1::TravelReply { piece: Some(piece) });
    tokio::task::spawn_blocking(move || {
        let told = |Progress { objects, bytes, of }: Progress| {
            let progress = v1::TravelProgress { objects, bytes, total_objects: of };
            match pieces.try_send(piece(Piece::Progress(progress))) {
                Err(mpsc::error::TrySendError::Closed(_)) => ControlFlow::Break(()),
                // A slow reader misses some of them.
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => ControlFlow::Continue(()),
            }
        };
        let last = match work(&sessions, &told) {
            Ok(Journey { snapshots, travelled }) => piece(Piece::Summary(v1::TravelSummary {
                snapshots_total: wide(snapshots.len()),
                snapshots: snapshots.into_iter().take(LISTED).map(wire).collect(),
                objects: travelled.objects,
                bytes: travelled.bytes,
                present: travelled.present,
            })),
            Err(error) => Err(status(&error)),
        };
        let _gone = pieces.blocking_send(last);
    });
    ReceiverStream::new(stream)
}
