//! The command line. The doc comments are the help.
//!
//! Owns verbs, options and their words. Must not know what a verb does.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::output::ColorChoice;

mod ask;
mod choose;
mod decide;
mod egress;
mod generated;
mod help;
mod secret;
mod session;
mod start;
mod state;
mod tool;

pub(crate) use ask::{Ask, Opinion, Show};
pub(crate) use choose::Choose;
pub(crate) use decide::{Applied, Approve, Blame, Diff, Reject, Review, Test, Undo};
pub(crate) use egress::{AnswerEgress, EgressAnswer, Policy, PolicyVerb, RuleScopeArg, Suggest, TestPolicy};
pub(crate) use generated::Tests;
pub(crate) use secret::{Auth, Basic, BindSecret, ListSecrets, Misplaced, RemoveSecret, Secret, SecretVerb};
pub(crate) use session::{Code, End, Exec, Remove, Run, SessionArg, Sessions, Wipe};
pub(crate) use state::{
    BranchSession, CleanSnapshots, CreateSnapshot, DiffSnapshots, Export, ListSnapshots, PullSnapshots,
    PushSnapshots, RestoreSnapshot, Rewind, ShowSnapshot, Snapshots, SnapshotsVerb,
};
pub(crate) use tool::{Completions, Daemon, DaemonVerb, Demo, Init, Logs, Man, Setup, Trust};

/// Runs coding agents in sandboxes; nothing reaches your project until you approve it
#[derive(Debug, Parser)]
#[command(name = "ftlctl", version, after_help = help::TOP, max_term_width = 100)]
#[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs", disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// What every verb takes.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do; nothing is the interactive shell.
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

/// What every verb takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every verb")]
pub(crate) struct Global {
    /// Print JSON: one object, or one per line for streams
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Colour the output: auto, always or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub(crate) color: ColorChoice,
    /// Project directory [default: the nearest one above with .ftlconfig or .git, else this one]
    #[arg(long, global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) project: Option<PathBuf>,
    /// Print plain lines: nothing moves, no screen, no colour unless asked for
    #[arg(long, global = true)]
    pub(crate) plain: bool,
    /// Do not start the daemon when none runs
    #[arg(long, global = true)]
    pub(crate) no_start: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Demo(Demo),
    Init(Init),
    Setup(Setup),
    Trust(Trust),
    Code(Code),
    Run(Run),
    Exec(Exec),
    Sessions(Sessions),
    /// Sit down at the terminal of a session's agent, or watch the session from its beginning; it goes on when you leave
    Attach(SessionArg),
    /// Stop a session's agent; its work is kept for review
    Stop(SessionArg),
    /// Make the sandbox of a session's next turn now
    #[command(after_help = start::START)]
    Start(SessionArg),
    /// End what runs in a session, and make its sandbox anew
    #[command(after_help = start::RESTART)]
    Restart(SessionArg),
    Rm(Remove),
    Diff(Diff),
    Blame(Blame),
    Review(Review),
    Test(Test),
    Tests(Tests),
    Ask(Ask),
    Opinion(Opinion),
    Approve(Approve),
    Reject(Reject),
    Undo(Undo),
    Applied(Applied),
    Rewind(Rewind),
    Wipe(Wipe),
    Snapshots(Snapshots),
    Export(Export),
    Auth(Auth),
    Secret(Secret),
    Policy(Policy),
    Logs(Logs),
    /// Say which sandbox works here, what it enforces, and how to mend the rest
    #[command(after_help = help::DOCTOR)]
    Doctor,
    Daemon(Daemon),
    Completions(Completions),
    Man(Man),
}

impl Cli {
    /// Reads a command line.
    ///
    /// # Errors
    /// When it is none, or asks for help.
    pub(crate) fn read(arguments: &[OsString]) -> Result<Self, clap::Error> {
        let mut cli = Self::try_parse_from(arguments)?;
        if let Some(Verb::Run(run)) = &mut cli.verb {
            // The command is all that is left of the line, so what stands before it is known.
            let before = arguments.len().checked_sub(run.command.len() + 1).and_then(|at| arguments.get(at));
            run.is_program = before.is_some_and(|word| word == "--");
        }
        Ok(cli)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn parse(line: &str) -> Result<Verb, clap::error::ErrorKind> {
        let words: Vec<OsString> =
            std::iter::once("ftlctl").chain(line.split(' ')).map(OsString::from).collect();
        Cli::read(&words).map(|cli| cli.verb.unwrap()).map_err(|error| error.kind())
    }

    #[test]
    fn a_command_keeps_its_own_options() {
        let Ok(Verb::Run(run)) = parse("run --json -- ls --json -la") else { panic!() };
        assert_eq!(run.command, ["ls", "--json", "-la"]);
        let Ok(Verb::Run(run)) = parse("run ls -la -- x") else { panic!() };
        assert_eq!((run.command.len(), run.is_program), (4, false));
        let Ok(Verb::Run(run)) = parse("run claude --model x") else { panic!() };
        assert_eq!((run.command.len(), run.is_program), (3, false));
        let Ok(Verb::Run(run)) = parse("run -- claude --model x") else { panic!() };
        assert!(run.is_program && run.command.len() == 3, "the program of that name, not the agent");
        let Ok(Verb::Exec(exec)) = parse("exec s-1 -- ls -la") else { panic!() };
        assert_eq!((exec.session.as_deref(), exec.command.len()), (Some("s-1"), 2));
        let Ok(Verb::Exec(exec)) = parse("exec -- ls") else { panic!() };
        assert_eq!(exec.session, None);
    }

    #[test]
    fn a_word_that_is_nearly_right_is_suggested() {
        for (line, meant) in
            [("policy alow x", "allow"), ("secret lst", "list"), ("policy test x --metod y", "--method")]
        {
            let words = std::iter::once("ftlctl").chain(line.split(' '));
            let error = Cli::try_parse_from(words).unwrap_err().to_string();
            assert!(error.contains(meant), "{error}");
        }
    }

    /// Lines that mean nothing.
    const NONSENSE: &[&str] = &[
        "code",
        "run",
        "exec s-1",
        "rm",
        "code x --yes --no-review",
        "frob",
        "completions tcsh",
        "undo a b",
        "test a b",
        "approve a --again",
        "undo --digest abc",
        "reject --go-on",
        "diff --patch --stat",
        "applied a --all",
        "rewind",
        "export s-1",
        "rewind s-1 x",
        "snapshots restore 3f",
        "snapshots restore 3f --to x --into-project",
        "snapshots diff a",
        "snapshots branch",
        "snapshots push 3f --all",
        "snapshots pull --here",
        "sessions --all --checkpoints s-1",
        "sessions --verbose --checkpoints s-1",
        "wipe",
        "wipe s-1 --discard",
        "start a b",
        "logs --egress --verify",
        "logs --wide",
        "setup x",
        "setup --rootfs a.tar --usual-base",
        "ask",
        "ask s-1 why? x",
        "opinion s-1 x",
        "secret set",
        "secret bind K",
        "policy",
        "policy allow",
        "policy allow x --session s-1 --global",
        "policy limit x",
        "policy limit x 1/min --burst many",
        "policy suggest --yes",
        "policy answer s-1 x once",
        "policy answer s-1 1 maybe",
    ];

    #[test]
    fn nonsense_is_refused() {
        for line in NONSENSE {
            assert!(parse(line).is_err(), "{line}");
        }
        for line in [
            "snapshots",
            "snapshots create --explain",
            "snapshots diff s-1@2 s-1 --stat",
            "snapshots restore s-1@2 --session s-1",
            "snapshots restore 3f --into-project",
            "snapshots branch s-1@2",
            "snapshots push --all --verify",
            "snapshots pull 3f --here",
            "snapshots list --remote",
            "rewind s-1@2",
            "rewind s-1 2",
            "export s-1 --git-branch ftl/try",
            "sessions --checkpoints s-1",
            "sessions --all --verbose",
            "wipe s-1",
            "start",
            "restart s-1 --json",
            "wipe s-1 --workspace --discard",
            "undo",
            "test",
            "test s-1 --hunk a:1 --again --json",
            "approve s-1 --digest abc --test",
            "diff s-1 --stat --json",
            "review",
            "review s-1 --plain",
            "ask why?",
            "ask s-1 why? --file src --hunk a:1",
            "opinion s-1 --same-model --json",
            "diff s-1 --preview --path a --hunk b:1:2-3 --ours c:1 --accept f=why",
            "diff s-1 --patch",
            "approve s-1 --digest abc --hunk a:1 --edited b:2=c",
            "undo s-1 --merge --digest abc",
            "reject s-1 --why no --go-on",
            "applied --all --json",
            "logs -n 5",
            "logs --all --since 1h",
            "logs --egress --session s-1 -n 5",
            "auth codex",
            "setup --rootfs root.tar --agent codex --agent claude-code --rebuild",
            "secret list --global",
            "secret bind K --from-keyring a/b",
            "policy show --session s-1",
            "policy allow GET a.b/c --global --json",
            "policy limit a.b 60/min --burst 5",
            "policy test https://a.b/ --method POST",
            "policy suggest s-1 --apply --yes",
            "policy answer s-1 1 always",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }
}
