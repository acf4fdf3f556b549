//! Connections that became WebSockets.
//!
//! Owns what happens between a sandbox and a host once HTTP has ended: frames in order go on, a host's are
//! searched for values, what a sandbox sends counts as what leaves. It works for an [`Underway`] alone, so
//! the handshake was judged, recorded and answered by the host like every request. Must not know what a
//! frame is.
//!
//! A shadow in a sandbox's frame is text, as in a body: no real value is ever put in its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ftl_core::frames::{Frames, Side};
use ftl_core::scrub::Scrubber;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::NowUs;
use super::guard::End;
use super::limits::Volume;
use super::live::Underway;

/// Bytes that are read at once.
const PIECE: usize = 16 << 10;

/// A WebSocket that is about to open.
pub(super) struct Opened {
    client: OnUpgrade,
    host: OnUpgrade,
    underway: Arc<Underway>,
    scrubber: Option<Scrubber>,
}

/// Why a WebSocket is closed from here.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error(transparent)]
    Broken(#[from] std::io::Error),
    #[error(transparent)]
    Disordered(#[from] ftl_core::frames::FrameError),
    #[error("the session sends too much")]
    TooMuch,
}

impl Opened {
    /// A WebSocket whose handshake both sides agreed on. What its host sends is searched when there is a
    /// scrubber.
    pub(super) fn new(
        client: OnUpgrade,
        host: OnUpgrade,
        underway: Arc<Underway>,
        scrubber: Option<Scrubber>,
    ) -> Self {
        Self { client, host, underway, scrubber }
    }

    /// Passes frames both ways until both sides have closed, nothing moves for `idle`, a frame is not in
    /// order, or it is no longer allowed.
    pub(super) async fn pass(self, idle: Duration, volume: &Volume, now_us: &NowUs) {
        let Self { client, host, underway, scrubber } = self;
        let token = underway.token().clone();
        let both = async {
            let (Ok(client), Ok(host)) = tokio::join!(client, host) else { return };
            let (client_read, client_write) = halves(client);
            let (host_read, host_write) = halves(host);
            let moved = AtomicBool::new(false);
            let count_up = |read: usize, _: usize| {
                underway.add_up(read);
                volume.take(read as u64, now_us())
            };
            let count_down = |_: usize, sent: usize| {
                underway.add_down(sent);
                true
            };
            let up = Frames::new(Side::Sandbox, None);
            let down = Frames::new(Side::Host, scrubber);
            let up = pass_one(client_read, host_write, up, &moved, count_up);
            let down = pass_one(host_read, client_write, down, &moved, count_down);
            tokio::select! {
                ended = async { tokio::try_join!(up, down) } => match ended {
                    Ok((true, true)) => underway.finish(End::Whole),
                    // Dropping it says why: a revoked one may break before it is cancelled here.
                    Ok(_) => {}
                    Err(why) => tracing::debug!(%why, "a WebSocket is closed"),
                },
                () = stands_still(&moved, idle) => {}
            }
        };
        tokio::select! {
            () = token.cancelled() => underway.finish(End::Revoked),
            () = both => {}
        }
    }
}

fn halves(
    upgraded: Upgraded,
) -> (tokio::io::ReadHalf<TokioIo<Upgraded>>, tokio::io::WriteHalf<TokioIo<Upgraded>>) {
    tokio::io::split(TokioIo::new(upgraded))
}

/// Passes one direction's frames. `count` is told what was read and what goes on, and says whether it may.
/// Gives whether the last frame was whole.
async fn pass_one(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut frames: Frames,
    moved: &AtomicBool,
    count: impl Fn(usize, usize) -> bool,
) -> Result<bool, Closed> {
    let mut piece = vec![0; PIECE];
    let mut out = Vec::with_capacity(PIECE);
    loop {
        let read = match from.read(&mut piece).await {
            // Many sides end TLS by closing; the frames say themselves whether they are complete.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => 0,
            read => read?,
        };
        if read == 0 {
            to.shutdown().await?;
            return Ok(frames.is_whole());
        }
        moved.store(true, Ordering::Relaxed);
        out.clear();
        let ordered = frames.push(&piece[..read], &mut out);
        if !count(read, out.len()) {
            return Err(Closed::TooMuch);
        }
        to.write_all(&out).await?;
        to.flush().await?;
        ordered?;
    }
}

/// Ends when nothing moved between two looks.
async fn stands_still(moved: &AtomicBool, idle: Duration) {
    loop {
        tokio::time::sleep(idle).await;
        if !moved.swap(false, Ordering::Relaxed) {
            return;
        }
    }
}
