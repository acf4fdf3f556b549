//! What the process was started with: variables and the working directory, read once.
//!
//! Owns the names of the variables that `ftlctl` listens to and where the daemon's socket therefore is.
//! Must not know what anything is used for, and nothing else may read a variable.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The variables and paths that matter.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    /// Working directory, absolute.
    pub(crate) cwd: PathBuf,
    /// `FTL_HOME` as set, made absolute.
    pub(crate) ftl_home: Option<PathBuf>,
    /// `FTL_SOCKET` as set, made absolute.
    pub(crate) ftl_socket: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`; a relative one counts as unset, as its specification demands.
    pub(crate) runtime_dir: Option<PathBuf>,
    /// `HOME`.
    pub(crate) home: Option<PathBuf>,
    /// `NO_COLOR` is set and not empty.
    pub(crate) no_color: bool,
    /// `FTL_NO_AUTOSTART` is set and neither empty nor `0`.
    pub(crate) no_autostart: bool,
    /// `TERM`.
    pub(crate) term: String,
    /// What tells how a notification reaches the human.
    pub(crate) desk: Desk,
    /// The human's editor, a command line for the shell: `VISUAL`, else `EDITOR`, else `vi`.
    pub(crate) editor: OsString,
    /// The absolute directories of `PATH`.
    pub(crate) search_path: Vec<PathBuf>,
    /// Where temporary directories go.
    pub(crate) temp: PathBuf,
}

/// Where the human sits, as far as variables tell it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Desk {
    /// `TERM_PROGRAM`.
    pub(crate) program: String,
    /// `KITTY_WINDOW_ID` is set.
    pub(crate) kitty: bool,
    /// `VTE_VERSION` is set.
    pub(crate) vte: bool,
    /// `TMUX` is set.
    pub(crate) tmux: bool,
    /// `SSH_CONNECTION` is set: the desktop is another machine's.
    pub(crate) remote: bool,
    /// `DBUS_SESSION_BUS_ADDRESS`, `WAYLAND_DISPLAY` or `DISPLAY` is set.
    pub(crate) desktop: bool,
}

/// Where the daemon keeps its state and listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// The state directory.
    pub(crate) home: PathBuf,
    /// The socket.
    pub(crate) socket: PathBuf,
}

// === impl Environment ===

impl Environment {
    /// Asks `variable` for every name and resolves relative paths against `cwd`.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<OsString>, cwd: PathBuf) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let path = |name: &str| set(name).map(|value| cwd.join(value));
        let search_path = set("PATH")
            .map(|value| std::env::split_paths(&value).filter(|dir| dir.is_absolute()).collect())
            .unwrap_or_default();
        Self {
            ftl_home: path("FTL_HOME"),
            ftl_socket: path("FTL_SOCKET"),
            runtime_dir: set("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute()),
            home: path("HOME"),
            no_color: set("NO_COLOR").is_some(),
            no_autostart: set("FTL_NO_AUTOSTART").is_some_and(|value| value != "0"),
            term: set("TERM").map_or_else(String::new, |value| value.to_string_lossy().into_owned()),
            desk: Desk {
                program: set("TERM_PROGRAM")
                    .map_or_else(String::new, |value| value.to_string_lossy().into_owned()),
                kitty: set("KITTY_WINDOW_ID").is_some(),
                vte: set("VTE_VERSION").is_some(),
                tmux: set("TMUX").is_some(),
                remote: set("SSH_CONNECTION").is_some(),
                desktop: ["DBUS_SESSION_BUS_ADDRESS", "WAYLAND_DISPLAY", "DISPLAY"]
                    .iter()
                    .any(|name| set(name).is_some()),
            },
            editor: set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".into()),
            search_path,
            temp: path("TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp")),
            cwd,
        }
    }

    /// Where the daemon is, or `None` when neither `FTL_HOME` nor `HOME` says where state lives.
    pub(crate) fn places(&self) -> Option<Places> {
        let home = match &self.ftl_home {
            Some(home) => home.clone(),
            None => self.home.as_ref()?.join(".ftl"),
        };
        let socket = match (&self.ftl_socket, &self.runtime_dir, &self.ftl_home) {
            (Some(socket), _, _) => socket.clone(),
            (None, Some(runtime), None) => runtime.join("ftl/ftld.sock"),
            (None, _, _) => home.join("run/ftld.sock"),
        };
        Some(Places { home, socket })
    }
}

impl Places {
    /// The directory that holds the socket and the start lock.
    pub(crate) fn runtime_dir(&self) -> &Path {
        self.socket.parent().unwrap_or(Path::new("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let variable = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        Environment::read(variable, PathBuf::from("/here"))
    }

    #[test]
    fn the_socket_is_where_the_variables_say() {
        let table: [(&[(&str, &str)], &str); 7] = [
            (&[("HOME", "/h")], "/h/.ftl/run/ftld.sock"),
            (&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/1")], "/run/user/1/ftl/ftld.sock"),
            (&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "run")], "/h/.ftl/run/ftld.sock"),
            (&[("XDG_RUNTIME_DIR", "/run/user/1"), ("FTL_HOME", "/f")], "/f/run/ftld.sock"),
            (&[("FTL_HOME", "state")], "/here/state/run/ftld.sock"),
            (&[("HOME", "/h"), ("FTL_HOME", "")], "/h/.ftl/run/ftld.sock"),
            (&[("FTL_HOME", "/f"), ("FTL_SOCKET", "/s/x.sock")], "/s/x.sock"),
        ];
        for (variables, socket) in table {
            assert_eq!(environment(variables).places().unwrap().socket, Path::new(socket), "{variables:?}");
        }
        assert_eq!(environment(&[]).places(), None);
    }

    #[test]
    fn flags_are_off_when_empty() {
        let environment =
            environment(&[("NO_COLOR", ""), ("FTL_NO_AUTOSTART", "0"), ("PATH", "/bin:rel:/b")]);
        assert!(!environment.no_color && !environment.no_autostart);
        assert_eq!(environment.search_path, [Path::new("/bin"), Path::new("/b")]);
    }
}
