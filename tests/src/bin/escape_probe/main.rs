//! A program that tries to get out of the sandbox it runs in.
//!
//! Owns the attempts: [`files`], [`kernel`], [`network`], [`processes`]. Must not know which sandbox it
//! is in, so that every backend can be judged by it. Each attempt prints one line of JSON, `{"name",
//! "refused", "detail"}`; the exit status is 0 only when every one was refused. What the host has and
//! the sandbox must not reach is said by arguments:
//!
//! ```text
//! escape_probe [--hidden PATH]... [--read-only PATH]... [--socket PATH]... [--abstract NAME]... [--tcp PORT]...
//!              [--redirected]
//! ```

mod calls;
mod files;
mod kernel;
mod network;
mod processes;

use std::path::PathBuf;
use std::process::ExitCode;

/// What the host has that must not be reached.
#[derive(Debug, Default)]
struct Targets {
    /// Files and directories that must not be there.
    hidden: Vec<PathBuf>,
    /// Files and directories that must not be written.
    read_only: Vec<PathBuf>,
    /// Sockets that must not be there.
    sockets: Vec<PathBuf>,
    /// Abstract socket names that somebody on the host listens at.
    abstract_names: Vec<String>,
    /// TCP ports that somebody on the host listens at.
    tcp_ports: Vec<u16>,
    /// Whether connections and questions for names are redirected to a proxy, which answers nothing here.
    redirected: bool,
}

/// What came of an attempt.
enum Outcome {
    /// It failed, as it should.
    Refused(String),
    /// It got through.
    Through(String),
}

/// Collects and prints what came of the attempts.
#[derive(Default)]
struct Report {
    attempts: usize,
    through: usize,
}

impl Report {
    fn add(&mut self, name: &str, outcome: Outcome) {
        let (refused, detail) = match outcome {
            Outcome::Refused(detail) => (true, detail),
            Outcome::Through(detail) => (false, detail),
        };
        self.attempts += 1;
        self.through += usize::from(!refused);
        println!("{{\"name\": {}, \"refused\": {refused}, \"detail\": {}}}", quoted(name), quoted(&detail));
    }
}

/// Text as JSON; the standard library is all that this program has.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            control if u32::from(control) < 0x20 => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(control)))
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

fn targets(mut arguments: impl Iterator<Item = String>) -> Result<Targets, String> {
    let mut targets = Targets::default();
    while let Some(option) = arguments.next() {
        if option == "--redirected" {
            targets.redirected = true;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--hidden" => targets.hidden.push(value.into()),
            "--read-only" => targets.read_only.push(value.into()),
            "--socket" => targets.sockets.push(value.into()),
            "--abstract" => targets.abstract_names.push(value),
            "--tcp" => targets.tcp_ports.push(value.parse().map_err(|_| format!("{value} is no port"))?),
            _ => return Err(format!("{option} is no option")),
        }
    }
    Ok(targets)
}

fn main() -> ExitCode {
    let targets = match targets(std::env::args().skip(1)) {
        Ok(targets) => targets,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(2);
        }
    };
    let mut report = Report::default();
    // Descriptors first, while this program has opened none itself.
    processes::leftover_descriptors(&mut report);
    files::attempt(&mut report, &targets);
    network::attempt(&mut report, &targets);
    kernel::attempt(&mut report);
    processes::attempt(&mut report);
    eprintln!("{} attempts, {} got through", report.attempts, report.through);
    if report.through == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
