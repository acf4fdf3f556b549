//! Generated tests in every framework that this machine has: what passes, fails and cannot run, and that a control
//! run fails where a run may be believed. The commands run here as they are, without a sandbox.

use std::collections::BTreeMap;
use std::process::Command;

use ftl_core::tester::control::{Run, control, plain};
use ftl_core::tester::framework::detect;
use ftl_core::tester::trial::{Around, unfit};
use ftl_core::tester::{Framework, NOT_BUILT, Trial};
use ftl_core::verify::guess::Files;
use ftl_tests::project;

/// A project with a function that is right, one file of tests for it, and three other ways to write the function.
struct Case {
    framework: Framework,
    /// What must be there to try it.
    program: &'static str,
    files: &'static [(&'static str, &'static str)],
    test: (&'static str, &'static str),
    /// The file that is replaced.
    code: &'static str,
    wrong: &'static str,
    /// Ends the process well before anything was compared.
    early: &'static str,
    /// Has other names.
    other: &'static str,
}

struct Tree(BTreeMap<String, String>);

impl Around for Tree {
    fn paths(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn text(&self, path: &str) -> Option<String> {
        self.0.get(path).cloned()
    }
}

impl Files for Tree {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
}

const CASES: [Case; 10] = [
    Case {
        framework: Framework::Unittest,
        program: "python3",
        files: &[("half.py", "def half(n):\n    return n // 2\n")],
        test: (
            "tests/test_half.py",
            "import unittest\nfrom half import half\n\nclass Half(unittest.TestCase):\n    def test_even(self):\n        self.assertEqual(half(4), 2)\n\nif __name__ == '__main__':\n    unittest.main()\n",
        ),
        code: "half.py",
        wrong: "def half(n):\n    return n\n",
        early: "import os\nprint('Ran 1 test in 0.0s\\n\\nOK')\nos._exit(0)\n",
        other: "def halve(n):\n    return n // 2\n",
    },
    Case {
        framework: Framework::Pytest,
        program: "pytest",
        files: &[("half.py", "def half(n):\n    return n // 2\n"), ("conftest.py", "")],
        test: ("tests/test_half.py", "from half import half\n\ndef test_even():\n    assert half(4) == 2\n"),
        code: "half.py",
        wrong: "def half(n):\n    return n\n",
        early: "import os\nprint('1 passed in 0.01s')\nos._exit(0)\n",
        other: "def halve(n):\n    return n // 2\n",
    },
    Case {
        framework: Framework::NodeTest,
        program: "node",
        files: &[("half.js", "exports.half = (n) => Math.floor(n / 2);\n")],
        test: (
            "test/half.test.js",
            "const test = require('node:test');\nconst assert = require('node:assert');\nconst { half } = require('../half.js');\ntest('even', () => assert.strictEqual(half(4), 2));\n",
        ),
        code: "half.js",
        wrong: "exports.half = (n) => n;\n",
        early: "console.log('TAP version 13\\nok 1 - even\\n1..1\\n# pass 1');\nprocess.exit(0);\n",
        other: "throw new SyntaxError('x');\n",
    },
    Case {
        framework: Framework::NodeTest,
        program: "node",
        files: &[("half.mjs", "export const half = (n) => Math.floor(n / 2);\n")],
        test: (
            "half.test.mjs",
            "import test from 'node:test';\nimport { strict as assert } from 'node:assert';\nimport { half } from './half.mjs';\ntest('even', () => assert.equal(half(4), 2));\n",
        ),
        code: "half.mjs",
        wrong: "export const half = (n) => n;\n",
        early: "export const half = 1;\nprocess.on('exit', () => { process.exitCode = 0; });\nprocess.exit(0);\n",
        other: "export const halve = (n) => Math.floor(n / 2);\n",
    },
    Case {
        framework: Framework::Go,
        program: "go",
        files: &[
            ("go.mod", "module example.com/half\n\ngo 1.19\n"),
            ("half/half.go", "package half\n\nfunc Half(n int) int { return n / 2 }\n"),
        ],
        test: (
            "half/half_generated_test.go",
            "package half\n\nimport \"testing\"\n\nfunc TestEven(t *testing.T) {\n\tif got := Half(4); got != 2 {\n\t\tt.Fatalf(\"got %d\", got)\n\t}\n}\n",
        ),
        code: "half/half.go",
        wrong: "package half\n\nfunc Half(n int) int { return n }\n",
        early: "package half\n\nimport \"os\"\n\nfunc init() { os.Exit(0) }\n\nfunc Half(n int) int { return n }\n",
        other: "package half\n\nfunc Halve(n int) int { return n / 2 }\n",
    },
    Case {
        framework: Framework::Java,
        program: "javac",
        files: &[(
            "src/num/Half.java",
            "package num;\npublic class Half {\n    public static int of(int n) { return n / 2; }\n}\n",
        )],
        test: (
            "test/num/HalfCheck.java",
            "package num;\npublic class HalfCheck {\n    public static void main(String[] args) throws Exception {\n        assert Half.of(4) == 2 : Half.of(4);\n    }\n}\n",
        ),
        code: "src/num/Half.java",
        wrong: "package num;\npublic class Half {\n    public static int of(int n) { return n; }\n}\n",
        early: "package num;\npublic class Half {\n    public static int of(int n) { Runtime.getRuntime().halt(0); return n; }\n}\n",
        other: "package num;\npublic class Half {\n    public static int half(int n) { return n / 2; }\n}\n",
    },
    Case {
        framework: Framework::Java,
        program: "junit4",
        files: &[(
            "Half.java",
            "public class Half {\n    public static int of(int n) { return n / 2; }\n}\n",
        )],
        test: (
            "HalfTest.java",
            "import static org.junit.Assert.assertEquals;\nimport org.junit.Test;\npublic class HalfTest {\n    @Test\n    public void even() { assertEquals(2, Half.of(4)); }\n}\n",
        ),
        code: "Half.java",
        wrong: "public class Half {\n    public static int of(int n) { return n; }\n}\n",
        early: "public class Half {\n    static { System.out.println(\"OK (1 test)\"); System.exit(0); }\n    public static int of(int n) { return n; }\n}\n",
        other: "public class Half {\n    public static int half(int n) { return n / 2; }\n}\n",
    },
    Case {
        framework: Framework::Cpp,
        program: "g++",
        files: &[
            ("include/half.hpp", "int half(int n);\n"),
            ("src/half.cpp", "#include \"half.hpp\"\nint half(int n) { return n / 2; }\n"),
            ("src/main.cpp", "#include \"half.hpp\"\nint main() { return half(0); }\n"),
        ],
        test: (
            "tests/half_generated.cpp",
            "#include <cassert>\n#include \"half.hpp\"\nint main() {\n    assert(half(4) == 2);\n}\n",
        ),
        code: "src/half.cpp",
        wrong: "#include \"half.hpp\"\nint half(int n) { return n; }\n",
        early: "#include <cstdio>\n#include <unistd.h>\nstruct E { E() { std::puts(\"all tests passed\"); _exit(0); } } e;\nint half(int n) { return n; }\n",
        other: "int halve(int n) { return n / 2; }\n",
    },
    Case {
        framework: Framework::Cpp,
        program: "g++",
        files: &[
            ("half.h", "inline int half(int n) { return n / 2; }\n"),
            ("a.cpp", "#include \"half.h\"\n"),
        ],
        test: (
            "tests/half_generated.cpp",
            "#include <cassert>\n#include \"half.h\"\nint main(int argc, char** argv) {\n    (void)argv;\n    assert(half(4) == 1 + argc);\n    return 0;\n}\n",
        ),
        code: "half.h",
        wrong: "inline int half(int n) { return n; }\n",
        early: "#undef assert\n#define assert(x) ((void)0)\ninline int half(int n) { return n; }\n",
        other: "inline int halve(int n) { return n / 2; }\n",
    },
    Case {
        framework: Framework::Cargo,
        program: "cargo",
        files: &[
            ("Cargo.toml", "[package]\nname = \"half\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
            ("src/lib.rs", "pub fn half(n: u32) -> u32 {\n    n / 2\n}\n"),
        ],
        test: ("tests/generated.rs", "#[test]\nfn even() {\n    assert_eq!(half::half(4), 2);\n}\n"),
        code: "src/lib.rs",
        wrong: "pub fn half(n: u32) -> u32 {\n    n\n}\n",
        early: "pub fn half(n: u32) -> u32 {\n    println!(\"test result: ok. 1 passed; 0 failed\");\n    if n > 0 { std::process::exit(0) }\n    n\n}\n",
        other: "pub fn halve(n: u32) -> u32 {\n    n / 2\n}\n",
    },
];

/// The status of a run in a directory of its own, and what was printed.
fn status(files: &BTreeMap<String, String>, run: &Run) -> (i32, String) {
    let dir = tempfile::tempdir().expect("a directory");
    for (path, text) in files.iter().chain(run.files.iter().map(|(path, text)| (path, text))) {
        project::write(&dir.path().join("p"), &[(path, text)]);
    }
    let own = format!("{}/ftl-", dir.path().display());
    let command = run.command.replace("/tmp/ftl-", &own);
    let said = Command::new("/bin/sh")
        .args(["-c", "--", &command])
        .current_dir(dir.path().join("p"))
        .env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/bin:/bin")
        .env("GOPROXY", "off")
        .output()
        .expect("a shell");
    let printed = [said.stdout, said.stderr].concat();
    (said.status.code().unwrap_or(-1), String::from_utf8_lossy(&printed).into_owned())
}

fn is_there(program: &str) -> bool {
    if program == "junit4" {
        return std::path::Path::new("/usr/share/java/junit4.jar").exists();
    }
    let found = match program {
        "pytest" => Command::new("python3").args(["-m", "pytest", "--version"]).output(),
        _ => Command::new("/bin/sh").args(["-c", &format!("command -v {program}")]).output(),
    };
    found.is_ok_and(|found| found.status.success())
}

#[test]
fn what_a_framework_says_is_told_from_what_it_is_made_to_say() {
    let mut tried = Vec::new();
    for case in CASES {
        if !is_there(case.program) {
            eprintln!("{} is not here", case.program);
            continue;
        }
        let with = |code: Option<&str>| {
            let mut files: BTreeMap<String, String> =
                case.files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
            files.extend(code.map(|code| (case.code.to_owned(), code.to_owned())));
            files
        };
        let right = Tree(with(None));
        let names = right.paths();
        assert_eq!(detect(names.iter().map(String::as_str), &right), Some(case.framework));
        let trial = Trial { framework: case.framework, path: case.test.0, contents: case.test.1 };
        assert_eq!(unfit(&trial), None, "{}", case.test.0);
        let (run, held) = (plain(&trial, &right), control(&trial, &right, 0x1234));
        let at = |code, run: &Run| status(&with(code), run);
        let (code, said) = at(None, &run);
        assert_eq!(code, 0, "{}: {said}", case.test.0);
        let (code, said) = at(None, &held);
        assert!(code != 0 && code != NOT_BUILT, "the control of {}: {code}: {said}", case.test.0);
        let (code, said) = at(Some(case.wrong), &run);
        assert!(code != 0 && code != NOT_BUILT, "{}: {code}: {said}", case.test.0);
        let (code, said) = at(Some(case.other), &run);
        assert_eq!(code, NOT_BUILT, "{}: {said}", case.test.0);
        // It may look like a pass, and then the control passes too.
        let (code, _) = at(Some(case.early), &run);
        let (held, said) = at(Some(case.early), &held);
        assert!(code != 0 || held == 0 || held == NOT_BUILT, "{}: {code} {held}: {said}", case.test.0);
        tried.push(case.framework);
    }
    assert!(tried.len() >= 4, "too little is here to try: {tried:?}");
}
