//! How an earlier system did a task: copy everything, wipe, copy again, read everything.
//!
//! Owns that way, written anew from what it was seen to do, the trees that its numbers were taken of, and those
//! numbers. Must not know our own, but for [`rows`], which prints both side by side.

pub mod rows;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::measure::{Outcome, run, slashed};

/// Lists a workspace: whatever is not as a manifest says (size and time of change) is sent as a whole.
const READ: &str = r#"
import base64, json, os, sys
workspace, manifest = sys.argv[1:3]
known = {}
with open(manifest) as lines:
    for line in lines:
        path, size, mtime = line.rstrip("\n").split("\t")
        known[path] = (int(size), int(mtime))
found, seen = {}, set()
for top, _, names in os.walk(workspace):
    for name in names:
        path = os.path.join(top, name)
        key = os.path.relpath(path, workspace)
        seen.add(key)
        stat = os.stat(path)
        if known.get(key) != (stat.st_size, stat.st_mtime_ns):
            with open(path, "rb") as file:
                found[key] = base64.b64encode(file.read()).decode()
json.dump({"files": found, "deleted": sorted(set(known) - seen)}, sys.stdout)
"#;

/// Compares what was sent with the snapshot, on the host.
const COMPARE: &str = r#"
import base64, difflib, json, os, sys
snapshot = sys.argv[1]
sent = json.load(sys.stdin)
for path, content in sent["files"].items():
    new = base64.b64decode(content).decode(errors="replace")
    old = os.path.join(snapshot, path)
    before = open(old, errors="replace").read() if os.path.exists(old) else ""
    if before != new:
        list(difflib.unified_diff(before.splitlines(), new.splitlines()))
"#;

/// Lists a snapshot with sizes and times of change.
const LIST: &str = r#"
import os, sys
snapshot, manifest = sys.argv[1:3]
lines = []
for top, _, names in os.walk(snapshot):
    for name in names:
        path = os.path.join(top, name)
        stat = os.stat(path)
        lines.append(f"{os.path.relpath(path, snapshot)}\t{stat.st_size}\t{stat.st_mtime_ns}")
with open(sys.argv[2], "w") as out:
    out.write("\n".join(sorted(lines)) + "\n")
"#;

/// The way, for one tree.
pub struct Earlier {
    tree: PathBuf,
    /// Has `snapshots/1`, its `manifest`, the scripts and, without a container, `workspace`.
    dir: PathBuf,
    /// The container, and the engine that has it.
    container: Option<Container>,
}

/// A container that waits for commands.
struct Container {
    id: String,
    /// `DOCKER_HOST`; the machine's own engine when absent.
    host: Option<String>,
}

impl Container {
    fn docker(host: Option<&str>) -> Command {
        let mut command = Command::new("docker");
        if let Some(host) = host {
            command.args(["--host", host]);
        }
        command.stdin(Stdio::null());
        command
    }
}

/// A task that changes five files.
pub const EDIT: &str = "for file in $(ls part-000 | head -5); do echo changed >> part-000/$file; done";

/// What the earlier system published for its own rows, milliseconds: on another machine, with Docker Desktop.
pub const PUBLISHED: [(&str, usize, u32); 7] = [
    ("snapshot", 10, 9),
    ("snapshot", 100, 26),
    ("snapshot", 1_000, 225),
    ("prepare", 100, 134),
    ("diff, nothing changed", 100, 138),
    ("diff, 5 changed", 100, 96),
    ("warm loop", 100, 291),
];

/// Prints what was published.
pub fn print_published() {
    println!("\nPublished by FTL v1 itself, on another machine:");
    for (what, size, took) in PUBLISHED {
        println!("  {what}, {size} files: {took} ms");
    }
}

/// Files of about one KiB, two hundred in a directory; gives their paths.
///
/// # Errors
/// When one cannot be written.
pub fn make_tree(root: &Path, size: usize) -> Outcome<Vec<PathBuf>> {
    let mut made = Vec::new();
    for number in 0..size {
        let to = PathBuf::from(format!("part-{:03}/module_{number}.py", number / 200));
        fs::create_dir_all(root.join(format!("part-{:03}", number / 200)))?;
        fs::write(root.join(&to), format!("def function_{number}():\n    return {number}\n").repeat(24))?;
        made.push(to);
    }
    Ok(made)
}

impl Earlier {
    /// Makes its directories and, with an image, a container that waits: on the engine at `host`, an address as
    /// in `DOCKER_HOST`, or on the machine's own.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn new(tree: &Path, dir: &Path, image: Option<&str>, host: Option<&str>) -> Outcome<Self> {
        fs::create_dir_all(dir.join("snapshots/1"))?;
        fs::create_dir_all(dir.join("workspace"))?;
        for (name, script) in [("read.py", READ), ("compare.py", COMPARE), ("list.py", LIST)] {
            fs::write(dir.join(name), script)?;
        }
        let mut made = Self { tree: tree.to_owned(), dir: dir.to_owned(), container: None };
        if let Some(image) = image {
            let mount = format!("{0}:{0}", dir.display());
            let args = ["run", "-d", "--network", "none", "-v", &mount, image, "sleep", "infinity"];
            let out = Container::docker(host).args(args).output()?;
            if !out.status.success() {
                return Err(String::from_utf8_lossy(&out.stderr).into());
            }
            let id = String::from_utf8(out.stdout)?.trim().to_owned();
            made.container = Some(Container { id, host: host.map(str::to_owned) });
        }
        made.snapshot()?;
        Ok(made)
    }

    /// Copies the tree and writes down what is in the copy.
    ///
    /// # Errors
    /// When a step of it fails.
    pub fn snapshot(&self) -> Outcome<()> {
        let to = self.dir.join("snapshots/1");
        run("rsync", ["-a".into(), "--delete".into(), slashed(&self.tree), slashed(&to)], None)?;
        let list = [self.dir.join("list.py"), to, self.dir.join("manifest")];
        run("python3", list, None)
    }

    /// Wipes the workspace and copies the snapshot into it.
    ///
    /// # Errors
    /// When a step of it fails.
    pub fn prepare(&self) -> Outcome<()> {
        self.inside(&format!(
            "find {0}/workspace -mindepth 1 -delete; cp -R {0}/snapshots/1/. {0}/workspace/",
            self.dir.display()
        ))
    }

    /// Does the agent's part in the workspace.
    ///
    /// # Errors
    /// When a step of it fails.
    pub fn edit(&self, script: &str) -> Outcome<()> {
        self.inside(&format!("cd {}/workspace && {script}", self.dir.display()))
    }

    /// Reads what is in the workspace and compares it.
    ///
    /// # Errors
    /// When a step of it fails.
    pub fn diff(&self) -> Outcome<()> {
        let dir = self.dir.display();
        let mut read = self.command(&format!("python3 {dir}/read.py {dir}/workspace {dir}/manifest"));
        let mut read = read.stdout(Stdio::piped()).spawn()?;
        let sent = read.stdout.take().ok_or("no output")?;
        let mut compare = Command::new("python3");
        compare.arg(self.dir.join("compare.py")).arg(self.dir.join("snapshots/1")).stdin(sent);
        let is_compared = compare.status()?.success();
        if read.wait()?.success() && is_compared { Ok(()) } else { Err("the comparison failed".into()) }
    }

    fn inside(&self, script: &str) -> Outcome<()> {
        match self.command(script).status()?.success() {
            true => Ok(()),
            false => Err(format!("this failed: {script}").into()),
        }
    }

    fn command(&self, script: &str) -> Command {
        let mut command = match &self.container {
            Some(container) => {
                let mut command = Container::docker(container.host.as_deref());
                command.args(["exec", container.id.as_str(), "sh", "-c", script]);
                command
            }
            None => {
                let mut command = Command::new("sh");
                command.args(["-c", script]);
                command
            }
        };
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Earlier {
    fn drop(&mut self) {
        if let Some(container) = &self.container {
            // Nobody is left to tell.
            let mut remove = Container::docker(container.host.as_deref());
            let _ = remove.args(["rm", "-f", &container.id]).stdout(Stdio::null()).status();
        }
    }
}
