//! The environment that every program of a sandbox begins with.
//!
//! Owns the usual names and the order of `PATH`. Must not know what kind of sandbox it is.

use std::ffi::{OsStr, OsString};

use super::{HOME, SandboxSpec};

/// Where a stock system keeps its programs.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The environment of every program; later entries win.
pub(super) fn environment(spec: &SandboxSpec, has_bash: bool) -> Vec<(OsString, OsString)> {
    let mut path = OsString::new();
    for dir in &spec.path {
        path.push(dir);
        path.push(":");
    }
    path.push(format!("{HOME}/.local/bin:{SYSTEM_PATH}"));
    // Agents run their commands by it, and some take no plain shell.
    let shell = if has_bash { "/bin/bash" } else { "/bin/sh" };
    let pair = |name: &str, value: &OsStr| (OsString::from(name), value.to_owned());
    let mut env = vec![
        pair("HOME", OsStr::new(HOME)),
        pair("USER", OsStr::new("agent")),
        pair("LOGNAME", OsStr::new("agent")),
        pair("SHELL", OsStr::new(shell)),
        pair("LANG", OsStr::new("C.UTF-8")),
        pair("FTL_SESSION", OsStr::new(spec.session.as_str())),
        pair("PATH", &path),
    ];
    env.extend(spec.env.iter().cloned());
    env
}
