//! Where a hunk comes from, as a message.
//!
//! Owns how much of it one reply holds.

use ftl_core::blame::Call;
use ftl_proto::v1;

use super::convert::wide;
use crate::session::blame::{Fetched, Origin};

/// Calls and hosts that one origin lists at most.
const LISTED: usize = 100;

/// One origin.
pub(super) fn wire(origin: Origin) -> v1::Origin {
    let Origin { hunk, turns, calls, others, fetched } = origin;
    let call =
        |Call { seq, turn, name, detail, time_us }| v1::OriginCall { seq, turn, name, detail, time_us };
    let fetch = |Fetched { authority, requests, first_us }| v1::OriginFetch { authority, requests, first_us };
    v1::Origin {
        hunk: hunk.unwrap_or_default(),
        turns: turns.into_iter().map(|(turn, text)| v1::OriginTurn { turn, text }).collect(),
        calls: calls.into_iter().take(LISTED).map(call).collect(),
        other_calls: wide(others),
        fetched: fetched.into_iter().take(LISTED).map(fetch).collect(),
    }
}
