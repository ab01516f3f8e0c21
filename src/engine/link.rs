//! Rooms shared with other nodes: what is published goes out through the backplane, and what comes back is appended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::handler::Handler;
use super::open::Asked;
use super::read::context;
use super::{Engine, Shared, Transport, get};
use crate::backplane::channels::Dialect;
use crate::backplane::{Author, Event, Kind, Sharing};
use crate::conn::Stage;
use crate::id::ConnId;
use crate::room::encoding::Encoding;
use crate::room::join::Joined;
use crate::room::lane::Pending;
use crate::room::lineage::Lineage;
use crate::room::log::Lag;
use crate::room::position::Position;
use crate::room::press::Press;
use crate::room::publish::{NotPublished, Published, Ticket};
use crate::room::rooms::shared::Change;
use crate::timer::ms_between;
use crate::ws::close::{CloseCode, CloseReason};
use crate::ws::frame::Opcode;
use crate::ws::message::Message;

/// The backplane, and who waits for it.
pub(super) struct Link {
    backplane: Sharing,
    /// Publishers that wait until less is on its way.
    held: Vec<ConnId>,
    /// Clients that are let in when a room is open.
    waiting: HashMap<ConnId, String>,
    /// The room that the handler wanted and that is not open yet.
    asked: Option<String>,
    /// A publication of which it is measured how long its answer takes: one at a time, and when it went out.
    sampled: Option<(Ticket, u64)>,
}

impl Shared {
    /// Whether rooms are shared with other nodes.
    #[inline]
    pub(super) fn is_linked(&self) -> bool {
        self.link.is_some()
    }

    /// Bytes of memory taken up by what is on its way to other nodes and from them.
    #[inline]
    pub(super) fn link_held(&self) -> usize {
        self.link.as_ref().map_or(0, |link| link.backplane.held())
    }

    /// Whether what is published goes round.
    pub(super) fn is_ready(&self) -> bool {
        self.link.as_ref().is_none_or(|link| link.backplane.is_ready(self.now_ms))
    }

    /// Publishes for all nodes; whether the author had better wait, and the number under which there is an answer.
    pub(super) fn publish_to_all(
        &mut self,
        room: &str,
        message: Message<'_>,
        (author, user): (Author, Option<&str>),
        key: Option<&str>,
    ) -> Result<(Ticket, bool), NotPublished> {
        let kind = match message {
            Message::Text(_) => Kind::Text,
            Message::Binary(_) => Kind::Binary,
        };
        let keep = self.rooms.keep_of(room);
        let Some(link) = &mut self.link else { return Err(NotPublished::Away) };
        let said = (kind, message.as_bytes());
        let sent = link.backplane.publish((room, keep), said, (author, user), key, self.now_ms);
        match (&sent, author) {
            (Err(_), _) => self.metrics.publications_failed.add(1),
            (Ok(ticket), Author::Asking(_)) if link.sampled.is_none() => {
                link.sampled = Some((*ticket, self.rooms.ledger_mut().tick()));
            }
            (Ok(_), _) => {}
        }
        sent.map(|ticket| (ticket, link.backplane.is_crowded()))
    }

    /// Says how a room is spoken of on a Channels layer, if rooms are shared through one.
    pub(super) fn speak(&mut self, room: &str, dialect: &Arc<Dialect>) {
        if let Some(link) = &mut self.link {
            link.backplane.speak(room, dialect);
        }
    }

    /// Whether who is in a room is known over all nodes.
    pub(super) fn lists_together(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.backplane.lists_together())
    }

    /// Asks who is in a room, over all nodes, for a connection that waits for the answer.
    pub(super) fn ask_who(&mut self, room: &str, page: (&str, usize), asker: ConnId) -> Option<Ticket> {
        self.link.as_mut()?.backplane.ask_who(room, page, asker, self.now_ms)
    }

    /// Remembers a publisher that waits until less is on its way.
    pub(super) fn hold(&mut self, id: ConnId) {
        if let Some(link) = &mut self.link {
            link.held.push(id);
        }
    }

    /// Notes that a room is wanted that is not open yet; says whether that is so.
    pub(super) fn ask_for(&mut self, room: &str) -> bool {
        let is_opening = self.rooms.is_opening(room);
        if let Some(link) = self.link.as_mut().filter(|_| is_opening) {
            link.asked = Some(room.to_owned());
        }
        is_opening
    }

    /// The room that the handler wanted in its last call and that is not open yet.
    pub(super) fn take_asked(&mut self) -> Option<String> {
        self.link.as_mut()?.asked.take()
    }

    /// A client waits until a room is open.
    pub(super) fn wait_for_room(&mut self, id: ConnId, room: String) {
        if self.rooms.listen(&room, id).is_ok()
            && let Some(link) = &mut self.link
        {
            link.waiting.insert(id, room);
        }
    }

    /// A client does not wait for a room any longer; says whether it did.
    pub(super) fn wait_no_longer(&mut self, id: ConnId) -> bool {
        let Some(room) = self.link.as_mut().and_then(|link| link.waiting.remove(&id)) else { return false };
        self.rooms.unlisten(&room, id);
        true
    }
}

impl<H: Handler, T: Transport> Engine<H, T> {
    /// Shares the rooms with other nodes from now on; there must be none yet.
    pub fn share(&mut self, backplane: impl Into<Sharing>) {
        let backplane = backplane.into();
        self.shared.rooms.share(backplane.lists_together());
        let (held, waiting, asked, sampled) = (Vec::new(), HashMap::new(), None, None);
        self.shared.link = Some(Box::new(Link { backplane, held, waiting, asked, sampled }));
    }

    /// The backplane, for whoever drives its sockets; and the time as it knows it.
    pub fn backplane(&mut self, now: Instant) -> Option<(&mut Sharing, u64)> {
        let now_ms = self.unix_ms(now);
        self.shared.link.as_mut().map(|link| (&mut link.backplane, now_ms))
    }

    /// Tells the backplane of changed limits.
    pub(super) fn share_limits(&mut self) {
        if let Some(link) = &mut self.shared.link {
            link.backplane.set_limits(&self.shared.rules.limits);
        }
    }

    /// Whether nothing more is to be taken from other nodes until the members here have been sent what there is.
    pub fn is_behind(&self) -> bool {
        self.shared.rooms.is_any_crowded()
    }

    pub(super) fn unix_ms(&self, now: Instant) -> u64 {
        self.shared.start_ms + ms_between(self.start, now)
    }

    /// When the backplane is due, in milliseconds from now.
    pub(super) fn link_due(&self, now: Instant) -> Option<u64> {
        let link = self.shared.link.as_ref()?;
        match link.backplane.has_events() {
            true => Some(0),
            false => Some(link.backplane.due_ms().saturating_sub(self.unix_ms(now))),
        }
    }

    /// Does what the backplane has to say.
    pub(super) fn follow(&mut self) {
        let Some(link) = &mut self.shared.link else { return };
        link.backplane.tick(self.shared.now_ms);
        while let Some(event) = self.shared.link.as_mut().and_then(|link| link.backplane.pop_event()) {
            match event {
                Event::Begin(room, position, lineage) => self.begin(&room, position, lineage),
                Event::Renamed(room, epoch, lineage) => self.shared.rooms.rename(&room, epoch, lineage),
                Event::Append { room, time_ms, kind, author, payload } => {
                    if let Some(link) = self.shared.link.as_mut().filter(|_| kind == Kind::Notice) {
                        link.backplane.noticed(&room, self.shared.now_ms);
                    }
                    self.append(&room, (time_ms, kind), author, &payload);
                }
                Event::Ready(room) => self.shared.rooms.opened(&room),
                Event::Answered(id, ticket, outcome) => self.answered(id, ticket, outcome),
                Event::WentRound(took_ms) => {
                    self.shared.rooms.ledger_mut().health.answered(took_ms * 1_000_000);
                }
                Event::Counted(room, census) => self.shared.rooms.set_census(&room, census),
                Event::Listed(id, roster) => {
                    let roster = roster.as_deref();
                    let asked = roster.map_or(Asked::Told(Err(NotPublished::Away)), Asked::Listed);
                    self.answer_waiting(id, asked);
                }
            }
        }
        self.release_publishers();
        self.shared.charge_rooms();
    }

    /// Tells the backplane which rooms are wanted, and what the server has to say in them.
    pub(super) fn report(&mut self) {
        let Some(link) = &mut self.shared.link else { return };
        let now_ms = self.shared.now_ms;
        for change in self.shared.rooms.take_changes() {
            match change {
                Change::Opened(room) => {
                    let keep = self.shared.rooms.keep_of(&room);
                    link.backplane.open(room, keep.unwrap_or_default(), now_ms);
                }
                Change::Closed(room) => link.backplane.close(&room, now_ms),
                Change::Announced(room, notice) => {
                    let keep = self.shared.rooms.keep_of(&room);
                    let said = (Kind::Notice, notice.as_bytes());
                    let sent =
                        link.backplane.publish((&room, keep), said, (Author::Server, None), None, now_ms);
                    self.shared.metrics.publications_failed.add(u64::from(sent.is_err()));
                }
                Change::Seated { room, user, connections, is_announced } => {
                    link.backplane.seat(&room, &user, (connections, is_announced), now_ms);
                }
            }
        }
        link.backplane.tell_presence(now_ms, |room| self.shared.rooms.members(room));
        self.shared.metrics.publications_failed.add(link.backplane.take_failed());
        self.shared.metrics.queues_full.add(link.backplane.take_full());
    }

    /// Publishers that waited are read again, once less is on its way.
    fn release_publishers(&mut self) {
        let Some(link) = self.shared.link.as_mut().filter(|link| !link.backplane.is_crowded()) else {
            return;
        };
        for id in std::mem::take(&mut link.held) {
            if let Some(peer) = get(&mut self.peers, id) {
                peer.crowded = false;
                peer.queue_read(&mut self.readable);
            }
        }
    }

    fn append(&mut self, room: &str, (time_ms, kind): (u64, Kind), author: Option<ConnId>, payload: &[u8]) {
        let message = match (kind, std::str::from_utf8(payload)) {
            (Kind::Text | Kind::Notice, Ok(text)) => Message::Text(text),
            (Kind::Binary, _) | (Kind::Text | Kind::Notice, Err(_)) => Message::Binary(payload),
        };
        let is_notice = kind == Kind::Notice && matches!(message, Message::Text(_));
        let author = author.and_then(|id| get(&mut self.peers, id));
        let memberships = author.map_or(&[][..], |peer| peer.memberships.as_slice());
        let shared = &mut self.shared;
        let mut press = Press::new(&mut shared.deflater, &shared.rules.limits, &shared.metrics);
        shared.rooms.append_shared(room, (message, time_ms, is_notice), memberships, &mut press);
        self.shared.metrics.publications.add(1);
    }

    /// A room goes on elsewhere: what its members have not been sent of what is gone leaves first, as far as that may
    /// wait, and then they are told. Those who could not be told are closed.
    fn begin(&mut self, room: &str, position: Position, lineage: Lineage) {
        let high = self.shared.rules.limits.outbound_bytes_high;
        let is_latest = self.shared.rooms.lag_of(room) == Lag::Latest;
        let readers = self.shared.rooms.readers(room);
        self.shared.metrics.rooms_reset.add(u64::from(!readers.is_empty()));
        for (id, membership, encoding) in readers {
            if encoding == Encoding::Raw && !is_latest {
                let reason = CloseReason::fixed(CloseCode::TRY_AGAIN_LATER, "the room's history is lost");
                self.close_peer(id, reason);
                continue;
            }
            let Some(peer) = get(&mut self.peers, id) else { continue };
            if let Some(mut visit) = self.shared.rooms.visit(membership) {
                while let Pending::Frames(frames) = visit.pending()
                    && peer.outbound.len() + frames.len() <= high
                {
                    match encoding {
                        Encoding::Raw | Encoding::Json => peer.outbound.push_frames(frames),
                        // Events have no frames.
                        Encoding::Events => peer.outbound.push_http(|out| out.extend_from_slice(frames)),
                    }
                    peer.outbound.note_begun(visit.hand_over(frames.len()));
                }
            }
            let joined = Joined { position, recovered: false, is_behind: false };
            match encoding {
                Encoding::Raw => {}
                Encoding::Json => {
                    let told =
                        format!("{{\"type\":\"reset\",\"position\":\"{position}\",\"recovered\":false}}");
                    peer.outbound.push_message(Opcode::Text, false, told.as_bytes());
                }
                Encoding::Events => {
                    let told = joined.first_event();
                    peer.outbound.push_http(|out| out.extend_from_slice(told.as_bytes()));
                }
            }
            peer.queue_flush(&mut self.owing);
        }
        self.shared.rooms.begin(room, position, lineage);
    }

    /// Tells a connection what has become of what it published.
    fn answered(&mut self, id: ConnId, ticket: Ticket, outcome: Result<Published, NotPublished>) {
        let sampled = self.shared.link.as_mut().and_then(|link| {
            // Numbers rise: where a later one is answered, this one was not and will not be.
            link.sampled.take_if(|(sampled, _)| sampled.0 <= ticket.0)
        });
        if let Some((_, sent_ns)) = sampled.filter(|(sampled, _)| *sampled == ticket) {
            let ledger = self.shared.rooms.ledger_mut();
            let took_ns = ledger.tick().saturating_sub(sent_ns);
            ledger.health.answered(took_ns);
        }
        match &outcome {
            Ok(published) if published.repeated => self.shared.metrics.publications_repeated.add(1),
            Ok(_) => {}
            Err(_) => self.shared.metrics.publications_failed.add(1),
        }
        let Some(peer) = get(&mut self.peers, id) else { return };
        match peer.conn.stage() {
            Stage::Open => {
                let (mut ctx, state) = context(peer, &mut self.shared);
                if let Some(state) = state {
                    self.handler.published(state, &mut ctx, ticket, outcome);
                }
                let aftermath = ctx.aftermath();
                peer.queue_flush(&mut self.owing);
                self.settle(id, aftermath);
            }
            Stage::Waiting => self.answer_waiting(id, Asked::Told(outcome)),
            Stage::Head
            | Stage::Deciding
            | Stage::Body
            | Stage::Streaming
            | Stage::Closing
            | Stage::Closed => {}
        }
    }
}
