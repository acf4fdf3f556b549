//! Aider, one process per turn.
//!
//! The task comes on standard input, for the reasons named in [`super::claude_code`]. What it keeps is put into
//! the home directory, from where a follow-up takes the conversation. One cache cannot be put anywhere
//! but into the project; it goes when the program ends, unless the project had one before.
//!
//! It commits nothing: what becomes of the work is decided at the review.

use std::ffi::{OsStr, OsString};

use ftl_core::agent::{AiderStream, Spent, Stream, is_loopback};

use super::{AgentAdapter, CommandSpec, EventStream, PLACEHOLDER, TurnSpec};

/// The adapter.
pub(super) struct Aider;

const NAME: &str = "aider";

/// Runs the program that the other arguments name, with the task in a file: the pipe of standard input cannot
/// be opened by its name as another user than the one who made it. A project without Git gets no repository.
/// Then takes away the cache.
const SCRIPT: &str = "had=$(ls -d .aider.tags.cache.v* 2>/dev/null); keep=$HOME/.aider; mkdir -p \"$keep\" && \
    cat >\"$keep/task\" && git=$(test -e .git && echo --git || echo --no-git) && \"$@\" $git --message-file \"$keep/task\" --chat-history-file \"$keep/chat.md\" \
    --input-history-file \"$keep/input\" </dev/null; code=$?; \
    test -n \"$had\" || rm -rf .aider.tags.cache.v*; exit $code";

/// The same with the human at it.
const TERMINAL: &str = "had=$(ls -d .aider.tags.cache.v* 2>/dev/null); keep=$HOME/.aider; mkdir -p \"$keep\" && \
    git=$(test -e .git && echo --git || echo --no-git) && \"$@\" $git --chat-history-file \"$keep/chat.md\" \
    --input-history-file \"$keep/input\"; code=$?; \
    test -n \"$had\" || rm -rf .aider.tags.cache.v*; exit $code";

/// Arguments that make no sense where there is a human.
const ALONE: [&str; 3] = ["--yes-always", "--no-pretty", "--no-fancy-input"];

/// One turn without questions, news, statistics and commits.
const ARGUMENTS: [&str; 12] = [
    "--yes-always",
    "--no-pretty",
    "--no-check-update",
    "--no-show-release-notes",
    "--no-show-model-warnings",
    "--analytics-disable",
    "--no-gitignore",
    "--no-auto-commits",
    "--no-dirty-commits",
    "--no-detect-urls",
    "--no-suggest-shell-commands",
    "--no-fancy-input",
];

impl AgentAdapter for Aider {
    fn name(&self) -> &'static str {
        NAME
    }

    fn program(&self) -> Option<&OsStr> {
        Some(OsStr::new(NAME))
    }

    fn keys(&self) -> &'static [&'static str] {
        &["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY"]
    }

    fn hosts(&self) -> &'static [&'static str] {
        &["api.anthropic.com", "api.openai.com", "generativelanguage.googleapis.com", "openrouter.ai"]
    }

    fn turn(&self, turn: &TurnSpec<'_>) -> Option<CommandSpec> {
        let program = turn.program.map_or_else(|| NAME.into(), OsString::from);
        let mut argv: Vec<OsString> = ["/bin/sh", "-c", SCRIPT, NAME].map(Into::into).to_vec();
        argv.push(program);
        argv.extend(ARGUMENTS.map(OsString::from));
        if let Some(model) = &turn.settings.model {
            argv.extend(["--model".into(), model.into()]);
        }
        if turn.turn > 1 {
            argv.push("--restore-chat-history".into());
        }
        Some(CommandSpec { argv, env: env(turn), stdin: turn.task.into(), ..CommandSpec::default() })
    }

    fn interactive(&self, turn: &TurnSpec<'_>) -> Option<CommandSpec> {
        let mut argv: Vec<OsString> = ["/bin/sh", "-c", TERMINAL, NAME].map(Into::into).to_vec();
        argv.push(turn.program.map_or_else(|| NAME.into(), OsString::from));
        argv.extend(ARGUMENTS.into_iter().filter(|argument| !ALONE.contains(argument)).map(OsString::from));
        if let Some(model) = &turn.settings.model {
            argv.extend(["--model".into(), model.into()]);
        }
        if turn.turn > 1 {
            argv.push("--restore-chat-history".into());
        }
        Some(CommandSpec { argv, env: env(turn), ..CommandSpec::default() })
    }

    fn stream(&self, _before: Spent) -> Option<Box<dyn EventStream + Send>> {
        Some(Box::new(Stream::new(AiderStream::new())))
    }
}

fn env(turn: &TurnSpec<'_>) -> Vec<(OsString, OsString)> {
    let mut env = Vec::new();
    if let Some(url) = &turn.settings.model_base_url {
        // Which one counts is the model's provider's matter.
        env.extend(super::env(&[("OPENAI_API_BASE", url), ("ANTHROPIC_API_BASE", url)]));
        if is_loopback(url) {
            let keys = [("OPENAI_API_KEY", PLACEHOLDER), ("ANTHROPIC_API_KEY", PLACEHOLDER)];
            env.extend(super::env(&keys));
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
    fn a_follow_up_takes_up_the_conversation_and_the_task_is_no_argument() {
        let settings = AgentSettings {
            model_base_url: Some("http://127.0.0.1:1/v1".into()),
            model: Some("openai/m".into()),
            ..AgentSettings::default()
        };
        let program = Some(Path::new("/opt/aider"));
        let first = TurnSpec { task: "--yes", turn: 1, conversation: None, settings: &settings, program };
        let spec = Aider.turn(&first).unwrap();
        assert_eq!(spec.argv[3..5], ["aider", "/opt/aider"]);
        assert_eq!(spec.argv[spec.argv.len() - 2..], ["--model", "openai/m"]);
        assert_eq!(spec.stdin, b"--yes");
        assert!(spec.env.contains(&("OPENAI_API_BASE".into(), "http://127.0.0.1:1/v1".into())));
        let again = Aider.turn(&TurnSpec { turn: 2, ..first }).unwrap();
        assert_eq!(again.argv.last().unwrap(), "--restore-chat-history");
    }
}
