//! `ftlctl sessions`: what runs and what waits, and what a session was after each turn.

use ftl_proto::v1;
use jiff::Timestamp;

use crate::args;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::render::measure::{age, count, size};
use crate::render::table::table;
use crate::render::{escape, json};

const HEADINGS: [&str; 6] = ["SESSION", "STATE", "AGENT", "AGE", "PROJECT", "TASK"];

const CHECKPOINTS: [&str; 7] = ["CHECKPOINT", "FROM", "TURN", "AGE", "CHANGES", "DIGEST", "TASK"];

const KEPT: [&str; 7] = ["SESSION", "STATE", "HOME", "WORKSPACE", "TMP", "READY", "PROJECT"];

/// What the table of what is kept does not say.
const KEEPS: &str = "kept between turns: home (the agent's conversation, what it installed, caches), workspace \
                     (what the turns changed), tmp; ended with each turn: processes, connections, its certificates; \
                     `ftlctl wipe SESSION` forgets home and tmp";

/// Characters of a digest that are shown.
const DIGEST: usize = 12;

/// Characters of a task that are shown.
const TASK: usize = 50;

/// Lists sessions, newest first.
pub(crate) async fn run(context: &Context, args: args::Sessions) -> Result<Outcome, Failure> {
    if let Some(session) = args.checkpoints {
        return checkpoints(context, session).await;
    }
    let client = context.connect().await?;
    let project = if args.all { Vec::new() } else { context.project_bytes()? };
    let mut sessions = Vec::new();
    let mut page_token = String::new();
    loop {
        let (project, kept) = (project.clone(), args.verbose);
        let request = v1::ListSessionsRequest { project, page_size: 0, page_token, kept };
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
    } else if args.verbose {
        let rows: Vec<_> = sessions.iter().map(kept_row).collect();
        context.output.line(&table(&KEPT, &rows, context.output.style, context.output.width()))?;
        if !context.output.is_json() {
            context.output.note(KEEPS)?;
        }
    } else {
        let rows: Vec<_> = sessions.iter().map(|session| row(session, context.now())).collect();
        context.output.line(&table(&HEADINGS, &rows, context.output.style, context.output.width()))?;
    }
    Ok(Outcome::DONE)
}

async fn checkpoints(context: &Context, session: String) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let reply =
        client.sessions().list_checkpoints(v1::ListCheckpointsRequest { session }).await?.into_inner();
    for checkpoint in &reply.checkpoints {
        context.output.json(&json::checkpoint(&reply, checkpoint))?;
    }
    if reply.checkpoints.is_empty() {
        context.output.line("no checkpoints: no turn has ended")?;
    } else {
        let rows: Vec<_> =
            reply.checkpoints.iter().map(|one| checkpoint_row(one, reply.at, context.now())).collect();
        let (style, width) = (context.output.style, context.output.width());
        context.output.line(&table(&CHECKPOINTS, &rows, style, width))?;
    }
    Ok(Outcome::DONE)
}

fn checkpoint_row(checkpoint: &v1::Checkpoint, at: u32, now: Timestamp) -> Vec<String> {
    let mark = if checkpoint.number == at { " *" } else { "" };
    vec![
        format!("{}{mark}", checkpoint.number),
        checkpoint.parent.to_string(),
        checkpoint.turn.to_string(),
        age(checkpoint.time_us, now),
        count(checkpoint.entries),
        escape::name(checkpoint.digest.chars().take(DIGEST).collect::<String>()),
        escape::summary(&checkpoint.text, TASK),
    ]
}

fn kept_row(session: &v1::Session) -> Vec<String> {
    let kept = session.kept.unwrap_or_default();
    vec![
        escape::name(&session.session),
        json::state(session.state()).to_owned(),
        size(kept.home_bytes),
        size(kept.workspace_bytes),
        size(kept.temporary_bytes),
        if kept.warm { "yes" } else { "no" }.to_owned(),
        escape::name(&session.project),
    ]
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
