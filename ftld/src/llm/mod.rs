//! Calls of language models: the daemon's own, not an agent's.
//!
//! Owns one question to one service: sent with the key to the service's own host, bounded in time and size,
//! sent again where that may help and nothing of an answer was told yet. Must not know what is asked, why,
//! or where keys come from. What a model answers is foreign text.
//!
//! ```text
//! Llm::stream ── request (ftl_core::llm) ── wire ──> the service
//!      ^                                        │
//!      └── Decoder, again (ftl_core::llm) <─────┘
//! ```
//!
//! Dropping the stream closes the connection, which ends the answer. No redirect is followed.

mod error;
mod reply;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use ftl_core::credential::secret_value::Secret;
use ftl_core::llm::name::Endpoint;
use ftl_core::llm::{Conversation, Event};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use rustls_pki_types::CertificateDer;

pub use error::LlmError;

use crate::dial::Dialer;
use reply::Reply;

/// Something that answers.
pub trait Llm: Send + Sync {
    /// Puts a question; the answer comes as a stream that ends with [`Event::End`] or an error. Nothing is
    /// sent before the stream is asked for its first event, and dropping it ends the call.
    fn stream(&self, conversation: Conversation) -> Events;
}

/// An answer as it comes.
pub type Events = BoxStream<'static, Result<Event, LlmError>>;

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection with its handshake.
    pub connect: Duration,
    /// For the head of the answer, after the question was sent.
    pub first: Duration,
    /// For each further piece.
    pub idle: Duration,
    /// For all of it, attempts and waits included.
    pub whole: Duration,
    /// Before the second attempt; see [`ftl_core::llm::again`].
    pub again: Duration,
}

/// What a client is made of.
pub struct Settings {
    /// The model and where it is.
    pub endpoint: Endpoint,
    /// The key, when the service wants one.
    pub key: Option<Secret>,
    /// Where requests are signed with the key, and it is not sent.
    pub signing: Option<Signing>,
    /// Roots beside the host's own.
    pub roots: Vec<CertificateDer<'static>>,
    /// How long to wait.
    pub patience: Patience,
}

/// What a request is signed with beside the key.
#[derive(Clone)]
pub struct Signing {
    /// The key's id.
    pub key_id: Secret,
    /// The token of a session, when the key is one's.
    pub token: Option<Secret>,
    /// The time, seconds since the Unix epoch.
    pub now: Arc<dyn Fn() -> i64 + Send + Sync>,
}

/// A client of one model. Calls may overlap.
pub struct Client {
    shared: Arc<Shared>,
}

/// What a call needs.
struct Shared {
    endpoint: Endpoint,
    key: Option<Secret>,
    signing: Option<Signing>,
    patience: Patience,
    dialer: Dialer,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        // A model on this machine may be loaded first, and a large one thinks before it speaks.
        Self {
            connect: seconds(10),
            first: seconds(180),
            idle: seconds(120),
            whole: seconds(900),
            again: Duration::from_millis(500),
        }
    }
}

impl Client {
    /// A client; it opens no connection yet.
    ///
    /// # Errors
    /// When TLS cannot be prepared.
    pub fn new(settings: Settings) -> Result<Self, LlmError> {
        let Settings { endpoint, key, signing, roots, patience } = settings;
        let dialer = Dialer::new(endpoint.base.authority.clone(), endpoint.base.tls.then_some(roots))?;
        Ok(Self { shared: Arc::new(Shared { endpoint, key, signing, patience, dialer }) })
    }
}

impl Llm for Client {
    fn stream(&self, conversation: Conversation) -> Events {
        let reply = Reply::new(Arc::clone(&self.shared), &conversation);
        stream::unfold(reply, |mut reply| async move { Some((reply.next().await?, reply)) }).boxed()
    }
}
