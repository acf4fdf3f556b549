//! `ftlctl attach`: watch a session from its beginning.

use crate::args;
use crate::context::Context;
use crate::decide::{self, Review};
use crate::failure::{Failure, Outcome};
use crate::follow::{Follower, OnInterrupt};

/// Follows the session until it waits for a decision or has ended, and says how to go on.
pub(crate) async fn run(context: &Context, args: args::SessionArg) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?.session;
    let mut follower = Follower::new(context, client, session, 1, OnInterrupt::Leave)?;
    let session = follower.until_idle().await?;
    decide::conclude(context, follower.client(), session, Review::Tell).await.map(Outcome::Exit)
}
