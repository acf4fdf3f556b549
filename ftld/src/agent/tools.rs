//! The human's tool-chains: what a sandbox is shown of the home directory so that builds and tests work
//! in it.
//!
//! Owns a table of directories that hold programs and no credentials. It names parts of directories where
//! the whole would be too much: `.cargo` holds a registry token, `.local/share/uv` logins, `.gem` a key.
//! Must not know which of them a project needs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::AgentError;
use super::find::{Search, expand};
use super::install::may_show;

/// What a sandbox gets for the human's tool-chains.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tools {
    /// Files and directories of the host to show read-only, each at its own path.
    pub binds: Vec<PathBuf>,
    /// Directories for the sandbox's PATH, before the system's.
    pub path: Vec<PathBuf>,
    /// Variables that lead programs to their parts, because the home directory is another one inside.
    pub env: Vec<(OsString, OsString)>,
    /// Symbolic links to make in a fresh home directory: path in it, and target.
    pub home_links: Vec<(PathBuf, PathBuf)>,
}

/// Where programs lie: shown, and on the PATH.
const PROGRAMS: [&str; 16] = [
    ".local/bin",
    ".cargo/bin",
    ".npm-global/bin",
    ".volta/bin",
    ".bun/bin",
    ".deno/bin",
    ".pyenv/shims",
    ".pyenv/bin",
    ".rbenv/shims",
    ".asdf/shims",
    ".asdf/bin",
    ".dotnet/tools",
    ".ghcup/bin",
    ".juliaup/bin",
    ".elan/bin",
    "go/bin",
];

/// What those programs need: shown. Directories in the human's PATH beneath them are on the PATH inside.
const PARTS: [&str; 30] = [
    ".local/lib",
    ".local/share/pipx",
    ".local/pipx/venvs",
    ".local/share/uv/python",
    ".local/share/uv/tools",
    ".local/share/mise/installs",
    ".cargo/registry/cache",
    ".cargo/registry/index",
    ".cargo/git/db",
    ".rustup/toolchains",
    ".rustup/settings.toml",
    ".npm-global/lib",
    ".nvm/versions",
    ".nvm/alias",
    ".nvm/nvm.sh",
    ".volta/tools",
    ".volta/layout.v4",
    ".bun/install/global",
    ".pyenv/versions",
    ".pyenv/version",
    ".pyenv/libexec",
    ".pyenv/plugins",
    ".rbenv/versions",
    ".rbenv/libexec",
    ".gem/ruby",
    ".asdf/installs",
    ".asdf/plugins",
    ".sdkman/candidates",
    ".ghcup/ghc",
    ".elan/toolchains",
];

/// Variables that name a directory of the home, each set when something in that directory is shown.
const HOMES: [(&str, &str); 5] = [
    ("PYENV_ROOT", ".pyenv"),
    ("RBENV_ROOT", ".rbenv"),
    ("NVM_DIR", ".nvm"),
    ("VOLTA_HOME", ".volta"),
    ("ELAN_HOME", ".elan"),
];

/// Cargo and rustup write into their home directories, so they get the sandbox's own; what the host has
/// downloaded and installed is linked into them. Cargo unpacks packages anew, because the host may have
/// cleaned up the unpacked ones.
const RUST_LINKS: [&str; 5] = [
    ".cargo/registry/cache",
    ".cargo/registry/index",
    ".cargo/git/db",
    ".rustup/toolchains",
    ".rustup/settings.toml",
];

/// The tool-chains of the human whose home and PATH `search` names, and the directories `more` of the
/// configuration.
///
/// # Errors
/// When a directory of the configuration is not there or must not be shown.
pub fn tools(search: &Search<'_>, more: &[PathBuf]) -> Result<Tools, AgentError> {
    let mut tools = Tools::default();
    if let Some(home) = search.home {
        home_tools(home, search, &mut tools);
    }
    for dir in more {
        let dir = expand(dir, search.home);
        let wrong = |why| AgentError::ToolDir { dir: dir.clone(), why };
        if !dir.is_dir() {
            return Err(wrong("it is not a directory"));
        }
        if !may_show(&dir, search) {
            return Err(wrong("it holds what no sandbox may see"));
        }
        // Programs may lie in it or in its `bin`.
        tools.path.extend(Some(dir.join("bin")).filter(|bin| bin.is_dir()));
        tools.path.push(dir.clone());
        tools.binds.push(dir);
    }
    // The human's own order counts for what the human's PATH names.
    let shown = |dir: &&PathBuf| dir.is_absolute() && tools.binds.iter().any(|bind| dir.starts_with(bind));
    let mut path: Vec<_> = search.path.iter().filter(shown).cloned().collect();
    path.append(&mut tools.path);
    for dir in path {
        if !tools.path.contains(&dir) {
            tools.path.push(dir);
        }
    }
    Ok(tools)
}

fn home_tools(home: &Path, search: &Search<'_>, tools: &mut Tools) {
    let there = |places: &[&str]| -> Vec<PathBuf> {
        places.iter().map(|place| home.join(place)).filter(|place| may_show(place, search)).collect()
    };
    tools.path = there(&PROGRAMS);
    tools.binds = [there(&PROGRAMS), there(&PARTS)].concat();
    for (variable, place) in HOMES {
        let dir = home.join(place);
        if tools.binds.iter().any(|bind| bind.starts_with(&dir)) {
            tools.env.push((variable.into(), dir.into()));
        }
    }
    for target in there(&RUST_LINKS) {
        tools
            .home_links
            .extend(target.strip_prefix(home).ok().map(|place| (place.to_owned(), target.clone())));
    }
    if !tools.home_links.is_empty() {
        // Sandboxes have no network: Cargo is to use what is there instead of asking for more.
        tools.env.push(("CARGO_NET_OFFLINE".into(), "true".into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(places: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap().join("home");
        for place in places {
            std::fs::create_dir_all(home.join(place)).unwrap();
        }
        (dir, home)
    }

    fn search<'a>(home: &'a Path, path: &'a [PathBuf]) -> Search<'a> {
        Search { configured: None, path, home: Some(home), avoid: &[] }
    }

    #[test]
    fn only_what_is_there_is_shown_and_no_credentials_with_it() {
        let (_dir, home) = home(&[
            ".cargo/bin",
            ".cargo/registry/cache",
            ".rustup/toolchains",
            ".ssh",
            ".local/share/uv/tools",
        ]);
        for secret in
            [".cargo/credentials.toml", ".cargo/config.toml", ".local/share/uv/credentials", ".netrc"]
        {
            std::fs::write(home.join(secret), "secret").unwrap();
        }
        let tools = tools(&search(&home, &[]), &[]).unwrap();
        let at = |place: &str| home.join(place);
        assert_eq!(
            tools.binds,
            [
                at(".cargo/bin"),
                at(".local/share/uv/tools"),
                at(".cargo/registry/cache"),
                at(".rustup/toolchains")
            ]
        );
        assert_eq!(tools.path, [at(".cargo/bin")]);
        let link = |place: &str| (PathBuf::from(place), at(place));
        assert_eq!(tools.home_links, [link(".cargo/registry/cache"), link(".rustup/toolchains")]);
        assert_eq!(tools.env, [("CARGO_NET_OFFLINE".into(), "true".into())]);
    }

    #[test]
    fn the_humans_path_gives_the_order_and_the_versions() {
        let (_dir, home) = home(&[".cargo/bin", ".local/bin", ".nvm/versions/node/v20/bin", "scripts"]);
        let node = home.join(".nvm/versions/node/v20/bin");
        let path =
            [home.join("scripts"), node.clone(), home.join(".cargo/bin"), "/usr/bin".into(), "x".into()];
        let tools = tools(&search(&home, &path), &[]).unwrap();
        assert_eq!(tools.path, [node, home.join(".cargo/bin"), home.join(".local/bin")]);
    }

    #[test]
    fn configured_directories_are_shown_unless_they_hold_too_much() {
        let (_dir, home) = home(&["tools/bin", "ftl/state"]);
        std::os::unix::fs::symlink("/", home.join("everything")).unwrap();
        let avoid = [home.join("ftl")];
        let search = Search { avoid: &avoid, ..search(&home, &[]) };
        let shown = tools(&search, &["~/tools".into()]).unwrap();
        assert_eq!(shown.binds, [home.join("tools")]);
        assert_eq!(shown.path, [home.join("tools/bin"), home.join("tools")]);
        for bad in
            ["~/", "~/..", "/", "/etc", "/proc/self", "~/ftl", "~/ftl/state", "~/everything", "~/missing"]
        {
            assert!(matches!(tools(&search, &[bad.into()]), Err(AgentError::ToolDir { .. })), "{bad}");
        }
    }

    #[test]
    fn without_a_home_there_is_nothing() {
        assert_eq!(
            tools(&Search { configured: None, path: &[], home: None, avoid: &[] }, &[]),
            Ok(Tools::default())
        );
    }
}
