//! `ftlctl daemon`: start, stop and inspect it.

use ftl_proto::v1;
use serde_json::json;

use crate::args::DaemonVerb;
use crate::connect::{self, Client, ConnectError, Start};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::render::measure::{count, duration, plural, size};
use crate::render::{escape, json};

/// Runs the verb. These work with a daemon of any version: an old one must be possible to end.
pub(crate) async fn run(context: &Context, verb: DaemonVerb) -> Result<Outcome, Failure> {
    let places = context.places()?;
    match verb {
        DaemonVerb::Start => {
            let start = if context.global.no_start { Start::Forbidden } else { Start::Allowed };
            status(context, &connect::connect_any_version(&places, start).await?).await?;
        }
        DaemonVerb::Status => {
            status(context, &connect::connect_any_version(&places, Start::Forbidden).await?).await?;
        }
        DaemonVerb::Stop => match connect::connect_any_version(&places, Start::Forbidden).await {
            Ok(client) => stop(context, client).await?,
            Err(ConnectError::NotRunning { .. }) => {
                context.output.json(&json!({"stopped": false, "running": false}))?;
                context.output.line("the daemon does not run")?;
            }
            Err(error) => return Err(error.into()),
        },
    }
    Ok(Outcome::DONE)
}

async fn status(context: &Context, client: &Client) -> Result<(), Failure> {
    let status = client.daemon().status(v1::StatusRequest {}).await?.into_inner();
    context.output.json(&json::status(&status))?;
    context.output.line(&text(&status))?;
    status.projects.iter().try_for_each(|project| context.output.line(&project_text(project)))
}

fn text(status: &v1::StatusReply) -> String {
    format!(
        "ftld {} runs as process {} for {}\n  home      {}\n  socket    {}\n  sessions  {}, {} at work",
        escape::name(&status.version),
        status.pid,
        duration(status.uptime_us),
        escape::name(&status.home),
        escape::name(&status.socket),
        count(status.sessions_total.into()),
        status.sessions_working,
    )
}

fn project_text(project: &v1::WatchedProject) -> String {
    let watched = plural(project.directories_watched, "directory", "directories");
    let mode = match project.mode() {
        v1::WatchMode::Unspecified => "kept up to date in a way that this program does not know".to_owned(),
        v1::WatchMode::Live => format!("{watched} watched"),
        v1::WatchMode::Beginning => format!("{watched} watched so far"),
        v1::WatchMode::Sweep => {
            format!("every snapshot walks all of it: {}", escape::text(&project.reason))
        }
    };
    format!(
        "  project   {}, {}, about {}; {mode}",
        escape::name(&project.path),
        plural(project.files, "file", "files"),
        size(project.memory),
    )
}

/// Ends the daemon and waits until it has closed the connection, which is the last thing it does.
async fn stop(context: &Context, client: Client) -> Result<(), Failure> {
    client.daemon().shutdown(v1::ShutdownRequest {}).await?;
    client.closed().await;
    context.output.json(&json!({"stopped": true, "running": false}))?;
    context.output.line("the daemon has stopped")
}
