//! The rules that count for a session or a project.
//!
//! Owns which files and settings they come from and in which order they rank. Must not know what a rule
//! decides.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ftl_core::credential::{Binding, Grant};
use ftl_core::egress::policy::{Policy, Source};
use ftl_core::egress::preset::Preset;
use ftl_core::egress::rule::{PathPattern, Rule, Scheme, Target};
use ftl_core::id::SessionId;

use crate::home::Home;
use crate::policy::{PolicyFiles, Rules};
use crate::sandbox::{Check, Outcome};
use crate::vault::{Scope, Vault};

/// Where a rule of the human's lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RuleScope {
    /// Of one session.
    Session(SessionId),
    /// Of every session of a project.
    Project(PathBuf),
    /// Of every session.
    Global,
}

/// Rules by where they come from.
#[derive(Clone, Debug)]
pub struct Layered {
    /// What counts where no rule fits.
    pub preset: Preset,
    /// The layers, the one that ranks highest first.
    pub layers: Vec<(Source, Arc<Vec<Rule>>)>,
    /// What is wrong with a file whose last good state counts instead.
    pub problem: Option<String>,
}

impl RuleScope {
    /// The file in which rules of this scope lie.
    #[must_use]
    pub fn file(&self, home: &Home) -> PathBuf {
        match self {
            Self::Session(session) => home.sessions().join(session.as_str()).join("policy"),
            Self::Project(root) => Vault::dir(home.root(), &Scope::Project(root.clone())).join("policy"),
            Self::Global => home.root().join("policy"),
        }
    }
}

/// The rules for a project, and for one of its sessions when one is given.
#[must_use]
pub fn layered(
    files: &PolicyFiles,
    home: &Home,
    session: Option<&SessionId>,
    project: Option<&Path>,
    trusted: &[String],
) -> Layered {
    let mut layers = Vec::new();
    let mut problems = Vec::new();
    let mut add = |source: Source, rules: Rules| {
        problems.extend(rules.problem);
        layers.push((source, rules.rules));
    };
    if let Some(session) = session {
        add(Source::Session, files.rules(&RuleScope::Session(session.clone()).file(home)));
    }
    if let Some(project) = project {
        add(Source::Project, files.rules(&RuleScope::Project(project.to_owned()).file(home)));
    }
    let trusted: Vec<Rule> = trusted.iter().filter_map(|text| text.parse().ok()).collect();
    add(Source::TrustedConfig, Rules { rules: Arc::new(trusted), problem: None });
    add(Source::Global, files.rules(&RuleScope::Global.file(home)));
    let presets = layers.iter().flat_map(|(_, rules)| rules.iter().rev());
    let preset = presets.into_iter().find_map(|rule| match rule {
        Rule::Preset(preset) => Some(*preset),
        _ => None,
    });
    let problem = (!problems.is_empty()).then(|| problems.join("; "));
    Layered { preset: preset.unwrap_or(Preset::Balanced), layers, problem }
}

/// Whether the human's files of rules can be understood: those for every session and those of projects.
#[must_use]
pub fn check(files: &PolicyFiles, home: &Home) -> Check {
    let projects = std::fs::read_dir(home.root().join("projects")).into_iter().flatten().flatten();
    let mut paths = vec![RuleScope::Global.file(home)];
    paths.extend(projects.map(|project| project.path().join("policy")));
    let problems: Vec<String> = paths.iter().filter_map(|path| files.rules(path).problem).collect();
    let (outcome, detail, remedy) = match problems.is_empty() {
        true => (Outcome::Ok, "every file of rules is understood".to_owned(), String::new()),
        false => (Outcome::Failed, problems.join("; "), "mend the line with an editor".to_owned()),
    };
    Check { name: "policy".to_owned(), outcome, detail, remedy }
}

impl Layered {
    /// These rules with what the agent and the session's credentials imply.
    #[must_use]
    pub fn with_implied(mut self, agent: &str, agent_rules: &[Rule], grants: &[Grant]) -> Self {
        if !agent_rules.is_empty() {
            self.layers.push((Source::Agent(agent.to_owned()), Arc::new(agent_rules.to_vec())));
        }
        if self.preset != Preset::Locked {
            for grant in grants {
                let rules: Vec<Rule> = grant.bindings.iter().flat_map(implied).collect();
                if !rules.is_empty() {
                    self.layers.push((Source::Credential(grant.name.to_string()), Arc::new(rules)));
                }
            }
        }
        self
    }

    /// The policy that these rules make.
    #[must_use]
    pub fn policy(&self, generation: u64) -> Policy {
        let layers = self.layers.iter().map(|(source, rules)| (source.clone(), rules.to_vec()));
        Policy::new(self.preset, layers.collect()).with_generation(generation)
    }
}

/// What a credential may be used for may be reached.
fn implied(binding: &Binding) -> Vec<Rule> {
    let paths: Vec<Option<&str>> = match binding.paths.as_slice() {
        [] => vec![None],
        paths => paths.iter().map(|path| Some(path.as_str())).collect(),
    };
    let rules = binding.hosts.iter().flat_map(|host| {
        paths.iter().map(move |path| {
            Rule::Allow(Target {
                methods: binding.methods.clone(),
                scheme: Some(Scheme::Https),
                host: host.clone(),
                port: Some(binding.port).filter(|port| *port != 443),
                path: path
                    .filter(|path| *path != "/")
                    .map(|path| PathPattern::Below(path.trim_end_matches('/').to_owned())),
            })
        })
    });
    rules.collect()
}
