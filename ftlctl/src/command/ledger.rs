//! `ftlctl logs --egress`: what left the sandboxes, and what did not.

use ftl_proto::v1;

use crate::args;
use crate::connect::Client;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::render::egress::{self, Columns};
use crate::render::json;

/// Rows of one table.
const PAGE: usize = 1000;

/// Prints the ledger, oldest first.
pub(super) async fn show(context: &Context, client: &Client, args: &args::Logs) -> Result<Outcome, Failure> {
    let output = &context.output;
    let (session, project) = match &args.session {
        Some(named) => (context.session(client, Some(named)).await?.session, Vec::new()),
        None if args.all => (String::new(), Vec::new()),
        None => (String::new(), context.project_bytes()?),
    };
    let columns = Columns { session: session.is_empty(), wide: args.wide, terminal: output.width() };
    let (since_us, limit) = (args.since_us(context.now()), args.limit());
    let request = v1::LedgerRequest { session, project, limit, since_us };
    let mut rows = client.egress().ledger(request).await?.into_inner();
    // A table's columns are as wide as their widest cell, so it is printed in pages.
    let (mut page, mut shown) = (Vec::new(), 0);
    while let Some(row) = rows.message().await? {
        shown += 1;
        if output.is_json() {
            output.json(&json::egress::ledger(&row))?;
            continue;
        }
        page.push(row);
        if page.len() == PAGE {
            output.line(&egress::page(&std::mem::take(&mut page), &columns, output.style))?;
        }
    }
    if output.is_json() {
        return Ok(Outcome::DONE);
    }
    if shown == 0 {
        output.note("no requests")?;
    } else if !page.is_empty() {
        output.line(&egress::page(&page, &columns, output.style))?;
    }
    if let Some(cut) = args.cut(shown) {
        output.note(&cut)?;
    }
    Ok(Outcome::DONE)
}
