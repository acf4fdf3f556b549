//! Verbs about what sessions may reach.

use clap::{Args, Subcommand};

use super::help;

/// Say what sessions may reach, and why a request would be refused
#[derive(Debug, Args)]
#[command(after_help = help::POLICY, subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
pub(crate) struct Policy {
    /// Which of these.
    #[command(subcommand)]
    pub(crate) verb: PolicyVerb,
}

/// What to do with the policy.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyVerb {
    Show(ShowPolicy),
    /// Allow requests
    #[command(after_help = help::POLICY_ALLOW)]
    Allow(RuleWords),
    /// Refuse requests, also those that a wider rule allows
    #[command(after_help = help::POLICY_DENY)]
    Deny(RuleWords),
    Private(PrivateHost),
    /// Take a rule away: by its number in `policy show`, its text or its host
    #[command(after_help = help::POLICY_RM)]
    Rm(NamedRule),
    Preset(Preset),
    Limit(Limit),
    Alias(Alias),
    Test(TestPolicy),
    Suggest(Suggest),
    Answer(AnswerEgress),
}

/// Where a rule lies.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RuleScopeArg {
    /// For this session only [default: for every session of the project]
    #[arg(long, value_name = "SESSION", conflicts_with = "everywhere")]
    pub(crate) session: Option<String>,
    /// For every session of every project
    #[arg(long = "global")]
    pub(crate) everywhere: bool,
}

/// Show the rules that count, the strongest first, and where each comes from
#[derive(Debug, Args)]
pub(crate) struct ShowPolicy {
    /// Whose rules.
    #[command(flatten)]
    pub(crate) scope: RuleScopeArg,
}

/// A rule, in one argument or several.
#[derive(Debug, Args)]
pub(crate) struct RuleWords {
    /// [METHOD,METHOD] HOST[:PORT][/PATH]; a pasted URL will do
    #[arg(value_name = "RULE", required = true)]
    pub(crate) words: Vec<String>,
    /// Where it lies.
    #[command(flatten)]
    pub(crate) scope: RuleScopeArg,
}

/// A rule that is there already.
#[derive(Debug, Args)]
pub(crate) struct NamedRule {
    /// Number, rule or host; a rule of several words needs no quotes
    #[arg(value_name = "RULE", required = true)]
    pub(crate) words: Vec<String>,
    /// Where it lies.
    #[command(flatten)]
    pub(crate) scope: RuleScopeArg,
}

/// Allow everything to one host and port that has a private address; the machine itself can never be reached
#[derive(Debug, Args)]
#[command(after_help = help::POLICY_PRIVATE)]
pub(crate) struct PrivateHost {
    /// Host with its port
    #[arg(value_name = "HOST:PORT")]
    pub(crate) authority: String,
    /// Where it lies.
    #[command(flatten)]
    pub(crate) scope: RuleScopeArg,
}

/// Choose what counts where no rule does: locked, balanced or open
#[derive(Debug, Args)]
#[command(after_help = help::POLICY_PRESET)]
pub(crate) struct Preset {
    /// locked, balanced or open
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Where it lies.
    #[command(flatten)]
    pub(crate) scope: RuleScopeArg,
}

/// Limit how often a host is asked
#[derive(Debug, Args)]
#[command(after_help = help::POLICY_LIMIT)]
pub(crate) struct Limit {
    /// Host
    #[arg(value_name = "HOST")]
    pub(crate) host: String,
    /// Requests per minute, such as 60/min
    #[arg(value_name = "N/min")]
    pub(crate) rate: String,
    /// How many may come at once
    #[arg(long, value_name = "M")]
    pub(crate) burst: Option<u32>,
    /// Where it lies.
    #[command(flatten)]
    pub(crate) scope: RuleScopeArg,
}

/// Give a host another name in sandboxes, one that ends in .ftl.local and is spoken to over plain HTTP
#[derive(Debug, Args)]
#[command(after_help = help::POLICY_ALIAS)]
pub(crate) struct Alias {
    /// Name in the sandbox, such as openai.ftl.local
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Host that it means, such as api.openai.com; it is spoken to over TLS
    #[arg(value_name = "TARGET")]
    pub(crate) target: String,
    /// Where it lies.
    #[command(flatten)]
    pub(crate) scope: RuleScopeArg,
}

/// Say what would become of a request, without sending anything
#[derive(Debug, Args)]
#[command(after_help = help::POLICY_TEST)]
pub(crate) struct TestPolicy {
    /// URL
    #[arg(value_name = "URL", value_hint = clap::ValueHint::Url)]
    pub(crate) url: String,
    /// Method
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    pub(crate) method: String,
    /// Whose rules.
    #[command(flatten)]
    pub(crate) scope: RuleScopeArg,
}

/// Propose the narrowest rules for what a session was refused
#[derive(Debug, Args)]
#[command(after_help = help::POLICY_SUGGEST)]
pub(crate) struct Suggest {
    /// Session, or a unique beginning of its id [default: the newest of the project]
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// Add the rules, for every session of the session's project; asks on a terminal
    #[arg(long)]
    pub(crate) apply: bool,
    /// With --apply: do not ask
    #[arg(long, requires = "apply")]
    pub(crate) yes: bool,
    /// With --apply: add them for every project
    #[arg(long = "global", requires = "apply")]
    pub(crate) everywhere: bool,
}

/// Answer a request that waits for a human
#[derive(Debug, Args)]
#[command(after_help = help::POLICY_ANSWER)]
pub(crate) struct AnswerEgress {
    /// Session, or a unique beginning of its id
    #[arg(value_name = "SESSION")]
    pub(crate) session: String,
    /// The question's number
    #[arg(value_name = "ASK")]
    pub(crate) ask: u64,
    /// The answer
    #[arg(value_name = "ANSWER", value_enum)]
    pub(crate) answer: EgressAnswer,
}

/// What a human says to a waiting request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum EgressAnswer {
    /// This request alone
    Once,
    /// Such requests of this session
    Session,
    /// Such requests of this project from now on
    Always,
    /// Refuse it
    No,
}
