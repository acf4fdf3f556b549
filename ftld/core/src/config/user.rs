//! The human's own configuration, `FTL_HOME/config`.
//!
//! Owns its settings. They are the human's word and need no trust.

use std::collections::BTreeMap;

use crate::history::Depth;
use crate::llm::Api;
use crate::llm::name::{BaseUrl, ProviderSettings, is_provider};

use super::agent_settings::AgentSettings;
use super::json::{ConfigError, Object};
use super::{LimitsConfig, MAX_LIMIT, SandboxChoice, agent, checks, command, limits};
use crate::retention::{ENDED_US, Policy, USUAL};
use crate::s3::{Location, LocationError, Remote};
use crate::warm::Budget;

/// Containers that stand ready unless something else is set, and the most that may be asked for.
const WARM: u64 = 2;
const MOST_WARM: u64 = 100;
/// Minutes that one stays ready unless something else is set, and the most that may be asked for: a week.
const WARM_MINUTES: u64 = 30;
const MOST_MINUTES: u64 = 7 * 24 * 60;
/// Seconds after which the human is told that something waits, unless something else is set; the most.
const NOTIFY_S: u64 = 30;
const MOST_NOTIFY_S: u64 = 24 * 3600;
/// Microseconds of a minute.
const MINUTE_US: i64 = 60 * 1_000_000;
/// Microseconds of a day.
const DAY_US: i64 = 24 * 3600 * 1_000_000;

/// What the human wants in all projects. Every setting is optional.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UserConfig {
    /// Agent's name.
    pub agent: Option<String>,
    /// Program and arguments for the agent `command`.
    pub command: Option<Vec<String>>,
    /// Sandbox backend.
    pub sandbox: Option<SandboxChoice>,
    /// How much of a project's Git history a session sees.
    pub history: Option<Depth>,
    /// Limits of a session.
    pub limits: LimitsConfig,
    /// Commands that say whether the project is sound, by name.
    pub checks: BTreeMap<String, String>,
    /// How to run single agents, by their names.
    pub agents: BTreeMap<String, AgentSettings>,
    /// More directories of programs that every sandbox gets, read-only; absolute or beginning with `~/`.
    pub tool_dirs: Vec<String>,
    /// Model that writes tests.
    pub tester: Option<String>,
    /// Whether that may be the model that does the work.
    pub tester_same_model: bool,
    /// Model that reviews the diff.
    pub reviewer: Option<String>,
    /// Model that answers questions about the diff; the reviewer when absent.
    pub ask: Option<String>,
    /// Where models are served, and with which key, by provider.
    pub models: BTreeMap<String, ProviderSettings>,
    /// Which snapshots and sessions are kept.
    pub store: StoreConfig,
    /// Where snapshots are sent to and fetched from.
    pub remote: Option<Location>,
    /// Containers.
    pub docker: DockerConfig,
    /// Seconds after which the human is told on the desktop that something waits; 30 when absent, never with 0.
    pub notify_after: Option<u64>,
}

/// How containers are made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DockerConfig {
    /// The image of the sandboxes.
    pub image: Option<String>,
    /// How they are run: `runsc` or `kata`; the engine's own way when absent.
    pub runtime: Option<String>,
    /// Where a sandbox's workspace is: `auto`, `overlay` or `stream`.
    pub workspace: Option<String>,
    /// Where the engine is: `unix:///…` or `tcp://host:port`; it is looked for when absent.
    pub host: Option<String>,
    /// How many containers stand ready for what comes next; 2 when absent, none with 0.
    pub warm: Option<u64>,
    /// How many minutes one stays ready that nobody wants; 30 when absent.
    pub warm_minutes: Option<u64>,
}

/// Which snapshots and sessions are kept without being asked for, and how large the store may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoreConfig {
    /// The newest so many of each project.
    pub keep_last: Option<u64>,
    /// Those that are not older than so many days.
    pub keep_days: Option<u64>,
    /// Sessions that have ended, so many days after their last change.
    pub keep_ended_days: Option<u64>,
    /// MiB that the store may take, without the trees that sandboxes mount.
    pub max_mb: Option<u64>,
    /// MiB that sessions may have on disk together: homes, workspaces, temporary files.
    pub max_sessions_mb: Option<u64>,
}

impl UserConfig {
    /// Reads a configuration.
    ///
    /// # Errors
    /// When it is not a JSON object of known settings, each of them once and of its kind.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut object = Object::whole(text)?;
        let config = Self {
            agent: agent(&mut object)?,
            command: command(&mut object)?,
            sandbox: object.get("sandbox")?,
            history: object.get("history")?,
            limits: limits(&mut object)?,
            checks: checks(&mut object)?,
            agents: match object.nested("agents")? {
                Some(agents) => agents
                    .into_objects()?
                    .into_iter()
                    .map(|(name, settings)| {
                        let is_own = name == "builtin";
                        Ok((name, AgentSettings::read(settings, is_own)?))
                    })
                    .collect::<Result<_, _>>()?,
                None => BTreeMap::new(),
            },
            tool_dirs: object
                .checked("tool_dirs", "must list paths that begin with `/` or `~/`", |dirs: &Vec<String>| {
                    dirs.iter().all(|dir| is_placed(dir))
                })?
                .unwrap_or_default(),
            tester: object.get("tester")?,
            tester_same_model: object.get("tester_same_model")?.unwrap_or_default(),
            reviewer: object.get("reviewer")?,
            ask: object.get("ask")?,
            models: models(&mut object)?,
            store: object.nested("store")?.map_or(Ok(StoreConfig::default()), StoreConfig::read)?,
            remote: object.nested("remote")?.map(remote).transpose()?,
            docker: object.nested("docker")?.map_or(Ok(DockerConfig::default()), DockerConfig::read)?,
            notify_after: object.checked(
                "notify_after",
                "must be seconds, at most a day's, or 0",
                |after| *after <= MOST_NOTIFY_S,
            )?,
        };
        object.finish()?;
        Ok(config)
    }

    /// How long a session runs before the human is told on the desktop that it waits; nothing means never.
    #[must_use]
    pub fn notify_after_s(&self) -> Option<u64> {
        Some(self.notify_after.unwrap_or(NOTIFY_S)).filter(|after| *after > 0)
    }
}

/// Where models are served.
fn models(object: &mut Object<'_>) -> Result<BTreeMap<String, ProviderSettings>, ConfigError> {
    let Some(models) = object.nested("models")? else { return Ok(BTreeMap::new()) };
    let is_name = models.names().all(is_provider);
    if !is_name {
        return Err(models.bad("must name providers: lower-case letters, digits and `-`"));
    }
    models.into_objects()?.into_iter().map(|(name, settings)| Ok((name, provider(settings)?))).collect()
}

fn provider(mut object: Object<'_>) -> Result<ProviderSettings, ConfigError> {
    let base_url = object.take::<String>("base_url")?;
    let base_url = match base_url {
        Some((url, at)) => Some(BaseUrl::parse(&url).ok_or_else(|| {
            at.bad(
                "must be an https URL, or an http one on this machine, without user name, query or escapes",
            )
        })?),
        None => None,
    };
    let key = object.checked("key", "must be a credential's name, or empty for none", |key: &String| {
        key.is_empty() || super::is_variable(key)
    })?;
    let api = object.take::<String>("api")?;
    let api = match api {
        Some((name, at)) => {
            Some(Api::named(&name).ok_or_else(|| at.bad("must be \"anthropic\" or \"openai\""))?)
        }
        None => None,
    };
    object.finish()?;
    Ok(ProviderSettings { base_url, key, api })
}

/// Where snapshots are sent to.
fn remote(mut object: Object<'_>) -> Result<Location, ConfigError> {
    let Some((url, at)) = object.take::<String>("url")? else { return Err(object.lacks("url")) };
    let (endpoint, region) = (object.take("endpoint")?, object.take("region")?);
    let path_style = object.get("path_style")?;
    let ((endpoint, at_endpoint), (region, at_region)) = (endpoint.unzip(), region.unzip());
    let remote = Remote { url, endpoint, region, path_style };
    object.finish()?;
    Location::read(&remote).map_err(|error| {
        let at = match error {
            LocationError::Url | LocationError::Bucket | LocationError::Prefix => at,
            LocationError::Endpoint | LocationError::Plain => at_endpoint.unwrap_or(at),
            LocationError::Region => at_region.unwrap_or(at),
        };
        at.bad(error.why())
    })
}

impl StoreConfig {
    fn read(mut object: Object<'_>) -> Result<Self, ConfigError> {
        let mut number = |name| match object.take::<u64>(name)? {
            Some((value, at)) if value == 0 || value > MAX_LIMIT => {
                Err(at.bad("must be between 1 and 1073741824"))
            }
            found => Ok(found.map(|(value, _)| value)),
        };
        let (keep_last, keep_days) = (number("keep_last")?, number("keep_days")?);
        let (keep_ended_days, max_mb) = (number("keep_ended_days")?, number("max_mb")?);
        let max_sessions_mb = number("max_sessions_mb")?;
        let config = Self { keep_last, keep_days, keep_ended_days, max_mb, max_sessions_mb };
        object.finish()?;
        Ok(config)
    }

    /// The retention: 20 snapshots of each project and 30 days unless something else is set.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let Policy::Usual { last, older_than_us } = USUAL else { return USUAL };
        Policy::Usual {
            last: self.keep_last.map_or(last, |last| usize::try_from(last).unwrap_or(usize::MAX)),
            older_than_us: self.keep_days.map_or(older_than_us, days),
        }
    }

    /// How long a session stays that has ended, microseconds: 30 days unless something else is set.
    #[must_use]
    pub fn ended_us(&self) -> i64 {
        self.keep_ended_days.map_or(ENDED_US, days)
    }
}

fn days(days: u64) -> i64 {
    i64::try_from(days).unwrap_or(i64::MAX).saturating_mul(DAY_US)
}

impl DockerConfig {
    fn read(mut object: Object<'_>) -> Result<Self, ConfigError> {
        let plain =
            |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_control() || c.is_whitespace());
        let config = Self {
            image: object.checked("image", "must be an image's name", |image: &String| {
                plain(image) && !image.starts_with('-')
            })?,
            runtime: object.checked("runtime", "must be \"runsc\" or \"kata\"", |runtime: &String| {
                matches!(runtime.as_str(), "runsc" | "kata")
            })?,
            workspace: object.checked(
                "workspace",
                "must be \"auto\", \"overlay\" or \"stream\"",
                |workspace: &String| matches!(workspace.as_str(), "auto" | "overlay" | "stream"),
            )?,
            host: object.checked("host", "must be an engine's address", |host: &String| plain(host))?,
            warm: object.checked("warm", "must be between 0 and 100", |warm: &u64| *warm <= MOST_WARM)?,
            warm_minutes: object.checked(
                "warm_minutes",
                "must be between 1 and 10080",
                |minutes: &u64| (1..=MOST_MINUTES).contains(minutes),
            )?,
        };
        object.finish()?;
        Ok(config)
    }

    /// How many containers stand ready, and for how long.
    #[must_use]
    pub fn budget(&self) -> Budget {
        let most = usize::try_from(self.warm.unwrap_or(WARM)).unwrap_or(usize::MAX);
        let minutes = i64::try_from(self.warm_minutes.unwrap_or(WARM_MINUTES)).unwrap_or(i64::MAX);
        Budget { most, idle_us: minutes.saturating_mul(MINUTE_US) }
    }
}

/// Whether a path does not depend on the working directory.
pub(super) fn is_placed(path: &str) -> bool {
    (path.starts_with('/') || path.starts_with("~/")) && !path.contains('\0')
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expected: &Expect) {
        match UserConfig::parse(text) {
            Ok(config) => panic!("{text} was accepted: {config:?}"),
            Err(error) => expected.assert_eq(&error.to_string()),
        }
    }

    #[test]
    fn all_settings_are_understood() {
        let config = UserConfig::parse(
            r#"{"agent": "codex", "command": ["x"], "sandbox": "docker", "limits": {"pids": 9},
                "agents": {"codex": {"path": "~/bin/codex", "model_base_url": "http://127.0.0.1:1/v1", "model": "m"},
                           "claude-code": {}},
                "tool_dirs": ["/opt/x", "~/tools"], "tester": "t", "reviewer": "r",
                "docker": {"image": "mine:1", "runtime": "runsc", "workspace": "stream", "host": "unix:///run/d.sock"}}"#,
        )
        .unwrap();
        assert_eq!(config.docker.image.as_deref(), Some("mine:1"));
        assert_eq!(config.docker.workspace.as_deref(), Some("stream"));
        assert_eq!(config.docker.host.as_deref(), Some("unix:///run/d.sock"));
        assert_eq!(config.agents["codex"].model.as_deref(), Some("m"));
        assert_eq!(config.agents["claude-code"], AgentSettings::default());
        assert_eq!(config.tool_dirs, ["/opt/x", "~/tools"]);
        assert_eq!(config.limits.pids, Some(9));
    }

    #[test]
    fn who_wants_no_notification_gets_none() {
        let after = |text: &str| UserConfig::parse(text).unwrap().notify_after_s();
        assert_eq!(after("{}"), Some(30));
        assert_eq!(after(r#"{"notify_after": 5}"#), Some(5));
        assert_eq!(after(r#"{"notify_after": 0}"#), None);
        for wrong in ["-1", "90000", "\"30s\"", "true"] {
            assert!(UserConfig::parse(&format!(r#"{{"notify_after": {wrong}}}"#)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_retention_is_the_usual_one_unless_it_is_set() {
        let policy = |text: &str| UserConfig::parse(text).unwrap().store.policy();
        assert_eq!(policy("{}"), USUAL);
        let set = policy(r#"{"store": {"keep_last": 3, "keep_days": 2, "max_mb": 9}}"#);
        assert_eq!(set, Policy::Usual { last: 3, older_than_us: 2 * DAY_US });
        assert!(UserConfig::parse(r#"{"store": {"keep_last": 0}}"#).is_err());
        let ended = |text: &str| UserConfig::parse(text).unwrap().store.ended_us();
        assert_eq!(ended("{}"), 30 * DAY_US);
        assert_eq!(ended(r#"{"store": {"keep_ended_days": 7}}"#), 7 * DAY_US);
        assert!(UserConfig::parse(r#"{"store": {"keep_ended_days": 0}}"#).is_err());
    }

    #[test]
    fn checks_are_commands_by_name() {
        let config = UserConfig::parse(
            r#"{"checks": {"test": "cargo test", "lint-2": "make lint"}, "limits": {"check_seconds": 5}}"#,
        )
        .unwrap();
        assert_eq!(config.checks["lint-2"], "make lint");
        assert_eq!(config.limits.check_seconds, Some(5));
        check(
            "{\"checks\": {\"Test it\": \"x\"}}",
            &expect![
                "line 1, column 24: `checks.Test it` must have a name of lower-case letters, digits and `-`, and a command"
            ],
        );
        check(
            "{\"checks\": {\"test\": \" \"}}",
            &expect![
                "line 1, column 21: `checks.test` must have a name of lower-case letters, digits and `-`, and a command"
            ],
        );
        check(
            "{\"checks\": {\"test\": [\"make\"]}}",
            &expect!["line 1, column 21: `checks.test` must be a string, not a list"],
        );
        check(
            "{\"checks\": \"make\"}",
            &expect!["line 1, column 12: `checks` must be an object, not a string"],
        );
        check(
            "{\"limits\": {\"check_seconds\": 0}}",
            &expect!["line 1, column 30: `limits.check_seconds` must be between 1 and 1073741824"],
        );
    }

    #[test]
    fn so_many_containers_stand_ready_as_is_said() {
        let budget = |text: &str| UserConfig::parse(text).unwrap().docker.budget();
        assert_eq!(budget("{}"), Budget { most: 2, idle_us: 30 * MINUTE_US });
        let set = budget(r#"{"docker": {"warm": 0, "warm_minutes": 5}}"#);
        assert_eq!(set, Budget { most: 0, idle_us: 5 * MINUTE_US });
        check(
            "{\"docker\": {\"warm\": 101}}",
            &expect!["line 1, column 21: `docker.warm` must be between 0 and 100"],
        );
        assert!(UserConfig::parse(r#"{"docker": {"warm_minutes": 0}}"#).is_err());
    }

    #[test]
    fn a_remote_is_a_bucket_and_a_mistake_in_it_is_named() {
        let text = r#"{"remote": {"url": "s3://one/ftl", "endpoint": "https://minio.example.com:9000", "region": "eu-west-1"}}"#;
        let remote = UserConfig::parse(text).unwrap().remote.unwrap();
        assert_eq!((remote.shown().as_str(), remote.region()), ("s3://one/ftl", "eu-west-1"));
        check("{\"remote\": {}}", &expect!["line 1, column 12: `remote.url` must be set"]);
        check(
            "{\"remote\": {\"url\": \"s3://one\", \"endpoint\": \"http://10.0.0.1\"}}",
            &expect![
                "line 1, column 44: `remote.endpoint` must begin with `https://`: without TLS only this machine is spoken to"
            ],
        );
        check(
            "{\"remote\": {\"url\": \"one\"}}",
            &expect!["line 1, column 20: `remote.url` must be `s3://BUCKET` or `s3://BUCKET/PREFIX`"],
        );
    }

    #[test]
    fn a_models_service_is_an_address_a_key_and_a_protocol() {
        let config = UserConfig::parse(
            r#"{"ask": "mine/m", "models": {"mine":
                {"base_url": "https://llm.example.com/v1", "key": "MY_KEY", "api": "openai"}, "openai": {}}}"#,
        )
        .unwrap();
        assert_eq!(config.ask.as_deref(), Some("mine/m"));
        assert_eq!(config.models["mine"].key.as_deref(), Some("MY_KEY"));
        assert_eq!(config.models["openai"], ProviderSettings::default());
        check(
            "{\"models\": {\"mine\": {\"base_url\": \"http://llm.example.com\"}}}",
            &expect![
                "line 1, column 34: `models.mine.base_url` must be an https URL, or an http one on this machine, without user name, query or escapes"
            ],
        );
        check(
            "{\"models\": {\"mine\": {\"key\": \"sk-1-2\"}}}",
            &expect!["line 1, column 29: `models.mine.key` must be a credential's name, or empty for none"],
        );
        check(
            "{\"models\": {\"mine\": {\"api\": \"soap\"}}}",
            &expect![[r#"line 1, column 29: `models.mine.api` must be "anthropic" or "openai""#]],
        );
        check(
            "{\"models\": {\"My Own\": {}}}",
            &expect!["line 1, column 12: `models` must name providers: lower-case letters, digits and `-`"],
        );
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        check(
            "{\"agents\": {\"codex\": {\"modle\": \"m\"}}}",
            &expect![
                "line 1, column 32: `agents.codex.modle` is not a setting; the nearest one is `agents.codex.model`"
            ],
        );
        check(
            "{\"agents\": {\"codex\": []}}",
            &expect!["line 1, column 22: `agents.codex` must be an object, not a list"],
        );
        check(
            "{\"agents\": {\"codex\": {\"path\": \"bin/codex\"}}}",
            &expect!["line 1, column 31: `agents.codex.path` must begin with `/` or `~/`"],
        );
        check(
            "{\"agents\": {\"codex\": {\"model\": \"--help\"}}}",
            &expect!["line 1, column 32: `agents.codex.model` must be a model's name"],
        );
        check(
            "{\"agents\": {\"codex\": {\"model_base_url\": \"http://user:pw@host/\"}}}",
            &expect![
                "line 1, column 41: `agents.codex.model_base_url` must be an http or https URL without a user name or password"
            ],
        );
        check(
            "{\"agents\": {\"codex\": {\"model_base_url\": \"127.0.0.1:80\"}}}",
            &expect![
                "line 1, column 41: `agents.codex.model_base_url` must be an http or https URL without a user name or password"
            ],
        );
        check(
            "{\"docker\": {\"runtime\": \"runc2\"}}",
            &expect!["line 1, column 24: `docker.runtime` must be \"runsc\" or \"kata\""],
        );
        check(
            "{\"tool_dirs\": [\"tools\"]}",
            &expect!["line 1, column 15: `tool_dirs` must list paths that begin with `/` or `~/`"],
        );
        check(
            "{\"setup\": \"x\"}",
            &expect!["line 1, column 11: `setup` is not a setting; the nearest one is `store`"],
        );
    }
}
