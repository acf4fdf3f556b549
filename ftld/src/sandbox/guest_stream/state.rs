//! What is known of the programs on a stream.
//!
//! Owns credit, ends and the frames that wait to leave. Must not know tasks or the stream. Everything here is
//! done under one lock and never waits; who has to wait leaves a waker.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use ftl_guest::protocol::{Exit, Size, Spawn};
use ftl_guest::stream::{Channel, Frame as _, MAX_PAYLOAD, Reply, Request, WINDOW};
use tokio::io::ReadBuf;
use tokio::sync::{Notify, oneshot};

use super::malformed;

/// What may wait to leave before programs' input may add no more, bytes.
const BUSY: usize = 1 << 20;

/// What everybody on one stream shares.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Notify,
    closed: Notify,
}

#[derive(Default)]
struct State {
    /// Programs of which something may still be said, here or there.
    programs: HashMap<u64, Program>,
    /// The number of the last program that was asked for.
    last: u64,
    outgoing: Vec<u8>,
    closed: bool,
}

/// A program that was asked for.
struct Program {
    begun: Option<oneshot::Sender<Result<i32, NotBegun>>>,
    exit: Option<oneshot::Sender<Exit>>,
    input: Sending,
    output: Receiving,
    errors: Receiving,
}

/// A program's standard input.
struct Sending {
    /// What may still be sent, bytes.
    credit: usize,
    /// Nothing more is sent, or the program reads nothing more.
    ended: bool,
    writer: Option<Waker>,
}

/// One of its outputs.
struct Receiving {
    /// What arrived and was not read.
    arrived: VecDeque<u8>,
    /// What the guest may still send, bytes.
    room: usize,
    /// What was read and not given back as room, bytes.
    read: usize,
    /// No more bytes will follow.
    ended: bool,
    /// Nobody listens any more.
    forgotten: bool,
    reader: Option<Waker>,
}

/// A program that could not be started.
#[derive(Debug)]
pub(super) struct NotBegun {
    /// What could not be done.
    pub(super) stage: String,
    /// The system's error number.
    pub(super) errno: i32,
}

/// What whoever asked for a program waits for.
pub(super) struct Asked {
    /// Its number.
    pub(super) id: u64,
    /// That it began, with its process id.
    pub(super) begun: oneshot::Receiver<Result<i32, NotBegun>>,
    /// That it ended.
    pub(super) exit: oneshot::Receiver<Exit>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a program; `None` when the stream has ended.
    pub(super) fn spawn(&self, has_terminal: bool, request: impl FnOnce(u64) -> Spawn) -> Option<Asked> {
        let mut state = self.state();
        if state.closed {
            return None;
        }
        let id = state.last + 1;
        state.last = id;
        let ((begun, is_begun), (exit, is_over)) = (oneshot::channel(), oneshot::channel());
        let mut program = Program {
            begun: Some(begun),
            exit: Some(exit),
            input: Sending { credit: WINDOW, ended: false, writer: None },
            output: Receiving::new(),
            errors: Receiving::new(),
        };
        // A terminal has one output.
        program.errors.ended = has_terminal;
        state.programs.insert(id, program);
        state.send(&Request::Spawn(Box::new(request(id))));
        drop(state);
        self.changed.notify_one();
        Some(Asked { id, begun: is_begun, exit: is_over })
    }

    /// Hears a frame of the guest's.
    ///
    /// # Errors
    /// When it breaks a rule; the stream must be given up then.
    pub(super) fn hear(&self, reply: Reply) -> io::Result<()> {
        self.state().hear(reply)
    }

    /// Sends a signal to a program.
    ///
    /// # Errors
    /// When the stream has ended.
    pub(super) fn signal(&self, id: u64, signal: i32) -> io::Result<()> {
        self.ask(&Request::Signal { id, signal })
    }

    /// Gives a program's terminal another size.
    ///
    /// # Errors
    /// When the stream has ended.
    pub(super) fn resize(&self, id: u64, size: Size) -> io::Result<()> {
        self.ask(&Request::Resize { id, size })
    }

    /// How many programs are known.
    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.state().programs.len()
    }

    fn ask(&self, request: &Request) -> io::Result<()> {
        let mut state = self.state();
        if state.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.send(request);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// What waits to leave, as soon as something does; `None` when the stream has ended.
    pub(super) async fn outgoing(&self) -> Option<Vec<u8>> {
        loop {
            // Asked for before looking, so that no change is missed.
            let changed = self.changed.notified();
            {
                let mut state = self.state();
                if state.closed {
                    return None;
                }
                if !state.outgoing.is_empty() {
                    let bytes = std::mem::take(&mut state.outgoing);
                    let writers = state.programs.values_mut().filter_map(|known| known.input.writer.take());
                    writers.for_each(Waker::wake);
                    return Some(bytes);
                }
            }
            changed.await;
        }
    }

    /// The stream has ended.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for program in state.programs.values_mut() {
            // Whoever waits for them is told by the drop.
            (program.begun, program.exit) = (None, None);
            program.wake();
        }
        drop(state);
        self.changed.notify_one();
        self.closed.notify_waiters();
    }

    /// Resolves when the stream has ended.
    pub(super) async fn closed(&self) {
        loop {
            let closed = self.closed.notified();
            let mut closed = std::pin::pin!(closed);
            // From here on a close is not missed.
            closed.as_mut().enable();
            if self.state().closed {
                return;
            }
            closed.await;
        }
    }

    /// Reads from one of a program's outputs.
    pub(super) fn poll_read(
        &self,
        (id, channel): (u64, Channel),
        context: &Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state();
        let closed = state.closed;
        let Some(program) = state.programs.get_mut(&id) else { return Poll::Ready(Ok(())) };
        let receiving = program.receiving(channel);
        let (front, _) = receiving.arrived.as_slices();
        let count = front.len().min(buffer.remaining());
        if count == 0 {
            if !receiving.arrived.is_empty() || receiving.ended || closed {
                return Poll::Ready(Ok(()));
            }
            receiving.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        buffer.put_slice(&front[..count]);
        receiving.arrived.drain(..count);
        receiving.read += count;
        if receiving.read >= WINDOW / 2 && !receiving.ended {
            let bytes = std::mem::take(&mut receiving.read);
            receiving.room += bytes;
            state.send(&Request::Read { id, channel, bytes: bytes as u32 });
            self.changed.notify_one();
        }
        Poll::Ready(Ok(()))
    }

    /// Writes to a program's standard input.
    pub(super) fn poll_write(&self, id: u64, context: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        let (closed, busy) = (state.closed, state.outgoing.len() >= BUSY);
        let gone = || Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        let Some(program) = state.programs.get_mut(&id) else { return gone() };
        let input = &mut program.input;
        if closed || input.ended {
            return gone();
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let count = bytes.len().min(input.credit).min(MAX_PAYLOAD);
        if count == 0 || busy {
            input.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        input.credit -= count;
        state.send(&Request::Input { id, bytes: bytes[..count].into() });
        self.changed.notify_one();
        Poll::Ready(Ok(count))
    }

    /// Ends a program's standard input.
    pub(super) fn end_input(&self, id: u64) {
        let mut state = self.state();
        if let Some(program) = state.programs.get_mut(&id)
            && !program.input.ended
        {
            program.input.ended = true;
            state.send(&Request::InputEnd { id });
            self.changed.notify_one();
        }
        state.tidy(id);
    }

    /// Forgets one of a program's outputs, to which nobody listens any more.
    pub(super) fn forget(&self, id: u64, channel: Channel) {
        let mut state = self.state();
        let Some(program) = state.programs.get_mut(&id) else { return };
        let receiving = program.receiving(channel);
        let had_ended = std::mem::replace(&mut receiving.ended, true);
        receiving.forgotten = true;
        receiving.arrived = VecDeque::new();
        if !had_ended {
            state.send(&Request::Forget { id, channel });
            self.changed.notify_one();
        }
        state.tidy(id);
    }
}

impl State {
    fn send(&mut self, request: &Request) {
        if !self.closed {
            request.encode(&mut self.outgoing);
        }
    }

    fn hear(&mut self, reply: Reply) -> io::Result<()> {
        let id = match &reply {
            Reply::Ready(_) | Reply::Failed(_) => return Err(malformed()),
            Reply::Spawned { id, .. }
            | Reply::NotSpawned { id, .. }
            | Reply::Taken { id, .. }
            | Reply::InputGone { id }
            | Reply::Output { id, .. }
            | Reply::OutputEnd { id, .. }
            | Reply::Exited { id, .. } => *id,
        };
        if id > self.last {
            return Err(malformed());
        }
        // One that is forgotten here may still be spoken of there.
        let Some(program) = self.programs.get_mut(&id) else { return Ok(()) };
        match (reply, program.begun.take()) {
            (Reply::Spawned { pid, .. }, Some(begun)) => {
                // Whoever asked may have gone; the program runs on.
                let _ = begun.send(Ok(pid));
            }
            (Reply::NotSpawned { stage, errno, .. }, Some(begun)) => {
                let stage = stage.chars().filter(|c| !c.is_control()).take(40).collect();
                let _ = begun.send(Err(NotBegun { stage, errno }));
                self.programs.remove(&id);
            }
            // It has begun, and is spoken of as one that did.
            (reply, None) => {
                program.hear(reply)?;
                self.tidy(id);
            }
            (_, Some(_)) => return Err(malformed()),
        }
        Ok(())
    }

    /// Forgets a program of which nobody has anything more to say.
    fn tidy(&mut self, id: u64) {
        if self.programs.get(&id).is_some_and(Program::is_over) {
            self.programs.remove(&id);
        }
    }
}

impl Program {
    fn hear(&mut self, reply: Reply) -> io::Result<()> {
        match reply {
            Reply::Taken { bytes, .. } => {
                self.input.credit = self.input.credit.saturating_add(bytes as usize);
                if self.input.credit > WINDOW {
                    return Err(malformed());
                }
                self.input.writer.take().into_iter().for_each(Waker::wake);
            }
            Reply::InputGone { .. } => {
                self.input.ended = true;
                self.input.writer.take().into_iter().for_each(Waker::wake);
            }
            Reply::Output { channel, bytes, .. } => self.receiving(channel).take(bytes)?,
            Reply::OutputEnd { channel, .. } => {
                let receiving = self.receiving(channel);
                if receiving.ended && !receiving.forgotten {
                    return Err(malformed());
                }
                receiving.ended = true;
                receiving.reader.take().into_iter().for_each(Waker::wake);
            }
            Reply::Exited { status, .. } => {
                let exit = self.exit.take().ok_or_else(malformed)?;
                let _ = exit.send(status);
            }
            Reply::Ready(_) | Reply::Failed(_) | Reply::Spawned { .. } | Reply::NotSpawned { .. } => {
                return Err(malformed());
            }
        }
        Ok(())
    }

    fn receiving(&mut self, channel: Channel) -> &mut Receiving {
        match channel {
            Channel::Output => &mut self.output,
            Channel::Errors => &mut self.errors,
        }
    }

    fn is_over(&self) -> bool {
        let heard = |receiving: &Receiving| receiving.ended && receiving.arrived.is_empty();
        let silent = self.input.ended && heard(&self.output) && heard(&self.errors);
        silent && self.begun.is_none() && self.exit.is_none()
    }

    fn wake(&mut self) {
        let (output, errors) = (self.output.reader.take(), self.errors.reader.take());
        let all = [output, errors, self.input.writer.take()];
        all.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Receiving {
    fn new() -> Self {
        Self { arrived: VecDeque::new(), room: WINDOW, read: 0, ended: false, forgotten: false, reader: None }
    }

    fn take(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        if self.forgotten {
            // It was on its way.
            return Ok(());
        }
        if self.ended || bytes.len() > self.room {
            return Err(malformed());
        }
        self.room -= bytes.len();
        self.arrived.extend(bytes);
        self.reader.take().into_iter().for_each(Waker::wake);
        Ok(())
    }
}
