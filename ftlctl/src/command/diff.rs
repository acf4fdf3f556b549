//! `ftlctl diff`: what a session would change.

use crate::args;
use crate::context::Context;
use crate::decide;
use crate::failure::{Failure, Outcome};
use crate::render::diff::Depth;
use crate::render::json;

/// Prints the diff.
pub(crate) async fn run(context: &Context, args: args::Diff) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?;
    let depth = if args.stat { Depth::Stat } else { Depth::Full };
    let fetched = decide::fetch(&client, &session, depth).await?;
    if context.output.is_json() {
        let mut value = json::diff(&fetched.header, &fetched.entries);
        if let Some(totals) = &fetched.totals {
            value["egress"] = json::egress::totals(totals);
        }
        context.output.json(&value)?;
    } else {
        decide::show(&context.output, &fetched, depth)?;
        if !fetched.header.digest.is_empty() {
            context.output.line(&format!(
                "approve: {}",
                decide::approve_command(&session.session, &fetched.header.digest)
            ))?;
        }
    }
    Ok(Outcome::DONE)
}
