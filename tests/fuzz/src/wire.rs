//! Formats of bytes: first bytes of a connection, questions for names, frames of the relay and of
//! trees of files, messages of the helper.
//!
//! Owns what must hold for them. Must not know text formats.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::Ipv4Addr;

use ftl_core::egress::dns::{self, NameVerdict};
use ftl_core::egress::host::{DnsName, Host};
use ftl_core::egress::sniff::{Class, LONGEST_UNDECIDED, classify};
use ftl_guest::frame;
use ftl_guest::protocol::{Reply, Request};
use ftl_guest::relay::{Decoder, Frame, MAX_PAYLOAD, Malformed};
use ftl_guest::tree::{self, Entry, Node, Part, Sequence, is_before};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::pieces::{cut, first};

/// A class is certain from some byte on and never changes; what is let through begins as its protocol does.
pub(crate) fn sniff(bytes: &[u8]) {
    let whole = classify(bytes);
    for at in 0..=bytes.len().min(2 * LONGEST_UNDECIDED) {
        let begun = classify(&bytes[..at]);
        assert!(begun == Class::Undecided || begun == whole, "{begun:?} at {at}, {whole:?} in the end");
        assert!(begun != Class::Undecided || at <= LONGEST_UNDECIDED);
    }
    match whole {
        Class::Tls => {
            // Handshake, a version that exists, a length that is possible, ClientHello.
            assert!(matches!(bytes, [22, 3, 1..=4, _, _, 1, ..]), "{bytes:?}");
            let length = usize::from(bytes[3]) << 8 | usize::from(bytes[4]);
            assert!((1..=(1 << 14) + 256).contains(&length), "{length}");
        }
        Class::Http1 => {
            let method = bytes.split(|byte| *byte == b' ').next().unwrap();
            assert!(method.len() < bytes.len() && !method.is_empty() && method != b"PRI", "{bytes:?}");
            let named = http::Method::from_bytes(method).expect("a method that the library knows, too");
            assert_eq!(named.as_str().as_bytes(), method.to_ascii_uppercase());
        }
        Class::Undecided | Class::Refused(_) => {}
    }
}

/// An answer is a whole message for the same question, with the given address or none.
pub(crate) fn dns(bytes: &[u8]) {
    const GIVEN: Ipv4Addr = Ipv4Addr::new(198, 18, 7, 9);
    let (control, query) = first(bytes);
    let mut asked: Vec<DnsName> = Vec::new();
    let mut lookup = |name: &DnsName| {
        asked.push(name.clone());
        match control % 3 {
            0 => NameVerdict::Address(GIVEN),
            1 => NameVerdict::Refused("not allowed".into()),
            _ => NameVerdict::Refused("é".repeat(usize::from(control))),
        }
    };
    let Some(answer) = dns::answer(query, &mut lookup) else { return };
    assert!(answer.len() <= dns::LONGEST_ANSWER, "{}", answer.len());
    let message = Message::read(&answer).expect("the answer is a message");
    assert_eq!(message.id, &query[..2], "the same id");
    assert!(message.flags & 0x8000 != 0 && query[2] & 0x80 == 0, "an answer, to a question");
    assert_eq!(message.flags & 0x7900, u16::from_be_bytes([query[2], query[3]]) & 0x7900);
    assert_eq!(message.flags & 0x0600, 0, "never of authority, never cut");
    assert!(asked.len() <= 1 && message.questions.len() <= 1 && message.answers.len() <= 1);
    if let Some((name, question)) = message.questions.first() {
        assert_eq!(*question, &query[12..12 + question.len()], "the same question");
        for asked in &asked {
            assert_eq!(Host::parse(asked.as_str()), Ok(Host::Dns(asked.clone())));
            assert_eq!(name.to_ascii_lowercase(), asked.as_str().as_bytes());
        }
    }
    assert!(message.questions.len() == 1 || asked.is_empty(), "asked for nothing");
    for (kind, data) in &message.answers {
        let local = asked.is_empty();
        let name = message.questions[0].0.to_ascii_lowercase();
        assert!(local == (name == b"localhost" || name.ends_with(b".localhost")));
        match (kind, local) {
            (1, false) => assert!(control % 3 == 0 && *data == GIVEN.octets()),
            (1, true) => assert_eq!(*data, Ipv4Addr::LOCALHOST.octets()),
            (28, true) => assert_eq!(*data, std::net::Ipv6Addr::LOCALHOST.octets()),
            _ => panic!("a record of kind {kind}"),
        }
    }
}

/// A message that was read by the letter.
struct Message<'a> {
    id: &'a [u8],
    flags: u16,
    /// Name, and all bytes.
    questions: Vec<(Vec<u8>, &'a [u8])>,
    /// Kind and data.
    answers: Vec<(u16, &'a [u8])>,
}

impl<'a> Message<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let number = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let mut at = 12;
        let mut message =
            Self { id: bytes.get(..2)?, flags: number(2)?, questions: Vec::new(), answers: Vec::new() };
        for _ in 0..number(4)? {
            let from = at;
            let name = name(bytes, &mut at)?;
            at += 4;
            message.questions.push((name, bytes.get(from..at)?));
        }
        for section in 0..3 {
            for _ in 0..number(6 + 2 * section)? {
                let owner = name(bytes, &mut at)?;
                let (kind, length) = (number(at)?, usize::from(number(at + 8)?));
                at += 10 + length;
                let data = bytes.get(at - length..at)?;
                if section == 0 {
                    assert_eq!(owner, message.questions[0].0, "an answer about another name");
                    message.answers.push((kind, data));
                } else {
                    assert!(section == 2 && kind == 41 && owner.is_empty(), "a record that nobody asked for");
                }
            }
        }
        (at == bytes.len()).then_some(message)
    }
}

/// A name, at most one reference in it, and only backwards.
fn name(bytes: &[u8], at: &mut usize) -> Option<Vec<u8>> {
    let mut labels: Vec<&[u8]> = Vec::new();
    let mut place = *at;
    let mut referred = false;
    loop {
        let length = usize::from(*bytes.get(place)?);
        match length {
            0 => break,
            1..=63 => labels.push(bytes.get(place + 1..place + 1 + length)?),
            192.. if !referred => {
                let to = (length & 63) << 8 | usize::from(*bytes.get(place + 1)?);
                assert!(to < place, "a reference forwards");
                *at = place + 2;
                referred = true;
                place = to;
                continue;
            }
            _ => return None,
        }
        place += 1 + length;
    }
    if !referred {
        *at = place + 1;
    }
    Some(labels.join(&b'.'))
}

/// Frames do not depend on how they are cut, and are written as they were read.
pub(crate) fn relay(input: &[u8]) {
    let (bytes, pieces) = cut(input);
    let whole = frames(&[bytes]);
    assert_eq!(frames(&pieces), whole);
    let mut written = Vec::new();
    for frame in &whole.0 {
        if let Frame::Data { bytes, .. }
        | Frame::Answer { message: bytes, .. }
        | Frame::Query { message: bytes, .. } = frame
        {
            assert!(bytes.len() <= MAX_PAYLOAD);
        }
        frame.encode(&mut written);
    }
    assert!(bytes.starts_with(&written), "{:?} has another form", whole.0);
}

fn frames(pieces: &[&[u8]]) -> (Vec<Frame>, Option<Malformed>) {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(malformed) => return (frames, Some(malformed)),
            }
        }
    }
    (frames, None)
}

/// A message that is understood is written as one that means the same.
pub(crate) fn protocol(input: &[u8]) {
    let (control, bytes) = first(input);
    match control % 2 {
        0 => message::<Request>(bytes),
        _ => message::<Reply>(bytes),
    }
    if let Some((header, _)) = input.split_first_chunk() {
        let length = frame::announced(*header, frame::MAX_REPLY);
        assert_eq!(length.is_ok(), u32::from_le_bytes(*header) as usize <= frame::MAX_REPLY);
    }
}

fn message<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(message) = frame::decode::<T>(bytes) else { return };
    let written = frame::encode(&message).expect("what was read can be written");
    let (header, body) = written.split_first_chunk().unwrap();
    assert_eq!(frame::announced(*header, frame::MAX_REQUEST).unwrap(), body.len());
    assert_eq!(frame::decode::<T>(body).unwrap(), message);
}

/// Frames of a tree do not depend on how they are cut and are written as they were read; what is taken as a tree
/// has every path once, beneath a directory of it, in order.
pub(crate) fn tree(input: &[u8]) {
    let (bytes, pieces) = cut(input);
    let whole = tree_frames(&[bytes]);
    assert_eq!(tree_frames(&pieces), whole);
    let (mut written, mut sequence, mut paths) = (Vec::new(), Sequence::default(), BTreeMap::new());
    let (mut last, mut taking) = (Vec::new(), true);
    for frame in &whole.0 {
        let part = match frame {
            tree::Frame::Word(words) => {
                written.push(0);
                written.extend(u32::try_from(words.len()).expect("a short frame").to_le_bytes());
                written.extend(words);
                continue;
            }
            tree::Frame::Part(part) => part,
        };
        part.encode(&mut written);
        taking = taking && sequence.take(part).is_ok();
        let (Part::Entry(Entry { path, .. }) | Part::Remove(path), true) = (part, taking) else { continue };
        assert!(path.is_empty() == paths.is_empty(), "the root, and once");
        assert!(path.is_empty() || is_before(&last, path), "{path:?} behind {last:?}");
        let plain = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
        assert!(path.is_empty() || path.split(|byte| *byte == b'/').all(plain), "{path:?}");
        assert!(path.is_empty() || paths.get(tree::parent(path)) == Some(&true), "{path:?} in no directory");
        let is_dir = matches!(part, Part::Entry(Entry { node: Node::Dir, .. }));
        assert!(paths.insert(path.clone(), is_dir).is_none(), "{path:?} twice");
        last.clone_from(path);
    }
    assert!(bytes.starts_with(&written), "{:?} has another form", whole.0);
}

fn tree_frames(pieces: &[&[u8]]) -> (Vec<tree::Frame>, Option<tree::Malformed>) {
    let (mut decoder, mut frames) = (tree::Decoder::default(), Vec::new());
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(malformed) => return (frames, Some(malformed)),
            }
        }
    }
    (frames, None)
}
