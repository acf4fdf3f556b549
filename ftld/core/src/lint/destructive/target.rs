//! What a deletion is aimed at.
//!
//! Owns which names are made anew by every build, which are temporary, and which are a home, a system or a
//! disk. Must not know the commands.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::{Context, Gravity};

/// What builds, tests and package managers make, and what is temporary. Compared with the words of a name.
static MADE: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let lines = include_str!("made.txt").lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace).collect()
});
/// Directories whose loss takes the machine or somebody's work with it.
const SYSTEM: [&str; 28] = [
    "/",
    "/*",
    "/.",
    "/etc",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/var",
    "/boot",
    "/home",
    "/root",
    "/opt",
    "/srv",
    "/sys",
    "/proc",
    "/dev",
    "/Users",
    "/System",
    "/Library",
    "/Applications",
    "/data",
    "/mnt",
    "/var/lib",
    "/var/log",
    "/usr/local",
    "/var/lib/docker",
];
/// Where everything is temporary, or made by a package manager.
const FREE: [&str; 13] = [
    "/tmp/",
    "/var/tmp/",
    "/dev/shm/",
    "/var/lib/apt/lists",
    "/var/cache/",
    "/root/.cache",
    "/root/.npm",
    "/root/.cargo/registry",
    "/usr/share/doc",
    "/usr/share/man",
    "/usr/share/locale",
    "/private/tmp/",
    "/run/",
];

/// How bad it is to delete what a word of a shell names, with all in it.
pub(super) fn of_word(context: &Context, word: &str) -> Gravity {
    let word = word.trim_end_matches([';', ')']);
    let cut = word.trim_end_matches('*').trim_end_matches("/.").trim_end_matches('/');
    if is_system(word) || (!context.image && is_of_system(word)) {
        return Gravity::Grave;
    }
    if FREE.iter().any(|free| word.starts_with(free) && word.len() > free.len().min(5))
        || context.image && word.starts_with('/')
    {
        return Gravity::Harmless;
    }
    if word.starts_with('/') && !words(word).any(|part| MADE.contains(part.as_str())) {
        return Gravity::Usual;
    }
    let variables = variables(word);
    if variables.iter().any(|name| context.temporary.contains(&name.to_ascii_lowercase())) {
        return Gravity::Harmless;
    }
    // A variable that is empty leaves the root: `rm -rf "$DIR"/*`.
    let to_root =
        word.starts_with('$') && word.ends_with("/*") && variables.len() == 1 && !word.contains(":?");
    if to_root && !is_made(cut) {
        return Gravity::Grave;
    }
    if is_made(cut) { Gravity::Harmless } else { Gravity::Usual }
}

/// Whether a name or an expression speaks of what is made anew.
pub(super) fn is_made(text: &str) -> bool {
    words(text).any(|part| MADE.contains(part.as_str()))
        || [
            "_cache",
            "tmp",
            "temp",
            "-cache",
            ".egg-info",
            ".pyc",
            ".o",
            ".d.ts",
            ".js.map",
            ".log",
            "bazel-",
            "scratch",
        ]
        .iter()
        .any(|part| text.to_ascii_lowercase().contains(part))
}

/// Whether a word names a home, a system or a disk.
pub(super) fn is_system(word: &str) -> bool {
    let word = word.trim_matches(['"', '\'']);
    let plain = word.trim_end_matches('*').trim_end_matches('/');
    let home = [
        "~",
        "$HOME",
        "${HOME}",
        "$USERPROFILE",
        "%USERPROFILE%",
        "$env:USERPROFILE",
        "${HOME:?}",
        "~root",
        "$env:SystemRoot",
        "%SystemRoot%",
        "$env:SystemDrive",
        "%SystemDrive%",
    ];
    let drive = plain.len() <= 3
        && plain.len() >= 2
        && plain.as_bytes()[1] == b':'
        && plain.as_bytes()[0].is_ascii_alphabetic();
    let windows = ["c:\\windows", "c:\\users", "c:\\program files"]
        .iter()
        .any(|dir| word.to_ascii_lowercase().starts_with(dir));
    let disk = [
        "/dev/sd",
        "/dev/nvme",
        "/dev/hd",
        "/dev/vd",
        "/dev/disk",
        "/dev/xvd",
        "/dev/mapper",
        "/dev/mmcblk",
        "/dev/loop",
        "/dev/rdisk",
        "\\\\.\\physicaldrive",
    ]
    .iter()
    .any(|disk| word.to_ascii_lowercase().starts_with(disk));
    let system =
        word.starts_with('/') && (SYSTEM.contains(&word) || SYSTEM.contains(&plain) || plain.is_empty());
    home.iter().any(|home| plain.eq_ignore_ascii_case(home)) || drive || windows || disk || system
}

/// Whether a word names something in a system's own directories, or in somebody's home.
fn is_of_system(word: &str) -> bool {
    let beneath = [
        "/etc/",
        "/boot/",
        "/usr/lib/",
        "/usr/bin/",
        "/bin/",
        "/sbin/",
        "/lib/",
        "/System/",
        "/home/",
        "/Users/",
        "/root/",
        "/var/lib/postgresql",
        "/var/lib/mysql",
    ];
    beneath.iter().any(|dir| word.starts_with(dir)) && !is_made(word)
}

/// The words of a path or a name.
fn words(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|part| !part.is_empty());
    parts.flat_map(|part| {
        let mut all = vec![part.to_ascii_lowercase()];
        all.extend(part.split('_').map(str::to_ascii_lowercase));
        all.extend(camel(part));
        all
    })
}

/// `buildDir` as `build` and `dir`.
fn camel(part: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for c in part.chars() {
        if c.is_ascii_uppercase()
            && all.last().is_some_and(|word| word.chars().last().is_some_and(|c| c.is_ascii_lowercase()))
        {
            all.push(String::new());
        }
        if let Some(word) = all.last_mut() {
            word.push(c.to_ascii_lowercase());
        }
    }
    all
}

/// Names of the variables in a word.
fn variables(word: &str) -> Vec<String> {
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let after = word.split('$').skip(1).map(|rest| rest.trim_start_matches(['{', '(', '$']));
    after
        .map(|rest| rest.chars().take_while(|c| name(*c)).collect())
        .filter(|name: &String| !name.is_empty())
        .collect()
}
