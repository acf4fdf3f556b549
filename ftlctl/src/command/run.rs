//! `ftlctl run`: any command in a session of its own, then the review.

use std::os::unix::ffi::OsStrExt as _;

use ftl_proto::v1;

use crate::args;
use crate::command::code::search_path;
use crate::context::Context;
use crate::decide::{self, Review};
use crate::failure::{Failure, Outcome};
use crate::follow::{Follower, OnInterrupt};
use crate::relay;

/// Opens a sandbox, runs the command in it and brings the session to its end. The command's own status
/// wins when it is not 0.
pub(crate) async fn run(context: &Context, args: args::Run) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let review = Review::of(args.end, &context.output);
    let argv: Vec<Vec<u8>> = args.command.iter().map(|word| word.as_bytes().to_vec()).collect();
    let request = v1::StartRequest {
        project: context.project_bytes()?,
        agent: "manual".to_owned(),
        task: quoted(&argv),
        argv: Vec::new(),
        sandbox: args.sandbox.unwrap_or_default(),
        search_path: search_path(context),
    };
    let id = client.sessions().start(request).await?.into_inner().session;
    let mut follower = Follower::new(context, client, id.clone(), 1, OnInterrupt::StopThenLeave)?;
    let session = follower.until_working().await?;
    if session.state() != v1::State::Working {
        return decide::conclude(context, follower.client(), session, review).await.map(Outcome::Exit);
    }
    let (client, next) = follower.into_position();
    let status = relay::run(context, &client, &id, argv).await?;
    // A Ctrl-C that the command was given is not one that was meant for us: this follower is a new one.
    let mut follower = Follower::new(context, client, id, next, OnInterrupt::StopThenLeave)?;
    let session = follower.until_idle().await?;
    let exit = decide::conclude(context, follower.client(), session, review).await?;
    Ok(if status == 0 { Outcome::Exit(exit) } else { Outcome::Command(status) })
}

/// The command as one would type it.
fn quoted(argv: &[Vec<u8>]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&byte);
    let words: Vec<String> = argv
        .iter()
        .map(|word| {
            let text = String::from_utf8_lossy(word);
            if !word.is_empty() && word.iter().copied().all(plain) {
                text.into_owned()
            } else {
                format!("'{}'", text.replace('\'', "'\\''"))
            }
        })
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_quoted_only_where_it_must_be() {
        let argv = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        let table: [(&[&str], &str); 3] = [
            (&["cargo", "test", "--lib"], "cargo test --lib"),
            (&["sh", "-c", "rm *; echo 'x'"], "sh -c 'rm *; echo '\\''x'\\'''"),
            (&["", "a b"], "'' 'a b'"),
        ];
        for (words, expected) in table {
            assert_eq!(quoted(&argv(words)), expected);
        }
    }
}
