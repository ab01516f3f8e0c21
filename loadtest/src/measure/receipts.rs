//! Whether every member got every message once, in order, and as it was sent.

use super::sequence::{Arrival, Sequence};
use serde::Serialize;

/// A numbered message whose bytes follow from its number, so that any change shows.
pub(crate) struct Payload {
    bytes: Vec<u8>,
}

/// Bytes that the number takes.
pub(crate) const NUMBER_BYTES: usize = 8;

impl Payload {
    /// Message `number`, `size` bytes long.
    ///
    /// # Panics
    /// When the number does not fit into the size.
    pub(crate) fn new(number: u64, size: usize) -> Self {
        let mut bytes: Vec<u8> = number.to_le_bytes().to_vec();
        let seed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        bytes.extend((NUMBER_BYTES..size).map(|at| seed[at % 8] ^ at as u8));
        assert_eq!(bytes.len(), size, "a payload has room for its number");
        Self { bytes }
    }

    /// The bytes to send, and to expect.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number that a message says it has.
    fn number_in(bytes: &[u8]) -> Option<u64> {
        bytes.first_chunk().map(|number| u64::from_le_bytes(*number))
    }
}

/// What was wrong, by kind.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Debug)]
pub(crate) struct Faults {
    /// Never came.
    pub(crate) lost: u64,
    /// Came again.
    pub(crate) doubled: u64,
    /// Came after one that was sent later.
    pub(crate) swapped: u64,
    /// Came with other bytes, or as text.
    pub(crate) altered: u64,
}

impl Faults {
    /// All of them.
    pub(crate) fn total(&self) -> u64 {
        self.lost + self.doubled + self.swapped + self.altered
    }
}

/// The messages that a number of receivers got, compared with what was sent to all of them.
pub(crate) struct Receipts {
    receivers: Vec<Sequence>,
    sent: Vec<Payload>,
    size: usize,
    delivered: u64,
    faults: Faults,
}

impl Receipts {
    /// For so many receivers, of messages of `size` bytes; numbers begin at 0.
    pub(crate) fn new(receivers: usize, size: usize) -> Self {
        let receivers = vec![Sequence::default(); receivers];
        Self { receivers, sent: Vec::new(), size, delivered: 0, faults: Faults::default() }
    }

    /// The next message to send.
    pub(crate) fn send(&mut self) -> &Payload {
        let number = self.sent.len() as u64;
        self.sent.push(Payload::new(number, self.size));
        &self.sent[self.sent.len() - 1]
    }

    /// How many were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.len() as u64
    }

    /// How many came, to all receivers together, as they should.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// How many are to come in all.
    pub(crate) fn due(&self) -> u64 {
        self.sent() * self.receivers.len() as u64
    }

    /// Takes in what a receiver got, and tells its number when it was right.
    pub(crate) fn receive(&mut self, receiver: usize, bytes: &[u8]) -> Option<u64> {
        let number = Payload::number_in(bytes).filter(|&number| self.is_as_sent(number, bytes));
        if number.is_none() {
            self.faults.altered += 1;
        }
        number.filter(|&number| self.take(receiver, number))
    }

    fn is_as_sent(&self, number: u64, bytes: &[u8]) -> bool {
        let sent = usize::try_from(number).ok().and_then(|number| self.sent.get(number));
        sent.is_some_and(|sent| sent.as_bytes() == bytes)
    }

    /// Something came that is no message of ours at all.
    pub(crate) fn receive_stranger(&mut self) {
        self.faults.altered += 1;
    }

    fn take(&mut self, receiver: usize, number: u64) -> bool {
        match self.receivers[receiver].take(number) {
            Arrival::Newest => {}
            Arrival::Overtaken => self.faults.swapped += 1,
            Arrival::Again => {
                self.faults.doubled += 1;
                return false;
            }
        }
        self.delivered += 1;
        true
    }

    /// What was wrong, if nothing more comes.
    pub(crate) fn faults(&self) -> Faults {
        let lost = self.receivers.iter().map(|receiver| receiver.behind(self.sent())).sum();
        Faults { lost, ..self.faults }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two receivers get message 0 to 3 in the orders given; `!` alters the next one.
    fn faults(first: &str, second: &str) -> Faults {
        let mut receipts = Receipts::new(2, 64);
        let sent: Vec<Vec<u8>> = (0..4).map(|_| receipts.send().as_bytes().to_vec()).collect();
        for (receiver, order) in [first, second].into_iter().enumerate() {
            let mut alter = false;
            for letter in order.chars() {
                let Some(number) = letter.to_digit(10) else {
                    alter = true;
                    continue;
                };
                let mut bytes = sent[number as usize].clone();
                bytes[40] ^= u8::from(std::mem::take(&mut alter));
                receipts.receive(receiver, &bytes);
            }
        }
        assert_eq!(receipts.delivered() + receipts.faults().lost, receipts.due());
        receipts.faults()
    }

    #[test]
    fn everything_once_and_in_order_is_right() {
        assert_eq!(faults("0123", "0123"), Faults::default());
    }

    #[test]
    fn each_fault_is_told_by_its_kind() {
        let none = Faults::default();
        assert_eq!(faults("0123", "013"), Faults { lost: 1, ..none });
        assert_eq!(faults("0123", "012"), Faults { lost: 1, ..none });
        assert_eq!(faults("0123", ""), Faults { lost: 4, ..none });
        assert_eq!(faults("01123", "0123"), Faults { doubled: 1, ..none });
        assert_eq!(faults("0213", "0123"), Faults { swapped: 1, ..none });
        assert_eq!(faults("3210", "0123"), Faults { swapped: 3, ..none });
        assert_eq!(faults("0!123", "0123"), Faults { altered: 1, lost: 1, ..none });
    }

    #[test]
    fn what_was_never_sent_is_altered() {
        let mut receipts = Receipts::new(1, 16);
        assert_eq!(receipts.receive(0, Payload::new(7, 16).as_bytes()), None);
        assert_eq!(receipts.receive(0, &[7]), None);
        receipts.receive_stranger();
        assert_eq!(receipts.faults(), Faults { altered: 3, ..Faults::default() });
    }
}
