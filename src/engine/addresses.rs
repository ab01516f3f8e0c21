//! How many connections each client address has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use slab::Slab;

/// The addresses that have connections, while there is a cap on them.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    slots: Slab<(IpAddr, u32)>,
    known: HashMap<IpAddr, usize>,
}

/// One connection's place in the count of its address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counted(NonZeroU32);

impl Addresses {
    /// Counts a connection; `None` where its address has `max` of them already, of which there is at least 1.
    pub(super) fn enter(&mut self, ip: IpAddr, max: usize) -> Option<Counted> {
        let ip = network(ip);
        let slot = match self.known.get(&ip) {
            Some(slot) => *slot,
            None => {
                let slot = self.slots.insert((ip, 0));
                self.known.insert(ip, slot);
                slot
            }
        };
        let (_, count) = &mut self.slots[slot];
        if *count as usize >= max {
            return None;
        }
        *count += 1;
        NonZeroU32::MIN.checked_add(u32::try_from(slot).ok()?).map(Counted)
    }

    /// Whether a connection is counted for this address.
    pub(super) fn is_of(&self, Counted(place): &Counted, ip: IpAddr) -> bool {
        self.slots.get(place.get() as usize - 1).is_some_and(|(counted, _)| *counted == network(ip))
    }

    /// A connection that was counted has gone.
    pub(super) fn leave(&mut self, Counted(place): Counted) {
        let slot = place.get() as usize - 1;
        let Some((ip, count)) = self.slots.get_mut(slot) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.known.remove(ip);
            self.slots.remove(slot);
        }
        if self.slots.is_empty() {
            // A storm from many addresses must not leave its memory behind.
            *self = Self::default();
        }
    }

    /// How many connections are counted.
    pub(super) fn count(&self) -> usize {
        self.slots.iter().map(|(_, (_, count))| *count as usize).sum()
    }

    /// How many addresses have connections.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

/// What counts as one address: RFC 6177 gives one site at least 64 bits of IPv6 addresses, and any host in it may use
/// them all.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_count_and_an_ipv6_site_has_one() {
        let mut addresses = Addresses::default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = addresses.enter(ip("192.0.2.1"), 2).unwrap();
        let second = addresses.enter(ip("::ffff:192.0.2.1"), 2).unwrap();
        assert_eq!(addresses.enter(ip("192.0.2.1"), 2), None);
        let site = addresses.enter(ip("2001:db8::1"), 1).unwrap();
        assert_eq!(addresses.enter(ip("2001:db8::ffff:2"), 1), None);
        let other = addresses.enter(ip("2001:db8:0:1::1"), 1).unwrap();
        assert_eq!(addresses.len(), 3);
        assert!(addresses.is_of(&site, ip("2001:db8::3")) && !addresses.is_of(&other, ip("2001:db8::3")));
        addresses.leave(first);
        let third = addresses.enter(ip("192.0.2.1"), 2).unwrap();
        [second, third, site, other].into_iter().for_each(|counted| addresses.leave(counted));
        assert_eq!((addresses.len(), addresses.slots.len()), (0, 0));
    }
}
