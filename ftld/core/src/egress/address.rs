//! Addresses that are not dialled.
//!
//! Owns the ranges that are not the public internet, in both families and with v4 addresses inside of v6
//! ones, and the judgement over everything that a name resolved to. Must not know names or sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses by prefix.
struct Range<A: 'static> {
    first: A,
    bits: u32,
    name: &'static str,
    /// Whether not even a rule of the human opens it.
    never: bool,
}

/// Why no address of a host may be dialled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressRefusal {
    /// There is none.
    #[error("the host has no address")]
    None,
    /// One of them is in a range that is not public.
    #[error("the host has an address that is not public: {range}")]
    Forbidden {
        /// The range's name.
        range: &'static str,
        /// Whether not even a rule of the human opens it.
        never: bool,
    },
    /// One of them is this machine's own.
    #[error("the host has an address of this machine")]
    Own,
}

const fn v4(first: [u8; 4], bits: u32, name: &'static str) -> Range<Ipv4Addr> {
    let [a, b, c, d] = first;
    Range { first: Ipv4Addr::new(a, b, c, d), bits, name, never: false }
}

const fn v6(first: [u16; 8], bits: u32, name: &'static str) -> Range<Ipv6Addr> {
    let [a, b, c, d, e, f, g, h] = first;
    Range { first: Ipv6Addr::new(a, b, c, d, e, f, g, h), bits, name, never: false }
}

impl<A> Range<A> {
    const fn never(mut self) -> Self {
        self.never = true;
        self
    }
}

/// The first that fits gives the name, so the narrower stands above the wider.
const RANGES_4: &[Range<Ipv4Addr>] = &[
    v4([169, 254, 169, 254], 32, "cloud metadata").never(),
    v4([169, 254, 170, 2], 32, "cloud metadata").never(),
    v4([169, 254, 170, 23], 32, "cloud metadata").never(),
    v4([100, 100, 100, 200], 32, "cloud metadata").never(),
    v4([168, 63, 129, 16], 32, "cloud metadata").never(),
    v4([192, 0, 0, 192], 32, "cloud metadata").never(),
    v4([0, 0, 0, 0], 8, "unspecified").never(),
    v4([127, 0, 0, 0], 8, "loopback").never(),
    v4([169, 254, 0, 0], 16, "link-local").never(),
    v4([224, 0, 0, 0], 4, "multicast").never(),
    v4([255, 255, 255, 255], 32, "broadcast").never(),
    v4([10, 0, 0, 0], 8, "private"),
    v4([172, 16, 0, 0], 12, "private"),
    v4([192, 168, 0, 0], 16, "private"),
    v4([100, 64, 0, 0], 10, "carrier-grade NAT"),
    v4([192, 0, 0, 0], 24, "protocol assignments"),
    v4([192, 0, 2, 0], 24, "documentation"),
    v4([198, 51, 100, 0], 24, "documentation"),
    v4([203, 0, 113, 0], 24, "documentation"),
    v4([192, 88, 99, 0], 24, "6to4 relay"),
    v4([198, 18, 0, 0], 15, "benchmarking"),
    v4([240, 0, 0, 0], 4, "reserved"),
];

const RANGES_6: &[Range<Ipv6Addr>] = &[
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, "cloud metadata").never(),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23], 128, "cloud metadata").never(),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, "cloud metadata").never(),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified").never(),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback").never(),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local").never(),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast").never(),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "private"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo").never(),
    // Where the v4 address stands in this one is the choice of a network that we do not know.
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "local NAT64").never(),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "protocol assignments"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing"),
];

/// Where v6 addresses have a v4 one inside: prefix, its length, at which byte the v4 address begins.
const EMBEDDED: &[(Ipv6Addr, u32, usize)] = &[
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, 12),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, 12),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 0), 96, 12),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, 12),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 2),
];

fn range_of(address: IpAddr) -> Option<(&'static str, bool)> {
    match address {
        IpAddr::V4(address) => range_of_4(address),
        IpAddr::V6(address) => range_of_6(address),
    }
}

fn range_of_4(address: Ipv4Addr) -> Option<(&'static str, bool)> {
    let inside =
        |range: &&Range<Ipv4Addr>| (address.to_bits() ^ range.first.to_bits()).leading_zeros() >= range.bits;
    RANGES_4.iter().find(inside).map(|range| (range.name, range.never))
}

fn range_of_6(address: Ipv6Addr) -> Option<(&'static str, bool)> {
    if let Some(range) = RANGES_6.iter().find(|range| within(address, range.first, range.bits)) {
        return Some((range.name, range.never));
    }
    range_of_4(inner_4(address)?)
}

/// The v4 address inside of a v6 one, where its place is certain.
fn inner_4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let (_, _, at) = EMBEDDED.iter().find(|(first, bits, _)| within(address, *first, *bits))?;
    let bytes = address.octets();
    Some(Ipv4Addr::new(bytes[*at], bytes[at + 1], bytes[at + 2], bytes[at + 3]))
}

/// Whether an address has the prefix of another.
fn within(address: Ipv6Addr, first: Ipv6Addr, bits: u32) -> bool {
    (address.to_bits() ^ first.to_bits()).leading_zeros() >= bits
}

/// The form in which addresses of this machine are compared: an address inside of another is the inner.
fn innermost(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(outer) => inner_4(outer).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The name of the range that keeps this address from being dialled, such as `loopback`; none when it is
/// public.
#[must_use]
pub fn forbidden(address: IpAddr) -> Option<&'static str> {
    range_of(address).map(|(name, _)| name)
}

/// Whether not even an exact `private` rule opens this address.
#[must_use]
pub fn never(address: IpAddr) -> bool {
    range_of(address).is_some_and(|(_, never)| never)
}

/// The one address to dial among all that a name resolved to; `own` are those of this machine's
/// interfaces. One bad answer refuses them all: a name that points both inside and outside is an attempt
/// to get past a check.
///
/// It is the first v4 address, or the first of all when there is none: many machines have a v6 address
/// and no v6 route, and exactly one address is tried.
///
/// # Errors
/// When there is none, or any of them may not be dialled.
pub fn check(answers: &[IpAddr], private_allowed: bool, own: &[IpAddr]) -> Result<IpAddr, AddressRefusal> {
    for answer in answers {
        if let Some((range, never)) = range_of(*answer)
            && (never || !private_allowed)
        {
            return Err(AddressRefusal::Forbidden { range, never });
        }
        if own.iter().any(|mine| innermost(*mine) == innermost(*answer)) {
            return Err(AddressRefusal::Own);
        }
    }
    answers.iter().find(|answer| answer.is_ipv4()).or(answers.first()).copied().ok_or(AddressRefusal::None)
}

#[cfg(test)]
mod tests;
