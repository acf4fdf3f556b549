//! Where hunks come from, as messages.
//!
//! Owns that they are made as fast as they are taken: many hunks of one origin share it until then.

use ftl_core::blame::Call;
use ftl_proto::v1;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::convert::wide;
use crate::session::blame::{Fetched, OfHunk, Origin};

/// Messages that wait for a slow client at most.
const WAITING: usize = 16;

/// One message for each hunk.
pub(super) fn streamed(hunks: Vec<OfHunk>) -> ReceiverStream<Result<v1::Origin, Status>> {
    let (items, stream) = tokio::sync::mpsc::channel(WAITING);
    tokio::spawn(async move {
        for hunk in hunks {
            if items.send(Ok(wire(&hunk))).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(stream)
}

fn wire(hunk: &OfHunk) -> v1::Origin {
    let Origin { turns, turns_total, calls, calls_total, others, fetched, fetched_total } = &*hunk.origin;
    let call = |call: &Call| v1::OriginCall {
        seq: call.seq,
        turn: call.turn,
        name: call.name.clone(),
        detail: call.detail.clone(),
        time_us: call.time_us,
    };
    let fetch = |host: &Fetched| v1::OriginFetch {
        authority: host.authority.clone(),
        requests: host.requests,
        first_us: host.first_us,
    };
    v1::Origin {
        hunk: hunk.hunk.clone().unwrap_or_default(),
        turns: turns.iter().map(|(turn, text)| v1::OriginTurn { turn: *turn, text: text.clone() }).collect(),
        turns_total: wide(*turns_total),
        calls: calls.iter().map(call).collect(),
        calls_total: wide(*calls_total),
        other_calls: wide(*others),
        fetched: fetched.iter().map(fetch).collect(),
        fetched_total: wide(*fetched_total),
    }
}
