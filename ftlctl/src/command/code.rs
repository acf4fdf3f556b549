//! `ftlctl code`: a task in a sandbox, then the review.

use ftl_proto::v1;

use crate::args;
use crate::connect::Client;
use crate::context::Context;
use crate::decide::{self, Review};
use crate::failure::{Failure, Outcome};
use crate::follow::{Follower, OnInterrupt};
use crate::project;

/// Starts a session, or goes on in one; follows it; brings it to its end.
pub(crate) async fn run(context: &Context, args: args::Code) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let review = Review::of(args.end, &context.output);
    let (session, next) = match args.session {
        Some(session) => say(&client, session, args.task).await?,
        None => {
            let request = v1::StartRequest {
                project: context.project_bytes()?,
                agent: args.agent.unwrap_or_default(),
                task: args.task,
                argv: Vec::new(),
                sandbox: args.sandbox.unwrap_or_default(),
                search_path: search_path(context),
                interactive: false,
                tests: args.tester.tests.unwrap_or_default(),
                no_tests: args.tester.no_tests,
                fix: args.tester.fix,
                same_model: args.tester.same_model,
            };
            (client.sessions().start(request).await?.into_inner().session, 1)
        }
    };
    let follower = Follower::new(context, client, session, next, OnInterrupt::StopThenLeave)?;
    let mut follower = follower.before(review);
    let session = follower.until_idle().await?;
    decide::conclude(context, follower.client(), session, review).await.map(Outcome::Exit)
}

/// The human's `PATH` in the API's form.
pub(crate) fn search_path(context: &Context) -> Vec<Vec<u8>> {
    context.environment.search_path.iter().map(|dir| project::bytes(dir)).collect()
}

async fn say(client: &Client, session: String, text: String) -> Result<(String, u64), Failure> {
    let request = v1::GetSessionRequest { session, project: Vec::new() };
    let session = client.sessions().get(request).await?.into_inner().session;
    let request = v1::SayRequest { session: session.clone(), text };
    let said = client.sessions().say(request).await?.into_inner();
    Ok((session, said.seq + 1))
}
