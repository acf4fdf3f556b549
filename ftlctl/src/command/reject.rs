//! `ftlctl reject`: say no.

use ftl_proto::v1;
use serde_json::json;

use crate::args;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::render::{escape, json, measure};

/// Rejects the session's work.
pub(crate) async fn run(context: &Context, args: args::Reject) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?.session;
    let request = v1::RejectRequest { session, why: args.why, go_on: args.go_on };
    let reply = client.reviews().reject(request).await?.into_inner();
    let session = reply.session.ok_or(Failure::Protocol { what: "did not say where the session stands" })?;
    let mut value = json::outcome(&session);
    if reply.kept_until_us > 0 && !args.go_on {
        value["kept_until"] = json!(measure::time(reply.kept_until_us));
    }
    context.output.json(&value)?;
    let id = escape::name(&session.session);
    if args.go_on {
        let line = format!("rejected; the agent goes on with your reason: `ftlctl attach {id}` watches it");
        context.output.line(&line)?;
        return Ok(Outcome::DONE);
    }
    let until = match reply.kept_until_us {
        0 => String::new(),
        until => format!(" until {} at least", measure::second(until)),
    };
    context.output.line(&format!("rejected {id}; its work is kept{until}"))?;
    if reply.checkpoint > 0 {
        context.output.line(&format!("  bring it back: ftlctl rewind {id}@{}", reply.checkpoint))?;
    }
    context.output.line(&format!("  remove it now: ftlctl rm --discard {id}"))?;
    Ok(Outcome::DONE)
}
