//! What the HTTP library makes of bytes.
//!
//! Owns a server without sockets, set up as the proxy's. Must not know what the answer ought to be.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;

use super::Seen;

/// How often the library is asked to go on, before it counts as stuck.
const TURNS: usize = 100_000;

/// The requests in `bytes`, which arrive in pieces of the same lengths as `pieces` and then end.
pub(super) fn read(bytes: &[u8], pieces: &[&[u8]]) -> Vec<Seen> {
    let seen = RefCell::new(Vec::new());
    let service = service_fn(|request: Request<Incoming>| {
        let (method, target) = (request.method().to_string(), request.uri().to_string());
        let seen = &seen;
        let at = seen.borrow().len();
        seen.borrow_mut().push(Seen { method, target, body: None });
        async move {
            if let Ok(body) = request.into_body().collect().await {
                seen.borrow_mut()[at].body = Some(body.to_bytes().to_vec());
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let memory =
        Memory { rest: bytes.to_vec(), read: 0, lengths: pieces.iter().map(|piece| piece.len()).collect() };
    {
        let mut served = pin!(
            http1::Builder::new()
                .header_read_timeout(None)
                .max_headers(128)
                .max_buf_size(64 << 10)
                .serve_connection(memory, service)
        );
        let mut context = Context::from_waker(Waker::noop());
        let done = (0..TURNS).any(|_| served.as_mut().poll(&mut context).is_ready());
        assert!(done, "the library does not come to an end");
    }
    seen.into_inner()
}

/// A connection of which one end is in memory.
struct Memory {
    rest: Vec<u8>,
    read: usize,
    /// Of the pieces that are still to come.
    lengths: std::collections::VecDeque<usize>,
}

impl Read for Memory {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut to: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let left = this.rest.len() - this.read;
        let length = this.lengths.pop_front().unwrap_or(left).min(left).min(to.remaining());
        to.put_slice(&this.rest[this.read..this.read + length]);
        this.read += length;
        Poll::Ready(Ok(()))
    }
}

impl Write for Memory {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
