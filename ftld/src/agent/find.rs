//! Finds an agent's program on the host.
//!
//! Owns the places where people install programs. Must not know which agents exist. What a sandbox must
//! be shown of the program is [`super::install`]'s to say.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::AgentError;
use super::install::{self, Found};

/// Where to look.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// The human's word: only this path is used. May begin with `~/`.
    pub configured: Option<&'a Path>,
    /// The human's PATH.
    pub path: &'a [PathBuf],
    /// The human's home directory.
    pub home: Option<&'a Path>,
    /// Directories from which no program is taken and that no sandbox is shown: the project, whose links
    /// may lead anywhere, and the daemon's state.
    pub avoid: &'a [PathBuf],
}

/// Where programs lie in a home directory.
const HOME_PLACES: [&str; 13] = [
    ".local/bin",
    "bin",
    ".npm-global/bin",
    ".npm-packages/bin",
    ".volta/bin",
    ".bun/bin",
    ".deno/bin",
    ".cargo/bin",
    ".pyenv/shims",
    ".asdf/shims",
    ".local/share/mise/shims",
    "go/bin",
    "node_modules/.bin",
];

/// Directories in a home directory that hold one directory per version or package, and where programs lie
/// in each of those.
const HOME_COLLECTIONS: [(&str, &str); 4] = [
    (".nvm/versions/node", "bin"),
    (".local/share/uv/tools", "bin"),
    (".local/share/pipx/venvs", "bin"),
    (".local/pipx/venvs", "bin"),
];

/// Where the system keeps programs.
const SYSTEM_PLACES: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// Finds a program by its name, or by an absolute path, and what it needs.
///
/// # Errors
/// [`AgentError::NotFound`] when it is nowhere, [`AgentError::Unusable`] when its files cannot be shown to
/// a sandbox.
pub fn find_program(name: &str, search: &Search<'_>) -> Result<Found, AgentError> {
    let candidates = candidates(name, search);
    match candidates.iter().find(|candidate| is_program(candidate, search)) {
        Some(program) => install::found(program, search),
        None => Err(AgentError::NotFound {
            name: name.to_owned(),
            looked: candidates.iter().map(|file| dir_of(file).to_owned()).collect(),
        }),
    }
}

/// The paths that could be the program, the best first.
fn candidates(name: &str, search: &Search<'_>) -> Vec<PathBuf> {
    if let Some(path) = search.configured {
        return vec![expand(path, search.home)];
    }
    if name.contains('/') {
        return vec![PathBuf::from(name)];
    }
    let mut found = Vec::new();
    for dir in search.path.iter().cloned().chain(places(search.home)) {
        // A relative entry of PATH means the working directory, which is the project.
        let candidate = dir.join(name);
        if dir.is_absolute() && !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    found
}

/// The well-known directories of programs.
fn places(home: Option<&Path>) -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(home) = home {
        places.extend(HOME_PLACES.iter().map(|place| home.join(place)));
        for (collection, bin) in HOME_COLLECTIONS {
            places.extend(newest_first(&home.join(collection)).into_iter().map(|version| version.join(bin)));
        }
    }
    places.extend(SYSTEM_PLACES.iter().map(PathBuf::from));
    places
}

/// The entries of a directory by the numbers in their names, highest first.
fn newest_first(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> =
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    let numbers = |path: &PathBuf| -> Vec<u64> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    entries.sort_by(|a, b| numbers(b).cmp(&numbers(a)).then_with(|| a.cmp(b)));
    entries
}

/// Whether this is an executable file that may be used.
fn is_program(path: &Path, search: &Search<'_>) -> bool {
    let Ok(real) = path.canonicalize() else { return false };
    let executable =
        real.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    let avoided = search.avoid.iter().any(|dir| path.starts_with(dir) || real.starts_with(dir));
    executable && !avoided
}

/// A path with `~/` replaced by the home directory.
pub(super) fn expand(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

fn dir_of(file: &Path) -> &Path {
    file.parent().unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn executable(path: &Path) {
        std::fs::create_dir_all(dir_of(path)).unwrap();
        std::fs::write(path, "\x7fELF").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn search<'a>(home: &'a Path, path: &'a [PathBuf], avoid: &'a [PathBuf]) -> Search<'a> {
        Search { configured: None, path, home: Some(home), avoid }
    }

    #[test]
    fn the_humans_path_goes_first_and_well_known_places_follow() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        executable(&home.join(".nvm/versions/node/v9.1.0/bin/agent"));
        executable(&home.join(".nvm/versions/node/v20.2.0/bin/agent"));
        let found = |path: &[PathBuf]| find_program("agent", &search(&home, path, &[])).unwrap().program;
        assert_eq!(found(&[]), home.join(".nvm/versions/node/v20.2.0/bin/agent"));
        executable(&home.join(".local/bin/agent"));
        assert_eq!(found(&[]), home.join(".local/bin/agent"));
        executable(&home.join("mine/agent"));
        assert_eq!(found(&["relative".into(), home.join("mine")]), home.join("mine/agent"));
    }

    #[test]
    fn a_configured_path_is_the_only_one() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        executable(&home.join(".local/bin/agent"));
        executable(&home.join("elsewhere/tool"));
        let with =
            |path: &'static str| Search { configured: Some(Path::new(path)), ..search(&home, &[], &[]) };
        assert_eq!(
            find_program("agent", &with("~/elsewhere/tool")).unwrap().program,
            home.join("elsewhere/tool")
        );
        let error = find_program("agent", &with("~/elsewhere/missing")).unwrap_err();
        assert_eq!(
            error,
            AgentError::NotFound { name: "agent".into(), looked: vec![home.join("elsewhere")] }
        );
    }

    #[test]
    fn what_is_no_program_or_lies_in_the_project_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(home.join(".local/bin/agent")).unwrap();
        std::fs::create_dir_all(home.join("bin")).unwrap();
        std::fs::write(home.join("bin/agent"), "not executable").unwrap();
        let project = home.join("project");
        executable(&project.join("node_modules/.bin/agent"));
        executable(&home.join("private/tool"));
        symlink(home.join("private/tool"), project.join("node_modules/.bin/other")).unwrap();
        std::fs::create_dir_all(home.join(".cargo/bin")).unwrap();
        symlink(project.join("node_modules/.bin/agent"), home.join(".cargo/bin/agent")).unwrap();
        let (path, avoid) = ([project.join("node_modules/.bin")], [project.clone()]);
        for name in ["agent", "other"] {
            let error = find_program(name, &search(&home, &path, &avoid)).unwrap_err();
            let AgentError::NotFound { looked, .. } = error else { panic!("{error}") };
            assert_eq!(looked[0], path[0]);
            assert!(looked.contains(&home.join(".local/bin")) && looked.contains(&"/usr/bin".into()));
        }
    }

    #[test]
    fn programs_of_the_system_need_nothing() {
        let found =
            find_program("sh", &Search { configured: None, path: &[], home: None, avoid: &[] }).unwrap();
        assert!(found.binds.is_empty() && found.path.is_empty(), "{found:?}");
        assert!(
            find_program("/bin/sh", &Search { configured: None, path: &[], home: None, avoid: &[] }).is_ok()
        );
    }
}
