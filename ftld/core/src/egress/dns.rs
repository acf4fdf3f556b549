//! How questions for names are answered, from bytes to bytes.
//!
//! Owns DNS's wire format as far as one question and its answer need it. Must not know which names are
//! allowed (whoever asks brings a judge) nor sockets. Nothing is ever asked further: an allowed name
//! gets an address that only the sandbox knows, and every other record stays empty, so that no answer
//! carries keys, hints of other protocols or anybody's data.
//!
//! The bytes are hostile: whatever is not one plain question gets an error or nothing at all.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::host::DnsName;

/// What becomes of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NameVerdict {
    /// It is allowed and has this address.
    Address(Ipv4Addr),
    /// It does not exist for the asker, with the reason for people.
    Refused(String),
}

/// The longest answer, bytes: what every resolver takes in a datagram.
pub const LONGEST_ANSWER: usize = 512;

/// How long an answer may be remembered, seconds. An address stays with its name, so this may be long.
const TIME_TO_LIVE: u32 = 60;

const HEADER: usize = 12;
const CLASS_IN: u16 = 1;

mod kind {
    pub(super) const A: u16 = 1;
    pub(super) const NULL: u16 = 10;
    pub(super) const TXT: u16 = 16;
    pub(super) const AAAA: u16 = 28;
    pub(super) const OPT: u16 = 41;
    pub(super) const IXFR: u16 = 251;
    pub(super) const AXFR: u16 = 252;
    pub(super) const ANY: u16 = 255;
}

/// The codes of answers that are used here; the last needs the extension.
mod code {
    pub(super) const DONE: u16 = 0;
    pub(super) const MALFORMED: u16 = 1;
    pub(super) const NO_SUCH_NAME: u16 = 3;
    pub(super) const NOT_IMPLEMENTED: u16 = 4;
    pub(super) const REFUSED: u16 = 5;
    pub(super) const BAD_VERSION: u16 = 16;
}

/// The extended error's option, and its code for what a policy forbids.
const EXTENDED_ERROR: u16 = 15;
const PROHIBITED: u16 = 18;

/// Answers a message. `None` when it is no question at all, and nothing must be sent then.
///
/// `lookup` is called at most once, and only with a name that could be a host's; `localhost` and what
/// belongs to addresses (`arpa`) are answered without it. An answer is never longer than
/// [`LONGEST_ANSWER`].
#[must_use]
pub fn answer(query: &[u8], lookup: &mut dyn FnMut(&DnsName) -> NameVerdict) -> Option<Vec<u8>> {
    let header = Header::read(query)?;
    let question = match Question::read(query, &header) {
        Ok(question) => question,
        Err(code) => return Some(header.reply(code)),
    };
    let mut reply = Reply { header, question, code: code::DONE, address: Vec::new(), reason: None };
    reply.judge(lookup);
    Some(reply.write())
}

/// Whether a message asks for a host's address, and for nothing else about it.
#[must_use]
pub fn asks_for_address(query: &[u8]) -> bool {
    let Some(header) = Header::read(query) else { return false };
    Question::read(query, &header)
        .is_ok_and(|question| question.class == CLASS_IN && matches!(question.kind, kind::A | kind::AAAA))
}

/// The first twelve bytes of a question.
struct Header {
    id: [u8; 2],
    /// Operation, and what the asker wishes.
    flags: u16,
    /// How many records stand in each of the four sections.
    counts: [u16; 4],
}

/// The one question of a message.
struct Question<'a> {
    /// Name, type and class as they were sent; repeated in the answer.
    bytes: &'a [u8],
    /// The name, if it could be a host's.
    name: Option<DnsName>,
    kind: u16,
    class: u16,
    /// The extension's version, if the asker knows the extension.
    extension: Option<u8>,
}

struct Reply<'a> {
    header: Header,
    question: Question<'a>,
    code: u16,
    /// The address of the answer's one record, if there is one.
    address: Vec<u8>,
    reason: Option<String>,
}

/// Bytes that are read from the front.
struct Reader<'a>(&'a [u8]);

impl Header {
    fn read(query: &[u8]) -> Option<Self> {
        let mut reader = Reader(query);
        let id = reader.take(2)?.try_into().ok()?;
        let flags = reader.number()?;
        let mut counts = [0; 4];
        for count in &mut counts {
            *count = reader.number()?;
        }
        // An answer is never answered: two servers would talk for ever.
        (flags & 0x8000 == 0).then_some(Self { id, flags, counts })
    }

    fn operation(&self) -> u16 {
        self.flags >> 11 & 0xf
    }

    /// An answer without the question, which could not be read.
    fn reply(&self, code: u16) -> Vec<u8> {
        self.write(code, [0; 4])
    }

    fn write(&self, code: u16, counts: [u16; 4]) -> Vec<u8> {
        // Operation, "recursion desired" and "checking disabled" are repeated; recursion is available.
        let flags = 0x8000 | self.flags & 0x7910 | 0x0080 | code & 0xf;
        let mut bytes = Vec::with_capacity(LONGEST_ANSWER);
        bytes.extend(self.id);
        bytes.extend(flags.to_be_bytes());
        for count in counts {
            bytes.extend(count.to_be_bytes());
        }
        bytes
    }
}

impl<'a> Question<'a> {
    /// Reads everything behind the header. The error is the answer's code.
    fn read(query: &'a [u8], header: &Header) -> Result<Self, u16> {
        if header.operation() != 0 {
            return Err(code::NOT_IMPLEMENTED);
        }
        let [1, 0, 0, additional] = header.counts else { return Err(code::MALFORMED) };
        let body = query.get(HEADER..).unwrap_or_default();
        let mut reader = Reader(body);
        let mut read = || -> Option<Self> {
            let name = reader.name()?;
            let (kind, class) = (reader.number()?, reader.number()?);
            let bytes = body.get(..body.len() - reader.0.len())?;
            let mut extension = None;
            for _ in 0..additional {
                if let Some(version) = reader.extension()? {
                    // Two of them are an error.
                    if extension.replace(version).is_some() {
                        return None;
                    }
                }
            }
            Some(Self { bytes, name, kind, class, extension })
        };
        read().ok_or(code::MALFORMED)
    }
}

impl Reply<'_> {
    fn judge(&mut self, lookup: &mut dyn FnMut(&DnsName) -> NameVerdict) {
        let question = &self.question;
        if question.extension.is_some_and(|version| version != 0) {
            self.code = code::BAD_VERSION;
            return;
        }
        if question.class != CLASS_IN {
            self.code = code::REFUSED;
            return;
        }
        let name = question.name.as_ref().map(DnsName::as_str).unwrap_or_default();
        let last = name.rsplit('.').next().unwrap_or_default();
        let verdict = match (&question.name, last) {
            (None, _) => NameVerdict::Refused("this is no name of a host".to_owned()),
            (Some(_), "localhost") => NameVerdict::Address(Ipv4Addr::LOCALHOST),
            (Some(_), "arpa") => NameVerdict::Refused("addresses have no names here".to_owned()),
            (Some(name), _) => lookup(name),
        };
        match (verdict, question.kind) {
            (NameVerdict::Refused(reason), _) => {
                self.code = code::NO_SUCH_NAME;
                self.reason = Some(reason);
            }
            (NameVerdict::Address(address), kind::A) => self.address = address.octets().into(),
            (NameVerdict::Address(_), kind::AAAA) if last == "localhost" => {
                self.address = Ipv6Addr::LOCALHOST.octets().into();
            }
            (_, kind::TXT | kind::NULL | kind::ANY | kind::AXFR | kind::IXFR) => self.code = code::REFUSED,
            // It exists and has nothing of this kind: no other address, no keys, no other protocol.
            (NameVerdict::Address(_), _) => {}
        }
    }

    fn write(&self) -> Vec<u8> {
        let extended = self.question.extension.is_some();
        let counts = [1, u16::from(!self.address.is_empty()), 0, u16::from(extended)];
        let mut bytes = self.header.write(self.code, counts);
        bytes.extend(self.question.bytes);
        if !self.address.is_empty() {
            // The name is that of the question, which always stands right behind the header.
            bytes.extend([0xc0, HEADER as u8]);
            for number in [self.question.kind, CLASS_IN] {
                bytes.extend(number.to_be_bytes());
            }
            bytes.extend(TIME_TO_LIVE.to_be_bytes());
            bytes.extend((self.address.len() as u16).to_be_bytes());
            bytes.extend(&self.address);
        }
        if extended {
            self.write_extension(&mut bytes);
        }
        bytes
    }

    fn write_extension(&self, bytes: &mut Vec<u8>) {
        bytes.push(0);
        bytes.extend(kind::OPT.to_be_bytes());
        bytes.extend((LONGEST_ANSWER as u16).to_be_bytes());
        bytes.extend([(self.code >> 4) as u8, 0, 0, 0]);
        // Two for the length of all options, six in front of the text.
        let room = LONGEST_ANSWER.saturating_sub(bytes.len() + 8);
        let Some(reason) = &self.reason else {
            bytes.extend([0, 0]);
            return;
        };
        let end = (0..=room.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end));
        let text = &reason.as_bytes()[..end.unwrap_or(0)];
        let length = text.len() as u16;
        for number in [length + 6, EXTENDED_ERROR, length + 2, PROHIBITED] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(text);
    }
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// Reads a name that refers to nothing before it. `None` is one that DNS does not have; `Some(None)`
    /// one that no host has.
    fn name(&mut self) -> Option<Option<DnsName>> {
        let mut text = Vec::new();
        let (mut length, mut is_text) = (1, true);
        loop {
            let label = match self.byte()? {
                0 => break,
                count @ 1..=63 => self.take(count.into())?,
                _ => return None,
            };
            length += label.len() + 1;
            if length > 255 {
                return None;
            }
            // A dot within a label would look like two labels.
            is_text &= !label.contains(&b'.');
            if !text.is_empty() {
                text.push(b'.');
            }
            text.extend(label);
        }
        let text = String::from_utf8(text).ok().filter(|_| is_text);
        Some(text.and_then(|text| DnsName::parse(&text).ok()))
    }

    /// Reads a record behind the question; gives the extension's version if it is the extension.
    fn extension(&mut self) -> Option<Option<u8>> {
        let is_root = match self.byte()? {
            0 => true,
            // The names of other records are not looked at.
            mut count => loop {
                match count {
                    0 => break false,
                    1..=63 => self.take(count.into())?,
                    0xc0.. => {
                        self.byte()?;
                        break false;
                    }
                    _ => return None,
                };
                count = self.byte()?;
            },
        };
        let kind = self.number()?;
        // The class of the extension is the longest datagram; answers are never longer than the least.
        self.number()?;
        let version = *self.take(4)?.get(1)?;
        let length = self.number()?;
        self.take(length.into())?;
        match (kind, is_root) {
            (kind::OPT, true) => Some(Some(version)),
            (kind::OPT, false) => None,
            _ => Some(None),
        }
    }
}

#[cfg(test)]
mod tests;
