//! `ftlctl snapshots`: the states of a project that are kept.

use ftl_proto::v1;
use jiff::Timestamp;
use serde_json::json;

use crate::args::{self, SnapshotsVerb};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::project;
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
        Some(SnapshotsVerb::Restore(args)) => restore(context, args).await?,
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

async fn restore(context: &Context, args: args::RestoreSnapshot) -> Result<(), Failure> {
    let client = context.connect().await?;
    let target = context.environment.cwd.join(&args.to);
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
