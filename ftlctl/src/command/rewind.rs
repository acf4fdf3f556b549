//! `ftlctl rewind`: take a session's work back to an earlier turn.

use ftl_proto::v1;
use ftl_proto::v1::rewind_request::To;

use crate::args;
use crate::context::Context;
use crate::decide;
use crate::failure::{Failure, Outcome};
use crate::render::{escape, json};

/// Goes back by turns, or to the checkpoint that is named.
pub(crate) async fn run(context: &Context, args: args::Rewind) -> Result<Outcome, Failure> {
    let (session, number) = split(&args.session)?;
    let to = match (number, args.turns) {
        (None, turns) => To::Turns(turns.unwrap_or(1)),
        (Some(number), None) => To::Checkpoint(number),
        (Some(_), Some(_)) => {
            return Err(Failure::Usage {
                what: "name a checkpoint or a number of turns, not both".to_owned(),
                hint: "leave out TURNS, or the @ and what follows it".to_owned(),
            });
        }
    };
    go(context, session.to_owned(), to).await?;
    Ok(Outcome::DONE)
}

/// Goes back, and says where the session stands then.
pub(crate) async fn go(context: &Context, session: String, to: To) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = v1::RewindRequest { session, to: Some(to) };
    let reply = client.sessions().rewind(request).await?.into_inner();
    let at = reply.at;
    let session = reply.session.ok_or(Failure::Protocol { what: "did not say where the session stands" })?;
    let mut value = json::outcome(&session);
    value["at"] = at.into();
    context.output.json(&value)?;
    let id = escape::name(&session.session);
    let place = match at {
        0 => "the snapshot that it began with".to_owned(),
        number => format!("checkpoint {number}"),
    };
    context.output.line(&format!(
        "{id} is at {place}; `ftlctl sessions --checkpoints {id}` lists where else it can go"
    ))?;
    if session.state() == v1::State::AwaitingReview && !context.output.is_json() {
        context.output.note(&decide::how_to_go_on(&session))?;
    }
    Ok(())
}

/// A session and the checkpoint behind its `@`.
pub(crate) fn split(text: &str) -> Result<(&str, Option<u32>), Failure> {
    let Some((session, number)) = text.split_once('@') else { return Ok((text, None)) };
    match number.parse() {
        Ok(number) if !session.is_empty() => Ok((session, Some(number))),
        _ => Err(Failure::Usage {
            what: "a checkpoint is written SESSION@N, with a number".to_owned(),
            hint: match session {
                "" => "`ftlctl sessions` lists the sessions".to_owned(),
                session => {
                    format!("list them with `ftlctl sessions --checkpoints {}`", escape::name(session))
                }
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_a_session_and_a_number() {
        assert_eq!(split("s-1").unwrap(), ("s-1", None));
        assert_eq!(split("s-1@0").unwrap(), ("s-1", Some(0)));
        for wrong in ["@1", "s-1@", "s-1@x", "s-1@-1", "s-1@1@2"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }
}
