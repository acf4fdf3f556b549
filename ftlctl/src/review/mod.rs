//! `ftlctl review`: the diff, the choices and the decision on one screen.
//!
//! Owns the way from a session to the end of its review. `document`, `choice`, `rows`, `state` and `update`
//! are the model, `view` draws it, `shell` has the terminal, `remote` asks the daemon, `plain` does the same
//! line by line. Decides nothing: what would be written, and whether it may be, is the daemon's word.

use crate::args;
use crate::connect::Client;
use crate::context::Context;
use crate::decide;
use crate::failure::{Exit, Failure, Outcome};

mod choice;
mod document;
mod editor;
mod glyphs;
mod keys;
mod page;
mod plain;
mod remote;
mod rows;
#[cfg(test)]
mod sample;
mod screen;
mod shell;
mod state;
mod syntax;
mod update;
mod view;

use ftl_proto::v1;

/// How a review ended.
pub(crate) enum End {
    /// The human left; the work stays.
    Left,
    /// Something was applied.
    Approved(Box<v1::ApproveReply>),
    /// The session was rejected; whether the agent goes on.
    Rejected(Box<v1::RejectReply>, bool),
}

/// Reviews a session.
pub(crate) async fn run(context: &Context, args: args::Review) -> Result<Outcome, Failure> {
    if !context.output.is_interactive() {
        return Err(Failure::Unasked {
            what: "a review needs a terminal".to_owned(),
            hint: "`ftlctl diff` prints the work, `ftlctl approve` takes its digest".to_owned(),
        });
    }
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?;
    match look(context, &client, &session, context.output.is_plain()).await? {
        Some(end) => conclude(context, &session, end),
        None => {
            context.output.line("no changes")?;
            Ok(Outcome::DONE)
        }
    }
}

/// Looks at a session's work and decides, on a screen or question by question; `None` when there is none.
pub(crate) async fn look(
    context: &Context,
    client: &Client,
    session: &v1::Session,
    is_plain: bool,
) -> Result<Option<End>, Failure> {
    let (header, items) = remote::open(client, session).await?;
    if header.entries == 0 {
        return Ok(None);
    }
    let end = if is_plain || context.environment.term == "dumb" {
        plain::run(context, client, session.clone(), header, items).await?
    } else {
        shell::run(context, client, session.clone(), header, items).await?
    };
    Ok(Some(end))
}

fn conclude(context: &Context, session: &v1::Session, end: End) -> Result<Outcome, Failure> {
    let output = &context.output;
    match end {
        End::Left => {
            output.note(&decide::how_to_go_on(session))?;
            Ok(Outcome::Exit(Exit::NeedsApproval))
        }
        End::Approved(reply) => {
            decide::tell(output, &reply)?;
            if let Some(after) = &reply.session
                && after.state() == v1::State::AwaitingReview
            {
                output.note(&decide::how_to_go_on(after))?;
            }
            Ok(Outcome::DONE)
        }
        End::Rejected(reply, go_on) => {
            decide::tell_rejected(output, reply.session.as_ref().unwrap_or(session), &reply, go_on)?;
            Ok(Outcome::Exit(Exit::Refused))
        }
    }
}
