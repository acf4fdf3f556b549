//! Small tasks with a right and a subtly wrong solution, and what a tester's model answered to them.
//!
//! Owns the layout of `tests/planted` and a plain way to run a generated test with the language's own tools, which
//! shows that a case is sound whatever the gate makes of it. Must not know the gate, and shares no code with it.
//!
//! A case is a directory `<language>-<name>`: `task.txt` as a user would type it, `project` before it, `right` and
//! `wrong` with the files that each solution has instead, `reply-1.json` as the model wrote it from the task alone,
//! in some `reply-2.json` as it wrote it again when it knew the names, and `case.json`. A directory `hostile-*` has a
//! solution that lies about its tests, for the project and the replies of another case (its `base`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::repo;

/// One task.
#[derive(Clone, Debug)]
pub struct Case {
    /// The directory's name.
    pub name: String,
    /// What a user would type.
    pub task: String,
    /// `python`, `javascript`, `rust`, `cpp`, `java` or `go`.
    pub language: String,
    /// The test framework of the project.
    pub framework: String,
    /// The project's own test command.
    pub check: Vec<String>,
    /// What is wrong with the wrong solution, or what a hostile one does.
    pub bug: String,
    /// Which generated test is itself wrong, and why.
    pub faulty: Option<String>,
    /// The model's answers, as they came.
    pub replies: Vec<String>,
    expects: Value,
    /// Where project and replies are; another case's directory for a hostile one.
    base: PathBuf,
    dir: PathBuf,
}

/// Which state of a case's project.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Before the task.
    Before,
    /// With the right solution.
    Right,
    /// With the wrong one.
    Wrong,
}

/// What came of one generated file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// Its tests ran and passed.
    Passed,
    /// One of them failed.
    Failed,
    /// It does not compile or cannot be loaded.
    CouldNotRun,
}

/// A file that the model wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Generated {
    /// Where it belongs, from the project's root.
    pub path: String,
    /// Its text.
    pub contents: String,
}

/// How a program ended, and what it printed.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Whether its status was 0.
    pub well: bool,
    /// Both of its outputs.
    pub output: String,
}

impl Verdict {
    /// As the cases and the API write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::CouldNotRun => "could_not_run",
        }
    }
}

impl Side {
    fn word(self) -> &'static str {
        match self {
            Self::Before => "project",
            Self::Right => "right",
            Self::Wrong => "wrong",
        }
    }
}

impl Case {
    /// All of them by name, the hostile ones not among them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        names().iter().filter(|name| !name.starts_with("hostile-")).map(|name| Self::named(name)).collect()
    }

    /// The hostile ones: their wrong solution is the one that lies, their right one is the base's.
    #[must_use]
    pub fn hostile() -> Vec<Self> {
        names().iter().filter(|name| name.starts_with("hostile-")).map(|name| Self::named(name)).collect()
    }

    fn named(name: &str) -> Self {
        let dir = repo::root().join("tests/planted").join(name);
        let own = json(&dir);
        let base = own["base"].as_str().map_or_else(|| dir.clone(), |base| dir.with_file_name(base));
        let case = json(&base);
        let word = |value: &Value, key: &str| {
            value[key].as_str().unwrap_or_else(|| panic!("{name}: no {key}")).to_owned()
        };
        let check = case["check"].as_array().expect("a command").iter();
        let replies = ["reply-1.json", "reply-2.json"]
            .iter()
            .filter_map(|file| fs::read_to_string(base.join(file)).ok());
        Self {
            name: name.to_owned(),
            task: read(&base.join("task.txt")),
            language: word(&case, "language"),
            framework: word(&case, "framework"),
            check: check.map(|part| part.as_str().expect("a word").to_owned()).collect(),
            bug: word(&own, "bug"),
            faulty: case["faulty"].as_str().map(str::to_owned),
            replies: replies.collect(),
            expects: own["expects"].clone(),
            base,
            dir,
        }
    }

    /// Makes a directory hold one state of the project.
    ///
    /// # Panics
    /// When it cannot.
    pub fn lay(&self, side: Side, to: &Path) {
        copy(&self.base.join("project"), to);
        match side {
            Side::Before => {}
            Side::Right => copy(&self.base.join("right"), to),
            Side::Wrong => copy(&self.dir.join("wrong"), to),
        }
    }

    /// Where the files of a solution lie; for an agent that copies them.
    #[must_use]
    pub fn solution(&self, side: Side) -> PathBuf {
        if side == Side::Wrong { self.dir.join("wrong") } else { self.base.join(side.word()) }
    }

    /// The files of the model's nth answer, counted from 0.
    ///
    /// # Panics
    /// When it is no answer.
    #[must_use]
    pub fn generated(&self, reply: usize) -> Vec<Generated> {
        let reply: Value = serde_json::from_str(&self.replies[reply]).expect("a reply is JSON");
        let tests = reply["tests"].as_array().expect("tests").iter();
        let word = |test: &Value, key: &str| test[key].as_str().expect("a text").to_owned();
        tests.map(|test| Generated { path: word(test, "path"), contents: word(test, "contents") }).collect()
    }

    /// Whether the gate ought to say ready.
    #[must_use]
    pub fn ready(&self, side: Side) -> bool {
        self.expects[side.word()]["ready"].as_bool().unwrap_or(side == Side::Right)
    }

    /// What ought to come of each generated file in the end, if the case says so.
    #[must_use]
    pub fn verdicts(&self, side: Side) -> Option<BTreeMap<String, String>> {
        let said = self.expects[side.word()]["verdicts"].as_object()?;
        Some(
            said.iter()
                .map(|(path, word)| (path.clone(), word.as_str().unwrap_or_default().to_owned()))
                .collect(),
        )
    }

    /// Whether its wrong solution lies about its tests.
    #[must_use]
    pub fn is_hostile(&self) -> bool {
        self.base != self.dir
    }

    /// Runs the project's own checks in a directory that holds it.
    #[must_use]
    pub fn check(&self, project: &Path, scratch: &Path) -> Ended {
        run(&self.check, project, scratch)
    }

    /// Tries one generated file in a directory that holds the project, and takes it away again.
    ///
    /// # Panics
    /// When the file is there already.
    #[must_use]
    pub fn attempt(&self, test: &Generated, project: &Path, scratch: &Path) -> (Verdict, Ended) {
        let path = project.join(&test.path);
        assert!(!path.exists(), "{}: {} is there already", self.name, test.path);
        crate::project::write(project, &[(&test.path, &test.contents)]);
        let ended = self.naive(test, project, scratch);
        fs::remove_file(path).expect("the file can be removed");
        let verdict = if ended.well {
            Verdict::Passed
        } else if UNRUN
            .iter()
            .any(|(language, sign)| *language == self.language && ended.output.contains(sign))
        {
            Verdict::CouldNotRun
        } else {
            Verdict::Failed
        };
        (verdict, ended)
    }

    /// Runs one generated file as a person would who believes what the program says.
    fn naive(&self, test: &Generated, project: &Path, scratch: &Path) -> Ended {
        let path = test.path.as_str();
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let stem = Path::new(path).file_stem().expect("a name").to_string_lossy().into_owned();
        let commands = match (self.language.as_str(), self.framework.as_str()) {
            ("python", "pytest") => vec![words(&format!("python3 -m pytest -q {path}"))],
            ("python", _) => {
                vec![words(&format!(
                    "python3 -m unittest {}",
                    path.trim_end_matches(".py").replace('/', ".")
                ))]
            }
            ("javascript", _) => vec![words(&format!("node --test {path}"))],
            ("rust", _) => vec![words(&format!("cargo test -q --offline --test {stem}"))],
            ("go", _) => {
                let package = Path::new(path).parent().expect("a folder").display().to_string();
                vec![words(&format!("go test -v ./{package}"))]
            }
            ("cpp", _) => {
                let binary = scratch.join("generated").display().to_string();
                let mut compile = words("g++ -std=c++17 -I. -Iinclude -Isrc -pthread -o");
                compile.extend([binary.clone(), path.to_owned()]);
                compile.extend(sources(project, &[".cpp", ".cc"]));
                vec![compile, vec![binary]]
            }
            ("java", _) => java(test, &stem, project, scratch),
            other => panic!("{}: nobody knows how {other:?} runs", self.name),
        };
        let mut last = Ended { well: false, output: String::new() };
        for (step, command) in commands.iter().enumerate() {
            last = run(command, project, scratch);
            if !last.well {
                if step + 1 < commands.len() {
                    last.output.push_str("\nit does not compile\n");
                }
                break;
            }
        }
        last
    }
}

/// By what a file shows that it could not even run, in each language.
const UNRUN: [(&str, &str); 9] = [
    ("python", "_FailedTest"),
    ("python", "ImportError while importing test module"),
    ("python", "error during collection"),
    ("javascript", "SyntaxError"),
    ("javascript", "ERR_MODULE_NOT_FOUND"),
    ("rust", "could not compile"),
    ("go", "[build failed]"),
    ("cpp", "it does not compile"),
    ("java", "it does not compile"),
];

/// JUnit, where Debian's `junit4` has it.
const JUNIT: &str = "/usr/share/java/junit4.jar:/usr/share/java/hamcrest-core.jar";

fn java(test: &Generated, stem: &str, project: &Path, scratch: &Path) -> Vec<Vec<String>> {
    let out = scratch.join("classes");
    let _ = fs::remove_dir_all(&out);
    let out = out.display().to_string();
    let mut compile: Vec<String> =
        ["javac", "-d", &out, "-cp", JUNIT, &test.path].map(str::to_owned).to_vec();
    compile.extend(sources(project, &[".java"]));
    let package = test.contents.lines().find_map(|line| line.strip_prefix("package ")?.strip_suffix(';'));
    let class = package.map_or_else(|| stem.to_owned(), |package| format!("{package}.{stem}"));
    let mut start: Vec<String> =
        ["java", "-ea", "-cp", &format!("{out}:{JUNIT}")].map(str::to_owned).to_vec();
    if test.contents.contains("org.junit") {
        start.push("org.junit.runner.JUnitCore".to_owned());
    }
    start.push(class);
    vec![compile, start]
}

/// The project's own sources, those of its tests and what was built not among them.
fn sources(project: &Path, endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![project.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("a directory").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if path.is_dir() {
                if !["test", "tests", "build", "out", "target"].contains(&name.as_str()) {
                    dirs.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path.strip_prefix(project).expect("beneath it").display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// Runs a command with the distribution's own programs first: these are the ones that a sandbox sees.
fn run(command: &[String], project: &Path, scratch: &Path) -> Ended {
    let path = std::env::var("PATH").unwrap_or_default();
    let out = Command::new("timeout")
        .args(["--kill-after=5", "120"])
        .args(command)
        .current_dir(project)
        .env("PATH", format!("/usr/bin:/bin:{path}"))
        .env("CARGO_TARGET_DIR", scratch.join("cargo"))
        .env("GOCACHE", scratch.join("go"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("NODE_TEST_CONTEXT")
        .output()
        .expect("timeout runs");
    let output = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ended { well: out.status.success(), output }
}

fn names() -> Vec<String> {
    let dir = repo::root().join("tests/planted");
    let entries = fs::read_dir(dir).expect("tests/planted").flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join("case.json").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn json(dir: &Path) -> Value {
    let path = dir.join("case.json");
    serde_json::from_str(&read(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    let status = Command::new("cp").arg("-r").arg(from.join(".")).arg(to).status().expect("cp runs");
    assert!(status.success(), "{} cannot be copied", from.display());
}
