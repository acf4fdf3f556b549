//! The rules of the codebase, kept by a test: what a file looks like, who may import whom.

use std::collections::BTreeSet;
use std::path::Path;

use ftl_tests::repo;

/// Lines of one source file at most.
const LONGEST: usize = 500;

/// Module names that attract what has no home.
const HOMELESS: [&str; 6] = ["utils", "util", "common", "helpers", "misc", "types"];

/// Folders and files of the daemon, and what of the daemon they may use. `app.rs`, `main.rs` and
/// `lib.rs` assemble and may use everything.
const LAYERS: [(&str, &[&str]); 21] = [
    ("agent", &["agent"]),
    ("audit", &["audit"]),
    ("clock.rs", &[]),
    ("config.rs", &[]),
    ("db.rs", &[]),
    ("dial.rs", &[]),
    ("egress", &["egress", "pipe"]),
    ("history", &["history"]),
    ("home.rs", &[]),
    ("llm", &["llm", "dial"]),
    ("merge", &["merge"]),
    ("pipe.rs", &[]),
    ("policy.rs", &["private"]),
    ("private.rs", &[]),
    ("s3", &["s3", "dial"]),
    ("sandbox", &["sandbox", "pipe"]),
    ("snapshot", &["snapshot"]),
    ("vault", &["vault", "private"]),
    ("verify", &["verify", "sandbox"]),
    (
        "session",
        &[
            "session", "app", "agent", "audit", "clock", "config", "db", "egress", "history", "home", "llm",
            "merge", "pipe", "policy", "private", "s3", "sandbox", "snapshot", "vault", "verify",
        ],
    ),
    (
        "grpc",
        &[
            "grpc", "session", "agent", "app", "audit", "clock", "db", "egress", "home", "merge", "sandbox",
            "snapshot", "vault",
        ],
    ),
];

fn sources(ending: &str) -> Vec<(String, String)> {
    let named =
        repo::files().into_iter().filter(|path| path.extension().is_some_and(|found| found == ending));
    named
        .map(|path| {
            let text = std::fs::read_to_string(repo::root().join(&path)).expect("sources are UTF-8");
            (path.to_string_lossy().into_owned(), text)
        })
        .collect()
}

#[test]
fn the_top_level_is_the_cards() {
    let allowed = [
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "docs",
        "editor-plugins",
        "ftlctl",
        "ftld",
        "proto",
        "systemd",
        "tests",
    ];
    let found: BTreeSet<String> = repo::files()
        .iter()
        .filter_map(|path| path.components().next())
        .map(|first| first.as_os_str().to_string_lossy().into_owned())
        .filter(|first| !first.starts_with('.'))
        .collect();
    let extra: Vec<_> = found.iter().filter(|name| !allowed.contains(&name.as_str())).collect();
    assert!(extra.is_empty(), "{extra:?}");
}

#[test]
fn every_source_file_begins_with_what_it_owns_and_is_short_enough() {
    let mut faults = Vec::new();
    for (path, text) in sources("rs") {
        if !text.starts_with("//!") {
            faults.push(format!("{path}: does not begin with a `//!` header"));
        }
        let lines = text.lines().count();
        if lines > LONGEST {
            faults.push(format!("{path}: {lines} lines, more than {LONGEST}"));
        }
        let stem = Path::new(&path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if HOMELESS.contains(&stem.as_str()) {
            faults.push(format!("{path}: a name that says nothing"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn folders_of_the_daemon_import_only_what_they_may() {
    let mut faults = Vec::new();
    for (path, text) in sources("rs") {
        let Some(inside) = path.strip_prefix("ftld/src/") else { continue };
        let first = inside.split('/').next().unwrap_or_default();
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == first) else { continue };
        for used in text.split("crate::").skip(1) {
            let name: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !name.is_empty() && !allowed.contains(&name.as_str()) {
                faults.push(format!("{path}: uses crate::{name}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_one_folder_knows_protobuf_and_the_core_knows_no_io() {
    let mut faults = Vec::new();
    for (path, text) in sources("rs") {
        if path.starts_with("ftld/src/") && !path.starts_with("ftld/src/grpc/") && text.contains("ftl_proto")
        {
            faults.push(format!("{path}: knows protobuf"));
        }
        if path.starts_with("ftld/core/") {
            for word in [
                "std::fs",
                "TcpStream",
                "UdpSocket",
                "std::process",
                "std::env",
                "SystemTime",
                "Instant",
                "tokio",
            ] {
                if text.lines().any(|line| line.contains(word) && !line.trim_start().starts_with("//")) {
                    faults.push(format!("{path}: the core uses {word}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn manifests_prove_the_walls_between_crates() {
    let dependencies = |path: &str| {
        let text = std::fs::read_to_string(repo::root().join(path)).expect(path);
        let from = text.find("[dependencies]").expect("a [dependencies] table");
        let table = &text[from + "[dependencies]".len()..];
        let end = table.find("\n[").unwrap_or(table.len());
        let names = table[..end].lines().filter_map(|line| line.split(['.', ' ', '=']).next());
        names.filter(|name| !name.is_empty()).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let core = dependencies("ftld/core/Cargo.toml");
    for io in ["tokio", "rustix", "libc", "nix", "tonic", "ignore", "getrandom", "ftl-proto"] {
        assert!(!core.contains(io), "ftl-core depends on {io}");
    }
    let guest = dependencies("ftld/guest/Cargo.toml");
    for heavy in ["tokio", "tonic", "ftl-core", "ftl-proto"] {
        assert!(!guest.contains(heavy), "ftl-guest depends on {heavy}");
    }
    let client = dependencies("ftlctl/Cargo.toml");
    for ours in ["ftld", "ftl-core", "ftl-guest"] {
        assert!(!client.contains(ours), "ftlctl depends on {ours}");
    }
}

#[test]
fn unsafe_code_stands_only_at_the_edge_of_the_operating_system() {
    let allowed = ["ftld/guest/", "ftld/src/sandbox/linux/"];
    let mut faults = Vec::new();
    for (path, text) in sources("rs") {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let uses = code.filter(|line| line.contains("unsafe {") || line.contains("unsafe fn")).count();
        if uses > 0 && !allowed.iter().any(|dir| path.starts_with(dir)) && path != "tests/tests/it/tidy.rs" {
            let probe = path.starts_with("tests/src/bin/");
            if !probe {
                faults.push(path);
            }
        }
    }
    assert!(faults.is_empty(), "{faults:?}");
}

#[test]
fn every_field_of_the_api_is_commented() {
    let mut faults = Vec::new();
    for (path, text) in sources("proto") {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (number, line) in lines.iter().enumerate() {
            let declares = line.ends_with(';') && line.contains(" = ") && !line.starts_with("syntax")
                || line.starts_with("rpc ")
                || line.starts_with("message ")
                || line.starts_with("service ")
                || line.starts_with("enum ")
                || line.starts_with("oneof ");
            let continued = line.starts_with("rpc ") || !line.is_empty();
            if declares
                && continued
                && !number.checked_sub(1).is_some_and(|above| lines[above].starts_with("//"))
            {
                faults.push(format!("{path}:{}: {line}", number + 1));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_test_is_switched_off_and_nothing_is_left_undone() {
    let ignored = concat!("#[", "ignore");
    let mut faults = Vec::new();
    for (path, text) in sources("rs") {
        for word in [ignored, concat!("todo", "!("), concat!("unimplemented", "!("), concat!("FIX", "ME")] {
            if text.contains(word) {
                faults.push(format!("{path}: {word}"));
            }
        }
        let production = path.starts_with("ftld/") || path.starts_with("ftlctl/");
        if production && text.contains(concat!("thread::", "sleep")) && !path.contains("tests") {
            faults.push(format!("{path}: sleeps"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_module_of_the_integration_tests_is_run() {
    let dir = repo::root().join("tests/tests/it");
    let main = std::fs::read_to_string(dir.join("main.rs")).expect("main.rs");
    for entry in std::fs::read_dir(dir).expect("the folder").flatten() {
        let stem = entry.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        assert!(stem == "main" || main.contains(&format!("mod {stem};")), "{stem} is forgotten");
    }
}

#[test]
fn one_function_makes_an_approval() {
    let mut made = Vec::new();
    for (path, text) in sources("rs").into_iter().filter(|(path, _)| path.starts_with("ftld/")) {
        let makes = |line: &&str| {
            let line = line.trim_start();
            let names =
                line.starts_with("//") || ["struct ", "impl ", "-> "].iter().any(|word| line.contains(word));
            line.contains("Approval {") && !names
        };
        made.extend(text.lines().filter(makes).map(|line| format!("{path}: {}", line.trim())));
    }
    assert_eq!(made.len(), 1, "{made:?}");
    assert!(made[0].starts_with("ftld/core/src/review/proposal.rs"), "{made:?}");
}

#[test]
fn the_client_spells_out_what_the_daemon_takes_for_nothing() {
    // The client knows nothing of the daemon's decisions, so that both have the list.
    let spans = |file: &str, of: &str| -> std::collections::BTreeSet<String> {
        let text = std::fs::read_to_string(repo::root().join(file)).expect("it is there");
        let body = text.split(&format!("fn {of}(")).nth(1).and_then(|rest| rest.split("\n}\n").next());
        let code =
            body.unwrap_or_else(|| panic!("{of} in {file}")).lines().filter(|line| !line.contains("//"));
        let code: String = code.collect::<Vec<_>>().join(" ");
        let spans = code.split(['|', ',', '(', ')']).map(|part| part.trim().to_owned());
        spans.filter(|part| part.starts_with("'\\u{")).collect()
    };
    let (escape, name) = ("ftlctl/src/render/escape.rs", "ftld/core/src/refuse/name.rs");
    for (ours, theirs) in [("is_hostile", "is_invisible"), ("is_like_a_separator", "is_like_a_separator")] {
        let (ours, theirs) = (spans(escape, ours), spans(name, theirs));
        assert!(ours.len() > 8);
        assert_eq!(ours, theirs);
    }
}
