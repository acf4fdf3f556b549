//! `ftlctl reject`: say no.

use ftl_proto::v1;

use crate::args;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::render::{escape, json};

/// Rejects the session's work.
pub(crate) async fn run(context: &Context, args: args::Reject) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?.session;
    let request = v1::RejectRequest { session, why: args.why, go_on: false };
    let reply = client.reviews().reject(request).await?.into_inner();
    let session = reply.session.ok_or(Failure::Protocol { what: "did not say where the session stands" })?;
    context.output.json(&json::outcome(&session))?;
    let id = escape::name(&session.session);
    context.output.line(&format!("rejected {id}; its work is kept until `ftlctl rm --discard {id}`"))?;
    Ok(Outcome::DONE)
}
