//! `ftlctl man`: the manual pages, made from the help.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::args::{self, Cli};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::project;
use crate::render::{escape, json};

/// Prints the main page, or writes every page into a directory.
pub(crate) fn run(context: &Context, args: args::Man) -> Result<Outcome, Failure> {
    let Some(out) = args.out else {
        let page = page(&Man::new(Cli::command()))?;
        if context.output.is_json() {
            context.output.json(&json::bytes("page", &page))?;
        } else {
            context.output.stdout(&page)?;
        }
        return Ok(Outcome::DONE);
    };
    let dir = context.environment.cwd.join(out);
    fs::create_dir_all(&dir).map_err(Failure::io("make the directory"))?;
    let mut command = Cli::command();
    command.build();
    write(context, &dir, command)?;
    Ok(Outcome::DONE)
}

fn write(context: &Context, dir: &Path, command: clap::Command) -> Result<(), Failure> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        write(context, dir, verb.clone())?;
    }
    let man = Man::new(command);
    let path = dir.join(man.get_filename());
    fs::write(&path, page(&man)?).map_err(Failure::io(format!("write {}", path.display())))?;
    context.output.json(&json::bytes("path", &project::bytes(&path)))?;
    context.output.line(&escape::name(project::bytes(&path)))
}

fn page(man: &Man) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    man.render(&mut page).map_err(Failure::io("render the page"))?;
    Ok(page)
}
