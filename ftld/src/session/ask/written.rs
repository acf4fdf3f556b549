//! Calls of the tester: a prompt, and the whole text of its answer.
//!
//! Owns that an answer that is cut or refused is none. What it is for and what counts of it is the tester's.

use std::sync::Arc;

use ftl_core::llm::{Conversation, End, Message};
use ftl_core::opinion::Prompt;
use ftl_core::tester::NoTests;
use tokio_util::sync::CancellationToken;

use super::call::Call;
use super::model::for_agent;
use super::{Begun, Chosen, ModelError, Purpose};
use crate::app::Parts;
use crate::session::Error;
use crate::session::record::Record;

/// What a tester is to answer.
pub(in crate::session) struct Answered<'a> {
    pub(in crate::session) model: &'a str,
    pub(in crate::session) prompt: Prompt,
    /// Whether it is about files that could not run.
    pub(in crate::session) adapts: bool,
}

/// The most tokens of an answer: files are longer than opinions.
const MAX_TOKENS: u32 = 16_384;

/// The text that a tester answers.
///
/// # Errors
/// When there is no model or no key, the call cannot be recorded, or there is no whole answer.
pub(in crate::session) async fn written(
    parts: &Arc<Parts>,
    record: &Record,
    answered: Answered<'_>,
    stop: &CancellationToken,
) -> Result<String, Error> {
    let Answered { model, prompt: Prompt { system, user }, adapts } = answered;
    let Chosen { name, endpoint, key, signing } = for_agent(parts, record, Some(model)).await?;
    let begun = Begun {
        model: name.to_string(),
        host: endpoint.base.authority.to_string(),
        digest: record.digest.filter(|_| adapts),
        files: 0,
        hunks: 0,
        withheld: 0,
        left_out: Vec::new(),
    };
    let conversation = Conversation {
        system,
        messages: vec![Message::User(user)],
        tools: Vec::new(),
        max_tokens: MAX_TOKENS,
    };
    let purpose = if adapts { Purpose::AdaptedTests } else { Purpose::Tests };
    let mut call = Call::prepare(Arc::clone(parts), record, (endpoint, key, signing), purpose)?;
    call.record_begun(&begun).await?;
    let none = |source| Err(ModelError::NoTests { model: name.to_string(), source }.into());
    match call.whole(conversation, stop).await? {
        Some((text, End::Done)) => Ok(text),
        Some((_, End::Length)) => none(NoTests::Cut),
        Some((_, End::Refused)) => none(NoTests::Refused),
        Some((_, End::Tools | End::Unknown)) => none(NoTests::Form),
        None => none(NoTests::Size("more text than was asked for")),
    }
}
