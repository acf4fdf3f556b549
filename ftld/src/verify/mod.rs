//! Runs one check in a sandbox that was made for it.
//!
//! Owns the limits of time and output, what is kept of the output, and that nothing of the check runs any more when
//! its outcome is known. Must not know what is tried, where the sandbox came from, or what the outcome means for
//! anybody: that is [`ftl_core::verify`]'s. All that it reads was printed by hostile code.

use std::ffi::OsString;
use std::io;
use std::pin::pin;
use std::time::Duration;

use ftl_core::verify::tally::Tally;
use ftl_core::verify::{Limits, Outcome};
use tokio::io::AsyncReadExt as _;
use tokio_util::sync::CancellationToken;

use crate::sandbox::{Command, ExitStatus, Process, Reader, Sandbox, SandboxError, Stdio};

/// Some of a check's output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The bytes as they came.
    pub data: Vec<u8>,
    /// Whether they came from standard error.
    pub stderr: bool,
}

/// A check that ran.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// How it ended.
    pub outcome: Outcome,
    /// The last of what it printed, both streams as they came; at most [`TAIL`] bytes.
    pub tail: Vec<u8>,
}

/// Bytes that are kept of the end of what a check prints.
pub const TAIL: usize = 8 * 1024;
/// Bytes read at once.
const CHUNK: usize = 16 * 1024;
/// How long the ends of the streams are waited for, once nothing can write to them any more.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs a command in a fresh sandbox and ends the sandbox, whatever became of the command. Each piece of output is
/// handed to `say`. `None` when it was stopped.
pub async fn run(
    sandbox: &dyn Sandbox,
    command: &str,
    limits: Limits,
    say: &(dyn Fn(Piece) + Send + Sync),
    stop: &CancellationToken,
) -> Option<Run> {
    let mut heard = Heard { say, left: limits.output_bytes, tally: Tally::default(), tail: Vec::new() };
    let outcome = follow(sandbox, command, limits, &mut heard, stop).await?;
    Some(Run { outcome, tail: heard.tail })
}

/// How the command ended by itself, or why it did not.
enum Over {
    Exit(Result<ExitStatus, SandboxError>),
    Outcome(Outcome),
    Stopped,
}

async fn follow(
    sandbox: &dyn Sandbox,
    command: &str,
    limits: Limits,
    heard: &mut Heard<'_>,
    stop: &CancellationToken,
) -> Option<Outcome> {
    let argv = ["/bin/sh", "-c", "--", command].map(OsString::from).to_vec();
    let program = Command { argv, env: Vec::new(), workdir: None, stdio: Stdio::Pipes };
    let Process { stdin, stdout, stderr, control, mut exit, .. } = match sandbox.spawn(program).await {
        Ok(process) => process,
        Err(error) => {
            sandbox.kill().await;
            return Some(Outcome::NotStarted { why: told(&error) });
        }
    };
    // A check that waits for a human has none.
    drop(stdin);
    let (mut out, mut err) = (Ear::new(Some(stdout), false), Ear::new(stderr, true));
    let too_much = || Over::Outcome(Outcome::Output { bytes: limits.output_bytes });
    let mut died = pin!(sandbox.ended());
    let mut late = pin!(tokio::time::sleep(Duration::from_secs(limits.seconds)));
    let over = loop {
        tokio::select! {
            () = stop.cancelled() => break Over::Stopped,
            piece = out.hear() => if !heard.take(piece) { break too_much() },
            piece = err.hear() => if !heard.take(piece) { break too_much() },
            status = &mut exit => break Over::Exit(status),
            () = &mut late => break Over::Outcome(Outcome::Time { seconds: limits.seconds }),
            ending = &mut died => break Over::Outcome(Outcome::Lost { why: ending.to_string() }),
        }
    };
    let ending = sandbox.kill().await;
    // What it left running is gone; what was written before is read to its end.
    drop(control);
    let mut is_over = false;
    let drained = async {
        while let Some(piece) = out.rest().await {
            is_over |= !heard.take(piece);
        }
        while let Some(piece) = err.rest().await {
            is_over |= !heard.take(piece);
        }
    };
    let _all = tokio::time::timeout(DRAIN, drained).await;
    match over {
        Over::Stopped => None,
        Over::Outcome(outcome) => Some(outcome),
        Over::Exit(_) if is_over => Some(Outcome::Output { bytes: limits.output_bytes }),
        Over::Exit(Ok(ExitStatus::Code(code))) => Some(Outcome::of_exit(code, &heard.tally)),
        Over::Exit(Ok(ExitStatus::Signal(signal))) => Some(Outcome::Signal(signal)),
        Over::Exit(Err(_)) => Some(Outcome::Lost { why: ending.to_string() }),
    }
}

/// What was printed so far.
struct Heard<'a> {
    say: &'a (dyn Fn(Piece) + Send + Sync),
    left: u64,
    tally: Tally,
    tail: Vec<u8>,
}

impl Heard<'_> {
    /// Takes a piece, as far as there is room for it; `false` when there was not.
    fn take(&mut self, mut piece: Piece) -> bool {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let fits = piece.data.len() <= room;
        piece.data.truncate(room);
        self.left -= u64::try_from(piece.data.len()).unwrap_or(self.left).min(self.left);
        self.tally.feed(&piece.data);
        self.tail.extend_from_slice(&piece.data);
        let excess = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..excess);
        if !piece.data.is_empty() {
            (self.say)(piece);
        }
        fits
    }
}

/// One of the command's output streams.
struct Ear {
    from: Option<Reader>,
    chunk: Vec<u8>,
    stderr: bool,
}

impl Ear {
    fn new(from: Option<Reader>, stderr: bool) -> Self {
        Self { from, chunk: vec![0; CHUNK], stderr }
    }

    /// The next piece; never resolves once the stream has ended.
    async fn hear(&mut self) -> Piece {
        match self.rest().await {
            Some(piece) => piece,
            None => std::future::pending().await,
        }
    }

    /// The next piece; `None` at the end of the stream.
    async fn rest(&mut self) -> Option<Piece> {
        let read: io::Result<usize> = match &mut self.from {
            Some(from) => from.read(&mut self.chunk).await,
            None => return None,
        };
        match read {
            Ok(count @ 1..) => Some(Piece { data: self.chunk[..count].to_vec(), stderr: self.stderr }),
            Ok(_) | Err(_) => {
                self.from = None;
                None
            }
        }
    }
}

/// An error and its causes in one line.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    causes.collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_the_output_is_its_end_and_no_more_than_may_be_printed_is_shown() {
        let shown = std::sync::Mutex::new(0);
        let say = |piece: Piece| *shown.lock().unwrap() += piece.data.len();
        let mut heard = Heard { say: &say, left: 20_000, tally: Tally::default(), tail: Vec::new() };
        let piece = |byte: u8, count: usize| Piece { data: vec![byte; count], stderr: false };
        assert!(heard.take(piece(b'a', 15_000)));
        assert!(heard.take(piece(b'b', 5_000)));
        assert_eq!(heard.tail.len(), TAIL);
        assert!(heard.tail.ends_with(b"bbb") && heard.tail.starts_with(b"a"));
        assert!(!heard.take(piece(b'c', 1)));
        assert_eq!((*shown.lock().unwrap(), heard.left), (20_000, 0));
    }
}
