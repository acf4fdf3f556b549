//! Agents that `ftlctl setup` puts into an image: each starts there, and does a task.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ftl_tests::engine::{self, Engine};
use ftl_tests::repo;
use ftl_tests::world::{Who, World};
use serde_json::{Value, json};

/// The tests' root file system with this machine's Node.js, which is of the same release.
fn with_node(world: &World) -> PathBuf {
    let archive = world.root().join("node.tar");
    std::fs::copy(engine::rootfs(), &archive).unwrap();
    let found = Command::new("which").arg("node").output().unwrap();
    let node = PathBuf::from(std::ffi::OsStr::from_bytes(found.stdout.trim_ascii())).canonicalize().unwrap();
    let linked = Command::new("ldd").arg(&node).output().unwrap();
    let linked = String::from_utf8(linked.stdout).unwrap();
    let libraries = linked.lines().filter_map(|line| line.split(' ').find(|word| word.starts_with('/')));
    let root = world.root().join("node");
    let put = |from: &Path, to: &Path| {
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    };
    put(&node, &root.join("usr/bin/node"));
    // The C library's own are there already, and belong together.
    for library in libraries.filter(|path| path.contains("stdc++") || !path.starts_with("/lib")) {
        let name = Path::new(library).file_name().unwrap();
        put(Path::new(library), &root.join("usr/lib/x86_64-linux-gnu").join(name));
    }
    // Files alone: an engine takes no directory twice.
    let append = "cd \"$2\" && find usr -type f -print0 | tar -rf \"$1\" --null -T -";
    let appended = Command::new("sh").args(["-c", append, "sh"]).arg(&archive).arg(&root).status();
    assert!(appended.unwrap().success());
    archive
}

/// A world whose way to the registry is the tests' own.
fn world() -> World {
    let mut world = World::new(Who::Me);
    world.set("DOCKER_HOST", Engine::shared().host());
    for name in ["SSL_CERT_FILE", "HTTPS_PROXY", "NO_PROXY", "NPM_CONFIG_REGISTRY"] {
        if let Some(value) = std::env::var_os(name) {
            world.set(name, value);
        }
    }
    world
}

/// Starts the model before each turn and waits until it listens.
const SETUP: &str = "rm -f \"$HOME/ready\"; mkfifo \"$HOME/ready\"; \
    /usr/bin/python3 model.py --port 8099 --log \"$HOME/model.log\" > \"$HOME/ready\" 2>/dev/null & \
    read answer < \"$HOME/ready\" && test \"$answer\" = 'listening 8099'";

#[test]
fn gemini_and_opencode_are_installed_start_and_do_a_task() {
    let world = world();
    let archive = with_node(&world);
    let arguments =
        ["setup", "--rootfs", archive.to_str().unwrap(), "--agent", "gemini", "--agent", "opencode"];
    let lines = world.json_lines(0, arguments);
    let agents = lines.last().unwrap()["agents"].as_array().unwrap().clone();
    let names: Vec<&str> = agents.iter().map(|agent| agent["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["gemini", "opencode"]);
    for agent in &agents {
        let (said, version) = (agent["said"].as_str().unwrap(), agent["version"].as_str().unwrap());
        assert!(said.contains(version), "{agent}");
    }
    let model = std::fs::read_to_string(repo::root().join("tests/stub/stub_llm.py")).unwrap();
    world.files(&[("model.py", &model), ("a.txt", "one\n")]);
    world.files(&[(".ftlconfig", &json!({ "setup": SETUP }).to_string())]);
    world.config(&json!({ "sandbox": "docker", "docker": { "warm": 0 }, "agents": {
        "gemini": { "model_base_url": "http://127.0.0.1:8099", "model": "gemini-2.5-flash" },
        "opencode": { "model_base_url": "http://127.0.0.1:8099/v1", "model": "anthropic/claude-sonnet-4-5" },
    } }));
    world.ok(["daemon", "stop"]);
    for name in names {
        let task = format!("WRITE /workspace/{name}.txt from the model");
        let last = world.json(0, ["code", "--no-review", "--agent", name, &task]);
        assert_eq!(last["state"], "awaiting_review", "{last}");
        let diff = world.json(0, ["diff", last["session"].as_str().unwrap()]);
        assert_eq!(diff["entries"][0]["path"], format!("{name}.txt"), "{diff:#}");
    }
}

/// The error of a setup that must fail.
fn refused(world: &World, arguments: &[&str]) -> Value {
    world.json_lines(1, arguments).pop().unwrap()["error"].clone()
}

#[test]
fn an_agent_that_setup_cannot_install_is_named_with_the_reason() {
    let world = world();
    for (name, why) in [("aider", "Python program"), ("kiro", "no registry has it")] {
        let error = refused(&world, &["setup", "--agent", name]);
        assert_eq!(error["code"], "no-agent", "{error:#}");
        assert!(error["message"].as_str().unwrap().contains(why), "{error:#}");
        assert!(error["hint"].as_str().unwrap().contains("docker.image"), "{error:#}");
    }
    // What an agent needs beside its package is not there.
    let rootfs = engine::rootfs().display().to_string();
    let error = refused(&world, &["setup", "--rootfs", &rootfs, "--agent", "gemini"]);
    assert!(
        error["message"].as_str().unwrap().contains("gemini was installed and does not start"),
        "{error:#}"
    );
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.contains("Node.js 20") && hint.contains("--usual-base"), "{error:#}");
    assert!(!world.ftl_home().join("image.json").exists());
}
