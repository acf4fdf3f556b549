//! `ftlctl demo`: the whole loop on a project that nobody minds.
//!
//! Owns the story and its proof: before and after are compared here, byte by byte, and not by the daemon.
//! Whatever happens, the project and its session are removed at the end.

use std::time::Instant;

use ftl_proto::v1;
use serde_json::json;

use crate::args;
use crate::choice::Meant;
use crate::command::code::search_path;
use crate::connect::Client;
use crate::context::Context;
use crate::decide::{self, Answer, Fetched, Shown};
use crate::failure::{Exit, Failure, Outcome};
use crate::follow::{Follower, OnInterrupt};
use crate::project::bytes;
use crate::render::diff::Depth;
use crate::render::measure::{duration, plural};
use crate::render::style::Tone;
use crate::render::{escape, json};

mod sample;

use sample::{Sample, Tree};

/// Tells the story from its first to its last step.
pub(crate) async fn run(context: &Context, args: args::Demo) -> Result<Outcome, Failure> {
    let began = Instant::now();
    let client = context.connect().await?;
    let sample = Sample::create(&context.environment.temp).map_err(Failure::io("make the demo's project"))?;
    let root = escape::name(bytes(sample.root()));
    step(context, 1, &format!("a small project with a bug: {root}"))?;
    for (name, what) in sample::FILES.map(|file| (file.name, file.about)) {
        context.output.line(&format!("   {name:<12}  {what}"))?;
    }
    let mut story = Story { context, yes: args.yes, sample, session: String::new() };
    let told = story.tell(client).await;
    let removed = story.clean_up().await;
    let outcome = told?;
    removed?;
    if outcome == Outcome::DONE {
        let time = duration(micros(began));
        context
            .output
            .line(&format!("\nThat was the whole loop, in {time}. Now yours: ftlctl code 'TASK'"))?;
    }
    Ok(outcome)
}

/// The demo while it goes on.
struct Story<'a> {
    context: &'a Context,
    yes: bool,
    sample: Sample,
    /// Empty before it is started.
    session: String,
}

// === impl Story ===

impl Story<'_> {
    async fn tell(&mut self, client: Client) -> Result<Outcome, Failure> {
        let before = self.read()?;
        let (client, session) = self.work(client).await?;
        if session.state() != v1::State::AwaitingReview {
            return decide::conclude(self.context, &client, session, decide::Review::Tell)
                .await
                .and_then(|_| Err(wrong("the agent's work does not wait for review")));
        }
        if self.read()? != before {
            return Err(wrong("the project changed before anything was approved"));
        }
        step(self.context, 3, "your project is untouched so far; this is what would change")?;
        let fetched = decide::fetch(&client, &session, Depth::Full).await?;
        decide::show(&self.context.output, &fetched, Depth::Full)?;
        match self.answer(&fetched).await? {
            Some(Answer::Yes) => {}
            Some(Answer::Keep | Answer::Reject | Answer::Screen) => return self.declined(&session, &before),
            None => return self.unasked(&session),
        }
        self.apply(&client, &fetched, &before).await?;
        self.undo(&client, &before).await?;
        let mut last = json::outcome(&session);
        last["digest"] = json!(fetched.header.digest);
        for fact in ["applied", "undone", "identical"] {
            last[fact] = json!(true);
        }
        self.context.output.json(&last)?;
        Ok(Outcome::DONE)
    }

    async fn work(&mut self, client: Client) -> Result<(Client, v1::Session), Failure> {
        step(self.context, 2, "a scripted agent fixes it in a sandbox, on a copy")?;
        let request = v1::StartRequest {
            project: bytes(self.sample.root()),
            agent: "shell".to_owned(),
            task: sample::SCRIPT.to_owned(),
            argv: Vec::new(),
            sandbox: String::new(),
            search_path: search_path(self.context),
            no_tests: true,
            ..v1::StartRequest::default()
        };
        self.session = client.sessions().start(request).await?.into_inner().session;
        let id = self.session.clone();
        let mut follower = Follower::new(self.context, client, id, 1, OnInterrupt::StopThenLeave)?;
        let session = follower.until_idle().await?;
        Ok((follower.into_position().0, session))
    }

    /// What the human says, or `None` when there is none to be asked.
    async fn answer(&self, fetched: &Fetched) -> Result<Option<Answer>, Failure> {
        if self.yes {
            return Ok(Some(Answer::Yes));
        }
        if !self.context.output.is_interactive() {
            return Ok(None);
        }
        decide::ask(self.context, fetched, false).await.map(Some)
    }

    fn declined(&self, session: &v1::Session, before: &Tree) -> Result<Outcome, Failure> {
        if self.read()? != *before {
            return Err(wrong("the project changed although nothing was approved"));
        }
        self.context.output.json(&json::outcome(session))?;
        self.context.output.line("\nNothing was applied: the project is byte for byte as it was.")?;
        Ok(Outcome::DONE)
    }

    fn unasked(&self, session: &v1::Session) -> Result<Outcome, Failure> {
        self.context.output.json(&json::outcome(session))?;
        if !self.context.output.is_json() {
            let hint = "nobody is at a terminal to approve; `ftlctl demo --yes` goes on without asking";
            self.context.output.note(hint)?;
        }
        Ok(Outcome::Exit(Exit::NeedsApproval))
    }

    async fn apply(&self, client: &Client, fetched: &Fetched, before: &Tree) -> Result<(), Failure> {
        step(self.context, 4, "approved: exactly the bytes of that digest are applied")?;
        let began = Instant::now();
        // Each by its name: what runs on this computer later is no part of a mere "everything".
        let mut meant = Meant::default();
        meant.selection.paths = fetched.entries.iter().map(|entry| entry.path.clone()).collect();
        let digest = &fetched.header.digest;
        let reply = decide::approve(client, &self.session, Shown { digest, whole: digest }, meant).await?;
        let time = duration(micros(began));
        let after = self.read()?;
        if after == *before {
            return Err(wrong("nothing was applied"));
        }
        let paths = plural(reply.paths_total, "path", "paths");
        self.context.output.line(&format!("   applied {paths} in {time}; {} is now:", sample::FIXED))?;
        let fixed = after.get(sample::FIXED).ok_or_else(|| wrong("the repaired file is missing"))?;
        for line in String::from_utf8_lossy(&fixed.content).lines() {
            self.context.output.line(&format!("   | {}", escape::name(line)))?;
        }
        Ok(())
    }

    async fn undo(&self, client: &Client, before: &Tree) -> Result<(), Failure> {
        step(self.context, 5, "and taken back")?;
        let began = Instant::now();
        let request = v1::UndoRequest { session: self.session.clone(), ..Default::default() };
        let reply = client.reviews().undo(request).await?.into_inner();
        let time = duration(micros(began));
        if self.read()? != *before {
            return Err(wrong("the project is not as it was before the changes were applied"));
        }
        let paths = plural(reply.paths_total, "path", "paths");
        let (files, style) = (before.len() as u64, self.context.output.style);
        let proof = format!("{} compared: byte for byte as in the beginning", plural(files, "path", "paths"));
        self.context.output.line(&format!("   put back {paths} in {time}"))?;
        self.context.output.line(&format!("   {}", style.paint(Tone::Good, &proof)))
    }

    fn read(&self) -> Result<Tree, Failure> {
        self.sample.read().map_err(Failure::io("read the demo's project"))
    }

    /// Removes the session and the project. Connects anew, since the story may have ended because the
    /// connection did.
    async fn clean_up(self) -> Result<(), Failure> {
        if !self.session.is_empty() {
            let client = self.context.connect().await?;
            let stop = v1::StopRequest { session: self.session.clone() };
            // Refused when the agent has ended, which is nearly always.
            let _ = client.sessions().stop(stop).await;
            client.sessions().remove(v1::RemoveRequest { session: self.session, discard: true }).await?;
        }
        self.sample.remove().map_err(Failure::io("remove the demo's project"))
    }
}

fn step(context: &Context, number: u32, what: &str) -> Result<(), Failure> {
    let gap = if number > 1 { "\n" } else { "" };
    context
        .output
        .line(&format!("{gap}{}", context.output.style.paint(Tone::Heading, &format!("{number}. {what}"))))
}

fn wrong(what: &str) -> Failure {
    Failure::Demo { what: what.to_owned() }
}

fn micros(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}
