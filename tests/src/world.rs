//! A throw-away home with the real programs in it.
//!
//! Owns the temporary directories and the daemon that the programs start in them; both are gone when the
//! world is dropped. A world belongs to root or to an ordinary user, when the tests run as root.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use base64::Engine as _;
use tempfile::TempDir;

/// Who a world belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// The user that runs the tests.
    Me,
    /// A user without any privilege; only root can become it.
    Ordinary,
}

/// A home, a project directory in it, and the programs.
pub struct World {
    dir: TempDir,
    who: Who,
    env: Vec<(OsString, OsString)>,
}

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Exit status; 128 plus the signal when one ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// User and group id of the ordinary user; nobody has them.
const ORDINARY: u32 = 4242;

impl World {
    /// A new world.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(who: Who) -> Self {
        let dir = tempfile::Builder::new().prefix("ftl-world-").tempdir_in("/var/tmp").expect("a directory");
        let world = Self { dir, who, env: Vec::new() };
        for path in [world.root().to_owned(), world.home(), world.project()] {
            std::fs::create_dir_all(&path).expect("a directory");
            world.give(&path);
        }
        world
    }

    /// Whether a test can have an ordinary user's world.
    #[must_use]
    pub fn everybody() -> Vec<Who> {
        if rustix_is_root() { vec![Who::Me, Who::Ordinary] } else { vec![Who::Me] }
    }

    /// The world's directory; the home and the project are in it.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// The user's home.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    /// The daemon's state.
    #[must_use]
    pub fn ftl_home(&self) -> PathBuf {
        self.home().join(".ftl")
    }

    /// The daemon's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.ftl_home().join("run/ftld.sock")
    }

    /// The project.
    #[must_use]
    pub fn project(&self) -> PathBuf {
        self.root().join("project")
    }

    /// Writes files into the project: `("src/a.rs", "text")`.
    pub fn files(&self, files: &[(&str, &str)]) {
        crate::project::write(&self.project(), files);
        self.give_all(&self.project());
    }

    /// Writes the user's own configuration.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn config(&self, config: &serde_json::Value) {
        // The daemon uses no state directory that others may look into.
        let dir = self.ftl_home();
        std::fs::create_dir_all(&dir).expect("a directory");
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).expect("its mode");
        std::fs::write(dir.join("config"), config.to_string()).expect("the configuration");
        self.give_all(&dir);
    }

    /// Sets a variable of the environment of every program from now on.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.env.push((name.into(), value.into()));
    }

    /// Makes a path the world's user's own.
    ///
    /// # Panics
    /// When it cannot.
    pub fn give(&self, path: &Path) {
        if self.who == Who::Ordinary {
            chown(path, Some(ORDINARY), Some(ORDINARY)).expect("root can give files away");
        }
    }

    /// Makes everything beneath a path the world's user's own.
    ///
    /// # Panics
    /// When it cannot.
    pub fn give_all(&self, path: &Path) {
        if self.who == Who::Ordinary {
            let owner = format!("{ORDINARY}:{ORDINARY}");
            let status = Command::new("chown").args(["-hR", &owner]).arg(path).status().expect("chown runs");
            assert!(status.success());
        }
    }

    /// A program as the world's user, in its project and with its environment.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = match self.who {
            Who::Me => Command::new(program.as_ref()),
            Who::Ordinary => {
                let mut command = Command::new("setpriv");
                let id = ORDINARY.to_string();
                command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--inh-caps=-all"]);
                command.arg(program.as_ref());
                command
            }
        };
        command
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            // No test touches an engine that the machine may have.
            .env("DOCKER_HOST", format!("unix://{}", self.root().join("no-engine.sock").display()))
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.project())
            .stdin(Stdio::null());
        command
    }

    /// `ftlctl` with arguments; the world's daemon is started by it.
    #[must_use]
    pub fn ftlctl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.command(programs().join("ftlctl"));
        command.args(args);
        command
    }

    /// Runs `ftlctl` to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Said {
        said(self.ftlctl(args).output().expect("ftlctl runs"))
    }

    /// Runs `ftlctl`, which must succeed, and gives its standard output.
    ///
    /// # Panics
    /// When it fails.
    pub fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        let said = self.run(args);
        assert_eq!(said.code, 0, "{said:#?}");
        said.out
    }

    /// Runs `ftlctl --json`, which must end with `code`, and gives the last line of its output.
    ///
    /// # Panics
    /// When it ends otherwise or prints no JSON.
    pub fn json<S: AsRef<OsStr>>(&self, code: i32, args: impl IntoIterator<Item = S>) -> serde_json::Value {
        let mut command = self.ftlctl(["--json"]);
        command.args(args);
        let said = said(command.output().expect("ftlctl runs"));
        assert_eq!(said.code, code, "{said:#?}");
        let last = said.out.lines().last().unwrap_or_else(|| panic!("no output: {said:#?}"));
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {said:#?}"))
    }

    /// Runs `ftlctl --json`, which must end with `code`, and gives every line of its output.
    ///
    /// # Panics
    /// When it ends otherwise or prints something that is not JSON.
    pub fn json_lines<S: AsRef<OsStr>>(
        &self,
        code: i32,
        args: impl IntoIterator<Item = S>,
    ) -> Vec<serde_json::Value> {
        let mut command = self.ftlctl(["--json"]);
        command.args(args);
        let said = said(command.output().expect("ftlctl runs"));
        assert_eq!(said.code, code, "{said:#?}");
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        said.out.lines().map(parse).collect()
    }

    /// Runs a task with the agent `shell` and gives the session's id; it must await review.
    ///
    /// # Panics
    /// When it does not.
    pub fn shell(&self, script: &str) -> serde_json::Value {
        let last = self.json(0, ["code", "--no-review", "--agent", "shell", script]);
        assert_eq!(last["state"], "awaiting_review", "{last}");
        last
    }

    /// Approves every path of a session by its name, those that must be named included.
    ///
    /// # Panics
    /// When it cannot.
    pub fn approve_by_name(&self, session: &str, digest: &str) -> serde_json::Value {
        let diff = self.json(0, ["diff", session]);
        let mut args: Vec<OsString> =
            ["approve", session, "--digest", digest].into_iter().map(OsString::from).collect();
        for entry in
            diff["entries"].as_array().expect("entries").iter().filter(|one| one["kind"] != "refused")
        {
            let path = match entry["path_bytes"].as_str() {
                Some(exact) => base64::prelude::BASE64_STANDARD.decode(exact).expect("base64"),
                None => entry["path"].as_str().expect("a path").as_bytes().to_vec(),
            };
            args.extend(["--path".into(), OsString::from_vec([b"./".as_slice(), &path].concat())]);
        }
        self.json(0, args)
    }

    /// The daemon's process id.
    ///
    /// # Panics
    /// When none runs.
    #[must_use]
    pub fn daemon_pid(&self) -> i32 {
        let status = self.json(0, ["daemon", "status"]);
        status["pid"].as_i64().and_then(|pid| pid.try_into().ok()).unwrap_or_else(|| panic!("{status}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.socket().exists() {
            // The daemon may have been killed by the test.
            let _stopped = self.ftlctl(["--no-start", "daemon", "stop"]).output();
        }
        if std::thread::panicking()
            && let Ok(log) = std::fs::read_to_string(self.ftl_home().join("ftld.log"))
        {
            eprintln!("--- ftld.log\n{log}");
        }
        // Sessions may hold directories that even their owner cannot enter.
        let _opened = Command::new("chmod").args(["-R", "u+rwX"]).arg(self.root()).output();
    }
}

/// What a program said.
#[must_use]
pub fn said(output: Output) -> Said {
    use std::os::unix::process::ExitStatusExt as _;
    Said {
        code: output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The programs, where any user can run them.
///
/// # Panics
/// When they cannot be put there.
#[must_use]
pub fn programs() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        // One place for all runs of a build directory: nothing is left behind but the newest programs.
        let mut hasher = std::hash::DefaultHasher::new();
        std::hash::Hash::hash(&crate::repo::programs(), &mut hasher);
        let dir = PathBuf::from(format!("/var/tmp/ftl-test-{:016x}", std::hash::Hasher::finish(&hasher)));
        std::fs::create_dir_all(&dir).expect("a directory");
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("its mode");
        for program in ["ftld", "ftlctl"] {
            let (source, fresh) = (crate::repo::programs().join(program), dir.join(format!("{program}.new")));
            std::fs::copy(&source, &fresh).unwrap_or_else(|error| panic!("{program}: {error}"));
            std::fs::rename(&fresh, dir.join(program)).unwrap_or_else(|error| panic!("{program}: {error}"));
        }
        dir
    })
}

fn rustix_is_root() -> bool {
    rustix::process::geteuid().is_root()
}
