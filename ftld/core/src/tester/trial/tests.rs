//! What is run for each framework, and that no name of a project gets out of its word.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

struct Tree(BTreeMap<String, String>);

impl Around for Tree {
    fn paths(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn text(&self, path: &str) -> Option<String> {
        self.0.get(path).cloned()
    }
}

fn tree(files: &[(&str, &str)]) -> Tree {
    Tree(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
}

fn trial<'a>(framework: Framework, path: &'a str, contents: &'a str) -> Trial<'a> {
    Trial { framework, path, contents }
}

#[test]
fn a_file_that_is_none_of_the_frameworks_is_not_run() {
    use Framework as F;
    let unit = "class A(unittest.TestCase):\n  def test_a(self): pass";
    for (framework, path, contents) in [
        (F::Unittest, "tests/test_a.py", unit),
        (F::Pytest, "test_a.py", "def test_a(): pass"),
        (F::NodeTest, "a.test.js", "test('a', () => {})"),
        (F::Vitest, "a.test.ts", "it('a', () => {})"),
        (F::Go, "a/a_test.go", "func TestA(t *testing.T) {}"),
        (F::Java, "ATest.java", "public static void main(String[] args) {}"),
        (F::Maven, "src/test/java/ATest.java", "@Test void a() {}"),
        (F::Cpp, "tests/a.cpp", "#include <cassert>\nint main() {}"),
        (F::Cargo, "tests/a.rs", "#[test]\nfn a() {}"),
        (F::Cargo, "crates/b/tests/a.rs", "#[test]\nfn a() {}"),
    ] {
        assert_eq!(unfit(&trial(framework, path, contents)), None, "{path}");
        assert!(unfit(&trial(framework, path, "print('1 passed')")).is_some(), "{path}");
        assert!(unfit(&trial(framework, "tests/run.sh", contents)).is_some(), "{path}");
    }
    for path in ["src/a.rs", "a.rs", "tests/.rs", "tests/a/b.rs", "xtests/a.rs"] {
        assert!(unfit(&trial(F::Cargo, path, "#[test]")).is_some(), "{path}");
    }
    assert!(unfit(&trial(F::Jest, "a.js", "test('a')")).is_some());
    assert!(unfit(&trial(F::Go, "a_test.go", "func TestMain(m *testing.M) {}")).is_some());
}

#[test]
fn the_command_is_ours_and_names_the_file() {
    let sources = tree(&[
        ("Cargo.toml", ""),
        ("crates/b/Cargo.toml", ""),
        ("src/a.cpp", "int f() { return 1; }"),
        ("src/main.cpp", "int main() {}"),
        ("tests/old.cpp", "int main() {}"),
        ("-x.cpp", ""),
        ("src/it's.cpp", ""),
        ("p/A.java", ""),
        ("test/p/ATest.java", ""),
    ]);
    let of = |framework, path, contents, also| command(&trial(framework, path, contents), &sources, also);
    let go = of(Framework::Go, "a/b_test.go", "func TestA(t *testing.T) {}\nfunc TestB (", None);
    assert!(go.contains("; go test -count=1 -v -run '^(TestA)$' './a' >"), "{go}");
    let cpp = of(Framework::Cpp, "tests/new.cpp", "int main() {}", None);
    assert!(cpp.contains(r"'tests/new.cpp' './-x.cpp' './src/a.cpp' './src/it'\''s.cpp' ||"), "{cpp}");
    let rust = of(Framework::Cargo, "crates/b/tests/n.rs", "", None);
    assert!(rust.contains("--manifest-path 'crates/b/Cargo.toml' --test 'n' --no-run || exit 125"), "{rust}");
    assert_eq!(of(Framework::Cargo, "none/tests/n.rs", "", None), "exit 125");
    let java = of(Framework::Java, "test/p/NTest.java", "package p;\n", Some("XTest"));
    assert!(java.contains("'test/p/NTest.java' 'test/p/XTest.java' './p/A.java'"), "{java}");
    assert!(java.ends_with(" p.XTest"), "{java}");
    let junit = of(Framework::Java, "NTest.java", "import org.junit.Test;", None);
    assert!(junit.ends_with("org.junit.runner.JUnitCore NTest"), "{junit}");
    let maven = of(Framework::Maven, "src/test/java/p/NTest.java", "package p;", Some("XTest"));
    assert!(maven.contains("-Dtest=p.NTest,p.XTest test"), "{maven}");
}

proptest! {
    #[test]
    fn no_source_of_the_project_gets_out_of_its_word(name in "[ -~]{1,20}", package in "[ -~]{0,20}") {
        let sources = tree(&[(&format!("{name}.java"), "")]);
        let contents = format!("package {package};\n@Test");
        let command = command(&trial(Framework::Java, "ATest.java", &contents), &sources, None);
        // What stands outside of quotes is ours, but for a package's name.
        let mut outside = String::new();
        for (at, part) in command.replace(r"'\''", "").split('\'').enumerate() {
            if at % 2 == 0 {
                outside += part;
            }
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || " _./:|&;=-".contains(c);
        prop_assert!(outside.chars().all(plain), "{}", outside);
    }
}
