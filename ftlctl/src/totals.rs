//! What left the sandbox, for the human who decides about the work.
//!
//! Owns how it is found: among the session's newest events, so that the time does not grow with what an
//! agent said. Must not know what is decided.

use ftl_proto::v1;
use ftl_proto::v1::event::Kind;

use crate::connect::Client;
use crate::failure::Failure;
use crate::render::egress;

/// Events from the end that are looked through. Few come after a turn's totals: the states that the work
/// goes through, and what the human does with it.
const NEWEST: u64 = 64;

/// The totals of the session's last turn; `None` when it told none.
pub(crate) async fn last(
    client: &Client,
    session: &v1::Session,
) -> Result<Option<v1::EgressTotals>, Failure> {
    let request = v1::WatchRequest {
        session: session.session.clone(),
        from_seq: session.last_seq.saturating_sub(NEWEST - 1).max(1),
        follow: false,
        until_idle: false,
        answers_egress: false,
    };
    let mut events = client.sessions().watch(request).await?.into_inner();
    let mut newest = None;
    while let Some(event) = events.message().await? {
        match event.kind {
            Some(Kind::EgressTotals(totals)) => newest = Some(totals),
            // Totals from before do not speak for the turn that began here.
            Some(Kind::TurnStarted(_)) => newest = None,
            _ => {}
        }
    }
    Ok(newest)
}

/// One line for people; `None` when nothing left and nothing tried.
pub(crate) fn line(session: &v1::Session, totals: Option<&v1::EgressTotals>) -> Option<String> {
    let text = egress::totals(totals?)?;
    Some(if session.turns > 1 { format!("{text} (last turn)") } else { text })
}
