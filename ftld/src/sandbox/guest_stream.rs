//! The programs of a sandbox over one stream of bytes, the daemon's half.
//!
//! Owns the tasks that read and write the stream, and the programs that callers get. Must not know where the
//! stream leads: to process 1 of a sandbox, whose bytes are read as if a hostile program had written them
//! (`ftl_guest::stream` says what they mean). What it says of programs that nobody asked for, or sends
//! beyond its credit, ends the stream.

mod ends;
mod state;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io;
use std::sync::{Arc, OnceLock};

use ftl_guest::protocol::{Bytes, Failure, Size, Spawn, WORKSPACE};
use ftl_guest::stream::{Channel, Decoder, Inside, Reply, Request, Setup};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::{Command, Ending, ExitStatus, Process, SandboxError, Stdio};
use ends::{Handle, Input, Output};
use state::{NotBegun, Shared};

/// Why a sandbox ended, once it has.
pub(super) type End = watch::Receiver<Option<Ending>>;

/// Process 1 of a sandbox, ready to run programs. Dropping it closes the stream, which ends them all.
pub(super) struct Guest {
    shared: Arc<Shared>,
    reading: OnceLock<AbortHandle>,
}

/// Why there is no guest.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The stream ended, or is not a guest's.
    #[error("its first process cannot be heard")]
    Stream(#[from] io::Error),
    /// It could not confine itself.
    #[error("its first process cannot confine itself")]
    Failed(#[from] Failure),
}

/// Takes the daemon's end of a stream, when the guest has confined itself; says what it found.
pub(super) async fn open<R, W>(
    mut reader: R,
    mut writer: W,
    setup: Setup,
) -> Result<(Guest, Inside), OpenError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let mut first = Vec::new();
    ftl_guest::stream::Frame::encode(&Request::Setup(setup), &mut first);
    writer.write_all(&first).await?;
    writer.flush().await?;
    let mut decoder = Decoder::default();
    let inside = match next(&mut reader, &mut decoder).await? {
        Reply::Ready(inside) => *inside,
        Reply::Failed(failure) => return Err(failure.into()),
        _ => return Err(malformed().into()),
    };
    let shared = Arc::new(Shared::default());
    let guest = Guest { shared: Arc::clone(&shared), reading: OnceLock::new() };
    let reading = tokio::spawn(read(reader, decoder, Arc::clone(&shared)));
    guest.reading.get_or_init(|| reading.abort_handle());
    tokio::spawn(write(writer, shared));
    Ok((guest, inside))
}

impl Guest {
    /// Starts a program with the sandbox's environment. `end` says why, when the sandbox has ended.
    ///
    /// # Errors
    /// When it cannot be started, or the sandbox has ended.
    pub(super) async fn spawn(
        &self,
        command: Command,
        base: &[(OsString, OsString)],
        end: End,
    ) -> Result<Process, SandboxError> {
        let program = command.argv.first().cloned().unwrap_or_default();
        let has_terminal = matches!(command.stdio, Stdio::Terminal { .. });
        let Some(asked) = self.shared.spawn(has_terminal, |id| request(id, command, base)) else {
            return Err(ended(end).await);
        };
        let state::Asked { id, begun, exit } = asked;
        // From here on whoever loses interest lets go of all its ends.
        let input = Input::new(id, has_terminal, Arc::clone(&self.shared));
        let output = Output::new(id, Channel::Output, Arc::clone(&self.shared));
        let errors = Output::new(id, Channel::Errors, Arc::clone(&self.shared));
        let pid = match begun.await {
            Ok(Ok(pid)) => pid,
            Ok(Err(NotBegun { stage, errno })) => {
                let source = io::Error::from_raw_os_error(errno);
                return Err(SandboxError::Spawn { program, stage, source });
            }
            Err(_) => return Err(ended(end).await),
        };
        let control = Handle::new(id, Arc::clone(&self.shared), end.clone());
        let exit = async move {
            match exit.await {
                Ok(status) => Ok(ExitStatus::from(status)),
                Err(_) => Err(ended(end).await),
            }
        };
        Ok(Process {
            pid,
            stdin: Box::new(input),
            stdout: Box::new(output),
            stderr: (!has_terminal).then(|| Box::new(errors) as super::Reader),
            control: Arc::new(control),
            exit: Box::pin(exit),
        })
    }

    /// Resolves when the stream has ended, from either side.
    pub(super) async fn gone(&self) {
        self.shared.closed().await;
    }

    /// Closes the stream; what was read of it is still there for whoever listens.
    pub(super) fn close(&self) {
        self.reading.get().into_iter().for_each(AbortHandle::abort);
        self.shared.close();
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.close();
    }
}

fn request(id: u64, command: Command, base: &[(OsString, OsString)]) -> Spawn {
    let mut env = base.to_vec();
    let terminal: Option<Size> = match command.stdio {
        Stdio::Pipes => None,
        Stdio::Terminal { size, term } => {
            env.push(("TERM".into(), term.into()));
            Some(size)
        }
    };
    env.extend(command.env);
    Spawn {
        id,
        argv: command.argv.into_iter().map(Bytes::from).collect(),
        env: env.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        workdir: command.workdir.unwrap_or_else(|| WORKSPACE.into()).into(),
        terminal,
    }
}

/// The error of whoever asks a sandbox that has ended.
async fn ended(mut end: End) -> SandboxError {
    let ending = match end.wait_for(Option::is_some).await {
        Ok(ending) => ending.clone().unwrap_or(Ending::Lost),
        Err(_) => Ending::Lost,
    };
    SandboxError::Ended { ending }
}

// === the tasks ===

/// Hears the guest until it goes; one that does not keep to the frames or the limits is cut off.
async fn read<R: AsyncRead + Unpin>(mut reader: R, mut decoder: Decoder, shared: Arc<Shared>) {
    let error = loop {
        let heard = next(&mut reader, &mut decoder).await.and_then(|reply| shared.hear(reply));
        if let Err(error) = heard {
            break error;
        }
    };
    if error.kind() != io::ErrorKind::UnexpectedEof {
        tracing::warn!(%error, "a sandbox is cut off");
    }
    shared.close();
}

/// The next frame; the end of the stream is an error.
async fn next<R: AsyncRead + Unpin>(reader: &mut R, decoder: &mut Decoder) -> io::Result<Reply> {
    let mut buffer = vec![0; 32 << 10];
    loop {
        if let Some(reply) = decoder.next_frame().map_err(io::Error::other)? {
            return Ok(reply);
        }
        match reader.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => decoder.push(&buffer[..count]),
        }
    }
}

/// Writes what waits until the stream ends.
async fn write<W: AsyncWrite + Unpin>(mut writer: W, shared: Arc<Shared>) {
    while let Some(bytes) = shared.outgoing().await {
        let written = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        tokio::select! {
            // A guest that reads nothing must not keep this task for ever.
            () = shared.closed() => break,
            written = written => if written.is_err() { break },
        }
    }
    shared.close();
    // It may be closed already.
    let _ = writer.shutdown().await;
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its first process does not keep to the protocol")
}
