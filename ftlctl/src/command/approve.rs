//! `ftlctl approve`: apply what was shown under a digest.

use ftl_proto::v1;

use crate::args;
use crate::connect::Client;
use crate::context::Context;
use crate::decide::{self, Answer};
use crate::failure::{Exit, Failure, Outcome};
use crate::project;
use crate::render::diff::Depth;
use crate::render::json;

/// Approves by the given digest; without one, a human at a terminal is shown the diff and asked.
pub(crate) async fn run(context: &Context, args: args::Approve) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?;
    let root = project::path(&session.project);
    let paths: Result<Vec<_>, _> =
        args.paths.iter().map(|path| project::beneath(path, root, &context.environment.cwd)).collect();
    let paths = paths?;
    let digest = match args.digest {
        Some(digest) => digest,
        None => match ask(context, &client, &session).await? {
            Asked::Digest(digest) => digest,
            Asked::Ended(exit) => return Ok(Outcome::Exit(exit)),
        },
    };
    let chosen = !paths.is_empty();
    let reply = decide::approve(&client, &session.session, &digest, paths).await?;
    context.output.json(&json::approval(&reply))?;
    decide::tell(&context.output, &reply)?;
    Ok(Outcome::Exit(exit_of(&reply, chosen)))
}

/// What came of asking.
enum Asked {
    /// A yes to what has this digest.
    Digest(String),
    /// No approval now.
    Ended(Exit),
}

async fn ask(context: &Context, client: &Client, session: &v1::Session) -> Result<Asked, Failure> {
    let depth = if context.output.is_interactive() { Depth::Full } else { Depth::Stat };
    let fetched = decide::fetch(client, &session.session, depth).await?;
    let id = session.session.clone();
    let digest = fetched.header.digest.clone();
    if !context.output.is_interactive() {
        return Err(if digest.is_empty() {
            Failure::NothingToApprove { session: id }
        } else {
            Failure::NeedsApproval { session: id, digest }
        });
    }
    decide::show(&context.output, &fetched, Depth::Full)?;
    if digest.is_empty() {
        return Err(Failure::NothingToApprove { session: id });
    }
    match decide::ask(context, &fetched).await? {
        Answer::Yes => Ok(Asked::Digest(digest)),
        Answer::Keep => {
            context.output.note(&decide::how_to_go_on(session))?;
            Ok(Asked::Ended(Exit::NeedsApproval))
        }
        Answer::Reject => {
            client.reviews().reject(v1::RejectRequest { session: id, why: String::new() }).await?;
            context.output.line("rejected; the work is kept until the session is removed")?;
            Ok(Asked::Ended(Exit::Refused))
        }
    }
}

/// Something that was asked for by name and left alone is not done; nor is an approval that did nothing.
fn exit_of(reply: &v1::ApproveReply, chosen: bool) -> Exit {
    let left = !reply.left_alone.is_empty();
    if left && (chosen || reply.paths.is_empty()) { Exit::Failed } else { Exit::Done }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_alone_is_not_called_done() {
        let reply = |paths: usize, left: usize| v1::ApproveReply {
            paths: vec![b"a".to_vec(); paths],
            left_alone: vec![v1::LeftAlone::default(); left],
            ..Default::default()
        };
        let table = [
            (reply(1, 0), true, Exit::Done),
            (reply(1, 1), true, Exit::Failed),
            (reply(1, 1), false, Exit::Done),
            (reply(0, 1), false, Exit::Failed),
        ];
        for (reply, chosen, expected) in table {
            assert_eq!(exit_of(&reply, chosen), expected, "{reply:?} {chosen}");
        }
    }
}
