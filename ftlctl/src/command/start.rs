//! `ftlctl start` and `ftlctl restart`: the sandbox of a session's next turn, made now.

use ftl_proto::v1;

use crate::args;
use crate::context::Context;
use crate::decide;
use crate::failure::{Failure, Outcome};
use crate::render::{escape, json, measure};

/// Has it made, and says whether it stands ready. With `anew` what runs in the session is stopped before.
pub(crate) async fn run(context: &Context, args: args::SessionArg, anew: bool) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?.session;
    let reply = client.sessions().make_ready(v1::MakeReadyRequest { session, anew }).await?.into_inner();
    let session = reply.session.ok_or(Failure::Protocol { what: "did not say where the session stands" })?;
    let mut value = json::outcome(&session);
    value["ready"] = reply.stands.into();
    value["stopped"] = reply.stopped.into();
    value["elapsed_us"] = reply.elapsed_us.into();
    if !reply.stands {
        value["why_not_ready"] = reply.why.clone().into();
    }
    context.output.json(&value)?;
    let id = escape::name(&session.session);
    if reply.stopped {
        let state = json::state(session.state()).replace('_', " ");
        context.output.line(&format!("stopped {id}: {state}"))?;
    }
    let time = measure::duration(reply.elapsed_us);
    context.output.line(&match reply.stands {
        true => format!(
            "ready {id}: a {} sandbox waits for its next turn; {time}",
            escape::name(&session.sandbox)
        ),
        false => format!(
            "works {id}: a {} sandbox was made and ended; {time}; none waits: {}",
            escape::name(&session.sandbox),
            escape::name(&reply.why)
        ),
    })?;
    if session.state() == v1::State::AwaitingReview && !context.output.is_json() {
        context.output.note(&decide::how_to_go_on(&session))?;
    }
    Ok(Outcome::DONE)
}
