//! `ftlctl snapshots`: the states that are kept of a project and of its sessions.

mod remote;

use ftl_proto::v1;
use ftl_proto::v1::rewind_request::To;
use jiff::Timestamp;
use serde_json::json;

use crate::args::{self, SnapshotsVerb};
use crate::command::rewind;
use crate::context::Context;
use crate::decide;
use crate::failure::{Exit, Failure, Outcome};
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
        Some(SnapshotsVerb::Restore(args)) => return restore(context, args).await,
        Some(SnapshotsVerb::Branch(args)) => branch(context, args).await?,
        Some(SnapshotsVerb::Push(args)) => remote::push(context, args).await?,
        Some(SnapshotsVerb::Pull(args)) => remote::pull(context, args).await?,
        Some(SnapshotsVerb::Clean(args)) => clean(context, args).await?,
        Some(SnapshotsVerb::Verify) => return verify(context).await,
    }
    Ok(Outcome::DONE)
}

async fn list(context: &Context, args: args::ListSnapshots) -> Result<(), Failure> {
    if args.remote {
        return remote::list(context, args.all).await;
    }
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
    let all = if args.all { "" } else { " of this project; --all lists every project's" };
    listed(context, &snapshots, &format!("no snapshots{all}"))
}

/// The list, or that there is none.
fn listed(context: &Context, snapshots: &[v1::Snapshot], none: &str) -> Result<(), Failure> {
    for snapshot in snapshots {
        context.output.json(&json::snapshot(snapshot))?;
    }
    if snapshots.is_empty() {
        return context.output.line(none);
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
        "unreadable" => format!("{:4}  {:>10}  {path}  (could not be read)", "?", ""),
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
            (_, None) => return Err(not_its_own(&session)),
        },
    };
    if !session.starts_with(named) && !named.starts_with(&session) {
        return Err(not_its_own(&session));
    }
    rewind::go(context, session, To::Checkpoint(number)).await
}

fn not_its_own(session: &str) -> Failure {
    Failure::Usage {
        what: "a session goes back to its own checkpoints only".to_owned(),
        hint: format!(
            "name one as {0}@N (`ftlctl sessions --checkpoints {0}`), or write the state elsewhere with --to DIR",
            escape::name(session)
        ),
    }
}

async fn restore(context: &Context, args: args::RestoreSnapshot) -> Result<Outcome, Failure> {
    let to = match (args.place.session, args.place.to) {
        (Some(session), _) => {
            go_back(context, &args.snapshot, session).await?;
            return Ok(Outcome::DONE);
        }
        (None, None) => {
            propose(context, args.snapshot).await?;
            return Ok(Outcome::DONE);
        }
        (None, Some(to)) => to,
    };
    let client = context.connect().await?;
    let target = context.environment.cwd.join(to);
    let request = v1::RestoreSnapshotRequest { snapshot: args.snapshot, target: project::bytes(&target) };
    let reply = client.snapshots().restore(request).await?.into_inner();
    let mut value = json::bytes("target", &project::bytes(&target));
    value["files"] = json!(reply.files);
    value["bytes"] = json!(reply.bytes);
    value["lost"] = reply.lost.iter().map(json::lost_path).collect();
    value["lost_total"] = json!(reply.lost_total);
    context.output.json(&value)?;
    for lost in &reply.lost {
        context.output.line(&format!("lost: {}", shown(&lost.path)))?;
    }
    let files = plural(reply.files, "file", "files");
    let target = escape::name(project::bytes(&target));
    context.output.line(&format!("restored {files} · {} to {target}", size(reply.bytes)))?;
    if reply.lost_total == 0 {
        return Ok(Outcome::DONE);
    }
    let lost = plural(reply.lost_total, "path is", "paths are");
    context.output.note(&format!("{lost} damaged in the store and could not be restored"))?;
    Ok(Outcome::Exit(Exit::Failed))
}

async fn clean(context: &Context, args: args::CleanSnapshots) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = v1::CleanSnapshotsRequest {
        project: if args.every_project { Vec::new() } else { context.project_bytes()? },
        last: args.last,
        older_than_us: args.older_than.and_then(|age| u64::try_from(age).ok()),
        all: args.all,
        dry_run: args.dry_run,
    };
    let reply = client.snapshots().clean(request).await?.into_inner();
    context.output.json(&json::cleaned(&reply, args.dry_run))?;
    for snapshot in args.dry_run.then_some(&reply.snapshots).into_iter().flatten() {
        let id = escape::name(snapshot.snapshot.chars().take(ID).collect::<String>());
        let (age, project) = (age(snapshot.created_us, context.now()), escape::name(&snapshot.project));
        context.output.line(&format!("would go: {id}  {age}  {project}"))?;
    }
    let verb = if args.dry_run { "would remove" } else { "removed" };
    let snapshots = plural(reply.snapshots_total, "snapshot", "snapshots");
    let contents = plural(reply.contents, "content", "contents");
    let trees = plural(reply.trees, "base tree", "base trees");
    let (bytes, tree_bytes) = (size(reply.bytes), size(reply.tree_bytes));
    context.output.line(&format!("{verb} {snapshots} · {contents}, {bytes} · {trees}, {tree_bytes}"))?;
    match reply.needed {
        0 => Ok(()),
        needed => {
            let needed = plural(needed, "snapshot is", "snapshots are");
            context
                .output
                .line(&format!("{needed} kept because sessions need them; `ftlctl rm` forgets a session"))
        }
    }
}

async fn verify(context: &Context) -> Result<Outcome, Failure> {
    use v1::verify_snapshots_reply::Piece;
    let client = context.connect().await?;
    let mut pieces = client.snapshots().verify(v1::VerifySnapshotsRequest {}).await?.into_inner();
    let mut damaged = 0;
    while let Some(reply) = pieces.message().await? {
        match reply.piece {
            Some(Piece::Progress(progress)) => {
                let (done, total) = (size(progress.done_bytes), size(progress.total_bytes));
                context.output.moving(Some(&format!("read {done} of {total}")))?;
            }
            Some(Piece::Damaged(one)) => {
                context.output.moving(None)?;
                context.output.json(&json::damaged(&one))?;
                told(context, &one)?;
            }
            Some(Piece::Summary(summary)) => {
                context.output.moving(None)?;
                damaged = summary.damaged;
                context.output.json(&json!({
                    "contents": summary.contents, "bytes": summary.bytes, "damaged": summary.damaged,
                }))?;
                let contents = plural(summary.contents, "content", "contents");
                let end = match damaged {
                    0 => "all intact".to_owned(),
                    _ => format!("{} damaged or missing", count(damaged)),
                };
                context.output.line(&format!("{contents} · {} · {end}", size(summary.bytes)))?;
            }
            None => {}
        }
    }
    if damaged == 0 {
        return Ok(Outcome::DONE);
    }
    context.output.note("what a project still has is stored again by its next snapshot")?;
    Ok(Outcome::Exit(Exit::Failed))
}

/// A damaged content, for people.
fn told(context: &Context, one: &v1::DamagedContent) -> Result<(), Failure> {
    let what = if one.damaged { "damaged" } else { "missing" };
    let hash = escape::name(one.blake3.chars().take(ID).collect::<String>());
    if one.places.is_empty() {
        return context.output.line(&format!("{what}: {hash}  in no snapshot"));
    }
    for place in &one.places {
        let id = escape::name(place.snapshot.chars().take(ID).collect::<String>());
        context.output.line(&format!("{what}: {hash}  snapshot {id}  {}", shown(&place.path)))?;
    }
    Ok(())
}

/// A lost path; the root has no name.
fn shown(path: &[u8]) -> String {
    if path.is_empty() { "the whole snapshot".to_owned() } else { escape::name(path) }
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
        assert_eq!(line(&entry("unreadable")), "?                 a\\nb  (could not be read)");
    }
}
