//! `ftlctl init`: a first configuration.

use ftl_proto::v1;

use crate::args;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::render::{escape, json};

/// Writes `.ftlconfig` and shows it.
pub(crate) async fn run(context: &Context, args: args::Init) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let request = v1::InitProjectRequest { project: context.project_bytes()?, agent: args.agent };
    let reply = client.daemon().init_project(request).await?.into_inner();
    let mut value = json::bytes("path", &reply.path);
    value["content"] = reply.content.clone().into();
    context.output.json(&value)?;
    context.output.line(&format!(
        "wrote {}\n{}",
        escape::name(&reply.path),
        escape::text(reply.content.trim_end())
    ))?;
    Ok(Outcome::DONE)
}
