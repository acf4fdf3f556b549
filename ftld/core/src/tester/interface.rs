//! What of a source is its public interface, line by line.
//!
//! Owns which lines of a language declare something that a test can name. It reads lines, not grammars: what it
//! misses a model does not know, and nothing depends on it.

/// Characters of a line that are shown.
const LONGEST: usize = 400;
/// Lines of a file that are shown.
const MOST: usize = 200;

/// The lines of a source that declare what others can use, with their numbers from 1. Nothing for a file whose
/// language is not known.
#[must_use]
pub fn declared(path: &str, text: &str) -> Vec<(u64, String)> {
    let Some(declares) = language(path) else { return Vec::new() };
    let lines = text.lines().zip(1..).filter(|(line, _)| declares(line));
    lines.take(MOST).map(|(line, number)| (number, line.trim_end().chars().take(LONGEST).collect())).collect()
}

/// Whether a source is one of tests, by its path.
#[must_use]
pub fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let dirs = path.split('/').rev().skip(1);
    let in_tests = dirs.into_iter().any(|dir| matches!(dir, "test" | "tests" | "spec" | "__tests__"));
    let stem = name.split('.').next().unwrap_or(name);
    language(path).is_some()
        && (in_tests
            || stem.starts_with("test_")
            || stem.ends_with("_test")
            || stem.ends_with("Test")
            || name.contains(".test.")
            || name.contains(".spec."))
}

type Declares = fn(&str) -> bool;

fn language(path: &str) -> Option<Declares> {
    let (_, end) = path.rsplit_once('.')?;
    Some(match end {
        "py" => python,
        "js" | "mjs" | "cjs" | "ts" | "mts" | "cts" | "jsx" | "tsx" => script,
        "go" => go,
        "java" => java,
        "h" | "hpp" | "hh" | "hxx" | "cpp" | "cc" | "cxx" => cpp,
        "rs" => rust,
        _ => return None,
    })
}

/// Whether a text begins with one of these.
fn begins(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.starts_with(word))
}

fn python(line: &str) -> bool {
    let text = line.trim_start();
    let depth = line.len() - text.len();
    let declares = begins(text, &["def ", "class ", "async def "]);
    let private = begins(text, &["def _", "class _", "async def _"]) && !begins(text, &["def __init__"]);
    let assigned = depth == 0 && text.split_once('=').is_some_and(|(name, _)| is_constant(name));
    depth <= 4 && (declares && !private || assigned)
}

fn is_constant(name: &str) -> bool {
    let name = name.split(':').next().unwrap_or(name).trim();
    !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

fn script(line: &str) -> bool {
    let method = |text: &str| {
        text.ends_with('{') && text.contains('(') && line.starts_with("  ") && !line.starts_with("    ")
    };
    let word =
        |text: &str| begins(text, &["if ", "if(", "for ", "while ", "switch ", "return ", "try ", "} "]);
    let text = line.trim();
    begins(
        line,
        &[
            "export ",
            "module.exports",
            "exports.",
            "function ",
            "async function ",
            "class ",
            "interface ",
            "type ",
        ],
    ) || method(text) && !word(text)
}

fn go(line: &str) -> bool {
    let after = |word: &str| line.strip_prefix(word).map(str::trim_start);
    let exported = |text: &str| text.starts_with(char::is_uppercase);
    let method = |text: &str| text.split_once(')').is_some_and(|(_, name)| exported(name.trim_start()));
    line.starts_with("package ")
        || ["type ", "var ", "const "].iter().any(|word| after(word).is_some_and(exported))
        || after("func ")
            .is_some_and(|text| if text.starts_with('(') { method(text) } else { exported(text) })
}

fn java(line: &str) -> bool {
    let text = line.trim_start();
    begins(
        text,
        &[
            "public ",
            "protected ",
            "package ",
            "static ",
            "record ",
            "enum ",
            "interface ",
            "class ",
            "final class ",
        ],
    )
}

fn cpp(line: &str) -> bool {
    let text = line.trim();
    let declares =
        text.contains('(') && (text.ends_with(';') || text.ends_with('{')) && !text.starts_with('#');
    let outer = line.len() - line.trim_start().len() <= 4;
    let word = begins(
        text,
        &["if ", "if(", "for ", "for(", "while ", "while(", "switch", "return ", "//", "*", "} ", "assert"],
    );
    begins(text, &["class ", "struct ", "enum ", "namespace ", "template", "using "])
        || declares && outer && !word
}

fn rust(line: &str) -> bool {
    let text = line.trim_start();
    begins(
        text,
        &[
            "pub fn ",
            "pub struct ",
            "pub enum ",
            "pub trait ",
            "pub const ",
            "pub type ",
            "pub mod ",
            "pub use ",
        ],
    ) || begins(text, &["pub async fn ", "pub const fn ", "impl ", "impl<"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<u64> {
        declared(path, text).into_iter().map(|(number, _)| number).collect()
    }

    #[test]
    fn declarations_are_found_in_every_language() {
        let python = "import x\ndef a(b):\n    c = 1\ndef _d(): pass\nclass E:\n    def f(self):\n        def g(): pass\nLIMIT = 3\n";
        assert_eq!(lines("a.py", python), [2, 5, 6, 8]);
        let script = "const a = 1;\nexport function b() {\n  if (a) {\n}\nclass C {\n  d(e) {\n    f();\nmodule.exports = { b };\n";
        assert_eq!(lines("a.mjs", script), [2, 5, 6, 8]);
        let go = "package a\nfunc B() {}\nfunc c() {}\nfunc (d *D) E() {}\nfunc (d *D) f() {}\ntype G struct {}\n\treturn\n";
        assert_eq!(lines("a.go", go), [1, 2, 4, 6]);
        let java = "package a;\npublic class B {\n    private int c;\n    public int d() { return c; }\n    static int e() {\n";
        assert_eq!(lines("B.java", java), [1, 2, 4, 5]);
        let cpp = "#include <x>\nnamespace a {\nint b(int c);\n    if (c) {\nint d(int e) {\n    return f(e);\nclass G {\n";
        assert_eq!(lines("a.hpp", cpp), [2, 3, 5, 7]);
        let rust = "use x;\npub fn a() {}\nfn b() {}\npub struct C;\nimpl C {\n    pub fn d(&self) {}\n    let e = 1;\n";
        assert_eq!(lines("a.rs", rust), [2, 4, 5, 6]);
        assert_eq!(lines("a.txt", rust), [0_u64; 0]);
        assert_eq!(declared("a.rs", &format!("pub fn {}", "x".repeat(1000)))[0].1.chars().count(), LONGEST);
        assert_eq!(declared("a.rs", &"pub fn a() {}\n".repeat(1000)).len(), MOST);
    }

    #[test]
    fn tests_are_known_by_their_place_and_their_name() {
        for path in [
            "tests/a.rs",
            "a_test.go",
            "test_a.py",
            "a.test.js",
            "src/test/java/a/B.java",
            "x/ATest.java",
            "a.spec.ts",
        ] {
            assert!(is_test(path), "{path}");
        }
        for path in ["src/a.rs", "latest.go", "testing.py", "tests/data.json", "attest.js"] {
            assert!(!is_test(path), "{path}");
        }
    }
}
