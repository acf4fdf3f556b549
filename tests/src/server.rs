//! Servers that others wrote, on this machine's loopback.
//!
//! Owns their processes: each one is gone when dropped.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::repo;

/// A running server.
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// The scripted model, with one JSON line for each request in `log`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn model(log: &Path) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(repo::root().join("tests/stub/stub_llm.py")).arg("--log").arg(log);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the model runs");
        let out = child.stdout.take().expect("its output");
        Self::listening(child, out, "listening ")
    }

    /// AWS's services, as `moto` plays them.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn moto() -> Self {
        let mut command = Command::new(python("moto_server"));
        command.args(["-H", "127.0.0.1", "-p", "0"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("moto runs");
        let err = child.stderr.take().expect("its output");
        Self::listening(child, err, " * Running on http://127.0.0.1:")
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the line with the port.
    fn listening(child: Child, from: impl Read + Send + 'static, before: &str) -> Self {
        let mut lines = BufReader::new(from).lines();
        let port = lines.find_map(|line| {
            let line = line.ok()?;
            line.strip_prefix(before)?.trim().parse::<u16>().ok()
        });
        let port = port.unwrap_or_else(|| panic!("a server ended without `{before}PORT`"));
        // Nobody reads the rest, and a full pipe would stop the server.
        std::thread::spawn(move || lines.count());
        Self { child, address: ([127, 0, 0, 1], port).into() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// A program of the Python environment that `tests/run` installs.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn python(program: &str) -> std::path::PathBuf {
    let path = repo::tools().join("python/bin").join(program);
    assert!(path.exists(), "{} is not installed: run `tests/run`", path.display());
    path
}
