//! How the human wants one agent to be run.
//!
//! Owns those settings, which only the human's own configuration has. Must not know which agents there are.

use super::json::{ConfigError, Object};
use super::user::is_placed;
use crate::builtin::limit::Allowance;

/// How to run one agent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AgentSettings {
    /// Its program, when it is not to be looked for; absolute or beginning with `~/`.
    pub path: Option<String>,
    /// Where its model's API is served, as the program itself wants it written.
    pub model_base_url: Option<String>,
    /// Which model to ask for.
    pub model: Option<String>,
    /// Whether a session gets copies of the human's own settings of the agent.
    pub own_settings: bool,
    /// What FTL's own agent may use for one instruction; other agents have limits of their own.
    pub budget: Allowance,
}

impl AgentSettings {
    /// `is_own` says whether it is FTL's own agent, whose model is where `models` says.
    pub(super) fn read(mut object: Object<'_>, is_own: bool) -> Result<Self, ConfigError> {
        let settings = Self {
            path: object.checked("path", "must begin with `/` or `~/`", |path: &String| is_placed(path))?,
            model_base_url: object.checked(
                "model_base_url",
                if is_own {
                    ELSEWHERE
                } else {
                    "must be an http or https URL without a user name or password"
                },
                |url: &String| !is_own && is_base_url(url),
            )?,
            model: object.checked("model", "must be a model's name", |model: &String| {
                !model.is_empty() && !model.starts_with('-') && !model.chars().any(char::is_control)
            })?,
            own_settings: object.get("own_settings")?.unwrap_or(false),
            budget: allowance(&mut object)?,
        };
        object.finish()?;
        Ok(settings)
    }
}

/// Where the address belongs.
const ELSEWHERE: &str = "is not FTL's own agent's: write `models.PROVIDER.base_url`";

/// What FTL's own agent may use.
fn allowance(object: &mut Object<'_>) -> Result<Allowance, ConfigError> {
    let mut within = |name, why, least: u64, most: u64| {
        object.checked(name, why, move |value: &u64| (least..=most).contains(value))
    };
    let usual = Allowance::default();
    let requests = within("max_requests", "must be between 1 and 1000", 1, 1000)?;
    let tokens = within("max_tokens", "must be between 1 and 1000000000", 1, 1_000_000_000)?;
    let cents = within("max_cost_cents", "must be between 1 and 1000000", 1, 1_000_000)?;
    let context = within("context_tokens", "must be between 2000 and 2000000", 2000, 2_000_000)?;
    Ok(Allowance {
        requests: requests.unwrap_or(usual.requests),
        tokens: tokens.unwrap_or(usual.tokens),
        micro_usd: cents.map_or(usual.micro_usd, |cents| cents * 10_000),
        context_tokens: context.unwrap_or(usual.context_tokens),
    })
}

/// A password in the URL would enter the sandbox with it.
fn is_base_url(url: &str) -> bool {
    let lower = url.to_ascii_lowercase();
    let rest = lower.strip_prefix("http://").or_else(|| lower.strip_prefix("https://")).unwrap_or("");
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    !authority.is_empty()
        && !authority.contains('@')
        && !url.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UserConfig;

    #[test]
    fn an_allowance_is_the_usual_one_unless_it_is_set() {
        let read = |text: &str| {
            UserConfig::parse(&format!(r#"{{"agents": {{"builtin": {text}}}}}"#))
                .map(|config| config.agents["builtin"].budget)
        };
        assert_eq!(read("{}").unwrap(), Allowance::default());
        let set =
            read(r#"{"max_requests": 3, "max_tokens": 9, "max_cost_cents": 2, "context_tokens": 2000}"#);
        let expected = Allowance { requests: 3, tokens: 9, micro_usd: 20_000, context_tokens: 2000 };
        assert_eq!(set.unwrap(), expected);
        for bad in [
            r#"{"max_requests": 0}"#,
            r#"{"max_requests": 1001}"#,
            r#"{"max_cost_cents": 0}"#,
            r#"{"context_tokens": 1999}"#,
            r#"{"model_base_url": "http://127.0.0.1:1/v1"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
