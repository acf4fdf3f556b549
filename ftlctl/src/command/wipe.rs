//! `ftlctl wipe`: forget what a session keeps between its turns.

use ftl_proto::v1;

use crate::args;
use crate::context::Context;
use crate::decide;
use crate::failure::{Failure, Outcome};
use crate::render::{escape, json, measure};

/// Forgets it, and says what went and where the session stands then.
pub(crate) async fn run(context: &Context, args: args::Wipe) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, Some(&args.session)).await?.session;
    let request = v1::WipeRequest { session, workspace: args.workspace, discard: args.discard };
    let reply = client.sessions().wipe(request).await?.into_inner();
    let session = reply.session.ok_or(Failure::Protocol { what: "did not say where the session stands" })?;
    let mut value = json::outcome(&session);
    value["workspace"] = args.workspace.into();
    value["bytes"] = reply.bytes.into();
    context.output.json(&value)?;
    let what = if args.workspace { "home, conversation, workspace" } else { "home and conversation" };
    let (id, size) = (escape::name(&session.session), measure::size(reply.bytes));
    context.output.line(&format!("wiped {id}: {what}; {size}"))?;
    if session.state() == v1::State::AwaitingReview && !context.output.is_json() {
        context.output.note(&decide::how_to_go_on(&session))?;
    }
    Ok(Outcome::DONE)
}
