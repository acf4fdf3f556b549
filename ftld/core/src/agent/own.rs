//! The human's own settings of an agent, as far as a session may have a copy of them.
//!
//! Owns which files that are, by their names, and what is taken out of them. What is not named here stays outside:
//! credentials, histories, caches, and whatever a later version of the program keeps. Must not know where the files
//! lie or where the copies go.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::lint::{Added, Class, Known, lint};
use crate::tree::RelPath;

/// What of an agent's settings may be copied, by paths beneath the human's home.
#[derive(Debug)]
pub struct Places {
    /// Single files of words.
    pub files: &'static [&'static str],
    /// Directories, with the ending of the files in them and beneath them that count.
    pub trees: &'static [(&'static str, &'static str)],
    /// A JSON object of which only harmless members are taken, if there is one.
    pub json: Option<&'static str>,
}

/// A file that may be copied, without what may not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copied {
    /// What is left of it.
    pub content: Vec<u8>,
    /// Members that were taken out, by name.
    pub members: Vec<String>,
    /// Lines that were taken out because they hold a credential.
    pub lines: usize,
}

/// The longest file, bytes.
pub const LONGEST: u64 = 256 * 1024;
/// The most files of one agent.
pub const MOST: usize = 200;
/// How deep directories are looked into.
pub const DEEPEST: usize = 4;

/// Members that say how the agent behaves. Others hold variables with keys, or programs that fetch some.
const MEMBERS: [&str; 12] = [
    "alwaysThinkingEnabled",
    "attribution",
    "effortLevel",
    "hooks",
    "includeCoAuthoredBy",
    "language",
    "model",
    "outputStyle",
    "permissions",
    "spinnerTipsEnabled",
    "statusLine",
    "theme",
];
/// What stands for a line with a credential.
const WITHHELD: &str = "(a line that holds a credential was withheld)";

const CLAUDE: Places = Places {
    files: &[".claude/CLAUDE.md", ".claude/keybindings.json"],
    trees: &[
        (".claude/agents", ".md"),
        (".claude/commands", ".md"),
        (".claude/output-styles", ".md"),
        (".claude/rules", ".md"),
        (".claude/skills", ".md"),
    ],
    json: Some(".claude/settings.json"),
};
const CODEX: Places = Places {
    files: &[".codex/AGENTS.md"],
    trees: &[(".codex/prompts", ".md"), (".codex/skills", ".md")],
    json: None,
};
const GEMINI: Places =
    Places { files: &[".gemini/GEMINI.md"], trees: &[(".gemini/commands", ".toml")], json: None };
const OPENCODE: Places = Places {
    files: &[".config/opencode/AGENTS.md"],
    trees: &[
        (".config/opencode/agent", ".md"),
        (".config/opencode/agents", ".md"),
        (".config/opencode/command", ".md"),
        (".config/opencode/commands", ".md"),
    ],
    json: None,
};

/// What of this agent's settings may be copied; `None` when nothing of it is known.
#[must_use]
pub fn places(agent: &str) -> Option<&'static Places> {
    match agent {
        "claude-code" => Some(&CLAUDE),
        "codex" => Some(&CODEX),
        "gemini" => Some(&GEMINI),
        "opencode" => Some(&OPENCODE),
        _ => None,
    }
}

/// A file of words without the lines that hold a credential; `None` when nothing of it can be copied.
#[must_use]
pub fn words(path: &RelPath, content: &[u8]) -> Option<Copied> {
    let text = std::str::from_utf8(content).ok()?;
    let secret = secret_lines(path, text);
    // A private key has more lines than the one that names it.
    let has_private_key = text.contains("PRIVATE KEY") || text.contains("Private-Lines:");
    if has_private_key || secret.contains(&0) {
        return None;
    }
    let shown =
        |(line, at): (&'_ str, u64)| if secret.contains(&at) { WITHHELD } else { line }.to_owned() + "\n";
    let left: String = text.lines().zip(1..).map(shown).collect();
    // Keys are also found where lines are joined.
    let is_clean = secret_lines(path, &left).is_empty();
    is_clean.then(|| Copied { content: left.into_bytes(), members: Vec::new(), lines: secret.len() })
}

/// The harmless members of a JSON object; `None` when it is none, or what is left holds a credential.
#[must_use]
pub fn members(path: &RelPath, content: &[u8]) -> Option<Copied> {
    let Ok(Value::Object(all)) = serde_json::from_slice(content) else { return None };
    let (kept, others): (serde_json::Map<_, _>, Vec<_>) = {
        let (kept, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(name, _)| MEMBERS.contains(&name.as_str()));
        (kept.into_iter().collect(), others)
    };
    let text = format!("{:#}\n", Value::Object(kept));
    if !secret_lines(path, &text).is_empty() {
        return None;
    }
    let members = others.into_iter().map(|(name, _)| name).collect();
    Some(Copied { content: text.into_bytes(), members, lines: 0 })
}

/// Lines that hold a credential; 0 when it is not known which.
fn secret_lines(path: &RelPath, text: &str) -> BTreeSet<u64> {
    let found = lint(path, b"", text.as_bytes(), &Added::All, &Known::new::<&str, &str>(&[], &[]));
    let secrets = found.iter().filter(|one| matches!(one.class, Class::Secret | Class::VendorKey));
    secrets.map(|one| one.line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token as one vendor's look.
    const TOKEN: &str = "ghp_R8vK2mXq4TzL9wYb6NcHs3PdJf7GuA1eWo5i";

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn words_lose_only_the_lines_with_a_credential() {
        let whole = words(&path("CLAUDE.md"), b"Use tabs.\nNever push.").unwrap();
        assert_eq!((whole.content.as_slice(), whole.lines), (&b"Use tabs.\nNever push.\n"[..], 0));
        let text = format!("Use tabs.\ntoken: {TOKEN}\nNever push.\n");
        let copied = words(&path("CLAUDE.md"), text.as_bytes()).unwrap();
        let left = String::from_utf8(copied.content).unwrap();
        assert_eq!(left, format!("Use tabs.\n{WITHHELD}\nNever push.\n"));
        assert_eq!(copied.lines, 1);
        assert_eq!(words(&path("CLAUDE.md"), b"\xff\xfe\0"), None);
        let body = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2g\n";
        let pem = |name: &str| format!("Deploy with\n-----BEGIN {name}-----\n{body}-----END {name}-----\n");
        for name in ["OPENSSH PRIVATE KEY", "RSA PRIVATE KEY", "PRIVATE KEY"] {
            assert_eq!(words(&path("CLAUDE.md"), pem(name).as_bytes()), None, "{name}");
        }
        let putty = format!("PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\n{body}");
        assert_eq!(words(&path("CLAUDE.md"), putty.as_bytes()), None);
    }

    #[test]
    fn only_members_that_say_how_the_agent_behaves_are_taken() {
        let text = format!(
            r#"{{"model": "m", "env": {{"GH": "{TOKEN}"}}, "apiKeyHelper": "cat key", "hooks": {{"Stop": []}}, "later": 1}}"#
        );
        let copied = members(&path("settings.json"), text.as_bytes()).unwrap();
        let left: Value = serde_json::from_slice(&copied.content).unwrap();
        assert_eq!(left, serde_json::json!({"model": "m", "hooks": {"Stop": []}}));
        assert_eq!(copied.members, ["apiKeyHelper", "env", "later"]);
        let text = format!(
            r#"{{"hooks": {{"Stop": [{{"command": "curl -H 'Authorization: token {TOKEN}' x"}}]}}}}"#
        );
        assert_eq!(members(&path("settings.json"), text.as_bytes()), None, "a credential within one of them");
        assert_eq!(members(&path("settings.json"), b"[]"), None);
    }

    #[test]
    fn no_place_is_one_of_credentials() {
        for agent in ["claude-code", "codex", "gemini", "opencode"] {
            let places = places(agent).unwrap();
            let names =
                places.files.iter().chain(places.trees.iter().map(|(dir, _)| dir)).chain(&places.json);
            for name in names {
                for word in ["credential", "auth", "token", "oauth", "history", "config.toml", ".claude.json"]
                {
                    assert!(!name.contains(word), "{name}");
                }
            }
        }
        assert!(places("kiro").is_none());
    }
}
