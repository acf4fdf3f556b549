//! What every call of a model has in common, whoever makes it and why.
//!
//! Owns its two records in the audit log, before it is sent and after it has ended, never with what was asked or
//! answered; that a call which a killed daemon left open is closed at the next start; and that the key stays out of
//! what comes back, also where the answer's pieces divide it. Must not know what is asked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ftl_core::credential::secret_value::Secret;
use ftl_core::event::Bytes;
use ftl_core::id::SessionId;
use ftl_core::llm::again::ATTEMPTS;
use ftl_core::llm::name::Endpoint;
use ftl_core::llm::price::cost;
use ftl_core::llm::{End, Usage};
use ftl_core::scrub::Scrubber;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Error;
use super::ask::ModelError;
use super::decide::blocking;
use super::record::Record;
use crate::app::Parts;
use crate::audit::{Entry, Sync};
use crate::llm::{Client, Llm, LlmError, Patience, Settings, Signing};

/// The records of one caller's calls, one after the other.
pub(super) struct Book {
    parts: Arc<Parts>,
    session: SessionId,
    project: Bytes,
    purpose: &'static str,
    endpoint: Endpoint,
    /// The name of the key that is sent.
    key: Option<String>,
    /// What must not come back.
    secrets: Vec<Secret>,
    scrubber: Scrubber,
    /// The note of a call whose end is not recorded.
    open: Option<PathBuf>,
}

/// A text that comes in pieces, without the key as it is. What is written in another way is found when the answer
/// is whole: to look for that in pieces would hold back much of what is said.
pub(super) struct Clean {
    secrets: Vec<Secret>,
    /// The end of what came, as far as it may be the beginning of the key.
    rest: String,
}

/// A note of a call that is under way, for the daemon after this one.
#[derive(Serialize, Deserialize)]
struct Open {
    session: SessionId,
    project: Bytes,
    purpose: String,
    model: String,
}

/// The directory of those notes.
const OPEN: &str = "calls";
/// What stands for the key.
const KEY: &str = "[the key]";
/// How a call ended that nobody saw the end of.
const LOST: &str = "the daemon ended";

impl Book {
    /// A book without calls, and the client to make them with.
    ///
    /// # Errors
    /// When TLS cannot be prepared.
    pub(super) fn new(
        parts: Arc<Parts>,
        record: &Record,
        (endpoint, key, signing): (Endpoint, Option<(String, Secret)>, Option<Signing>),
        purpose: &'static str,
    ) -> Result<(Self, Box<dyn Llm>), Error> {
        let (name, value) = key.unzip();
        let token = signing.iter().filter_map(|signing| signing.token.as_ref());
        let secrets: Vec<Secret> = value.iter().chain(token).cloned().collect();
        let pairs: Vec<_> = secrets.iter().map(|value| (value.expose(), KEY)).collect();
        let scrubber = Scrubber::new(&pairs);
        let settings = Settings {
            endpoint: endpoint.clone(),
            key: value,
            signing,
            roots: parts.roots.clone(),
            patience: Patience::default(),
        };
        let (session, project) = (record.id.clone(), record.project.root.clone());
        let book =
            Self { parts, session, project, purpose, endpoint, key: name, secrets, scrubber, open: None };
        let client = Client::new(settings).map_err(|source| book.no_answer(source))?;
        Ok((book, Box::new(client)))
    }

    /// The model, with its provider.
    pub(super) fn model(&self) -> String {
        format!("{}/{}", self.endpoint.provider, self.endpoint.model)
    }

    /// Where the model is.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The name of the key that is sent.
    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Whether a call is recorded whose end is not.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Records that a call is about to happen; `more` are further members of the record.
    ///
    /// # Errors
    /// When it cannot be recorded: then nothing may be sent.
    pub(super) async fn begun(&mut self, more: Value) -> Result<(), Error> {
        let mut detail = json!({
            "model": self.model(),
            "host": self.endpoint.base.authority.to_string(),
            "purpose": self.purpose,
            "credential": self.key,
            "attempts_at_most": ATTEMPTS,
        });
        if let (Value::Object(detail), Value::Object(more)) = (&mut detail, more) {
            detail.extend(more);
        }
        let open = Open {
            session: self.session.clone(),
            project: self.project.clone(),
            purpose: self.purpose.to_owned(),
            model: self.model(),
        };
        let dir = self.parts.home.root().join(OPEN);
        self.open = Some(blocking(move || note(&dir, &open)).await?);
        self.append("model_asked", detail).await
    }

    /// Records how the call ended and what it used.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub(super) async fn ended(
        &mut self,
        outcome: &str,
        attempts: Option<u32>,
        usage: Option<Usage>,
    ) -> Result<(), Error> {
        let mut detail = json!({
            "model": self.model(),
            "purpose": self.purpose,
            "outcome": outcome,
            "input_tokens": usage.map(|usage| usage.input),
            "output_tokens": usage.map(|usage| usage.output),
            "cost_micro_usd_at_most": usage.and_then(|usage| cost(&self.endpoint, usage)).map(|cost| cost.micro_usd),
        });
        if let Some(attempts) = attempts {
            detail["attempts"] = attempts.into();
        }
        self.append("model_answered", detail).await?;
        let Some(note) = self.open.take() else { return Ok(()) };
        blocking(move || std::fs::remove_file(&note).map_err(|source| unkept(&note, source))).await
    }

    /// What becomes of a text that comes in pieces.
    pub(super) fn clean(&self) -> Clean {
        Clean { secrets: self.secrets.clone(), rest: String::new() }
    }

    /// A whole text without the key.
    pub(super) fn without_key(&self, text: &str) -> String {
        let (mut scrubber, mut out) = (self.scrubber.fresh(), Vec::new());
        scrubber.push(text.as_bytes(), &mut out);
        scrubber.finish(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Whether the key is in a whole text, in any form that is searched for.
    pub(super) fn tells_key(&self, text: &str) -> bool {
        self.without_key(text) != text
    }

    /// That there is no answer.
    pub(super) fn no_answer(&self, source: LlmError) -> Error {
        let (provider, key) = (self.endpoint.provider.clone(), self.key.clone());
        ModelError::Call { model: self.model(), provider, key, source }.into()
    }

    async fn append(&self, action: &'static str, detail: Value) -> Result<(), Error> {
        let entry = Entry {
            time_us: self.parts.clock.now_us(),
            action,
            session: Some(self.session.clone()),
            project: Some(self.project.clone()),
            detail,
        };
        let audit = Arc::clone(&self.parts.audit);
        blocking(move || Ok(audit.append(entry, Sync::Kernel)?)).await
    }
}

impl Clean {
    /// The next piece, as far as it cannot be the beginning of the key.
    pub(super) fn piece(&mut self, text: &str) -> String {
        let mut out = std::mem::take(&mut self.rest) + text;
        for secret in self.secrets.iter().map(Secret::expose).filter(|secret| !secret.is_empty()) {
            if out.contains(secret) {
                out = out.replace(secret, KEY);
            }
        }
        let held = self.secrets.iter().map(|secret| held(&out, secret.expose())).max().unwrap_or(0);
        self.rest = out.split_off(out.len() - held);
        out
    }

    /// What was held back.
    pub(super) fn end(self) -> String {
        self.rest
    }
}

/// How many bytes at a text's end are the beginning of a secret.
fn held(text: &str, secret: &str) -> usize {
    let most = secret.len().saturating_sub(1).min(text.len());
    let is_beginning =
        |length: &usize| secret.is_char_boundary(*length) && text.ends_with(&secret[..*length]);
    (1..=most).rev().find(is_beginning).unwrap_or(0)
}

/// How an answer ended, for its record.
pub(super) fn outcome(end: End) -> &'static str {
    match end {
        End::Done => "answered",
        End::Tools => "answered with calls",
        End::Length => "answered, cut at its longest",
        End::Refused => "refused by the model",
        End::Unknown => "ended oddly",
    }
}

/// Records the end of every call that an earlier daemon did not see the end of.
///
/// # Errors
/// When it cannot be recorded. A note that cannot be read is removed: whatever it was, it is not under way.
pub(super) async fn close_lost(parts: &Arc<Parts>) -> Result<(), Error> {
    let parts = Arc::clone(parts);
    blocking(move || {
        let dir = parts.home.root().join(OPEN);
        let Ok(notes) = std::fs::read_dir(&dir) else { return Ok(()) };
        for note in notes.flatten() {
            let path = note.path();
            let open = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Open>(&text).ok());
            if let Some(Open { session, project, purpose, model }) = open {
                let detail = json!({ "model": model, "purpose": purpose, "outcome": LOST });
                let entry = Entry {
                    time_us: parts.clock.now_us(),
                    action: "model_answered",
                    session: Some(session),
                    project: Some(project),
                    detail,
                };
                parts.audit.append(entry, Sync::Kernel)?;
            }
            std::fs::remove_file(&path).map_err(|source| unkept(&path, source))?;
        }
        Ok(())
    })
    .await
}

/// Writes a note of a call; it counts for a daemon that is killed, not for a machine that loses its power.
fn note(dir: &Path, open: &Open) -> Result<PathBuf, Error> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|_| Error::Interrupted)?;
    let path = dir.join(format!("{:016x}", u64::from_le_bytes(random)));
    let text = serde_json::to_vec(open).map_err(|error| unkept(&path, error.into()))?;
    std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&path, text)).map_err(|e| unkept(&path, e))?;
    Ok(path)
}

fn unkept(path: &Path, source: std::io::Error) -> Error {
    Error::CallNote { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(pieces: &[&str]) -> Vec<String> {
        let mut clean = Clean { secrets: vec![Secret::from("sk-secret-key")], rest: String::new() };
        let mut out: Vec<String> = pieces.iter().map(|piece| clean.piece(piece)).collect();
        out.push(clean.end());
        out
    }

    #[test]
    fn a_key_is_taken_out_however_it_is_divided_and_nothing_else_waits() {
        assert_eq!(cleaned(&["It is sk-", "secret", "-key."]), ["It is ", "", "[the key].", ""]);
        assert_eq!(cleaned(&["asks", "k-secret-keysk-secret"]), ["ask", "[the key]", "sk-secret"]);
        assert_eq!(cleaned(&["thinking", "\u{e9}s"]), ["thinking", "\u{e9}", "s"]);
    }
}
