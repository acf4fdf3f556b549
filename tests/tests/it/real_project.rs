//! A real project that nobody here wrote, a few thousand files with its dependencies: built in a sandbox
//! with the host's tool-chain, changed, reviewed, applied, taken back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ftl_tests::project;
use ftl_tests::repo;
use ftl_tests::world::{Who, World};
use serde_json::Value;

/// The project, from the registry of crates: a program with a good number of dependencies.
const NAME: &str = "hexyl";
const VERSION: &str = "0.16.0";

/// What the change replaces in `src/main.rs`, and what with.
const BEFORE: &str = "#[command(version, about, ";
const AFTER: &str = "#[command(version, about = \"Looked at by an agent\", ";

/// Cargo as the tests themselves were run by it.
fn cargo(dir: &Path, args: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo).args(args).current_dir(dir).output().expect("cargo runs");
    assert!(out.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("cargo says text")
}

fn run(program: &str, args: &[&Path]) {
    let status = Command::new(program).arg("-a").args(args).status().expect("it runs");
    assert!(status.success(), "{program} {args:?}");
}

/// The project with its dependencies beside it, fetched once and kept for the next run.
fn fetched() -> PathBuf {
    let kept = repo::tools().join(format!("projects/{NAME}-{VERSION}"));
    if kept.exists() {
        return kept;
    }
    fs::create_dir_all(kept.parent().expect("it lies in a directory")).unwrap();
    let work = tempfile::tempdir_in(kept.parent().expect("as above")).unwrap();
    let wanted = work.path().join("wanted");
    let manifest = format!(
        "[package]\nname = \"wanted\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n\n\
         [dependencies]\n{NAME} = \"={VERSION}\"\n"
    );
    project::write(&wanted, &[("Cargo.toml", &manifest), ("src/lib.rs", "")]);
    let metadata: Value =
        serde_json::from_str(&cargo(&wanted, &["metadata", "--format-version", "1"])).unwrap();
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|package| package["name"] == NAME).expect("the package");
    let manifest = Path::new(package["manifest_path"].as_str().expect("its manifest"));
    let copy = work.path().join("copy");
    run("cp", &[manifest.parent().expect("its directory"), &copy]);
    // Cargo would take this repository, which the copy lies in, for the copy's workspace.
    let text = fs::read_to_string(copy.join("Cargo.toml")).unwrap();
    fs::write(copy.join("Cargo.toml"), format!("{text}\n[workspace]\n")).unwrap();
    let config = cargo(&copy, &["vendor", "--locked", "--quiet"]);
    project::write(&copy, &[(".cargo/config.toml", &config)]);
    fs::rename(&copy, &kept).unwrap();
    kept
}

/// Starts the world's daemon for the home of the human who runs the tests, where the tool-chain is.
fn start_daemon(world: &World) {
    let home = PathBuf::from(std::env::var_os("HOME").expect("a home"));
    if !home.join(".cargo/bin/cargo").exists() {
        // The tool-chain is elsewhere; a human would name it.
        let sysroot = cargo(world.root(), &["rustc", "--print", "sysroot"]);
        world.config(&serde_json::json!({ "tool_dirs": [sysroot.trim()] }));
    }
    let mut start = world.ftlctl(["daemon", "start"]);
    let started = start.env("HOME", home).env("FTL_HOME", world.ftl_home()).output().unwrap();
    assert!(started.status.success(), "{started:#?}");
}

/// Runs a script and gives what it printed, line by line, and the last line of the JSON.
fn session(world: &World, args: &[&str]) -> (Vec<String>, Value) {
    let lines = world.json_lines(0, [&["code", "--no-review"], args].concat());
    let output = lines.iter().filter(|line| line["type"] == "output");
    let output: String = output.map(|line| line["data"].as_str().expect("text")).collect();
    (output.lines().map(str::to_owned).collect(), lines.last().expect("a last line").clone())
}

fn compiled(output: &[String]) -> Vec<&str> {
    output.iter().filter_map(|line| line.trim_start().strip_prefix("Compiling ")).collect()
}

#[test]
fn a_real_project_is_built_changed_reviewed_applied_and_taken_back() {
    let world = World::new(Who::Me);
    fs::remove_dir(world.project()).unwrap();
    run("cp", &[&fetched(), &world.project()]);
    let before = project::see(&world.project());
    assert!(before.len() > 2000, "only {} files", before.len());
    let identities = project::identities(&world.project());
    start_daemon(&world);

    // The first build compiles everything, with no network and nothing but the host's tool-chain.
    let build = "cargo build --offline --color never 2>&1";
    let (output, first) =
        session(&world, &["--agent", "shell", &format!("{build} && target/debug/{NAME} --version")]);
    assert!(compiled(&output).len() > 10, "{output:#?}");
    assert_eq!(output.last().map(String::as_str), Some(&*format!("{NAME} {VERSION}")), "{output:#?}");
    assert_eq!(first["state"], "no_changes", "what is built is ignored: {first}");
    assert_eq!(project::identities(&world.project()), identities);

    // The follow-up finds the build where it was: only what it changes is compiled again.
    let id = first["session"].as_str().unwrap();
    let change = format!("{build} && sed -i 's/{}/{}/' src/main.rs", BEFORE.replace('[', "\\["), AFTER);
    let (output, second) = session(
        &world,
        &["--session", id, &format!("{change} && {build} && target/debug/{NAME} --help | head -1")],
    );
    assert_eq!(compiled(&output), [format!("{NAME} v{VERSION} (/workspace)")], "{output:#?}");
    assert_eq!(output.last().map(String::as_str), Some("Looked at by an agent"), "{output:#?}");

    let diff = world.json(0, ["diff", id]);
    let entries = diff["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{diff:#}");
    assert_eq!((&entries[0]["path"], &entries[0]["kind"]), (&"src/main.rs".into(), &"modified".into()));
    assert_eq!((&entries[0]["added_lines"], &entries[0]["removed_lines"]), (&1.into(), &1.into()));
    assert_eq!(diff["ignored"], 1, "the directory of the build: {}", diff["ignored"]);

    world.json(0, ["approve", id, "--digest", second["digest"].as_str().unwrap()]);
    let main = world.project().join("src/main.rs");
    let original = String::from_utf8(fs::read(fetched().join("src/main.rs")).unwrap()).unwrap();
    assert_eq!(fs::read_to_string(&main).unwrap(), original.replace(BEFORE, AFTER));
    let after = project::identities(&world.project());
    // The directory that the file lies in was written to; nothing else was.
    let touched: Vec<_> = after.iter().filter(|(path, seen)| identities.get(*path) != Some(*seen)).collect();
    let touched: Vec<String> =
        touched.iter().map(|(path, _)| String::from_utf8_lossy(path).into_owned()).collect();
    assert_eq!(touched, ["src", "src/main.rs"]);

    world.json(0, ["undo", id]);
    assert_eq!(project::see(&world.project()), before);
}
