//! A pipe over a sandbox's own sockets.
//!
//! Owns accepting from them, and that the pipe ends with its sandbox. Must not know what connections are
//! for. The sockets were opened in the sandbox's namespace and belong to it wherever they are, so that
//! what arrives at them can come from nowhere else. How much waits is the taker's choice: nothing is
//! accepted before it is asked for.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::pipe::{Arrived, Incoming, Names, Pipe, Question};

use super::super::Ending;

/// The longest question that is read from a datagram, bytes; a longer one is cut and so no question.
const LONGEST_DATAGRAM: usize = 4096;

/// Connections with questions for names that are served at the same time.
const MOST_STREAMS: usize = 64;

/// How long such a connection may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// How long to wait when this process has no room for another connection.
const CROWDED: Duration = Duration::from_millis(100);

/// Says when the sandbox has ended.
pub(super) type End = watch::Receiver<Option<Ending>>;

/// Makes a pipe of the sockets that a helper sent: the proxy's, two for names, and perhaps the one of
/// redirected connections.
///
/// # Errors
/// When they are not that.
pub(super) fn open(sockets: Vec<OwnedFd>, end: &End) -> io::Result<Pipe> {
    let mut sockets = sockets.into_iter();
    let (Some(proxy), Some(names), Some(names_stream), transparent, None) =
        (sockets.next(), sockets.next(), sockets.next(), sockets.next(), sockets.next())
    else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let listen = |socket, redirected| -> io::Result<Box<dyn Incoming>> {
        Ok(Box::new(Door { listener: listener(socket)?, redirected, end: end.clone() }))
    };
    let transparent = transparent.map(|socket| listen(socket, true)).transpose()?;
    let names = std::net::UdpSocket::from(names);
    names.set_nonblocking(true)?;
    let (asked, questions) = mpsc::channel(1);
    let names = Questions {
        datagrams: Arc::new(UdpSocket::from_std(names)?),
        listener: listener(names_stream)?,
        streams: JoinSet::new(),
        asked,
        questions,
        end: end.clone(),
    };
    Ok(Pipe { proxy: listen(proxy, false)?, transparent, names: Box::new(names) })
}

fn listener(socket: OwnedFd) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Where connections arrive.
struct Door {
    listener: TcpListener,
    redirected: bool,
    end: End,
}

#[async_trait]
impl Incoming for Door {
    async fn accept(&mut self) -> io::Result<Arrived> {
        loop {
            let stream = accept(&self.listener, &mut self.end).await?;
            // Only a hint; a connection that is gone already shows when it is read.
            let _ = stream.set_nodelay(true);
            if !self.redirected {
                return Ok(Arrived { stream: Box::new(stream), origin: None });
            }
            // Who came straight to the door wanted to go nowhere, and is dropped.
            if let Some(origin) = origin(&stream) {
                return Ok(Arrived { stream: Box::new(stream), origin: Some(origin) });
            }
        }
    }
}

/// Where a redirected connection wanted to go.
fn origin(stream: &TcpStream) -> Option<SocketAddrV4> {
    let origin = rustix::net::sockopt::ip_original_dst(stream).ok()?;
    (!origin.ip().is_loopback()).then_some(origin)
}

/// The next connection, until the sandbox ends.
async fn accept(listener: &TcpListener, end: &mut End) -> io::Result<TcpStream> {
    loop {
        let accepted = tokio::select! {
            biased;
            () = ended(end) => return Err(io::ErrorKind::BrokenPipe.into()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => return Ok(stream),
            Err(error) if is_passing(&error) => {}
            // Nothing is lost: it waits where it is.
            Err(error) if is_crowded(&error) => tokio::time::sleep(CROWDED).await,
            Err(error) => return Err(error),
        }
    }
}

async fn ended(end: &mut End) {
    // That the sandbox is gone without a word is an end, too.
    let _ = end.wait_for(Option::is_some).await;
}

/// Whether an error belongs to one connection, which has failed before it was accepted.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

fn is_crowded(error: &io::Error) -> bool {
    let code = error.raw_os_error().unwrap_or_default();
    [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM].contains(&code)
}

/// Where questions for names arrive.
struct Questions {
    datagrams: Arc<UdpSocket>,
    listener: TcpListener,
    /// One task for each connection; they end with this.
    streams: JoinSet<()>,
    asked: mpsc::Sender<Question>,
    questions: mpsc::Receiver<Question>,
    end: End,
}

#[async_trait]
impl Names for Questions {
    async fn next(&mut self) -> io::Result<Question> {
        let mut buffer = [0; LONGEST_DATAGRAM];
        let mut listener_end = self.end.clone();
        loop {
            let room = self.streams.len() < MOST_STREAMS;
            tokio::select! {
                () = ended(&mut self.end) => return Err(io::ErrorKind::BrokenPipe.into()),
                received = self.datagrams.recv_from(&mut buffer) => match received {
                    Ok((length, asker)) => {
                        let datagrams = Arc::clone(&self.datagrams);
                        // An answer for which there is no room is lost, as datagrams are.
                        let answer = move |bytes: Vec<u8>| drop(datagrams.try_send_to(&bytes, asker));
                        return Ok(Question { message: buffer[..length].into(), answer: Box::new(answer) });
                    }
                    // It tells of an earlier answer that did not arrive.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused || is_passing(&error) => {}
                    Err(error) => return Err(error),
                },
                accepted = accept(&self.listener, &mut listener_end), if room => {
                    self.streams.spawn(serve(accepted?, self.asked.clone()));
                }
                Some(_) = self.streams.join_next() => {}
                Some(question) = self.questions.recv() => return Ok(question),
            }
        }
    }
}

/// Takes questions from a connection, each with its length in front, one after the other.
async fn serve(mut stream: TcpStream, asked: mpsc::Sender<Question>) {
    // Whatever fails ends the connection, which its other end sees.
    let _: io::Result<()> = async {
        loop {
            let reading = async {
                let mut message = vec![0; stream.read_u16().await?.into()];
                stream.read_exact(&mut message).await.map(|_| message)
            };
            let message = tokio::time::timeout(SILENCE, reading).await??;
            let (answer, answered) = oneshot::channel();
            let answer = Box::new(move |bytes: Vec<u8>| drop(answer.send(bytes)));
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            asked.send(Question { message, answer }).await.map_err(gone)?;
            let Ok(bytes) = answered.await else { return Ok(()) };
            let Ok(length) = u16::try_from(bytes.len()) else { return Ok(()) };
            let bytes = [&length.to_be_bytes()[..], &bytes].concat();
            tokio::time::timeout(SILENCE, stream.write_all(&bytes)).await??;
        }
    }
    .await;
}
