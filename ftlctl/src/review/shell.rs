//! Between the model and the world: keys in, calls out, a screen after each.
//!
//! Owns the loop of the review on a terminal. Must not decide anything: what a key means is `update`'s, what
//! is seen is `view`'s.

use crossterm::event::{Event, EventStream, KeyEventKind};
use ftl_proto::v1;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_stream::StreamExt as _;
use tonic::Streaming;

use crate::connect::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::render::style::Style;
use crate::render::{escape, json};
use crate::review::page::BESIDE;
use crate::review::remote::{Heard, Remote};
use crate::review::screen::Screen;
use crate::review::state::{Effect, State};
use crate::review::view::theme::Theme;
use crate::review::{End, editor};
use crate::terminal;

/// Entries that are taken before the screen is drawn again.
const BATCH: usize = 256;

struct Shell<'a> {
    context: &'a Context,
    remote: Remote,
    screen: Screen,
    theme: Theme,
    /// None while somebody else has the keyboard.
    keys: Option<EventStream>,
    /// Whether nobody tells what happens in the session.
    is_deaf: bool,
    state: State,
}

/// Reviews on the terminal until the human leaves or has decided.
pub(super) async fn run(
    context: &Context,
    client: &Client,
    session: v1::Session,
    header: v1::DiffHeader,
    items: Streaming<v1::DiffItem>,
) -> Result<End, Failure> {
    let io = || Failure::io("use the terminal");
    let (sender, mut heard) = unbounded_channel();
    let remote = Remote::new(client, &session, sender);
    remote.stream(header.clone(), items);
    remote.watch(session.last_seq + 1);
    let mut terminate = signal(SignalKind::terminate()).map_err(io())?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(io())?;
    terminal::forget_typed();
    let screen = Screen::enter().map_err(io())?;
    let state = State::new(session, header, screen.size());
    let theme = Theme { color: context.output.style == Style::Color };
    let mut shell =
        Shell { context, remote, screen, theme, keys: Some(EventStream::new()), is_deaf: false, state };
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        shell.state.list_again();
        shell.screen.draw(&shell.state, shell.theme).map_err(io())?;
        let end = tokio::select! {
            biased;
            _ = terminate.recv() => Some(End::Left),
            _ = hang_up.recv() => Some(End::Left),
            event = next(&mut shell.keys) => shell.event(event).await?,
            _ = take(&mut heard, &mut batch) => shell.hear(&mut batch).await?,
        };
        if let Some(end) = end {
            return Ok(end);
        }
    }
}

async fn next(keys: &mut Option<EventStream>) -> Option<std::io::Result<Event>> {
    match keys {
        Some(keys) => keys.next().await,
        None => std::future::pending().await,
    }
}

async fn take(heard: &mut UnboundedReceiver<Heard>, batch: &mut Vec<Heard>) -> usize {
    heard.recv_many(batch, BATCH).await
}

// === impl Shell ===

impl Shell<'_> {
    async fn event(&mut self, event: Option<std::io::Result<Event>>) -> Result<Option<End>, Failure> {
        let event = match event {
            Some(Ok(event)) => event,
            // Nobody can type any more.
            Some(Err(_)) | None => return Ok(Some(End::Left)),
        };
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                let effect = self.state.key(&key);
                return self.perform(effect).await;
            }
            Event::Mouse(event) => self.state.mouse(&event),
            Event::Paste(text) => self.state.paste(&text),
            Event::Resize(..) => self.resize()?,
            _ => {}
        }
        Ok(None)
    }

    async fn perform(&mut self, effect: Option<Effect>) -> Result<Option<End>, Failure> {
        match effect {
            None => {}
            Some(Effect::Quit) => return Ok(Some(End::Left)),
            Some(Effect::Preview(request, purpose)) => self.remote.preview(*request, purpose),
            Some(Effect::Approve(request)) => self.remote.approve(*request),
            Some(Effect::Reject(request)) => self.remote.reject(request),
            Some(Effect::Page(number, source)) => {
                let columns = usize::from(self.state.size.0.saturating_sub(BESIDE));
                self.remote.page(number, source, columns);
            }
            Some(Effect::EndPage) => self.remote.end_page(),
            Some(Effect::Reload) => self.remote.reload(),
            Some(Effect::Edit(what, bytes, path)) => {
                self.keys = None;
                self.screen.lend();
                let edited = editor::edit(self.context, &bytes, &path).await;
                self.screen.take_back().map_err(Failure::io("use the terminal"))?;
                self.keys = Some(EventStream::new());
                match edited {
                    Ok(bytes) => self.state.edited(what, bytes),
                    Err(error) => self.state.failed(escape::name(error.to_string())),
                }
                self.state.resize(self.screen.size());
            }
            Some(Effect::Suspend) => {
                self.keys = None;
                self.screen.suspend().map_err(Failure::io("use the terminal"))?;
                self.keys = Some(EventStream::new());
                self.state.resize(self.screen.size());
            }
        }
        Ok(None)
    }

    async fn hear(&mut self, batch: &mut Vec<Heard>) -> Result<Option<End>, Failure> {
        let was_asked = self.state.is_asked();
        for heard in batch.drain(..) {
            match heard {
                Heard::Entry(entry) => self.state.push(*entry),
                Heard::Complete => self.state.document.is_complete = true,
                Heard::Failed(text) => self.state.failed(text),
                Heard::Lines(number, lines) => self.state.lines(number, lines),
                Heard::PageOver(number, failed) => self.state.page_over(number, failed),
                Heard::Deaf(why) => {
                    self.is_deaf = true;
                    // A session that has ended tells nothing more, and said that it has.
                    if self.state.stale.is_none() {
                        self.state.grow_stale(why);
                    }
                }
                Heard::Previewed(request, purpose, whole) => {
                    self.state.previewed(*request, purpose, whole.0, whole.1);
                }
                Heard::Reloaded(session, document) => {
                    if std::mem::take(&mut self.is_deaf) {
                        self.remote.watch(session.last_seq + 1);
                    }
                    self.state.reloaded(*session, *document);
                }
                Heard::Moved(now) => self.moved(&now),
                Heard::Approved(reply) => return Ok(Some(End::Approved(reply))),
                Heard::Rejected(reply, go_on) => return Ok(Some(End::Rejected(reply, go_on))),
            }
        }
        if self.state.is_asked() && !was_asked {
            self.state.is_early = true;
            let shown = self.show_before_keys().await;
            self.state.is_early = false;
            shown?;
        }
        Ok(None)
    }

    /// What was typed before the approving screen could be seen is no answer to it. What to type stands there only
    /// when it counts.
    async fn show_before_keys(&mut self) -> Result<(), Failure> {
        self.screen.draw(&self.state, self.theme).map_err(Failure::io("use the terminal"))?;
        terminal::forget_typed();
        loop {
            tokio::select! {
                biased;
                event = next(&mut self.keys) => {
                    if let Some(Ok(Event::Resize(..))) = event {
                        self.resize()?;
                    }
                    if event.is_none() {
                        return Ok(());
                    }
                }
                () = std::future::ready(()) => return Ok(()),
            }
        }
    }

    fn resize(&mut self) -> Result<(), Failure> {
        self.screen.resize().map_err(Failure::io("use the terminal"))?;
        self.state.resize(self.screen.size());
        Ok(())
    }

    fn moved(&mut self, now: &v1::Session) {
        let is_same = now.digest == self.state.document.header.digest;
        if now.state() != v1::State::AwaitingReview {
            self.state.grow_stale(format!("the session is {} now", json::state(now.state())));
        } else if !is_same {
            self.state.grow_stale("the session's work is another now".to_owned());
        } else {
            self.state.stale = None;
        }
    }
}
