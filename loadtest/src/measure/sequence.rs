//! One receiver's place in a numbered stream: what came, what was passed over, and in which order.

/// What an arrival is to the ones before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// It is the newest so far; what it passed over is missing from now on.
    Newest,
    /// It had been passed over by a later one.
    Overtaken,
    /// It had come before.
    Again,
}

/// The numbers that one receiver got; they begin at 0.
#[derive(Clone, Default)]
pub(crate) struct Sequence {
    /// The number that comes next.
    next: u64,
    /// Numbers before `next` that were passed over.
    missing: Vec<u64>,
}

impl Sequence {
    /// Takes in what came.
    pub(crate) fn take(&mut self, number: u64) -> Arrival {
        if number >= self.next {
            self.missing.extend(self.next..number);
            self.next = number + 1;
            Arrival::Newest
        } else if let Some(at) = self.missing.iter().position(|&missing| missing == number) {
            self.missing.swap_remove(at);
            Arrival::Overtaken
        } else {
            Arrival::Again
        }
    }

    /// How many of `sent` messages have not come.
    pub(crate) fn behind(&self, sent: u64) -> u64 {
        sent - self.next + self.missing.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_arrival_is_what_it_is_to_those_before() {
        let mut sequence = Sequence::default();
        let arrivals = [0, 3, 1, 1, 3, 4].map(|number| sequence.take(number));
        use Arrival::{Again, Newest, Overtaken};
        assert_eq!(arrivals, [Newest, Newest, Overtaken, Again, Again, Newest]);
        assert_eq!((sequence.behind(5), sequence.behind(7)), (1, 3));
    }
}
