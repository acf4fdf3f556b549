//! Connections to a model's service.
//!
//! Owns that one connection serves one attempt, and how long an answer's head may be. Must not know keys or what is
//! asked for.

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::LlmError;
use crate::dial::Dialer;

/// The most bytes of an answer's head.
const LONGEST_HEAD: usize = 64 * 1024;

/// A new connection.
pub(super) async fn open(dialer: &Dialer) -> Result<SendRequest<Full<Bytes>>, LlmError> {
    let stream = dialer.dial().await?;
    match dialer.is_tls() {
        true => shake(dialer.secure(stream).await?).await,
        false => shake(stream).await,
    }
}

async fn shake(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<SendRequest<Full<Bytes>>, LlmError> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(LONGEST_HEAD);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(LlmError::Broken)?;
    tokio::spawn(async move {
        // What goes wrong is told to whoever waits for an answer; when nobody does any more, it ends.
        let _ended = connection.await;
    });
    Ok(sender)
}
