//! `ftlctl logs --egress`: what left the sandboxes, and what did not.

use std::collections::VecDeque;

use ftl_proto::v1;

use crate::args;
use crate::connect::Client;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::render::style::Style;
use crate::render::table::table;
use crate::render::{egress, json};

/// Prints the ledger, oldest first.
pub(super) async fn show(context: &Context, client: &Client, args: &args::Logs) -> Result<Outcome, Failure> {
    let output = &context.output;
    let (session, project) = match &args.session {
        Some(named) => (context.session(client, Some(named)).await?.session, Vec::new()),
        None if args.all => (String::new(), Vec::new()),
        None => (String::new(), context.project_bytes()?),
    };
    let with_session = session.is_empty();
    let request = v1::LedgerRequest { session, project };
    let mut rows = client.egress().ledger(request).await?.into_inner();
    let limit = if args.limit == 0 { usize::MAX } else { args.limit as usize };
    // A table's columns are as wide as their widest cell, and a limit counts from the end: only JSON
    // without one can be printed as it comes.
    let mut kept = VecDeque::new();
    while let Some(row) = rows.message().await? {
        if output.is_json() && args.limit == 0 {
            output.json(&json::egress::ledger(&row))?;
            continue;
        }
        kept.push_back(row);
        if kept.len() > limit {
            kept.pop_front();
        }
    }
    for row in &kept {
        output.json(&json::egress::ledger(row))?;
    }
    if kept.is_empty() && !output.is_json() {
        output.note("no requests")?;
    } else {
        output.line(&page(kept.make_contiguous(), with_session, output.style, output.width()))?;
    }
    Ok(Outcome::DONE)
}

fn page(rows: &[v1::LedgerRow], with_session: bool, style: Style, width: Option<usize>) -> String {
    let mut headings = egress::LEDGER.to_vec();
    if with_session {
        headings.insert(1, "SESSION");
    }
    let rows: Vec<_> = rows.iter().map(|row| egress::ledger(row, with_session)).collect();
    table(&headings, &rows, style, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_a_table() {
        let row = v1::LedgerRow {
            session: "s-1".into(),
            decision: "allowed".into(),
            method: "GET".into(),
            authority: "a.example:443".into(),
            path: "/x".into(),
            rule: "allow a.example".into(),
            credentials: vec!["K".into()],
            status: 200,
            bytes_down: 2048,
            count: 1,
            ..Default::default()
        };
        assert_eq!(
            page(std::slice::from_ref(&row), false, Style::Plain, None),
            "TIME                  DECISION  METHOD  HOST       PATH  STATUS  UP   DOWN     CREDENTIALS  RULE\n\
             1970-01-01 00:00:00Z  allowed   GET     a.example  /x    200     0 B  2.0 KiB  K            allow a.example"
        );
        assert!(
            page(&[row], true, Style::Plain, None).starts_with("TIME                  SESSION  DECISION")
        );
    }
}
