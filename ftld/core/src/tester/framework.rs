//! What a project tests with.
//!
//! Owns which of its files say so: the language is that of most of its sources, and within it the manifests decide.
//! Must not know where the files lie.

use crate::verify::guess::Files;

/// A way to run one file of tests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Framework {
    /// Python's own `unittest`.
    Unittest,
    /// pytest.
    Pytest,
    /// Node's own test runner.
    NodeTest,
    /// Vitest.
    Vitest,
    /// Jest.
    Jest,
    /// `go test`.
    Go,
    /// A class with a `main`, or with JUnit 4's annotations, by `javac` and `java`.
    Java,
    /// JUnit by Maven.
    Maven,
    /// JUnit by Gradle.
    Gradle,
    /// A program with a `main`, by the host's C++ compiler.
    Cpp,
    /// `cargo test`.
    Cargo,
}

/// All of them.
pub const ALL: [Framework; 11] = [
    Framework::Unittest,
    Framework::Pytest,
    Framework::NodeTest,
    Framework::Vitest,
    Framework::Jest,
    Framework::Go,
    Framework::Java,
    Framework::Maven,
    Framework::Gradle,
    Framework::Cpp,
    Framework::Cargo,
];

/// A language, the ends of its sources' names, and what of it a project tests with.
struct Language {
    ends: &'static [&'static str],
    framework: fn(&dyn Files) -> Option<Framework>,
}

const LANGUAGES: [Language; 6] = [
    Language { ends: &[".py"], framework: python },
    Language { ends: &[".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".jsx", ".tsx"], framework: script },
    Language { ends: &[".go"], framework: go },
    Language { ends: &[".java"], framework: java },
    Language { ends: &[".cpp", ".cc", ".cxx", ".hpp", ".hh", ".hxx", ".h"], framework: cpp },
    Language { ends: &[".rs"], framework: rust },
];

/// The files that hold settings of pytest, and how it is seen there.
const PYTEST: [(&str, &str); 6] = [
    ("pytest.ini", ""),
    ("conftest.py", ""),
    ("tests/conftest.py", ""),
    ("pyproject.toml", "pytest"),
    ("setup.cfg", "[tool:pytest]"),
    ("tox.ini", "[pytest]"),
];

/// What a project tests with, by the paths of its files; `None` when it has no sources of a language that is known.
#[must_use]
pub fn detect<'a>(paths: impl Iterator<Item = &'a str> + Clone, files: &dyn Files) -> Option<Framework> {
    let count = |language: &Language| paths.clone().filter(|path| is_of(language, path)).count();
    // The first of equals, as they are listed.
    let most =
        LANGUAGES.iter().rev().map(|language| (count(language), language)).max_by_key(|(count, _)| *count);
    let (count, language) = most?;
    if count == 0 {
        return None;
    }
    (language.framework)(files)
}

fn is_of(language: &Language, path: &str) -> bool {
    let vendored = |part: &str| matches!(part, "node_modules" | "vendor" | "third_party" | "target" | "dist");
    !path.split('/').any(vendored) && language.ends.iter().any(|end| path.ends_with(end))
}

fn python(files: &dyn Files) -> Option<Framework> {
    let says = |(name, sign): &(&str, &str)| match *sign {
        "" => files.has(name),
        sign => files.text(name).is_some_and(|text| text.contains(sign)),
    };
    Some(if PYTEST.iter().any(says) { Framework::Pytest } else { Framework::Unittest })
}

fn script(files: &dyn Files) -> Option<Framework> {
    let package = files.text("package.json").and_then(|text| serde_json::from_str(&text).ok());
    let package: serde_json::Value = package.unwrap_or_default();
    let names = |what: &str| {
        let depends =
            ["dependencies", "devDependencies"].iter().any(|list| package[*list].get(what).is_some());
        depends || package["scripts"]["test"].as_str().is_some_and(|script| script.contains(what))
    };
    Some(if names("vitest") {
        Framework::Vitest
    } else if names("jest") {
        Framework::Jest
    } else {
        Framework::NodeTest
    })
}

fn go(files: &dyn Files) -> Option<Framework> {
    files.has("go.mod").then_some(Framework::Go)
}

fn java(files: &dyn Files) -> Option<Framework> {
    let gradle = ["build.gradle", "build.gradle.kts"].iter().any(|name| files.has(name));
    Some(match (files.has("pom.xml"), gradle) {
        (true, _) => Framework::Maven,
        (false, true) => Framework::Gradle,
        (false, false) => Framework::Java,
    })
}

fn cpp(_files: &dyn Files) -> Option<Framework> {
    Some(Framework::Cpp)
}

fn rust(files: &dyn Files) -> Option<Framework> {
    files.has("Cargo.toml").then_some(Framework::Cargo)
}

// === impl Framework ===

impl Framework {
    /// The one of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|framework| framework.name() == name)
    }

    /// Its name, for people and for events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unittest => "unittest",
            Self::Pytest => "pytest",
            Self::NodeTest => "node:test",
            Self::Vitest => "vitest",
            Self::Jest => "jest",
            Self::Go => "go test",
            Self::Java => "java",
            Self::Maven => "maven",
            Self::Gradle => "gradle",
            Self::Cpp => "c++",
            Self::Cargo => "cargo test",
        }
    }

    /// What a model is told of how a file must be made.
    #[must_use]
    pub fn manner(self) -> &'static str {
        match self {
            Self::Unittest => {
                "Python with the standard library's unittest: classes of unittest.TestCase in a file tests/test_NAME.py \
                 (or where the project has its tests). The project's root is on sys.path. pytest is not there."
            }
            Self::Pytest => {
                "Python with pytest: functions test_NAME in a file test_NAME.py where the project has its tests."
            }
            Self::NodeTest => {
                "JavaScript with node:test and node:assert in a file NAME.test.js, .mjs or .cjs, whichever fits the \
                 project's kind of modules."
            }
            Self::Vitest => {
                "Vitest in a file NAME.test.js or NAME.test.ts, as the project has them; import test and expect from vitest."
            }
            Self::Jest => "Jest in a file NAME.test.js or NAME.test.ts, as the project has them.",
            Self::Go => {
                "Go's testing package in a file NAME_test.go in the directory of the package that is tested."
            }
            Self::Java => {
                "Java without a build tool: a public class with `public static void main(String[] args) throws \
                 Exception`, which throws when a test fails (assertions are enabled), or JUnit 4 if the project's tests \
                 use it; one class for each file, in the package that is tested."
            }
            Self::Maven => {
                "JUnit, the version that the project uses, in src/test/java/PACKAGE/NAMETest.java."
            }
            Self::Gradle => {
                "JUnit, the version that the project uses, in src/test/java/PACKAGE/NAMETest.java."
            }
            Self::Cpp => {
                "C++17 without a framework: a program with `int main()` that uses assert, in a file tests/NAME.cpp. It is \
                 compiled with -I. -Iinclude -Isrc and linked with the project's sources that have no main, so include \
                 headers and no sources."
            }
            Self::Cargo => "Rust: an integration test tests/NAME.rs of the crate, which uses its public API.",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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

    fn of(files: &[(&str, &str)]) -> Option<Framework> {
        let tree = Tree(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect());
        detect(tree.0.keys().map(String::as_str), &tree)
    }

    /// Files, and what they are tested with.
    type Row<'a> = (&'a [(&'a str, &'a str)], Option<Framework>);

    #[test]
    fn the_sources_and_the_manifests_say_what_a_project_tests_with() {
        let jest = r#"{"devDependencies": {"jest": "29"}}"#;
        let vitest = r#"{"scripts": {"test": "vitest run"}}"#;
        let table: [Row<'_>; 17] = [
            (&[("a.py", "")], Some(Framework::Unittest)),
            (&[("a.py", ""), ("conftest.py", "")], Some(Framework::Pytest)),
            (&[("a.py", ""), ("pyproject.toml", "[tool.pytest.ini_options]")], Some(Framework::Pytest)),
            (&[("a.py", ""), ("pyproject.toml", "[project]")], Some(Framework::Unittest)),
            (&[("a.js", "")], Some(Framework::NodeTest)),
            (&[("a.ts", ""), ("package.json", jest)], Some(Framework::Jest)),
            (&[("a.ts", ""), ("package.json", vitest)], Some(Framework::Vitest)),
            (&[("a.js", ""), ("package.json", "{")], Some(Framework::NodeTest)),
            (&[("a.go", ""), ("go.mod", "")], Some(Framework::Go)),
            (&[("a.go", "")], None),
            (&[("A.java", "")], Some(Framework::Java)),
            (&[("A.java", ""), ("pom.xml", "")], Some(Framework::Maven)),
            (&[("A.java", ""), ("build.gradle.kts", "")], Some(Framework::Gradle)),
            (&[("a.cc", ""), ("Makefile", "")], Some(Framework::Cpp)),
            (
                &[("src/lib.rs", ""), ("Cargo.toml", ""), ("tool.py", ""), ("src/a.rs", "")],
                Some(Framework::Cargo),
            ),
            (
                &[("node_modules/a/a.js", ""), ("node_modules/b/b.js", ""), ("a.py", "")],
                Some(Framework::Unittest),
            ),
            (&[("README.md", ""), ("package.json", jest)], None),
        ];
        for (files, expected) in table {
            assert_eq!(of(files), expected, "{files:?}");
            assert_eq!(expected.and_then(|framework| Framework::named(framework.name())), expected);
        }
    }
}
