//! `ftlctl export`: a session's turns as a branch of the project's repository.

use ftl_proto::v1;
use serde_json::json;

use crate::args;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::render::escape;

/// Makes the branch and says what it is.
pub(crate) async fn run(context: &Context, args: args::Export) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?.session;
    let request = v1::ExportRequest { session: session.clone(), git_branch: args.git_branch };
    let reply = client.sessions().export(request).await?.into_inner();
    context
        .output
        .json(&json!({ "session": session, "reference": reply.reference, "commit": reply.commit }))?;
    let (name, commit) = (escape::name(&reply.reference), escape::name(&reply.commit));
    context.output.line(&format!("{name} is {commit}; your working tree is as it was"))?;
    Ok(Outcome::DONE)
}
