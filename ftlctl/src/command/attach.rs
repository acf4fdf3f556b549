//! `ftlctl attach`: sit down at the terminal of a session's agent, or watch the session from its beginning.

use ftl_proto::v1;

use super::talk;
use crate::args;
use crate::context::Context;
use crate::decide::{self, Review};
use crate::failure::{Failure, Outcome, reason};
use crate::follow::{Follower, OnInterrupt};
use crate::sit::{self, At};

/// Follows the session until it waits for a decision or has ended, and says how to go on.
pub(crate) async fn run(context: &Context, args: args::SessionArg) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?;
    let is_working = session.state() == v1::State::Working;
    let (session, next) = (session.session, session.last_seq + 1);
    if is_working && sit::can_sit(context) {
        match sit::ask(&client, &session, At::Open).await {
            Ok((sender, replies)) => {
                let end = sit::sit(context, sender, replies).await?;
                let review = Review::of(args::End::default(), &context.output);
                return talk::after(context, client, &session, next, (end, review)).await;
            }
            // Its agent has none.
            Err(status) if reason(&status) == Some("no-terminal") => {}
            Err(status) => return Err(status.into()),
        }
    }
    let mut follower = Follower::new(context, client, session, 1, OnInterrupt::Leave)?;
    let session = follower.until_idle().await?;
    decide::conclude(context, follower.client(), session, Review::Tell).await.map(Outcome::Exit)
}
