//! One turn in the shell: begin it, watch it or let it run beside, say what came of it.
//!
//! Owns what Ctrl-C and Ctrl-Z mean meanwhile. Must not know commands.

use ftl_proto::v1;

use super::Shell;
use crate::command::search_path;
use crate::connect::Client;
use crate::decide::{self, Review};
use crate::failure::Failure;
use crate::follow::{Follower, OnInterrupt};
use crate::render::diff::Depth;
use crate::render::escape;
use crate::render::style::Tone;
use crate::terminal;

impl Shell<'_> {
    /// Gives the session's agent something to do, or begins a session with it.
    pub(super) async fn task(&mut self, text: String, beside: bool) -> Result<(), Failure> {
        let client = self.context.connect().await?;
        let (session, next) = match &self.session {
            Some(session) => {
                let session = session.clone();
                let request = v1::SayRequest { session: session.clone(), text };
                let said = client.sessions().say(request).await?.into_inner();
                (session, said.seq + 1)
            }
            None => {
                let request = v1::StartRequest {
                    project: self.context.project_bytes()?,
                    agent: self.agent.clone(),
                    task: text,
                    search_path: search_path(self.context),
                    ..v1::StartRequest::default()
                };
                (client.sessions().start(request).await?.into_inner().session, 1)
            }
        };
        if !beside {
            return self.watch(client, session, next).await;
        }
        self.remember(&session);
        self.beside.add(&client, &session, next);
        self.context.output.line(&format!("{} runs beside the prompt", escape::name(&session)))
    }

    /// Shows a session from this event on until it waits for a decision or has ended. The next line is for it.
    pub(super) async fn watch(&mut self, client: Client, session: String, next: u64) -> Result<(), Failure> {
        self.enter(&session);
        let next = self.beside.forget(&session).unwrap_or(next);
        // A key that was pressed before is not meant for this.
        while is_there(self.suspends.recv()).await {}
        let follower =
            Follower::new(self.context, client, session.clone(), next, OnInterrupt::StopThenLeave)?;
        let mut follower = follower.before(Review::Ask);
        let ended = {
            let idle = follower.until_idle();
            tokio::pin!(idle);
            loop {
                tokio::select! {
                    ended = &mut idle => break Some(ended),
                    _ = self.suspends.recv() => break None,
                    news = self.beside.next() => {
                        if let Ok(client) = self.context.connect().await {
                            self.beside.notify(self.context, &client, &news).await?;
                        }
                        // Printed now, it would stand in the middle of what this session says.
                        self.late.push(news);
                    }
                }
            }
        };
        follower.leave()?;
        let (client, next) = follower.into_position();
        terminal::forget_typed();
        let output = &self.context.output;
        match ended {
            Some(Ok(session)) => self.ended(&client, &session).await,
            Some(Err(Failure::Stopping { .. })) => {
                self.beside.add(&client, &session, next);
                output.note("it stops beside the prompt; its work is kept")
            }
            Some(Err(failure)) => Err(failure),
            None => {
                self.beside.add(&client, &session, next);
                let id = escape::name(&session);
                self.session = None;
                output.note(&format!("{id} goes on beside the prompt; /watch {id} shows it again"))
            }
        }
    }

    /// Says what came of the turn, and what can be done with it.
    async fn ended(&self, client: &Client, session: &v1::Session) -> Result<(), Failure> {
        let output = &self.context.output;
        match session.state() {
            v1::State::AwaitingReview => {
                let fetched = decide::fetch(client, session, Depth::Stat).await?;
                decide::show(output, &fetched, Depth::Stat)?;
                let what = "/diff shows it, /test tries it, /merge decides; or say what is to be done next";
                output.line(&output.style.paint(Tone::Faint, what))
            }
            v1::State::NoChanges => output.line("no changes"),
            v1::State::Failed => {
                let (session, reason) = (session.session.clone(), session.reason.clone());
                Err(Failure::Session { session, reason })
            }
            _ => Ok(()),
        }
    }
}

/// Whether something is there already.
async fn is_there<T>(future: impl Future<Output = Option<T>>) -> bool {
    tokio::select! {
        biased;
        there = future => there.is_some(),
        () = std::future::ready(()) => false,
    }
}
