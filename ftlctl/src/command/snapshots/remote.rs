//! `ftlctl snapshots push`, `pull` and `list --remote`: snapshots in the human's bucket.

use ftl_proto::v1;
use ftl_proto::v1::travel_reply::Piece;
use serde_json::json;
use tonic::Streaming;

use super::{ID, listed};
use crate::args;
use crate::context::Context;
use crate::failure::Failure;
use crate::render::measure::{count, plural, size};
use crate::render::{escape, json};

pub(super) async fn push(context: &Context, args: args::PushSnapshots) -> Result<(), Failure> {
    let client = context.connect().await?;
    let project = project(context, args.snapshot.is_some() || args.all)?;
    let snapshot = args.snapshot.unwrap_or_default();
    let request = v1::PushSnapshotsRequest { snapshot, project, verify: args.verify };
    let pieces = client.snapshots().push(request).await?.into_inner();
    watch(context, pieces, ("sent", "were there")).await
}

pub(super) async fn pull(context: &Context, args: args::PullSnapshots) -> Result<(), Failure> {
    let client = context.connect().await?;
    let project = project(context, args.snapshot.is_some() || args.all)?;
    let list_under = if args.here { context.project_bytes()? } else { Vec::new() };
    let snapshot = args.snapshot.unwrap_or_default();
    let request = v1::PullSnapshotsRequest { snapshot, project, list_under };
    let pieces = client.snapshots().pull(request).await?.into_inner();
    watch(context, pieces, ("fetched", "were here")).await
}

pub(super) async fn list(context: &Context, all: bool) -> Result<(), Failure> {
    let client = context.connect().await?;
    let request = v1::ListRemoteSnapshotsRequest { project: project(context, all)? };
    let reply = client.snapshots().list_remote(request).await?.into_inner();
    let every = if all { "" } else { " of this project; --all lists every project's" };
    listed(context, &reply.snapshots, &format!("no snapshots in the bucket{every}"))?;
    match reply.snapshots_total.saturating_sub(reply.snapshots.len() as u64) {
        0 => Ok(()),
        more => context.output.line(&format!("and {} more", count(more))),
    }
}

/// The project, unless every one is meant.
fn project(context: &Context, every: bool) -> Result<Vec<u8>, Failure> {
    if every { Ok(Vec::new()) } else { context.project_bytes() }
}

/// Shows how far it comes, then the sums in these words.
async fn watch(
    context: &Context,
    mut pieces: Streaming<v1::TravelReply>,
    (verb, present): (&str, &str),
) -> Result<(), Failure> {
    let mut is_summed = false;
    while let Some(reply) = pieces.message().await? {
        match reply.piece {
            Some(Piece::Progress(progress)) => {
                let (done, of) = (count(progress.objects), count(progress.total_objects));
                let line = format!("{verb} {done} of {of} objects · {}", size(progress.bytes));
                context.output.moving(Some(&line))?;
            }
            Some(Piece::Summary(summary)) => {
                context.output.moving(None)?;
                summed(context, &summary, (verb, present))?;
                is_summed = true;
            }
            None => {}
        }
    }
    if is_summed { Ok(()) } else { Err(Failure::Protocol { what: "ended without saying what travelled" }) }
}

fn summed(context: &Context, summary: &v1::TravelSummary, words: (&str, &str)) -> Result<(), Failure> {
    context.output.json(&json!({
        "snapshots": summary.snapshots.iter().map(json::snapshot).collect::<Vec<_>>(),
        "snapshots_total": summary.snapshots_total,
        "objects": summary.objects,
        "bytes": summary.bytes,
        "present": summary.present,
    }))?;
    if summary.snapshots_total == 0 {
        return context.output.line("no snapshots of this project; --all means every project's");
    }
    for snapshot in &summary.snapshots {
        let id = escape::name(snapshot.snapshot.chars().take(ID).collect::<String>());
        context.output.line(&format!("{id}  {}", escape::name(&snapshot.project)))?;
    }
    context.output.line(&sums(summary, words))
}

fn sums(summary: &v1::TravelSummary, (verb, present): (&str, &str)) -> String {
    let objects = plural(summary.objects, "object", "objects");
    let bytes = size(summary.bytes);
    format!("{objects}, {bytes} {verb}, {} {present}", count(summary.present))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_one_line() {
        let summary = v1::TravelSummary { objects: 12, bytes: 3 << 20, present: 1988, ..Default::default() };
        let line = sums(&summary, ("sent", "were there"));
        assert_eq!(line, "12 objects, 3.0 MiB sent, 1,988 were there");
    }
}
