//! Connections to the service.
//!
//! Owns which are kept, and how long one waits for each piece. Must not know keys or what is asked for.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use ftl_core::egress::host::Authority;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::{Patience, S3Error};
use crate::dial::Dialer;

/// Connections that are kept.
const MOST_IDLE: usize = 32;
/// Bytes of a request's body that are handed to the connection at once.
const SLICE: usize = 64 * 1024;

/// The connections to one host.
pub(super) struct Wire {
    dialer: Dialer,
    patience: Patience,
    idle: Mutex<Vec<SendRequest<Slices>>>,
}

/// An answer whose body is still to be read.
pub(super) struct Answer {
    response: Response<Incoming>,
    sender: SendRequest<Slices>,
}

/// A body in memory that counts what was taken of it.
pub(super) struct Slices {
    rest: Bytes,
    taken: Arc<AtomicU64>,
}

impl Wire {
    /// No connections yet; over TLS when there are `roots`, which count beside the host's own.
    pub(super) fn new(
        authority: Authority,
        roots: Option<Vec<CertificateDer<'static>>>,
        patience: Patience,
    ) -> Result<Self, S3Error> {
        Ok(Self { dialer: Dialer::new(authority, roots)?, patience, idle: Mutex::default() })
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(&self, request: Request<Slices>) -> Result<Answer, S3Error> {
        let mut sender = match self.kept() {
            Some(sender) => sender,
            None => self.open().await?,
        };
        let taken = Arc::clone(&request.body().taken);
        let response = patiently(self.patience.answer, &taken, sender.send_request(request)).await?;
        Ok(Answer { response: response.map_err(S3Error::Broken)?, sender })
    }

    /// Reads an answer's body as a whole.
    pub(super) async fn read(&self, mut answer: Answer, most: usize) -> Result<Bytes, S3Error> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece(&mut answer).await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > most {
                return Err(S3Error::Nonsense("an answer without end"));
            }
        }
        self.keep(answer);
        Ok(bytes.into())
    }

    /// The next piece of an answer's body.
    pub(super) async fn piece(&self, answer: &mut Answer) -> Result<Option<Bytes>, S3Error> {
        loop {
            let frame = timeout(self.patience.answer, answer.response.body_mut().frame()).await;
            match frame.map_err(|_| S3Error::Slow("the answer"))? {
                None => return Ok(None),
                Some(frame) => match frame.map_err(S3Error::Broken)?.into_data() {
                    Ok(data) => return Ok(Some(data)),
                    Err(_trailers) => {}
                },
            }
        }
    }

    /// Keeps the connection of an answer that was read to its end.
    pub(super) fn keep(&self, answer: Answer) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !answer.sender.is_closed() && idle.len() < MOST_IDLE {
            idle.push(answer.sender);
        }
    }

    fn kept(&self) -> Option<SendRequest<Slices>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        let ready = idle.iter().rposition(SendRequest::is_ready)?;
        Some(idle.swap_remove(ready))
    }

    async fn open(&self) -> Result<SendRequest<Slices>, S3Error> {
        let opened = timeout(self.patience.connect, self.dialer.dial()).await;
        let stream = opened.map_err(|_| S3Error::Slow("the connection"))??;
        if !self.dialer.is_tls() {
            return self.shake(stream).await;
        }
        let shaken = timeout(self.patience.connect, self.dialer.secure(stream)).await;
        self.shake(shaken.map_err(|_| S3Error::Slow("the TLS handshake"))??).await
    }

    async fn shake(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<SendRequest<Slices>, S3Error> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(S3Error::Broken)?;
        tokio::spawn(async move {
            // What goes wrong is told to whoever waits for an answer.
            let _ended = connection.await;
        });
        Ok(sender)
    }
}

impl Answer {
    /// Its status.
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Its headers.
    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }
}

/// Waits as long as the body is still being taken, and `patience` beyond.
async fn patiently<T>(
    patience: Duration,
    taken: &AtomicU64,
    work: impl Future<Output = T>,
) -> Result<T, S3Error> {
    let mut work = pin!(work);
    let mut before = taken.load(Ordering::Relaxed);
    loop {
        if let Ok(done) = timeout(patience, work.as_mut()).await {
            return Ok(done);
        }
        let now = taken.load(Ordering::Relaxed);
        if now == before {
            return Err(S3Error::Slow("the answer"));
        }
        before = now;
    }
}

impl Slices {
    /// These bytes.
    pub(super) fn new(rest: Bytes) -> Self {
        Self { rest, taken: Arc::default() }
    }
}

impl Body for Slices {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        let length = self.rest.len().min(SLICE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
