//! `ftlctl reject`: say no.

use ftl_proto::v1;
use serde_json::json;

use crate::args;
use crate::context::Context;
use crate::decide;
use crate::failure::{Failure, Outcome};
use crate::render::{json, measure};

/// Rejects the session's work.
pub(crate) async fn run(context: &Context, args: args::Reject) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?.session;
    let request = v1::RejectRequest { session, why: args.why, go_on: args.go_on };
    let reply = client.reviews().reject(request).await?.into_inner();
    let missing = Failure::Protocol { what: "did not say where the session stands" };
    let session = reply.session.clone().ok_or(missing)?;
    let mut value = json::outcome(&session);
    if reply.kept_until_us > 0 && !args.go_on {
        value["kept_until"] = json!(measure::time(reply.kept_until_us));
    }
    context.output.json(&value)?;
    decide::tell_rejected(&context.output, &session, &reply, args.go_on)?;
    Ok(Outcome::DONE)
}
