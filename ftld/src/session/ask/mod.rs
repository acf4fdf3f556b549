//! What the daemon asks a model about a session's work: questions of the human's, and a review.
//!
//! Owns the order of things: what is shown is gathered and limited, the model and its key are found, the call
//! is recorded, and only then sent; after it, what it used is recorded. Must not decide about the work: a
//! model's answer is an opinion, goes to whoever asked, and nowhere else. Nothing here has a way to a
//! session's task but to look at what it shows.

mod call;
mod error;
mod material;
mod model;
mod written;

use std::sync::Arc;

use ftl_core::id::{Digest, SessionId};
use ftl_core::llm::price::Cost;
use ftl_core::llm::{Conversation, End, Message, Usage};
use ftl_core::opinion::{self, LeftOut, Opinion, Prompt};
use ftl_core::tester::reply;
use ftl_core::tree::RelPath;
use tokio::sync::mpsc;

pub use error::ModelError;

use super::{Error, Sessions};
use call::Call;
pub(super) use material::without_credentials;
pub(super) use model::{Chosen, for_agent, of_agent};
pub(super) use written::{Answered, written};

/// What of the work a model is to be shown; everything when nothing is named.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Whole paths; a directory brings what is beneath it.
    pub paths: Vec<RelPath>,
    /// Hunks by number or id, each of a path or of any.
    pub hunks: Vec<(Option<RelPath>, String)>,
}

/// A model at work.
pub struct Asking {
    /// What it was shown.
    pub begun: Begun,
    /// What it says, piece by piece; dropping this ends the call.
    pub events: mpsc::Receiver<Result<Heard, Error>>,
}

/// What a model is shown.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The model, as it is configured.
    pub model: String,
    /// Where the question goes: host and port.
    pub host: String,
    /// The digest of the changes that it is about.
    pub digest: Option<Digest>,
    /// Paths that are shown.
    pub files: u64,
    /// Hunks that are shown.
    pub hunks: u64,
    /// Lines that are withheld because they hold a credential.
    pub withheld: u64,
    /// What is not shown.
    pub left_out: Vec<LeftOut>,
}

/// Something that is heard of a call.
#[derive(Clone, Debug)]
pub enum Heard {
    /// Some of the answer's text: foreign.
    Text(String),
    /// So many bytes of a review have come.
    Progress(u64),
    /// The question is sent once more.
    Again {
        /// The attempt, from 2.
        attempt: u32,
        /// The wait before it, milliseconds.
        wait_ms: u64,
        /// Why.
        why: String,
    },
    /// The review.
    Opinion(Opinion),
    /// The end.
    End {
        /// How the answer ended.
        end: End,
        /// What it used.
        spent: Spent,
    },
}

/// What a call used.
#[derive(Clone, Debug, Default)]
pub struct Spent {
    /// Attempts.
    pub attempts: u32,
    /// Tokens, when the service says.
    pub usage: Option<Usage>,
    /// The most that it can have cost, when prices are known.
    pub cost: Option<Cost>,
}

/// What a call is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    Question,
    Review,
    Tests,
    AdaptedTests,
}

/// The longest question, characters.
const LONGEST_QUESTION: usize = 8000;
/// Bytes of changes that a model is shown; some 60,000 tokens.
const ROOM: usize = 240_000;
/// The most tokens of an answer. All models of today can write as many.
const MAX_TOKENS: u32 = 8192;
/// Pieces that wait for a slow client.
const BUFFER: usize = 64;

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Question => "question",
            Self::Review => "review",
            Self::Tests => "tests",
            Self::AdaptedTests => "adapted_tests",
        }
    }

    /// The longest answer that is gathered, bytes.
    fn longest(self) -> usize {
        match self {
            Self::Question | Self::Review => opinion::LONGEST_ANSWER,
            Self::Tests | Self::AdaptedTests => reply::LONGEST_ANSWER,
        }
    }
}

impl Sessions {
    /// Puts a human's question about a session's work to the configured model.
    ///
    /// # Errors
    /// When there is nothing to show, no model or no key, or the call cannot be recorded.
    pub async fn question(&self, id: &SessionId, question: &str, shown: Shown) -> Result<Asking, Error> {
        if question.trim().is_empty() || question.chars().count() > LONGEST_QUESTION {
            return Err(ModelError::Question { most: LONGEST_QUESTION }.into());
        }
        self.consult(id, Purpose::Question, shown, |task, material, number| {
            opinion::question(question, task, material, number)
        })
        .await
    }

    /// Has the configured model review a session's work. `same_model` lets it be the one that did it.
    ///
    /// # Errors
    /// Those of [`Self::question`], and when the model is, or may be, the agent's own.
    pub async fn opinion(&self, id: &SessionId, shown: Shown, same_model: bool) -> Result<Asking, Error> {
        let record = self.get(id)?;
        if !same_model {
            model::differs(self.parts(), &record)?;
        }
        self.consult(id, Purpose::Review, shown, opinion::review).await
    }

    async fn consult(
        &self,
        id: &SessionId,
        purpose: Purpose,
        shown: Shown,
        prompt: impl FnOnce(&str, &opinion::Material, u64) -> Prompt,
    ) -> Result<Asking, Error> {
        let record = self.get(id)?;
        let Chosen { name, endpoint, key, signing } = model::choose(self.parts(), &record, purpose).await?;
        let reviewed = self.review(id).await?;
        let digest = reviewed.review.digest();
        let material = material::gather(self, id, reviewed, shown).await?;
        let task = material::without_credentials(self.parts(), &record, task(&record)).await?;
        let Prompt { system, user } = prompt(&task, &material, number()?);
        let begun = Begun {
            model: name.to_string(),
            host: endpoint.base.authority.to_string(),
            digest,
            files: material.files(),
            hunks: material.hunks(),
            withheld: material.withheld(),
            left_out: material.left_out().to_vec(),
        };
        let conversation = Conversation {
            system,
            messages: vec![Message::User(user)],
            tools: Vec::new(),
            max_tokens: MAX_TOKENS,
        };
        let mut call = Call::prepare(Arc::clone(self.parts()), &record, (endpoint, key, signing), purpose)?;
        call.record_begun(&begun).await?;
        let (tell, events) = mpsc::channel(BUFFER);
        tokio::spawn(call.run(conversation, material, tell));
        Ok(Asking { begun, events })
    }
}

/// What the agent was asked for: first, and last.
pub(super) fn task(record: &super::record::Record) -> String {
    match record.asked.as_str() {
        asked if asked.is_empty() || asked == record.spec.task => record.spec.task.clone(),
        asked => format!("{}\n\nLast, the agent was asked:\n{asked}", record.spec.task),
    }
}

/// A number that nobody who wrote the changes could know.
pub(super) fn number() -> Result<u64, Error> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|_| Error::Interrupted)?;
    Ok(u64::from_le_bytes(random))
}
