//! The human's terminal: its modes, its size and what is typed.
//!
//! Owns every call that changes or reads it. Must not know what is asked or run.

use std::io;
use std::os::fd::OwnedFd;
use std::thread;

use ftl_proto::v1;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::getpgrp;
use rustix::stdio::{stdin, stdout};
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr, tcgetpgrp,
    tcgetwinsize, tcsetattr,
};
use tokio::sync::mpsc;

/// Undoes what a program may have left behind in the terminal, so that what FTL asks next looks as it
/// should: ends an open sequence, then resets modes, attributes, character set, palette, mouse reporting and
/// bracketed paste, shows the cursor and leaves the alternate screen. What stands on the screen stays, and
/// so does the cursor (which is why 1047 and not 1049 leaves the alternate screen).
pub(crate) const RESET: &[u8] =
    b"\x18\x1b\\\x1b[!p\x1b[0m\x1b(B\x0f\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\
\x1b[?1047l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?25h";

/// The terminal in raw mode; its old mode comes back when this is dropped.
pub(crate) struct Raw {
    before: Termios,
}

/// The terminal without echo; its old mode comes back when this is dropped.
pub(crate) struct Hidden {
    before: Termios,
}

/// What arrives on standard input, read only while this lives: what is typed afterwards is left for
/// whoever reads next.
pub(crate) struct Input {
    chunks: mpsc::Receiver<Vec<u8>>,
    _open: OwnedFd,
}

// === impl Raw ===

impl Raw {
    /// Turns echo, line editing and signal keys off.
    pub(crate) fn enter() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nothing can be done when the terminal has gone.
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.before);
    }
}

// === impl Hidden ===

impl Hidden {
    /// Turns echo off, except for the end of the line, and throws away what was typed before. Suspending
    /// is off too: nobody would turn echo on again while the process stands still.
    pub(crate) fn enter() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ICANON | LocalModes::ISIG | LocalModes::ECHONL);
        hidden.special_codes[SpecialCodeIndex::VSUSP] = 0;
        tcsetattr(stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // What was typed behind the line may belong to the secret: it is not for the shell to see.
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.before);
    }
}

/// Whether this process may read the terminal: a job in the background would be stopped by trying.
pub(crate) fn in_foreground() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp())
}

/// The terminal's size, or a plain one when it does not say.
pub(crate) fn size() -> v1::TerminalSize {
    match tcgetwinsize(stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => {
            v1::TerminalSize { rows: size.ws_row.into(), columns: size.ws_col.into() }
        }
        _ => v1::TerminalSize { rows: 24, columns: 80 },
    }
}

/// Throws away what was typed before a question was asked: it was meant for something else.
pub(crate) fn forget_typed() {
    let _ = tcflush(stdin(), QueueSelector::IFlush);
}

// === impl Input ===

impl Input {
    /// Begins to read.
    pub(crate) fn open() -> io::Result<Self> {
        let (stop, open) = pipe_with(PipeFlags::CLOEXEC)?;
        let (sender, chunks) = mpsc::channel(1);
        thread::Builder::new().name("stdin".to_owned()).spawn(move || read(&stop, &sender))?;
        Ok(Self { chunks, _open: open })
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        self.chunks.recv().await
    }
}

/// Reads when there is something to read, until the end or until the other end of `stop` is closed.
fn read(stop: &OwnedFd, sender: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let stdin = stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return,
        }
        if !fds[1].revents().is_empty() {
            return;
        }
        match rustix::io::read(stdin, &mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                if sender.blocking_send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return,
        }
    }
}
