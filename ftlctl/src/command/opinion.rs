//! `ftlctl opinion`: a model's review of a session's changes.

use ftl_proto::v1;
use ftl_proto::v1::opinion_event::Kind;

use crate::args;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::render::model;

/// Has the review made and shows it.
pub(crate) async fn run(context: &Context, args: args::Opinion) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?;
    let scope = model::scope(&args.show, &session, &context.environment.cwd)?;
    let request =
        v1::OpinionRequest { session: session.session, scope: Some(scope), same_model: args.same_model };
    let mut events = client.ask().review(request).await?.into_inner();
    let (mut name, mut is_there) = (String::new(), false);
    let output = &context.output;
    while let Some(event) = events.message().await? {
        match event.kind {
            Some(Kind::Asked(asked)) => {
                output.json(&model::asked_value(&asked))?;
                for line in model::asked_lines(&asked) {
                    output.line(&line)?;
                }
                name = asked.model;
            }
            Some(Kind::Received(bytes)) => output.moving(Some(&format!("reviewing: {bytes} bytes")))?,
            Some(Kind::Again(again)) => {
                output.json(&model::again_value(&again))?;
                output.line(&model::again_line(&again))?;
            }
            Some(Kind::Opinion(opinion)) => {
                is_there = true;
                output.json(&model::opinion_value(&opinion))?;
                for line in model::opinion_lines(&opinion, output.style) {
                    output.line(&line)?;
                }
            }
            Some(Kind::End(end)) => {
                output.json(&model::end_value(&end))?;
                output.line(&model::end_line(&name, &end))?;
            }
            None => {}
        }
    }
    if is_there { Ok(Outcome::DONE) } else { Err(Failure::Protocol { what: "did not say the opinion" }) }
}
