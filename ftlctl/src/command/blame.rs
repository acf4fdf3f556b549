//! `ftlctl blame`: where each hunk of a change comes from.

use ftl_proto::v1;
use serde_json::Value;

use crate::args;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::project;
use crate::render::{blame, json as fields};

/// Prints the turns, tool calls and hosts behind each hunk.
pub(crate) async fn run(context: &Context, args: args::Blame) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, Some(&args.session)).await?;
    let path = project::beneath(&args.path, project::path(&session.project), &context.environment.cwd)?;
    let request = v1::BlameRequest { session: session.session.clone(), path: path.clone() };
    let mut origins = client.reviews().blame(request).await?.into_inner();
    let (mut number, mut all): (usize, Vec<Value>) = (0, Vec::new());
    while let Some(origin) = origins.message().await? {
        number += 1;
        if context.output.is_json() {
            all.push(blame::origin(&origin));
            continue;
        }
        for line in blame::lines(&origin, number) {
            context.output.line(&line)?;
        }
    }
    if context.output.is_json() {
        let mut value = fields::bytes("path", &path);
        value["session"] = session.session.into();
        value["origins"] = all.into();
        context.output.json(&value)?;
    }
    Ok(Outcome::DONE)
}
