//! `ftlctl applied`: what was applied to a project.

use ftl_proto::v1;

use crate::args;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::render::measure::{self, count};
use crate::render::table::table;
use crate::render::{escape, json};

/// The columns for people.
const COLUMNS: [&str; 6] = ["TIME", "BY", "SESSION", "STATE", "PATHS", "FIRST OF THEM"];

/// Lists applications, newest first.
pub(crate) async fn run(context: &Context, args: args::Applied) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let request = match (args.session, args.all) {
        (Some(session), _) => v1::ListAppliedRequest { session, project: Vec::new() },
        (None, true) => v1::ListAppliedRequest::default(),
        (None, false) => v1::ListAppliedRequest { session: String::new(), project: context.project_bytes()? },
    };
    let mut items = client.reviews().list_applied(request).await?.into_inner();
    let mut rows = Vec::new();
    while let Some(application) = items.message().await? {
        context.output.json(&json::application(&application))?;
        rows.push(row(&application));
    }
    if rows.is_empty() {
        context.output.line("nothing was applied")?;
    } else {
        context.output.line(&table(&COLUMNS, &rows, context.output.style, context.output.width()))?;
    }
    Ok(Outcome::DONE)
}

fn row(application: &v1::Application) -> Vec<String> {
    let state = match (application.undone, application.removed) {
        (true, _) => "taken back",
        (false, false) => "applied",
        (false, true) => "applied, session removed",
    };
    let by = if application.by.is_empty() { "?".to_owned() } else { escape::name(&application.by) };
    vec![
        measure::second(application.time_us),
        by,
        escape::name(&application.session),
        state.to_owned(),
        count(application.paths_total),
        application.paths.first().map(escape::name).unwrap_or_default(),
    ]
}
