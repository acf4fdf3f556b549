//! `ftlctl completions`: a shell's completion script.

use clap::CommandFactory as _;

use crate::args::{self, Cli};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::render::json;

/// Prints the script.
pub(crate) fn run(context: &Context, args: args::Completions) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ftlctl", &mut script);
    if context.output.is_json() {
        context.output.json(&json::bytes("script", &script))?;
    } else {
        context.output.stdout(&script)?;
    }
    Ok(Outcome::DONE)
}
