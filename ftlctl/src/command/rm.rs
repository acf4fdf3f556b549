//! `ftlctl rm`: forget a session.

use ftl_proto::v1;
use serde_json::json;

use crate::args;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::render::escape;

/// Forgets the session.
pub(crate) async fn run(context: &Context, args: args::Remove) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, Some(&args.session)).await?.session;
    let request = v1::RemoveRequest { session: session.clone(), discard: args.discard };
    client.sessions().remove(request).await?;
    context.output.json(&json!({"session": session, "removed": true}))?;
    context.output.line(&format!("removed {}", escape::name(&session)))?;
    Ok(Outcome::DONE)
}
