//! A tester's answer: files of tests.
//!
//! Owns the strict reading of it. The form, which is all that is accepted:
//!
//! ```json
//! {"tests": [{"path": "tests/test_x.py", "contents": "…", "covers": "what it checks"}], "notes": "…"}
//! ```
//!
//! A field that was not asked for, a path that is not plainly a new file of the project, or more of anything than
//! there may be makes the whole of it no answer. What a model wrote is only ever laid into a sandbox, but it may be
//! kept later, so a file that tools on the host run or obey is refused here already.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::diff::{After, Change};
use crate::refuse::{Around, Content, Risk, fold, protected, risks};
use crate::tree::{Node, RelPath};

/// What a tester answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The files, at least one.
    pub tests: Vec<Written>,
    /// What it has to say besides.
    pub notes: String,
}

/// A file of tests.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Written {
    /// Where, beneath the project's root.
    pub path: String,
    /// All of it.
    pub contents: String,
    /// What it checks, in the model's words.
    pub covers: String,
}

/// Why an answer is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoTests {
    /// It is not the one JSON object that was asked for.
    #[error("the tester's answer is not the JSON object that was asked for")]
    Form,
    /// There is more of something than there may be, or nothing where there must be something.
    #[error("the tester's answer has {0}")]
    Size(&'static str),
    /// A path is not that of a new file of tests.
    #[error("the tester's answer has a file {path:?}: {why}")]
    Path {
        /// The path.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// The answer was not finished.
    #[error("the tester's answer was cut at its longest")]
    Cut,
    /// The model did not answer.
    #[error("the model or its service refuses to write tests")]
    Refused,
}

/// The longest answer that is read, bytes.
pub const LONGEST_ANSWER: usize = 256 * 1024;
/// Files at most.
pub const MOST_FILES: usize = 12;
/// Bytes of a file, and of all together, at most.
const LONGEST_FILE: usize = 64 * 1024;
const LONGEST_FILES: usize = 192 * 1024;
/// Bytes of a path at most.
const LONGEST_PATH: usize = 200;
/// Characters at most of what a file covers, and of the notes.
const LONGEST_COVERS: usize = 500;
const LONGEST_NOTES: usize = 4000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    tests: Vec<RawTest>,
    notes: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTest {
    path: String,
    contents: String,
    covers: String,
}

/// Reads an answer; `is_there` says whether the project has something at a path. A fence around the object is the
/// one liberty that is granted.
///
/// # Errors
/// When it is no answer.
pub fn read(answer: &str, is_there: impl Fn(&RelPath) -> bool) -> Result<Reply, NoTests> {
    if answer.len() > LONGEST_ANSWER {
        return Err(NoTests::Size("more text than was asked for"));
    }
    let raw: Raw = serde_json::from_str(unfenced(answer.trim())).map_err(|_| NoTests::Form)?;
    if raw.tests.is_empty() {
        return Err(NoTests::Size("no test"));
    }
    if raw.tests.len() > MOST_FILES {
        return Err(NoTests::Size("more files than are tried"));
    }
    if raw.tests.iter().map(|test| test.contents.len()).sum::<usize>() > LONGEST_FILES {
        return Err(NoTests::Size("files that are too long together"));
    }
    if raw.notes.chars().count() > LONGEST_NOTES {
        return Err(NoTests::Size("notes without end"));
    }
    let mut seen = BTreeSet::new();
    let mut tests = Vec::new();
    for RawTest { path, contents, covers } in raw.tests {
        let refused = |why| NoTests::Path { path: path.chars().take(LONGEST_PATH).collect(), why };
        let at = place(&path).map_err(refused)?;
        if is_there(&at) {
            return Err(refused("the project has something there"));
        }
        if !seen.insert(fold(at.as_bytes()).into_owned()) {
            return Err(refused("another file of the answer has that name"));
        }
        if contents.trim().is_empty() || contents.contains('\0') || contents.len() > LONGEST_FILE {
            return Err(NoTests::Size("a file that is empty, too long or not text"));
        }
        if covers.trim().is_empty() || covers.chars().count() > LONGEST_COVERS {
            return Err(NoTests::Size("a file of which it does not say shortly what it covers"));
        }
        tests.push(Written { path, contents, covers });
    }
    Ok(Reply { tests, notes: raw.notes })
}

/// A path at which a generated file may stand.
fn place(path: &str) -> Result<RelPath, &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.+/-".contains(c);
    if path.len() > LONGEST_PATH || !path.chars().all(plain) {
        return Err("it has other characters than plain ones, or too many of them");
    }
    if path.split('/').any(|part| part.starts_with(['-', '.'])) {
        return Err("a part of it begins with a hyphen or a dot");
    }
    let at = RelPath::new(path).map_err(|_| "it is no path beneath the project")?;
    if at.components().any(|part| protected(part).is_some()) {
        return Err("it is a name that is never written");
    }
    let node = Node::File { mode: 0o644, size: 1, hash: crate::id::Hash::of(b"") };
    let change =
        Change { path: at.clone(), before: None, after: After::Node(node), refused: None, stands_for: 0 };
    let obeyed = |risk: &Risk| {
        matches!(
            risk,
            Risk::HostExecution { .. }
                | Risk::SecretFile
                | Risk::Dependencies
                | Risk::Settings
                | Risk::Executable { .. }
        )
    };
    match risks(&change, Content::default(), &Around::default()).iter().any(obeyed) {
        true => Err("tools run or obey a file of that name, or secrets are kept under it"),
        false => Ok(at),
    }
}

/// A text without the fence that models like to put around JSON.
fn unfenced(text: &str) -> &str {
    let inner = text.strip_prefix("```json").or_else(|| text.strip_prefix("```"));
    inner.and_then(|inner| inner.trim().strip_suffix("```")).map_or(text, str::trim)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read_it(value: &Value) -> Result<Reply, NoTests> {
        read(&value.to_string(), |path| path.as_bytes() == b"tests/there.py")
    }

    fn at(path: &str) -> Value {
        json!({"tests": [{"path": path, "contents": "assert True\n", "covers": "nothing"}], "notes": ""})
    }

    #[test]
    fn files_of_tests_are_read() {
        let text = at("tests/test_x.py").to_string();
        for text in [text.clone(), format!("```json\n{text}\n```"), format!("\n```\n{text}```\n")] {
            let reply = read(&text, |_| false).unwrap();
            assert_eq!(reply.tests[0].path, "tests/test_x.py");
            assert_eq!(reply.tests[0].covers, "nothing");
        }
        for path in ["a_test.go", "src/deep/er/x.test.js", "src/test/java/a/BTest.java", "tests/x+y-z.rs"] {
            assert!(read_it(&at(path)).is_ok(), "{path}: {:?}", read_it(&at(path)));
        }
    }

    #[test]
    fn everything_else_is_no_answer() {
        let good = at("a_test.py").to_string();
        for text in [
            String::new(),
            "All tests passed.".to_owned(),
            format!("Here they are: {good}"),
            format!("{good}{good}"),
            format!("[{good}]"),
            good.replace("\"notes\"", "\"passed\":true,\"notes\""),
            good.replace("\"covers\"", "\"verdict\":\"passed\",\"covers\""),
            good.replace("\"notes\":\"\",", ""),
            good.replace("\"notes\":\"\"", "\"notes\":null"),
        ] {
            assert_eq!(read(&text, |_| false), Err(NoTests::Form), "{text}");
        }
    }

    #[test]
    fn no_file_may_stand_where_a_tool_or_an_attacker_wants_one() {
        for path in [
            "",
            "/etc/passwd",
            "../x.py",
            "a/../../x.py",
            "a//b.py",
            "./x.py",
            "a/.",
            "-x.py",
            "a/-x.py",
            "a b.py",
            "a\\b.py",
            ".git/hooks/pre-commit",
            "a/.git/config",
            ".github/workflows/x.yml",
            "tests/.env",
            "x\n.py",
            "conftest.py",
            "tests/conftest.py",
            "package.json",
            "Makefile",
            "build.rs",
            "setup.py",
            "a'b.py",
            "$(x).py",
            "jest.config.js",
            "requirements.txt",
            "tests/there.py",
            "a;b.py",
            "x\u{202e}.py",
            "id_rsa",
            "CLAUDE.md",
        ] {
            assert!(
                matches!(read_it(&at(path)), Err(NoTests::Path { .. })),
                "{path:?}: {:?}",
                read_it(&at(path))
            );
        }
    }

    #[test]
    fn there_is_a_limit_to_everything() {
        let test =
            |contents: &str, covers: &str| json!({"path": "a.py", "contents": contents, "covers": covers});
        let of = |tests: Vec<Value>| read_it(&json!({"tests": tests, "notes": ""}));
        let long = "x".repeat(LONGEST_FILE + 1);
        for tests in [
            vec![],
            vec![test("", "x")],
            vec![test(" \n", "x")],
            vec![test("a\0b", "x")],
            vec![test("a", " ")],
            vec![test("a", &"x".repeat(LONGEST_COVERS + 1))],
            vec![test(&long, "x")],
            vec![test("a", "x"); MOST_FILES + 1],
        ] {
            assert!(matches!(of(tests.clone()), Err(NoTests::Size(_))), "{:?}", of(tests));
        }
        let named = |path: &str, contents: &str| json!({"path": path, "contents": contents, "covers": "x"});
        assert!(matches!(of(vec![named("a.py", "a"), named("A.py", "b")]), Err(NoTests::Path { .. })));
        let full = "x".repeat(LONGEST_FILE);
        let many: Vec<Value> =
            ["a.py", "b.py", "c.py", "d.py"].iter().map(|path| named(path, &full)).collect();
        assert!(matches!(of(many), Err(NoTests::Size(_))));
        let much = at("a.py").to_string() + &" ".repeat(LONGEST_ANSWER);
        assert!(matches!(read(&much, |_| false), Err(NoTests::Size(_))));
    }
}
