//! The daemon's half of the conversation with a keeper.
//!
//! Owns the line to it: orders, answers, trees in both directions, and how many bytes that took. Must not know
//! which trees are wanted, or containers. What comes from a keeper is read as if a hostile program had sent
//! it. Files are the system's, so all of this blocks and has threads of its own.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ftl_guest::tree::write::{Most, WriteError, Writer as TreeWriter};
use ftl_guest::tree::{Answer, Decoder, Frame, Malformed, Order, Part, Place, understood, word};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Handle;

use super::super::{Reader, Writer};
use super::survey::{self, Difference};

/// What is sent at once, bytes.
const PIECE: usize = 256 << 10;

/// A conversation that cannot go on, or an order that was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeeperError {
    /// The line ended.
    #[error("the keeper of the session's files is gone")]
    Gone(#[source] io::Error),
    /// It gave no sign of life.
    #[error("the keeper of the session's files did not answer for {} seconds", after.as_secs())]
    Silent {
        /// How long it was waited for.
        after: Duration,
    },
    /// It could not do it.
    #[error("the keeper of the session's files cannot do this: {what}")]
    Failed {
        /// What, and why not.
        what: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// It does not keep to the protocol.
    #[error("the keeper of the session's files cannot be understood")]
    Malformed(#[from] Malformed),
    /// What it sent cannot be written here.
    #[error("what the engine has of the session cannot be taken")]
    Write(#[from] WriteError),
    /// A file of this machine cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// Which, or its directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A line to a keeper. A clone is the same line.
#[derive(Clone)]
pub(super) struct Keeper(Arc<Mutex<Line>>);

/// The line, for one thread at a time.
pub(super) struct Line {
    reader: Reader,
    writer: Writer,
    decoder: Decoder,
    handle: Handle,
    patience: Duration,
    /// Bytes that went out and came in.
    sent: u64,
    received: u64,
}

impl Keeper {
    /// Takes a keeper's streams. `patience` is how long it may give no sign of life.
    pub(super) fn new(reader: Reader, writer: Writer, patience: Duration) -> Self {
        Self(Arc::new(Mutex::new(Line {
            reader,
            writer,
            decoder: Decoder::default(),
            handle: Handle::current(),
            patience,
            sent: 0,
            received: 0,
        })))
    }

    /// Does something with the line, on a thread of its own.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Line) -> Result<T, KeeperError> + Send + 'static,
    ) -> Result<T, KeeperError> {
        let line = Arc::clone(&self.0);
        let acting = move || act(&mut line.lock().unwrap_or_else(PoisonError::into_inner));
        match tokio::task::spawn_blocking(acting).await {
            Ok(done) => done,
            Err(error) => Err(KeeperError::Gone(io::Error::other(error))),
        }
    }
}

impl Line {
    /// Bytes that went out so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes that came in so far.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Gives an order without parts, and hears the answer to it.
    pub(super) fn ask(&mut self, order: &Order) -> Result<Answer, KeeperError> {
        self.send(&word(order))?;
        self.answer()
    }

    /// Gives an order with the parts of a directory's tree, or with what differs in it.
    pub(super) fn give(
        &mut self,
        order: &Order,
        dir: &Path,
        difference: Option<Difference>,
    ) -> Result<Answer, KeeperError> {
        let mut waiting = word(order);
        let mut lost = None;
        let told = survey::tell(dir, difference, &mut |part| {
            part.encode(&mut waiting);
            if waiting.len() >= PIECE {
                let sent = self.send(&waiting);
                waiting.clear();
                if let Err(error) = sent {
                    lost = Some(error);
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
            }
            Ok(())
        });
        match (lost, told) {
            // It may have said why before it went.
            (Some(error), _) => Err(self.answer().err().unwrap_or(error)),
            (None, Err(source)) => Err(KeeperError::File { path: dir.to_owned(), source }),
            (None, Ok(())) => {
                self.send(&waiting)?;
                self.answer()
            }
        }
    }

    /// Reads a tree of the session's own into `to`, a directory that is made for it. Files that did not change
    /// since they were sent are linked from `before`, where there is one.
    pub(super) fn fetch(
        &mut self,
        place: Place,
        to: &Path,
        before: Option<&Path>,
        (owner, most): (Option<(u32, u32)>, Most),
    ) -> Result<u64, KeeperError> {
        let failed = |source| KeeperError::File { path: to.to_owned(), source };
        remove(to).map_err(failed)?;
        fs::create_dir(to).map_err(failed)?;
        let root = fs::File::open(to).map_err(failed)?.into();
        let before = before.map(survey::open).transpose().map_err(failed)?;
        let same = before.is_some();
        let mut writer = TreeWriter::new(root, owner, before, most);
        self.send(&word(&Order::Read { place, same }))?;
        let mut refused = None;
        loop {
            match self.hear()? {
                Frame::Part(Part::End) if refused.is_none() => {
                    writer.take(Part::End)?;
                    break;
                }
                Frame::Part(Part::End) => break,
                Frame::Part(part) if refused.is_none() => match writer.take(part) {
                    // The rest is heard: the line must stay usable to ask again.
                    Err(error @ WriteError::NotSame) => refused = Some(error),
                    taken => taken?,
                },
                Frame::Part(_) => {}
                word @ Frame::Word(_) => return Err(unexpected(understood(word)?)),
            }
        }
        self.answer()?;
        refused.map_or(Ok(writer.bytes()), |error| Err(error.into()))
    }

    fn answer(&mut self) -> Result<Answer, KeeperError> {
        let frame = self.hear()?;
        match understood(frame)? {
            Answer::Failed { what, errno } => {
                Err(KeeperError::Failed { what, source: io::Error::from_raw_os_error(errno) })
            }
            answer => Ok(answer),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), KeeperError> {
        let Self { writer, handle, patience, .. } = self;
        let sending = async {
            tokio::time::timeout(*patience, async {
                writer.write_all(bytes).await?;
                writer.flush().await
            })
            .await
        };
        match handle.block_on(sending) {
            Ok(Ok(())) => {
                self.sent += bytes.len() as u64;
                Ok(())
            }
            Ok(Err(error)) => Err(KeeperError::Gone(error)),
            Err(_) => Err(KeeperError::Silent { after: self.patience }),
        }
    }

    fn hear(&mut self) -> Result<Frame, KeeperError> {
        let mut buffer = vec![0; 128 << 10];
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(frame);
            }
            let Self { reader, handle, patience, .. } = self;
            let reading = async { tokio::time::timeout(*patience, reader.read(&mut buffer)).await };
            match handle.block_on(reading) {
                Ok(Ok(0)) => return Err(KeeperError::Gone(io::ErrorKind::UnexpectedEof.into())),
                Ok(Ok(count)) => {
                    self.received += count as u64;
                    self.decoder.push(buffer.get(..count).unwrap_or_default());
                }
                Ok(Err(error)) => return Err(KeeperError::Gone(error)),
                Err(_) => return Err(KeeperError::Silent { after: self.patience }),
            }
        }
    }
}

/// Removes a directory of the daemon's own, whatever was written in it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    ftl_guest::tree::write::remove(survey::open(dir)?.as_fd(), name.as_bytes())
}

/// The error of an answer that is none to what was asked.
pub(super) fn unexpected(answer: Answer) -> KeeperError {
    match answer {
        Answer::Failed { what, errno } => {
            KeeperError::Failed { what, source: io::Error::from_raw_os_error(errno) }
        }
        _ => KeeperError::Malformed(Malformed("an answer to something else")),
    }
}
