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
        None => match ask(context, &client, &session, &paths).await? {
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

async fn ask(
    context: &Context,
    client: &Client,
    session: &v1::Session,
    paths: &[Vec<u8>],
) -> Result<Asked, Failure> {
    let depth = if context.output.is_interactive() { Depth::Full } else { Depth::Stat };
    let mut fetched = decide::fetch(client, session, depth).await?;
    let id = session.session.clone();
    let digest = fetched.header.digest.clone();
    if !context.output.is_interactive() {
        return Err(if digest.is_empty() {
            Failure::NothingToApprove { session: id }
        } else {
            Failure::NeedsApproval { session: id, digest }
        });
    }
    // The question is about what a yes applies, and about nothing else.
    fetched.entries.retain(|entry| is_chosen(&entry.path, paths));
    if fetched.entries.is_empty() && !digest.is_empty() {
        // The daemon knows best what to say about paths that are not among the changes.
        return Ok(Asked::Digest(digest));
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
            client.reviews().reject(v1::RejectRequest { session: id, ..Default::default() }).await?;
            context.output.line("rejected; the work is kept until the session is removed")?;
            Ok(Asked::Ended(Exit::Refused))
        }
    }
}

/// Whether an approval of these paths is one of this path: it is among them, beneath one, or a directory
/// that one of them needs. No paths are all paths.
fn is_chosen(path: &[u8], paths: &[Vec<u8>]) -> bool {
    let beneath = |path: &[u8], top: &[u8]| {
        path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    paths.is_empty() || paths.iter().any(|chosen| beneath(path, chosen) || beneath(chosen, path))
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
    fn the_question_is_about_the_chosen_paths() {
        let chosen = |path: &str, paths: &[&str]| {
            let paths: Vec<Vec<u8>> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
            is_chosen(path.as_bytes(), &paths)
        };
        assert!(chosen("a", &[]) && chosen("a/b", &["a"]) && chosen("a", &["x", "a"]));
        assert!(chosen("docs", &["docs/a.md"]) && !chosen("docs/b.md", &["docs/a.md"]));
        assert!(!chosen("ab", &["a"]) && !chosen("a", &["ab"]));
    }

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
