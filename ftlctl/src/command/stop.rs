//! `ftlctl stop`: end a session's agent and keep its work.

use ftl_proto::v1;

use crate::args;
use crate::context::Context;
use crate::decide;
use crate::failure::{Failure, Outcome};
use crate::render::{escape, json};

/// Stops the agent and says where the session stands then.
pub(crate) async fn run(context: &Context, args: args::SessionArg) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?.session;
    let reply = client.sessions().stop(v1::StopRequest { session }).await?.into_inner();
    let session = reply.session.ok_or(Failure::Protocol { what: "did not say where the session stands" })?;
    context.output.json(&json::outcome(&session))?;
    let state = json::state(session.state()).replace('_', " ");
    context.output.line(&format!("stopped {}: {state}", escape::name(&session.session)))?;
    if session.state() == v1::State::AwaitingReview && !context.output.is_json() {
        context.output.note(&decide::how_to_go_on(&session))?;
    }
    Ok(Outcome::DONE)
}
