//! Gemini CLI, one process per turn.
//!
//! The task comes on standard input, for the reasons named in [`super::claude_code`]. How it logs in can only
//! be said in its settings, which the first turn writes.

use std::ffi::{OsStr, OsString};

use ftl_core::agent::{GeminiStream, Spent, Stream, is_loopback};

use super::{AgentAdapter, CommandSpec, EventStream, PLACEHOLDER, TurnSpec};

/// The adapter.
pub(super) struct Gemini;

const NAME: &str = "gemini";

/// One turn without questions. The sandbox is what limits the agent, so every tool may be used and every
/// directory is trusted.
const ARGUMENTS: [&str; 5] = ["--output-format", "stream-json", "--approval-mode", "yolo", "--skip-trust"];

/// Login by key, no statistics, no updates, and no sandbox inside of ours.
const SETTINGS: &str = r#"{
  "security": { "auth": { "selectedType": "gemini-api-key" } },
  "privacy": { "usageStatisticsEnabled": false },
  "general": { "disableAutoUpdate": true, "disableUpdateNag": true },
  "tools": { "sandbox": false }
}
"#;

impl AgentAdapter for Gemini {
    fn name(&self) -> &'static str {
        NAME
    }

    fn program(&self) -> Option<&OsStr> {
        Some(OsStr::new(NAME))
    }

    fn keys(&self) -> &'static [&'static str] {
        &["GEMINI_API_KEY"]
    }

    fn hosts(&self) -> &'static [&'static str] {
        &["generativelanguage.googleapis.com"]
    }

    fn turn(&self, turn: &TurnSpec<'_>) -> Option<CommandSpec> {
        let mut argv = vec![turn.program.map_or_else(|| NAME.into(), OsString::from)];
        argv.extend(ARGUMENTS.map(OsString::from));
        if let Some(model) = &turn.settings.model {
            argv.extend(["--model".into(), model.into()]);
        }
        if let Some(conversation) = turn.conversation {
            argv.extend(["--resume".into(), conversation.into()]);
        }
        let home_files = match turn.turn {
            1 => vec![(".gemini/settings.json".into(), SETTINGS.into())],
            _ => Vec::new(),
        };
        Some(CommandSpec { argv, env: env(turn), stdin: turn.task.into(), home_files })
    }

    fn interactive(&self, turn: &TurnSpec<'_>) -> Option<CommandSpec> {
        let mut argv = vec![turn.program.map_or_else(|| NAME.into(), OsString::from)];
        argv.extend(["--approval-mode", "yolo", "--skip-trust"].map(OsString::from));
        if let Some(model) = &turn.settings.model {
            argv.extend(["--model".into(), model.into()]);
        }
        match turn.conversation {
            Some(conversation) => argv.extend(["--resume".into(), conversation.into()]),
            None if turn.turn > 1 => argv.extend(["--resume".into(), "latest".into()]),
            None => {}
        }
        Some(CommandSpec { argv, env: env(turn), ..CommandSpec::default() })
    }

    fn stream(&self, _before: Spent) -> Option<Box<dyn EventStream + Send>> {
        Some(Box::new(Stream::new(GeminiStream::new())))
    }
}

fn env(turn: &TurnSpec<'_>) -> Vec<(OsString, OsString)> {
    let mut env = Vec::new();
    if let Some(url) = &turn.settings.model_base_url {
        env.extend(super::env(&[("GOOGLE_GEMINI_BASE_URL", url)]));
        if is_loopback(url) {
            env.extend(super::env(&[("GEMINI_API_KEY", PLACEHOLDER)]));
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ftl_core::config::AgentSettings;

    use super::*;

    #[test]
    fn a_follow_up_resumes_and_writes_no_file() {
        let settings = AgentSettings {
            model_base_url: Some("http://127.0.0.1:1".into()),
            model: Some("m".into()),
            ..AgentSettings::default()
        };
        let program = Some(Path::new("/opt/gemini"));
        let first = TurnSpec { task: "-p", turn: 1, conversation: None, settings: &settings, program };
        let spec = Gemini.turn(&first).unwrap();
        assert_eq!(spec.argv, [&["/opt/gemini"], &ARGUMENTS[..], &["--model", "m"]].concat());
        assert_eq!(spec.stdin, b"-p");
        assert!(spec.env.contains(&("GEMINI_API_KEY".into(), PLACEHOLDER.into())));
        let (path, text) = &spec.home_files[0];
        assert_eq!(path, Path::new(".gemini/settings.json"));
        serde_json::from_slice::<serde_json::Value>(text).unwrap();
        let again = Gemini.turn(&TurnSpec { turn: 2, conversation: Some("7453-a"), ..first }).unwrap();
        assert_eq!(
            (&again.argv[8..], again.home_files.len()),
            (&["--resume".into(), "7453-a".into()][..], 0)
        );
    }
}
