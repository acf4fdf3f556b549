//! The sandbox of a session's next turn, made when a human asks for it.
//!
//! Owns what `start` and `restart` mean: whether they fit, what ends before, and that they answer only after
//! the sandbox has. Must not know how one is made or kept ([`super::warm`]).

use ftl_core::event::{Kind, Level};
use ftl_core::id::SessionId;
use ftl_core::lifecycle::{Refusal, Request};
use serde_json::json;

use super::driver::Driver;
use super::record::Record;
use super::{Command, Error, Sessions, warm};
use crate::audit::Sync;

/// A sandbox that was made and has answered.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// The session.
    pub record: Record,
    /// Why it does not stand ready until the next turn but was ended again; `None` when it does.
    pub why: Option<String>,
    /// How long it took to make, microseconds.
    pub elapsed_us: u64,
    /// Whether a turn ran and was stopped.
    pub stopped: bool,
}

impl Sessions {
    /// Makes the sandbox of a session's next turn, and answers when it has. With `anew` the turn that runs is
    /// stopped before, its work kept, and what stands ready is ended.
    ///
    /// # Errors
    /// When a turn runs and may not be stopped, the session is over, or the sandbox cannot be had.
    pub async fn make_ready(&self, id: &SessionId, anew: bool) -> Result<Readiness, Error> {
        let works = anew && !self.get(id)?.state.is_idle();
        let stopped = works && self.stop_if_it_works(id).await?;
        let made = self.ask(id, |reply| Command::Ready { anew, reply }).await?;
        Ok(Readiness { stopped, ..made })
    }

    /// Stops the turn that runs; whether there was one: it may come to rest by itself meanwhile.
    async fn stop_if_it_works(&self, id: &SessionId) -> Result<bool, Error> {
        match self.stop(id, "restarted by the human").await {
            Ok(_) => Ok(true),
            Err(Error::Refused(Refusal::NotWorking(_))) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Driver {
    /// Makes the sandbox of the next turn; with `anew` in the place of one that stands ready.
    pub(super) async fn make_ready(&mut self, anew: bool) -> Result<Readiness, Error> {
        self.may(Request::Ready)?;
        if self.record.base.is_none() {
            return Err(Refusal::Over(self.record.state).into());
        }
        let detail = json!({ "backend": self.record.spec.sandbox, "ahead": true, "anew": anew });
        self.audit("sandbox_begun", detail, Sync::Kernel).await?;
        self.end_folding().await;
        if anew {
            warm::forget(&self.parts, &self.record.id).await;
        }
        let start = self.parts.clock.monotonic_us();
        let why = warm::make_now(&self.parts, &self.record).await?;
        if why.is_some() {
            warm::try_out(&self.parts, &self.record).await?;
        }
        let elapsed_us = self.parts.clock.monotonic_us().saturating_sub(start);
        let text = match &why {
            None => "a sandbox stands ready for the next turn".to_owned(),
            Some(why) => format!("a sandbox was made and ended: {why}"),
        };
        self.keep(vec![Kind::Notice { level: Level::Info, text }]).await?;
        Ok(Readiness { record: self.record.clone(), why, elapsed_us, stopped: false })
    }
}
