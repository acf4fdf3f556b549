//! What counts of both configurations.
//!
//! Owns which settings of a project could widen what a session may do, and what remains of them without
//! trust. Must not know how trust is given.

use std::collections::BTreeMap;

use super::project::SnapshotBackend;
use super::{AgentSettings, DEFAULT_AGENT, Limits, ProjectConfig, SandboxChoice, UserConfig};
use crate::history::Depth;

/// The settings of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Agent's name.
    pub agent: String,
    /// Program and arguments for the agent `command`.
    pub command: Option<Vec<String>>,
    /// Sandbox backend.
    pub sandbox: SandboxChoice,
    /// How much of the project's Git history the session sees.
    pub history: Depth,
    /// Limits.
    pub limits: Limits,
    /// Commands that say whether the project is sound, by name; a project's own take the place of the human's.
    pub checks: BTreeMap<String, String>,
    /// Shell command that runs in a fresh sandbox before the agent.
    pub setup: Option<String>,
    /// Environment variables of the human that enter the sandbox; see [`super::forwardable`].
    pub agent_env: Vec<String>,
    /// Credentials of the human that the session gets shadows of, by name.
    pub shadow_env: Vec<String>,
    /// Rules of the egress proxy from the project's trusted configuration.
    pub egress: Vec<String>,
    /// Model that writes tests.
    pub tester: Option<String>,
    /// Whether that may be the model that does the work. Never from a project.
    pub tester_same_model: bool,
    /// Model that reviews the diff.
    pub reviewer: Option<String>,
    /// How to run single agents. Never from a project.
    pub agents: BTreeMap<String, AgentSettings>,
    /// More directories of programs. Never from a project.
    pub tool_dirs: Vec<String>,
    /// Settings of the project that do not count because it is not trusted.
    pub inert: Vec<&'static str>,
    /// Settings that count but do nothing yet.
    pub idle: Vec<&'static str>,
    /// Settings without which nothing may run and which cannot be honoured yet.
    pub refused: Vec<&'static str>,
}

/// One setting that a project could widen something with.
struct Widening {
    name: &'static str,
    /// Whether this project's value widens.
    widens: fn(&ProjectConfig, &UserConfig) -> bool,
    /// Takes the value away.
    clear: fn(&mut ProjectConfig),
}

/// Every setting that needs trust. The others act inside the sandbox only, on what is there anyway.
const WIDENING: [Widening; 17] = [
    Widening {
        // Which vendor sees the code is the human's choice, once it was made.
        name: "agent",
        widens: |project, user| {
            user.agent.is_some() && project.agent.is_some() && project.agent != user.agent
        },
        clear: |project| project.agent = None,
    },
    Widening {
        // The program is looked for on the host, and what it needs becomes visible in the sandbox.
        name: "command",
        widens: |project, _| project.command.is_some(),
        clear: |project| project.command = None,
    },
    Widening {
        name: "sandbox",
        // Containers have the engine's holes and an image's programs: they are the human's choice.
        widens: |project, user| {
            let own = user.sandbox.unwrap_or(SandboxChoice::Auto);
            project.sandbox.is_some_and(|wanted| {
                wanted != own && (own != SandboxChoice::Auto || wanted == SandboxChoice::Docker)
            })
        },
        clear: |project| project.sandbox = None,
    },
    Widening {
        name: "history",
        widens: |project, user| project.history > Some(user.history.unwrap_or_default()),
        clear: |project| project.history = None,
    },
    Widening {
        name: "limits",
        widens: |project, user| {
            let ours = Limits::default().with(user.limits);
            !ours.with(project.limits).within(ours)
        },
        clear: |project| project.limits = super::LimitsConfig::default(),
    },
    Widening {
        // What is tried decides what is called ready.
        name: "checks",
        widens: |project, _| !project.checks.is_empty(),
        clear: |project| project.checks.clear(),
    },
    Widening {
        name: "agent_env",
        widens: |project, _| !project.agent_env.is_empty(),
        clear: |project| project.agent_env.clear(),
    },
    Widening {
        name: "shadow_env",
        widens: |project, _| !project.shadow_env.is_empty(),
        clear: |project| project.shadow_env.clear(),
    },
    Widening {
        name: "egress",
        widens: |project, _| !project.egress.is_empty(),
        clear: |project| project.egress.clear(),
    },
    // Where the code is sent, and on whose account.
    Widening {
        name: "tester",
        widens: |project, _| project.tester.is_some(),
        clear: |project| project.tester = None,
    },
    Widening {
        name: "reviewer",
        widens: |project, _| project.reviewer.is_some(),
        clear: |project| project.reviewer = None,
    },
    Widening {
        name: "snapshot_backend",
        widens: |project, _| project.snapshot_backend == Some(SnapshotBackend::S3),
        clear: |project| project.snapshot_backend = None,
    },
    Widening {
        name: "s3_bucket",
        widens: |project, _| project.s3_bucket.is_some(),
        clear: |project| project.s3_bucket = None,
    },
    Widening {
        name: "cloudwatch_log_group",
        widens: |project, _| project.cloudwatch_log_group.is_some(),
        clear: |project| project.cloudwatch_log_group = None,
    },
    Widening {
        name: "secrets_manager_prefix",
        widens: |project, _| project.secrets_manager_prefix.is_some(),
        clear: |project| project.secrets_manager_prefix = None,
    },
    // A guardrail takes the place of the checks that run without one.
    Widening {
        name: "guardrail_id",
        widens: |project, _| project.guardrail_id.is_some(),
        clear: |project| project.guardrail_id = None,
    },
    Widening {
        name: "guardrail_version",
        widens: |project, _| project.guardrail_version.is_some(),
        clear: |project| project.guardrail_version = None,
    },
];

/// The settings of a project that count only when the human trusts it.
#[must_use]
pub fn widening(project: &ProjectConfig, user: &UserConfig) -> Vec<&'static str> {
    WIDENING.iter().filter(|setting| (setting.widens)(project, user)).map(|setting| setting.name).collect()
}

/// What counts: the project's settings before the human's, as far as they may. `project` comes with
/// whether the human has trusted these very bytes.
#[must_use]
pub fn effective(user: &UserConfig, project: Option<(ProjectConfig, bool)>) -> Settings {
    let (mut project, trusted) = project.unwrap_or_default();
    let mut inert = Vec::new();
    if !trusted {
        for setting in WIDENING.iter().filter(|setting| (setting.widens)(&project, user)).collect::<Vec<_>>()
        {
            (setting.clear)(&mut project);
            inert.push(setting.name);
        }
    }
    let idle = idle(&project);
    let s3 = project.snapshot_backend == Some(SnapshotBackend::S3);
    let refused = [("snapshot_backend", s3), ("guardrail_id", project.guardrail_id.is_some())];
    let refused = refused.into_iter().filter_map(|(name, set)| set.then_some(name)).collect();
    Settings {
        agent: project.agent.or_else(|| user.agent.clone()).unwrap_or_else(|| DEFAULT_AGENT.to_owned()),
        command: project.command.or_else(|| user.command.clone()),
        sandbox: project.sandbox.or(user.sandbox).unwrap_or_default(),
        history: project.history.or(user.history).unwrap_or_default(),
        limits: Limits::default().with(user.limits).with(project.limits),
        checks: if project.checks.is_empty() { user.checks.clone() } else { project.checks },
        setup: project.setup,
        agent_env: project.agent_env,
        shadow_env: project.shadow_env,
        egress: project.egress,
        tester: project.tester.or_else(|| user.tester.clone()),
        tester_same_model: user.tester_same_model,
        reviewer: project.reviewer.or_else(|| user.reviewer.clone()),
        agents: user.agents.clone(),
        tool_dirs: user.tool_dirs.clone(),
        inert,
        idle,
        // Snapshots that silently stay local are not where the human believes them to be, and a guardrail
        // that does not judge is none.
        refused,
    }
}

/// The settings that are set, count, and have no effect in this version.
fn idle(project: &ProjectConfig) -> Vec<&'static str> {
    [
        ("cloudwatch_log_group", project.cloudwatch_log_group.is_some()),
        ("guardrail_version", project.guardrail_version.is_some()),
        ("language", project.language.is_some()),
        ("language_overrides", !project.language_overrides.is_empty()),
        ("s3_bucket", project.s3_bucket.is_some()),
        ("secrets_manager_prefix", project.secrets_manager_prefix.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, set)| set.then_some(name))
    .collect()
}

impl Settings {
    /// How to run one agent.
    #[must_use]
    pub fn agent_settings(&self, name: &str) -> AgentSettings {
        self.agents.get(name).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A project that asks for everything.
    fn greedy() -> ProjectConfig {
        ProjectConfig::parse(
            r#"{"agent": "codex", "command": ["x"], "sandbox": "docker", "history": "full",
                "limits": {"pids": 100000}, "checks": {"test": "true"},
                "agent_env": ["A"], "shadow_env": ["B"], "egress": ["allow a.example.com"], "tester": "t", "reviewer": "r",
                "snapshot_backend": "s3", "s3_bucket": "b", "cloudwatch_log_group": "g",
                "secrets_manager_prefix": "p", "guardrail_id": "i", "guardrail_version": "1",
                "setup": "make", "language": "go", "language_overrides": {"a": "go"}}"#,
        )
        .unwrap()
    }

    fn chosen() -> UserConfig {
        UserConfig::parse(
            r#"{"agent": "claude-code", "sandbox": "native", "limits": {"pids": 50},
                "agents": {"codex": {"model": "m"}}, "tool_dirs": ["/opt/t"]}"#,
        )
        .unwrap()
    }

    #[test]
    fn without_trust_nothing_is_widened() {
        let settings = effective(&chosen(), Some((greedy(), false)));
        let all: Vec<_> = WIDENING.iter().map(|setting| setting.name).collect();
        assert_eq!(settings.inert, all);
        assert_eq!(widening(&greedy(), &chosen()), all);
        let alone = effective(&chosen(), None);
        let harmless = Settings {
            setup: Some("make".into()),
            inert: all,
            idle: vec!["language", "language_overrides"],
            ..alone
        };
        assert_eq!(settings, harmless);
    }

    #[test]
    fn with_trust_the_project_goes_before_the_human() {
        let settings = effective(&chosen(), Some((greedy(), true)));
        assert_eq!(settings.agent, "codex");
        assert_eq!(settings.sandbox, SandboxChoice::Docker);
        assert_eq!(settings.history, Depth::Full);
        assert_eq!(settings.checks["test"], "true");
        assert_eq!(settings.limits, Limits { pids: 100_000, ..Limits::default() });
        assert_eq!(settings.agent_env, ["A"]);
        assert_eq!(settings.shadow_env, ["B"]);
        assert_eq!(settings.egress, ["allow a.example.com"]);
        assert_eq!(settings.reviewer.as_deref(), Some("r"));
        assert_eq!(settings.inert, [""; 0]);
        assert_eq!(settings.refused, ["snapshot_backend", "guardrail_id"]);
        assert!(settings.idle.contains(&"guardrail_version") && !settings.idle.contains(&"tester"));
        assert_eq!(settings.tester.as_deref(), Some("t"));
        assert_eq!(settings.agent_settings("codex").model.as_deref(), Some("m"));
        assert_eq!(settings.tool_dirs, ["/opt/t"]);
    }

    #[test]
    fn a_project_chooses_no_reviewer_and_no_tester_until_it_is_trusted() {
        let mine = || Some("mine".to_owned());
        let own = UserConfig { reviewer: mine(), tester: mine(), ..UserConfig::default() };
        let tester = |trusted| effective(&own, Some((greedy(), trusted))).tester;
        assert_eq!((tester(false).as_deref(), tester(true).as_deref()), (Some("mine"), Some("t")));
        let reviewer = |trusted| effective(&own, Some((greedy(), trusted))).reviewer;
        assert_eq!((reviewer(false).as_deref(), reviewer(true).as_deref()), (Some("mine"), Some("r")));
        for text in [r#"{"models": {}}"#, r#"{"ask": "a/b"}"#, r#"{"tester_same_model": true}"#] {
            assert!(ProjectConfig::parse(text).is_err(), "{text} says where code is sent");
        }
    }

    #[test]
    fn what_the_human_left_open_a_project_may_choose() {
        let project =
            ProjectConfig::parse(r#"{"agent": "codex", "sandbox": "native", "limits": {"pids": 9}}"#)
                .unwrap();
        let settings = effective(&UserConfig::default(), Some((project.clone(), false)));
        assert_eq!((settings.agent.as_str(), settings.sandbox), ("codex", SandboxChoice::Native));
        assert_eq!(settings.limits.pids, 9);
        assert_eq!(settings.inert, [""; 0]);
        let contained = ProjectConfig::parse(r#"{"sandbox": "docker"}"#).unwrap();
        let settings = effective(&UserConfig::default(), Some((contained.clone(), false)));
        assert_eq!((settings.sandbox, settings.inert), (SandboxChoice::Auto, vec!["sandbox"]));
        let chosen = UserConfig { sandbox: Some(SandboxChoice::Docker), ..UserConfig::default() };
        assert_eq!(widening(&contained, &chosen), [""; 0]);
        let same = UserConfig { agent: Some("codex".into()), ..UserConfig::default() };
        assert_eq!(widening(&project, &same), [""; 0]);
    }

    #[test]
    fn without_any_configuration_there_are_defaults() {
        let settings = effective(&UserConfig::default(), None);
        assert_eq!((settings.agent.as_str(), settings.sandbox), (DEFAULT_AGENT, SandboxChoice::Auto));
        assert_eq!(settings.limits, Limits::default());
        assert!(settings.inert.is_empty() && settings.idle.is_empty() && settings.refused.is_empty());
        assert_eq!(settings.agent_settings("codex"), AgentSettings::default());
    }
}
