//! `ftlctl blame`: where each hunk of a change comes from.

use ftl_proto::v1;
use serde_json::{Value, json};

use crate::args;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::project;
use crate::render::measure::{self, plural};
use crate::render::{escape, json as fields};

/// Characters of an instruction or an argument that one line shows.
const SHOWN: usize = 60;

/// Prints the turns, tool calls and hosts behind each hunk.
pub(crate) async fn run(context: &Context, args: args::Blame) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, Some(&args.session)).await?;
    let path = project::beneath(&args.path, project::path(&session.project), &context.environment.cwd)?;
    let request = v1::BlameRequest { session: session.session.clone(), path: path.clone() };
    let reply = client.reviews().blame(request).await?.into_inner();
    if context.output.is_json() {
        let origins: Vec<Value> = reply.origins.iter().map(origin).collect();
        let mut value = fields::bytes("path", &path);
        value["session"] = session.session.into();
        value["origins"] = origins.into();
        context.output.json(&value)?;
        return Ok(Outcome::DONE);
    }
    for (of, number) in reply.origins.iter().zip(1..) {
        for line in lines(of, number) {
            context.output.line(&line)?;
        }
    }
    Ok(Outcome::DONE)
}

fn lines(of: &v1::Origin, number: usize) -> Vec<String> {
    let mut lines = vec![match of.hunk.as_str() {
        "" => "the whole change".to_owned(),
        id => format!("hunk {number}  {}", escape::name(id)),
    }];
    for turn in &of.turns {
        lines.push(format!("  turn {}  {}", turn.turn, escape::summary(&turn.text, SHOWN)));
    }
    if of.turns.is_empty() {
        lines.push("  no turn that is still known".to_owned());
    }
    for call in &of.calls {
        let (name, detail) = (escape::name(&call.name), escape::summary(&call.detail, SHOWN));
        lines.push(format!("  {name} {detail}  (turn {}, event {})", call.turn, call.seq));
    }
    if of.other_calls > 0 {
        let calls = plural(of.other_calls, "other call", "other calls");
        let only = if of.calls.is_empty() { "" } else { " too" };
        lines.push(format!("  {calls} in these turns may have written it{only}"));
    }
    for host in &of.fetched {
        let requests = plural(host.requests, "request", "requests");
        lines.push(format!("  had reached {} by then ({requests})", escape::name(&host.authority)));
    }
    lines
}

fn origin(of: &v1::Origin) -> Value {
    let turn = |turn: &v1::OriginTurn| json!({ "turn": turn.turn, "text": turn.text });
    let call = |call: &v1::OriginCall| {
        json!({
            "event": call.seq,
            "turn": call.turn,
            "tool": call.name,
            "detail": call.detail,
            "time": measure::time(call.time_us),
        })
    };
    let fetch = |host: &v1::OriginFetch| {
        json!({
            "authority": host.authority,
            "requests": host.requests,
            "first": measure::time(host.first_us),
        })
    };
    json!({
        "hunk": (!of.hunk.is_empty()).then_some(&of.hunk),
        "turns": of.turns.iter().map(turn).collect::<Vec<_>>(),
        "calls": of.calls.iter().map(call).collect::<Vec<_>>(),
        "other_calls": of.other_calls,
        "fetched": of.fetched.iter().map(fetch).collect::<Vec<_>>(),
    })
}
