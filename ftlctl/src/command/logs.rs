//! `ftlctl logs`: the audit log, and whether it is whole; with `--egress`, the ledger.

use ftl_proto::v1;
use serde_json::json;

use crate::args;
use crate::command::ledger;
use crate::connect::Client;
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::render::measure::{plural, time};
use crate::render::style::Tone;
use crate::render::{escape, json};

/// Prints records, or verifies all of them.
pub(crate) async fn run(context: &Context, args: args::Logs) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    if args.verify {
        return verify(context, &client).await;
    }
    if args.egress {
        return ledger::show(context, &client, &args).await;
    }
    let project = if args.all || args.session.is_some() { Vec::new() } else { context.project_bytes()? };
    let since_us = args.since_us(context.now());
    let (session, limit) = (args.session.clone().unwrap_or_default(), args.limit());
    let request = v1::LogRequest { project, session, limit, since_us };
    let mut records = client.events().log(request).await?.into_inner();
    let mut found = 0;
    while let Some(record) = records.message().await? {
        found += 1;
        context.output.json(&json::record(&record))?;
        context.output.line(&line(&record))?;
    }
    if found == 0 && !context.output.is_json() {
        context.output.note("no records")?;
    }
    if let Some(cut) = args.cut(found).filter(|_| !context.output.is_json()) {
        context.output.note(&cut)?;
    }
    Ok(Outcome::DONE)
}

fn line(record: &v1::LogRecord) -> String {
    let session = if record.session.is_empty() { "-" } else { &record.session };
    format!(
        "{:>6}  {}  {:<18}  {:<12}  {}",
        record.seq,
        time(record.time_us),
        escape::name(&record.action),
        escape::name(session),
        escape::name(&record.detail_json)
    )
}

async fn verify(context: &Context, client: &Client) -> Result<Outcome, Failure> {
    let output = &context.output;
    let reply = client.events().verify_log(v1::VerifyLogRequest {}).await?.into_inner();
    output.json(&json!({"intact": reply.intact, "records": reply.records, "problems": reply.problems}))?;
    let records = plural(reply.records, "record", "records");
    for problem in &reply.problems {
        output.line(&output.style.paint(Tone::Bad, &escape::name(problem)))?;
    }
    if reply.intact {
        output.line(&output.style.paint(Tone::Good, &format!("intact: {records}")))?;
        Ok(Outcome::DONE)
    } else {
        output.line(&output.style.paint(Tone::Bad, &format!("NOT intact: {records} read")))?;
        Ok(Outcome::Exit(Exit::Failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_harmless_line() {
        let record = v1::LogRecord {
            seq: 7,
            time_us: 0,
            action: "approved".into(),
            detail_json: "{\"a\":\"\n\u{1b}\"}".into(),
            ..Default::default()
        };
        assert_eq!(
            line(&record),
            "     7  1970-01-01T00:00:00.000000Z  approved            -             {\"a\":\"\\n\\x1b\"}"
        );
    }
}
