//! The control run: the same file with a test that must fail.
//!
//! Owns what is added. The code under test runs in the framework's own process, so it can end the run with success,
//! print what a framework prints, or make every assertion hold. Whatever does that makes the added test pass too,
//! and then the run is not believed. What is added bears a name drawn for this run, and tries the assertions that
//! tests are made of. It stops nothing that reads the test file and steers by it.

use super::framework::Framework;
use super::trial::{Around, Trial, beside, command, is_junit, package};

/// A run: files that are laid over the work, and the command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Path and contents of each file.
    pub files: Vec<(String, String)>,
    /// The command, for a shell.
    pub command: String,
}

/// The run of a file as it is.
#[must_use]
pub fn plain(trial: &Trial<'_>, around: &dyn Around) -> Run {
    let files = vec![(trial.path.to_owned(), trial.contents.to_owned())];
    Run { files, command: command(trial, around, None) }
}

/// The run that must fail. `number` is drawn for it.
#[must_use]
pub fn control(trial: &Trial<'_>, around: &dyn Around, number: u64) -> Run {
    let name = format!("{}{number:016x}", ["a", "k", "q", "w"][usize::from(number.to_le_bytes()[0] % 4)]);
    let (contents, also, more) = match trial.framework {
        Framework::Unittest => (appended(trial, UNITTEST, &name), None, None),
        Framework::Pytest => (appended(trial, PYTEST, &name), None, None),
        Framework::NodeTest => (appended(trial, NODE, &name) + &node_test(trial, &name), None, None),
        Framework::Vitest => {
            let import = format!("\nimport {{ test as t_{name}, expect as e_{name} }} from 'vitest';\n");
            (appended(trial, EXPECT, &name) + &import, None, None)
        }
        Framework::Jest => (appended(trial, JEST, &name), None, None),
        Framework::Go => (appended(trial, GO, &name), Some(format!("Test{}", capital(&name))), None),
        Framework::Cargo => (appended(trial, RUST, &name), None, None),
        Framework::Cpp => (wrapped(trial.contents, &name), None, None),
        Framework::Java | Framework::Maven | Framework::Gradle => {
            let class = format!("{}Test", capital(&name));
            let file = (beside(trial.path, &class), java(trial, &class));
            (trial.contents.to_owned(), Some(class), Some(file))
        }
    };
    let mut files = vec![(trial.path.to_owned(), contents)];
    files.extend(more);
    Run { files, command: command(trial, around, also.as_deref()) }
}

fn appended(trial: &Trial<'_>, text: &str, name: &str) -> String {
    format!("{}\n{}", trial.contents, text.replace("CAPITAL", &capital(name)).replace("NAME", name))
}

fn capital(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    first.to_ascii_uppercase() + rest
}

const UNITTEST: &str = r#"
import unittest as unittest_NAME
class TestCAPITAL(unittest_NAME.TestCase):
    def test_NAME(self):
        def raises():
            with self.assertRaises(ZeroDivisionError):
                pass
        for wrong in (
            lambda: self.assertEqual(1, 2), lambda: self.assertTrue(0), lambda: self.assertFalse(1),
            lambda: self.assertIn(1, [2]), lambda: self.assertIs(None, 1), lambda: self.assertIsNone(1),
            lambda: self.assertNotEqual(1, 1), lambda: self.assertGreater(1, 2), lambda: self.assertLess(2, 1),
            lambda: self.assertAlmostEqual(1, 2), lambda: self.assertListEqual([1], [2]), lambda: self.fail(), raises,
        ):
            try:
                wrong()
            except AssertionError:
                continue
            return
        assert False
"#;

const PYTEST: &str = r#"
def test_NAME():
    import pytest, unittest
    def raises():
        with pytest.raises(ZeroDivisionError):
            pass
    def compares():
        assert 1 == 2
    case = unittest.TestCase()
    for wrong in (
        raises, compares, lambda: pytest.fail("no"), lambda: case.assertEqual(1, 2), lambda: case.assertTrue(0),
    ):
        try:
            wrong()
        except BaseException:
            continue
        return
    assert False
"#;

const NODE: &str = r#"
function f_NAME(assert) {
  const wrong = [
    () => assert.equal(1, 2), () => assert.strictEqual(1, 2), () => assert.deepEqual([1], [2]),
    () => assert.deepStrictEqual([1], [2]), () => assert.ok(false), () => assert.notStrictEqual(1, 1),
    () => assert.throws(() => {}), () => assert.fail('no'), () => assert.strict.equal(1, 2),
  ];
  for (const one of wrong) {
    let held = false;
    try { one(); held = true; } catch { }
    if (held) return;
  }
  throw new Error('NAME');
}
"#;

/// How a script for Node reaches its own runner.
fn node_test(trial: &Trial<'_>, name: &str) -> String {
    let starts = |line: &str| {
        line.starts_with("import ") || line.starts_with("import{") || line.starts_with("export ")
    };
    let is_module = !trial.path.ends_with(".cjs")
        && (trial.path.ends_with(".mjs") || trial.path.ends_with("ts") || trial.contents.lines().any(starts));
    match is_module {
        true => format!(
            "import {{ test as t_{name} }} from 'node:test';\nimport a_{name} from 'node:assert';\n\
             t_{name}('{name}', () => f_{name}(a_{name}));\n"
        ),
        false => {
            format!("require('node:test').test('{name}', () => f_{name}(require('node:assert')));\n")
        }
    }
}

const EXPECT: &str = r#"
t_NAME('NAME', () => {
  const wrong = [
    () => e_NAME(1).toBe(2), () => e_NAME([1]).toEqual([2]), () => e_NAME(0).toBeTruthy(),
    () => e_NAME(() => {}).toThrow(), () => e_NAME(1).toStrictEqual(2),
  ];
  for (const one of wrong) {
    let held = false;
    try { one(); held = true; } catch { }
    if (held) return;
  }
  throw new Error('NAME');
});
"#;

const JEST: &str = r#"
test('NAME', () => {
  const wrong = [
    () => expect(1).toBe(2), () => expect([1]).toEqual([2]), () => expect(0).toBeTruthy(),
    () => expect(() => {}).toThrow(), () => expect(1).toStrictEqual(2),
  ];
  for (const one of wrong) {
    let held = false;
    try { one(); held = true; } catch { }
    if (held) return;
  }
  throw new Error('NAME');
});
"#;

const GO: &str = r#"
func TestCAPITAL(t *testing.T) {
	t.Run("NAME", func(t *testing.T) { t.Error("NAME") })
	t.Fatal("NAME")
}
"#;

const RUST: &str = r#"
#[test]
fn t_NAME() {
    let wrong: [fn(); 4] = [
        || assert!(::std::hint::black_box(false)),
        || assert_eq!(::std::hint::black_box(1), 2),
        || assert_ne!(::std::hint::black_box(1), 1),
        || ::std::panic!("NAME"),
    ];
    for one in wrong {
        if ::std::panic::catch_unwind(one).is_ok() {
            return;
        }
    }
    ::std::panic!("NAME");
}
"#;

/// A program whose own `main` is called by one that must not end well.
fn wrapped(contents: &str, name: &str) -> String {
    format!(
        "#define main m_{name}\n#line 1\n{contents}\n#undef main\n\
         namespace {{\n\
         [[maybe_unused]] void c_{name}(int (*f)(), int, char**) {{ f(); }}\n\
         [[maybe_unused]] void c_{name}(int (*f)(int, char**), int c, char** v) {{ f(c, v); }}\n\
         [[maybe_unused]] void c_{name}(int (*f)(int, const char**), int c, char** v) \
         {{ f(c, const_cast<const char**>(v)); }}\n\
         }}\n\
         int main(int c, char** v) {{\n    c_{name}(&m_{name}, c, v);\n\
         #ifdef assert\n    assert(c < 0);\n    return 0;\n#else\n    return 97;\n#endif\n}}\n"
    )
}

/// A class beside the one that is run.
fn java(trial: &Trial<'_>, class: &str) -> String {
    let package = package(trial.contents).map(|name| format!("package {name};\n")).unwrap_or_default();
    if !is_junit(trial.contents) {
        let file = trial.path.rsplit('/').next().unwrap_or(trial.path);
        let own = file.strip_suffix(".java").unwrap_or(file);
        return format!(
            "{package}public class {class} {{\n    public static void main(String[] args) throws Throwable {{\n        \
             {own}.main(args);\n        assert args.length > 9;\n    }}\n}}\n"
        );
    }
    let (test, asserts) = match trial.contents.contains("org.junit.jupiter") {
        true => ("org.junit.jupiter.api.Test", "org.junit.jupiter.api.Assertions"),
        false => ("org.junit.Test", "org.junit.Assert"),
    };
    format!(
        "{package}public class {class} {{\n    @{test}\n    public void t() {{\n        Runnable[] wrong = {{\n            \
         () -> {asserts}.assertEquals(1L, 2L), () -> {asserts}.assertTrue(false),\n            \
         () -> {asserts}.assertFalse(true), () -> {asserts}.assertNull(\"\"), () -> {asserts}.fail(\"no\"),\n        \
         }};\n        for (Runnable one : wrong) {{\n            boolean held = false;\n            \
         try {{ one.run(); held = true; }} catch (Throwable expected) {{ }}\n            if (held) return;\n        }}\n        \
         throw new AssertionError(\"{class}\");\n    }}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Around for Nothing {
        fn paths(&self) -> Vec<String> {
            Vec::new()
        }

        fn text(&self, _path: &str) -> Option<String> {
            Some(String::new())
        }
    }

    const ALL: [(Framework, &str, &str); 11] = [
        (Framework::Unittest, "tests/test_a.py", "import unittest\n"),
        (Framework::Pytest, "test_a.py", "def test_a(): pass\n"),
        (Framework::NodeTest, "a.test.js", "const test = require('node:test');\n"),
        (Framework::Vitest, "a.test.ts", "import { test } from 'vitest';\n"),
        (Framework::Jest, "a.test.js", "test('a', () => {});\n"),
        (Framework::Go, "a_test.go", "package a\nfunc TestA(t *testing.T) {}\n"),
        (Framework::Java, "x/ATest.java", "package x;\npublic class ATest {}\n"),
        (Framework::Maven, "src/test/java/ATest.java", "import org.junit.Test;\n"),
        (Framework::Gradle, "src/test/java/ATest.java", "import org.junit.jupiter.api.Test;\n"),
        (Framework::Cpp, "tests/a.cpp", "int main() {}\n"),
        (Framework::Cargo, "tests/a.rs", "#[test]\nfn a() {}\n"),
    ];

    #[test]
    fn what_is_added_bears_a_name_that_was_drawn_and_leaves_the_file_as_it_is() {
        for (framework, path, contents) in ALL {
            let trial = Trial { framework, path, contents };
            let (one, other) = (control(&trial, &Nothing, 7), control(&trial, &Nothing, 8));
            assert_ne!(one.files, other.files, "{framework:?}");
            assert_ne!(one.files, plain(&trial, &Nothing).files, "{framework:?}");
            assert!(one.files[0].1.contains(contents.trim_end()), "{framework:?}");
            assert!(
                one.files.iter().any(|(_, text)| text.to_lowercase().contains("0000000000000007")),
                "{framework:?}"
            );
            assert!(
                !one.files.iter().any(|(_, text)| text.contains("NAME") || text.contains("CAPITAL")),
                "{framework:?}"
            );
        }
    }

    #[test]
    fn a_script_for_node_gets_what_fits_its_kind_of_module() {
        let of = |path, contents| {
            let trial = Trial { framework: Framework::NodeTest, path, contents };
            control(&trial, &Nothing, 1).files[0].1.contains("require('node:test')")
        };
        assert!(of("a.test.js", "const test = require('node:test');"));
        assert!(!of("a.test.js", "import test from 'node:test';"));
        assert!(!of("a.test.mjs", ""));
        assert!(of("a.test.cjs", "// import x"));
    }
}
