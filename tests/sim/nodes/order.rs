//! The naive model: the order that Redis gave, and whether what somebody was sent is a piece of it.
//!
//! Each publication knows the one before it. A Redis that comes back without the latest ones goes on from an earlier
//! one: then the order has two ends, and nobody may be led from the one to the other without a word.

use std::collections::{BTreeMap, BTreeSet};

use fanline::Position;

/// One publication that Redis has taken.
#[derive(Debug)]
pub struct Item {
    pub room: String,
    pub text: String,
    /// The one before it; none before the first.
    pub before: Option<usize>,
    pub offset: u64,
    /// The epochs in which it has stood.
    epochs: BTreeSet<u64>,
}

/// A room as Redis has it now.
#[derive(Clone, Debug, Default)]
struct Line {
    epoch: u64,
    items: Vec<usize>,
    texts: BTreeSet<String>,
}

/// What stands in the rooms of one Redis.
#[derive(Clone, Debug, Default)]
pub struct Lines(BTreeMap<String, Line>);

#[derive(Debug, Default)]
pub struct Order {
    pub items: Vec<Item>,
    by_text: BTreeMap<String, Vec<usize>>,
    lines: Lines,
    /// The epochs that a room has had.
    epochs: BTreeMap<String, BTreeSet<u64>>,
    /// How often something was lost: whoever has missed that has to be told.
    pub losses: u64,
}

/// Where somebody is in the order of a room: after this one, or before the first.
pub type Spot = Option<usize>;

/// How far a reader of a room has come.
#[derive(Clone, Debug)]
pub struct Place {
    pub position: Position,
    /// Where that may be, as far as its reader was told: the same message may have been published in two lives of a room.
    spots: Vec<Spot>,
}

impl Place {
    /// Whether it may be the same place, whatever it is called.
    pub fn is(&self, other: &Place) -> bool {
        self.spots.iter().any(|spot| other.spots.contains(spot))
    }
}

impl Order {
    /// Takes note of what Redis has published.
    pub fn accept(&mut self, room: &str, said: &str) {
        let (line, text) = said.split_once('\n').expect("a line, and the message");
        let mut words = line.split(' ').map(|word| word.parse::<u64>());
        let mut next = || words.next().unwrap().expect("a number");
        let (epoch, offset) = (next(), next());
        self.look(room, epoch, offset - 1);
        let line = &mut self.lines.0.get_mut(room).expect("it has just been looked at");
        assert_eq!(offset, line.items.len() as u64 + 1, "{room}: {text}");
        assert!(line.texts.insert(text.to_owned()), "published twice: {text}");
        let id = self.items.len();
        let (room, before) = (room.to_owned(), line.items.last().copied());
        line.items.push(id);
        self.by_text.entry(text.to_owned()).or_default().push(id);
        let text = text.to_owned();
        self.items.push(Item { room, text, before, offset, epochs: [epoch].into() });
    }

    /// Takes note of the epoch of a room, which may be a new one, and of how many publications it has had.
    pub fn look(&mut self, room: &str, epoch: u64, offset: u64) {
        let line = self.lines.0.entry(room.to_owned()).or_default();
        if line.epoch == epoch {
            return;
        }
        line.epoch = epoch;
        if offset == 0 {
            // Redis has forgotten it.
            self.losses += u64::from(!line.items.is_empty());
            *line = Line { epoch, ..Line::default() };
        }
        for id in &line.items {
            self.items[*id].epochs.insert(epoch);
        }
        let is_new = self.epochs.entry(room.to_owned()).or_default().insert(epoch);
        assert!(is_new, "{room} had the epoch {epoch} before");
    }

    /// What there is now, for a replica; and what there is in a replica that takes over.
    pub fn lines(&self) -> Lines {
        self.lines.clone()
    }

    pub fn go_back_to(&mut self, lines: Lines) {
        self.losses += 1;
        self.lines = lines;
    }

    /// The end of a room.
    pub fn end(&self, room: &str) -> Spot {
        self.lines.0.get(room)?.items.last().copied()
    }

    /// Whether there is nothing behind a place but what its reader is not sent. In another epoch it may be the same place:
    /// who has missed nothing is told of it with the next publication.
    pub fn is_at_end(&self, room: &str, place: &Place, is_passed: impl Fn(&str) -> bool) -> bool {
        let mut end = self.end(room);
        while let Some(id) = end
            && !place.spots.contains(&end)
            && is_passed(&self.items[id].text)
        {
            end = self.items[id].before;
        }
        // Where Redis has forgotten the room, nothing has come since.
        end.is_none() || place.spots.contains(&end)
    }

    /// Whether a room has had other epochs than this one.
    pub fn has_other_epochs(&self, room: &str, epoch: u64) -> bool {
        self.epochs.get(room).is_some_and(|epochs| epochs.iter().any(|other| *other != epoch))
    }

    /// The place of somebody who is told only the position.
    pub fn place(&self, room: &str, position: Position) -> Place {
        let Position { epoch, offset } = position;
        let is_known = self.epochs.get(room).is_some_and(|epochs| epochs.contains(&epoch));
        assert!(is_known, "{room} has never had the epoch of {position}");
        let is_it = |item: &Item| item.room == room && item.offset == offset && item.epochs.contains(&epoch);
        let found = (0..self.items.len()).filter(|id| is_it(&self.items[*id]));
        let spots: Vec<Spot> = if offset == 0 { vec![None] } else { found.map(Some).collect() };
        assert_eq!(spots.len(), 1, "messages for which {position} stands in {room}");
        Place { position, spots }
    }

    /// Whether a reader's position says where it is: in a room that has got another epoch it may be that of another one,
    /// or of nothing.
    pub fn is_said(&self, room: &str, place: &Place) -> bool {
        let is_it = |item: &Item| {
            let Position { epoch, offset } = place.position;
            item.room == room && item.offset == offset && item.epochs.contains(&epoch)
        };
        place.spots.iter().all(|spot| spot.is_none_or(|spot| is_it(&self.items[spot])))
    }

    /// Whether this text stands at this position, or stood there.
    pub fn has(&self, text: &str, position: Position) -> bool {
        let is_there = |id: &usize| {
            let item = &self.items[*id];
            item.offset == position.offset && item.epochs.contains(&position.epoch)
        };
        self.by_text.get(text).is_some_and(|ids| ids.iter().any(is_there))
    }

    /// A reader is sent this, at this position if it is told that: it has to be the next one of its room, but for those
    /// that it is not sent.
    pub fn follow(
        &self,
        room: &str,
        place: &mut Place,
        (text, at): (&str, Option<Position>),
        is_passed: impl Fn(&str) -> bool,
    ) {
        let ids = self.by_text.get(text).unwrap_or_else(|| panic!("{text:.60?} was never published"));
        let next = ids.iter().copied().filter(|id| self.leads(room, place, *id, &is_passed));
        let stands_at =
            |item: &Item, at: Position| item.offset == at.offset && item.epochs.contains(&at.epoch);
        let next = next.filter(|id| at.is_none_or(|at| stands_at(&self.items[*id], at)));
        let spots: Vec<Spot> = next.map(Some).collect();
        let Some(Some(id)) = spots.first() else {
            let items: Vec<(&usize, &Item)> = ids.iter().map(|id| (id, &self.items[*id])).collect();
            panic!("in {room}, after {place:?}, came {items:.60?} at {at:?}");
        };
        place.position = at.unwrap_or(Position { offset: self.items[*id].offset, ..place.position });
        place.spots = spots;
    }

    fn leads(&self, room: &str, place: &Place, id: usize, is_passed: &impl Fn(&str) -> bool) -> bool {
        let item = &self.items[id];
        if item.room != room {
            return false;
        }
        let mut at = item.before;
        loop {
            if place.spots.contains(&at) {
                return true;
            }
            match at {
                Some(id) if is_passed(&self.items[id].text) => at = self.items[id].before,
                Some(_) | None => return false,
            }
        }
    }
}
