//! The engine asked directly: the least that booting and running a command can cost.
//!
//! Owns requests over the engine's socket, a connection for each. Must not know what they are compared with.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ftl_tests::measure::Outcome;
use serde_json::{Value, json};

/// An engine and the image that its containers are made of.
pub(crate) struct Raw {
    socket: PathBuf,
    image: String,
}

impl Raw {
    /// Asks nothing yet.
    pub(crate) fn new(socket: &Path, image: &str) -> Self {
        Self { socket: socket.to_owned(), image: image.to_owned() }
    }

    /// How long a container takes from nothing to the first byte that its program writes; it is removed.
    pub(crate) fn boot(&self) -> Outcome<Duration> {
        let begun = Instant::now();
        let id = self.create(&["echo", "ready"])?;
        let mut attached = self.send("POST", &format!("/containers/{id}/attach?stream=1&stdout=1"), None)?;
        let _head = head(&mut attached)?;
        self.ask("POST", &format!("/containers/{id}/start"), None)?;
        attached.read_exact(&mut [0; 9])?;
        let took = begun.elapsed();
        self.remove(&id)?;
        Ok(took)
    }

    /// A container that waits for commands.
    pub(crate) fn waiting(&self) -> Outcome<String> {
        let id = self.create(&["sleep", "1000000"])?;
        self.ask("POST", &format!("/containers/{id}/start"), None)?;
        Ok(id)
    }

    /// A command in a container, from nothing to the end of its output.
    pub(crate) fn exec(&self, id: &str) -> Outcome<()> {
        let body = json!({ "Cmd": ["/bin/sh", "-c", "true"], "AttachStdout": true, "AttachStderr": true });
        let made = self.ask("POST", &format!("/containers/{id}/exec"), Some(&body))?;
        let exec = made["Id"].as_str().ok_or("no exec")?;
        let body = json!({ "Detach": false, "Tty": false });
        let mut stream = self.send("POST", &format!("/exec/{exec}/start"), Some(&body))?;
        stream.read_to_end(&mut Vec::new())?;
        Ok(())
    }

    /// Ends and removes a container.
    pub(crate) fn remove(&self, id: &str) -> Outcome<()> {
        self.ask("DELETE", &format!("/containers/{id}?force=1"), None).map(drop)
    }

    fn create(&self, command: &[&str]) -> Outcome<String> {
        let host = json!({ "NetworkMode": "none" });
        let body = json!({ "Image": self.image, "Cmd": command, "AttachStdout": true, "HostConfig": host });
        let made = self.ask("POST", "/containers/create", Some(&body))?;
        Ok(made["Id"].as_str().ok_or("no container")?.to_owned())
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Outcome<Value> {
        let mut stream = self.send(method, path, body)?;
        let (status, length) = head(&mut stream)?;
        let mut text = vec![0; length];
        stream.read_exact(&mut text)?;
        match status {
            200..300 if text.is_empty() => Ok(Value::Null),
            200..300 => Ok(serde_json::from_slice(&text)?),
            _ => Err(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&text)).into()),
        }
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Outcome<UnixStream> {
        let mut stream = UnixStream::connect(&self.socket)?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let close = if path.contains("attach") { "Upgrade\r\nUpgrade: tcp" } else { "close" };
        let head = format!(
            "{method} /v1.41{path} HTTP/1.1\r\nHost: engine\r\nConnection: {close}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes())?;
        Ok(stream)
    }
}

/// The status of an answer, and the length of what follows.
fn head(stream: &mut UnixStream) -> Outcome<(u16, usize)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    Ok((status, length.map_or(Ok(0), str::parse)?))
}
