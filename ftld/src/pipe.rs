//! The byte pipe between a sandbox and its daemon.
//!
//! Owns what a pipe is: connections that programs of one sandbox opened, and the names they asked for.
//! Must not know how the bytes travel (a sandbox backend does) nor what they mean (the egress proxy
//! does). The pipe that something arrives on is the sandbox's identity; nothing in the bytes is.

use std::io;
use std::net::SocketAddrV4;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// The only way out of one sandbox.
pub struct Pipe {
    /// Connections to the proxy's own address, by programs that know of it.
    pub proxy: Box<dyn Incoming>,
    /// Connections to anywhere else, redirected; absent where that cannot be had.
    pub transparent: Option<Box<dyn Incoming>>,
    /// Questions for names.
    pub names: Box<dyn Names>,
}

/// Where connections arrive. Dropping it refuses the next ones.
#[async_trait]
pub trait Incoming: Send {
    /// The next connection. Cancelling the wait loses none.
    ///
    /// # Errors
    /// When there will be no more.
    async fn accept(&mut self) -> io::Result<Arrived>;
}

/// A connection that a program of the sandbox opened.
pub struct Arrived {
    /// Its bytes.
    pub stream: Box<dyn Stream>,
    /// Where it wanted to go, when it was redirected.
    pub origin: Option<SocketAddrV4>,
}

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Where questions for names arrive.
#[async_trait]
pub trait Names: Send {
    /// The next question. Cancelling the wait loses none.
    ///
    /// # Errors
    /// When there will be no more.
    async fn next(&mut self) -> io::Result<Question>;
}

/// A question for a name, in DNS's wire format.
pub struct Question {
    /// The message, without a length in front.
    pub message: Vec<u8>,
    /// Takes the answer, in the same format. Dropping it leaves the asker without one.
    pub answer: Box<dyn FnOnce(Vec<u8>) + Send>,
}
