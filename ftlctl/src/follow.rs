//! Watches a session until it needs nobody's patience any more.
//!
//! Owns the stream of events across broken connections, Ctrl-C, and the status line's clock. Must not
//! know what the end means: it hands back the session as it then stands.

use std::time::Duration;

use ftl_proto::v1;
use ftl_proto::v1::event::Kind;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet};

use crate::connect::Client;
use crate::context::Context;
use crate::decide::Review;
use crate::failure::{Failure, is_broken};
use crate::notify::{Notifier, Waits};
use crate::question::{Questions, Said};
use crate::render::event::View;
use crate::render::{escape, json};
use crate::terminal;

/// What Ctrl-C means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnInterrupt {
    /// Once: the agent is stopped and its work kept. Twice: do not wait for that.
    StopThenLeave,
    /// Leave it; the session goes on.
    Leave,
}

/// Follows one session.
pub(crate) struct Follower<'a> {
    context: &'a Context,
    client: Client,
    session: String,
    /// The first event that was not seen.
    next: u64,
    on_interrupt: OnInterrupt,
    interrupts: Signal,
    /// The request to stop the agent, while it is under way.
    stop: JoinSet<Result<(), tonic::Status>>,
    asked_to_stop: bool,
    view: View,
    /// What requests of the session ask the human.
    questions: Questions,
    /// The newest event when the watching began: what it and those before it ask is past.
    backlog: u64,
    notifier: Notifier,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// The session works, or cannot any more.
    Working,
    /// The session waits for a decision or has ended.
    Idle,
}

/// How one stream of events ended.
enum Ended {
    /// The goal is reached.
    Reached,
    /// The daemon has no more to tell.
    NoMore,
    /// The connection broke.
    Broken(tonic::Status),
}

enum Happening {
    Message(Result<Option<Box<v1::Event>>, tonic::Status>),
    Stopped(Result<Result<(), tonic::Status>, JoinError>),
    Said(Said),
    Interrupt,
    Tick,
}

// === impl Follower ===

impl<'a> Follower<'a> {
    /// A follower of the events from `next` on.
    pub(crate) fn new(
        context: &'a Context,
        client: Client,
        session: String,
        next: u64,
        on_interrupt: OnInterrupt,
    ) -> Result<Self, Failure> {
        let interrupts = signal(SignalKind::interrupt()).map_err(Failure::io("listen to Ctrl-C"))?;
        Ok(Self {
            view: View::new(context.output.style),
            context,
            client,
            session,
            next,
            on_interrupt,
            interrupts,
            stop: JoinSet::new(),
            asked_to_stop: false,
            questions: Questions::new(),
            backlog: 0,
            notifier: Notifier::new(),
        })
    }

    /// The same, where the review of this kind follows.
    pub(crate) fn before(mut self, review: Review) -> Self {
        self.view.set_reviewed(matches!(review, Review::Ask | Review::Approve));
        self
    }

    /// The connection, which may be another one than in the beginning.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The connection, and the first event that was not seen.
    pub(crate) fn into_position(self) -> (Client, u64) {
        (self.client, self.next)
    }

    /// Stops to watch, and leaves the terminal clean.
    pub(crate) fn leave(&mut self) -> Result<(), Failure> {
        self.pause()
    }

    /// Shows events until the session waits for a decision or has ended.
    pub(crate) async fn until_idle(&mut self) -> Result<v1::Session, Failure> {
        let session = self.follow(Goal::Idle).await?;
        let waits = match session.state() {
            v1::State::AwaitingReview => Waits::Review,
            _ => Waits::Ended,
        };
        self.notifier.tell(self.context, &self.client, &session.session, waits).await?;
        Ok(session)
    }

    /// Shows events until the sandbox is open for commands, or the session has ended.
    pub(crate) async fn until_working(&mut self) -> Result<v1::Session, Failure> {
        self.follow(Goal::Working).await
    }

    async fn follow(&mut self, goal: Goal) -> Result<v1::Session, Failure> {
        // A connection that breaks again before it told anything new will not get better.
        let mut broke_at = None;
        loop {
            let ended = self.watch(goal).await;
            self.pause()?;
            let status = match ended? {
                Ended::Broken(status) => status,
                Ended::Reached | Ended::NoMore => match self.get().await {
                    Ok(session) if fits(session.state(), goal) => return Ok(session),
                    Ok(_) => tonic::Status::unavailable("the daemon ended the stream of events"),
                    Err(status) => status,
                },
            };
            if !is_broken(&status) || broke_at == Some(self.next) {
                return Err(status.into());
            }
            broke_at = Some(self.next);
            self.context.output.note("the connection to the daemon broke; connecting anew")?;
            self.client = self.context.connect().await?;
        }
    }

    async fn get(&self) -> Result<v1::Session, tonic::Status> {
        let request = v1::GetSessionRequest { session: self.session.clone(), project: Vec::new() };
        Ok(self.client.sessions().get(request).await?.into_inner())
    }

    /// Whether a human can be asked here and now.
    fn answers(&self) -> bool {
        self.context.output.is_interactive() && terminal::in_foreground() && !self.asked_to_stop
    }

    async fn watch(&mut self, goal: Goal) -> Result<Ended, Failure> {
        let answers = self.answers();
        self.view.set_answers(answers);
        if answers {
            match self.get().await {
                Ok(session) => self.backlog = session.last_seq,
                Err(status) => return Ok(Ended::Broken(status)),
            }
        }
        let request = v1::WatchRequest {
            session: self.session.clone(),
            from_seq: self.next,
            follow: true,
            until_idle: true,
            answers_egress: answers,
        };
        let mut events = match self.client.sessions().watch(request).await {
            Ok(events) => events.into_inner(),
            Err(status) => return Ok(Ended::Broken(status)),
        };
        let mut clock = tokio::time::interval(Duration::from_secs(1));
        loop {
            let happening = tokio::select! {
                message = events.message() => Happening::Message(message.map(|event| event.map(Box::new))),
                Some(stopped) = self.stop.join_next() => Happening::Stopped(stopped),
                said = self.questions.next() => Happening::Said(said),
                _ = self.interrupts.recv() => Happening::Interrupt,
                _ = clock.tick(), if !self.context.output.is_json() => Happening::Tick,
            };
            match happening {
                Happening::Message(Ok(Some(event))) => {
                    if self.show(&event)? == v1::State::Working && goal == Goal::Working {
                        return Ok(Ended::Reached);
                    }
                }
                Happening::Message(Ok(None)) => return Ok(Ended::NoMore),
                Happening::Message(Err(status)) => return Ok(Ended::Broken(status)),
                Happening::Stopped(stopped) => self.stopped(stopped)?,
                Happening::Said(said) => {
                    self.questions.act(self.context, &self.client, &self.session, said)?;
                    self.view.broke_off();
                }
                Happening::Interrupt => self.interrupted()?,
                Happening::Tick => self.tick()?,
            }
            let past = self.asked_to_stop || self.next <= self.backlog;
            if answers && !past && self.questions.put(self.context)? {
                self.view.broke_off();
                let (context, session) = (self.context, &self.session);
                self.notifier.tell(context, &self.client, session, Waits::Question).await?;
            }
        }
    }

    /// Shows an event and gives the state that it tells of.
    fn show(&mut self, event: &v1::Event) -> Result<v1::State, Failure> {
        if event.seq < self.next {
            return Ok(v1::State::Unspecified);
        }
        self.next = event.seq + 1;
        self.context.output.json(&json::event(event))?;
        match &event.kind {
            Some(Kind::EgressAsked(asked)) => self.questions.push(asked, event.time_us),
            Some(Kind::EgressAnswered(answered)) => self.questions.answered(self.context, answered.ask)?,
            _ => {}
        }
        for piece in self.view.event(event) {
            if self.questions.piece(self.context, piece)? {
                self.view.broke_off();
            }
        }
        self.tick()?;
        Ok(match &event.kind {
            Some(Kind::StateChanged(change)) => change.state(),
            _ => v1::State::Unspecified,
        })
    }

    fn tick(&mut self) -> Result<(), Failure> {
        if self.questions.is_open() {
            return Ok(());
        }
        let (now, output) = (self.context.now().as_microsecond(), &self.context.output);
        if output.can_move() {
            let columns = output.width().unwrap_or(80);
            return output.moving(self.view.status(now, columns).as_deref());
        }
        self.view.beat(now).map_or(Ok(()), |piece| output.piece(&piece))
    }

    /// Leaves the terminal clean for whatever comes next.
    fn pause(&mut self) -> Result<(), Failure> {
        self.questions.withdraw(self.context)?;
        self.context.output.moving(None)?;
        for piece in self.view.end() {
            self.context.output.piece(&piece)?;
        }
        Ok(())
    }

    fn interrupted(&mut self) -> Result<(), Failure> {
        if self.asked_to_stop || self.on_interrupt == OnInterrupt::Leave {
            self.pause()?;
            let session = self.session.clone();
            let stopping = self.asked_to_stop;
            return Err(if stopping { Failure::Stopping { session } } else { Failure::Detached { session } });
        }
        self.asked_to_stop = true;
        self.questions.withdraw(self.context)?;
        let request = v1::StopRequest { session: self.session.clone() };
        let mut sessions = self.client.sessions();
        self.stop.spawn(async move { sessions.stop(request).await.map(drop) });
        self.view.broke_off();
        self.context.output.note("stopping the agent; its work is kept (Ctrl-C again does not wait for it)")
    }

    fn stopped(&mut self, stopped: Result<Result<(), tonic::Status>, JoinError>) -> Result<(), Failure> {
        match stopped {
            Ok(Err(status)) => {
                let why = escape::name(status.message());
                self.view.broke_off();
                self.context.output.note(&format!("the agent was not stopped: {why}"))
            }
            // The events tell the rest; a task of ours does not panic and is never cancelled.
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

/// Whether the state ends the wait.
fn fits(state: v1::State, goal: Goal) -> bool {
    match state {
        v1::State::AwaitingReview
        | v1::State::NoChanges
        | v1::State::Merged
        | v1::State::Rejected
        | v1::State::Failed => true,
        v1::State::Working => goal == Goal::Working,
        v1::State::Unspecified
        | v1::State::Created
        | v1::State::Snapshotting
        | v1::State::Starting
        | v1::State::Capturing
        | v1::State::Applying => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_state_that_waits_for_a_human_is_idle() {
        assert!(fits(v1::State::AwaitingReview, Goal::Idle) && fits(v1::State::Failed, Goal::Working));
        assert!(!fits(v1::State::Working, Goal::Idle) && fits(v1::State::Working, Goal::Working));
        assert!(!fits(v1::State::Applying, Goal::Idle) && !fits(v1::State::Created, Goal::Working));
    }
}
