//! `ftlctl undo`: take back what was applied.

use ftl_proto::v1;

use crate::args;
use crate::connect::Client;
use crate::context::Context;
use crate::decide;
use crate::failure::{Exit, Failure, Outcome};
use crate::prompt;
use crate::render::diff::{self, Depth};
use crate::render::measure::plural;
use crate::render::{escape, event, json};

/// Takes back the last application of the session, or of the project.
pub(crate) async fn run(context: &Context, args: args::Undo) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let mut request = v1::UndoRequest {
        merge: args.merge,
        digest: args.digest.unwrap_or_default(),
        ..v1::UndoRequest::default()
    };
    match args.session {
        Some(session) => request.session = session,
        None => request.project = context.project_bytes()?,
    }
    if request.merge && request.digest.is_empty() {
        return would(context, &client, request).await;
    }
    let reply = client.reviews().undo(request).await?.into_inner();
    tell(context, &reply)
}

/// Shows what would be written around the human's edits, and asks.
async fn would(context: &Context, client: &Client, request: v1::UndoRequest) -> Result<Outcome, Failure> {
    let asked = v1::PreviewUndoRequest { session: request.session, project: request.project };
    let items = client.reviews().preview_undo(asked).await?.into_inner();
    let (header, entries) = decide::collect(items).await?;
    context.output.json(&json::would_undo(&header, &entries))?;
    context.output.line(&diff::diff(&header, &entries, Depth::Part, context.output.style))?;
    let v1::DiffHeader { session, digest, .. } = header;
    if digest.is_empty() {
        context.output.note("there is nothing left to take back")?;
        return Ok(Outcome::DONE);
    }
    let command =
        format!("ftlctl undo {} --merge --digest {}", escape::name(&session), escape::name(&digest));
    if !context.output.is_interactive() {
        context.output.line(&format!("take it back: {command}"))?;
        return Ok(Outcome::Exit(Exit::NeedsApproval));
    }
    let question = format!("Write this (digest {})?", event::short(&digest));
    if !prompt::confirm(context, &question).await? {
        context.output.note(&format!("nothing was written; later: {command}"))?;
        return Ok(Outcome::Exit(Exit::NeedsApproval));
    }
    let request = v1::UndoRequest { session, digest, merge: true, project: Vec::new() };
    let reply = client.reviews().undo(request).await?.into_inner();
    tell(context, &reply)
}

/// Says what was put back.
fn tell(context: &Context, reply: &v1::UndoReply) -> Result<Outcome, Failure> {
    context.output.json(&json::undo(reply))?;
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
