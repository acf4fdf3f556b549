//! A keyring of the freedesktop kind, on a message bus of its own.
//!
//! Owns the bus and the service that run for a test, and their end. Must not know who asks for what is kept.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A keyring that is open, with one entry; it ends when this is dropped.
pub struct Keyring {
    child: Child,
    input: Option<ChildStdin>,
    bus: String,
    dir: tempfile::TempDir,
}

/// Opens the keyring, keeps an entry, says so, and ends with its input. A word locks the keyring: the service
/// begins anew without the password.
const SCRIPT: &str = r#"
printf password | gnome-keyring-daemon --unlock --components=secrets --foreground >/dev/null 2>&1 &
service=$!
until printf %s "$2" | secret-tool store --label=test service "$0" account "$1" 2>/dev/null; do :; done
echo "$DBUS_SESSION_BUS_ADDRESS"
read -r lock && {
    kill $service; wait $service
    gnome-keyring-daemon --components=secrets --foreground >/dev/null 2>&1 &
    service=$!
    until dbus-send --session --print-reply --dest=org.freedesktop.secrets / org.freedesktop.DBus.Peer.Ping >/dev/null 2>&1
    do :; done
    echo locked
    read -r end
}
kill $service
"#;

impl Keyring {
    /// Whether the programs are there; `tests/run` installs them.
    #[must_use]
    pub fn is_there() -> bool {
        let found = |name: &str| PathBuf::from("/usr/bin").join(name).exists();
        ["dbus-run-session", "dbus-send", "gnome-keyring-daemon", "secret-tool"].into_iter().all(found)
    }

    /// A keyring with a value.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn with(service: &str, account: &str, value: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut child = Command::new("dbus-run-session")
            .args(["--", "sh", "-c", SCRIPT, service, account, value])
            .env("HOME", dir.path())
            .env("XDG_RUNTIME_DIR", dir.path())
            .env_remove("DISPLAY")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-run-session runs");
        let input = child.stdin.take();
        let mut keyring = Self { child, input, bus: String::new(), dir };
        keyring.bus = keyring.line();
        keyring
    }

    /// Where its bus is, as `DBUS_SESSION_BUS_ADDRESS` has it.
    #[must_use]
    pub fn bus(&self) -> &str {
        &self.bus
    }

    /// Locks it.
    ///
    /// # Panics
    /// When it does not come up again.
    pub fn lock(&mut self) {
        let input = self.input.as_mut().expect("it runs");
        std::io::Write::write_all(input, b"lock\n").expect("it listens");
        assert_eq!(self.line(), "locked", "in {}", self.dir.path().display());
    }

    fn line(&mut self) -> String {
        let output = self.child.stdout.as_mut().expect("its output");
        // It never says more than one line without being asked.
        let line = BufReader::with_capacity(1 << 10, output).lines().next();
        line.expect("a line").expect("it reads")
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ended = self.child.wait();
    }
}
