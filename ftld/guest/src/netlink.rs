//! Netlink: how a network namespace is configured.
//!
//! Owns how messages and their attributes are laid out, and the talk with the kernel. Must not know
//! what is configured. The kernel answers within the call that asks, so nothing here ever waits.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Which part of the kernel is talked to.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// Interfaces, addresses, routes.
    Route,
    /// Packet rules.
    Netfilter,
}

/// An attribute: a kind and bytes.
pub(crate) struct Attribute(Vec<u8>);

/// Messages that are sent together.
#[derive(Default)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
    /// The number of the last one.
    last: u32,
    /// How many of them the kernel has to confirm.
    confirmed: usize,
}

/// Bytes of a message's header and of an attribute's.
const MESSAGE_HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;

/// Everything starts at a multiple of this.
const ALIGNMENT: usize = 4;

impl Attribute {
    /// One with a value.
    pub(crate) fn of(kind: libc::c_int, value: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(ATTRIBUTE_HEADER + value.len() + ALIGNMENT);
        bytes.extend(((ATTRIBUTE_HEADER + value.len()) as u16).to_ne_bytes());
        bytes.extend((kind as u16).to_ne_bytes());
        bytes.extend(value);
        pad(&mut bytes);
        Self(bytes)
    }

    /// One with a text, which ends in a zero.
    pub(crate) fn text(kind: libc::c_int, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        Self::of(kind, &bytes)
    }

    /// One with a number in the network's order.
    pub(crate) fn number(kind: libc::c_int, value: u32) -> Self {
        Self::of(kind, &value.to_be_bytes())
    }

    /// One that holds others.
    pub(crate) fn nest(kind: libc::c_int, inner: impl IntoIterator<Item = Self>) -> Self {
        let bytes: Vec<u8> = inner.into_iter().flat_map(|attribute| attribute.0).collect();
        Self::of(kind | libc::NLA_F_NESTED, &bytes)
    }
}

impl Messages {
    /// Adds one. `fixed` stands between the header and the attributes.
    pub(crate) fn add(
        &mut self,
        kind: libc::c_int,
        flags: libc::c_int,
        fixed: &[u8],
        attributes: impl IntoIterator<Item = Attribute>,
    ) {
        let start = self.bytes.len();
        self.last += 1;
        self.confirmed += usize::from(flags & libc::NLM_F_ACK != 0);
        self.bytes.extend([0; 4]);
        self.bytes.extend((kind as u16).to_ne_bytes());
        self.bytes.extend(((flags | libc::NLM_F_REQUEST) as u16).to_ne_bytes());
        self.bytes.extend(self.last.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(fixed);
        pad(&mut self.bytes);
        for attribute in attributes {
            self.bytes.extend(attribute.0);
        }
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Sends them and hears whether all of them were done.
    pub(crate) fn send(self, part: Part) -> io::Result<()> {
        let protocol = match part {
            Part::Route => None,
            Part::Netfilter => Some(rustix::net::netlink::NETFILTER),
        };
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        rustix::net::send(&socket, &self.bytes, SendFlags::empty())?;
        let mut missing = self.confirmed;
        while missing > 0 {
            missing = missing.saturating_sub(confirmations(&socket)?);
        }
        Ok(())
    }
}

/// Reads what the kernel has said; how many messages it confirmed.
fn confirmations(socket: &OwnedFd) -> io::Result<usize> {
    let mut buffer = [0; 8192];
    let (length, _) = rustix::net::recv(socket, &mut buffer[..], RecvFlags::DONTWAIT)?;
    let mut rest = &buffer[..length];
    let mut confirmed = 0;
    while let Some(header) = rest.first_chunk::<MESSAGE_HEADER>() {
        let [a, b, c, d, kind, other, ..] = *header;
        let length = u32::from_ne_bytes([a, b, c, d]) as usize;
        let Some(message) = rest.get(..length) else { break };
        if libc::c_int::from(u16::from_ne_bytes([kind, other])) == libc::NLMSG_ERROR {
            match message[MESSAGE_HEADER..].first_chunk().map(|code| i32::from_ne_bytes(*code)) {
                Some(0) => confirmed += 1,
                Some(code) => return Err(io::Error::from_raw_os_error(-code)),
                None => break,
            }
        }
        rest = rest.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    }
    match confirmed {
        0 => Err(io::ErrorKind::InvalidData.into()),
        count => Ok(count),
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_laid_out_as_the_kernel_reads_them() {
        let mut messages = Messages::default();
        let inner = [Attribute::text(1, "abc"), Attribute::of(2, &[7])];
        messages.add(16, libc::NLM_F_ACK, &[9, 9], [Attribute::nest(3, inner)]);
        messages.add(17, 0, &[], [Attribute::number(4, 5)]);
        let (first, second) = messages.bytes.split_at(40);
        assert_eq!(first[..4], 40u32.to_ne_bytes());
        assert_eq!(first[4..6], 16u16.to_ne_bytes());
        assert_eq!(first[6..8], 5u16.to_ne_bytes());
        assert_eq!(first[16..20], [9, 9, 0, 0]);
        assert_eq!(first[20..22], 20u16.to_ne_bytes());
        assert_eq!(first[22..24], 0x8003u16.to_ne_bytes());
        assert_eq!(first[28..32], *b"abc\0");
        assert_eq!(first[32..34], 5u16.to_ne_bytes());
        assert_eq!(first[36..40], [7, 0, 0, 0]);
        assert_eq!(second[8..12], 2u32.to_ne_bytes());
        assert_eq!(second[20..24], [0, 0, 0, 5]);
        assert_eq!(messages.confirmed, 1);
    }
}
