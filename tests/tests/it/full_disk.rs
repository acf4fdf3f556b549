//! A disk that is full in the middle of a turn: nothing is lost, the error says what to do, and with space again
//! the session goes on.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ftl_tests::world::{Said, Who, World};
use serde_json::{Value, json};

use super::conformance::engine;

/// A small file system of its own in the place of the daemon's home.
struct SmallDisk<'a> {
    world: &'a World,
    at: PathBuf,
}

impl<'a> SmallDisk<'a> {
    fn new(world: &'a World) -> Self {
        let at = world.ftl_home();
        std::fs::create_dir_all(&at).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=96m,mode=700", "none"]).arg(&at).status();
        assert!(mounted.is_ok_and(|status| status.success()), "only root can do this");
        Self { world, at }
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    /// Leaves not a byte.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).unwrap();
        for piece in [1 << 20, 4096, 1] {
            while file.write_all(&vec![1; piece]).is_ok() {}
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.at.join("ftld.log")).unwrap_or_default();
            eprintln!("--- ftld.log\n{log}");
        }
        let _stopped = self.world.ftlctl(["--no-start", "daemon", "stop"]).output();
        let _unmounted = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

fn a_full_disk_loses_nothing(config: &Value) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new(Who::Me);
    let disk = SmallDisk::new(&world);
    world.config(config);
    world.files(&[("a.txt", "one\n")]);
    let first = world.shell("echo kept > first.txt");
    let session = first["session"].as_str().unwrap();
    let mut command = world.ftlctl(["--json", "code", "--no-review", "--session", session]);
    command.arg("echo kept > kept.txt; echo ready; sleep 1000").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(r#""data":"ready"#)));
    disk.fill();
    // What does not fit any more says what is wrong, and what to do; the daemon answers all the while.
    let advised = |said: &Said| said.err.contains("has space") || said.out.contains("has space");
    for asked in [&["exec", session, "--", "true"][..], &["stop", session]] {
        let said = world.run(asked);
        assert!(said.code == 0 || advised(&said), "{asked:?}: {said:#?}");
    }
    let many = "x".repeat(100_000);
    let refused = world.run(["code", "--no-review", "--agent", "shell", &many]);
    assert!(refused.code != 0 && advised(&refused), "{refused:#?}");
    world.ok(["sessions"]);
    disk.empty();
    running.kill().unwrap();
    running.wait().unwrap();
    // With space again all of it is there, and the session goes on.
    world.ok(["daemon", "stop"]);
    let more = ["code", "--no-review", "--session", session, "cat first.txt kept.txt; echo more > more"];
    let next = world.json(0, more);
    assert_eq!(next["state"], "awaiting_review", "{next}");
    let diff = world.ok(["diff", session]);
    assert!(["first.txt", "kept.txt", "more"].iter().all(|name| diff.contains(name)), "{diff}");
    world.json(0, ["approve", session, "--digest", next["digest"].as_str().unwrap()]);
    assert_eq!(read(&world.project().join("kept.txt")), "kept\n");
    assert_eq!(world.json(0, ["logs", "--verify"])["intact"], true);
    world.ok(["snapshots", "verify"]);
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn in_containers(workspace: &str) -> Value {
    let (host, image) = engine();
    let docker = json!({ "host": host, "image": image, "workspace": workspace, "warm": 0 });
    json!({ "sandbox": "docker", "docker": docker })
}

#[test]
fn in_the_native_sandbox() {
    a_full_disk_loses_nothing(&json!({}));
}

#[test]
fn in_a_container_over_this_machines_directories() {
    a_full_disk_loses_nothing(&in_containers("overlay"));
}

#[test]
fn in_a_container_whose_work_travels() {
    a_full_disk_loses_nothing(&in_containers("stream"));
}
