//! Why a model is not asked, or its answer is none.
//!
//! Owns the sentences and the hints: each says what to type.

use ftl_core::llm::name::{NameError, providers};
use ftl_core::opinion::NoOpinion;
use ftl_core::tester::NoTests;

use crate::llm::LlmError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The human has named none.
    #[error("no model is configured for a {purpose}")]
    NotConfigured {
        /// What for.
        purpose: &'static str,
        /// The setting that names one.
        setting: &'static str,
    },
    /// The agent `builtin` has no model.
    #[error("no model is configured for the agent builtin")]
    NoAgentModel,
    /// What is configured names none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The service wants a key, and there is none.
    #[error("{provider} needs a key, and FTL has none: {}", names.join(" or "))]
    NoKey {
        /// The provider.
        provider: String,
        /// The names under which it is looked for.
        names: Vec<String>,
    },
    /// The reviewer is the model that did the work.
    #[error("{model} is the model that did the work, and another one must review it")]
    Same {
        /// The model.
        model: String,
    },
    /// The reviewer may be the model that did the work.
    #[error("{model} may be the model that did the work: which one {agent} asks is not configured")]
    MaybeSame {
        /// The model.
        model: String,
        /// The agent.
        agent: String,
    },
    /// The tester is the model that does the work.
    #[error("{model} is the model that does the work, and another one must write the tests")]
    SameTester {
        /// The model.
        model: String,
    },
    /// The tester may be the model that does the work.
    #[error("{model} may be the model that does the work: which one {agent} asks is not configured")]
    MaybeSameTester {
        /// The model.
        model: String,
        /// The agent.
        agent: String,
    },
    /// The question is empty or too long.
    #[error("a question has between 1 and {most} characters")]
    Question {
        /// The most.
        most: usize,
    },
    /// A hunk that is not there.
    #[error("there is no hunk {hunk}")]
    NoHunk {
        /// What was asked for.
        hunk: String,
    },
    /// Nothing that was chosen can be shown to a model.
    #[error("nothing of this can be shown to a model")]
    Nothing,
    /// The call failed.
    #[error("{model} gives no answer")]
    Call {
        /// The model.
        model: String,
        /// Its provider.
        provider: String,
        /// The name of the key that was sent.
        key: Option<String>,
        /// Why.
        #[source]
        source: LlmError,
    },
    /// The answer is no review.
    #[error("{model} could not review: there is no opinion")]
    NoOpinion {
        /// The model.
        model: String,
        /// Why not.
        #[source]
        source: NoOpinion,
    },
    /// The answer has no tests.
    #[error("{model} wrote no tests that can be used")]
    NoTests {
        /// The model.
        model: String,
        /// Why not.
        #[source]
        source: NoTests,
    },
}

impl ModelError {
    /// What the human can do about it; empty when nothing is known.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NotConfigured { setting, .. } => {
                format!(
                    r#"name one in ~/.ftl/config: {{"{setting}": "PROVIDER/MODEL"}}; PROVIDER is one of: {}"#,
                    providers().join(", ")
                )
            }
            Self::NoAgentModel => format!(
                r#"name one in ~/.ftl/config: {{"agents": {{"builtin": {{"model": "PROVIDER/MODEL"}}}}}}; PROVIDER is one of: {}"#,
                providers().join(", ")
            ),
            Self::Name(NameError::Form(_)) => {
                "write it as PROVIDER/MODEL in ~/.ftl/config, for instance ollama/qwen2.5-coder".to_owned()
            }
            Self::Name(NameError::Provider(name)) => format!(
                r#"known are: {}; for another one say where it is in ~/.ftl/config: {{"models": {{"{name}": {{"base_url": "https://…/v1", "key": "NAME_OF_ITS_KEY"}}}}}}"#,
                providers().join(", ")
            ),
            Self::NoKey { names, .. } => {
                format!(
                    "`ftlctl auth {}` keeps one outside every sandbox",
                    names.first().map_or("", String::as_str)
                )
            }
            Self::Same { .. } => {
                "name another one as `reviewer` in ~/.ftl/config, or say that it may be: --same-model"
                    .to_owned()
            }
            Self::MaybeSame { agent, .. } => format!(
                r#"name the agent's model in ~/.ftl/config: {{"agents": {{"{agent}": {{"model": "MODEL"}}}}}}, name a reviewer of another vendor, or say that it may be the same: --same-model"#
            ),
            Self::NoHunk { .. } => {
                "`ftlctl diff` numbers the hunks of each file: --hunk PATH:NUMBER".to_owned()
            }
            Self::Call { provider, key, source, .. } => source.hint(provider, key.as_deref()),
            Self::NoOpinion { .. } => {
                "try again, or name another model as `reviewer` in ~/.ftl/config".to_owned()
            }
            Self::SameTester { .. } => {
                "name another one: --tests MODEL, or `tester` in ~/.ftl/config; none with --no-tests; or say that it \
                 may be: --same-model"
                    .to_owned()
            }
            Self::MaybeSameTester { agent, .. } => format!(
                r#"name the agent's model in ~/.ftl/config: {{"agents": {{"{agent}": {{"model": "MODEL"}}}}}}, name a tester of another vendor (--tests MODEL), none (--no-tests), or say that it may be the same: --same-model"#
            ),
            Self::NoTests { .. } => "name another model as `tester` in ~/.ftl/config".to_owned(),
            Self::Question { .. } | Self::Nothing => String::new(),
        }
    }
}
