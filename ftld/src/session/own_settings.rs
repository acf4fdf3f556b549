//! Copies of the human's own settings of an agent for a session's home, where the human wants that.
//!
//! Owns the reading of the human's files. Which of them count, and what is taken out of them, is
//! [`ftl_core::agent::own`]'s. Nothing is ever written there: what a session makes of its copies stays in it.

use std::fs;
use std::path::{Path, PathBuf};

use ftl_core::agent::own::{self, Copied, DEEPEST, LONGEST, MOST, Places};
use ftl_core::config::Settings;
use ftl_core::tree::RelPath;

/// What a session gets.
#[derive(Default)]
pub(super) struct Own {
    /// Files, by their paths in the home.
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
    /// What the human is told of it.
    pub(super) told: Vec<String>,
}

/// The copies for an agent: none where the human has not asked for them.
pub(super) fn of(home: Option<&Path>, settings: &Settings, agent: &str) -> Own {
    let mut own = Own::default();
    if !settings.agent_settings(agent).own_settings {
        return own;
    }
    let (Some(home), Some(places)) = (home, own::places(agent)) else {
        own.told.push(format!("`own_settings` of {agent}: nothing of its settings can be copied"));
        return own;
    };
    for name in names(home, places).into_iter().take(MOST) {
        own.take(home, &name, places.json == Some(name.as_str()));
    }
    let count = own.files.len();
    own.told.insert(
        0,
        format!("your settings of {agent}: copies of {count} files are in the sandbox, without credentials"),
    );
    own
}

/// Names beneath the home of the files that count, in order.
fn names(home: &Path, places: &Places) -> Vec<String> {
    let mut names: Vec<String> =
        places.files.iter().chain(&places.json).map(|name| (*name).to_owned()).collect();
    for (dir, ending) in places.trees {
        beneath(home, dir, ending, DEEPEST, &mut names);
    }
    names.retain(|name| home.join(name).is_file());
    names.sort();
    names
}

fn beneath(home: &Path, dir: &str, ending: &str, depth: usize, names: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(home.join(dir)) else { return };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let name = format!("{dir}/{name}");
        // A link to a file is the human's way to keep it elsewhere; one to a directory could lead anywhere.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 1 => beneath(home, &name, ending, depth - 1, names),
            Ok(kind) if !kind.is_dir() && name.ends_with(ending) && names.len() <= MOST => names.push(name),
            _ => {}
        }
    }
}

impl Own {
    fn take(&mut self, home: &Path, name: &str, is_json: bool) {
        let path = home.join(name);
        let Ok(content) = read(&path) else {
            return self.told.push(format!("~/{name} is not copied: it cannot be read, or is too long"));
        };
        let Ok(relative) = RelPath::new(name.as_bytes().to_vec()) else { return };
        let copied =
            if is_json { own::members(&relative, &content) } else { own::words(&relative, &content) };
        let Some(Copied { content, members, lines }) = copied else {
            return self
                .told
                .push(format!("~/{name} is not copied: it holds a credential, or is not what it should be"));
        };
        if !members.is_empty() {
            let shown: Vec<String> =
                members.iter().take(8).map(|name| name.chars().take(40).collect()).collect();
            self.told.push(format!("~/{name} is copied without: {}", shown.join(", ")));
        }
        if lines > 0 {
            self.told.push(format!("~/{name} is copied without {lines} lines that hold a credential"));
        }
        self.files.push((PathBuf::from(name), content));
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > LONGEST {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    fs::read(path)
}

#[cfg(test)]
mod tests {
    use ftl_core::config::{UserConfig, effective};

    use super::*;

    const TOKEN: &str = "ghp_R8vK2mXq4TzL9wYb6NcHs3PdJf7GuA1eWo5i";

    fn settings(text: &str) -> Settings {
        effective(&UserConfig::parse(text).unwrap(), None)
    }

    #[test]
    fn what_is_not_named_stays_outside_and_what_looks_like_a_credential_as_well() {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in [
            (".claude/CLAUDE.md", format!("Use tabs.\nmy token is {TOKEN}\n")),
            (".claude/settings.json", format!(r#"{{"model": "m", "env": {{"T": "{TOKEN}"}}}}"#)),
            (".claude/.credentials.json", format!(r#"{{"accessToken": "{TOKEN}"}}"#)),
            (".claude/history.jsonl", TOKEN.to_owned()),
            (".claude/settings.local.json", format!(r#"{{"env": {{"T": "{TOKEN}"}}}}"#)),
            (".claude/commands/deep/fix.md", "Fix it.\n".to_owned()),
            (".claude/commands/run.sh", TOKEN.to_owned()),
            (".claude/agents/auth.json", TOKEN.to_owned()),
            (".claude.json", format!(r#"{{"oauthAccount": "{TOKEN}"}}"#)),
            (".codex/auth.json", TOKEN.to_owned()),
        ] {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        std::os::unix::fs::symlink("/etc", home.path().join(".claude/skills")).unwrap();
        let wanted = settings(r#"{"agents": {"claude-code": {"own_settings": true}}}"#);
        let own = of(Some(home.path()), &wanted, "claude-code");
        let names: Vec<_> = own.files.iter().map(|(path, _)| path.to_str().unwrap()).collect();
        assert_eq!(names, [".claude/CLAUDE.md", ".claude/commands/deep/fix.md", ".claude/settings.json"]);
        for (path, content) in &own.files {
            assert!(!String::from_utf8_lossy(content).contains(TOKEN), "{}", path.display());
        }
        let told = own.told.join("\n");
        assert!(
            told.contains("3 files") && told.contains("without: env") && told.contains("1 lines"),
            "{told}"
        );
        assert!(!told.contains(TOKEN));

        for other in [settings("{}"), settings(r#"{"agents": {"codex": {"own_settings": true}}}"#)] {
            let none = of(Some(home.path()), &other, "claude-code");
            assert!(none.files.is_empty() && none.told.is_empty());
        }
    }
}
