//! A way to a container engine that counts what is asked.
//!
//! Owns a socket before the engine's own. Every question is a connection of its own; a way that stays open, such as
//! a container's streams, was one question.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The way, for as long as the program lives.
pub struct Counted {
    socket: PathBuf,
    asked: Arc<AtomicUsize>,
}

impl Counted {
    /// A way to the engine at `engine`, by a socket in a directory that is there.
    ///
    /// # Panics
    /// When there can be no socket.
    #[must_use]
    pub fn new(dir: &Path, engine: PathBuf) -> Self {
        let socket = dir.join("counted.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                if let Ok(engine) = UnixStream::connect(&engine) {
                    both_ways(&client, &engine);
                }
            }
        });
        Self { socket, asked }
    }

    /// The value of `DOCKER_HOST` for it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// How many questions were asked so far.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn both_ways(one: &UnixStream, other: &UnixStream) {
    for (from, to) in [(one, other), (other, one)] {
        let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
        std::thread::spawn(move || {
            // One end tells the other by its own end.
            let _ended = io::copy(&mut from, &mut to);
            let _gone = to.shutdown(Shutdown::Write);
        });
    }
}
