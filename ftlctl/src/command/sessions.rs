//! `ftlctl sessions`: what runs and what waits.

use ftl_proto::v1;
use jiff::Timestamp;

use crate::args;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::render::measure::age;
use crate::render::table::table;
use crate::render::{escape, json};

const HEADINGS: [&str; 6] = ["SESSION", "STATE", "AGENT", "AGE", "PROJECT", "TASK"];

/// Characters of a task that are shown.
const TASK: usize = 50;

/// Lists sessions, newest first.
pub(crate) async fn run(context: &Context, args: args::Sessions) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let project = if args.all { Vec::new() } else { context.project_bytes()? };
    let mut sessions = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListSessionsRequest { project: project.clone(), page_size: 0, page_token };
        let page = client.sessions().list(request).await?.into_inner();
        sessions.extend(page.sessions);
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    for session in &sessions {
        context.output.json(&json::session(session))?;
    }
    if sessions.is_empty() {
        let all = if args.all { "" } else { " of this project; --all lists every project's" };
        context.output.line(&format!("no sessions{all}"))?;
    } else {
        let rows: Vec<_> = sessions.iter().map(|session| row(session, context.now())).collect();
        context.output.line(&table(&HEADINGS, &rows, context.output.style, context.output.width()))?;
    }
    Ok(Outcome::DONE)
}

fn row(session: &v1::Session, now: Timestamp) -> Vec<String> {
    vec![
        escape::name(&session.session),
        json::state(session.state()).to_owned(),
        escape::name(&session.agent),
        age(session.created_us, now),
        escape::name(&session.project),
        escape::summary(&session.task, TASK),
    ]
}
