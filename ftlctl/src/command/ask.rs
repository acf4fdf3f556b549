//! `ftlctl ask`: a question about a session's changes.

use ftl_proto::v1;
use ftl_proto::v1::ask_event::Kind;
use serde_json::json;

use crate::args;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::render::event::Piece;
use crate::render::model::{self, Quoted};

/// Puts the question and shows the answer as it comes.
pub(crate) async fn run(context: &Context, args: args::Ask) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?;
    let scope = model::scope(&args.show, &session, &context.environment.cwd)?;
    let request = v1::AskRequest { session: session.session, question: args.question, scope: Some(scope) };
    let mut events = client.ask().ask(request).await?.into_inner();
    let (mut answer, mut name) = (Quoted::default(), String::new());
    let output = &context.output;
    loop {
        let event = match events.message().await {
            Ok(event) => event,
            Err(status) => {
                // What was said before stays, as the part that it is.
                output.piece(&Piece::Text(answer.rest()))?;
                return Err(status.into());
            }
        };
        let Some(event) = event else { break };
        match event.kind {
            Some(Kind::Asked(asked)) => {
                output.json(&model::asked_value(&asked))?;
                for line in model::asked_lines(&asked) {
                    output.line(&line)?;
                }
                name = asked.model;
            }
            Some(Kind::Text(text)) => {
                output.json(&json!({ "type": "text", "text": text }))?;
                output.piece(&Piece::Text(answer.push(&text)))?;
            }
            Some(Kind::Again(again)) => {
                output.json(&model::again_value(&again))?;
                output.line(&model::again_line(&again))?;
            }
            Some(Kind::End(end)) => {
                output.piece(&Piece::Text(answer.rest()))?;
                output.json(&model::end_value(&end))?;
                output.line(&model::end_line(&name, &end))?;
            }
            None => {}
        }
    }
    Ok(Outcome::DONE)
}
