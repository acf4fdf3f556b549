//! The frames of a WebSocket, as they stream by.
//!
//! Owns what a well-formed frame is (RFC 6455, section 5, without extensions) for each side that may send
//! one, and how values are taken out of what a host sends. Must not know connections, or what is counted.
//!
//! What a sandbox sends goes on byte by byte as it came, once each head was found in order. What a host
//! sends is framed anew: a message is one text for the search, however many frames it came in, and all
//! that the search lets go of a piece is sent at once as a fragment. A value that is split over two
//! messages is not found.

#[cfg(test)]
mod tests;

use crate::scrub::Scrubber;

/// Most bytes that a control frame carries.
const CONTROL: usize = 125;
/// Longest head of a frame, bytes.
const HEAD: usize = 14;

const CONTINUATION: u8 = 0;
const CLOSE: u8 = 8;
const FIN: u8 = 0x80;
const MASK: u8 = 0x80;

/// Who sends the frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The host: nothing is masked.
    Host,
    /// The program in the sandbox: everything is masked.
    Sandbox,
}

/// Why a WebSocket is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// A reserved bit belongs to an extension, and none was agreed on.
    #[error("a frame uses an extension that was not agreed on")]
    Extension,
    /// An opcode that has no meaning.
    #[error("a frame has an unknown opcode")]
    Opcode,
    /// A sandbox's frame is not masked, or a host's is.
    #[error("a frame is masked by the wrong side")]
    Mask,
    /// A length that is not written in the shortest way, or beyond 63 bits.
    #[error("a frame's length is malformed")]
    Length,
    /// A control frame that is fragmented or longer than 125 bytes.
    #[error("a control frame is fragmented or too long")]
    Control,
    /// A continuation of nothing, or a new message within another.
    #[error("a frame is out of order")]
    Order,
    /// Something behind the frame that closes.
    #[error("a frame follows the closing one")]
    AfterClose,
}

/// One direction of a WebSocket.
pub struct Frames {
    side: Side,
    /// Searches a message; none lets payloads pass as they are.
    search: Option<Scrubber>,
    /// As much of the next head as was seen.
    head: Vec<u8>,
    /// The frame whose payload comes.
    current: Option<Current>,
    /// The message that has not ended.
    message: Option<Message>,
    /// What a host's control frame carries, as far as it was seen.
    control: Vec<u8>,
    closed: bool,
}

#[derive(Clone, Copy)]
struct Current {
    opcode: u8,
    fin: bool,
    /// Bytes of payload that are still to come.
    left: u64,
}

#[derive(Clone, Copy)]
struct Message {
    opcode: u8,
    /// Whether a fragment of it was sent on.
    begun: bool,
}

/// What a head says.
struct Head {
    current: Current,
    length: usize,
}

impl Frames {
    /// Frames that this side sends. What a host sends is searched when there is a scrubber.
    #[must_use]
    pub fn new(side: Side, search: Option<Scrubber>) -> Self {
        let search = search.filter(|_| side == Side::Host);
        Self {
            side,
            search,
            head: Vec::with_capacity(HEAD),
            current: None,
            message: None,
            control: Vec::new(),
            closed: false,
        }
    }

    /// Whether everything that came was whole frames and whole messages.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.head.is_empty() && self.current.is_none() && self.message.is_none()
    }

    /// Takes the next bytes and appends to `out` what may go on.
    ///
    /// # Errors
    /// When the bytes are not in order. Nothing more may then be sent on; what `out` got before is good.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        while !bytes.is_empty() {
            let Some(mut current) = self.current else {
                bytes = self.take_head(bytes, out)?;
                continue;
            };
            let here = usize::try_from(current.left).unwrap_or(usize::MAX).min(bytes.len());
            let (payload, rest) = bytes.split_at(here);
            current.left -= payload.len() as u64;
            bytes = rest;
            self.pass(current, payload, out);
        }
        Ok(())
    }

    /// Takes bytes of a head; what is left of them.
    fn take_head<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], FrameError> {
        if self.closed {
            return Err(FrameError::AfterClose);
        }
        let before = self.head.len();
        self.head.extend(bytes.iter().take(HEAD - before));
        // The first byte is judged although the others are not there.
        self.check_first(self.head[0])?;
        let Some(Head { current, length }) = self.read_head()? else {
            return Ok(&bytes[self.head.len() - before..]);
        };
        self.begin(current);
        if self.side == Side::Sandbox {
            out.extend_from_slice(&self.head[..length]);
        }
        self.head.clear();
        if current.left == 0 {
            self.pass(current, &[], out);
        } else {
            self.current = Some(current);
        }
        Ok(&bytes[length - before..])
    }

    /// Whether a frame may begin with this byte here.
    fn check_first(&self, first: u8) -> Result<(), FrameError> {
        let (fin, opcode) = (first & FIN != 0, first & 0x0f);
        if first & 0x70 != 0 {
            return Err(FrameError::Extension);
        }
        match (opcode, self.message.is_some()) {
            (3..=7 | 11.., _) => Err(FrameError::Opcode),
            (CLOSE.., _) if !fin => Err(FrameError::Control),
            (CLOSE.., _) | (CONTINUATION, true) | (1 | 2, false) => Ok(()),
            _ => Err(FrameError::Order),
        }
    }

    /// The head, once all of it is there.
    fn read_head(&self) -> Result<Option<Head>, FrameError> {
        let [first, second, rest @ ..] = self.head.as_slice() else { return Ok(None) };
        let (opcode, short) = (first & 0x0f, second & !MASK);
        let masked = second & MASK != 0;
        if masked != (self.side == Side::Sandbox) {
            return Err(FrameError::Mask);
        }
        if opcode >= CLOSE && usize::from(short) > CONTROL {
            return Err(FrameError::Control);
        }
        let wide = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(digits) = rest.get(..wide) else { return Ok(None) };
        let left = match wide {
            0 => u64::from(short),
            _ => digits.iter().fold(0, |left, byte| left << 8 | u64::from(*byte)),
        };
        if (wide == 2 && left < 126) || (wide == 8 && left <= u64::from(u16::MAX)) || left >> 63 != 0 {
            return Err(FrameError::Length);
        }
        let length = 2 + wide + if masked { 4 } else { 0 };
        let current = Current { opcode, fin: first & FIN != 0, left };
        Ok((self.head.len() >= length).then_some(Head { current, length }))
    }

    fn begin(&mut self, current: Current) {
        if matches!(current.opcode, 1 | 2) {
            self.message = Some(Message { opcode: current.opcode, begun: false });
            self.search = self.search.as_ref().map(Scrubber::fresh);
        }
    }

    /// Sends payload on. `current` says how much is left behind it.
    fn pass(&mut self, current: Current, payload: &[u8], out: &mut Vec<u8>) {
        let ended = current.left == 0;
        self.current = (!ended).then_some(current);
        match self.side {
            Side::Sandbox => out.extend_from_slice(payload),
            Side::Host if current.opcode >= CLOSE => self.pass_control(current.opcode, payload, ended, out),
            Side::Host => self.pass_data(payload, ended && current.fin, out),
        }
        if ended && current.opcode == CLOSE {
            self.closed = true;
        }
        if ended && current.fin && current.opcode < CLOSE {
            self.message = None;
        }
    }

    /// A piece of a host's message, as a fragment of its own.
    fn pass_data(&mut self, payload: &[u8], last: bool, out: &mut Vec<u8>) {
        let mut text = Vec::with_capacity(payload.len());
        match &mut self.search {
            Some(search) => {
                search.push(payload, &mut text);
                if last {
                    search.finish(&mut text);
                }
            }
            None => text.extend_from_slice(payload),
        }
        let Some(message) = &mut self.message else { return };
        if last || !text.is_empty() {
            let opcode = if message.begun { CONTINUATION } else { message.opcode };
            message.begun = true;
            write(opcode, last, &text, out);
        }
    }

    /// A host's control frame, once all of it is there. A code before the reason of a close stays.
    fn pass_control(&mut self, opcode: u8, payload: &[u8], last: bool, out: &mut Vec<u8>) {
        self.control.extend_from_slice(payload);
        if !last {
            return;
        }
        let carried = std::mem::take(&mut self.control);
        let mut text = Vec::with_capacity(carried.len());
        match &self.search {
            Some(search) => {
                let mut search = search.fresh();
                search.push(&carried, &mut text);
                search.finish(&mut text);
            }
            None => text = carried,
        }
        // A shadow that is longer than its value may be cut; the reason of a close stays UTF-8.
        while text.len() > CONTROL || (opcode == CLOSE && std::str::from_utf8(behind_code(&text)).is_err()) {
            text.pop();
        }
        write(opcode, true, &text, out);
    }
}

/// What follows the code in a closing frame.
fn behind_code(text: &[u8]) -> &[u8] {
    text.get(2..).unwrap_or_default()
}

/// Appends a frame that is not masked.
fn write(opcode: u8, fin: bool, payload: &[u8], out: &mut Vec<u8>) {
    out.push(if fin { FIN | opcode } else { opcode });
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => out.push(short),
        (_, Ok(length)) => {
            out.push(126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}
