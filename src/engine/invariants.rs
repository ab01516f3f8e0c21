//! What is true after every turn, for simulators and tests.

use super::handler::Handler;
use super::pressure::CLASSES;
use super::{Engine, Transport};
use crate::conn::Stage;
use crate::ledger::histogram::Histogram;

impl<H: Handler, T: Transport> Engine<H, T> {
    /// Panics where an invariant does not hold.
    pub fn check_invariants(&self) {
        for (slot, peer) in &self.peers {
            assert_eq!(peer.id.slot(), slot);
            let stage = peer.conn.stage();
            let is_open = matches!(stage, Stage::Open | Stage::Closing);
            assert_eq!(peer.state.is_some(), is_open, "a state exactly while open: {:?}", peer.conn);
            let may_be_member = matches!(stage, Stage::Open | Stage::Streaming);
            assert!(may_be_member || peer.memberships.is_empty(), "only open connections are members");
            assert!(
                peer.filed >= self.now || stage == Stage::Closed,
                "every connection has a deadline ahead"
            );
            let owes = !peer.outbound.is_empty();
            assert!(!owes || !peer.writable || peer.owing, "what can be sent is queued to be sent");
            assert!(
                !peer.lagging || !peer.writable || peer.owing,
                "who lags waits for its socket, or its turn"
            );
            let has_input = peer.readable || !peer.unread.is_empty();
            assert!(!has_input || !peer.may_read() || peer.reading, "what can be read is queued to be read");
        }
        let refusals = self.peers.iter().filter(|(_, peer)| peer.refused).count();
        assert_eq!(self.refusals, refusals, "who lingers without a place is counted");
        let admins = self.peers.iter().filter(|(_, peer)| peer.is_admin).count();
        assert_eq!(self.admins, admins, "who has a place of its own is counted");
        assert_eq!(self.shared.connections, self.peers.len(), "connections are counted");
        self.check_memory();
        let outcomes = self.shared.rooms.ledger().outcomes();
        let begun: u64 = self.peers.iter().map(|(_, peer)| peer.outbound.owed()).sum();
        let waiting = self.shared.rooms.recount_owed() + begun;
        assert_eq!(outcomes.waiting(), waiting, "every delivery comes to one end: {outcomes:?}");
    }

    /// Panics where not every delivery has left its times in the ledger.
    pub fn check_ledger(&self) {
        let ledger = self.shared.rooms.ledger();
        if ledger.is_on() {
            let (sent, all) = (ledger.outcomes().sent, ledger.all());
            let counts = [&all.waiting, &all.send, &all.total].map(Histogram::count);
            assert_eq!(counts, [sent; 3], "every delivery that was sent has its times");
        }
    }

    /// Panics where what is known of the memory in use is not so.
    fn check_memory(&self) {
        let mut sums = [0; 3];
        for (_, peer) in &self.peers {
            let ([incoming, outgoing, tls], now) = (peer.charged, peer.holding());
            assert_eq!(
                [incoming, tls],
                [now[0], now[2]],
                "what a connection takes up is known: {:?}",
                peer.conn
            );
            // Who is about to be sent to is looked at then.
            assert!(
                outgoing == now[1] || peer.owing,
                "what waits for a connection is known: {:?}",
                peer.conn
            );
            sums.iter_mut().zip(peer.charged).for_each(|(sum, held)| *sum += held as usize);
        }
        let counted = self.peers.iter().filter(|(_, peer)| peer.counted.is_some()).count();
        assert!(self.addresses.len() <= counted, "an address is known while it has connections");
        assert_eq!(self.addresses.count(), counted, "each of them counts once");
        assert_eq!(self.shared.rooms.held(), self.shared.rooms.recount(), "what the rooms take up is known");
        for (class, sum) in CLASSES.into_iter().zip(sums) {
            assert_eq!(self.shared.metrics.memory.get(class), sum, "{}", class.name());
        }
    }
}
