//! Which files and directories of the host may be shown in a sandbox.
//!
//! Owns that decision. Must not know how they are shown. A tool is a program's own directory; what
//! holds sockets, credentials, other people's files or the daemon's own state is never one, whatever
//! name it is asked for by.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

use ftl_guest::protocol::Tool;

/// A tool that must not be shown.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The rules forbid it.
    #[error("{} must not be shown: {why}", path.display())]
    Refused {
        /// As it was asked for.
        path: PathBuf,
        /// Which rule.
        why: &'static str,
    },
    /// It could not be examined.
    #[error("examining {}", path.display())]
    Unreadable {
        /// As it was asked for.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Trees of the host of which nothing is a tool: kernel interfaces, sockets, configuration, state.
const FORBIDDEN_TREES: &[&str] = &["/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/var/lib", "/var/run"];

/// Places that the sandbox makes itself.
const TAKEN: &[&str] = &["/dev", "/etc", "/proc", "/run", "/sys", "/workspace", "/var/run", "/var/tmp"];

/// Trees that every sandbox shows anyway.
const SHOWN_ANYWAY: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// Names that hold credentials or private state, as a component of a path or directly in a directory.
const PRIVATE: &[&str] = &[
    ".aws",
    ".azure",
    ".config",
    ".docker",
    ".gcloud",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".mozilla",
    ".netrc",
    ".npmrc",
    ".password-store",
    ".pgpass",
    ".pypirc",
    ".ssh",
    ".thunderbird",
    ".vault-token",
    "keyrings",
];

/// Names that hold credentials directly in a directory; further down they are somebody's source file.
const PRIVATE_FILES: &[&str] = &[".credentials.json", "auth.json", "credentials", "credentials.toml"];

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Other,
}

/// Examines the tools on the host and says where each is shown from.
pub(super) fn examine(tools: &[PathBuf], protected: &[PathBuf]) -> Result<Vec<Tool>, ToolError> {
    let mut found = Vec::new();
    for path in tools {
        let unreadable = |source| ToolError::Unreadable { path: path.clone(), source };
        let resolved = path.canonicalize().map_err(unreadable)?;
        let metadata = resolved.metadata().map_err(unreadable)?;
        let kind = match (metadata.is_file(), metadata.is_dir()) {
            (true, _) => Kind::File,
            (_, true) => Kind::Directory,
            _ => Kind::Other,
        };
        let mut names = BTreeSet::new();
        if kind == Kind::Directory {
            for entry in resolved.read_dir().map_err(unreadable)? {
                names.insert(entry.map_err(unreadable)?.file_name());
            }
        }
        let names: Vec<&OsStr> = names.iter().map(AsRef::as_ref).collect();
        if let Some(why) = refusal(path, &resolved, kind, &names, protected) {
            return Err(ToolError::Refused { path: path.clone(), why });
        }
        found.push((resolved, path.clone()));
    }
    Ok(arrange(found))
}

/// Why a tool must not be shown: `path` as asked for, `resolved` without links, and what is in it.
fn refusal(
    path: &Path,
    resolved: &Path,
    kind: Kind,
    names: &[&OsStr],
    protected: &[PathBuf],
) -> Option<&'static str> {
    let plain =
        |path: &Path| path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute() || !plain(path) {
        return Some("it is not an absolute path without `.` and `..`");
    }
    if kind == Kind::Other {
        return Some("it is neither a file nor a directory");
    }
    if TAKEN.iter().any(|place| path.starts_with(place)) || path == Path::new("/tmp") {
        return Some("the sandbox has something of its own there");
    }
    if resolved.components().count() <= 2 && kind == Kind::Directory {
        return Some("it is the root or stands directly in it, and holds more than a tool");
    }
    if FORBIDDEN_TREES.iter().any(|tree| resolved.starts_with(tree)) {
        return Some("it is part of the system's own state");
    }
    if protected.iter().any(|place| resolved.starts_with(place)) {
        return Some("it is part of the daemon's own state");
    }
    if protected.iter().any(|place| place.starts_with(resolved)) {
        return Some("the daemon's own state is in it");
    }
    let is_private = |name: &OsStr| PRIVATE.iter().any(|private| name == *private);
    if path.iter().chain(resolved.iter()).any(is_private) {
        return Some("it is where credentials are kept");
    }
    if names.iter().any(|name| is_private(name) || PRIVATE_FILES.iter().any(|private| name == private)) {
        return Some("credentials are in it");
    }
    None
}

/// Leaves out what is seen anyway, and puts directories before what stands in them.
fn arrange(mut found: Vec<(PathBuf, PathBuf)>) -> Vec<Tool> {
    found.sort_by(|(_, left), (_, right)| left.cmp(right));
    let mut kept: Vec<(PathBuf, PathBuf)> = Vec::new();
    for (source, target) in found {
        let shown_anyway =
            SHOWN_ANYWAY.iter().any(|tree| target.starts_with(tree) && source.starts_with(tree));
        let shown_by_another = kept.iter().any(|(other_source, other_target)| {
            matches!(target.strip_prefix(other_target), Ok(rest) if other_source.join(rest) == source)
        });
        if !shown_anyway && !shown_by_another {
            kept.push((source, target));
        }
    }
    kept.into_iter().map(|(source, target)| Tool { source: source.into(), target: target.into() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, resolved: &str, kind: Kind, names: &[&str]) -> Option<&'static str> {
        let names: Vec<&OsStr> = names.iter().map(OsStr::new).collect();
        let protected = [PathBuf::from("/home/u/.ftl"), PathBuf::from("/home/u")];
        let protected = if resolved.starts_with("/home/u/") { &protected[..1] } else { &protected[..] };
        refusal(Path::new(path), Path::new(resolved), kind, &names, protected)
    }

    #[test]
    fn programs_of_a_home_may_be_shown() {
        for tool in
            ["/home/u/.local/bin", "/home/u/.nvm/versions/node/v22", "/home/u/.cargo/bin", "/opt/tool"]
        {
            assert_eq!(check(tool, tool, Kind::Directory, &["node", "claude"]), None, "{tool}");
        }
        assert_eq!(
            check("/home/u/.local/bin/claude", "/home/u/.local/share/claude/2.1", Kind::File, &[]),
            None
        );
    }

    #[test]
    fn what_is_more_than_a_tool_is_refused() {
        for tool in [
            "/",
            "/home",
            "/opt",
            "/home/u",
            "/run/user/1000/bus",
            "/proc/self",
            "/sys",
            "/dev/shm/x",
            "/etc/ssl",
            "/home/u/.ssh",
            "/home/u/.ssh/id",
            "/home/u/.aws/bin",
            "/home/u/.config/tool",
            "/home/u/.ftl",
            "/home/u/.ftl/sessions/other",
            "/var/lib/docker",
            "/workspace/x",
        ] {
            assert!(check(tool, tool, Kind::Directory, &[]).is_some(), "{tool}");
        }
        assert!(check("relative/tool", "/opt/tool", Kind::File, &[]).is_some());
        assert!(check("/opt/../home/u", "/opt/tool", Kind::Directory, &[]).is_some());
        assert!(check("/opt/agent.sock", "/opt/agent.sock", Kind::Other, &[]).is_some());
    }

    #[test]
    fn a_link_is_judged_by_where_it_leads() {
        for target in ["/home/u/.ssh", "/run/docker", "/home/u/.ftl/run", "/"] {
            assert!(check("/home/u/bin/tool", target, Kind::Directory, &[]).is_some(), "{target}");
        }
    }

    #[test]
    fn a_directory_that_holds_credentials_is_refused() {
        for name in [".npmrc", ".ssh", "credentials.toml", ".credentials.json"] {
            assert!(
                check("/home/u/tool", "/home/u/tool", Kind::Directory, &["bin", name]).is_some(),
                "{name}"
            );
        }
    }

    #[test]
    fn sockets_and_links_are_examined_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(home.join("tool/bin")).unwrap();
        std::fs::create_dir_all(home.join("state")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(home.join("sock")).unwrap();
        std::os::unix::fs::symlink(home.join("state"), home.join("link")).unwrap();
        let protected = [home.join("state")];
        let examine = |name: &str| examine(&[home.join(name)], &protected);

        assert_eq!(examine("tool").unwrap().len(), 1);
        for refused in ["sock", "state", "link"] {
            assert!(matches!(examine(refused), Err(ToolError::Refused { .. })), "{refused}");
        }
        assert!(matches!(examine("missing"), Err(ToolError::Unreadable { .. })));
    }

    #[test]
    fn what_is_seen_anyway_is_left_out() {
        let pair = |text: &str| (PathBuf::from(text), PathBuf::from(text));
        let link = (PathBuf::from("/opt/real"), PathBuf::from("/opt/tool/link"));
        let kept = arrange(vec![
            pair("/opt/tool/bin"),
            pair("/usr/bin/git"),
            link,
            pair("/opt/tool"),
            pair("/opt/toolbox"),
        ]);
        let targets: Vec<_> = kept.iter().map(|tool| tool.target.as_path()).collect();
        let paths = ["/opt/tool", "/opt/tool/link", "/opt/toolbox"].map(Path::new);
        assert_eq!(targets, paths);
    }
}
