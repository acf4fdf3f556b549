//! Codex, one process per turn.
//!
//! The task comes on standard input (the argument `-`), for the reasons named in [`super::claude_code`].
//! Where the model is served cannot be said by an environment variable, so the first turn writes the
//! program's configuration file. With a provider of its own the program also makes no connection to
//! anywhere else and does not try a WebSocket first.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;

use ftl_core::agent::{CodexStream, Spent, Stream, is_loopback};
use ftl_core::config::AgentSettings;

use super::{AgentAdapter, CommandSpec, EventStream, PLACEHOLDER, TurnSpec};

/// The adapter.
pub(super) struct Codex;

const NAME: &str = "codex";

/// One turn without questions. The program's own sandbox is off because ours is what limits the agent.
const ARGUMENTS: [&str; 3] =
    ["--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"];

/// Where the vendor serves its models.
const VENDOR: &str = "https://api.openai.com/v1";
/// The variable in which the session's shadow of the vendor's key is.
const VENDOR_KEY: &str = "OPENAI_API_KEY";
/// The variable with the placeholder for a model that is served inside the sandbox.
const KEY_VARIABLE: &str = "FTL_MODEL_KEY";

impl AgentAdapter for Codex {
    fn name(&self) -> &'static str {
        NAME
    }

    fn program(&self) -> Option<&OsStr> {
        Some(OsStr::new("codex"))
    }

    fn keys(&self) -> &'static [&'static str] {
        &["OPENAI_API_KEY"]
    }

    fn hosts(&self) -> &'static [&'static str] {
        &["api.openai.com"]
    }

    fn turn(&self, turn: &TurnSpec<'_>) -> Option<CommandSpec> {
        let mut argv = vec![turn.program.map_or_else(|| "codex".into(), OsString::from), "exec".into()];
        argv.extend(turn.conversation.map(|_| "resume".into()));
        argv.extend(ARGUMENTS.map(OsString::from));
        argv.extend(turn.conversation.map(OsString::from));
        argv.push("-".into());
        let home_files = match turn.turn {
            1 => vec![(".codex/config.toml".into(), config(turn.settings).into_bytes())],
            _ => Vec::new(),
        };
        Some(CommandSpec { argv, env: env(turn), stdin: turn.task.into(), home_files })
    }

    fn interactive(&self, turn: &TurnSpec<'_>) -> Option<CommandSpec> {
        let mut argv = vec![turn.program.map_or_else(|| "codex".into(), OsString::from)];
        match turn.conversation {
            Some(conversation) => argv.extend(["resume".into(), conversation.into()]),
            None if turn.turn > 1 => argv.extend(["resume".into(), "--last".into()]),
            None => {}
        }
        argv.push("--dangerously-bypass-approvals-and-sandbox".into());
        Some(CommandSpec { argv, env: env(turn), ..CommandSpec::default() })
    }

    fn stream(&self, before: Spent) -> Option<Box<dyn EventStream + Send>> {
        Some(Box::new(Stream::new(CodexStream::new(before))))
    }
}

fn env(turn: &TurnSpec<'_>) -> Vec<(OsString, OsString)> {
    let is_inside = turn.settings.model_base_url.as_deref().is_some_and(is_loopback);
    if is_inside { super::env(&[(KEY_VARIABLE, PLACEHOLDER)]) } else { Vec::new() }
}

/// The program's configuration file.
fn config(settings: &AgentSettings) -> String {
    let mut top = String::from("check_for_update_on_startup = false\n");
    if let Some(model) = &settings.model {
        top += &format!("model = {}\n", toml_string(model));
    }
    let url = settings.model_base_url.as_deref().unwrap_or(VENDOR);
    let key = if is_loopback(url) { KEY_VARIABLE } else { VENDOR_KEY };
    top += "model_provider = \"ftl\"\n";
    let provider = format!(
        "\n[model_providers.ftl]\nname = \"ftl\"\nbase_url = {}\nenv_key = \"{key}\"\nwire_api = \"responses\"\n",
        toml_string(url)
    );
    // Plugins and apps are fetched from the network at every start.
    format!(
        "{top}{provider}\n[projects.\"/workspace\"]\ntrust_level = \"trusted\"\n\n[features]\nplugins = false\napps = false\n\n[analytics]\nenabled = false\n"
    )
}

/// A TOML string that means exactly this text.
fn toml_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // Writing to a string cannot fail.
            c if c.is_control() => write!(quoted, "\\u{:04X}", u32::from(c)).unwrap_or_default(),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_follow_up_resumes_and_writes_no_file() {
        let settings = AgentSettings {
            model_base_url: Some("http://127.0.0.1:1/v1".into()),
            ..AgentSettings::default()
        };
        let program = Some(Path::new("/opt/codex"));
        let first = TurnSpec { task: "--help", turn: 1, conversation: None, settings: &settings, program };
        let spec = Codex.turn(&first).unwrap();
        let flags = ["--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"];
        assert_eq!(spec.argv, [&["/opt/codex", "exec"][..], &flags, &["-"]].concat());
        assert_eq!(spec.stdin, b"--help");
        assert_eq!(spec.home_files[0].0, Path::new(".codex/config.toml"));
        let again = Codex.turn(&TurnSpec { turn: 2, conversation: Some("01a1-x"), ..first }).unwrap();
        assert_eq!(again.argv, [&["/opt/codex", "exec", "resume"][..], &flags, &["01a1-x", "-"]].concat());
        assert_eq!(again.home_files, []);
    }

    #[test]
    fn the_configuration_holds_what_was_set_and_nothing_else() {
        let plain = config(&AgentSettings::default());
        assert!(plain.contains("base_url = \"https://api.openai.com/v1\"\n"), "{plain}");
        assert!(
            plain.contains("env_key = \"OPENAI_API_KEY\"\n") && plain.contains("plugins = false"),
            "{plain}"
        );
        let settings = AgentSettings {
            model_base_url: Some("http://127.0.0.1/\"\n[x]".into()),
            model: Some("a\\b".into()),
            ..AgentSettings::default()
        };
        let text = config(&settings);
        assert!(text.contains("base_url = \"http://127.0.0.1/\\\"\\u000A[x]\"\n"), "{text}");
        assert!(text.contains("model = \"a\\\\b\"\n"), "{text}");
        assert!(
            text.find("model_provider").unwrap() < text.find("\n[").unwrap(),
            "a top-level key stands above all tables"
        );
    }
}
