//! Connections that became WebSockets.
//!
//! Owns the only place in the daemon where bytes are copied between a sandbox and a host without being
//! read. It copies for an [`Underway`] alone, so the handshake was judged, recorded and answered by the
//! host like every request. Must not know frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::guard::End;
use super::live::Underway;

/// Bytes that are copied at once.
const PIECE: usize = 16 << 10;

/// A WebSocket that is about to open.
pub(super) struct Opened {
    client: OnUpgrade,
    host: OnUpgrade,
    underway: Arc<Underway>,
}

impl Opened {
    /// A WebSocket whose handshake both sides agreed on.
    pub(super) fn new(client: OnUpgrade, host: OnUpgrade, underway: Arc<Underway>) -> Self {
        Self { client, host, underway }
    }

    /// Copies both ways until both sides have closed, nothing moves for `idle`, or it is no longer allowed.
    pub(super) async fn copy(self, idle: Duration) {
        let Self { client, host, underway } = self;
        let token = underway.token().clone();
        let both = async {
            let (Ok(client), Ok(host)) = tokio::join!(client, host) else { return };
            let (client_read, client_write) = halves(client);
            let (host_read, host_write) = halves(host);
            let moved = AtomicBool::new(false);
            let up = copy_one(client_read, host_write, &moved, |bytes| underway.add_up(bytes));
            let down = copy_one(host_read, client_write, &moved, |bytes| underway.add_down(bytes));
            tokio::select! {
                (up, down) = async { tokio::join!(up, down) } => {
                    if up.is_ok() && down.is_ok() {
                        underway.finish(End::Whole);
                    }
                }
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

async fn copy_one(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &AtomicBool,
    count: impl Fn(usize),
) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let read = match from.read(&mut piece).await {
            // Many sides end TLS by closing; the frames say themselves whether they are complete.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => 0,
            read => read?,
        };
        if read == 0 {
            return to.shutdown().await;
        }
        count(read);
        moved.store(true, Ordering::Relaxed);
        to.write_all(&piece[..read]).await?;
        to.flush().await?;
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
