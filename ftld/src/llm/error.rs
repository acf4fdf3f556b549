//! What can go wrong between here and a model's service, and what the human can do about it.
//!
//! Owns the sentences and the hints. No key is in them: what a service says is shown without it, with control
//! characters replaced and cut.

use ftl_core::llm::StreamError;
use ftl_core::llm::again::Failed;

use crate::dial::DialError;

/// Why there is no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum LlmError {
    /// There is no connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// It takes too long.
    #[error("{0} takes too long")]
    Slow(&'static str),
    /// The connection breaks off, or what comes is no HTTP.
    #[error("the exchange with the model's service breaks off")]
    Broken(#[source] hyper::Error),
    /// The service refuses.
    #[error("the model's service answers {status}: {message}")]
    Refused {
        /// Status.
        status: u16,
        /// What it says; never empty.
        message: String,
        /// How many seconds it wants to be left alone.
        wait_s: Option<u64>,
    },
    /// The answer is not a stream of events.
    #[error("the model's service answers with {0}, not with a stream of events")]
    NotAStream(String),
    /// The stream is no answer.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The key or the address has a character that no request can have.
    #[error("the request cannot be made: the {0} has a character that none has")]
    Unsendable(&'static str),
}

impl LlmError {
    /// How it failed, as far as another attempt is concerned.
    pub(super) fn failed(&self) -> Failed {
        match self {
            Self::Refused { status, .. } | Self::Stream(StreamError::Said { status, .. }) => {
                Failed::Status(*status)
            }
            Self::Broken(_)
            | Self::Slow(_)
            | Self::Dial(DialError::Handshake { .. })
            | Self::Stream(StreamError::Cut) => Failed::Line,
            _ => Failed::Hopeless,
        }
    }

    /// How it failed, in a word or two for the audit log.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dial(DialError::Unreachable { .. } | DialError::Elsewhere { .. }) => "unreachable",
            Self::Dial(DialError::Certificate { .. } | DialError::Handshake { .. }) => "tls",
            Self::Slow(_) => "slow",
            Self::Broken(_) | Self::Stream(StreamError::Cut) => "broken off",
            Self::Refused { .. } | Self::Stream(StreamError::Said { .. }) => "refused by the service",
            Self::NotAStream(_) | Self::Stream(_) => "not understood",
            Self::Unsendable(_) => "not sent",
        }
    }

    /// What the human can do about it; empty when nothing is known. `provider` is the service's name, `key`
    /// the name of the credential that was sent.
    #[must_use]
    pub fn hint(&self, provider: &str, key: Option<&str>) -> String {
        let set = |name: &str| format!("set the key again with `ftlctl auth {name}`");
        match self {
            Self::Dial(DialError::Unreachable { .. }) if provider == "ollama" => {
                "start it with `ollama serve`, or say where it is: `models.ollama.base_url` in ~/.ftl/config"
                    .to_owned()
            }
            Self::Dial(DialError::Unreachable { .. }) | Self::Slow(_) => {
                format!(
                    "see that the network is there, and that `models.{provider}.base_url` in ~/.ftl/config, if set, is right"
                )
            }
            Self::Dial(DialError::Elsewhere { .. }) => {
                format!("write `models.{provider}.base_url` in ~/.ftl/config with https://")
            }
            Self::Dial(DialError::Certificate { .. }) => {
                "add the authority's certificate to this machine's, and start the daemon anew".to_owned()
            }
            Self::Unsendable("key") => key.map_or_else(String::new, set),
            Self::Refused { status: 401 | 403, .. }
            | Self::Stream(StreamError::Said { status: 401 | 403, .. }) => key.map_or_else(String::new, set),
            Self::Refused { status: 404, .. } => {
                format!(
                    "see that the model's name in ~/.ftl/config is one that {provider} has, and that the address is right"
                )
            }
            Self::Refused { status: 413, .. } => "ask about fewer files with --file".to_owned(),
            Self::Refused { wait_s: Some(seconds), .. } => format!("try again in {seconds} seconds"),
            Self::Refused { status: 429 | 500.., .. } => "try again later, or name another model".to_owned(),
            Self::NotAStream(_) => format!(
                "see that `models.{provider}.base_url` in ~/.ftl/config is that of the API, and `api` what it speaks"
            ),
            _ => String::new(),
        }
    }
}
