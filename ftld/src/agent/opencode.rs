//! opencode, one process per turn.
//!
//! The task comes on standard input, for the reasons named in [`super::claude_code`]. The program's
//! configuration is a variable, so that nothing is written into the project or the home directory, and a
//! configuration in the project comes after it in nothing that matters here.
//!
//! A model is named `provider/model`; the provider is served where the configuration says, or at its vendor's.

use std::ffi::{OsStr, OsString};

use ftl_core::agent::{OpencodeStream, Spent, Stream, is_loopback};
use ftl_core::config::AgentSettings;
use serde_json::{Map, Value, json};

use super::{AgentAdapter, CommandSpec, EventStream, PLACEHOLDER, TurnSpec};

/// The adapter.
pub(super) struct Opencode;

const NAME: &str = "opencode";

/// One turn without questions.
const ARGUMENTS: [&str; 3] = ["run", "--format", "json"];

const ENV: [(&str, &str); 3] = [
    // What it would look for is not among the hosts that it may reach.
    ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
    ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
    ("OPENCODE_DISABLE_LSP_DOWNLOAD", "1"),
];

/// The provider of a model whose name has none.
const USUAL_PROVIDER: &str = "anthropic";

impl AgentAdapter for Opencode {
    fn name(&self) -> &'static str {
        NAME
    }

    fn program(&self) -> Option<&OsStr> {
        Some(OsStr::new("opencode"))
    }

    fn keys(&self) -> &'static [&'static str] {
        &["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY"]
    }

    fn hosts(&self) -> &'static [&'static str] {
        &["api.anthropic.com", "api.openai.com", "generativelanguage.googleapis.com", "openrouter.ai"]
    }

    fn turn(&self, turn: &TurnSpec<'_>) -> Option<CommandSpec> {
        let mut argv = vec![turn.program.map_or_else(|| NAME.into(), OsString::from)];
        argv.extend(ARGUMENTS.map(OsString::from));
        if let Some(conversation) = turn.conversation {
            argv.extend(["--session".into(), conversation.into()]);
        }
        Some(CommandSpec { argv, env: env(turn), stdin: turn.task.into(), ..CommandSpec::default() })
    }

    fn interactive(&self, turn: &TurnSpec<'_>) -> Option<CommandSpec> {
        let mut argv = vec![turn.program.map_or_else(|| NAME.into(), OsString::from)];
        match turn.conversation {
            Some(conversation) => argv.extend(["--session".into(), conversation.into()]),
            None if turn.turn > 1 => argv.push("--continue".into()),
            None => {}
        }
        Some(CommandSpec { argv, env: env(turn), ..CommandSpec::default() })
    }

    fn stream(&self, _before: Spent) -> Option<Box<dyn EventStream + Send>> {
        Some(Box::new(Stream::new(OpencodeStream::new())))
    }
}

fn env(turn: &TurnSpec<'_>) -> Vec<(OsString, OsString)> {
    let mut env = super::env(&ENV);
    env.push(("OPENCODE_CONFIG_CONTENT".into(), config(turn.settings).to_string().into()));
    env
}

/// The program's configuration.
fn config(settings: &AgentSettings) -> Value {
    // Permissions are not asked for because the sandbox is what limits the agent.
    let allowed =
        json!({ "edit": "allow", "bash": "allow", "webfetch": "allow", "external_directory": "allow" });
    let mut config = json!({ "autoupdate": false, "share": "disabled", "permission": allowed });
    let mut provider = USUAL_PROVIDER;
    if let Some(model) = &settings.model {
        let full = if model.contains('/') { model.clone() } else { format!("{USUAL_PROVIDER}/{model}") };
        config["model"] = full.into();
        provider = model.split_once('/').map_or(USUAL_PROVIDER, |(provider, _)| provider);
    }
    if let Some(url) = &settings.model_base_url {
        let mut options = Map::from_iter([("baseURL".to_owned(), url.as_str().into())]);
        if is_loopback(url) {
            options.insert("apiKey".to_owned(), PLACEHOLDER.into());
        }
        config["provider"] = json!({ provider: { "options": options } });
    }
    config
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_follow_up_names_its_session_and_the_task_is_no_argument() {
        let settings = AgentSettings::default();
        let program = Some(Path::new("/opt/opencode"));
        let first = TurnSpec { task: "--help", turn: 1, conversation: None, settings: &settings, program };
        let spec = Opencode.turn(&first).unwrap();
        assert_eq!(spec.argv, ["/opt/opencode", "run", "--format", "json"]);
        assert_eq!((spec.stdin.as_slice(), spec.home_files.len()), (&b"--help"[..], 0));
        let again = Opencode.turn(&TurnSpec { turn: 2, conversation: Some("ses_1"), ..first }).unwrap();
        assert_eq!(again.argv[4..], ["--session", "ses_1"]);
    }

    #[test]
    fn the_provider_of_the_model_is_served_where_the_human_says() {
        let with = |model: Option<&str>, url: Option<&str>| {
            let own = |text: &str| text.to_owned();
            config(&AgentSettings {
                model: model.map(own),
                model_base_url: url.map(own),
                ..AgentSettings::default()
            })
        };
        let plain = with(None, None);
        assert!(plain.get("model").is_none() && plain.get("provider").is_none(), "{plain}");
        let inside = with(Some("openai/m\"x"), Some("http://127.0.0.1:1/v1"));
        assert_eq!(inside["model"], "openai/m\"x");
        let options = json!({ "baseURL": "http://127.0.0.1:1/v1", "apiKey": PLACEHOLDER });
        assert_eq!(inside["provider"], json!({ "openai": { "options": options } }));
        let outside = with(Some("m"), Some("https://models.example.com/v1"));
        assert_eq!(outside["model"], "anthropic/m");
        let options = json!({ "baseURL": "https://models.example.com/v1" });
        assert_eq!(outside["provider"], json!({ "anthropic": { "options": options } }));
    }
}
