//! What checks find installed: real packages of the project's, never the agent's, and what the setup makes.

use std::path::Path;
use std::process::Command;

use ftl_tests::online::{HOST, Setup};
use ftl_tests::server::python;
use ftl_tests::world::{Who, World, said};
use serde_json::{Value, json};

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

fn host(dir: &Path, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) {
    let mut command = Command::new(program);
    let said = said(command.args(args).current_dir(dir).output().unwrap());
    assert_eq!(said.code, 0, "{command:?}: {said:#?}");
}

/// What the test of a session's work says: the last verdict, and all that was printed.
fn tried(world: &World, code: i32, session: &str) -> (String, String) {
    let lines = world.json_lines(code, ["test", session]);
    let ended = lines.iter().rev().find(|line| line["type"] == "check_ended");
    let verdict = text(ended.unwrap_or_else(|| panic!("no check ended: {lines:#?}")), "verdict").to_owned();
    let printed = lines.iter().filter(|line| line["type"] == "check_output").map(|line| text(line, "data"));
    (verdict, printed.collect())
}

/// Has an agent's shell change a project, and gives the session.
fn changed(world: &World, script: &str) -> String {
    text(&world.shell(script), "session").to_owned()
}

#[test]
fn a_node_project_is_tested_with_what_npm_installed() {
    let world = World::new(Who::Me);
    world.config(&json!({}));
    world.files(&[
        (".gitignore", "node_modules\n"),
        ("package.json", r#"{"name": "p", "version": "1.0.0", "scripts": {"test": "uvu tests"}}"#),
        ("add.js", "exports.add = (a, b) => a + b;\n"),
        (
            "tests/add.js",
            "const { test } = require('uvu'); const assert = require('uvu/assert');\n\
             test('add', () => assert.is(require('../add').add(1, 2), 3)); test.run();\n",
        ),
    ]);
    let project = world.project();
    host(&project, "npm", &["install", "--no-audit", "--no-fund", "--no-save", "uvu@0.5.6"]);
    world.files(&[("node_modules/uvu/.env", "TOKEN=hunter2hunter2\n")]);

    let fine = changed(&world, "echo '// fine' >> add.js");
    let (verdict, printed) = tried(&world, 0, &fine);
    assert_eq!(verdict, "passed", "{printed}");
    assert!(printed.contains("Passed:"), "{printed}");

    // What the agent has put there was not reviewed, and does not say whether its own work is sound.
    let planted = "mkdir -p node_modules/.bin; printf '#!/bin/sh\\nexit 0\\n' > node_modules/.bin/uvu; \
                   chmod +x node_modules/.bin/uvu; sed -i 's/a + b/a - b/' add.js";
    let (verdict, printed) = tried(&world, 1, &changed(&world, planted));
    assert_eq!(verdict, "failed", "{printed}");

    // Secrets stay where they are, and nothing of the project is written.
    world.config(&json!({"checks": {"test": "ls -A node_modules/uvu; echo x > node_modules/uvu/planted"}}));
    let (verdict, printed) = tried(&world, 0, &fine);
    assert_eq!(verdict, "passed", "{printed}");
    assert!(printed.contains("package.json") && !printed.contains(".env"), "{printed}");
    assert!(!project.join("node_modules/uvu/planted").exists());

    // Packages that change are another question.
    world.files(&[("node_modules/uvu/new", "x\n")]);
    let (_, printed) = tried(&world, 0, &fine);
    assert!(printed.contains("new") && !printed.contains("planted"), "{printed}");
}

#[test]
fn a_cargo_project_is_tested_with_its_vendored_crates() {
    let world = World::new(Who::Me);
    let toolchain = said(Command::new("rustc").args(["--print", "sysroot"]).output().unwrap());
    world.config(&json!({"tool_dirs": [toolchain.out.trim()]}));
    world.files(&[
        (".gitignore", "/target\n/vendor\n"),
        (
            "Cargo.toml",
            "[package]\nname = \"p\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n\n\
             [dependencies]\nitoa = \"=1.0.15\"\n",
        ),
        ("src/lib.rs", "#[test]\nfn ten() {\n    assert_eq!(itoa::Buffer::new().format(10), \"10\");\n}\n"),
    ]);
    let project = world.project();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    host(&project, &cargo, &["vendor", "-q"]);
    // The sandbox has no mirror of this machine's.
    let vendored =
        "[source.crates-io]\nreplace-with = \"vendored\"\n\n[source.vendored]\ndirectory = \"vendor\"\n";
    world.files(&[(".cargo/config.toml", vendored)]);
    host(&project, &cargo, &["test", "--offline", "-q"]);
    let session = changed(&world, "echo '// fine' >> src/lib.rs");
    let (verdict, printed) = tried(&world, 0, &session);
    assert_eq!(verdict, "passed", "{printed}");
    assert!(printed.contains("1 passed"), "{printed}");
}

#[test]
fn a_python_project_is_tested_in_its_environment() {
    let world = World::new(Who::Me);
    world.files(&[
        (".gitignore", ".venv\n__pycache__\n"),
        ("conftest.py", ""),
        ("add.py", "def add(a, b):\n    return a + b\n"),
        ("test_add.py", "from add import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"),
    ]);
    let project = world.project();
    let base = python("python3");
    // The interpreter that the environment stands upon must be in the sandbox.
    let found =
        said(Command::new(&base).args(["-c", "import sys; print(sys.base_prefix)"]).output().unwrap());
    // One of the system's own is there in any case.
    let tools: Vec<&str> = [found.out.trim()].into_iter().filter(|dir| *dir != "/usr").collect();
    world.config(&json!({"tool_dirs": tools}));
    let interpreter = Path::new(found.out.trim()).join("bin/python3");
    host(&project, interpreter, &["-m", "venv", ".venv"]);
    host(&project, project.join(".venv/bin/pip"), &["install", "-q", "pytest==8.3.5"]);
    let session = changed(&world, "echo '# fine' >> add.py");
    let (verdict, printed) = tried(&world, 0, &session);
    assert_eq!(verdict, "passed", "{printed}");
    assert!(printed.contains("1 passed"), "{printed}");
    // Its programs name the project's own path on this machine.
    world.config(&json!({"tool_dirs": tools, "checks": {"test": "pytest -q"}}));
    let (verdict, printed) = tried(&world, 0, &session);
    assert_eq!(verdict, "passed", "{printed}");
    let broken = changed(&world, "sed -i 's/a + b/a - b/' add.py");
    let (verdict, printed) = tried(&world, 1, &broken);
    assert_eq!(verdict, "failed", "{printed}");
}

/// A trusted project with this setup, and the checks `one` and `two`.
fn trusted(world: &World, setup: &str, one: &str, two: &str) {
    let config = json!({"setup": setup, "checks": {"one": one, "two": two}}).to_string();
    world.files(&[("f", "1\n"), (".ftlconfig", &config), (".gitignore", "made\n")]);
    world.ok(["trust"]);
}

#[test]
fn the_setup_runs_once_before_the_checks_and_what_it_made_is_there_for_each() {
    for who in World::everybody() {
        let world = World::new(who);
        let setup = "echo set up from $(cat f); cp f made; echo kept > $HOME/kept; rm -f gone";
        let check =
            "test -e .git || true; test \"$(cat made)\" = \"$(cat f)\" && cat $HOME/kept && echo x >> made";
        world.files(&[("gone", "x\n")]);
        trusted(&world, setup, check, &format!("{check}; ! test -e gone && test $(wc -l < made) = 2"));
        let session = changed(&world, "echo 2 > f");
        let lines = world.json_lines(0, ["test", &session]);
        let started: Vec<&str> = lines
            .iter()
            .filter(|line| line["type"] == "check_started")
            .map(|line| text(line, "check"))
            .collect();
        assert_eq!(started, ["setup", "one", "two"], "{lines:#?}");
        let (_, printed) = tried(&world, 0, &session);
        assert_eq!(printed, "", "what is known is not run again");
        let printed: String = lines
            .iter()
            .filter(|line| line["type"] == "check_output")
            .map(|line| text(line, "data"))
            .collect();
        assert!(printed.contains("set up from 2"), "it runs over what would land: {printed}");
        let left: Vec<_> =
            world.project().read_dir().unwrap().flatten().map(|item| item.file_name()).collect();
        assert!(!left.iter().any(|name| name == "made"), "{left:?}");
    }
}

#[test]
fn a_setup_that_fails_is_told_with_its_output_and_no_check_runs() {
    let world = World::new(Who::Me);
    // The agent's own turn would fail for it as well.
    world.files(&[("f", "1\n"), (".ftlconfig", "{}\n"), (".gitignore", "made\n")]);
    let session = changed(&world, "echo 2 > f");
    trusted(&world, "echo no such package; exit 3", "echo ran", "echo ran");
    let lines = world.json_lines(1, ["test", &session]);
    let ended: Vec<&Value> = lines.iter().filter(|line| line["type"] == "check_ended").collect();
    for end in &ended {
        assert_eq!((text(end, "verdict"), ended.len()), ("could_not_run", 2), "{lines:#?}");
        assert_eq!(text(end, "why"), "the setup failed: it ended with status 3");
    }
    let printed: String =
        lines.iter().filter(|line| line["type"] == "check_output").map(|line| text(line, "data")).collect();
    assert_eq!(printed, "no such package\n", "once, and nothing after it");
}

#[test]
fn a_setup_has_the_sessions_rules_and_no_credentials_and_a_check_has_no_network() {
    let online = Setup::new().start();
    let world = &online.world;
    let ask = |to: &str| format!("curl -sS -o /dev/null -w '%{{http_code}}\\n' https://{to}/ 2>&1");
    let setup = format!("{}; env | grep -c TEST_API_KEY; {}; true", ask(HOST), ask("elsewhere.example.com"));
    let check = format!("! {}", ask(HOST));
    let config = json!({"setup": setup, "checks": {"test": check}}).to_string();
    let session = online.session().to_owned();
    world.files(&[(".ftlconfig", &config)]);
    world.ok(["trust"]);
    let wrote = online.command(&["sh", "-c", "echo 2 > new"]).output().unwrap();
    assert!(wrote.status.success());
    let (verdict, printed) = tried(world, 0, &session);
    assert_eq!(verdict, "passed", "{printed}");
    let said: Vec<&str> = printed.lines().collect();
    assert_eq!((said[0], said[1]), ("200", "0"), "a host that is allowed, and no credential: {printed}");
    assert!(!said[2].starts_with("200"), "no host but those that are allowed: {printed}");
    let ledger = world.json_lines(0, ["logs", "--egress", "--session", &session]);
    assert!(ledger.iter().any(|row| row.to_string().contains(HOST)), "{ledger:#?}");
}
