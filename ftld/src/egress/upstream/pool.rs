//! The connections that a session keeps.
//!
//! Owns which connection a route gets: an idle HTTP/1 one, the shared HTTP/2 one, or a new one; and when
//! one is let go. Must not know requests. A connection is found by its whole route only, so that two hosts,
//! TLS and none, and requests with a credential and without never meet on one.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;

use super::line::Line;
use super::{Outgoing, UpstreamError};
use crate::egress::alpn::Alpn;
use crate::egress::dial::{Dialer, Route};

/// Idle HTTP/1 connections that a session keeps.
pub(super) const MOST_IDLE: usize = 32;
/// A connection that was not used in two sweeps is closed by the second, so after 30 to 60 seconds.
const SWEEP: Duration = Duration::from_secs(30);
/// Routes of which it is remembered that they speak HTTP/1.
const MOST_KNOWN: usize = 1024;
/// Longest head of a response and of its trailers, bytes.
const LONGEST_HEAD: usize = 64 * 1024;
/// Most headers of an HTTP/1 response.
const MOST_HEADERS: usize = 100;
/// What an HTTP/2 host may send ahead of what is read, bytes: of one response, of all.
const WINDOWS: (u32, u32) = (1 << 20, 4 << 20);
/// An HTTP/2 connection in use is asked for a sign of life this often, and has this long to give one.
const ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// All connections of one session.
pub(super) struct Pool {
    dialer: Arc<Dialer>,
    state: Arc<Mutex<State>>,
}

/// A connection that takes one request.
pub(super) struct Handle {
    route: Route,
    sender: Sender,
    closed: CancellationToken,
    state: Weak<Mutex<State>>,
}

enum Sender {
    Http1(http1::SendRequest<Outgoing>),
    Http2(http2::SendRequest<Outgoing>),
}

#[derive(Default)]
struct State {
    /// The one used last stands at the end.
    idle: Vec<Idle>,
    shared: HashMap<Route, Shared>,
    /// Routes that speak HTTP/1 and so get as many connections at once as they like.
    http1: HashSet<Route>,
    /// Held while a route's first connection is opened: if it is HTTP/2, all others share it.
    opening: HashMap<Route, Arc<tokio::sync::Mutex<()>>>,
    /// Every connection there is, by number.
    live: HashMap<u64, (Route, CancellationToken)>,
    last: u64,
    sweeping: bool,
}

struct Idle {
    route: Route,
    sender: http1::SendRequest<Outgoing>,
    closed: CancellationToken,
    swept: bool,
}

struct Shared {
    sender: http2::SendRequest<Outgoing>,
    closed: CancellationToken,
    swept: bool,
}

/// A connection's place among the live ones.
struct Place {
    number: u64,
    state: Weak<Mutex<State>>,
}

impl Pool {
    /// No connections yet.
    pub(super) fn new(dialer: Arc<Dialer>) -> Self {
        Self { dialer, state: Arc::default() }
    }

    /// A connection for this route, and whether it was used before.
    pub(super) async fn get(&self, route: &Route) -> Result<(Handle, bool), UpstreamError> {
        if let Some(handle) = self.kept(route) {
            return Ok((handle, true));
        }
        let Some(gate) = lock(&self.state).gate(route) else {
            return Ok((self.open(route).await?, false));
        };
        if let Ok(first) = gate.try_lock() {
            let opened = self.open(route).await;
            drop(first);
            lock(&self.state).opening.remove(route);
            return Ok((opened?, false));
        }
        // Whatever came of the first, the next ones do not wait for each other.
        drop(gate.lock().await);
        match self.kept(route) {
            Some(handle) => Ok((handle, true)),
            None => Ok((self.open(route).await?, false)),
        }
    }

    /// A new connection for this route.
    pub(super) async fn open(&self, route: &Route) -> Result<Handle, UpstreamError> {
        let closed = CancellationToken::new();
        let place = self.place(route, &closed);
        let dialed = tokio::select! {
            biased;
            () = closed.cancelled() => return Err(UpstreamError::Closed),
            dialed = self.dialer.connect(route) => dialed?,
        };
        let line = TokioIo::new(Line::new(dialed.stream, &closed, place));
        let sender = if dialed.http2 {
            let sender = start_http2(line).await.map_err(UpstreamError::Broken)?;
            self.share(route, &sender, &closed);
            Sender::Http2(sender)
        } else {
            lock(&self.state).speaks_http1(route);
            Sender::Http1(start_http1(line).await.map_err(UpstreamError::Broken)?)
        };
        Ok(self.handle(route, sender, closed))
    }

    /// Closes every connection of the routes that are meant.
    pub(super) fn close_where(&self, meant: impl Fn(&Route) -> bool) {
        let mut state = lock(&self.state);
        // The senders end when they are dropped, outside of the lock.
        let idle: Vec<Idle> = state.idle.extract_if(.., |idle| meant(&idle.route)).collect();
        let shared: Vec<_> = state.shared.extract_if(|route, _| meant(route)).collect();
        let live: Vec<CancellationToken> =
            state.live.values().filter(|(route, _)| meant(route)).map(|(_, closed)| closed.clone()).collect();
        drop(state);
        for closed in live {
            closed.cancel();
        }
        drop((idle, shared));
    }

    fn kept(&self, route: &Route) -> Option<Handle> {
        let mut state = lock(&self.state);
        if let Some(shared) = state.shared.get_mut(route) {
            if shared.sender.is_ready() && !shared.closed.is_cancelled() {
                shared.swept = false;
                let (sender, closed) = (shared.sender.clone(), shared.closed.clone());
                return Some(self.handle(route, Sender::Http2(sender), closed));
            }
            state.shared.remove(route);
        }
        state.idle.retain(|idle| idle.sender.is_ready() && !idle.closed.is_cancelled());
        let place = state.idle.iter().rposition(|idle| idle.route == *route)?;
        let Idle { sender, closed, .. } = state.idle.remove(place);
        Some(self.handle(route, Sender::Http1(sender), closed))
    }

    fn handle(&self, route: &Route, sender: Sender, closed: CancellationToken) -> Handle {
        Handle { route: route.clone(), sender, closed, state: Arc::downgrade(&self.state) }
    }

    fn place(&self, route: &Route, closed: &CancellationToken) -> Place {
        let mut state = lock(&self.state);
        state.last += 1;
        let number = state.last;
        state.live.insert(number, (route.clone(), closed.clone()));
        Place { number, state: Arc::downgrade(&self.state) }
    }

    fn share(&self, route: &Route, sender: &http2::SendRequest<Outgoing>, closed: &CancellationToken) {
        let shared = Shared { sender: sender.clone(), closed: closed.clone(), swept: false };
        lock(&self.state).shared.insert(route.clone(), shared);
        sweep_later(&self.state);
    }

    /// Connections that are kept for the next request.
    #[cfg(test)]
    pub(super) fn kept_now(&self) -> usize {
        let state = lock(&self.state);
        state.idle.len() + state.shared.len()
    }

    /// Connections that there are.
    #[cfg(test)]
    pub(super) fn live_now(&self) -> usize {
        lock(&self.state).live.len()
    }

    /// One sweep, as the passing of time does it.
    #[cfg(test)]
    pub(super) fn sweep(&self) -> bool {
        sweep(&self.state)
    }
}

impl Handle {
    /// Where it leads.
    pub(super) fn route(&self) -> &Route {
        &self.route
    }

    /// Whether it speaks HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// Cancelled when the connection is closed from here.
    pub(super) fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// Sends a request. An HTTP/1 connection is kept again once the response is read to its end; when the
    /// response is dropped before, the connection ends.
    pub(super) async fn send(
        self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Outgoing>>> {
        let Self { route, sender, closed, state } = self;
        match sender {
            Sender::Http2(mut sender) => sender.try_send_request(request).await,
            Sender::Http1(mut sender) => {
                let response = sender.try_send_request(request).await?;
                if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    tokio::spawn(async move {
                        if sender.ready().await.is_ok()
                            && let Some(state) = state.upgrade()
                        {
                            keep(&state, Idle { route, sender, closed, swept: false });
                        }
                    });
                }
                Ok(response)
            }
        }
    }
}

impl State {
    /// What the first connection of a route is opened behind; none when nobody needs to wait for it.
    fn gate(&mut self, route: &Route) -> Option<Arc<tokio::sync::Mutex<()>>> {
        if route.alpn() == Alpn::Http1 || self.http1.contains(route) {
            return None;
        }
        Some(Arc::clone(self.opening.entry(route.clone()).or_default()))
    }

    fn speaks_http1(&mut self, route: &Route) {
        if route.alpn() == Alpn::Any {
            if self.http1.len() >= MOST_KNOWN {
                // What is forgotten is found out again by one connection.
                self.http1.clear();
            }
            self.http1.insert(route.clone());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(state) = self.state.upgrade() {
            lock(&state).live.remove(&self.number);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps an idle connection, instead of the one that is idle for longest when there are too many.
fn keep(state: &Arc<Mutex<State>>, idle: Idle) {
    if idle.closed.is_cancelled() {
        return;
    }
    let mut locked = lock(state);
    let least = (locked.idle.len() >= MOST_IDLE).then(|| locked.idle.remove(0));
    locked.idle.push(idle);
    drop(locked);
    drop(least);
    sweep_later(state);
}

/// Sweeps from now on until nothing is kept.
fn sweep_later(state: &Arc<Mutex<State>>) {
    if std::mem::replace(&mut lock(state).sweeping, true) {
        return;
    }
    let state = Arc::downgrade(state);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(SWEEP).await;
            match state.upgrade() {
                Some(state) if sweep(&state) => {}
                _ => return,
            }
        }
    });
}

/// Lets go of what was not used since the last sweep, and says whether anything is left. Requests that are
/// under way on a shared connection run to their end.
fn sweep(state: &Mutex<State>) -> bool {
    let mut state = lock(state);
    let idle: Vec<Idle> =
        state.idle.extract_if(.., |idle| std::mem::replace(&mut idle.swept, true)).collect();
    let shared: Vec<_> =
        state.shared.extract_if(|_, shared| std::mem::replace(&mut shared.swept, true)).collect();
    state.sweeping = !(state.idle.is_empty() && state.shared.is_empty());
    let left = state.sweeping;
    drop(state);
    drop((idle, shared));
    left
}

async fn start_http1(line: TokioIo<Line<Place>>) -> Result<http1::SendRequest<Outgoing>, hyper::Error> {
    let mut builder = http1::Builder::new();
    builder.max_headers(MOST_HEADERS).max_header_size(LONGEST_HEAD);
    let (mut sender, connection) = builder.handshake(line).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to a host ended");
        }
    });
    sender.ready().await?;
    Ok(sender)
}

async fn start_http2(line: TokioIo<Line<Place>>) -> Result<http2::SendRequest<Outgoing>, hyper::Error> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(LONGEST_HEAD as u32)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .keep_alive_interval(ALIVE.0)
        .keep_alive_timeout(ALIVE.1);
    let (mut sender, connection) = builder.handshake(line).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a host ended");
        }
    });
    sender.ready().await?;
    Ok(sender)
}
