//! `ftlctl exec`: a command in a session that exists.

use std::os::unix::ffi::OsStrExt as _;

use crate::args;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::relay;

/// Runs the command; its status is ours.
pub(crate) async fn run(context: &Context, args: args::Exec) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?.session;
    let argv = args.command.iter().map(|word| word.as_bytes().to_vec()).collect();
    relay::run(context, &client, &session, argv).await.map(Outcome::Command)
}
