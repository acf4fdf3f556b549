//! A client's command in a sandbox: bytes in, bytes out, exit status.
//!
//! Owns the pumping. Must not know why the command runs or what becomes of its work.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::record::Record;
use crate::sandbox::{ExitStatus, Process, ProcessControl, Reader, SandboxError, Size, Writer};

/// A command that a client wants to run.
#[derive(Clone, Debug, Default)]
pub struct ExecSpec {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Rows and columns of its terminal; pipes when absent.
    pub terminal: Option<(u16, u16)>,
    /// Value of TERM with a terminal.
    pub term: String,
    /// Whether the command is the session's agent on its own terminal; `argv` has further arguments for it.
    pub of_agent: bool,
    /// Variables on top of the sandbox's own; no client's.
    pub env: Vec<(OsString, OsString)>,
}

/// What a client sends into a command.
#[derive(Debug)]
pub enum ExecInput {
    /// Bytes for standard input.
    Data(Vec<u8>),
    /// No more of them.
    End,
    /// The terminal has another size.
    Resize {
        /// Rows.
        rows: u16,
        /// Columns.
        columns: u16,
    },
    /// A signal for its process group.
    Signal(i32),
}

/// What a command sends back.
#[derive(Debug)]
pub enum ExecOutput {
    /// Bytes of standard output, or of the terminal.
    Stdout(Vec<u8>),
    /// Bytes of standard error.
    Stderr(Vec<u8>),
    /// It ended; the last message.
    Exit {
        /// Exit status; 128 plus the signal when a signal ended it.
        code: i32,
        /// The session, when the command was the last of its turn.
        record: Option<Box<Record>>,
    },
    /// Somebody else sits at the terminal now; the last message.
    Replaced,
}

/// How long a command's end waits for a client that does not read.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Any time at all: the runtime has looked at every descriptor when it is over.
pub(super) const TURN: Duration = Duration::from_millis(1);
/// Bytes read at once.
const CHUNK: usize = 32 * 1024;
/// Signal for a command whose client has gone.
const HANGUP: i32 = 1;
/// Number of the signal that nothing survives.
const KILL: i32 = 9;

/// Carries bytes both ways until the command has ended; returns its exit status. When the client goes
/// away, the command gets a hang-up, as from a closed terminal.
///
/// What the command wrote before its end is carried to the last byte. What a child that it left behind
/// writes later is not: waiting for that child would keep the client for as long as it lives.
pub(super) async fn pump(
    process: Process,
    input: mpsc::Receiver<ExecInput>,
    output: mpsc::Sender<ExecOutput>,
    over: CancellationToken,
) -> i32 {
    let Process { stdin, stdout, stderr, control, mut exit, .. } = process;
    let feeding = tokio::spawn(feed(stdin, control, input));
    let mut out = Carrier::new(Some(stdout), ExecOutput::Stdout);
    let mut err = Carrier::new(stderr, ExecOutput::Stderr);
    let status = loop {
        tokio::select! {
            biased;
            count = out.read() => out.carry(count, &output, &over).await,
            count = err.read() => err.carry(count, &output, &over).await,
            status = &mut exit => break status,
        }
    };
    feeding.abort();
    out.rest(&output, &over).await;
    err.rest(&output, &over).await;
    code(&status)
}

/// Tells a client how its command ended. The client may not read for a long time: nobody waits for it.
pub(super) fn tell_exit(output: mpsc::Sender<ExecOutput>, code: i32, record: Option<Box<Record>>) {
    tokio::spawn(async move {
        let exit = ExecOutput::Exit { code, record };
        // A client that has gone, or takes none of it in time, is not told.
        let _untold = tokio::time::timeout(PATIENCE, output.send(exit)).await;
    });
}

/// A shell's number for an exit status; a sandbox that ended under the program counts as a kill.
pub(super) fn code(status: &Result<ExitStatus, SandboxError>) -> i32 {
    match status {
        Ok(ExitStatus::Code(code)) => *code,
        Ok(ExitStatus::Signal(signal)) => 128 + signal,
        Err(_) => 128 + KILL,
    }
}

async fn feed(stdin: Writer, control: Arc<dyn ProcessControl>, mut input: mpsc::Receiver<ExecInput>) {
    let mut stdin = Some(stdin);
    while let Some(message) = input.recv().await {
        match message {
            ExecInput::Data(data) => {
                let Some(pipe) = &mut stdin else { continue };
                if pipe.write_all(&data).await.is_err() || pipe.flush().await.is_err() {
                    // The command does not read any more, which is its right.
                    stdin = None;
                }
            }
            ExecInput::End => stdin = None,
            ExecInput::Resize { rows, columns } => ignore_ended(control.resize(Size { rows, columns })),
            ExecInput::Signal(signal) => ignore_ended(control.signal(signal).await),
        }
    }
    ignore_ended(control.signal(HANGUP).await);
}

/// A sandbox that has ended meanwhile has ended the command too, which the exit tells.
fn ignore_ended(result: Result<(), SandboxError>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a command could not be told");
    }
}

/// One of a command's output streams on its way to the client.
struct Carrier {
    from: Option<Reader>,
    chunk: Vec<u8>,
    wrap: fn(Vec<u8>) -> ExecOutput,
}

impl Carrier {
    fn new(from: Option<Reader>, wrap: fn(Vec<u8>) -> ExecOutput) -> Self {
        Self { from, chunk: vec![0; CHUNK], wrap }
    }

    /// Reads the next bytes; never ends once the stream has.
    async fn read(&mut self) -> usize {
        match &mut self.from {
            Some(from) => from.read(&mut self.chunk).await.unwrap_or(0),
            None => std::future::pending().await,
        }
    }

    /// Hands bytes on. A client that does not read makes the command wait, but never the turn's end.
    async fn carry(&mut self, count: usize, to: &mpsc::Sender<ExecOutput>, over: &CancellationToken) {
        if count == 0 {
            self.from = None;
            return;
        }
        tokio::select! {
            biased;
            // Nobody may listen any more; the command may go on all the same.
            _gone = to.send((self.wrap)(self.chunk[..count].to_vec())) => {}
            () = over.cancelled() => self.from = None,
        }
    }

    /// Carries what is there already. The kernel made it readable before it told of the exit, but the runtime may have
    /// read the exit without having asked what else is readable; before a timer fires it has.
    async fn rest(&mut self, to: &mpsc::Sender<ExecOutput>, over: &CancellationToken) {
        // Most streams have ended by now, and nothing is waited for.
        while self.from.is_some() {
            let count = tokio::task::unconstrained(async {
                tokio::select! {
                    biased;
                    count = self.read() => count,
                    () = tokio::time::sleep(TURN) => 0,
                }
            })
            .await;
            if count == 0 {
                return;
            }
            self.carry(count, to, over).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, ReadBuf};

    use super::*;

    /// A pipe with bytes in it of which the runtime does not know until it has asked, and that stays open.
    struct Late(Option<&'static [u8]>, bool);

    impl AsyncRead for Late {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            if !std::mem::replace(&mut self.1, true) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Some(bytes) = self.0.take() else { return Poll::Pending };
            buffer.put_slice(bytes);
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_was_written_before_the_end_is_carried_although_nobody_was_told_of_it_yet() {
        let (sender, mut receiver) = mpsc::channel(4);
        let over = CancellationToken::new();
        Carrier::new(Some(Box::new(Late(Some(b"short"), false))), ExecOutput::Stdout)
            .rest(&sender, &over)
            .await;
        Carrier::new(None, ExecOutput::Stderr).rest(&sender, &over).await;
        drop(sender);
        assert!(matches!(receiver.recv().await, Some(ExecOutput::Stdout(bytes)) if bytes == b"short"));
        assert!(receiver.recv().await.is_none());
    }
}
