//! What the human and the project ask for, and what of it counts.
//!
//! Owns the settings' names and meaning, which of them a project that is not trusted cannot set, and
//! which values of the human's environment may enter a sandbox. Must not know where the texts lie: they
//! arrive as arguments.
//!
//! A project's configuration comes with the project, perhaps from a stranger. Until the human has pinned
//! its digest, every setting of it that could widen what a session may do is inert, and named.

mod agent_settings;
mod effective;
mod environment;
mod json;
mod project;
mod user;

pub use agent_settings::AgentSettings;
pub use effective::{Settings, effective, widening};
pub use environment::{Forwarded, Refusal, forwardable, reserved};
pub use json::{ConfigError, Position};
pub use project::{ProjectConfig, digest, template};
pub use user::{DockerConfig, StoreConfig, UserConfig};

use std::collections::BTreeMap;

use json::{Field, Object};

use crate::history::Depth;

/// Which sandbox backend is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SandboxChoice {
    /// The first that works here.
    #[default]
    Auto,
    /// Linux namespaces.
    Native,
    /// Containers of a Docker engine.
    Docker,
}

/// What a session's processes may use together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Memory, in MiB.
    pub memory_mb: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Processor time in percent of one core; `None` is no limit.
    pub cpu_percent: Option<u64>,
    /// The largest file, in MiB.
    pub file_size_mb: u64,
    /// Everything written, in MiB.
    pub disk_mb: u64,
    /// How long a check may run, in seconds.
    pub check_seconds: u64,
    /// What a check may print, in MiB.
    pub check_output_mb: u64,
    /// Memory of a check, in MiB; `None` is what a session has.
    pub check_memory_mb: Option<u64>,
}

/// The limits that a configuration sets; the others stay as they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LimitsConfig {
    /// Memory, in MiB.
    pub memory_mb: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Processor time in percent of one core.
    pub cpu_percent: Option<u64>,
    /// The largest file, in MiB.
    pub file_size_mb: Option<u64>,
    /// Everything written, in MiB.
    pub disk_mb: Option<u64>,
    /// How long a check may run, in seconds.
    pub check_seconds: Option<u64>,
    /// What a check may print, in MiB.
    pub check_output_mb: Option<u64>,
    /// Memory of a check, in MiB.
    pub check_memory_mb: Option<u64>,
}

/// The agent when nobody chose one.
pub const DEFAULT_AGENT: &str = "claude-code";

/// The most that a limit can be set to: beyond it the arithmetic in bytes would not be safe, and no
/// machine is that large.
const MAX_LIMIT: u64 = 1 << 30;

// === impl SandboxChoice ===

impl SandboxChoice {
    /// Its name in configurations and requests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Docker => "docker",
        }
    }

    /// The choice of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Auto, Self::Native, Self::Docker].into_iter().find(|choice| choice.name() == name)
    }
}

impl Field<'_> for SandboxChoice {
    const WANTED: &'static str = "\"auto\", \"native\" or \"docker\"";

    fn read(raw: &str) -> Option<Self> {
        Self::named(&String::read(raw)?)
    }
}

impl Field<'_> for Depth {
    const WANTED: &'static str = "\"off\", \"recent\" or \"full\"";

    fn read(raw: &str) -> Option<Self> {
        Self::named(&String::read(raw)?)
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_mb: 8192,
            pids: 2048,
            cpu_percent: None,
            file_size_mb: 8192,
            disk_mb: 20480,
            check_seconds: 600,
            check_output_mb: 16,
            check_memory_mb: None,
        }
    }
}

impl Limits {
    /// These limits with what `wanted` sets.
    #[must_use]
    pub fn with(self, wanted: LimitsConfig) -> Self {
        Self {
            memory_mb: wanted.memory_mb.unwrap_or(self.memory_mb),
            pids: wanted.pids.unwrap_or(self.pids),
            cpu_percent: wanted.cpu_percent.or(self.cpu_percent),
            file_size_mb: wanted.file_size_mb.unwrap_or(self.file_size_mb),
            disk_mb: wanted.disk_mb.unwrap_or(self.disk_mb),
            check_seconds: wanted.check_seconds.unwrap_or(self.check_seconds),
            check_output_mb: wanted.check_output_mb.unwrap_or(self.check_output_mb),
            check_memory_mb: wanted.check_memory_mb.or(self.check_memory_mb),
        }
    }

    /// Whether these allow nothing that `other` does not.
    #[must_use]
    pub fn within(self, other: Self) -> bool {
        let cpu = match (self.cpu_percent, other.cpu_percent) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(ours), Some(theirs)) => ours <= theirs,
        };
        cpu && self.memory_mb <= other.memory_mb
            && self.pids <= other.pids
            && self.file_size_mb <= other.file_size_mb
            && self.disk_mb <= other.disk_mb
            && self.check_seconds <= other.check_seconds
            && self.check_output_mb <= other.check_output_mb
            && self.memory_of_check() <= other.memory_of_check()
    }

    /// Memory of a check, in MiB.
    #[must_use]
    pub fn memory_of_check(&self) -> u64 {
        self.check_memory_mb.unwrap_or(self.memory_mb)
    }
}

// === settings that both configurations have ===

impl LimitsConfig {
    fn read(mut object: Object<'_>) -> Result<Self, ConfigError> {
        let mut limit = |name| match object.take::<u64>(name)? {
            Some((value, at)) if value == 0 || value > MAX_LIMIT => {
                Err(at.bad("must be between 1 and 1073741824"))
            }
            found => Ok(found.map(|(value, _)| value)),
        };
        let limits = Self {
            memory_mb: limit("memory_mb")?,
            pids: limit("pids")?,
            cpu_percent: limit("cpu_percent")?,
            file_size_mb: limit("file_size_mb")?,
            disk_mb: limit("disk_mb")?,
            check_seconds: limit("check_seconds")?,
            check_output_mb: limit("check_output_mb")?,
            check_memory_mb: limit("check_memory_mb")?,
        };
        object.finish()?;
        Ok(limits)
    }
}

/// An agent's name.
fn agent(object: &mut Object<'_>) -> Result<Option<String>, ConfigError> {
    object.checked("agent", "must be an agent's name: lower-case letters, digits and `-`", |name: &String| {
        is_agent(name)
    })
}

/// Program and arguments for the agent `command`.
fn command(object: &mut Object<'_>) -> Result<Option<Vec<String>>, ConfigError> {
    object.checked("command", "must begin with a program's name", |argv: &Vec<String>| {
        argv.first().is_some_and(|program| !program.is_empty())
            && argv.iter().all(|argument| !argument.contains('\0'))
    })
}

/// Names of environment variables.
fn variables(object: &mut Object<'_>, name: &'static str) -> Result<Vec<String>, ConfigError> {
    let names = object.checked(
        name,
        "must list names of environment variables, without values",
        |names: &Vec<String>| names.iter().all(|name| is_variable(name)),
    )?;
    Ok(names.unwrap_or_default())
}

/// Checks: their names and what a shell is given.
fn checks(object: &mut Object<'_>) -> Result<BTreeMap<String, String>, ConfigError> {
    object.nested("checks")?.map_or(Ok(BTreeMap::new()), |checks| {
        checks.into_checked(
            "must have a name of lower-case letters, digits and `-`, and a command",
            |name, command| is_agent(name) && !command.trim().is_empty() && !command.contains('\0'),
        )
    })
}

fn limits(object: &mut Object<'_>) -> Result<LimitsConfig, ConfigError> {
    object.nested("limits")?.map_or(Ok(LimitsConfig::default()), LimitsConfig::read)
}

fn is_agent(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.len() <= 40 && !name.starts_with('-') && name.bytes().all(good)
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_within_when_none_is_higher() {
        let base = Limits { cpu_percent: Some(100), ..Limits::default() };
        let with = |wanted| base.with(wanted);
        assert!(base.within(base));
        assert!(
            with(LimitsConfig { memory_mb: Some(1), cpu_percent: Some(50), ..LimitsConfig::default() })
                .within(base)
        );
        for wider in [
            LimitsConfig { memory_mb: Some(base.memory_mb + 1), ..LimitsConfig::default() },
            LimitsConfig { pids: Some(base.pids + 1), ..LimitsConfig::default() },
            LimitsConfig { cpu_percent: Some(101), ..LimitsConfig::default() },
            LimitsConfig { file_size_mb: Some(base.file_size_mb + 1), ..LimitsConfig::default() },
            LimitsConfig { disk_mb: Some(base.disk_mb + 1), pids: Some(1), ..LimitsConfig::default() },
            LimitsConfig { check_seconds: Some(base.check_seconds + 1), ..LimitsConfig::default() },
            LimitsConfig { check_output_mb: Some(base.check_output_mb + 1), ..LimitsConfig::default() },
            LimitsConfig { check_memory_mb: Some(base.memory_mb + 1), ..LimitsConfig::default() },
        ] {
            assert!(!with(wider).within(base), "{wider:?}");
        }
        assert!(!Limits::default().within(base), "no limit is more than any limit");
        assert!(base.within(Limits::default()));
    }
}
