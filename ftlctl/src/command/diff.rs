//! `ftlctl diff`: what a session would change, or a part of it would.

use crate::args;
use crate::choice::{self, Meant};
use crate::context::Context;
use crate::decide::{self, Fetched};
use crate::failure::{Failure, Outcome};
use crate::project;
use crate::render::diff::Depth;
use crate::render::{check, json, patch};

/// Prints the diff, the preview or the patch.
pub(crate) async fn run(context: &Context, args: args::Diff) -> Result<Outcome, Failure> {
    let is_plain = context.global.plain;
    if is_plain && args.patch {
        return Err(Failure::Usage {
            what: "--plain and --patch contradict each other".to_owned(),
            hint: "a patch is exact; --plain writes the page of a terminal".to_owned(),
        });
    }
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?;
    let is_preview = args.preview || !args.choose.is_empty();
    let is_for_people = is_plain || args.stat || is_preview || context.output.width().is_some();
    let is_patch = !context.output.is_json() && (args.patch || !is_for_people);
    let depth = match (args.stat, is_preview) {
        (true, _) => Depth::Stat,
        (false, true) => Depth::Part,
        (false, false) => Depth::Full,
    };
    let fetched = if is_preview {
        let root = project::path(&session.project);
        let meant = Meant::read(&args.choose, root, &context.environment.cwd)?;
        decide::preview(&client, &session, meant, depth).await?
    } else if is_patch {
        decide::fetch_whole(&client, &session).await?
    } else {
        decide::fetch(&client, &session, depth).await?
    };
    if context.output.is_json() {
        let mut value = json::diff(&fetched.header, &fetched.entries);
        if let Some(totals) = &fetched.totals {
            value["egress"] = json::egress::totals(totals);
        }
        if let Some(gate) = session.gate.as_ref().filter(|_| !is_preview) {
            value["gate"] = check::word_json(gate);
        }
        context.output.json(&value)?;
        return Ok(Outcome::DONE);
    }
    if is_patch {
        return write_patch(context, &fetched, args.patch);
    }
    decide::show(&context.output, &fetched, depth)?;
    if let Some(gate) = session.gate.as_ref().filter(|_| !is_preview) {
        context.output.line(&check::word(gate, context.output.style))?;
    }
    if !fetched.header.digest.is_empty() {
        let words = choice::words(&args.choose);
        let command = decide::approve_command(&session.session, &fetched.header.digest);
        context.output.line(&format!("approve: {command}{words}"))?;
    }
    Ok(Outcome::DONE)
}

/// Writes the patch, and says what is not in it where the patch may not be looked at. A patch is exact, so that
/// nothing in it can be made harmless: what a terminal would act on goes only where it was asked for, and never to
/// a terminal.
fn write_patch(context: &Context, fetched: &Fetched, is_asked: bool) -> Result<Outcome, Failure> {
    let patch = patch::patch(&fetched.header, &fetched.entries);
    let is_seen = context.output.width().is_some();
    if let Some(path) = patch.hostile.as_ref().filter(|_| is_seen || !is_asked) {
        let hint = if is_seen {
            "write it into a file, as in `ftlctl diff --patch > work.patch`; without --patch the page spells them out"
        } else {
            "--patch writes the exact bytes all the same; --plain writes a page that spells them out"
        };
        return Err(Failure::Usage {
            what: format!("the patch of {path} holds characters that a terminal would act on or hide"),
            hint: hint.to_owned(),
        });
    }
    context.output.stdout(&patch.bytes)?;
    for line in &patch.missing {
        context.output.note(&format!("not in this patch: {line}"))?;
    }
    Ok(Outcome::DONE)
}
