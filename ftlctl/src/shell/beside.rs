//! Sessions that run while the human types something else.
//!
//! Owns the watching of each and what of it is news: a request that waits, and the end. Must not know the prompt:
//! news are handed over, and nothing else of what a session tells is shown until it is watched.

use std::collections::{BTreeMap, BTreeSet};

use ftl_proto::v1;
use ftl_proto::v1::event::Kind;
use ftl_proto::v1::session_service_client::SessionServiceClient;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tonic::transport::Channel;

use crate::connect::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::notify::{Notifier, Waits};
use crate::render::style::{Style, Tone};
use crate::render::{egress, escape, json};

/// Something that the human should know of a session.
#[derive(Debug)]
pub(super) struct News {
    /// Its id.
    session: String,
    what: What,
}

#[derive(Debug)]
enum What {
    /// A request waits for an answer.
    Asked(v1::EgressAsked),
    /// It does not work any more.
    Done(Box<v1::Session>),
    /// It cannot be watched any more.
    Lost(String),
}

struct Running {
    /// The first event that nobody was shown.
    next: u64,
    notifier: Notifier,
    watcher: AbortHandle,
}

/// The sessions beside the prompt.
pub(super) struct Beside {
    running: BTreeMap<String, Running>,
    waiting: BTreeSet<String>,
    sender: UnboundedSender<News>,
    news: UnboundedReceiver<News>,
}

// === impl Beside ===

impl Beside {
    /// None so far.
    pub(super) fn new() -> Self {
        let (sender, news) = unbounded_channel();
        Self { running: BTreeMap::new(), waiting: BTreeSet::new(), sender, news }
    }

    /// Watches a session from this event on.
    pub(super) fn add(&mut self, client: &Client, session: &str, next: u64) {
        self.forget(session);
        let (sessions, sender, id) = (client.sessions(), self.sender.clone(), session.to_owned());
        let watcher = tokio::spawn(async move {
            let what = watch(sessions, &id, next, &sender).await;
            let what = what.unwrap_or_else(|status| What::Lost(escape::name(status.message())));
            // Who does not listen any more has left.
            let _ = sender.send(News { session: id, what });
        });
        let running = Running { next, notifier: Notifier::new(), watcher: watcher.abort_handle() };
        self.running.insert(session.to_owned(), running);
    }

    /// The session is watched otherwise, or was looked at. Gives the first event that nobody was shown.
    pub(super) fn forget(&mut self, session: &str) -> Option<u64> {
        self.waiting.remove(session);
        let running = self.running.remove(session)?;
        running.watcher.abort();
        Some(running.next)
    }

    /// The next news. Nothing is lost when this is dropped before it ends.
    pub(super) async fn next(&mut self) -> News {
        match self.news.recv().await {
            Some(news) => news,
            // There is a sender in this very value.
            None => std::future::pending().await,
        }
    }

    /// Tells the desktop.
    pub(super) async fn notify(
        &mut self,
        context: &Context,
        client: &Client,
        news: &News,
    ) -> Result<(), Failure> {
        let Some(running) = self.running.get_mut(&news.session) else { return Ok(()) };
        match waits(&news.what) {
            Some(waits) => running.notifier.tell(context, client, &news.session, waits).await,
            None => Ok(()),
        }
    }

    /// Takes note of news, and says what to print; nothing about a session that is not beside any more.
    pub(super) fn hear(&mut self, news: News, style: Style) -> Option<String> {
        let News { session, what } = news;
        if !self.running.contains_key(&session) {
            return None;
        }
        if !matches!(what, What::Asked(_)) {
            self.running.remove(&session);
        }
        let line = line(&session, &what, style);
        if waits(&what) == Some(Waits::Review) {
            self.waiting.insert(session);
        }
        Some(line)
    }

    /// Whether this session is watched here.
    pub(super) fn has(&self, session: &str) -> bool {
        self.running.contains_key(session)
    }

    /// Sessions that work, and sessions whose work nobody has looked at.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.running.len(), self.waiting.len())
    }
}

async fn watch(
    mut sessions: SessionServiceClient<Channel>,
    session: &str,
    next: u64,
    sender: &UnboundedSender<News>,
) -> Result<What, tonic::Status> {
    let request = v1::WatchRequest {
        session: session.to_owned(),
        from_seq: next,
        follow: true,
        until_idle: true,
        answers_egress: true,
    };
    let mut events = sessions.watch(request).await?.into_inner();
    while let Some(event) = events.message().await? {
        if let Some(Kind::EgressAsked(asked)) = event.kind {
            let _ = sender.send(News { session: session.to_owned(), what: What::Asked(asked) });
        }
    }
    let request = v1::GetSessionRequest { session: session.to_owned(), project: Vec::new() };
    Ok(What::Done(Box::new(sessions.get(request).await?.into_inner())))
}

/// What waits for the human.
fn waits(what: &What) -> Option<Waits> {
    match what {
        What::Asked(_) => Some(Waits::Question),
        What::Done(done) if done.state() == v1::State::AwaitingReview => Some(Waits::Review),
        What::Done(_) => Some(Waits::Ended),
        What::Lost(_) => None,
    }
}

/// What is said about news.
fn line(session: &str, what: &What, style: Style) -> String {
    let id = escape::name(session);
    match what {
        What::Asked(asked) => {
            let question = style.paint(Tone::Warning, &format!("{id}: {}", egress::asked(asked)));
            format!("{question}\n  answer: /answer {id} {} once|session|always|no", asked.ask)
        }
        What::Done(done) if done.state() == v1::State::AwaitingReview => {
            style.paint(Tone::Good, &format!("{id} waits for your review: /use {id}, then /merge"))
        }
        What::Done(done) => {
            let state = json::state(done.state()).replace('_', " ");
            let reason = escape::summary(&done.reason, 200);
            let reason = if reason.is_empty() { reason } else { format!(" ({reason})") };
            format!("{id} has ended: {state}{reason}")
        }
        What::Lost(why) => {
            style.paint(Tone::Warning, &format!("{id} cannot be watched any more ({why}): /watch {id}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_one_line_and_say_what_to_type() {
        let done = |state: v1::State, reason: &str| {
            What::Done(Box::new(v1::Session {
                state: state.into(),
                reason: reason.to_owned(),
                ..Default::default()
            }))
        };
        let asked = What::Asked(v1::EgressAsked {
            ask: 3,
            method: "GET".into(),
            authority: "a.example:443".into(),
            path: "/\x1b[2J".into(),
            patience_ms: 30_000,
            ..Default::default()
        });
        let table = [
            (done(v1::State::AwaitingReview, ""), "s-1 waits for your review: /use s-1, then /merge"),
            (done(v1::State::NoChanges, ""), "s-1 has ended: no changes"),
            (done(v1::State::Failed, "no\x1b[2Jkernel"), "s-1 has ended: failed (no\\x1b[2Jkernel)"),
            (
                asked,
                "s-1: waiting for you: GET a.example/\\x1b[2J (30.0 s left)\n  answer: /answer s-1 3 once|session|always|no",
            ),
        ];
        for (what, expected) in table {
            assert_eq!(line("s-1", &what, Style::Plain), expected);
        }
    }
}
