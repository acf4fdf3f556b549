//! WebSocket: every message comes back, and with `?reflect=N` the credential first, in fragments.
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
    let size = service::parameter(request.uri(), "reflect").and_then(|size| size.parse::<usize>().ok());
    let carried =
        request.headers().get(header::AUTHORIZATION).map_or(Vec::new(), |value| value.as_bytes().into());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let mut stream = TokioIo::new(upgraded);
            // The client may break off.
            let _ended = match size {
                Some(size) => stream.write_all(&fragments(&carried, size.max(1))).await,
                None => Ok(()),
            };
            let _ended = echo(stream).await;
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

/// A message in fragments of so many bytes, with a ping behind each.
fn fragments(payload: &[u8], size: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let count = payload.chunks(size).count();
    for (at, piece) in payload.chunks(size.min(125)).enumerate() {
        let first = u8::from(at == 0) | if at + 1 == count { 0x80 } else { 0 };
        all.extend([first, u8::try_from(piece.len()).unwrap_or_default()]);
        all.extend_from_slice(piece);
        all.extend([0x89, 0]);
    }
    all
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
