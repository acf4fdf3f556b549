//! A container engine of the tests' own.
//!
//! Owns its processes and everything it keeps: a socket, data and state in one directory, no bridge, no
//! firewall rules, nothing of an engine that the machine may have. One serves all tests of a program and
//! ends with it; what a program that was killed left behind, the next one removes.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};

use crate::repo;

/// What the names of engines' directories begin with; the program's process id follows.
const PREFIX: &str = "ftl-engine-";

/// Where they lie: on a file system that overlays can be made of.
const BESIDE: &str = "/var/tmp";

/// Where an engine finds its parts.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

/// The group that may use the socket: the one of ordinary worlds.
const GROUP: &str = "4242";

/// A running engine.
pub struct Engine {
    dir: PathBuf,
    env: Vec<(String, String)>,
    /// Whether its containers outlive it.
    outlived: bool,
    child: Mutex<Option<Child>>,
}

impl Engine {
    /// The engine of this program, started by the first who asks.
    ///
    /// # Panics
    /// When it cannot be started; only root can, with what `tests/run` installs.
    #[must_use]
    pub fn shared() -> &'static Self {
        static ENGINE: OnceLock<Engine> = OnceLock::new();
        ENGINE.get_or_init(|| Self::start("shared"))
    }

    /// Another engine, which ends when it is dropped.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str) -> Self {
        Self::start_with(name, &[])
    }

    /// Another engine with these variables in its environment.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_with(name: &str, env: &[(&str, &str)]) -> Self {
        let dir = prepare(name);
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let engine = Self { dir, env, outlived: false, child: Mutex::new(None) };
        engine.resume();
        engine.clean_up_after_us();
        engine
    }

    /// Another engine whose containers go on when it is killed (`live-restore`).
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_outlived(name: &str) -> Self {
        let engine = Self { dir: prepare(name), env: Vec::new(), outlived: true, child: Mutex::new(None) };
        engine.resume();
        engine.clean_up_after_us();
        engine
    }

    /// Another engine whose data lie on a disk of so many MiB.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_on_a_small_disk(name: &str, mib: u32) -> Self {
        let dir = prepare(name);
        std::fs::create_dir_all(dir.join("data")).expect("a directory");
        let size = format!("size={mib}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(dir.join("data")).status();
        assert!(mounted.is_ok_and(|status| status.success()), "a small disk");
        let engine = Self { dir, env: Vec::new(), outlived: false, child: Mutex::new(None) };
        engine.resume();
        engine.clean_up_after_us();
        engine
    }

    /// Starts it again after [`Self::kill`].
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn resume(&self) {
        let dir = &self.dir;
        // Older engines keep their identity in the system's settings unless they are told otherwise.
        let key = dir.join("key.json").display().to_string();
        let mut own = Vec::new();
        if keeps_key() {
            own.push(format!("\"deprecated-key-path\": {key:?}"));
        }
        if let Some(path) = find("runsc") {
            // Debian's takes every network of newer kernels for the machine's own, and refuses that.
            let runsc = format!("{{\"path\": {path:?}, \"runtimeArgs\": [\"--network=none\"]}}");
            own.push(format!("\"runtimes\": {{\"runsc\": {runsc}}}"));
        }
        if self.outlived {
            own.push("\"live-restore\": true".to_owned());
        }
        let own = format!("{{{}}}", own.join(", "));
        std::fs::write(dir.join("daemon.json"), own).expect("a configuration");
        let ready = dir.join("ready.sock");
        let _old = std::fs::remove_file(&ready);
        let heard = UnixDatagram::bind(&ready).expect("a socket for being told");
        let log = std::fs::File::create(dir.join("log")).expect("a log");
        // With the program that started it, however that ends. The signal comes when the thread that
        // started it ends, so this is one that does not.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "dockerd"]).args(["--host", &self.host()]);
        for (option, value) in [
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
            ("--config-file", "daemon.json"),
        ] {
            command.arg(option).arg(dir.join(value));
        }
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false"]);
        command.args(["--group", GROUP]);
        if let Some(path) = find("crun") {
            command.arg("--add-runtime").arg(format!("crun={}", path.display()));
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.env("NOTIFY_SOCKET", &ready).env("PATH", PATH);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("the log again")).stderr(log);
        let (started, child) = mpsc::channel();
        std::thread::spawn(move || {
            let _gone = started.send(command.spawn());
            loop {
                std::thread::park();
            }
        });
        let child = child.recv().expect("a thread").expect("dockerd runs; `tests/run` installs it");
        *self.child.lock().expect("nobody panicked") = Some(child);
        let mut told = [0; 4096];
        heard.set_read_timeout(Some(std::time::Duration::from_secs(120))).expect("a limit");
        loop {
            let length = heard.recv(&mut told).unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
            if String::from_utf8_lossy(&told[..length]).contains("READY=1") {
                break;
            }
        }
    }

    /// Has the directory removed once this program and the engine have ended: what is shared is never
    /// dropped, and a killed program drops nothing.
    fn clean_up_after_us(&self) {
        let script = r#"tail --pid "$1" -f /dev/null
            tail --pid "$(cat "$2/pid")" -f /dev/null
            cat "$2"/exec/containerd/daemon/io.containerd.runtime.v2.task/moby/*/*.pid | xargs -r kill -9
            awk -v dir="$2/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r -n 1 umount -l
            rm -rf --one-file-system "$2""#;
        let mut command = Command::new("setsid");
        command.args(["--fork", "sh", "-c", script, "sh", &std::process::id().to_string()]).arg(&self.dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().is_ok_and(|status| status.success()), "a shell runs");
    }

    /// Kills it without warning, as a crash would.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&self) {
        let mut child = self.child.lock().expect("nobody panicked").take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it is gone");
        // What it started ends with it, a moment later; a new one must not meet it dying.
        let pid =
            std::fs::read_to_string(self.dir.join("exec/containerd/containerd.pid")).unwrap_or_default();
        let ended = Command::new("tail").args(["--pid", pid.trim(), "-f", "/dev/null"]).status();
        assert!(ended.is_ok_and(|status| status.success()), "containerd {pid} lives");
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }

    /// The value of `DOCKER_HOST` for it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The image of the root filesystem that `tests/run` makes, and of nothing else; imported by the first
    /// who asks.
    ///
    /// # Panics
    /// When it cannot be imported.
    #[must_use]
    pub fn plain_image(&self) -> &'static str {
        const NAME: &str = "ftl-test-plain:1";
        let docker = |arguments: &[&str]| {
            Command::new("docker").args(["-H", &self.host()]).args(arguments).output().expect("docker runs")
        };
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _alone = ONE_AT_A_TIME.lock();
        if !docker(&["image", "inspect", NAME]).status.success() {
            let archive = rootfs().display().to_string();
            let imported = docker(&["import", &archive, NAME]);
            assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
        }
        NAME
    }

    /// What it has that bears a label, running or not: ids of containers, names of volumes.
    ///
    /// # Panics
    /// When it cannot be asked.
    #[must_use]
    pub fn labelled(&self, label: &str) -> Vec<String> {
        let filter = format!("label={label}");
        let list = |what: &[&str]| {
            let mut command = Command::new("docker");
            command.args(["-H", &self.host()]).args(what).args(["-q", "--filter", &filter]);
            let output = command.output().expect("docker runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("names are text")
        };
        let both = list(&["ps", "-a"]) + &list(&["volume", "ls"]);
        both.split_whitespace().map(str::to_owned).collect()
    }

    /// What is mounted beneath its directory.
    ///
    /// # Panics
    /// When the kernel's list cannot be read.
    #[must_use]
    pub fn mounted(&self) -> Vec<String> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("the list of mounts");
        let at = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        at.filter(|at| Path::new(at).starts_with(&self.dir)).map(str::to_owned).collect()
    }

    /// What it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Ok(child) = self.child.get_mut()
            && let Some(child) = child
        {
            // It takes its containers and mounts down itself when it is asked to end.
            if let Some(pid) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
                let _gone = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            let _waited = child.wait();
        }
        remove(&self.dir);
    }
}

/// Makes an engine's directory.
pub(crate) fn prepare(name: &str) -> PathBuf {
    static SWEPT: OnceLock<()> = OnceLock::new();
    SWEPT.get_or_init(sweep);
    let dir = Path::new(BESIDE).join(format!("{PREFIX}{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    dir
}

/// The root filesystem that `tests/run` makes.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn rootfs() -> PathBuf {
    let path = repo::tools().join("docker/root.tar");
    assert!(path.exists(), "{} is not there: run `tests/run`", path.display());
    path
}

/// Whether the installed engine is one that keeps a key.
pub(crate) fn keeps_key() -> bool {
    let mut command = Command::new("dockerd");
    let said =
        command.arg("--version").env("PATH", PATH).output().expect("dockerd runs; `tests/run` installs it");
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let number = text.trim_start_matches(|c: char| !c.is_ascii_digit()).split('.').next().unwrap_or_default();
    number.parse::<u32>().is_ok_and(|major| major < 24)
}

fn find(program: &str) -> Option<PathBuf> {
    ["/usr/local/bin", "/usr/bin", "/usr/sbin"]
        .iter()
        .map(|dir| Path::new(dir).join(program))
        .find(|path| path.exists())
}

/// Removes what programs that are no more have left.
fn sweep() {
    for entry in std::fs::read_dir(BESIDE).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let pid = rest.split('-').next().unwrap_or_default();
        // An engine takes its time to end after its program.
        let engine = std::fs::read_to_string(entry.path().join("pid")).unwrap_or_default();
        let lives = |pid: &str| !pid.is_empty() && Path::new("/proc").join(pid).exists();
        if !lives(pid) && !lives(engine.trim()) {
            remove(&entry.path());
        }
    }
}

/// Removes an engine's directory, with the containers that ran and what was mounted there when it was killed.
pub(crate) fn remove(dir: &Path) {
    let running = dir.join("exec/containerd/daemon/io.containerd.runtime.v2.task/moby");
    for container in std::fs::read_dir(running).into_iter().flatten().flatten() {
        for file in ["init.pid", "shim.pid"] {
            let pid = std::fs::read_to_string(container.path().join(file)).unwrap_or_default();
            if let Some(pid) = pid.trim().parse().ok().and_then(rustix::process::Pid::from_raw) {
                let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let beneath =
        mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|at| Path::new(at).starts_with(dir));
    for at in beneath.collect::<Vec<_>>().into_iter().rev() {
        let _busy = Command::new("umount").args(["-l", at]).stderr(Stdio::null()).status();
    }
    // A process of it may still be on its way out; the next program's sweep removes the rest.
    let _rest = std::fs::remove_dir_all(dir);
}
