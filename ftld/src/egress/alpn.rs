//! Which HTTP a TLS connection carries.
//!
//! Owns the offer that both sides of the proxy make in their handshakes, so that they can make the same.
//! Must not know certificates or connections.

/// What a handshake offers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Alpn {
    /// HTTP/2 first, then HTTP/1.1.
    Any,
    /// HTTP/1.1 alone, as a WebSocket needs it.
    Http1,
}

impl Alpn {
    /// The offer as TLS has it, the preferred first.
    #[must_use]
    pub fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Any => vec![HTTP2.to_vec(), HTTP1.to_vec()],
            Self::Http1 => vec![HTTP1.to_vec()],
        }
    }
}

/// Whether a handshake's outcome is HTTP/2. No outcome is HTTP/1.1.
#[must_use]
pub fn is_http2(agreed: Option<&[u8]>) -> bool {
    agreed == Some(HTTP2)
}

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";
