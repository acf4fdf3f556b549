//! `ftlctl approve`: apply what was shown under a digest.

use ftl_proto::v1;

use crate::args;
use crate::args::Choose;
use crate::choice::{self, Meant};
use crate::command::test;
use crate::connect::Client;
use crate::context::Context;
use crate::decide::{self, Answer, Shown};
use crate::failure::{Exit, Failure, Outcome};
use crate::project;
use crate::render::diff::Depth;
use crate::render::json;

/// Approves by the given digest; without one, a human at a terminal is shown the diff and asked.
pub(crate) async fn run(context: &Context, args: args::Approve) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?;
    let root = project::path(&session.project);
    let meant = Meant::read(&args.choose, root, &context.environment.cwd)?;
    let mut tested = None;
    if args.test {
        if args.digest.is_none() && !context.output.is_interactive() {
            // Without a digest nothing will be approved; no check needs to run for that.
            ask(context, &client, &session, &args.choose, &meant).await?;
        }
        let word = test::tried(context, &client, &session, meant.clone(), false).await?;
        if !word.ready {
            return Err(not_ready(session, word, &args.choose));
        }
        tested = Some(word);
    }
    // A digest that was typed is all that is known of what was shown.
    let (digest, whole) = match args.digest {
        Some(digest) => (digest, String::new()),
        None => match ask(context, &client, &session, &args.choose, &meant).await? {
            Asked::Digest { digest, whole } => (digest, whole),
            Asked::Ended(exit) => return Ok(Outcome::Exit(exit)),
        },
    };
    // The whole diff's digest approves the same bytes, as long as the project has not changed under them.
    let is_tested =
        |word: &v1::ChecksEnded| word.digest.starts_with(&digest) || session.digest.starts_with(&digest);
    if let Some(word) = tested.filter(|word| !is_tested(word)) {
        return Err(not_ready(session, word, &args.choose));
    }
    let chosen = !args.choose.is_empty();
    let shown = Shown { digest: &digest, whole: &whole };
    let reply = decide::approve(&client, &session.session, shown, meant).await?;
    context.output.json(&json::approval(&reply))?;
    decide::tell(&context.output, &reply)?;
    Ok(Outcome::Exit(exit_of(&reply, chosen)))
}

/// What came of asking.
enum Asked {
    /// A yes to what has this digest, while the session's work as a whole had the other one.
    Digest { digest: String, whole: String },
    /// No approval now.
    Ended(Exit),
}

async fn ask(
    context: &Context,
    client: &Client,
    session: &v1::Session,
    choose: &Choose,
    meant: &Meant,
) -> Result<Asked, Failure> {
    let id = session.session.clone();
    if !context.output.is_interactive() {
        let fetched = match choose.is_whole_paths() {
            true => decide::fetch(client, session, Depth::Stat).await?,
            false => decide::preview(client, session, meant.clone(), Depth::Stat).await?,
        };
        let digest = fetched.header.digest;
        return Err(match (digest.is_empty(), fetched.header.conflicts) {
            (false, _) => Failure::NeedsApproval { session: id, digest, options: choice::words(choose) },
            (true, 0) => Failure::NothingToApprove { session: id },
            (true, _) => undecided(&id),
        });
    }
    // The question is about what a yes applies, and about nothing else.
    let fetched = decide::preview(client, session, meant.clone(), Depth::Part).await?;
    decide::show(&context.output, &fetched, Depth::Part)?;
    let digest = fetched.header.digest.clone();
    if digest.is_empty() {
        return match (fetched.header.conflicts, fetched.header.left_out.is_empty()) {
            // The daemon knows best what to say about paths that must be named.
            (0, false) => Ok(Asked::Digest { digest: session.digest.clone(), whole: fetched.header.whole }),
            (0, true) => Err(Failure::NothingToApprove { session: id }),
            _ => Err(undecided(&id)),
        };
    }
    match decide::ask(context, &fetched, false).await? {
        Answer::Yes => Ok(Asked::Digest { digest, whole: fetched.header.whole }),
        Answer::Keep | Answer::Screen => {
            context.output.note(&decide::how_to_go_on(session))?;
            Ok(Asked::Ended(Exit::NeedsApproval))
        }
        Answer::Reject => {
            client.reviews().reject(v1::RejectRequest { session: id, ..Default::default() }).await?;
            context.output.line("rejected; the work is kept until the session is removed")?;
            Ok(Asked::Ended(Exit::Refused))
        }
    }
}

fn not_ready(session: v1::Session, word: v1::ChecksEnded, choose: &Choose) -> Failure {
    Failure::NotReady { session: session.session, word: Box::new(word), options: choice::words(choose) }
}

fn undecided(session: &str) -> Failure {
    Failure::Undecided { session: session.to_owned() }
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
