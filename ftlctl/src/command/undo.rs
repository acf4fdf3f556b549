//! `ftlctl undo`: take back what was applied.

use ftl_proto::v1;

use crate::args;
use crate::context::Context;
use crate::decide;
use crate::failure::{Failure, Outcome};
use crate::render::measure::plural;
use crate::render::{escape, json};

/// Takes back the last application of the session, or of the project.
pub(crate) async fn run(context: &Context, args: args::Undo) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let request = match args.session {
        Some(session) => v1::UndoRequest { session, ..Default::default() },
        None => v1::UndoRequest { project: context.project_bytes()?, ..Default::default() },
    };
    let reply = client.reviews().undo(request).await?.into_inner();
    context.output.json(&json::undo(&reply))?;
    for path in &reply.paths {
        context.output.line(&format!("  {}", escape::name(path)))?;
    }
    decide::tell_rest(&context.output, reply.paths.len(), reply.paths_total)?;
    let paths = plural(reply.paths_total, "path", "paths");
    let session = reply.session.as_ref().map_or("", |session| session.session.as_str());
    let line = format!("put back {paths}; the work is still in session {}", escape::name(session));
    context.output.line(&line)?;
    Ok(Outcome::DONE)
}
