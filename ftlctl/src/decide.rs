//! The human's decision: show the diff, ask, tell the daemon, say what came of it.
//!
//! Owns the question and the ends of `code`, `run`, `attach` and `approve`. Must not judge a diff: what
//! may be applied is the daemon's decision, over the digest of what was shown here.

use ftl_proto::v1;
use ftl_proto::v1::diff_item::Item;

use crate::args;
use crate::choice::Meant;
use crate::connect::Client;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::prompt;
use crate::render::diff::Depth;
use crate::render::measure::plural;
use crate::render::style::Tone;
use crate::render::{diff, escape, event, json, measure};
use crate::review::{self, End};
use crate::totals;

/// A diff as it came.
pub(crate) struct Fetched {
    /// What it is of.
    pub(crate) header: v1::DiffHeader,
    /// Its entries.
    pub(crate) entries: Vec<v1::DiffEntry>,
    /// What left the sandbox while it came about.
    pub(crate) totals: Option<v1::EgressTotals>,
    /// The session, as it stood then.
    session: v1::Session,
}

/// What happens with work that waits for review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Review {
    /// The human is asked.
    Ask,
    /// The human is told how to go on.
    Tell,
    /// It is left for later, as was asked for.
    Leave,
    /// Everything is approved, as was asked for.
    Approve,
}

/// What a human answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Apply it.
    Yes,
    /// Keep it for later.
    Keep,
    /// Say no.
    Reject,
    /// Look at it on a screen, and choose.
    Screen,
}

/// What was shown to the human who says yes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    /// Digest of what is to be applied.
    pub(crate) digest: &'a str,
    /// Digest of the session's whole work at that time; empty when nobody knows.
    pub(crate) whole: &'a str,
}

// === impl Review ===

impl Review {
    /// What the options mean where this output goes.
    pub(crate) fn of(end: args::End, output: &Output) -> Self {
        match (end.yes, end.no_review, output.is_interactive()) {
            (true, _, _) => Self::Approve,
            (false, true, _) => Self::Leave,
            (false, false, true) => Self::Ask,
            (false, false, false) => Self::Tell,
        }
    }
}

/// Brings a session that does not work any more to its end, and says what that is.
pub(crate) async fn conclude(
    context: &Context,
    client: &Client,
    session: v1::Session,
    review: Review,
) -> Result<Exit, Failure> {
    let output = &context.output;
    held_by_gate(&session, review)?;
    let (session, goes_on) = match (session.state(), review) {
        (v1::State::AwaitingReview, Review::Ask | Review::Approve) => {
            decide(context, client, session, review).await?
        }
        _ => (session, false),
    };
    output.json(&json::outcome(&session))?;
    let exit = if goes_on { Exit::Refused } else { exit_of(&session, review) };
    if output.is_json() || goes_on {
        return Ok(exit);
    }
    match session.state() {
        v1::State::AwaitingReview => output.note(&how_to_go_on(&session))?,
        v1::State::NoChanges => output.line("no changes")?,
        v1::State::Failed => {
            return Err(Failure::Session { session: session.session, reason: session.reason });
        }
        v1::State::Rejected => output.line("rejected; the work is kept until the session is removed")?,
        _ => {}
    }
    Ok(exit)
}

/// What has a tester is approved unseen only when the gate says so.
fn held_by_gate(session: &v1::Session, review: Review) -> Result<(), Failure> {
    let is_ready = session.gate.as_ref().is_some_and(|gate| gate.ready);
    let waits = session.state() == v1::State::AwaitingReview;
    if session.tester.is_empty() || is_ready || !waits || review != Review::Approve {
        return Ok(());
    }
    let unsaid =
        || v1::ChecksEnded { digest: session.digest.clone(), ready: false, why: "it was not tried".into() };
    let word = Box::new(session.gate.clone().unwrap_or_else(unsaid));
    Err(Failure::NotReady { session: session.session.clone(), word, options: String::new() })
}

/// The session after the decision, and whether the agent goes on with a reason for a no, which was told.
async fn decide(
    context: &Context,
    client: &Client,
    session: v1::Session,
    review: Review,
) -> Result<(v1::Session, bool), Failure> {
    let fetched = fetch(client, &session, Depth::Full).await?;
    show(&context.output, &fetched, Depth::Full)?;
    if fetched.header.digest.is_empty() {
        return Ok((session, false));
    }
    let answer = match review {
        Review::Approve => Answer::Yes,
        _ => ask(context, &fetched, true).await?,
    };
    let unsaid = Failure::Protocol { what: "did not say where the session stands" };
    match answer {
        Answer::Keep => Ok((session, false)),
        Answer::Yes => {
            let digest = &fetched.header.digest;
            let shown = Shown { digest, whole: digest };
            let reply = approve(client, &session.session, shown, Meant::default()).await?;
            tell(&context.output, &reply)?;
            Ok((reply.session.ok_or(unsaid)?, false))
        }
        Answer::Screen => match review::look(context, client, &session, context.output.is_plain()).await? {
            None | Some(End::Left) => Ok((session, false)),
            Some(End::Approved(reply)) => {
                tell(&context.output, &reply)?;
                Ok((reply.session.ok_or(unsaid)?, false))
            }
            Some(End::Rejected(reply, go_on)) => {
                let after = reply.session.clone().ok_or(unsaid)?;
                if go_on {
                    tell_rejected(&context.output, &after, &reply, go_on)?;
                }
                Ok((after, go_on))
            }
        },
        Answer::Reject => {
            let request = v1::RejectRequest { session: session.session.clone(), ..Default::default() };
            let reply = client.reviews().reject(request).await?.into_inner();
            Ok((reply.session.ok_or(unsaid)?, false))
        }
    }
}

/// The diff of a session, with what left its sandbox.
pub(crate) async fn fetch(client: &Client, session: &v1::Session, depth: Depth) -> Result<Fetched, Failure> {
    let stat_only = depth == Depth::Stat;
    asked(
        client,
        session,
        v1::GetDiffRequest { session: session.session.clone(), stat_only, contents: false },
    )
    .await
}

/// The same, with contents that are not shown line by line.
pub(crate) async fn fetch_whole(client: &Client, session: &v1::Session) -> Result<Fetched, Failure> {
    let request = v1::GetDiffRequest { session: session.session.clone(), stat_only: false, contents: true };
    asked(client, session, request).await
}

async fn asked(
    client: &Client,
    session: &v1::Session,
    request: v1::GetDiffRequest,
) -> Result<Fetched, Failure> {
    let items = client.reviews().get_diff(request).await?.into_inner();
    let (header, entries) = collect(items).await?;
    let totals = totals::last(client, session).await?;
    Ok(Fetched { header, entries, totals, session: session.clone() })
}

/// What approving a part of a session's work would write now.
pub(crate) async fn preview(
    client: &Client,
    session: &v1::Session,
    meant: Meant,
    depth: Depth,
) -> Result<Fetched, Failure> {
    let request = v1::PreviewRequest {
        session: session.session.clone(),
        selection: Some(meant.selection),
        resolutions: meant.resolutions,
        accepted: meant.accepted,
        stat_only: depth == Depth::Stat,
        // What is shown next is the preview itself.
        shown: String::new(),
        merged_hunks: false,
    };
    let items = client.reviews().preview(request).await?.into_inner();
    let (header, entries) = collect(items).await?;
    Ok(Fetched { header, entries, totals: None, session: session.clone() })
}

/// All of a diff, which must be complete.
pub(crate) async fn collect(
    mut items: tonic::Streaming<v1::DiffItem>,
) -> Result<(v1::DiffHeader, Vec<v1::DiffEntry>), Failure> {
    let mut header = None;
    let mut entries = Vec::new();
    while let Some(item) = items.message().await? {
        match item.item {
            Some(Item::Header(first)) => header = Some(first),
            Some(Item::Entry(entry)) => entries.push(entry),
            None => {}
        }
    }
    let header = header.ok_or(Failure::Protocol { what: "sent a diff without its header" })?;
    // A diff that lacks an entry must not be approved for the whole.
    if header.entries != entries.len() as u64 {
        return Err(Failure::Protocol { what: "sent another number of changes than it announced" });
    }
    Ok((header, entries))
}

/// Prints a diff for people, and what left the sandbox.
pub(crate) fn show(output: &Output, fetched: &Fetched, depth: Depth) -> Result<(), Failure> {
    output.line(&diff::diff(&fetched.header, &fetched.entries, depth, output.style))?;
    match totals::line(&fetched.session, fetched.totals.as_ref()) {
        Some(line) => output.line(&line),
        None => Ok(()),
    }
}

/// Asks the human about a diff that was just shown.
///
/// `screen` offers another way to look at it.
pub(crate) async fn ask(context: &Context, fetched: &Fetched, screen: bool) -> Result<Answer, Failure> {
    let named = fetched.entries.iter().filter(|entry| entry.needs_naming).count() as u64;
    let all = diff::approvable(&fetched.entries);
    let question = question(all.saturating_sub(named), &fetched.header.digest, screen);
    loop {
        let Some(typed) = prompt::ask(context, &question).await? else { return Ok(Answer::Keep) };
        if let Some(answer) = answer(&typed).filter(|answer| screen || *answer != Answer::Screen) {
            return Ok(answer);
        }
    }
}

fn question(changes: u64, digest: &str, screen: bool) -> String {
    let screen = if screen { "[v]iew / " } else { "" };
    let these = if changes == 1 { "this" } else { "these" };
    let (changes, digest) = (plural(changes, "change", "changes"), event::short(digest));
    format!("Apply {these} {changes} (digest {digest})? [y]es / {screen}[n]o, keep for later / [r]eject: ")
}

/// What was meant; an empty line is not a yes.
fn answer(typed: &str) -> Option<Answer> {
    match typed.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Some(Answer::Yes),
        "n" | "no" | "" => Some(Answer::Keep),
        "r" | "reject" => Some(Answer::Reject),
        "v" | "view" => Some(Answer::Screen),
        _ => None,
    }
}

/// Approves exactly what has this digest. Ctrl-C leaves the daemon to finish it.
pub(crate) async fn approve(
    client: &Client,
    session: &str,
    shown: Shown<'_>,
    meant: Meant,
) -> Result<v1::ApproveReply, Failure> {
    let request = v1::ApproveRequest {
        session: session.to_owned(),
        digest: shown.digest.to_owned(),
        paths: Vec::new(),
        selection: Some(meant.selection),
        resolutions: meant.resolutions,
        accepted: meant.accepted,
        shown: shown.whole.to_owned(),
    };
    let mut reviews = client.reviews();
    tokio::select! {
        reply = reviews.approve(request) => Ok(reply?.into_inner()),
        _ = tokio::signal::ctrl_c() => Err(Failure::Detached { session: session.to_owned() }),
    }
}

/// Says what was applied and what was left alone.
pub(crate) fn tell(output: &Output, reply: &v1::ApproveReply) -> Result<(), Failure> {
    for path in &reply.paths {
        output.line(&format!("  {}", escape::name(path)))?;
    }
    tell_rest(output, reply.paths.len(), reply.paths_total)?;
    for left in &reply.left_alone {
        let line = format!("  left alone: {} ({})", escape::name(&left.path), escape::name(&left.reason));
        output.line(&output.style.paint(Tone::Warning, &line))?;
    }
    let applied = plural(reply.paths_total, "path", "paths");
    let session = reply.session.as_ref().map_or("", |session| session.session.as_str());
    let line = format!("applied {applied}; `ftlctl undo {}` takes it back", escape::name(session));
    output.line(&output.style.paint(Tone::Good, &line))
}

/// Says what became of rejected work.
pub(crate) fn tell_rejected(
    output: &Output,
    session: &v1::Session,
    reply: &v1::RejectReply,
    go_on: bool,
) -> Result<(), Failure> {
    let id = escape::name(&session.session);
    if go_on {
        let line = format!("rejected; the agent goes on with your reason: `ftlctl attach {id}` watches it");
        return output.line(&line);
    }
    let until = match reply.kept_until_us {
        0 => String::new(),
        until => format!(" until {} at least", measure::second(until)),
    };
    output.line(&format!("rejected {id}; its work is kept{until}"))?;
    if reply.checkpoint > 0 {
        output.line(&format!("  bring it back: ftlctl rewind {id}@{}", reply.checkpoint))?;
    }
    output.line(&format!("  remove it now: ftlctl rm --discard {id}"))
}

/// Says how many paths the reply does not list.
pub(crate) fn tell_rest(output: &Output, listed: usize, total: u64) -> Result<(), Failure> {
    match total.saturating_sub(listed as u64) {
        0 => Ok(()),
        rest => output.line(&format!("  … and {}", plural(rest, "more path", "more paths"))),
    }
}

/// The command that approves what has this digest. It names all of it: a prefix could fit other work too.
pub(crate) fn approve_command(session: &str, digest: &str) -> String {
    format!("ftlctl approve {} --digest {}", escape::name(session), escape::name(digest))
}

/// How a human goes on with work that waits.
pub(crate) fn how_to_go_on(session: &v1::Session) -> String {
    let id = escape::name(&session.session);
    let approve = if session.digest.is_empty() {
        String::new()
    } else {
        format!("\n  approve: {}", approve_command(&session.session, &session.digest))
    };
    format!(
        "session {id} waits for your review\n  review:  ftlctl review {id}\n  look:    ftlctl diff {id}{approve}\n  reject:  ftlctl reject {id}"
    )
}

/// The exit code for where a session stands.
fn exit_of(session: &v1::Session, review: Review) -> Exit {
    match session.state() {
        v1::State::Merged | v1::State::NoChanges => Exit::Done,
        v1::State::AwaitingReview if review == Review::Leave => Exit::Done,
        // Everything in it is refused: no approval can help.
        v1::State::AwaitingReview if session.digest.is_empty() => Exit::Refused,
        v1::State::AwaitingReview => Exit::NeedsApproval,
        v1::State::Rejected => Exit::Refused,
        v1::State::Unspecified
        | v1::State::Created
        | v1::State::Snapshotting
        | v1::State::Starting
        | v1::State::Working
        | v1::State::Capturing
        | v1::State::Applying
        | v1::State::Failed => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_a_yes() {
        let table = [
            ("y\n", Some(Answer::Yes)),
            (" YES \n", Some(Answer::Yes)),
            ("\n", Some(Answer::Keep)),
            ("n\n", Some(Answer::Keep)),
            ("r\n", Some(Answer::Reject)),
            ("v\n", Some(Answer::Screen)),
            ("yy\n", None),
            ("y\ny\n", None),
            ("\u{fffd}y", None),
        ];
        for (typed, expected) in table {
            assert_eq!(answer(typed), expected, "{typed:?}");
        }
    }

    #[test]
    fn the_question_names_what_is_approved() {
        let end = "(digest abc123def456)? [y]es / [n]o, keep for later / [r]eject: ";
        assert_eq!(question(4, "abc123def4567890", false), format!("Apply these 4 changes {end}"));
        let end = end.replace("[n]", "[v]iew / [n]");
        assert_eq!(question(1, "abc123def4567890", true), format!("Apply this 1 change {end}"));
    }

    #[test]
    fn every_end_has_its_exit_code() {
        let exit = |state: v1::State, digest: &str, review| {
            let session = v1::Session { state: state.into(), digest: digest.into(), ..Default::default() };
            exit_of(&session, review)
        };
        assert_eq!(exit(v1::State::Merged, "d", Review::Ask), Exit::Done);
        assert_eq!(exit(v1::State::NoChanges, "", Review::Tell), Exit::Done);
        assert_eq!(exit(v1::State::AwaitingReview, "d", Review::Leave), Exit::Done);
        assert_eq!(exit(v1::State::AwaitingReview, "d", Review::Tell), Exit::NeedsApproval);
        assert_eq!(exit(v1::State::AwaitingReview, "", Review::Tell), Exit::Refused);
        assert_eq!(exit(v1::State::Rejected, "", Review::Ask), Exit::Refused);
        assert_eq!(exit(v1::State::Failed, "", Review::Ask), Exit::Failed);
        assert_eq!(exit(v1::State::Working, "", Review::Ask), Exit::Failed);
    }

    #[test]
    fn the_way_on_names_the_whole_digest() {
        let session = v1::Session { session: "s-1".into(), digest: "abc".into(), ..Default::default() };
        assert!(how_to_go_on(&session).contains("ftlctl approve s-1 --digest abc\n"));
        let refused = v1::Session { digest: String::new(), ..session };
        assert!(!how_to_go_on(&refused).contains("approve"));
    }
}
