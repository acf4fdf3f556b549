//! What is known of the connections on a stream.
//!
//! Owns credit, ends and the frames that wait to leave. Must not know tasks or the stream. Everything
//! here is done under one lock and never waits; who has to wait leaves a waker.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddrV4;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use ftl_guest::relay::{FIRST_CREDIT, Frame, MAX_PAYLOAD, MOST_CONNECTIONS, WINDOW};
use tokio::io::ReadBuf;
use tokio::sync::Notify;

use super::malformed;

/// What may wait to leave before connections may add no more, bytes.
const BUSY: usize = 1 << 20;

/// What may wait to leave at all, bytes: a relay that says much and reads nothing is cut off.
const TOO_MUCH: usize = 4 << 20;

/// What everybody on one stream shares.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    connections: HashMap<u32, Known>,
    /// The number of the last connection.
    last: u32,
    outgoing: Vec<u8>,
    /// The stream has ended.
    closed: bool,
    /// Nobody uses it any more.
    leaving: bool,
}

/// What is known of one connection.
struct Known {
    /// What arrived and was not read.
    arrived: VecDeque<u8>,
    /// What the relay may still send, bytes.
    room: usize,
    /// What was read and not given back as room, bytes.
    read: usize,
    /// What may still be sent to the relay, bytes.
    credit: usize,
    relay: Relay,
    /// This end sends no more.
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What the relay still does with a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relay {
    /// Sends and takes.
    Open,
    /// Takes.
    Ended,
    /// Nothing.
    Gone,
}

/// What follows from a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing for others.
    Nothing,
    /// A connection was opened.
    Opened {
        /// Which.
        id: u32,
        /// Where it wanted to go.
        origin: Option<SocketAddrV4>,
    },
    /// A name was asked for.
    Asked {
        /// The question's number.
        id: u32,
        /// The question.
        message: Vec<u8>,
    },
}

impl Known {
    fn new() -> Self {
        Self {
            arrived: VecDeque::new(),
            room: FIRST_CREDIT,
            read: 0,
            credit: WINDOW,
            relay: Relay::Open,
            ended: false,
            reader: None,
            writer: None,
        }
    }

    fn is_over(&self) -> bool {
        self.relay == Relay::Gone || self.ended && self.relay == Relay::Ended
    }

    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears a frame of the relay's.
    ///
    /// # Errors
    /// When it breaks a rule; the stream must be given up then.
    pub(super) fn hear(&self, frame: Frame) -> io::Result<Heard> {
        self.state().hear(frame)
    }

    /// Sends a frame that is not limited by credit.
    pub(super) fn send(&self, frame: &Frame) {
        self.state().send(frame);
        self.changed.notify_one();
    }

    /// What waits to leave, as soon as something does; `None` when nothing ever will.
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
                    for known in state.connections.values_mut() {
                        known.writer.take().into_iter().for_each(Waker::wake);
                    }
                    return Some(bytes);
                }
                if state.leaving {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// The stream has ended, one way or the other.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.connections.values_mut().for_each(Known::wake);
        drop(state);
        self.changed.notify_one();
    }

    /// Nobody uses the stream any more; what waits still leaves.
    pub(super) fn leave(&self) {
        self.state().leaving = true;
        self.changed.notify_one();
    }

    /// Somebody has taken a connection: its program may send more now.
    pub(super) fn welcome(&self, id: u32) {
        let mut state = self.state();
        if let Some(known) = state.connections.get_mut(&id) {
            let more = WINDOW - FIRST_CREDIT;
            known.room += more;
            state.send(&Frame::Window { id, bytes: more as u32 });
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Reads from a connection.
    pub(super) fn poll_read(
        &self,
        id: u32,
        context: &Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state();
        let closed = state.closed;
        let Some(known) = state.connections.get_mut(&id) else { return Poll::Ready(Err(malformed())) };
        let (front, _) = known.arrived.as_slices();
        let count = front.len().min(buffer.remaining());
        if count == 0 && !known.arrived.is_empty() {
            // No room to read into.
            return Poll::Ready(Ok(()));
        }
        if count == 0 {
            return match known.relay {
                Relay::Ended => Poll::Ready(Ok(())),
                Relay::Open if !closed => {
                    known.reader = Some(context.waker().clone());
                    Poll::Pending
                }
                Relay::Open | Relay::Gone => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            };
        }
        buffer.put_slice(&front[..count]);
        known.arrived.drain(..count);
        known.read += count;
        if known.read >= WINDOW / 2 && known.relay == Relay::Open {
            let bytes = std::mem::take(&mut known.read);
            known.room += bytes;
            state.send(&Frame::Window { id, bytes: bytes as u32 });
            self.changed.notify_one();
        }
        Poll::Ready(Ok(()))
    }

    /// Writes to a connection.
    pub(super) fn poll_write(&self, id: u32, context: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        let (closed, busy) = (state.closed, state.outgoing.len() >= BUSY);
        let Some(known) = state.connections.get_mut(&id) else { return Poll::Ready(Err(malformed())) };
        if closed || known.ended || known.relay == Relay::Gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(known.credit).min(MAX_PAYLOAD);
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if count == 0 || busy {
            known.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        known.credit -= count;
        state.send(&Frame::Data { id, bytes: bytes[..count].into() });
        self.changed.notify_one();
        Poll::Ready(Ok(count))
    }

    /// Ends what is written to a connection.
    pub(super) fn end(&self, id: u32) {
        let mut state = self.state();
        if let Some(known) = state.connections.get_mut(&id)
            && !known.ended
        {
            known.ended = true;
            state.send(&Frame::End { id });
            self.changed.notify_one();
        }
    }

    /// Forgets a connection that nobody uses any more.
    pub(super) fn forget(&self, id: u32) {
        let mut state = self.state();
        if state.connections.remove(&id).is_some_and(|known| !known.is_over()) {
            state.send(&Frame::Reset { id });
            self.changed.notify_one();
        }
    }
}

impl State {
    fn send(&mut self, frame: &Frame) {
        if !self.closed {
            frame.encode(&mut self.outgoing);
        }
    }

    fn hear(&mut self, frame: Frame) -> io::Result<Heard> {
        if self.outgoing.len() > TOO_MUCH {
            return Err(malformed());
        }
        let id = match frame {
            Frame::Open { id, origin } => {
                let open = self.connections.values().filter(|known| !known.is_over()).count();
                if id <= self.last || open >= MOST_CONNECTIONS {
                    return Err(malformed());
                }
                self.last = id;
                self.connections.insert(id, Known::new());
                return Ok(Heard::Opened { id, origin });
            }
            Frame::Query { id, message } => return Ok(Heard::Asked { id, message }),
            Frame::Hello { .. } | Frame::Answer { .. } => return Err(malformed()),
            Frame::Data { id, .. } | Frame::Window { id, .. } | Frame::End { id } | Frame::Reset { id } => id,
        };
        if id > self.last {
            return Err(malformed());
        }
        // One that is forgotten here may still be spoken of there.
        let Some(known) = self.connections.get_mut(&id) else { return Ok(Heard::Nothing) };
        match frame {
            Frame::Data { bytes, .. } => {
                if known.relay != Relay::Open || bytes.len() > known.room {
                    return Err(malformed());
                }
                known.room -= bytes.len();
                known.arrived.extend(bytes);
            }
            Frame::Window { bytes, .. } => {
                known.credit = known.credit.saturating_add(bytes as usize);
                if known.credit > WINDOW {
                    return Err(malformed());
                }
            }
            Frame::End { .. } if known.relay == Relay::Open => known.relay = Relay::Ended,
            Frame::Reset { .. } => known.relay = Relay::Gone,
            _ => return Err(malformed()),
        }
        known.wake();
        Ok(Heard::Nothing)
    }
}
