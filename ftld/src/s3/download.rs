//! An object that comes in.
//!
//! Owns going on where a connection broke off: from the next byte, of the same version of the object; and how
//! slowly it may come. Time that the reader takes for itself does not count.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_RANGE, ETAG, IF_MATCH, RANGE};

use tokio::time::{Duration, Instant, timeout};

use super::wire::Answer;
use super::{Asked, Client, S3Error};

/// An object's bytes, piece by piece.
pub struct Download {
    client: Arc<Client>,
    key: String,
    answer: Option<Answer>,
    /// Bytes that came.
    offset: u64,
    /// The version of the object that it began with.
    tag: Option<String>,
    /// Attempts that brought nothing.
    attempts: u32,
    /// Bytes of the share under way, and how long was waited for them.
    share: (usize, Duration),
}

/// Bytes for which [`Patience::share`](super::Patience::share) is the longest time.
const SHARE: usize = 64 * 1024;

impl Download {
    pub(super) fn new(client: Arc<Client>, key: String, answer: Answer) -> Self {
        let tag = answer.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        Self { client, key, answer: Some(answer), offset: 0, tag, attempts: 0, share: (0, Duration::ZERO) }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When the rest does not come, or a byte now and then.
    pub async fn next(&mut self) -> Result<Option<Bytes>, S3Error> {
        let ((before, waited), begun) = (self.share, Instant::now());
        let left = self.client.patience.share.saturating_sub(waited);
        let next = timeout(left, self.piece()).await.map_err(|_| S3Error::Slow("the object"))??;
        let bytes = before + next.as_ref().map_or(0, Bytes::len);
        self.share = if bytes < SHARE { (bytes, waited + begun.elapsed()) } else { (0, Duration::ZERO) };
        Ok(next)
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, S3Error> {
        loop {
            let Some(answer) = &mut self.answer else { return Ok(None) };
            match self.client.wire.piece(answer).await {
                Ok(Some(piece)) => {
                    self.offset += piece.len() as u64;
                    self.attempts = 0;
                    return Ok(Some(piece));
                }
                Ok(None) => {
                    self.answer.take().into_iter().for_each(|answer| self.client.wire.keep(answer));
                    return Ok(None);
                }
                Err(error) => {
                    self.attempts += 1;
                    self.client.wait(error, self.attempts).await?;
                    self.answer = Some(self.go_on().await?);
                }
            }
        }
    }

    async fn go_on(&self) -> Result<Answer, S3Error> {
        let mut headers = vec![(RANGE, format!("bytes={}-", self.offset))];
        headers.extend(self.tag.clone().map(|tag| (IF_MATCH, tag)));
        let answer = self.client.open(&Asked { headers, ..Asked::new(Method::GET, &self.key) }).await?;
        let range = answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let wanted = format!("bytes {}-", self.offset);
        match range.is_some_and(|range| range.starts_with(&wanted)) {
            true => Ok(answer),
            false => Err(S3Error::Nonsense("another part of the object than was asked for")),
        }
    }
}
