//! A pipe over one stream of bytes, the daemon's half.
//!
//! Owns the tasks that read and write the stream, and what a proxy gets of it. Must not know where the
//! stream leads: to a relay in a sandbox, whose bytes are read as if a hostile program had written them
//! (`ftl_guest::relay` says what they mean). What it opens and sends is bounded, whatever it claims.

mod connection;
mod state;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddrV4;
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use ftl_guest::relay::{Decoder, Frame, MAX_PAYLOAD, MOST_QUESTIONS};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::pipe::{Arrived, Incoming, Names, Pipe, Question};
use connection::Connection;
use state::{Heard, Shared};

/// Takes the daemon's end of a stream, when the relay has said that it is there.
///
/// # Errors
/// When the stream ends before, or does not begin as a relay's.
pub(super) async fn open<R, W>(mut reader: R, writer: W) -> io::Result<Pipe>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let mut decoder = Decoder::default();
    let redirected = match next(&mut reader, &mut decoder).await? {
        Frame::Hello { redirected } => redirected,
        _ => return Err(malformed()),
    };
    let shared = Arc::new(Shared::default());
    let (proxy, proxied) = mpsc::unbounded_channel();
    let (transparent, straight) = mpsc::unbounded_channel();
    let (asked, questions) = mpsc::channel(MOST_QUESTIONS);
    let link = Arc::new(Link { shared: Arc::clone(&shared), reading: OnceLock::new() });
    let taker = Taker { link: Arc::downgrade(&link), proxy, transparent, redirected, asked };
    let reading = tokio::spawn(read(reader, decoder, Arc::clone(&shared), taker));
    link.reading.get_or_init(|| reading.abort_handle());
    tokio::spawn(write(writer, shared));
    let door = |arrivals| -> Box<dyn Incoming> { Box::new(Door { arrivals, _link: Arc::clone(&link) }) };
    Ok(Pipe {
        proxy: door(proxied),
        transparent: redirected.then(|| door(straight)),
        names: Box::new(Questions { questions, _link: Arc::clone(&link) }),
    })
}

/// Held by everybody who uses the stream; the last one ends it.
struct Link {
    shared: Arc<Shared>,
    reading: OnceLock<AbortHandle>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reading.get().into_iter().for_each(AbortHandle::abort);
        // What was written still leaves.
        self.shared.leave();
    }
}

// === what a proxy gets ===

/// A connection that was opened, and where it wanted to go.
type Arrival = (Connection, Option<SocketAddrV4>);

struct Door {
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    _link: Arc<Link>,
}

#[async_trait]
impl Incoming for Door {
    async fn accept(&mut self) -> io::Result<Arrived> {
        let (stream, origin) = self.arrivals.recv().await.ok_or(io::ErrorKind::BrokenPipe)?;
        stream.welcome();
        Ok(Arrived { stream: Box::new(stream), origin })
    }
}

struct Questions {
    questions: mpsc::Receiver<Question>,
    _link: Arc<Link>,
}

#[async_trait]
impl Names for Questions {
    async fn next(&mut self) -> io::Result<Question> {
        self.questions.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

/// Answers a question, with nothing if nobody else does: the relay would wait for ever.
struct Answering {
    shared: Arc<Shared>,
    id: u32,
    message: Vec<u8>,
}

impl Answering {
    fn answer(mut self, message: Vec<u8>) {
        if message.len() <= MAX_PAYLOAD {
            self.message = message;
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let message = std::mem::take(&mut self.message);
        self.shared.send(&Frame::Answer { id: self.id, message });
    }
}

// === the tasks ===

/// Where what arrives goes.
struct Taker {
    link: Weak<Link>,
    proxy: mpsc::UnboundedSender<Arrival>,
    transparent: mpsc::UnboundedSender<Arrival>,
    redirected: bool,
    asked: mpsc::Sender<Question>,
}

impl Taker {
    fn take(&self, heard: Heard, shared: &Arc<Shared>) -> io::Result<()> {
        match heard {
            Heard::Nothing => {}
            Heard::Opened { id, origin } => {
                // Nobody is there any more; this task is about to end.
                let Some(link) = self.link.upgrade() else { return Ok(()) };
                let door = match (origin, self.redirected) {
                    (None, _) => &self.proxy,
                    (Some(_), true) => &self.transparent,
                    (Some(_), false) => return Err(malformed()),
                };
                // What nobody accepts any more is dropped here, and so reset.
                let _ = door.send((Connection::new(id, Arc::clone(shared), link), origin));
            }
            Heard::Asked { id, message } => {
                let answering = Answering { shared: Arc::clone(shared), id, message: Vec::new() };
                let answer = Box::new(move |bytes| answering.answer(bytes));
                // Where there is no room for it, it is answered with nothing.
                let _ = self.asked.try_send(Question { message, answer });
            }
        }
        Ok(())
    }
}

/// Hears the relay until it goes; what does not keep to the frames or the limits is cut off.
async fn read<R: AsyncRead + Unpin>(mut reader: R, mut decoder: Decoder, shared: Arc<Shared>, taker: Taker) {
    let error = loop {
        let heard = next(&mut reader, &mut decoder).await.and_then(|frame| shared.hear(frame));
        if let Err(error) = heard.and_then(|heard| taker.take(heard, &shared)) {
            break error;
        }
    };
    if error.kind() != io::ErrorKind::UnexpectedEof {
        tracing::warn!(%error, "a sandbox's way out is closed");
    }
    shared.close();
}

/// The next frame; the end of the stream is an error.
async fn next<R: AsyncRead + Unpin>(reader: &mut R, decoder: &mut Decoder) -> io::Result<Frame> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        if let Some(frame) = decoder.next_frame().map_err(io::Error::other)? {
            return Ok(frame);
        }
        match reader.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => decoder.push(&buffer[..count]),
        }
    }
}

/// Writes what waits until the stream ends, or nobody uses it any more.
async fn write<W: AsyncWrite + Unpin>(mut writer: W, shared: Arc<Shared>) {
    while let Some(bytes) = shared.outgoing().await {
        if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            break;
        }
    }
    shared.close();
    // It may be closed already.
    let _ = writer.shutdown().await;
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the relay does not keep to the protocol")
}
