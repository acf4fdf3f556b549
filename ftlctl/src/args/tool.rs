//! Verbs around the sessions: project, log, daemon, shell integration.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::help;

/// Show the whole loop on a throw-away project
#[derive(Debug, Args)]
#[command(after_help = help::DEMO)]
pub(crate) struct Demo {
    /// Apply without asking
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Write a first .ftlconfig into the project
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Agent to name in it [default: claude-code]
    #[arg(long, value_name = "AGENT", default_value = "", hide_default_value = true)]
    pub(crate) agent: String,
}

/// Make the image that `--sandbox docker` runs agents in
#[derive(Debug, Args)]
#[command(after_help = help::SETUP)]
pub(crate) struct Setup {
    /// Build on this root file system, a tar archive, instead of an image from a registry
    #[arg(long, value_name = "TAR", value_hint = clap::ValueHint::FilePath)]
    pub(crate) rootfs: Option<PathBuf>,
    /// Build on the usual image again, after --rootfs
    #[arg(long, conflicts_with = "rootfs")]
    pub(crate) usual_base: bool,
    /// Agent to install, of claude-code, codex, gemini and opencode; may be given more than once [default: those of the last time]
    #[arg(long = "agent", value_name = "AGENT")]
    pub(crate) agents: Vec<String>,
    /// Make everything again, also what is there
    #[arg(long)]
    pub(crate) rebuild: bool,
}

/// Trust the project's .ftlconfig as it is now
#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// Forget the trust
    #[arg(long)]
    pub(crate) revoke: bool,
}

/// An age in microseconds: a number and a unit.
pub(super) fn age(text: &str) -> Result<i64, String> {
    let bad = || "an age is a number with s, m, h, d or w, for instance 30d".to_owned();
    let unit = text.chars().next_back().ok_or_else(bad)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(bad()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| bad())?;
    Ok(i64::from(number).saturating_mul(seconds * 1_000_000))
}

/// Show the audit log, or verify it, or show what left the sandboxes
#[derive(Debug, Args)]
#[command(after_help = help::LOGS)]
pub(crate) struct Logs {
    /// Everything, of every project
    #[arg(long, conflicts_with = "session")]
    pub(crate) all: bool,
    /// Records of this session only
    #[arg(long, value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// At most this many, the newest; 0 for no limit [default: 200, without --all]
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<u32>,
    /// Not older than this: 90s, 15m, 1h, 7d
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(crate) since: Option<i64>,
    /// Check that every record is there and unchanged
    #[arg(long, conflicts_with_all = ["all", "session", "limit", "since"])]
    pub(crate) verify: bool,
    /// Show the requests of sandboxes instead: what was allowed, what was refused, and by which rule
    #[arg(long, conflicts_with = "verify")]
    pub(crate) egress: bool,
    /// With --egress: every column and whole values, however wide
    #[arg(long, requires = "egress")]
    pub(crate) wide: bool,
}

/// Records that are shown when nobody says how many.
const SHOWN: u32 = 200;

impl Logs {
    /// How many are shown at most; 0 is no limit.
    pub(crate) fn limit(&self) -> u32 {
        self.limit.unwrap_or(if self.all { 0 } else { SHOWN })
    }

    /// What to say after `shown` records, when there may be more that nobody has asked to leave out.
    pub(crate) fn cut(&self, shown: usize) -> Option<String> {
        let cut = self.limit.is_none() && !self.all && shown >= SHOWN as usize;
        cut.then(|| format!("the newest {SHOWN}; `-n 0` shows all"))
    }

    /// The oldest time that is shown, microseconds since the Unix epoch; 0 is any.
    pub(crate) fn since_us(&self, now: jiff::Timestamp) -> i64 {
        self.since.map_or(0, |age| now.as_microsecond().saturating_sub(age).max(1))
    }
}

/// Start, stop and inspect the daemon
#[derive(Debug, Args)]
#[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
pub(crate) struct Daemon {
    /// Which of these.
    #[command(subcommand)]
    pub(crate) verb: DaemonVerb,
}

/// What to do with the daemon.
#[derive(Debug, Subcommand)]
pub(crate) enum DaemonVerb {
    /// Start it unless it runs
    Start,
    /// End it; agents are stopped and their work is kept for review
    Stop,
    /// Say whether it runs, where and since when
    Status,
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = help::COMPLETIONS)]
pub(crate) struct Completions {
    /// Shell
    #[arg(value_name = "SHELL", value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Print the manual page, or write all of them into a directory
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Directory for one page per verb
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_and_a_unit() {
        assert_eq!(age("30d"), Ok(30 * 24 * 3600 * 1_000_000));
        assert_eq!(
            (age("5m"), age("1h"), age("2w")),
            (Ok(300_000_000), Ok(3_600_000_000), Ok(1_209_600_000_000))
        );
        for wrong in ["", "d", "30", "-1d", "1.5d", "30 d", "3µ", "1é", "99999999999s"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
