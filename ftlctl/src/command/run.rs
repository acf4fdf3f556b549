//! `ftlctl run`: any command in a session of its own, then the review.

use std::os::unix::ffi::OsStrExt as _;

use ftl_proto::v1;

use crate::args;
use crate::command::code::search_path;
use crate::command::talk;
use crate::connect::Client;
use crate::context::Context;
use crate::decide::{self, Review};
use crate::failure::{Exit, Failure, Outcome};
use crate::follow::{Follower, OnInterrupt};
use crate::relay;

/// Opens a sandbox, runs the command in it and brings the session to its end. The command's own status
/// wins when it is not 0.
pub(crate) async fn run(context: &Context, args: args::Run) -> Result<Outcome, Failure> {
    let review = Review::of(args.end, &context.output);
    if !args.is_program
        && let Some((first, more)) = args.command.split_first()
        && let Some(agent) = talk::agent(first)
    {
        return talk::run(context, agent, more, args.sandbox, review).await;
    }
    let client = context.connect().await?;
    let argv: Vec<Vec<u8>> = args.command.iter().map(|word| word.as_bytes().to_vec()).collect();
    let request = v1::StartRequest {
        project: context.project_bytes()?,
        agent: "manual".to_owned(),
        task: quoted(&argv),
        argv: Vec::new(),
        sandbox: args.sandbox.unwrap_or_default(),
        search_path: search_path(context),
        ..v1::StartRequest::default()
    };
    let id = client.sessions().start(request).await?.into_inner().session;
    let mut follower = Follower::new(context, client, id.clone(), 1, OnInterrupt::StopThenLeave)?;
    let session = match follower.until_working().await {
        Ok(session) => session,
        Err(failure) => return Err(abandon(follower.client(), id, failure).await),
    };
    if session.state() != v1::State::Working {
        return decide::conclude(context, follower.client(), session, review).await.map(Outcome::Exit);
    }
    let (client, next) = follower.into_position();
    let status = match relay::run(context, &client, &id, argv).await {
        Ok(status) => status,
        Err(failure) => return Err(abandon(&client, id, failure).await),
    };
    // A Ctrl-C that the command was given is not one that was meant for us: this follower is a new one.
    let follower = Follower::new(context, client, id, next, OnInterrupt::StopThenLeave)?;
    let mut follower = follower.before(review);
    let session = follower.until_idle().await?;
    outcome(status, decide::conclude(context, follower.client(), session, review).await)
}

/// Ends a session whose command did not start or cannot be heard any more: nobody else would. What the
/// human has to know is the failure, not what came of this.
async fn abandon(client: &Client, session: String, failure: Failure) -> Failure {
    if !matches!(failure, Failure::Stopping { .. }) {
        let _ = client.sessions().stop(v1::StopRequest { session }).await;
    }
    failure
}

/// The command's own status wins, also over a session that counts as failed because of it.
pub(super) fn outcome(status: u8, ended: Result<Exit, Failure>) -> Result<Outcome, Failure> {
    match (status, ended) {
        (0, ended) => ended.map(Outcome::Exit),
        (status, Ok(_) | Err(Failure::Session { .. })) => Ok(Outcome::Command(status)),
        (_, Err(failure)) => Err(failure),
    }
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
    fn the_status_of_the_command_wins() {
        let failed = || Err(Failure::Session { session: "s-1".into(), reason: String::new() });
        assert_eq!(outcome(0, Ok(Exit::NeedsApproval)).unwrap(), Outcome::Exit(Exit::NeedsApproval));
        assert_eq!(outcome(7, Ok(Exit::NeedsApproval)).unwrap(), Outcome::Command(7));
        assert_eq!(outcome(130, failed()).unwrap(), Outcome::Command(130));
        assert!(outcome(0, failed()).is_err());
        assert!(outcome(7, Err(Failure::OutputClosed)).is_err());
    }

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
