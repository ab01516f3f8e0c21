//! Members of a room whose connections are cut, and who go on where they were: nothing may be missing, or come twice.

use super::super::round::Outcome;
use crate::modes::traffic::Pattern;
use crate::reactor::{Cut, Ending, Message, Peer, PeerId, Swarm, Target, Workload};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The subprotocol in which every message has its offset; every other member speaks it.
const ENVELOPES: &str = "Sec-WebSocket-Protocol: fanline.v1\r\n";

/// After an end that nobody asked for.
const RETRY: Duration = Duration::from_millis(100);

/// Ends nobody asked for, of one member, after which it stays away: the run has failed anyway.
const RETRIES_MAX: u64 = 50;

/// What the subprotocol says.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    recovered: Option<bool>,
    offset: Option<u64>,
    base64: Option<String>,
}

/// One member.
struct Resumer {
    id: Option<PeerId>,
    has_envelopes: bool,
    /// When it comes back.
    away_until: Instant,
    /// Publications seen since the start; the next has this number.
    next: u64,
    unasked: u64,
}

/// All of them, by their seats.
pub(super) struct Resumers {
    url: String,
    epoch: String,
    /// The offset of the publication before the first.
    base: u64,
    pattern: Pattern,
    members: Vec<Resumer>,
    /// How often somebody came back.
    resumed: u64,
    /// What was wrong, by the words for it.
    wrong: BTreeMap<String, u64>,
}

impl Resumers {
    /// So many, who all begin after this position.
    ///
    /// # Errors
    /// When the position is none.
    pub(super) fn new(url: &str, since: &str, pattern: Pattern, count: usize) -> Result<Self, String> {
        let parsed = since.rsplit_once(':').and_then(|(epoch, offset)| Some((epoch, offset.parse().ok()?)));
        let (epoch, base) = parsed.ok_or_else(|| format!("{since:?} is no position"))?;
        let now = Instant::now();
        let member = |seat: usize| Resumer {
            id: None,
            has_envelopes: seat % 2 == 1,
            away_until: now,
            next: 0,
            unasked: 0,
        };
        Ok(Self {
            url: url.to_owned(),
            epoch: epoch.to_owned(),
            base,
            pattern,
            members: (0..count).map(member).collect(),
            resumed: 0,
            wrong: BTreeMap::new(),
        })
    }

    /// Connects whose time it is, from where they were.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub(super) fn come_back(&mut self, swarm: &mut Swarm, now: Instant) -> Result<(), String> {
        for (seat, member) in self.members.iter_mut().enumerate() {
            if member.id.is_some() || member.away_until > now || member.unasked > RETRIES_MAX {
                continue;
            }
            let url = format!("{}?since={}:{}", self.url, self.epoch, self.base + member.next);
            let target = Target::with_fields(&url, if member.has_envelopes { ENVELOPES } else { "" })?;
            member.id = Some(swarm.connect(&target, seat).map_err(|error| error.to_string())?);
            self.resumed += u64::from(member.next > 0);
        }
        Ok(())
    }

    /// Cuts one that is there, whichever the number means, until then.
    pub(super) fn cut(&mut self, swarm: &mut Swarm, number: usize, cut: Cut, until: Instant) {
        let count = self.members.len();
        let member = &mut self.members[number % count];
        if let Some(id) = member.id.take() {
            swarm.cut(id, cut);
            member.away_until = until;
        }
    }

    /// Whether everybody has got so many messages.
    pub(super) fn have_all(&self, published: u64) -> bool {
        self.members.iter().all(|member| member.next >= published)
    }

    /// Messages that came, to all together.
    pub(super) fn received(&self) -> u64 {
        self.members.iter().map(|member| member.next).sum()
    }

    /// Says what came, and what was wrong.
    pub(super) fn tell(&self, published: u64, outcome: &mut Outcome) {
        outcome.note("resumed", self.resumed);
        outcome.note("messages to who resumes", self.received());
        let lost: u64 = self.members.iter().map(|member| published.saturating_sub(member.next)).sum();
        if lost > 0 {
            outcome.faults.push(format!("who resumes: {lost} messages did not come"));
        }
        outcome.faults.extend(self.wrong.iter().map(|(kind, count)| format!("who resumes: {count} {kind}")));
    }

    fn fail(&mut self, words: impl Into<String>) {
        *self.wrong.entry(words.into()).or_default() += 1;
    }

    /// Takes the next message; anything but the one that is next is wrong.
    fn take(&mut self, seat: usize, bytes: &[u8]) {
        let next = self.members[seat].next;
        match self.pattern.read(bytes) {
            Some((0, number)) if number == next => self.members[seat].next += 1,
            Some((0, number)) if number < next => self.fail("doubled"),
            Some((0, number)) => {
                self.fail("gaps");
                self.members[seat].next = number + 1;
            }
            _ => self.fail("altered"),
        }
    }

    fn take_envelope(&mut self, seat: usize, text: &[u8]) {
        let Ok(envelope) = serde_json::from_slice::<Envelope>(text) else {
            return self.fail("envelopes that are none");
        };
        match envelope.kind.as_str() {
            "joined" if envelope.recovered == Some(true) => {}
            "joined" => self.fail("not recovered"),
            "message" => {
                if envelope.offset != Some(self.base + self.members[seat].next + 1) {
                    self.fail("wrong offsets");
                }
                let bytes = envelope.base64.and_then(|base64| STANDARD.decode(base64).ok());
                self.take(seat, &bytes.unwrap_or_default());
            }
            _ => self.fail("notices"),
        }
    }
}

impl Workload for Resumers {
    fn opened(&mut self, _: &mut Peer) {}

    fn message(&mut self, peer: &mut Peer, message: Message<'_>, _: Instant) {
        match (message, self.members[peer.seat].has_envelopes) {
            (Message::Binary(bytes), false) => self.take(peer.seat, bytes),
            (Message::Text(text), true) => self.take_envelope(peer.seat, text),
            (Message::Binary(_) | Message::Text(_), _) => self.fail("of another kind"),
            (Message::Ping(_) | Message::Pong(_) | Message::Close(_), _) => {}
        }
    }

    fn ended(&mut self, peer: &mut Peer, ending: Ending) {
        let member = &mut self.members[peer.seat];
        (member.id, member.away_until) = (None, Instant::now() + RETRY);
        member.unasked += 1;
        self.fail(ending.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::{Opcode, Premasked};

    /// The message of this number, as it comes.
    fn message(number: u64) -> Vec<u8> {
        let pattern = Pattern::new(64);
        let mut frame = pattern.behind(b"");
        pattern.stamp(&mut frame, 0, number);
        frame.as_bytes().to_vec()
    }

    fn after(numbers: &[u64]) -> Vec<String> {
        let pattern = Pattern::new(64);
        assert_eq!(Premasked::new(Opcode::Binary, b"").as_bytes().len(), 6);
        let mut members = Resumers::new("ws://h/chat/r", "a:b:7", pattern, 1).expect("a position");
        assert_eq!((members.epoch.as_str(), members.base), ("a:b", 7));
        numbers.iter().for_each(|&number| members.take(0, &message(number)));
        let mut outcome = Outcome::default();
        members.tell(4, &mut outcome);
        outcome.faults
    }

    #[test]
    fn everything_once_in_order_is_right_and_anything_else_is_told() {
        assert_eq!(after(&[0, 1, 2, 3]), Vec::<String>::new());
        assert_eq!(after(&[0, 1, 2]), ["who resumes: 1 messages did not come"]);
        assert_eq!(after(&[0, 1, 1, 2, 3]), ["who resumes: 1 doubled"]);
        assert_eq!(after(&[0, 2, 3]), ["who resumes: 1 gaps"]);
        assert_eq!(after(&[0, 2, 1, 3]), ["who resumes: 1 doubled", "who resumes: 1 gaps"]);
    }

    #[test]
    fn an_envelope_that_is_not_recovered_or_has_another_offset_is_told() {
        let mut members = Resumers::new("ws://h/chat/r", "a:7", Pattern::new(64), 2).expect("a position");
        let base64 = STANDARD.encode(message(0));
        members.take_envelope(1, br#"{"type":"joined","recovered":true}"#);
        members
            .take_envelope(1, format!(r#"{{"type":"message","offset":8,"base64":"{base64}"}}"#).as_bytes());
        assert!(members.wrong.is_empty() && members.members[1].next == 1, "{:?}", members.wrong);
        members.take_envelope(1, br#"{"type":"joined","recovered":false}"#);
        members
            .take_envelope(1, format!(r#"{{"type":"message","offset":8,"base64":"{base64}"}}"#).as_bytes());
        let wrong: Vec<&str> = members.wrong.keys().map(String::as_str).collect();
        assert_eq!(wrong, ["doubled", "not recovered", "wrong offsets"]);
    }
}
