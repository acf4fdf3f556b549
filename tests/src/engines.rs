//! Engines whose users are others than this machine's, and Podman's service.
//!
//! Owns their processes, which see files of users and a process list of their own: the system's are not
//! changed, and all of it ends with the program that started it. What they keep is in one directory each.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use crate::engine::{self, PATH};

/// What kind of engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Docker as root, whose containers have users of their own: `userns-remap`.
    Remapped,
    /// Docker as an ordinary user.
    Rootless,
    /// Podman's service as root.
    Podman,
    /// Podman's service as an ordinary user.
    PodmanRootless,
}

/// A running engine of that kind.
pub struct Other {
    dir: PathBuf,
    child: Child,
}

/// The user of those without root, and the first of its subordinate ids.
const USER: &str = "4343";

/// What each engine's process 1 does, in a process list and with mounts of its own. `$1` is the directory, `$2` what
/// runs, `$3` its user.
const BEGIN: &str = r#"set -e
cd "$1"
echo "ftl-engine:x:$3:$3::$1/home:/bin/sh" > passwd
echo "ftl-engine:x:$3:" > group
echo "ftl-engine:300000:65536" > sub
echo "root:300000:65536" >> sub
for name in passwd group; do
    cat /etc/$name >> $name
    mount --bind $name /etc/$name
done
for name in subuid subgid; do
    [ -e /etc/$name ] || exit 3
    mount --bind sub /etc/$name
done
export HOME="$1/home" XDG_RUNTIME_DIR="$1/run" TMPDIR="$1/tmp" NOTIFY_SOCKET="$1/ready.sock"
export CONTAINERS_CONF="$1/containers.conf" CONTAINERS_STORAGE_CONF="$1/storage.conf"
export DOCKERD_ROOTLESS_ROOTLESSKIT_NET=host DOCKERD_ROOTLESS_ROOTLESSKIT_PORT_DRIVER=none
export DOCKERD_ROOTLESS_ROOTLESSKIT_MTU=0
mkdir -p home run tmp
chown "$3:$3" home run tmp ready.sock
chmod 700 run
as="setpriv --reuid $3 --regid $3 --clear-groups"
no_network="--bridge=none --iptables=false --ip6tables=false --ip-masq=false"
case $2 in
    Remapped) dockerd --host "unix://$1/run/engine.sock" --data-root "$1/data" --exec-root "$1/exec" \
        --pidfile "$1/run/pid" --config-file "$1/daemon.json" --userns-remap=ftl-engine $no_network ;;
    Rootless) $as /usr/share/docker.io/contrib/dockerd-rootless.sh --host "unix://$1/run/engine.sock" \
        --config-file "$1/daemon.json" $no_network ;;
    Podman) podman system service -t 0 "unix://$1/run/engine.sock" ;;
    PodmanRootless) $as podman system service -t 0 "unix://$1/run/engine.sock" ;;
esac
"#;

impl Other {
    /// Starts one.
    ///
    /// # Panics
    /// When it cannot be started; only root can, with what `tests/run` installs.
    #[must_use]
    pub fn start(kind: Kind) -> Self {
        let dir = engine::prepare(&format!("{kind:?}"));
        let at = |name: &str| dir.join(name);
        let key = at("home/key.json").display().to_string();
        let own = if engine::keeps_key() {
            format!("{{\"deprecated-key-path\": {key:?}}}")
        } else {
            "{}".to_owned()
        };
        let user = if matches!(kind, Kind::Podman) { "0" } else { USER };
        let store = if user == "0" { at("data") } else { at("home/data") };
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = {store:?}\nrunroot = {:?}\n",
            at("run/containers")
        );
        // crun refuses machines that have both versions of control groups.
        let config = "[engine]\nruntime = \"runc\"\n[engine.runtimes]\nrunc = [\"/usr/sbin/runc\"]\n";
        for (name, text) in
            [("daemon.json", own.as_str()), ("storage.conf", &storage), ("containers.conf", config)]
        {
            std::fs::write(at(name), text).expect("a configuration");
        }
        let heard = UnixDatagram::bind(at("ready.sock")).expect("a socket for being told");
        std::fs::set_permissions(at("ready.sock"), std::fs::Permissions::from_mode(0o666)).expect("its mode");
        let log = std::fs::File::create(at("log")).expect("a log");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--mount-proc"]);
        command.args(["--kill-child", "sh", "-c", BEGIN, "sh"]).arg(&dir).arg(format!("{kind:?}")).arg(user);
        command.env("PATH", PATH).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("the log again")).stderr(log);
        let (started, child) = mpsc::channel();
        // The signal comes when the thread that started it ends.
        std::thread::spawn(move || {
            let _gone = started.send(command.spawn());
            loop {
                std::thread::park();
            }
        });
        let child = child.recv().expect("a thread").expect("unshare runs");
        let other = Self { dir, child };
        let mut told = [0; 4096];
        heard.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("a limit");
        loop {
            let length = heard.recv(&mut told).unwrap_or_else(|error| panic!("{error}\n{}", other.log()));
            if String::from_utf8_lossy(&told[..length]).contains("READY=1") {
                return other;
            }
        }
    }

    /// The value of `DOCKER_HOST` for it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.dir.join("run/engine.sock").display())
    }

    /// A small image with a shell, which every kind of engine imports in a moment.
    ///
    /// # Panics
    /// When it cannot be imported.
    #[must_use]
    pub fn small_image(&self) -> &'static str {
        const NAME: &str = "localhost/ftl-test-small:1";
        let archive = self.dir.join("small.tar");
        small(&self.dir, &archive);
        let imported =
            Command::new("docker").args(["-H", &self.host(), "import"]).arg(&archive).arg(NAME).output();
        let imported = imported.expect("docker runs");
        assert!(imported.status.success(), "{}\n{}", String::from_utf8_lossy(&imported.stderr), self.log());
        NAME
    }

    /// What it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // With it goes everything that it started.
        let _gone = self.child.kill();
        let _waited = self.child.wait();
        engine::remove(&self.dir);
    }
}

/// Makes an archive of the tests' root filesystem without what a shell does not need.
fn small(dir: &Path, archive: &Path) {
    let from = dir.join("small");
    std::fs::create_dir_all(&from).expect("a directory");
    let run = |command: &mut Command| {
        assert!(command.status().is_ok_and(|status| status.success()), "{command:?}");
    };
    let without = ["./dev", "./usr/share", "./usr/lib/git-core", "*perl*", "*python*", "./usr/bin/git*"];
    let without = without.iter().map(|name| format!("--exclude={name}"));
    run(Command::new("tar").args(without).arg("-xf").arg(engine::rootfs()).arg("-C").arg(&from));
    run(Command::new("tar").arg("-cf").arg(archive).arg("-C").arg(&from).arg("."));
    let _kept = std::fs::remove_dir_all(from);
}
