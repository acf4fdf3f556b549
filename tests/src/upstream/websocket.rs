//! WebSocket: every message comes back.
//!
//! Owns the handshake and so much of the framing as an echo needs (RFC 6455): masked frames of any length,
//! fragments as they come, ping, close.

use base64::Engine as _;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Answer, Tapped, full, service};

/// What RFC 6455 has every server hash with the client's key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The longest frame that is echoed.
const LONGEST: u64 = 1 << 20;

/// Answers the handshake and echoes from then on.
pub(super) fn answer(mut request: Request<Tapped>) -> Response<Answer> {
    let Some(key) = request.headers().get("sec-websocket-key") else {
        return service::text(426, "there is only a WebSocket here");
    };
    let hash = Sha1::new().chain_update(key.as_bytes()).chain_update(GUID).finalize();
    let accept = base64::engine::general_purpose::STANDARD.encode(hash);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            // The client may break off.
            let _ended = echo(TokioIo::new(upgraded)).await;
        }
    });
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert("sec-websocket-accept", accept);
    }
    response
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> std::io::Result<()> {
    loop {
        let mut head = [0; 2];
        stream.read_exact(&mut head).await?;
        let length = match head[1] & 0x7f {
            126 => u64::from(stream.read_u16().await?),
            127 => stream.read_u64().await?,
            short => u64::from(short),
        };
        if length > LONGEST || head[1] & 0x80 == 0 {
            return Ok(());
        }
        let mut mask = [0; 4];
        stream.read_exact(&mut mask).await?;
        let mut payload = vec![0; usize::try_from(length).unwrap_or_default()];
        stream.read_exact(&mut payload).await?;
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        // A ping is answered by a pong; everything else by itself.
        let first = if head[0] & 0xf == 9 { (head[0] & 0xf0) | 10 } else { head[0] };
        let mut frame = vec![first];
        match length {
            0..126 => frame.push(length.to_be_bytes()[7]),
            126..0x1_0000 => {
                frame.push(126);
                frame.extend_from_slice(&length.to_be_bytes()[6..]);
            }
            _ => {
                frame.push(127);
                frame.extend_from_slice(&length.to_be_bytes());
            }
        }
        frame.extend_from_slice(&payload);
        stream.write_all(&frame).await?;
        stream.flush().await?;
        if head[0] & 0xf == 8 {
            return stream.shutdown().await;
        }
    }
}
