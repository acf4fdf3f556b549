//! `ftlctl trust`: believe a project's configuration, as it is now.

use ftl_proto::v1;
use serde_json::json;

use crate::args;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::render::{escape, event};

/// Trusts the configuration's present bytes, or forgets the trust.
pub(crate) async fn run(context: &Context, args: args::Trust) -> Result<Outcome, Failure> {
    let output = &context.output;
    let client = context.connect().await?;
    let request = v1::TrustProjectRequest { project: context.project_bytes()?, revoke: args.revoke };
    let reply = client.daemon().trust_project(request).await?.into_inner();
    output.json(&json!({"trusted": !args.revoke, "digest": reply.digest, "widening": reply.widening}))?;
    if args.revoke {
        output.line("this project's .ftlconfig is not trusted any more")?;
        return Ok(Outcome::DONE);
    }
    output.line(&format!("trusted .ftlconfig as it is now ({})", event::short(&reply.digest)))?;
    if reply.widening.is_empty() {
        output.line("it widens nothing")?;
    }
    for setting in &reply.widening {
        output.line(&format!("  in force now: {}", escape::name(setting)))?;
    }
    Ok(Outcome::DONE)
}
