//! The command by which a project is tested, guessed from its files.
//!
//! Owns which files say so. A guess is only run where anything may be run, in a sandbox, and is always told as
//! one. Must not know where the files lie.

/// Files at a project's root.
pub trait Files {
    /// Whether there is a file of this name.
    fn has(&self, name: &str) -> bool;

    /// What it holds; `None` when there is none, or it is not text or too long to be looked at.
    fn text(&self, name: &str) -> Option<String>;
}

/// A command that was guessed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guess {
    /// The command, for a shell.
    pub command: String,
    /// The file that says so.
    pub file: &'static str,
}

/// One kind of project.
type Kind = fn(&dyn Files) -> Option<Guess>;

/// The kinds, the surest first: a `Makefile` stands beside all of the others.
const KINDS: [Kind; 7] = [cargo, npm, pytest, go, jvm, cmake, make];

/// The files that hold settings of pytest, and how it is seen there.
const PYTEST: [(&str, &str); 6] = [
    ("pytest.ini", ""),
    ("conftest.py", ""),
    ("pyproject.toml", "[tool.pytest"),
    ("setup.cfg", "[tool:pytest]"),
    ("tox.ini", "[pytest]"),
    ("pyproject.toml", "pytest"),
];

/// What `npm init` writes for a project without tests.
const NO_TEST: &str = "no test specified";

/// The command, when the files say one.
#[must_use]
pub fn guess(files: &dyn Files) -> Option<Guess> {
    KINDS.iter().find_map(|kind| kind(files))
}

fn found(command: &str, file: &'static str) -> Option<Guess> {
    Some(Guess { command: command.to_owned(), file })
}

fn cargo(files: &dyn Files) -> Option<Guess> {
    let text = files.text("Cargo.toml")?;
    let is_workspace = text.lines().any(|line| line.trim_start().starts_with("[workspace]"));
    found(if is_workspace { "cargo test --workspace" } else { "cargo test" }, "Cargo.toml")
}

fn npm(files: &dyn Files) -> Option<Guess> {
    let text = files.text("package.json")?;
    let package: serde_json::Value = serde_json::from_str(&text).ok()?;
    let script = package.get("scripts")?.get("test")?.as_str()?;
    if script.trim().is_empty() || script.contains(NO_TEST) {
        return None;
    }
    let locks = [("pnpm-lock.yaml", "pnpm test"), ("yarn.lock", "yarn test"), ("bun.lock", "bun run test")];
    let own = locks.iter().find(|(lock, _)| files.has(lock)).map(|(_, command)| *command);
    found(own.unwrap_or("npm test"), "package.json")
}

fn pytest(files: &dyn Files) -> Option<Guess> {
    let says = |(name, sign): &&(&str, &str)| match *sign {
        "" => files.has(name),
        sign => files.text(name).is_some_and(|text| text.contains(sign)),
    };
    PYTEST.iter().find(says).and_then(|(name, _)| found("python3 -m pytest", name))
}

fn go(files: &dyn Files) -> Option<Guess> {
    if files.has("go.mod") { found("go test ./...", "go.mod") } else { None }
}

fn jvm(files: &dyn Files) -> Option<Guess> {
    if files.has("pom.xml") {
        let maven = if files.has("mvnw") { "./mvnw" } else { "mvn" };
        return found(&format!("{maven} --offline test"), "pom.xml");
    }
    let build = ["build.gradle", "build.gradle.kts"].into_iter().find(|name| files.has(name))?;
    let gradle = if files.has("gradlew") { "./gradlew" } else { "gradle" };
    found(&format!("{gradle} --offline test"), build)
}

fn cmake(files: &dyn Files) -> Option<Guess> {
    let text = files.text("CMakeLists.txt")?.to_ascii_lowercase();
    if !text.contains("enable_testing") && !text.contains("include(ctest)") {
        return None;
    }
    let build = "/tmp/ftl-check";
    let command = format!(
        "cmake -S . -B {build} && cmake --build {build} && ctest --test-dir {build} --output-on-failure"
    );
    found(&command, "CMakeLists.txt")
}

fn make(files: &dyn Files) -> Option<Guess> {
    let has_target = |name: &&&str| {
        files.text(name).is_some_and(|text| {
            text.lines().any(|line| {
                line.strip_prefix("test").map(str::trim_start).is_some_and(|rest| {
                    rest.starts_with(':') && !rest.starts_with(":=") && !rest.starts_with("::=")
                })
            })
        })
    };
    let name = ["GNUmakefile", "makefile", "Makefile"].iter().find(has_target)?;
    found("make test", name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    struct Tree(BTreeMap<String, String>);

    impl Files for Tree {
        fn has(&self, name: &str) -> bool {
            self.0.contains_key(name)
        }

        fn text(&self, name: &str) -> Option<String> {
            self.0.get(name).cloned()
        }
    }

    fn of(files: &[(&str, &str)]) -> Option<(String, &'static str)> {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        guess(&Tree(files)).map(|guess| (guess.command, guess.file))
    }

    /// Files, the command, and what it is guessed from.
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);

    #[test]
    fn each_kind_of_project_has_its_command() {
        let script = r#"{"scripts": {"test": "jest"}}"#;
        let gradle = [("build.gradle.kts", ""), ("gradlew", "")];
        let testing = "Enable_Testing()";
        let table: [Row<'_>; 14] = [
            (&[("Cargo.toml", "[package]")], "cargo test", "Cargo.toml"),
            (&[("Cargo.toml", "[workspace]\n")], "cargo test --workspace", "Cargo.toml"),
            (&[("package.json", script)], "npm test", "package.json"),
            (&[("package.json", script), ("pnpm-lock.yaml", "")], "pnpm test", "package.json"),
            (&[("package.json", script), ("yarn.lock", "")], "yarn test", "package.json"),
            (&[("pyproject.toml", "[tool.pytest.ini_options]")], "python3 -m pytest", "pyproject.toml"),
            (&[("setup.cfg", "[tool:pytest]")], "python3 -m pytest", "setup.cfg"),
            (&[("conftest.py", "")], "python3 -m pytest", "conftest.py"),
            (&[("go.mod", ""), ("Makefile", "test:\n\tgo test")], "go test ./...", "go.mod"),
            (&[("pom.xml", ""), ("mvnw", "")], "./mvnw --offline test", "pom.xml"),
            (&gradle, "./gradlew --offline test", "build.gradle.kts"),
            (&[("Makefile", "all:\n\ntest: all\n\t./run\n")], "make test", "Makefile"),
            (&[("makefile", "test :\n")], "make test", "makefile"),
            (
                &[("CMakeLists.txt", testing)],
                "cmake -S . -B /tmp/ftl-check && cmake --build /tmp/ftl-check && \
                 ctest --test-dir /tmp/ftl-check --output-on-failure",
                "CMakeLists.txt",
            ),
        ];
        for (files, command, file) in table {
            assert_eq!(of(files), Some((command.to_owned(), file)), "{files:?}");
        }
    }

    #[test]
    fn what_says_nothing_of_tests_is_no_guess() {
        for files in [
            &[][..],
            &[("package.json", r#"{"scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}"#)],
            &[("package.json", r#"{"scripts": {"test": " "}}"#)],
            &[("package.json", r#"{"scripts": {"test": 1}}"#)],
            &[("package.json", "{")],
            &[("pyproject.toml", "[project]")],
            &[("CMakeLists.txt", "project(x)")],
            &[("Makefile", "tests:\n\ntest := 1\ntesting:\n # test:\n")],
        ] {
            assert_eq!(of(files), None, "{files:?}");
        }
        let fallback = [("package.json", "{}"), ("Makefile", "test:\n")];
        assert_eq!(of(&fallback), Some(("make test".to_owned(), "Makefile")));
    }

    proptest! {
        #[test]
        fn no_file_panics_and_none_gets_into_the_command(
            name in proptest::sample::select(vec![
                "Cargo.toml", "package.json", "pyproject.toml", "Makefile", "CMakeLists.txt", "setup.cfg",
            ]),
            text in "(test:|\\[workspace\\]|pytest|enable_testing|\\{\"scripts\":\\{\"test\":\"|\"\\}\\}|rm|[ -~]|\n){0,12}",
        ) {
            let known = ["cargo", "npm", "python3", "make", "cmake"];
            if let Some((command, _)) = of(&[(name, &text)]) {
                prop_assert!(known.iter().any(|program| command.starts_with(program)), "{}", command);
                prop_assert!(!command.contains("rm "), "{}", command);
            }
        }
    }
}
