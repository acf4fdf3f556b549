//! Large projects: what they cost the daemon, and what is said when the kernel does not watch all of one.

use std::fs;

use ftl_tests::world::{Who, World};

/// Files of the large project.
const FILES: usize = 50_000;
/// Bytes of the daemon's memory for each of them, after a snapshot.
const EACH: u64 = 700;

/// Memory that the daemon has for itself, in bytes.
fn memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn fill(world: &World, files: usize) {
    for n in 0..files {
        let dir = world.project().join(format!("src/module-{:03}", n / 100));
        if n % 100 == 0 {
            fs::create_dir_all(&dir).unwrap();
        }
        fs::write(dir.join(format!("component-{n}.rs")), "").unwrap();
    }
    world.give_all(&world.project());
}

#[test]
fn the_memory_for_a_file_of_a_large_project_is_bounded() {
    let world = World::new(Who::Me);
    world.files(&[("f", "f")]);
    world.json(0, ["snapshots", "create"]);
    let (pid, before) = (world.daemon_pid(), memory(world.daemon_pid()));
    fill(&world, FILES);
    world.json(0, ["snapshots", "create"]);
    let first = memory(pid).saturating_sub(before) / FILES as u64;
    assert!(first < EACH, "{first} bytes for a file");
    for n in 0..2 {
        world.files(&[("f", &format!("f{n}"))]);
        world.json(0, ["snapshots", "create"]);
    }
    let later = memory(pid).saturating_sub(before) / FILES as u64;
    assert!(later < EACH, "{later} bytes for a file after more snapshots");
    let status = world.json(0, ["daemon", "status"]);
    assert_eq!(status["projects"][0]["files"], FILES + 1, "{status}");
}

#[test]
fn a_project_beyond_the_limit_of_watches_is_swept_and_everybody_is_told() {
    let world = World::new(Who::Me);
    fill(&world, 3000);
    // The limit of the outer namespace counts for the inner one, in which nobody is root.
    let outer = "set -e\necho 20 > /proc/sys/user/max_inotify_watches\n\
         exec unshare --user --map-user=1000 --map-group=1000 sh -c \"$1\" sh \"$2\" \"$3\" \"$4\"\n";
    let inner = "set -e\nftlctl=$1\ncd \"$2\"\n\
         \"$ftlctl\" --json snapshots create > /dev/null\n\
         until \"$ftlctl\" --json daemon status > \"$3/status\" && grep -q sweep \"$3/status\"; do :; done\n\
         \"$ftlctl\" daemon status > \"$3/shown\"\n\
         \"$ftlctl\" --json doctor > \"$3/doctor\" || true\n\
         \"$ftlctl\" --json code --no-review --agent shell 'echo x > made' > \"$3/ended\" 2>&1 || true\n\
         \"$ftlctl\" --json attach > \"$3/events\" 2>&1 || true\n\
         \"$ftlctl\" daemon stop > /dev/null\n";
    let mut command = world.command("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", outer, "sh", inner]);
    command.arg(ftl_tests::world::programs().join("ftlctl")).arg(world.project()).arg(world.home());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let read = |name: &str| fs::read_to_string(world.home().join(name)).unwrap();
    let status: serde_json::Value = serde_json::from_str(&read("status")).unwrap();
    let project = &status["projects"][0];
    assert_eq!((&project["mode"], &project["directories_watched"]), (&"sweep".into(), &0.into()), "{status}");
    let why = "the limit fs.inotify.max_user_watches is reached";
    assert_eq!(project["reason"], why);
    let remedy = "sudo sysctl fs.inotify.max_user_watches=";
    assert!(read("doctor").contains(remedy), "{}", read("doctor"));
    assert!(read("shown").contains(&format!("every snapshot walks all of it: {why}")), "{}", read("shown"));
    let events = read("events");
    assert_eq!(events.matches("raise fs.inotify.max_user_watches").count(), 1, "{events}\n{}", read("ended"));
}
