//! `ftlctl snapshots`: the states that are kept of a project and of its sessions.

use ftl_proto::v1;
use ftl_proto::v1::rewind_request::To;
use jiff::Timestamp;
use serde_json::json;

use crate::args::{self, SnapshotsVerb};
use crate::command::rewind;
use crate::context::Context;
use crate::decide;
use crate::failure::{Failure, Outcome};
use crate::project;
use crate::render::diff::{self, Depth};
use crate::render::measure::{age, count, duration, mode, plural, size};
use crate::render::table::table;
use crate::render::{escape, event, json};

const HEADINGS: [&str; 5] = ["SNAPSHOT", "AGE", "FILES", "SIZE", "PROJECT"];

/// Characters of an id that a list shows; enough to name it.
const ID: usize = 16;

/// Runs the verb; without one, lists.
pub(crate) async fn run(context: &Context, args: args::Snapshots) -> Result<Outcome, Failure> {
    match args.verb {
        None => list(context, args::ListSnapshots::default()).await?,
        Some(SnapshotsVerb::List(args)) => list(context, args).await?,
        Some(SnapshotsVerb::Create(args)) => create(context, args).await?,
        Some(SnapshotsVerb::Show(args)) => show(context, args).await?,
        Some(SnapshotsVerb::Diff(args)) => diff(context, args).await?,
        Some(SnapshotsVerb::Restore(args)) => restore(context, args).await?,
        Some(SnapshotsVerb::Branch(args)) => branch(context, args).await?,
    }
    Ok(Outcome::DONE)
}

async fn list(context: &Context, args: args::ListSnapshots) -> Result<(), Failure> {
    let client = context.connect().await?;
    let project = if args.all { Vec::new() } else { context.project_bytes()? };
    let mut snapshots = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListSnapshotsRequest { project: project.clone(), page_size: 0, page_token };
        let page = client.snapshots().list(request).await?.into_inner();
        snapshots.extend(page.snapshots);
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    for snapshot in &snapshots {
        context.output.json(&json::snapshot(snapshot))?;
    }
    if snapshots.is_empty() {
        let all = if args.all { "" } else { " of this project; --all lists every project's" };
        return context.output.line(&format!("no snapshots{all}"));
    }
    let rows: Vec<_> = snapshots.iter().map(|snapshot| row(snapshot, context.now())).collect();
    context.output.line(&table(&HEADINGS, &rows, context.output.style, None))
}

fn row(snapshot: &v1::Snapshot, now: Timestamp) -> Vec<String> {
    vec![
        escape::name(snapshot.snapshot.chars().take(ID).collect::<String>()),
        age(snapshot.created_us, now),
        count(snapshot.files),
        size(snapshot.bytes),
        escape::name(&snapshot.project),
    ]
}

async fn create(context: &Context, args: args::CreateSnapshot) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = v1::CreateSnapshotRequest { project: context.project_bytes()?, explain: args.explain };
    let reply = client.snapshots().create(request).await?.into_inner();
    context.output.json(&json::created_snapshot(&reply))?;
    let snapshot = reply.snapshot.unwrap_or_default();
    let mut excluded: Vec<_> = reply.excluded.iter().collect();
    excluded.sort_by(|one, other| one.path.cmp(&other.path));
    for excluded in excluded {
        let path = escape::name(&excluded.path);
        context.output.line(&format!("left out: {path} ({})", event::rule(excluded)))?;
    }
    let untold = reply.excluded_total.saturating_sub(reply.excluded.len() as u64);
    if untold > 0 {
        let more = plural(untold, "more path", "more paths");
        let why = if args.explain { "too many to list" } else { "--explain lists them" };
        context.output.line(&format!("left out: {more} ({why})"))?;
    }
    let files = plural(snapshot.files, "file", "files");
    let (bytes, time) = (size(snapshot.bytes), duration(reply.elapsed_us));
    context.output.line(&format!("{}  {files} · {bytes} · {time}", escape::name(&snapshot.snapshot)))
}

async fn show(context: &Context, args: args::ShowSnapshot) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = v1::ShowSnapshotRequest { snapshot: args.snapshot };
    let mut entries = client.snapshots().show(request).await?.into_inner();
    while let Some(entry) = entries.message().await? {
        context.output.json(&json::snapshot_entry(&entry))?;
        context.output.line(&line(&entry))?;
    }
    Ok(())
}

fn line(entry: &v1::SnapshotEntry) -> String {
    let path = escape::name(&entry.path);
    match entry.r#type.as_str() {
        "file" => format!("{}  {:>10}  {path}", mode(entry.mode), size(entry.size)),
        "symlink" => format!("{}  {:>10}  {path} -> {}", mode(entry.mode), "", escape::name(&entry.target)),
        _ => format!("{}  {:>10}  {path}/", mode(entry.mode), ""),
    }
}

async fn diff(context: &Context, args: args::DiffSnapshots) -> Result<(), Failure> {
    let client = context.connect().await?;
    let depth = if args.stat { Depth::Stat } else { Depth::Full };
    let request = v1::DiffSnapshotsRequest { before: args.before, after: args.after, stat_only: args.stat };
    let items = client.snapshots().diff(request).await?.into_inner();
    let (header, entries) = decide::collect(items).await?;
    context.output.json(&json::diff(&header, &entries))?;
    context.output.line(&diff::diff(&header, &entries, depth, context.output.style))
}

async fn branch(context: &Context, args: args::BranchSession) -> Result<(), Failure> {
    let (session, checkpoint) = rewind::split(&args.session)?;
    let client = context.connect().await?;
    let request = v1::BranchRequest { session: session.to_owned(), checkpoint };
    let session = client.sessions().branch(request).await?.into_inner().session;
    let session = session.ok_or(Failure::Protocol { what: "did not say which session it began" })?;
    context.output.json(&json::outcome(&session))?;
    let id = escape::name(&session.session);
    let line = format!("began {id}; `ftlctl code --session {id} 'TASK'` goes on in it");
    context.output.line(&line)
}

/// Makes a session that takes the project back.
async fn propose(context: &Context, snapshot: String) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = v1::ProposeSnapshotRequest { project: context.project_bytes()?, snapshot };
    let session = client.snapshots().propose(request).await?.into_inner().session;
    let session = session.ok_or(Failure::Protocol { what: "did not say which session it began" })?;
    context.output.json(&json::outcome(&session))?;
    match session.state() {
        v1::State::AwaitingReview => context.output.line(&decide::how_to_go_on(&session)),
        _ => context.output.line("no changes: the project is as it was then"),
    }
}

/// Takes a session back to one of its own checkpoints.
async fn go_back(context: &Context, state: &str, session: String) -> Result<(), Failure> {
    let (named, number) = match state.parse() {
        Ok(number) => ("", number),
        Err(_) => match rewind::split(state)? {
            (named, Some(number)) => (named, number),
            (_, None) => return Err(not_its_own()),
        },
    };
    if !session.starts_with(named) && !named.starts_with(&session) {
        return Err(not_its_own());
    }
    rewind::go(context, session, To::Checkpoint(number)).await
}

fn not_its_own() -> Failure {
    Failure::Usage {
        what: "a session goes back to its own checkpoints only".to_owned(),
        hint: "name one as SESSION@N, or write the state elsewhere with --to DIR".to_owned(),
    }
}

async fn restore(context: &Context, args: args::RestoreSnapshot) -> Result<(), Failure> {
    let to = match (args.place.session, args.place.to) {
        (Some(session), _) => return go_back(context, &args.snapshot, session).await,
        (None, None) => return propose(context, args.snapshot).await,
        (None, Some(to)) => to,
    };
    let client = context.connect().await?;
    let target = context.environment.cwd.join(to);
    let request = v1::RestoreSnapshotRequest { snapshot: args.snapshot, target: project::bytes(&target) };
    let reply = client.snapshots().restore(request).await?.into_inner();
    let mut value = json::bytes("target", &project::bytes(&target));
    value["files"] = json!(reply.files);
    value["bytes"] = json!(reply.bytes);
    context.output.json(&value)?;
    let files = plural(reply.files, "file", "files");
    let target = escape::name(project::bytes(&target));
    context.output.line(&format!("restored {files} · {} to {target}", size(reply.bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_entry_has_its_line() {
        let entry = |kind: &str| v1::SnapshotEntry {
            path: b"a\nb".to_vec(),
            r#type: kind.into(),
            mode: 0o644,
            size: 2048,
            target: b"../x".to_vec(),
            ..Default::default()
        };
        assert_eq!(line(&entry("file")), "0644     2.0 KiB  a\\nb");
        assert_eq!(line(&entry("symlink")), "0644              a\\nb -> ../x");
        assert_eq!(line(&entry("directory")), "0644              a\\nb/");
    }
}
