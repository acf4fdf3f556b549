//! What a program needs beside its own file.
//!
//! Owns the shapes in which programs are installed: an npm package, a Python virtual environment, a script
//! with its interpreter, a single file. A sandbox is shown the smallest directory that holds the
//! installation, never one that holds a home directory.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use super::AgentError;
use super::find::Search;

/// A program and what a sandbox needs for it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// What to execute; absolute, and the same path inside and outside.
    pub program: PathBuf,
    /// Files and directories of the host to show read-only, each at its own path.
    pub binds: Vec<PathBuf>,
    /// Directories for the sandbox's PATH, before all others: where the interpreter lies.
    pub path: Vec<PathBuf>,
    /// Variables without which the program does not find its parts.
    pub env: Vec<(OsString, OsString)>,
}

/// What every sandbox has anyway.
const SYSTEM: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// How many interpreters may be the script of another interpreter.
const MAX_INTERPRETERS: u32 = 3;

/// How many symbolic links may follow each other.
const MAX_LINKS: u32 = 16;

/// What it takes to run `program`, which exists.
pub(super) fn found(program: &Path, search: &Search<'_>) -> Result<Found, AgentError> {
    let mut found = Found::default();
    found.program = show(program, &mut found, search)?;
    interpreters(&found.program.clone(), &mut found, search, MAX_INTERPRETERS)?;
    // What lies beneath another bind is there already.
    let all = std::mem::take(&mut found.binds);
    for bind in &all {
        let covered = all.iter().any(|other| other != bind && bind.starts_with(other));
        if !covered && !found.binds.contains(bind) {
            found.binds.push(bind.clone());
        }
    }
    Ok(found)
}

/// Makes a program visible and says which path executes it.
fn show(program: &Path, found: &mut Found, search: &Search<'_>) -> Result<PathBuf, AgentError> {
    let unusable = |why| AgentError::Unusable { program: program.to_owned(), why };
    let real = program.canonicalize().map_err(|_| unusable("it cannot be read"))?;
    if is_system(&real) {
        return Ok(if is_system(program) { program.to_owned() } else { real });
    }
    let root = root_of(&real);
    if !may_show(&root, search) {
        return Err(unusable("its directory holds what no sandbox may see"));
    }
    found.binds.push(root.clone());
    // Some programs are many in one file and know by their name which one is meant. Their link is shown
    // as a file of its own. In a package the name does not matter, but the place of the real file does.
    if root == real && real.file_name() != program.file_name() {
        found.binds.push(program.to_owned());
        return Ok(program.to_owned());
    }
    Ok(real)
}

/// Makes the interpreter of a script visible, and that one's own.
fn interpreters(script: &Path, found: &mut Found, search: &Search<'_>, left: u32) -> Result<(), AgentError> {
    let Some(interpreter) = shebang(script) else { return Ok(()) };
    let unusable = |why| AgentError::Unusable { program: script.to_owned(), why };
    if left == 0 {
        return Err(unusable("its interpreters do not end"));
    }
    let interpreter = match interpreter {
        Interpreter::At(path) => path,
        Interpreter::Named(name) => {
            let by_name = Search { configured: None, ..*search };
            let inner = super::find_program(&name.to_string_lossy(), &by_name)?;
            if !is_system(&inner.program) {
                found.path.extend(inner.program.parent().map(Path::to_owned));
            }
            inner.program
        }
    };
    if is_python(&interpreter) {
        user_packages(script, found, search);
        return python(&interpreter, found, search);
    }
    let shown = show(&interpreter, found, search)?;
    interpreters(&shown, found, search, left - 1)
}

/// Makes a Python interpreter visible: it needs the library beside it, and the path that leads to it may
/// be a chain of links, each of which must exist inside too.
fn python(interpreter: &Path, found: &mut Found, search: &Search<'_>) -> Result<(), AgentError> {
    for hop in links(interpreter) {
        if is_system(&hop) || found.binds.iter().any(|bind| hop.starts_with(bind)) {
            continue;
        }
        let prefix = hop.parent().and_then(Path::parent).filter(|prefix| prefix.join("lib").is_dir());
        match prefix.filter(|prefix| may_show(prefix, search)) {
            Some(prefix) => found.binds.push(prefix.to_owned()),
            None => {
                show(&hop, found, search)?;
            }
        }
    }
    Ok(())
}

/// Packages that `pip install --user` put beside the script are found relative to the home directory,
/// which is another one inside.
fn user_packages(script: &Path, found: &mut Found, search: &Search<'_>) {
    let Some(base) = search.home.map(|home| home.join(".local")) else { return };
    if script.parent() == Some(&base.join("bin")) && base.join("lib").is_dir() {
        found.binds.push(base.join("lib"));
        found.env.push(("PYTHONUSERBASE".into(), base.into()));
    }
}

/// A path and every path that its symbolic links lead through, the real one last.
fn links(path: &Path) -> Vec<PathBuf> {
    let mut hops = vec![path.to_owned()];
    let mut here = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(target) = here.read_link() else { break };
        here = plain(&here.parent().unwrap_or(Path::new("/")).join(target));
        hops.push(here.clone());
    }
    hops.extend(path.canonicalize());
    hops.dedup();
    hops
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
        plain
    })
}

/// The smallest path that holds the whole installation of a real file.
fn root_of(real: &Path) -> PathBuf {
    if real.starts_with("/nix/store") {
        return "/nix/store".into();
    }
    let modules = real.ancestors().filter(|dir| dir.file_name() == Some(OsStr::new("node_modules"))).last();
    let environment = || real.ancestors().skip(1).find(|dir| dir.join("pyvenv.cfg").is_file());
    modules.or_else(environment).unwrap_or(real).to_owned()
}

/// Whether a sandbox may see a path: it holds no home directory and nothing that is to be avoided, and
/// is no directory of the system's own.
pub(super) fn may_show(path: &Path, search: &Search<'_>) -> bool {
    let Ok(real) = path.canonicalize() else { return false };
    let kept = search.home.into_iter().chain(search.avoid.iter().map(PathBuf::as_path));
    let mut kept = kept.flat_map(|dir| [Some(dir.to_owned()), dir.canonicalize().ok()]).flatten();
    let private = ["/proc", "/sys", "/dev", "/run", "/etc", "/boot"].iter().any(|dir| real.starts_with(dir));
    let inside = search.avoid.iter().any(|dir| real.starts_with(dir) || path.starts_with(dir));
    !private && !inside && real.parent().is_some() && !kept.any(|dir| dir.starts_with(&real))
}

fn is_system(path: &Path) -> bool {
    SYSTEM.iter().any(|dir| path.starts_with(dir))
}

fn is_python(interpreter: &Path) -> bool {
    interpreter.file_name().is_some_and(|name| name.as_bytes().starts_with(b"python"))
}

/// What a script's first line asks for.
#[derive(PartialEq, Eq, Debug)]
enum Interpreter {
    At(PathBuf),
    Named(OsString),
}

fn shebang(script: &Path) -> Option<Interpreter> {
    let mut start = Vec::new();
    std::fs::File::open(script).ok()?.take(256).read_to_end(&mut start).ok()?;
    interpreter(&start)
}

fn interpreter(start: &[u8]) -> Option<Interpreter> {
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let path = Path::new(OsStr::from_bytes(words.next()?));
    if path.file_name() != Some(OsStr::new("env")) {
        return Some(Interpreter::At(path.to_owned()));
    }
    let program = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='))?;
    match Path::new(OsStr::from_bytes(program)) {
        path if path.is_absolute() => Some(Interpreter::At(path.to_owned())),
        name => Some(Interpreter::Named(name.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::super::find_program;
    use super::*;

    struct Home {
        _dir: tempfile::TempDir,
        path: PathBuf,
    }

    impl Home {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().canonicalize().unwrap().join("home");
            std::fs::create_dir(&path).unwrap();
            Self { _dir: dir, path }
        }

        fn file(&self, path: &str, content: &str) -> PathBuf {
            let path = self.path.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        }

        fn link(&self, path: &str, target: &str) {
            let path = self.path.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
        }

        fn find(&self, name: &str, path: &[&str]) -> Result<Found, AgentError> {
            let path: Vec<_> = path.iter().map(|dir| self.path.join(dir)).collect();
            find_program(name, &Search { configured: None, path: &path, home: Some(&self.path), avoid: &[] })
        }

        fn at(&self, paths: &[&str]) -> Vec<PathBuf> {
            paths.iter().map(|path| self.path.join(path)).collect()
        }
    }

    #[test]
    fn an_npm_program_brings_its_packages_and_its_node() {
        let home = Home::new();
        let node = home.file("nodes/v20/bin/node", "\x7fELF");
        let script = home.file("global/lib/node_modules/@x/agent/bin/agent.js", "#!/usr/bin/env node\n");
        home.file("global/lib/node_modules/@x/agent/node_modules/dep/index.js", "");
        home.link("global/bin/agent", "../lib/node_modules/@x/agent/bin/agent.js");
        let found = home.find("agent", &["global/bin", "nodes/v20/bin"]).unwrap();
        assert_eq!(found.program, script);
        assert_eq!(found.binds, [home.path.join("global/lib/node_modules"), node]);
        assert_eq!(found.path, home.at(&["nodes/v20/bin"]));
    }

    #[test]
    fn a_python_program_brings_its_environment_and_the_interpreter_behind_it() {
        let home = Home::new();
        home.file("pythons/3.12.1/bin/python3.12", "\x7fELF");
        home.file("pythons/3.12.1/lib/python3.12/os.py", "");
        home.link("pythons/3.12", "3.12.1");
        let venv = ".local/share/uv/tools/agent";
        let home_path = home.path.display();
        let script = home.file(&format!("{venv}/bin/agent"), &format!("#!{home_path}/{venv}/bin/python\n"));
        home.file(&format!("{venv}/pyvenv.cfg"), "");
        home.link(&format!("{venv}/bin/python"), &format!("{home_path}/pythons/3.12/bin/python3.12"));
        home.link(".local/bin/agent", &format!("{home_path}/{venv}/bin/agent"));
        let found = home.find("agent", &[]).unwrap();
        assert_eq!(found.program, script);
        assert_eq!(found.binds, home.at(&[venv, "pythons/3.12", "pythons/3.12.1"]));
    }

    #[test]
    fn a_single_file_comes_alone_and_keeps_the_name_it_was_called_by() {
        let home = Home::new();
        let binary = home.file("apps/multi", "\x7fELF");
        home.file("apps/secret", "");
        home.link("bin/agent", "../apps/multi");
        let found = home.find("agent", &[]).unwrap();
        assert_eq!(found.program, home.path.join("bin/agent"));
        assert_eq!(found.binds, [binary.clone(), home.path.join("bin/agent")]);
        home.link("bin/multi", "../apps/multi");
        let found = home.find("multi", &[]).unwrap();
        assert_eq!((found.program, found.binds), (binary.clone(), vec![binary]));
    }

    #[test]
    fn packages_of_the_user_are_named_to_the_interpreter() {
        let home = Home::new();
        home.file(".local/bin/agent", "#!/usr/bin/python3\n");
        home.file(".local/lib/python3.11/site-packages/x.py", "");
        let found = home.find("agent", &[]).unwrap();
        assert_eq!(found.binds, home.at(&[".local/bin/agent", ".local/lib"]));
        assert_eq!(found.env, [("PYTHONUSERBASE".into(), home.path.join(".local").into())]);
    }

    #[test]
    fn no_home_directory_is_shown() {
        let home = Home::new();
        home.file("bin/agent", "#!/usr/bin/env python9\n");
        home.file("bin/python9", "\x7fELF");
        home.file("lib/x", "");
        // The interpreter's prefix would be the home directory itself; it is shown alone.
        assert_eq!(home.find("agent", &[]).unwrap().binds, home.at(&["bin/agent", "bin/python9"]));
        home.file("pyvenv.cfg", "");
        assert!(matches!(home.find("agent", &[]), Err(AgentError::Unusable { .. })));
    }

    #[test]
    fn interpreters_that_do_not_end_are_an_error() {
        let home = Home::new();
        let script = format!("#!{}/bin/agent\n", home.path.display());
        home.file("bin/agent", &script);
        assert!(matches!(home.find("agent", &[]), Err(AgentError::Unusable { .. })));
        home.file("bin/other", "#!/usr/bin/env no-such-interpreter-anywhere\n");
        assert!(matches!(home.find("other", &[]), Err(AgentError::NotFound { .. })));
    }

    #[test]
    fn first_lines_are_understood() {
        let at = |path: &str| Some(Interpreter::At(path.into()));
        let named = |name: &str| Some(Interpreter::Named(name.into()));
        for (line, expected) in [
            ("#!/bin/sh -e\n", at("/bin/sh")),
            ("#! /usr/bin/python3", at("/usr/bin/python3")),
            ("#!/usr/bin/env node\nx", named("node")),
            ("#!/usr/bin/env -S A=1 node --flag", named("node")),
            ("#!/usr/bin/env /opt/node", at("/opt/node")),
            ("#!/usr/bin/env", None),
            ("#!", None),
            ("\x7fELF", None),
        ] {
            assert_eq!(interpreter(line.as_bytes()), expected, "{line:?}");
        }
    }
}
