//! `ftlctl`, FTL's command line.
//!
//! Owns the way from arguments to an exit code: parse, run, report. Holds no logic that a second client
//! would have to repeat: what a verb means is decided by the daemon.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::args::Cli;
use crate::context::Context;
use crate::environment::Environment;
use crate::failure::{Exit, Failure, Outcome, Report};
use crate::output::{ColorChoice, Format, Output, Terminals};

mod args;
mod choice;
mod command;
mod connect;
mod context;
mod decide;
mod environment;
mod failure;
mod follow;
mod notify;
mod output;
mod project;
mod prompt;
mod question;
mod relay;
mod render;
mod review;
mod scope;
mod shell;
mod sit;
mod terminal;
mod totals;
mod value;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::read(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &arguments),
    };
    let cwd = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let environment = Environment::read(|name| std::env::var_os(name), cwd);
    let format = if cli.global.json { Format::Json } else { Format::Human };
    let mut output = Output::new(format, Terminals::detect(), cli.global.color, environment.no_color);
    if cli.global.plain || environment.term == "dumb" {
        output = output.plain(cli.global.color);
    }
    let context = Context { environment, output, global: cli.global };
    let result = run(&context, cli.verb);
    ExitCode::from(result.map_or_else(|failure| report(&context.output, &failure), Outcome::code))
}

fn run(context: &Context, verb: Option<args::Verb>) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::io("start the runtime"))?;
    let result = runtime.block_on(command::run(context, verb));
    // A read of the terminal that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    result
}

/// Prints a failure and gives its exit code.
fn report(output: &Output, failure: &Failure) -> u8 {
    if let Failure::OutputClosed = failure {
        return Exit::Done as u8;
    }
    let report = failure.report();
    // When the error cannot be printed either, the exit code still tells.
    let _ = if output.is_json() {
        output.json(&report.json())
    } else {
        output.note(&report.text(output.error_style))
    };
    report.exit as u8
}

/// Help and version go to standard output; a wrong command line is an error in the asked form.
fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let json = arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--json");
    if json {
        let terminals = Terminals { stdin: false, stdout: false, stderr: false };
        let output = Output::new(Format::Json, terminals, ColorChoice::Never, true);
        let text = error.render().to_string();
        // Clap's first paragraph says what is wrong; the rest repeats the usage.
        let first: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        let message = first.join(" ").trim_start_matches("error: ").to_owned();
        let hint = Some("`ftlctl --help` shows the verbs, `ftlctl VERB --help` their options".to_owned());
        let report =
            Report { exit: Exit::Usage, code: "usage".to_owned(), message, causes: Vec::new(), hint };
        let _ = output.json(&report.json());
    } else {
        let _ = error.print();
    }
    ExitCode::from(Exit::Usage as u8)
}
