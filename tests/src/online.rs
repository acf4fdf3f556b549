//! A session that reaches a recording server through the daemon, and nothing else.
//!
//! Owns how a test gets there: the server's hosts and root go to the daemon by its environment, real values
//! into the project's `.env`, rules and bindings through the command line. Inside, nothing is configured.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::engine::Engine;
use crate::leaks::{self, Processes};
use crate::repo;
use crate::upstream::{Service, Upstream};
use crate::world::{Said, Who, World, said};

/// A host of the server that is in every online world, with [`Service::Test`].
pub const HOST: &str = "api.example.com";
/// Credential that is bound to that host as `Authorization: Bearer`.
pub const KEY: &str = "TEST_API_KEY";
/// Its real value; the characters are those that encodings change.
pub const REAL: &str = "tK9/wQ2+zR7-mX4_bN8.cV5vL3pJ6hG1fD0sAqY=";

/// What stands in the project and at the daemon before a session begins.
pub struct Setup {
    /// Hosts of the server, beside [`HOST`].
    pub services: Vec<(&'static str, Service)>,
    /// Lines of the project's `.env`, beside [`KEY`].
    pub env: Vec<(String, String)>,
    /// Credentials that the daemon keeps for the project: name and real value.
    pub stored: Vec<(String, String)>,
    /// Further commands of `ftlctl`.
    pub commands: Vec<Vec<String>>,
    /// Variables of the daemon's environment.
    pub daemon: Vec<(String, String)>,
    /// Whether the sandbox has the Python environment of the tests.
    pub python: bool,
    /// Whether the session runs in a container.
    pub docker: bool,
}

/// A world with a server and one session.
pub struct Online {
    /// The world.
    pub world: World,
    /// The server.
    pub upstream: Upstream,
    session: String,
    real: Vec<String>,
    docker: bool,
}

/// A command's end, what it printed, and where real values were while it lived.
#[derive(Debug)]
pub struct Ran {
    /// Exit status.
    pub code: i32,
    /// Standard output up to the mark.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// A program inside prints this line and waits for the end of its input when it may be searched.
const MARK: &str = "HELD";

// === impl Setup ===

impl Setup {
    /// Nothing but [`HOST`] and [`KEY`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            services: Vec::new(),
            env: Vec::new(),
            stored: Vec::new(),
            commands: Vec::new(),
            daemon: Vec::new(),
            python: false,
            docker: false,
        }
    }

    /// With a further host.
    #[must_use]
    pub fn service(mut self, host: &'static str, service: Service) -> Self {
        self.services.push((host, service));
        self.command(["policy", "allow", host])
    }

    /// With a further credential in `.env`.
    #[must_use]
    pub fn env(mut self, name: &str, real: &str) -> Self {
        self.env.push((name.into(), real.into()));
        self
    }

    /// With a variable in the daemon's environment.
    #[must_use]
    pub fn daemon(mut self, name: &str, value: &str) -> Self {
        self.daemon.push((name.into(), value.into()));
        self
    }

    /// With a further command.
    #[must_use]
    pub fn command<'a>(mut self, command: impl IntoIterator<Item = &'a str>) -> Self {
        self.commands.push(command.into_iter().map(str::to_owned).collect());
        self
    }

    /// With the Python environment of the tests.
    #[must_use]
    pub fn python(mut self) -> Self {
        self.python = true;
        self
    }

    /// In a container.
    #[must_use]
    pub fn docker(mut self) -> Self {
        self.docker = true;
        self
    }

    /// Starts all of it.
    ///
    /// # Panics
    /// When a command fails.
    #[must_use]
    pub fn start(mut self) -> Online {
        let mut services = std::mem::take(&mut self.services);
        services.push((HOST, Service::Test));
        let upstream = Upstream::start(services);
        let mut world = World::new(Who::Me);
        world.set("FTL_UPSTREAM_CA", upstream.root_file());
        world.set("FTL_CONNECT_TO", upstream.routes());
        for (name, value) in &self.daemon {
            world.set(name, value);
        }
        self.env.push((KEY.into(), REAL.into()));
        let lines = self.env.iter().map(|(name, value)| format!("{name}='{value}'\n"));
        world.files(&[(".env", &lines.collect::<String>()), ("a.txt", "one\n")]);
        let mut tool_dirs = Vec::new();
        if self.python {
            tool_dirs.push(repo::tools().join("python"));
        }
        tool_dirs.extend(cargo());
        let mut config = serde_json::json!({ "tool_dirs": tool_dirs });
        if self.docker {
            let engine = Engine::shared();
            config["sandbox"] = "docker".into();
            let (host, image) = (engine.host(), engine.plain_image());
            config["docker"] = serde_json::json!({ "host": host, "image": image, "warm": 0 });
        }
        world.config(&config);
        world.ok(["policy", "allow", HOST]);
        let header = "Authorization: Bearer {}";
        world.ok(["secret", "bind", KEY, "--host", HOST, "--header", header, "--optional"]);
        for (name, value) in &self.stored {
            let mut set =
                world.ftlctl(["secret", "set", name]).stdin(Stdio::piped()).spawn().expect("it runs");
            let mut stdin = set.stdin.take().expect("its input");
            std::io::Write::write_all(&mut stdin, value.as_bytes()).expect("it reads");
            drop(stdin);
            assert!(set.wait().expect("it ends").success(), "{name}");
        }
        for command in &self.commands {
            world.ok(command);
        }
        let started = world.shell("echo two > b.txt");
        let session = started["session"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned();
        let real = self.env.into_iter().chain(self.stored).map(|(_, value)| value).collect();
        Online { world, upstream, session, real, docker: self.docker }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Online ===

impl Online {
    /// The session.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// A command in the session.
    #[must_use]
    pub fn command(&self, argv: &[&str]) -> Command {
        self.world.ftlctl([&["exec", &self.session, "--"], argv].concat())
    }

    /// Runs a script of the shell to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn inside(&self, script: &str) -> Said {
        said(self.command(&["sh", "-c", script]).output().expect("ftlctl runs"))
    }

    /// Runs a program of Python to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn python(&self, source: &str) -> Said {
        said(self.command(&["/usr/bin/python3", "-c", source]).output().expect("ftlctl runs"))
    }

    /// What a variable is inside.
    ///
    /// # Panics
    /// When it is not set there.
    #[must_use]
    pub fn shadow(&self, name: &str) -> String {
        let said = self.inside(&format!("printf %s \"${{{name}?}}\""));
        assert_eq!(said.code, 0, "{said:#?}");
        said.out
    }

    /// Writes a file into the session's workspace.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, path: &str, text: &str) {
        let script = format!("mkdir -p \"$(dirname {path})\" && cat > {path}");
        let mut child = self.command(&["sh", "-c", &script]).stdin(Stdio::piped()).spawn().expect("it runs");
        let mut stdin = child.stdin.take().expect("its input");
        std::io::Write::write_all(&mut stdin, text.as_bytes()).expect("it reads");
        drop(stdin);
        assert!(child.wait().expect("it ends").success(), "{path}");
    }

    /// Runs a script and, while its processes live, looks for every real value in them, in their files and
    /// in all that the daemon has written; then in what it printed. A program of the script can print the
    /// mark `HELD` and wait for the end of its input itself, so that its own memory is searched.
    ///
    /// # Panics
    /// When it fails, or a real value is found.
    #[must_use]
    pub fn clean(&self, script: &str) -> Ran {
        let script = format!("{script}\ncode=$?; printf '\\n{MARK}\\n'; cat > /dev/null; exit $code");
        let mut command = self.command(&["sh", "-c", &script]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ftlctl runs");
        let mut err = child.stderr.take().expect("its errors");
        let errors = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            err.read_to_end(&mut bytes).map(|_| bytes).unwrap_or_default()
        });
        let mut lines = BufReader::new(child.stdout.take().expect("its output"));
        let mut printed = Vec::new();
        loop {
            let from = printed.len();
            let count = lines.read_until(b'\n', &mut printed).expect("its output");
            if count == 0 || printed[from..].trim_ascii() == MARK.as_bytes() {
                break;
            }
        }
        let real: Vec<&str> = self.real.iter().map(String::as_str).collect();
        let lives = self.search(&real);
        let shadows = self.in_processes(&[&self.shadow(KEY)]);
        drop(child.stdin.take());
        lines.read_to_end(&mut printed).expect("its output");
        let status = child.wait().expect("it ends");
        let err = errors.join().expect("its errors");
        let leaked = leaks::holds(&printed, &real) || leaks::holds(&err, &real);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ran = Ran { code: status.code().unwrap_or(128), out: text(&printed), err: text(&err) };
        assert!(!leaked, "a real value was printed: {ran:#?}");
        assert_eq!(lives, Vec::<String>::new(), "a real value is there: {ran:#?}");
        assert!(
            !shadows.found.is_empty(),
            "the search finds nothing, not even the shadow: {shadows:?} {ran:#?}"
        );
        assert_eq!(ran.code, 0, "{ran:#?}");
        ran
    }

    fn in_processes(&self, values: &[&str]) -> Processes {
        leaks::in_processes(self.processes(), values)
    }

    /// The processes that the session consists of. Those in containers descend from the engine, if from
    /// anybody: what they have in common is a network that nobody else is in, the door's process too.
    ///
    /// # Panics
    /// When the daemon has not written down which is the container's first.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        let below = leaks::descendants(self.world.daemon_pid());
        if !self.docker {
            return below;
        }
        let record = self.world.ftl_home().join("sessions").join(&self.session).join("pid");
        let record = std::fs::read(record).expect("a record of the container");
        let record: serde_json::Value = serde_json::from_slice(&record).expect("a record");
        let first = record["processes"][0]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        let inside = leaks::in_network_of(first.unwrap_or_else(|| panic!("{record}")));
        below.into_iter().chain(inside).collect()
    }

    /// Where values are in the session's processes or in what the daemon has written.
    #[must_use]
    pub fn search(&self, values: &[&str]) -> Vec<String> {
        let home = self.world.ftl_home();
        let kept = [home.join("credentials")];
        let mut found = self.in_processes(values).found;
        found.extend(leaks::in_files(&home, values, &kept));
        found
    }
}

/// The tool-chain that the tests were built with.
fn cargo() -> Option<PathBuf> {
    let out = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
    let root = PathBuf::from(String::from_utf8(out.stdout).ok()?.trim());
    root.join("bin/cargo").exists().then_some(root)
}
