//! Hears of containers that become ready.
//!
//! Owns one stream of an engine's events. Must not know what a container is ready for.

use std::io::{BufRead as _, BufReader, Lines};
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::world::World;

/// Hears of every door that is started for a world: the last thing before a container is ready.
pub struct Doors {
    docker: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// The filter for what bears a world's name.
#[must_use]
pub fn label(world: &World) -> String {
    let hash = ftl_core::id::Hash::of(world.ftl_home().as_os_str().as_bytes());
    format!("label=dev.ftl.instance={}", &hash.to_hex()[..12])
}

impl Doors {
    /// Those of a world, on an engine.
    ///
    /// # Panics
    /// When the engine's client does not run.
    #[must_use]
    pub fn of(world: &World, host: &str) -> Self {
        let label = label(world);
        let mut docker = Command::new("docker");
        docker.args(["-H", host, "events", "--since", "0", "--filter", "type=container"]);
        docker.args(["--filter", "event=start", "--filter", &label, "--filter", "label=dev.ftl.role=door"]);
        docker.args(["--format", "{{index .Actor.Attributes \"dev.ftl.session\"}}"]);
        let mut docker = docker.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(docker.stdout.take().unwrap()).lines();
        Self { docker, lines }
    }

    /// The session of the next one.
    ///
    /// # Panics
    /// When there are no more events.
    pub fn next_session(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// The next one's session that is none of these.
    ///
    /// # Panics
    /// When there are no more events.
    pub fn next_but(&mut self, known: &[String]) -> String {
        loop {
            let session = self.next_session();
            if !known.contains(&session) {
                return session;
            }
        }
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        let _ended = self.docker.kill();
        let _waited = self.docker.wait();
    }
}
