//! How a pipe travels where descriptors cannot: many connections over one stream of bytes.
//!
//! Owns the frames, their bytes and the limits that both ends keep. Must not know sockets. A frame is a
//! number (four bytes, little endian), a kind (one byte), a length (four bytes) and that many bytes:
//!
//! ```text
//! relay                              daemon
//!   Hello                   ──────>           once, first
//!   Open                    ──────>           a program connected
//!   Data, End, Window, Reset <────>           about a connection that was opened
//!   Query                   ──────>           a program asked for a name
//!                           <──────  Answer   to that; empty when there is none
//! ```
//!
//! Each end may send a connection's data as far as it has credit: at first [`FIRST_CREDIT`] towards the
//! daemon, [`WINDOW`] towards the relay; a `Window` gives more. So one slow connection holds up no other.

use std::net::SocketAddrV4;

use crate::arrived::Arrived;

/// What the helper is called with to be the relay as one of a sandbox's own programs.
pub const INSIDE: &str = "relay-inside";

/// The first byte of a hello.
const VERSION: u8 = 1;

/// The most bytes in one frame.
pub const MAX_PAYLOAD: usize = 32 << 10;

/// The most credit that a connection ever has, bytes.
pub const WINDOW: usize = 256 << 10;

/// What a program may have sent before the daemon has taken its connection, bytes.
pub const FIRST_CREDIT: usize = 16 << 10;

/// The most connections that are open at the same time.
pub const MOST_CONNECTIONS: usize = 1024;

/// The most questions that wait for an answer at the same time.
pub const MOST_QUESTIONS: usize = 64;

/// The longest question, bytes.
pub const LONGEST_QUESTION: usize = 4096;

/// Bytes before a frame's own.
const HEADER: usize = 9;

/// One message between a relay and the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The relay is there.
    Hello {
        /// Whether connections of programs that do not know of the proxy are redirected.
        redirected: bool,
    },
    /// A program connected.
    Open {
        /// Its number; higher than every number before.
        id: u32,
        /// Where it wanted to go, when it was redirected.
        origin: Option<SocketAddrV4>,
    },
    /// Bytes of a connection.
    Data {
        /// Which.
        id: u32,
        /// They; not empty.
        bytes: Vec<u8>,
    },
    /// More credit for the other end.
    Window {
        /// For which connection.
        id: u32,
        /// How much more, bytes.
        bytes: u32,
    },
    /// No more bytes of a connection will follow from here.
    End {
        /// Which.
        id: u32,
    },
    /// A connection is over both ways. What was sent before it is still delivered.
    Reset {
        /// Which.
        id: u32,
    },
    /// A question for a name.
    Query {
        /// Its number; no other question that waits has it.
        id: u32,
        /// In DNS's wire format.
        message: Vec<u8>,
    },
    /// The answer to a question.
    Answer {
        /// Which.
        id: u32,
        /// In the same format; empty when there is none.
        message: Vec<u8>,
    },
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes that are no frame of a relay")]
pub struct Malformed;

/// Makes frames of bytes as they arrive.
#[derive(Debug, Default)]
pub struct Decoder(Arrived);

impl Frame {
    /// Adds its bytes to `out`. Data, questions and answers must not be longer than [`MAX_PAYLOAD`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello { redirected } => put(out, 0, 0, &[VERSION, u8::from(*redirected)]),
            Self::Open { id, origin: None } => put(out, *id, 1, &[]),
            Self::Open { id, origin: Some(origin) } => {
                let [a, b, c, d] = origin.ip().octets();
                let [high, low] = origin.port().to_be_bytes();
                put(out, *id, 1, &[a, b, c, d, high, low]);
            }
            Self::Data { id, bytes } => put(out, *id, 2, bytes),
            Self::Window { id, bytes } => put(out, *id, 3, &bytes.to_le_bytes()),
            Self::End { id } => put(out, *id, 4, &[]),
            Self::Reset { id } => put(out, *id, 5, &[]),
            Self::Query { id, message } => put(out, *id, 6, message),
            Self::Answer { id, message } => put(out, *id, 7, message),
        }
    }

    fn decode(id: u32, kind: u8, payload: &[u8]) -> Result<Self, Malformed> {
        match (kind, payload) {
            (0, [VERSION, redirected @ (0 | 1)]) if id == 0 => {
                Ok(Self::Hello { redirected: *redirected == 1 })
            }
            (1, []) => Ok(Self::Open { id, origin: None }),
            (1, &[a, b, c, d, high, low]) => {
                let origin = SocketAddrV4::new([a, b, c, d].into(), u16::from_be_bytes([high, low]));
                Ok(Self::Open { id, origin: Some(origin) })
            }
            (2, bytes @ [_, ..]) => Ok(Self::Data { id, bytes: bytes.into() }),
            (3, &[a, b, c, d]) => Ok(Self::Window { id, bytes: u32::from_le_bytes([a, b, c, d]) }),
            (4, []) => Ok(Self::End { id }),
            (5, []) => Ok(Self::Reset { id }),
            (6, message) if message.len() <= LONGEST_QUESTION => {
                Ok(Self::Query { id, message: message.into() })
            }
            (7, message) => Ok(Self::Answer { id, message: message.into() }),
            _ => Err(Malformed),
        }
    }
}

fn put(out: &mut Vec<u8>, id: u32, kind: u8, payload: &[u8]) {
    debug_assert!(payload.len() <= MAX_PAYLOAD);
    out.extend(id.to_le_bytes());
    out.push(kind);
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(payload);
}

impl Decoder {
    /// Takes bytes as they arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    /// The next frame; `None` when more bytes are needed for one.
    ///
    /// # Errors
    /// When the bytes are none. Nothing that follows can be understood then.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Malformed> {
        let rest = self.0.rest();
        let Some((&[a, b, c, d, kind, e, f, g, h], body)) = rest.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([e, f, g, h]) as usize;
        if length > MAX_PAYLOAD {
            return Err(Malformed);
        }
        let Some(payload) = body.get(..length) else { return Ok(None) };
        let frame = Frame::decode(u32::from_le_bytes([a, b, c, d]), kind, payload)?;
        self.0.take(HEADER + length);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Frame> {
        let bytes = |least| proptest::collection::vec(any::<u8>(), least..200);
        let origin = proptest::option::of((any::<u32>(), any::<u16>()));
        prop_oneof![
            any::<bool>().prop_map(|redirected| Frame::Hello { redirected }),
            (any::<u32>(), origin).prop_map(|(id, origin)| Frame::Open {
                id,
                origin: origin.map(|(ip, port)| SocketAddrV4::new(ip.into(), port)),
            }),
            (any::<u32>(), bytes(1)).prop_map(|(id, bytes)| Frame::Data { id, bytes }),
            any::<(u32, u32)>().prop_map(|(id, bytes)| Frame::Window { id, bytes }),
            any::<u32>().prop_map(|id| Frame::End { id }),
            any::<u32>().prop_map(|id| Frame::Reset { id }),
            (any::<u32>(), bytes(0)).prop_map(|(id, message)| Frame::Query { id, message }),
            (any::<u32>(), bytes(0)).prop_map(|(id, message)| Frame::Answer { id, message }),
        ]
    }

    fn decode(pieces: &[&[u8]]) -> Result<Vec<Frame>, Malformed> {
        let (mut decoder, mut decoded) = (Decoder::default(), Vec::new());
        for piece in pieces {
            decoder.push(piece);
            while let Some(frame) = decoder.next_frame()? {
                decoded.push(frame);
            }
        }
        Ok(decoded)
    }

    proptest! {
        #[test]
        fn frames_arrive_however_they_are_cut(
            sent in proptest::collection::vec(frames(), 0..20),
            size in 1usize..100,
        ) {
            let mut bytes = Vec::new();
            sent.iter().for_each(|frame| frame.encode(&mut bytes));
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(decode(&pieces), Ok(sent));
        }

        #[test]
        fn no_bytes_break_the_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for (kind, payload) in [
            (0, &[2, 0][..]),
            (0, &[1, 2]),
            (1, &[1, 2, 3]),
            (2, &[]),
            (3, &[1]),
            (4, &[1]),
            (5, &[1]),
            (6, &[0; LONGEST_QUESTION + 1]),
            (8, &[]),
        ] {
            let mut bytes = Vec::new();
            put(&mut bytes, 0, kind, payload);
            assert_eq!(decode(&[&bytes]), Err(Malformed), "{kind}");
        }
        let too_long = [1, 0, 0, 0, 2, 1, 0x80, 0, 0];
        assert_eq!(decode(&[&too_long]), Err(Malformed));
    }
}
