//! A client for objects in an S3 bucket.
//!
//! Owns requests to one bucket: each signed, bounded in time and size, and sent again where that may help.
//! Must not know what an object holds, where keys come from, or why something is asked for.
//!
//! ```text
//! Client ── ask ──> sign (ftl_core::sigv4) ── wire ──> the service
//!    ^                                           │
//!    └── ftl_core::s3::again, keys, fault <──────┘
//! ```
//!
//! Keys are written once and with the same bytes, so every request may be sent twice. The service compares
//! what arrives with the SHA-256 that is part of the signature.

mod download;
mod error;
mod upload;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ftl_core::credential::secret_value::Secret;
use ftl_core::s3::{self, Failed, Location, Page};
use ftl_core::sigv4::{Inbound, Keys, Unsigned, payload_hash};
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use rustls_pki_types::CertificateDer;

pub use download::Download;
pub use error::S3Error;
pub use upload::Upload;

use crate::dial::DialError;
use wire::{Answer, Slices, Wire};

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection, and again for its handshake.
    pub connect: Duration,
    /// For an answer, or for its next piece, after the last piece of the request that was taken.
    pub answer: Duration,
    /// Before the second attempt of a request; see [`s3::again`].
    pub first: Duration,
    /// For each 64 KiB of an object that comes in.
    pub share: Duration,
}

/// A key pair.
pub struct KeyPair {
    /// Access key id.
    pub id: Secret,
    /// Secret key.
    pub secret: Secret,
    /// Session token of a temporary pair.
    pub token: Option<Secret>,
}

/// What a client is made of.
pub struct Settings {
    /// The bucket.
    pub location: Location,
    /// Who asks.
    pub keys: KeyPair,
    /// Roots beside the host's own.
    pub roots: Vec<CertificateDer<'static>>,
    /// How long to wait.
    pub patience: Patience,
    /// Seconds since the Unix epoch.
    pub now: Arc<dyn Fn() -> i64 + Send + Sync>,
}

/// A client of one bucket. Calls may overlap.
pub struct Client {
    location: Location,
    keys: KeyPair,
    patience: Patience,
    now: Arc<dyn Fn() -> i64 + Send + Sync>,
    wire: Wire,
}

/// A request before it is signed.
#[derive(Clone)]
struct Asked<'a> {
    method: Method,
    /// Whole key; empty for the bucket itself.
    key: &'a str,
    query: Vec<(&'a str, &'a str)>,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
}

/// The longest answer that is read as a whole, bytes. A listing of 1,000 keys is 500 KB.
const LONGEST_ANSWER: usize = 8 << 20;

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(10),
            answer: seconds(30),
            first: Duration::from_millis(200),
            share: seconds(60),
        }
    }
}

impl<'a> Asked<'a> {
    fn new(method: Method, key: &'a str) -> Self {
        Self { method, key, query: Vec::new(), headers: Vec::new(), body: Bytes::new() }
    }
}

impl Client {
    /// A client; it opens no connection yet.
    ///
    /// # Errors
    /// When the bucket's name cannot stand in a host's, or TLS cannot be prepared.
    pub fn new(settings: Settings) -> Result<Self, S3Error> {
        let Settings { location, keys, roots, patience, now } = settings;
        let wire = Wire::new(location.authority()?, location.tls().then_some(roots), patience)?;
        Ok(Self { location, keys, patience, now, wire })
    }

    /// The bucket.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Whether a key is there.
    ///
    /// # Errors
    /// When the service does not say.
    pub async fn has(&self, key: &str) -> Result<bool, S3Error> {
        match self.ask(&Asked::new(Method::HEAD, key)).await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Stores an object as a whole.
    ///
    /// # Errors
    /// When it may not be there.
    pub async fn put(&self, key: &str, body: Bytes) -> Result<(), S3Error> {
        self.ask(&Asked { body, ..Asked::new(Method::PUT, key) }).await.map(drop)
    }

    /// Keys that begin with `prefix`, in the order of their bytes, after one, at most 1,000 and `most`.
    ///
    /// # Errors
    /// When the service does not say, or says what it was not asked for.
    pub async fn list(&self, prefix: &str, after: &str, most: usize) -> Result<Page, S3Error> {
        let most = most.min(1000).to_string();
        let mut query = vec![("list-type", "2"), ("max-keys", most.as_str()), ("prefix", prefix)];
        if !after.is_empty() {
            query.push(("start-after", after));
        }
        let (_, answer) = self.ask(&Asked { query, ..Asked::new(Method::GET, "") }).await?;
        let page = s3::page(&answer)?;
        // Whoever answers out of order could keep us asking for ever.
        let pairs = std::iter::once(after).chain(page.keys.iter().map(String::as_str)).zip(&page.keys);
        let sorted = pairs.into_iter().all(|(before, key)| before < key.as_str());
        let endless = page.more && page.keys.is_empty();
        if !sorted || endless || !page.keys.iter().all(|key| key.starts_with(prefix)) {
            return Err(S3Error::Nonsense("a listing that is not the one that was asked for"));
        }
        Ok(page)
    }

    /// Opens an object; `None` when it is not there.
    ///
    /// # Errors
    /// When the service does not hand it out.
    pub async fn get(self: &Arc<Self>, key: &str) -> Result<Option<Download>, S3Error> {
        match self.open(&Asked::new(Method::GET, key)).await {
            Ok(answer) => Ok(Some(Download::new(Arc::clone(self), key.to_owned(), answer))),
            Err(error) if error.is_missing_key() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins an object that is sent in parts. It is not there before [`Upload::complete`].
    ///
    /// # Errors
    /// When the service does not begin it.
    pub async fn upload<'a>(&'a self, key: &'a str) -> Result<Upload<'a>, S3Error> {
        Upload::begin(self, key).await
    }

    /// Sends a request until it is answered as a whole, or will not be.
    async fn ask(&self, asked: &Asked<'_>) -> Result<(HeaderMap, Bytes), S3Error> {
        self.until(async || {
            let answer = self.once(asked).await?;
            let headers = answer.headers().clone();
            Ok((headers, self.wire.read(answer, LONGEST_ANSWER).await?))
        })
        .await
    }

    /// Sends a request until an answer begins, or will not.
    async fn open(&self, asked: &Asked<'_>) -> Result<Answer, S3Error> {
        self.until(async || self.once(asked).await).await
    }

    async fn until<T>(&self, work: impl AsyncFn() -> Result<T, S3Error>) -> Result<T, S3Error> {
        let mut attempts = 0;
        loop {
            let error = match work().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            attempts += 1;
            self.wait(error, attempts).await?;
        }
    }

    /// Waits before the next attempt, if there is one.
    async fn wait(&self, error: S3Error, attempts: u32) -> Result<(), S3Error> {
        match s3::again(error.failed(), attempts, self.patience.first) {
            Some(wait) => {
                tracing::debug!(%error, attempts, "asking the bucket's service once more");
                tokio::time::sleep(wait).await;
                Ok(())
            }
            None => Err(error),
        }
    }

    /// One attempt. An answer that is no success is an error.
    async fn once(&self, asked: &Asked<'_>) -> Result<Answer, S3Error> {
        let answer = self.wire.send(self.signed(asked)?).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let region = answer.headers().get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
        let region = region.map(str::to_owned);
        let body = self.wire.read(answer, LONGEST_ANSWER).await?;
        Err(S3Error::refused(status, s3::fault(&body), region))
    }

    fn signed(&self, asked: &Asked<'_>) -> Result<Request<Slices>, S3Error> {
        let target = self.location.target(asked.key, &asked.query)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &asked.headers {
            headers.insert(name, HeaderValue::try_from(value).map_err(|_| S3Error::Unsendable)?);
        }
        let query = Some(target.query.as_str()).filter(|query| !query.is_empty());
        let unsigned =
            Unsigned { method: asked.method.as_str(), host: &target.host, path: &target.path, query };
        let scope = Inbound {
            key_id: String::new(),
            date: String::new(),
            region: self.location.region().to_owned(),
            service: "s3".to_owned(),
            signed_headers: Vec::new(),
            signature: String::new(),
        };
        let token = self.keys.token.as_ref().map(Secret::expose);
        let keys = Keys { key_id: self.keys.id.expose(), secret: self.keys.secret.expose(), token };
        let payload = payload_hash(&asked.body);
        scope
            .sign(&unsigned, &mut headers, &payload, &keys, (self.now)())
            .map_err(|_| S3Error::Unsendable)?;
        headers.insert(HOST, HeaderValue::try_from(&target.host).map_err(|_| S3Error::Unsendable)?);
        let uri = query.map_or_else(|| target.path.clone(), |query| format!("{}?{query}", target.path));
        let request = Request::builder().method(asked.method.clone()).uri(uri);
        let mut request = request.body(Slices::new(asked.body.clone())).map_err(|_| S3Error::Unsendable)?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

impl S3Error {
    /// How it counts for another attempt.
    fn failed(&self) -> Failed {
        match self {
            Self::Slow(_) | Self::Broken(_) | Self::Dial(DialError::Handshake { .. }) => Failed::Line,
            Self::Refused { status, fault, .. } => {
                // Some say so in an answer that looks like a success.
                let passing = matches!(fault.code.as_str(), "InternalError" | "SlowDown" | "RequestTimeout");
                Failed::Status(if passing { 503 } else { status.as_u16() })
            }
            _ => Failed::Unreachable,
        }
    }
}

#[cfg(test)]
mod tests;
