//! `ftlctl auth`: a key for agents, in every project.

use crate::args;
use crate::command::secret;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::scope::{self, Scope};

/// Agents that need a key, and the variable that carries it.
const AGENTS: [(&str, &str); 3] =
    [("claude-code", "ANTHROPIC_API_KEY"), ("codex", "OPENAI_API_KEY"), ("gemini", "GEMINI_API_KEY")];

/// Keeps the value that is typed or piped in.
pub(crate) async fn run(context: &Context, args: args::Auth) -> Result<Outcome, Failure> {
    let name = variable(&args.name);
    secret::check(name, &args.misplaced, "ftlctl auth")?;
    scope::check(context, &args::RuleScopeArg { session: None, everywhere: true })?;
    secret::keep(context, name, &Scope::Global).await
}

/// The variable of an agent, or the name itself.
fn variable(name: &str) -> &str {
    AGENTS.iter().find(|(agent, _)| *agent == name).map_or(name, |(_, variable)| variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_stands_for_its_variable() {
        assert_eq!(variable("claude-code"), "ANTHROPIC_API_KEY");
        assert_eq!(variable("GH_TOKEN"), "GH_TOKEN");
    }
}
