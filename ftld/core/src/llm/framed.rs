//! Framed messages of AWS's event streams.
//!
//! Owns lengths, checksums and headers, and what each message is called. Must not know what is in one.

use super::StreamError;

/// Collects a message.
#[derive(Default)]
pub(super) struct Framed {
    held: Vec<u8>,
}

/// A whole message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Frame {
    /// `event`, `exception` or `error`.
    pub(super) message: String,
    /// Which event or exception; the code of an error.
    pub(super) kind: String,
    /// What is in it; of an error its words.
    pub(super) payload: Vec<u8>,
}

/// Lengths of the whole and of the headers, and their checksum.
const PRELUDE: usize = 12;
/// The checksum at the end.
const CHECKSUM: usize = 4;
/// The longest message, bytes.
const LONGEST: usize = 1 << 20;
/// A header's value that is text.
const TEXT: u8 = 7;

impl Framed {
    /// Reads up to the end of the next message: how many bytes were read, and the message when it has ended.
    pub(super) fn next(&mut self, bytes: &[u8]) -> (usize, Result<Option<Frame>, StreamError>) {
        let mut read = 0;
        loop {
            let whole = match self.whole() {
                Ok(whole) => whole,
                Err(error) => return (read, Err(error)),
            };
            let missing = whole.saturating_sub(self.held.len());
            if missing == 0 {
                let message = std::mem::take(&mut self.held);
                return (read, frame(&message).map(Some));
            }
            let Some(more) = bytes.get(read..).filter(|more| !more.is_empty()) else {
                return (read, Ok(None));
            };
            let taken = missing.min(more.len());
            self.held.extend_from_slice(&more[..taken]);
            read += taken;
        }
    }

    /// Whether a message has begun and not ended.
    pub(super) fn is_open(&self) -> bool {
        !self.held.is_empty()
    }

    /// How long the message is, as far as that is known: its beginning, then all of it.
    fn whole(&self) -> Result<usize, StreamError> {
        if self.held.len() < PRELUDE {
            return Ok(PRELUDE);
        }
        let (whole, headers) = (number(&self.held, 0), number(&self.held, 4));
        let lengths = crc32(&self.held[..8]);
        if number(&self.held, 8) != lengths as usize {
            return Err(StreamError::Malformed("a message whose lengths are damaged"));
        }
        if whole > LONGEST {
            return Err(StreamError::TooLong);
        }
        match PRELUDE.checked_add(headers).and_then(|length| length.checked_add(CHECKSUM)) {
            Some(least) if least <= whole => Ok(whole),
            _ => Err(StreamError::Malformed("a message whose lengths do not fit")),
        }
    }
}

/// The parts of a whole message.
fn frame(message: &[u8]) -> Result<Frame, StreamError> {
    let (body, checksum) = message.split_at(message.len() - CHECKSUM);
    if number(checksum, 0) != crc32(body) as usize {
        return Err(StreamError::Malformed("a message that is damaged"));
    }
    let headers_end = PRELUDE + number(message, 4);
    let mut headers = &body[PRELUDE..headers_end];
    let mut frame = Frame { payload: body[headers_end..].to_vec(), ..Frame::default() };
    while !headers.is_empty() {
        let (name, value) =
            header(&mut headers).ok_or(StreamError::Malformed("a message whose headers cannot be read"))?;
        let Some(value) = value else { continue };
        match name {
            b":message-type" => frame.message = value,
            b":event-type" | b":exception-type" | b":error-code" => frame.kind = value,
            b":error-message" => frame.payload = value.into_bytes(),
            _ => {}
        }
    }
    Ok(frame)
}

/// The next header's name, and its value where that is text.
fn header<'a>(headers: &mut &'a [u8]) -> Option<(&'a [u8], Option<String>)> {
    let length = usize::from(*take(headers, 1)?.first()?);
    let name = take(headers, length)?;
    let kind = *take(headers, 1)?.first()?;
    let length = match kind {
        0 | 1 => 0,
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        6 | TEXT => {
            let length = take(headers, 2)?;
            usize::from(u16::from_be_bytes([*length.first()?, *length.get(1)?]))
        }
        9 => 16,
        _ => return None,
    };
    let value = take(headers, length)?;
    Some((name, (kind == TEXT).then(|| String::from_utf8_lossy(value).into_owned())))
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

/// A number of four bytes; 0 where there are none.
fn number(bytes: &[u8], at: usize) -> usize {
    let four = bytes.get(at..at + 4).and_then(|four| <[u8; 4]>::try_from(four).ok()).unwrap_or_default();
    u32::from_be_bytes(four) as usize
}

/// The checksum of IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    let step = |sum: u32, byte: &u8| TABLE[usize::from((sum as u8) ^ byte)] ^ (sum >> 8);
    !bytes.iter().fold(!0, step)
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut sum = at as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { 0xedb8_8320 ^ (sum >> 1) } else { sum >> 1 };
            bit += 1;
        }
        table[at] = sum;
        at += 1;
    }
    table
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message as a service writes it.
    pub(in crate::llm) fn written(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        for (name, value) in headers {
            all.push(name.len() as u8);
            all.extend(name.as_bytes());
            all.push(TEXT);
            all.extend((value.len() as u16).to_be_bytes());
            all.extend(value.as_bytes());
        }
        let whole = PRELUDE + all.len() + payload.len() + CHECKSUM;
        let mut message = [(whole as u32).to_be_bytes(), (all.len() as u32).to_be_bytes()].concat();
        message.extend(crc32(&message).to_be_bytes());
        message.extend(all);
        message.extend(payload);
        message.extend(crc32(&message).to_be_bytes());
        message
    }

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_message_is_read_however_it_is_cut_and_not_when_it_is_damaged() {
        let headers =
            [(":message-type", "event"), (":event-type", "metadata"), (":content-type", "application/json")];
        let message = written(&headers, b"{}");
        let expected = Frame { message: "event".into(), kind: "metadata".into(), payload: b"{}".to_vec() };
        for cut in 0..message.len() {
            let mut framed = Framed::default();
            assert_eq!(framed.next(&message[..cut]), (cut, Ok(None)));
            assert_eq!(framed.is_open(), cut > 0);
            assert_eq!(framed.next(&message[cut..]), (message.len() - cut, Ok(Some(expected.clone()))));
            assert!(!framed.is_open());
        }
        for at in 0..message.len() {
            let mut damaged = message.clone();
            damaged[at] ^= 1;
            assert!(Framed::default().next(&damaged).1.is_err(), "{at}");
        }
        let mut long = [u32::MAX.to_be_bytes(), 0u32.to_be_bytes()].concat();
        long.extend(crc32(&long).to_be_bytes());
        assert_eq!(Framed::default().next(&long).1, Err(StreamError::TooLong));
        let mut odd = [16u32.to_be_bytes(), 1u32.to_be_bytes()].concat();
        odd.extend(crc32(&odd).to_be_bytes());
        assert!(Framed::default().next(&odd).1.is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), headers in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _read = Framed::default().next(&bytes);
            let mut message = [((PRELUDE + headers.len() + CHECKSUM) as u32).to_be_bytes(), (headers.len() as u32).to_be_bytes()].concat();
            message.extend(crc32(&message).to_be_bytes());
            message.extend(headers);
            message.extend(crc32(&message).to_be_bytes());
            let _read = Framed::default().next(&message);
        }
    }
}
