//! The classes of risk, by names, modes and contents.

use super::*;
use crate::id::Hash;
use crate::refuse::touched;

fn file(mode: u32, content: &[u8]) -> Node {
    Node::File { mode, size: content.len() as u64, hash: Hash::of(content) }
}

fn path(at: impl AsRef<[u8]>) -> RelPath {
    RelPath::new(at.as_ref()).unwrap()
}

fn new(at: impl AsRef<[u8]>, mode: u32) -> Change {
    Change::new(&path(at), None, After::Node(file(mode, b"")))
}

fn names(change: &Change, content: Content) -> Vec<&'static str> {
    risks(change, content, &Around::default()).into_iter().map(Risk::name).collect()
}

#[test]
fn risks_have_their_names() {
    let plain = Content::default();
    for (at, mode, content, expected) in [
        (&b"src/a.rs"[..], 0o644, plain, &[][..]),
        (b"src/a.rs", 0o755, plain, &["executable"]),
        (b"src/a.rs", 0o666, plain, &["world-writable"]),
        (b"run", 0o644, Content { script: true, ..plain }, &["executable"]),
        (b"a\x1b[2Jb", 0o644, plain, &["control-characters"]),
        (b"a\xff", 0o644, plain, &["control-characters"]),
        ("a\u{202e}b".as_bytes(), 0o644, plain, &["control-characters"]),
        (b"a", 0o644, Content { hidden_characters: true, ..plain }, &["control-characters"]),
        (b"a", 0o644, Content { removed_lines: 200, ..plain }, &["large-deletion"]),
        (b"a", 0o644, Content { removed_lines: 199, ..plain }, &[]),
        (b"a.png", 0o644, Content { binary: true, ..plain }, &["binary"]),
        (b"x/.VSCode/Tasks.json", 0o644, plain, &["host-execution"]),
        (b"Makefile. ", 0o644, plain, &["host-execution"]),
        (b"deploy/prod.PEM", 0o644, plain, &["secret-file"]),
        (b".env.local", 0o644, plain, &["host-execution", "secret-file"]),
        (b"Cargo.lock", 0o644, plain, &["dependencies"]),
        (b"web/go.sum", 0o644, plain, &["dependencies"]),
        (b"tools/requirements-dev.txt", 0o644, plain, &["dependencies"]),
        (b".editorconfig", 0o644, plain, &["settings"]),
    ] {
        assert_eq!(names(&new(at, mode), content), expected, "{}", at.escape_ascii());
    }
    let gone = Change::new(&path("a"), None, After::Absent);
    assert_eq!(risks(&gone, plain, &Around::default()), [Risk::Deletion]);
    let link = Change::new(&path("a"), None, After::Node(Node::Symlink { target: b"b".into() }));
    assert_eq!(
        risks(&link, plain, &Around { collides: true, ..Around::default() }),
        [Risk::Symlink, Risk::CaseCollision]
    );
}

#[test]
fn every_disguise_of_a_name_has_its_risk() {
    for (at, expected) in [
        ("PACKAGE.JSON", "host-execution"),
        ("sub/dir/package.json", "host-execution"),
        ("Package.json::$DATA", "host-execution"),
        ("package.json:x", "host-execution"),
        ("package.json.", "host-execution"),
        ("package.json . .", "host-execution"),
        (".\u{ff27}it\u{ff28}ub/workflows/ci.yml", "host-execution"),
        (".git\u{200d}hub/workflows/ci.yml", "control-characters"),
        (".GITHUB/Workflows/x", "host-execution"),
        (".vscode\\tasks.json", "host-execution"),
        (".husky/pre-commit", "host-execution"),
        ("a/.ENVRC ", "host-execution"),
        ("cla\u{fe0f}ude.md", "control-characters"),
        ("CLAUDE.md", "host-execution"),
        ("docs/Agents.MD", "host-execution"),
        (".cursor/rules/x.mdc", "host-execution"),
        (".Claude/settings.json", "host-execution"),
        (".mcp.json", "host-execution"),
        ("a\u{301}/Makefile", "host-execution"),
        ("\u{212a}rate/build.rs", "host-execution"),
        ("conf\u{131}gure", "host-execution"),
        ("\u{1d40c}akefile", "host-execution"),
        ("YARN.LOCK", "dependencies"),
        ("yarn.lock::$DATA", "dependencies"),
        ("\u{ff0e}npmrc", "host-execution"),
        ("lib/BUILD", "host-execution"),
        ("Package.swift", "host-execution"),
        ("App.xcodeproj/project.pbxproj", "host-execution"),
        (".Rprofile", "host-execution"),
        (".mise.local.toml", "host-execution"),
        ("cla\u{1bca0}ude.md", "control-characters"),
    ] {
        let found = risks(&new(at, 0o644), Content::default(), &Around::default());
        assert!(found.iter().any(|risk| risk.name() == expected), "{at}: {found:?}");
        let hidden = expected == "control-characters";
        // What hides characters has the risk of the name without them, too.
        let by_name = ["host-execution", "dependencies"];
        assert!(!hidden || found.iter().any(|risk| by_name.contains(&risk.name())), "{at}: {found:?}");
        assert!(found.iter().any(|risk| risk.needs_naming()), "{at}");
    }
}

#[test]
fn neighbours_of_dangerous_names_have_none() {
    for at in [
        "src/package.json.rs",
        "docs/packages.md",
        "github/workflows/x",
        "src/claude.rs",
        "makefiles/a.txt",
        "env.md",
        "src/config.js",
        "lock.json",
        "src/hooks/use.ts",
        "cargo.rs",
        "README.md",
        "src/cargo/lock.rs",
    ] {
        assert_eq!(names(&new(at, 0o644), Content::default()), [""; 0], "{at}");
    }
    let dir = Change::new(&path("build"), None, After::Node(Node::Dir { mode: 0o755 }));
    assert_eq!(names(&dir, Content::default()), [""; 0], "a directory is not the file that a tool reads");
    assert_eq!(names(&new("src\u{2215}main.rs", 0o644), Content::default()), ["control-characters"]);
}

#[test]
fn a_manifest_is_judged_by_what_of_it_differs() {
    let judge = |at: &str, before: &str, after: &str| {
        let old = Some(file(0o644, before.as_bytes()));
        let change = Change::new(&path(at), old.as_ref(), After::Node(file(0o644, after.as_bytes())));
        let touched = touched(&change.path, before.as_bytes(), after.as_bytes());
        names(&change, Content { touched, ..Content::default() })
    };
    for (before, after, expected) in [
        (r#"{"version":"1"}"#, r#"{"version":"2"}"#, &[][..]),
        ("{}", r#"{"scripts":{"postinstall":"x"}}"#, &["host-execution"]),
        ("{}", r#"{"dependencies":{"x":"1"}}"#, &["dependencies"]),
        ("{}", r#"{"dependencies":{"x":"1"},"bin":"x"}"#, &["host-execution", "dependencies"]),
        ("{}", "{", &["host-execution"]),
    ] {
        assert_eq!(judge("web/Package.json", before, after), expected, "{after}");
    }
    assert_eq!(judge(".vscode/package.json", "{}", r#"{"version":"2"}"#), [""; 0]);
    // A lock file is one whatever of it differs.
    assert_eq!(judge("package-lock.json", "{}", r#"{"version":"2"}"#), ["dependencies"]);
}

#[test]
fn what_needs_naming() {
    let naming = |change: &Change, content| {
        risks(change, content, &Around::default()).into_iter().any(Risk::needs_naming)
    };
    let plain = Content::default();
    let script = Content { script: true, ..plain };
    let both = Content { script: true, was_script: true, ..plain };
    let change = |before: Option<u32>, after: u32| {
        let before = before.map(|mode| file(mode, b"1"));
        Change::new(&path("src/x"), before.as_ref(), After::Node(file(after, b"2")))
    };
    let sized = |size| Node::File { mode: 0o644, size, hash: Hash::of(&[size as u8]) };
    let shrunk = |from, to| Change::new(&path("src/x"), Some(&sized(from)), After::Node(sized(to)));
    for (change, content, expected) in [
        (change(None, 0o644), plain, false),
        (change(None, 0o755), plain, true),
        (change(None, 0o644), script, true),
        (change(Some(0o644), 0o755), plain, true),
        (change(Some(0o755), 0o755), both, false),
        (change(Some(0o644), 0o644), both, false),
        (change(Some(0o644), 0o644), script, true),
        (change(Some(0o755), 0o644), plain, false),
        (change(Some(0o644), 0o644), Content { removed_lines: 500, ..plain }, true),
        (change(Some(0o644), 0o644), Content { binary: true, ..plain }, false),
        (change(Some(0o644), 0o644), Content { binary: true, disguised: true, ..plain }, true),
        // A few lines may be long.
        (shrunk(1_350_000, 10), Content { removed_lines: 150, ..plain }, true),
        (shrunk(9_000, 10), Content { removed_lines: 150, ..plain }, false),
        (change(Some(0o644), 0o646), plain, false),
        (Change::new(&path("a"), Some(&file(0o644, b"x")), After::Absent), plain, false),
        (Change::new(&path("a"), Some(&file(0o644, &[0; 20_000])), After::Absent), plain, true),
        (Change::new(&path("a"), None, After::Node(Node::Symlink { target: b"b".into() })), plain, false),
        (new(".editorconfig", 0o644), plain, false),
        (new(".github/workflows/ci.yml", 0o644), plain, true),
        (new("id_rsa", 0o600), plain, true),
    ] {
        assert_eq!(naming(&change, content), expected, "{change:?}");
    }
    // A change of nothing but the mode runs nothing that did not run before.
    let mode = Change::new(&path("Makefile"), Some(&file(0o644, b"")), After::Node(file(0o600, b"")));
    assert_eq!(names(&mode, plain), [""; 0]);
}

#[test]
fn every_class_of_the_list_says_why() {
    let list = include_str!("../host_exec.txt");
    for line in list.lines().filter(|line| line.starts_with('[')) {
        let (_, reason) = line.split_once(']').unwrap();
        assert!(reason.len() > 10 && !reason.ends_with('.'), "{line}");
    }
    let ci = risks(&new(".github/workflows/ci.yml", 0o644), Content::default(), &Around::default());
    assert_eq!(ci[0].reason(), "a build server runs it, often with secrets");
    assert!(matches!(ci[0], Risk::HostExecution { class: "ci", .. }));
    let hook = risks(&new(".husky/pre-commit", 0o644), Content::default(), &Around::default());
    assert_eq!(hook[0].reason(), "git runs it on commit, checkout or push");
}
