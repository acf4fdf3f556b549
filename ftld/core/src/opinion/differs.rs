//! Which models may review an agent's work: others than the one that did it.
//!
//! Owns which vendor's models an agent asks unless it is told otherwise, and when two names mean one model.

use crate::llm::name::ModelName;
use crate::llm::price::undated;

/// How a reviewing model stands to the one that worked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sameness {
    /// They are two, or no model worked.
    Different,
    /// They are one.
    Same,
    /// They are of one vendor, and which of its models the agent asked is not known.
    Unknown,
}

/// How `reviewer` stands to the model of an agent of this name; `model` is what the human has the agent ask
/// for.
#[must_use]
pub fn sameness(reviewer: &ModelName, agent: &str, model: Option<&str>) -> Sameness {
    let vendor = match agent {
        "claude-code" => Some("anthropic"),
        "codex" => Some("openai"),
        _ => None,
    };
    // A gateway's names begin with the vendor's.
    let (whose, name) = match reviewer.model.split_once('/') {
        Some((whose, name)) if vendor == Some(whose) => (whose, name),
        _ => (reviewer.provider.as_str(), reviewer.model.as_str()),
    };
    // FTL's own agent is told a provider with the model.
    let model = match (agent, model) {
        ("builtin", Some(model)) => Some(model.split_once('/').map_or(model, |(_, model)| model)),
        _ => model,
    };
    match model {
        // One name is one model, wherever it is served.
        Some(model) if undated(model) == undated(name) => Sameness::Same,
        Some(_) => Sameness::Different,
        None if vendor == Some(whose) => Sameness::Unknown,
        None => Sameness::Different,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_vendor_is_only_told_apart_by_a_models_name() {
        let table = [
            ("openai/gpt-5", "claude-code", None, Sameness::Different),
            ("anthropic/claude-x", "claude-code", None, Sameness::Unknown),
            ("anthropic/claude-x", "claude-code", Some("claude-y"), Sameness::Different),
            ("anthropic/claude-x-20260101", "claude-code", Some("claude-x"), Sameness::Same),
            ("openrouter/anthropic/claude-x", "claude-code", Some("claude-x"), Sameness::Same),
            ("openrouter/anthropic/claude-x", "claude-code", None, Sameness::Unknown),
            ("openrouter/openai/gpt-5", "claude-code", None, Sameness::Different),
            ("ollama/qwen", "codex", Some("qwen"), Sameness::Same),
            ("openai/gpt-5", "codex", None, Sameness::Unknown),
            ("openai/gpt-5-2025-01-01", "builtin", Some("openai/gpt-5"), Sameness::Same),
            ("openai/gpt-5", "builtin", Some("ollama/qwen"), Sameness::Different),
            ("openai/gpt-5", "shell", None, Sameness::Different),
        ];
        for (reviewer, agent, model, expected) in table {
            let name = ModelName::parse(reviewer).unwrap();
            assert_eq!(sameness(&name, agent, model), expected, "{reviewer} {agent} {model:?}");
        }
    }
}
