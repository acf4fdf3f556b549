//! A project's `.ftlconfig`.
//!
//! Owns its settings and the first one that `init` writes. Must not know what of it counts: that is
//! [`super::effective`]'s.

use std::collections::BTreeMap;

use super::json::{ConfigError, Object};
use super::{LimitsConfig, SandboxChoice, agent, checks, command, limits, variables};
use crate::egress::rule::Rule;
use crate::history::Depth;
use crate::id::Hash;

/// What a project asks for. Every setting is optional.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProjectConfig {
    /// Agent's name.
    pub agent: Option<String>,
    /// Program and arguments for the agent `command`.
    pub command: Option<Vec<String>>,
    /// Sandbox backend.
    pub sandbox: Option<SandboxChoice>,
    /// How much of its Git history a session sees.
    pub history: Option<Depth>,
    /// Limits of a session.
    pub limits: LimitsConfig,
    /// Commands that say whether the project is sound, by name.
    pub checks: BTreeMap<String, String>,
    /// Shell command that runs in a fresh sandbox before the agent.
    pub setup: Option<String>,
    /// Environment variables of the human that enter the sandbox with their values.
    pub agent_env: Vec<String>,
    /// Credentials of the human that the agent sees shadows of, by name.
    pub shadow_env: Vec<String>,
    /// Rules of the egress proxy, as they are written in a policy file.
    pub egress: Vec<String>,
    /// Model that writes tests.
    pub tester: Option<String>,
    /// Model that reviews the diff.
    pub reviewer: Option<String>,
    /// The project's language.
    pub language: Option<String>,
    /// Languages of directories that differ from it, by path prefix.
    pub language_overrides: BTreeMap<String, String>,
    /// Where snapshots are kept: `local` or `s3`.
    pub snapshot_backend: Option<SnapshotBackend>,
    /// Bucket for the snapshots.
    pub s3_bucket: Option<String>,
    /// CloudWatch log group for session traces.
    pub cloudwatch_log_group: Option<String>,
    /// AWS Secrets Manager prefix to read secrets from.
    pub secrets_manager_prefix: Option<String>,
    /// Bedrock guardrail that judges the diff.
    pub guardrail_id: Option<String>,
    /// The guardrail's version.
    pub guardrail_version: Option<String>,
}

/// Where snapshots are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotBackend {
    /// In `FTL_HOME`.
    Local,
    /// In an S3 bucket.
    S3,
}

impl ProjectConfig {
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
            setup: object
                .checked("setup", "must not hold a NUL character", |setup: &String| !setup.contains('\0'))?,
            agent_env: variables(&mut object, "agent_env")?,
            shadow_env: variables(&mut object, "shadow_env")?,
            egress: egress(&mut object)?,
            tester: object.get("tester")?,
            reviewer: object.get("reviewer")?,
            language: object.get("language")?,
            language_overrides: match object.nested("language_overrides")? {
                Some(overrides) => overrides.into_strings()?,
                None => BTreeMap::new(),
            },
            snapshot_backend: object.get("snapshot_backend")?,
            s3_bucket: object.get("s3_bucket")?,
            cloudwatch_log_group: object.get("cloudwatch_log_group")?,
            secrets_manager_prefix: object.get("secrets_manager_prefix")?,
            guardrail_id: object.get("guardrail_id")?,
            guardrail_version: object.get("guardrail_version")?,
        };
        object.finish()?;
        Ok(config)
    }
}

/// Rules of the egress proxy.
fn egress(object: &mut Object<'_>) -> Result<Vec<String>, ConfigError> {
    let is_rule = |rules: &Vec<String>| rules.iter().all(|rule| rule.parse::<Rule>().is_ok());
    let rules = object.checked(
        "egress",
        "must list rules such as \"allow GET api.example.com/v1/\"; `ftlctl policy allow RULE` says what is \
         wrong with one",
        is_rule,
    )?;
    Ok(rules.unwrap_or_default())
}

impl super::json::Field<'_> for SnapshotBackend {
    const WANTED: &'static str = "\"local\" or \"s3\"";

    fn read(raw: &str) -> Option<Self> {
        match String::read(raw)?.as_str() {
            "local" => Some(Self::Local),
            "s3" => Some(Self::S3),
            _ => None,
        }
    }
}

/// What the human trusts: a hash over a configuration's bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> Hash {
    Hash::of(bytes)
}

/// A first configuration for a project. It asks for nothing that would need trust.
#[must_use]
pub fn template(agent: &str) -> String {
    let agent = serde_json::Value::from(agent);
    format!("{{\n  \"agent\": {agent}\n}}\n")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    /// The settings of the system that this one succeeds, as its manual shows them.
    const SEED: &str = r#"{
  "agent": "claude-code",
  "tester": "bedrock/some.model",
  "reviewer": "bedrock/some.model",
  "language": "python",
  "language_overrides": {"web/": "typescript"},

  "shadow_env": ["MY_EXTRA_SECRET"],
  "agent_env": ["SOME_VAR_TO_FORWARD"],

  "setup": "pip install -r requirements.txt 2>/dev/null; true",

  "snapshot_backend": "s3",
  "s3_bucket": "my-ftl-snapshots",
  "cloudwatch_log_group": "/ftl/myproject",
  "secrets_manager_prefix": "/myproject/prod/",
  "guardrail_id": "abc123def456",
  "guardrail_version": "1"
}"#;

    fn check(text: &str, expected: &Expect) {
        match ProjectConfig::parse(text) {
            Ok(config) => panic!("{text} was accepted: {config:?}"),
            Err(error) => expected.assert_eq(&error.to_string()),
        }
    }

    #[test]
    fn the_seeds_settings_are_understood() {
        let config = ProjectConfig::parse(SEED).unwrap();
        assert_eq!(config.agent.as_deref(), Some("claude-code"));
        assert_eq!(config.language_overrides["web/"], "typescript");
        assert_eq!(config.shadow_env, ["MY_EXTRA_SECRET"]);
        assert_eq!(config.snapshot_backend, Some(SnapshotBackend::S3));
        assert_eq!(config.guardrail_version.as_deref(), Some("1"));
    }

    #[test]
    fn ours_are_understood() {
        let text = r#"{"agent": "command", "command": ["tool", "{task}"], "sandbox": "native",
                       "limits": {"memory_mb": 512, "pids": 64, "cpu_percent": 150, "file_size_mb": 1, "disk_mb": 2}}"#;
        let config = ProjectConfig::parse(text).unwrap();
        assert_eq!(config.command, Some(vec!["tool".to_owned(), "{task}".to_owned()]));
        assert_eq!(config.sandbox, Some(SandboxChoice::Native));
        assert_eq!(config.limits.cpu_percent, Some(150));
        assert_eq!(ProjectConfig::parse("{}"), Ok(ProjectConfig::default()));
    }

    #[test]
    fn the_template_is_valid_and_needs_no_trust() {
        for agent in ["claude-code", "a\"b"] {
            let text = template(agent);
            let parsed = serde_json::from_str::<serde_json::Value>(&text).unwrap();
            assert_eq!(parsed["agent"], agent);
        }
        let config = ProjectConfig::parse(&template("codex")).unwrap();
        assert_eq!(config, ProjectConfig { agent: Some("codex".into()), ..ProjectConfig::default() });
        assert!(super::super::widening(&config, &super::super::UserConfig::default()).is_empty());
    }

    #[test]
    fn unknown_settings_name_the_nearest_one_and_their_place() {
        check(
            "{\n  \"agnet\": \"codex\"\n}",
            &expect!["line 2, column 12: `agnet` is not a setting; the nearest one is `agent`"],
        );
        check(
            "{\"limits\": {\"memory\": 1}}",
            &expect![
                "line 1, column 23: `limits.memory` is not a setting; the nearest one is `limits.memory_mb`"
            ],
        );
        check(
            "{\"model_base_url\": \"http://127.0.0.1\"}",
            &expect![
                "line 1, column 20: `model_base_url` is not a setting; the nearest one is `cloudwatch_log_group`"
            ],
        );
        check(
            "{\"AGENT_ENV\": []}",
            &expect!["line 1, column 15: `AGENT_ENV` is not a setting; the nearest one is `agent_env`"],
        );
        check(
            "{\"tool_dirs\": []}",
            &expect!["line 1, column 15: `tool_dirs` is not a setting; the nearest one is `limits`"],
        );
        check(
            "{\"é\": {}, \"x\": 1}",
            &expect!["line 1, column 7: `é` is not a setting; the nearest one is `guardrail_version`"],
        );
    }

    #[test]
    fn a_setting_stands_only_once() {
        check(
            "{\"agent\": \"codex\",\n \"agent\": \"codex\"}",
            &expect!["line 2, column 11: `agent` is set a second time"],
        );
        check(
            "{\"limits\": {\"pids\": 1, \"p\\u0069ds\": 2}}",
            &expect!["line 1, column 37: `limits.pids` is set a second time"],
        );
        check(
            "{\"language_overrides\": {\"a\": \"go\", \"a\": \"go\"}}",
            &expect!["line 1, column 41: `language_overrides.a` is set a second time"],
        );
    }

    #[test]
    fn wrong_kinds_and_values_are_named_clearly() {
        check("{\"agent\": 3}", &expect!["line 1, column 11: `agent` must be a string, not a number"]);
        check("{\"agent\": null}", &expect!["line 1, column 11: `agent` must be a string, not null"]);
        check(
            "{\"agent\": \"Claude Code\"}",
            &expect![
                "line 1, column 11: `agent` must be an agent's name: lower-case letters, digits and `-`"
            ],
        );
        check(
            "{\"agent\": \"--help\"}",
            &expect![
                "line 1, column 11: `agent` must be an agent's name: lower-case letters, digits and `-`"
            ],
        );
        check(
            "{\"agent_env\": \"HOME\"}",
            &expect!["line 1, column 15: `agent_env` must be a list of strings, not a string"],
        );
        check(
            "{\"agent_env\": [\"HOME\", 1]}",
            &expect!["line 1, column 15: `agent_env` must be a list of strings, not a list of other things"],
        );
        check(
            "{\"agent_env\": [\"KEY=hunter2\"]}",
            &expect![
                "line 1, column 15: `agent_env` must list names of environment variables, without values"
            ],
        );
        check("{\"command\": []}", &expect!["line 1, column 13: `command` must begin with a program's name"]);
        check(
            "{\"setup\": \"a\\u0000b\"}",
            &expect!["line 1, column 11: `setup` must not hold a NUL character"],
        );
        check(
            "{\"sandbox\": \"chroot\"}",
            &expect![[
                r#"line 1, column 13: `sandbox` must be "auto", "native" or "docker", not another string"#
            ]],
        );
        check(
            "{\"history\": \"all\"}",
            &expect![[
                r#"line 1, column 13: `history` must be "off", "recent" or "full", not another string"#
            ]],
        );
        check(
            "{\"limits\": {\"pids\": -1}}",
            &expect!["line 1, column 21: `limits.pids` must be a whole number, not another number"],
        );
        check(
            "{\"limits\": {\"pids\": 0}}",
            &expect!["line 1, column 21: `limits.pids` must be between 1 and 1073741824"],
        );
        check(
            "{\"limits\": {\"pids\": 1.5}}",
            &expect!["line 1, column 21: `limits.pids` must be a whole number, not another number"],
        );
        check(
            "{\"limits\": {\"memory_mb\": 99999999999999999999999}}",
            &expect!["line 1, column 26: `limits.memory_mb` must be a whole number, not another number"],
        );
        check("{\"limits\": []}", &expect!["line 1, column 12: `limits` must be an object, not a list"]);
        check(
            "{\"language_overrides\": {\"a\": true}}",
            &expect!["line 1, column 30: `language_overrides.a` must be a string, not true or false"],
        );
        check("[]", &expect!["line 1, column 1: `the configuration` must be an object, not a list"]);
    }

    #[test]
    fn only_strict_json_is_read() {
        check("", &expect!["line 1, column 1: EOF while parsing a value"]);
        check("{\n  // a comment\n}", &expect!["line 2, column 3: key must be a string"]);
        check("{\"agent\": \"codex\",}", &expect!["line 1, column 19: key must be a string"]);
        check("{\"agent\": \"codex\"} {}", &expect!["line 1, column 20: trailing characters"]);
        check(
            "{\"é\": \"\u{7}\"}",
            &expect![[r#"line 1, column 7: control character (\u0000-\u001F) found while parsing a string"#]],
        );
        check("{\"\\ud800\": 1}", &expect!["line 1, column 1: unexpected end of hex escape"]);
        check(
            "{\"agent\": \"\\ud800\"}",
            &expect!["line 1, column 11: `agent` must be a string, not text that is not Unicode"],
        );
        check(&"[".repeat(100_000), &expect!["line 1, column 100000: EOF while parsing a list"]);
    }

    #[test]
    fn an_error_holds_nothing_that_a_terminal_obeys() {
        for text in [
            r#"{"\u001b[2Jx": 1}"#,
            "{\"\u{7f}\u{9b}x\": 1}",
            r#"{"x": 1, "\u202ex": 2}"#,
            r#"{"language_overrides": {"\u001b[2J": 1}}"#,
        ] {
            let error = ProjectConfig::parse(text).unwrap_err().to_string();
            assert!(!error.contains(|c: char| c.is_control() || c == '\u{202e}'), "{error:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_accepted_is_json(pieces in proptest::collection::vec(piece(), 0..12)) {
            let text = pieces.concat();
            if ProjectConfig::parse(&text).is_ok() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
            }
        }
    }

    fn piece() -> impl Strategy<Value = String> {
        let known = [
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"agent\"",
            "\"limits\"",
            "\"pids\"",
            "7",
            "null",
            "\n",
            "\"é\\ud800\"",
        ];
        prop_oneof![4 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => ".{0,6}"]
    }
}
