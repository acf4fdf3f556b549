//! Addresses that stand for names within one sandbox.
//!
//! Owns the pairs of name and address. Must not know which names are allowed. The addresses belong to a
//! range for tests (198.18.0.0/15) that no network routes: whoever connects to one can only have learnt
//! it here, and is connected to the name, which is resolved elsewhere.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;

use super::host::DnsName;

/// The sandbox's own address in the range; it stands for no name.
pub const OWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// The most names that have an address at the same time.
pub const MOST_NAMES: usize = 8192;

/// The range's first address and how many it has.
const FIRST: u32 = 0xc612_0000;
const COUNT: u32 = 1 << 17;

/// Names and their addresses, of one sandbox.
///
/// A name keeps its address until [`MOST_NAMES`] younger ones were given out; an address that was
/// forgotten is given to another name only after the whole range was.
#[derive(Clone, Debug, Default)]
pub struct SyntheticNames {
    addresses: HashMap<DnsName, Ipv4Addr>,
    names: HashMap<Ipv4Addr, DnsName>,
    /// Oldest first.
    order: VecDeque<Ipv4Addr>,
    /// How many were given out; the next one's place in the range follows from it.
    given: u32,
}

impl SyntheticNames {
    /// Without any name.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The address of a name; a new one gets the next.
    pub fn address_of(&mut self, name: &DnsName) -> Ipv4Addr {
        if let Some(address) = self.addresses.get(name) {
            return *address;
        }
        if self.order.len() >= MOST_NAMES
            && let Some(oldest) = self.order.pop_front()
            && let Some(name) = self.names.remove(&oldest)
        {
            self.addresses.remove(&name);
        }
        // Neither the network's own address, the sandbox's, nor the one that means everybody.
        let address = Ipv4Addr::from_bits(FIRST + 2 + self.given % (COUNT - 3));
        self.given = (self.given + 1) % (COUNT - 3);
        self.addresses.insert(name.clone(), address);
        self.names.insert(address, name.clone());
        self.order.push_back(address);
        address
    }

    /// The name that an address stands for.
    #[must_use]
    pub fn name_of(&self, address: Ipv4Addr) -> Option<&DnsName> {
        self.names.get(&address)
    }
}

/// Whether an address belongs to the range, whether or not it stands for a name now.
#[must_use]
pub fn is_synthetic(address: Ipv4Addr) -> bool {
    address.to_bits() & !(COUNT - 1) == FIRST
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn name(n: u32) -> DnsName {
        DnsName::parse(&format!("host{n}.example")).unwrap()
    }

    #[test]
    fn a_name_keeps_its_address_and_an_address_its_name() {
        let mut names = SyntheticNames::new();
        let first = names.address_of(&name(1));
        assert_eq!(first, Ipv4Addr::new(198, 18, 0, 2));
        assert_ne!(names.address_of(&name(2)), first);
        assert_eq!(names.address_of(&name(1)), first);
        assert_eq!(names.name_of(first), Some(&name(1)));
        assert_eq!(names.name_of(OWN_ADDRESS), None);
    }

    #[test]
    fn the_oldest_is_forgotten_and_its_address_not_given_to_the_next() {
        let mut names = SyntheticNames::new();
        let first = names.address_of(&name(0));
        for n in 1..=MOST_NAMES as u32 {
            assert_ne!(names.address_of(&name(n)), first);
        }
        assert_eq!(names.name_of(first), None);
        assert!(names.name_of(Ipv4Addr::from_bits(first.to_bits() + 1)).is_some());
        assert_eq!((names.addresses.len(), names.names.len()), (MOST_NAMES, MOST_NAMES));
    }

    #[test]
    fn every_address_is_within_the_range_and_none_is_special() {
        let mut names = SyntheticNames::new();
        let mut seen = HashSet::new();
        for n in 0..COUNT + 10 {
            let address = names.address_of(&name(n));
            assert!(is_synthetic(address) && address != OWN_ADDRESS, "{address}");
            seen.insert(address);
        }
        assert_eq!(seen.len() as u32, COUNT - 3);
        assert!(!seen.contains(&Ipv4Addr::new(198, 18, 0, 0)));
        assert!(!seen.contains(&Ipv4Addr::new(198, 19, 255, 255)));
        assert!(!is_synthetic(Ipv4Addr::new(198, 20, 0, 0)) && !is_synthetic(Ipv4Addr::new(198, 17, 0, 0)));
    }
}
