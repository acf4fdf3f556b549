//! One file per verb.
//!
//! Owns the way from a verb to its file. A verb's file asks the daemon and prints; it decides nothing.

use crate::args::Verb;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::{review, shell};

mod applied;
mod approve;
mod ask;
mod attach;
mod auth;
mod blame;
mod code;
mod completions;
mod daemon;
mod demo;
mod diff;
mod doctor;
mod exec;
mod export;
mod generated;
mod init;
mod ledger;
mod logs;
mod man;
mod opinion;
mod policy;
mod reject;
mod rewind;
mod rm;
mod run;
mod secret;
mod sessions;
mod setup;
mod snapshots;
mod start;
mod stop;
mod talk;
mod test;
mod trust;
mod undo;
mod wipe;

pub(crate) use code::search_path;

/// Runs a verb; without one, the interactive shell.
pub(crate) async fn run(context: &Context, verb: Option<Verb>) -> Result<Outcome, Failure> {
    match verb {
        Some(Verb::Demo(args)) => demo::run(context, args).await,
        Some(Verb::Init(args)) => init::run(context, args).await,
        Some(Verb::Setup(args)) => setup::run(context, args).await,
        Some(Verb::Trust(args)) => trust::run(context, args).await,
        Some(Verb::Code(args)) => code::run(context, args).await,
        Some(Verb::Run(args)) => run::run(context, args).await,
        Some(Verb::Exec(args)) => exec::run(context, args).await,
        Some(Verb::Sessions(args)) => sessions::run(context, args).await,
        Some(Verb::Attach(args)) => attach::run(context, args).await,
        Some(Verb::Start(args)) => start::run(context, args, false).await,
        Some(Verb::Restart(args)) => start::run(context, args, true).await,
        Some(Verb::Stop(args)) => stop::run(context, args).await,
        Some(Verb::Rm(args)) => rm::run(context, args).await,
        Some(Verb::Diff(args)) => diff::run(context, args).await,
        Some(Verb::Blame(args)) => blame::run(context, args).await,
        Some(Verb::Review(args)) => review::run(context, args).await,
        Some(Verb::Test(args)) => test::run(context, args).await,
        Some(Verb::Tests(args)) => generated::run(context, args).await,
        Some(Verb::Ask(args)) => ask::run(context, args).await,
        Some(Verb::Opinion(args)) => opinion::run(context, args).await,
        Some(Verb::Approve(args)) => approve::run(context, args).await,
        Some(Verb::Reject(args)) => reject::run(context, args).await,
        Some(Verb::Undo(args)) => undo::run(context, args).await,
        Some(Verb::Applied(args)) => applied::run(context, args).await,
        Some(Verb::Rewind(args)) => rewind::run(context, args).await,
        Some(Verb::Wipe(args)) => wipe::run(context, args).await,
        Some(Verb::Snapshots(args)) => snapshots::run(context, args).await,
        Some(Verb::Export(args)) => export::run(context, args).await,
        Some(Verb::Auth(args)) => auth::run(context, args).await,
        Some(Verb::Secret(args)) => secret::run(context, args).await,
        Some(Verb::Policy(args)) => policy::run(context, args).await,
        Some(Verb::Logs(args)) => logs::run(context, args).await,
        Some(Verb::Doctor) => doctor::run(context).await,
        Some(Verb::Daemon(args)) => daemon::run(context, args.verb).await,
        Some(Verb::Completions(args)) => completions::run(context, args),
        Some(Verb::Man(args)) => man::run(context, args),
        None => shell::run(context).await,
    }
}
