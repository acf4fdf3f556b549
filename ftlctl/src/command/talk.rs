//! `ftlctl run AGENT`: the agent on its own terminal in a sandbox, then the review.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use ftl_proto::v1;

use crate::command::code::search_path;
use crate::connect::Client;
use crate::context::Context;
use crate::decide::{self, Review};
use crate::failure::{Failure, Outcome};
use crate::follow::{Follower, OnInterrupt};
use crate::sit::{self, At, End, LEAVE_KEY};

/// The words that mean an agent, and its name.
const AGENTS: [(&str, &str); 7] = [
    ("claude", "claude-code"),
    ("claude-code", "claude-code"),
    ("codex", "codex"),
    ("opencode", "opencode"),
    ("gemini", "gemini"),
    ("aider", "aider"),
    ("kiro", "kiro"),
];

/// The agent that a first word means.
pub(crate) fn agent(word: &OsString) -> Option<&'static str> {
    AGENTS.iter().find(|(name, _)| word == name).map(|(_, agent)| *agent)
}

/// Starts a session with the agent, sits down at its terminal, and brings the session to its end.
pub(crate) async fn run(
    context: &Context,
    agent: &str,
    more: &[OsString],
    sandbox: Option<String>,
    review: Review,
) -> Result<Outcome, Failure> {
    if !sit::can_sit(context) {
        return Err(Failure::Usage {
            what: format!("{agent} talks to its human, and there is no terminal"),
            hint: format!("give it a task: `ftlctl code --agent {agent} 'TASK'`"),
        });
    }
    let client = context.connect().await?;
    let words = more.iter().map(|word| word.to_string_lossy().into_owned());
    let request = v1::StartRequest {
        project: context.project_bytes()?,
        agent: agent.to_owned(),
        task: std::iter::once(agent.to_owned()).chain(words).collect::<Vec<_>>().join(" "),
        argv: more.iter().map(|word| word.as_bytes().to_vec()).collect(),
        sandbox: sandbox.unwrap_or_default(),
        search_path: search_path(context),
        interactive: true,
        // What is wanted is said on the terminal, so no test could be made of it.
        no_tests: true,
        ..v1::StartRequest::default()
    };
    let id = client.sessions().start(request).await?.into_inner().session;
    let mut follower = Follower::new(context, client, id.clone(), 1, OnInterrupt::StopThenLeave)?;
    let session = follower.until_working().await?;
    if session.state() != v1::State::Working {
        return decide::conclude(context, follower.client(), session, review).await.map(Outcome::Exit);
    }
    let (client, next) = follower.into_position();
    let (sender, replies) = sit::ask(&client, &id, At::New(Vec::new())).await?;
    context.output.note(&format!("{LEAVE_KEY} leaves the agent at work; `ftlctl attach {id}` comes back"))?;
    let end = sit::sit(context, sender, replies).await?;
    after(context, client, &id, next, (end, review)).await
}

/// What follows the human's time at the terminal.
pub(crate) async fn after(
    context: &Context,
    client: Client,
    session: &str,
    next: u64,
    (end, review): (End, Review),
) -> Result<Outcome, Failure> {
    match end {
        End::Exit(status) => {
            let follower =
                Follower::new(context, client, session.to_owned(), next, OnInterrupt::StopThenLeave)?;
            let mut follower = follower.before(review);
            let session = follower.until_idle().await?;
            super::run::outcome(status, decide::conclude(context, follower.client(), session, review).await)
        }
        End::Left => {
            context.output.note(&format!(
                "the agent of session {session} goes on: `ftlctl attach {session}` comes back, `ftlctl stop {session}` ends it"
            ))?;
            Ok(Outcome::DONE)
        }
        End::Replaced => {
            context.output.note(&format!("another client sits at session {session} now"))?;
            Ok(Outcome::DONE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_words_for_agents_are_agents() {
        assert_eq!(agent(&"claude".into()), Some("claude-code"));
        assert_eq!(agent(&"codex".into()), Some("codex"));
        for other in ["Claude", "claude-2", "sh", "./claude", ""] {
            assert_eq!(agent(&other.into()), None);
        }
    }
}
