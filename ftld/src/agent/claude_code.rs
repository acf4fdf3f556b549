//! Claude Code, one process per turn.
//!
//! The task comes on standard input: an argument has a length limit, and one that begins with a dash
//! would be taken for an option. A follow-up continues the conversation that the first turn named; the
//! program keeps it in the session's home directory.

use std::ffi::{OsStr, OsString};

use ftl_core::agent::{ClaudeStream, Spent, Stream, is_loopback};

use super::{AgentAdapter, CommandSpec, EventStream, PLACEHOLDER, TurnSpec};

/// The adapter.
pub(super) struct ClaudeCode;

const NAME: &str = "claude-code";

/// One turn without questions. Permissions are not asked for because the sandbox is what limits the agent.
const ARGUMENTS: [&str; 6] = [
    "-p",
    "--output-format",
    "stream-json",
    "--verbose",
    "--include-partial-messages",
    "--dangerously-skip-permissions",
];

const ENV: [(&str, &str); 3] = [
    // Without it the program refuses to skip permissions as root.
    ("IS_SANDBOX", "1"),
    // It must not look for updates or send statistics: there is nowhere to send them to.
    ("DISABLE_AUTOUPDATER", "1"),
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
];

/// What the program would ask its human before the first prompt: the theme, whether this directory is to be
/// trusted, whether it may go on without permissions. The sandbox is what answers the last two.
const ANSWERED: &str = r#"{
  "hasCompletedOnboarding": true,
  "theme": "dark",
  "bypassPermissionsModeAccepted": true,
  "customApiKeyResponses": { "approved": ["ftl-end-of-the-key"], "rejected": [] },
  "projects": { "/workspace": { "hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true, "allowedTools": [] } }
}
"#;

/// Runs the program that the other arguments name. It knows a key that it may use by its end, which is known in the
/// sandbox only.
const SCRIPT: &str = "end=$(printf %s \"$ANTHROPIC_API_KEY\" | tail -c 20 | tr -dc 'A-Za-z0-9_.-') && \
    sed -i \"s/ftl-end-of-the-key/$end/\" \"$HOME/.claude.json\" 2>/dev/null; exec \"$@\"";

impl AgentAdapter for ClaudeCode {
    fn name(&self) -> &'static str {
        NAME
    }

    fn program(&self) -> Option<&OsStr> {
        Some(OsStr::new("claude"))
    }

    fn keys(&self) -> &'static [&'static str] {
        &["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"]
    }

    fn hosts(&self) -> &'static [&'static str] {
        &["api.anthropic.com"]
    }

    fn turn(&self, turn: &TurnSpec<'_>) -> Option<CommandSpec> {
        let mut argv = vec![turn.program.map_or_else(|| "claude".into(), OsString::from)];
        argv.extend(ARGUMENTS.map(OsString::from));
        if let Some(model) = &turn.settings.model {
            argv.extend(["--model".into(), model.into()]);
        }
        if let Some(conversation) = turn.conversation {
            argv.extend(["--resume".into(), conversation.into()]);
        }
        let home_files = match turn.turn {
            1 => vec![(".claude.json".into(), ANSWERED.into())],
            _ => Vec::new(),
        };
        Some(CommandSpec { argv, env: env(turn), stdin: turn.task.into(), home_files })
    }

    fn interactive(&self, turn: &TurnSpec<'_>) -> Option<CommandSpec> {
        let mut argv: Vec<OsString> = ["/bin/sh", "-c", SCRIPT, NAME].map(Into::into).to_vec();
        argv.push(turn.program.map_or_else(|| "claude".into(), OsString::from));
        argv.push("--dangerously-skip-permissions".into());
        if let Some(model) = &turn.settings.model {
            argv.extend(["--model".into(), model.into()]);
        }
        match turn.conversation {
            Some(conversation) => argv.extend(["--resume".into(), conversation.into()]),
            None if turn.turn > 1 => argv.push("--continue".into()),
            None => {}
        }
        Some(CommandSpec { argv, env: env(turn), ..CommandSpec::default() })
    }

    fn stream(&self, before: Spent) -> Option<Box<dyn EventStream + Send>> {
        Some(Box::new(Stream::new(ClaudeStream::new(before))))
    }
}

fn env(turn: &TurnSpec<'_>) -> Vec<(OsString, OsString)> {
    let mut env = super::env(&ENV);
    if let Some(url) = &turn.settings.model_base_url {
        env.extend(super::env(&[("ANTHROPIC_BASE_URL", url)]));
        if is_loopback(url) {
            env.extend(super::env(&[("ANTHROPIC_API_KEY", PLACEHOLDER)]));
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
    fn a_follow_up_resumes_and_the_task_is_no_argument() {
        let settings = AgentSettings {
            model_base_url: Some("http://127.0.0.1:8099".into()),
            model: Some("some-model".into()),
            ..AgentSettings::default()
        };
        let program = Some(Path::new("/opt/claude"));
        let first = TurnSpec { task: "--help", turn: 1, conversation: None, settings: &settings, program };
        let spec = ClaudeCode.turn(&first).unwrap();
        assert_eq!(
            spec.argv,
            [
                "/opt/claude",
                "-p",
                "--output-format",
                "stream-json",
                "--verbose",
                "--include-partial-messages",
                "--dangerously-skip-permissions",
                "--model",
                "some-model",
            ]
        );
        assert_eq!(spec.stdin, b"--help");
        assert!(spec.env.contains(&("ANTHROPIC_BASE_URL".into(), "http://127.0.0.1:8099".into())));
        assert!(spec.env.contains(&("ANTHROPIC_API_KEY".into(), PLACEHOLDER.into())));
        let again = TurnSpec { turn: 2, conversation: Some("fedc-1"), ..first };
        assert_eq!(ClaudeCode.turn(&again).unwrap().argv[9..], ["--resume", "fedc-1"]);
        let (path, text) = &spec.home_files[0];
        assert_eq!(path, Path::new(".claude.json"));
        serde_json::from_slice::<serde_json::Value>(text).unwrap();
        let terminal = ClaudeCode.interactive(&TurnSpec { conversation: None, ..again }).unwrap();
        let expected =
            ["/opt/claude", "--dangerously-skip-permissions", "--model", "some-model", "--continue"];
        assert_eq!(terminal.argv[4..], expected);
    }
}
