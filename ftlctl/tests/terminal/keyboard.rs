//! A terminal with somebody at it: what they type, what they see, and in which order.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::daemon::Daemon;

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A shell command on a terminal of its own.
pub(crate) struct Keyboard {
    child: Child,
    keys: ChildStdin,
    screen: Receiver<Vec<u8>>,
    seen: String,
    /// Up to where the screen was read.
    read: usize,
}

impl Keyboard {
    /// Starts the command, in which `ftlctl` speaks to this daemon.
    pub(crate) fn open(daemon: &Daemon, line: &str) -> Self {
        let mut command = Command::new("script");
        daemon.set_env(&mut command);
        let mut child = command
            .args(["--quiet", "--return", "--flush", "--command", line, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (keys, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = out.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keys, screen, seen: String::new(), read: 0 }
    }

    /// Types.
    pub(crate) fn kind(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until the text appears behind what was waited for last.
    pub(crate) fn wait_for(&mut self, text: &str) {
        loop {
            if let Some(at) = self.seen[self.read..].find(text) {
                self.read += at + text.len();
                return;
            }
            let Ok(more) = self.screen.recv_timeout(PATIENCE) else {
                panic!("no {text:?} in {:?}", self.seen)
            };
            self.seen += &String::from_utf8_lossy(&more);
        }
    }

    /// Everything that was on the screen.
    pub(crate) fn seen(&self) -> &str {
        &self.seen
    }

    /// Waits for the end and gives the status.
    pub(crate) fn ended(&mut self) -> i32 {
        while let Ok(more) = self.screen.recv_timeout(PATIENCE) {
            self.seen += &String::from_utf8_lossy(&more);
        }
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
