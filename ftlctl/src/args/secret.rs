//! Verbs about credentials. No option takes a value: whoever lists processes reads every argument.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::help;

/// Keep a key for agents; the value is read from a prompt or standard input
#[derive(Debug, Args)]
#[command(after_help = help::AUTH)]
pub(crate) struct Auth {
    /// Variable, such as ANTHROPIC_API_KEY, or an agent that needs one: claude-code, codex, gemini
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// What must not be here.
    #[command(flatten)]
    pub(crate) misplaced: Misplaced,
}

/// A value where none may stand: taken only to say so without printing it.
#[derive(Debug, Args)]
pub(crate) struct Misplaced {
    /// Never a value
    #[arg(hide = true, allow_hyphen_values = true, num_args = 0..)]
    pub(crate) words: Vec<OsString>,
}

/// Keep credentials and say where each may be used
#[derive(Debug, Args)]
#[command(after_help = help::SECRET, subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
pub(crate) struct Secret {
    /// Which of these.
    #[command(subcommand)]
    pub(crate) verb: SecretVerb,
}

/// What to do with credentials.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretVerb {
    Set(SetSecret),
    Bind(Box<BindSecret>),
    List(ListSecrets),
    Rm(RemoveSecret),
}

/// Keep a value, or replace it; it is read from a prompt or standard input
#[derive(Debug, Args)]
#[command(after_help = help::SECRET_SET)]
pub(crate) struct SetSecret {
    /// Name, in the form of an environment variable's
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// For agents that need it in any project [default: for the project's sessions]
    #[arg(long = "global")]
    pub(crate) everywhere: bool,
    /// What must not be here.
    #[command(flatten)]
    pub(crate) misplaced: Misplaced,
}

/// Say where a credential may be used, or where its value comes from
#[derive(Debug, Args)]
#[command(after_help = help::SECRET_BIND)]
pub(crate) struct BindSecret {
    /// Name, in the form of an environment variable's
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Host that gets it, such as api.example.com, *.example.com or example.com:8443 (may be given again)
    #[arg(
        long = "host",
        value_name = "HOST",
        required_unless_present_any = ["from_env", "from_command", "from_keyring"]
    )]
    pub(crate) hosts: Vec<String>,
    /// Header that carries it; {} stands for the value
    #[arg(long, value_name = "FORMAT", requires = "hosts", conflicts_with_all = ["basic", "query"])]
    pub(crate) header: Option<String>,
    /// Part of basic authentication that carries it
    #[arg(long, value_enum, requires = "hosts", conflicts_with = "query")]
    pub(crate) basic: Option<Basic>,
    /// Parameter of the query that carries it; servers write queries into their logs
    #[arg(long, value_name = "PARAMETER", requires = "hosts")]
    pub(crate) query: Option<String>,
    /// Only with this method (may be given again)
    #[arg(long = "method", value_name = "METHOD", requires = "hosts")]
    pub(crate) methods: Vec<String>,
    /// Only beneath this path (may be given again)
    #[arg(long = "path", value_name = "PATH", requires = "hosts")]
    pub(crate) paths: Vec<String>,
    /// A request without it is forwarded all the same
    #[arg(long, requires = "hosts")]
    pub(crate) optional: bool,
    /// Take the value from this variable of the daemon's environment
    #[arg(long, value_name = "VARIABLE", conflicts_with_all = ["from_command", "from_keyring"])]
    pub(crate) from_env: Option<String>,
    /// Take the value from what the command after `--` prints
    #[arg(long, requires = "command", conflicts_with = "from_keyring")]
    pub(crate) from_command: bool,
    /// Take the value from the system's keyring
    #[arg(long, value_name = "SERVICE/ACCOUNT")]
    pub(crate) from_keyring: Option<String>,
    /// For every project [default: for the project's sessions]
    #[arg(long = "global")]
    pub(crate) everywhere: bool,
    /// Program and arguments for --from-command
    #[arg(value_name = "CMD", last = true, requires = "from_command")]
    pub(crate) command: Vec<OsString>,
}

/// Which part of basic authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Basic {
    /// The user's name
    User,
    /// The password
    Password,
}

/// List credentials and where each may be used; never a value
#[derive(Debug, Args)]
pub(crate) struct ListSecrets {
    /// Say every way in which each may travel
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Without what belongs to the project
    #[arg(long = "global")]
    pub(crate) everywhere: bool,
}

/// Forget a credential, its value and what it is bound to
#[derive(Debug, Args)]
pub(crate) struct RemoveSecret {
    /// Name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The one that belongs to no project [default: the project's]
    #[arg(long = "global")]
    pub(crate) everywhere: bool,
}
