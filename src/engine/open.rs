//! From a request head to an answer: a page, a refusal, or an open WebSocket.

use super::exchange::{Exchange, Reply};
use super::handler::{Admission, Handler};
use super::opening::Opening;
use super::read::{context, leave_all};
use super::{Engine, Transport, get};
use crate::conn::{Parked, Why};
use crate::http::body::Framing;
use crate::http::head::Request;
use crate::http::response::{Refusal, Response};
use crate::http::upgrade::{Granted, Upgrade};
use crate::id::{ConnId, Identity};
use crate::outbound::Outbound;
use crate::room::encoding::Encoding;
use crate::room::join::{Join, JoinError};
use crate::room::position::Start;
use crate::room::presence::Roster;
use crate::room::publish::{NotPublished, Published};
use crate::timer::Tick;

/// In which state a request is when it is to be answered.
#[derive(Clone, Copy)]
pub(super) enum Asked<'b> {
    /// Its head has just come.
    First,
    /// It has been let in.
    Admitted,
    /// Its body has come.
    WithBody(&'b [u8]),
    /// It has waited; the time may have run out.
    Again { until: Option<Tick>, has_waited: bool },
    /// What it has had looked for has been found.
    Surveyed,
    /// What it has published has been answered.
    Told(Result<Published, NotPublished>),
    /// It is known who is in the room.
    Listed(&'b Roster),
}

impl From<JoinError> for Response {
    fn from(error: JoinError) -> Self {
        let status = if error == JoinError::Name { 400 } else { 503 };
        Response::error(status, &error.to_string())
    }
}

impl<H: Handler, T: Transport> Engine<H, T> {
    /// A request head is complete.
    pub(super) fn on_head(&mut self, id: ConnId, head: &[u8]) {
        self.answer(id, head, Asked::First);
    }

    /// A request is complete that has a body.
    pub(super) fn on_request(&mut self, id: ConnId, head: &[u8], body: &[u8]) {
        self.answer(id, head, Asked::WithBody(body));
    }

    /// A request that waited is answered, or waits on.
    pub(super) fn answer_parked(&mut self, id: ConnId) {
        if self.shared.wait_no_longer(id) {
            return self.decide(id, None);
        }
        let Some(parked) = get(&mut self.peers, id).and_then(|peer| peer.conn.take_parked()) else { return };
        let is_on_its_way = matches!(parked.why, Why::Answer | Why::Survey);
        if is_on_its_way && parked.until > self.now && self.stopping.is_none() {
            // What it has published, or asked for, is on its way: nobody else can tell it.
            if let Some(peer) = get(&mut self.peers, id) {
                peer.conn.park(parked);
            }
            return;
        }
        self.shared.rooms.unlisten(&parked.room, id);
        let has_waited = parked.until <= self.now;
        let asked = match parked.why {
            Why::News => Asked::Again { until: Some(parked.until), has_waited },
            Why::Opening => Asked::Again { until: None, has_waited },
            Why::Answer => Asked::Told(Err(NotPublished::Away)),
            Why::Survey => Asked::Surveyed,
        };
        self.surveys.forget(id);
        self.answer(id, &parked.head, asked);
        if let Some(peer) = get(&mut self.peers, id) {
            // What was pipelined behind it has waited, too.
            peer.queue_read(&mut self.readable);
        }
    }

    /// A request that waited for an answer of the backplane, or for what it has had looked for, is answered.
    pub(super) fn answer_waiting(&mut self, id: ConnId, asked: Asked<'_>) {
        let why = if matches!(asked, Asked::Surveyed) { Why::Survey } else { Why::Answer };
        let Some(peer) = get(&mut self.peers, id) else { return };
        match peer.conn.take_parked() {
            Some(parked) if parked.why == why => self.answer(id, &parked.head, asked),
            Some(parked) => return peer.conn.park(parked),
            None => return,
        }
        if let Some(peer) = get(&mut self.peers, id) {
            peer.queue_read(&mut self.readable);
        }
    }

    /// Answers a request; unless it is admitted already, the handler may ask for time to decide.
    fn answer(&mut self, id: ConnId, head: &[u8], asked: Asked<'_>) {
        let limits = self.shared.rules.limits.clone();
        let request = match Request::parse(head, &limits) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(id, &refusal.into()),
        };
        if let Err(refusal) = self.note_client(id, &request) {
            return self.turn_away(id, refusal, request.method() == "HEAD");
        }
        match self.check_upgrade(&request) {
            Err(refusal) => {
                self.note_refusal(id, Some(&request), refusal.status());
                // RFC 9110 §9.3.2: a HEAD that is refused gets no body either.
                self.send_response(id, &refusal.into(), request.method() == "HEAD", true);
            }
            Ok(None) => self.respond(id, head, &request, asked),
            Ok(Some(upgrade)) if matches!(asked, Asked::Admitted) => self.open(id, head, &request, &upgrade),
            Ok(Some(upgrade)) => match self.admission(id, &request) {
                Admission::Now => self.open(id, head, &request, &upgrade),
                Admission::Later => self.defer(id, head),
            },
        }
    }

    /// Whoever runs the server is no client that the application has to decide about.
    fn admission(&mut self, id: ConnId, request: &Request<'_>) -> Admission {
        match get(&mut self.peers, id) {
            Some(peer) if peer.is_admin => Admission::Now,
            Some(_) | None => self.handler.admit(id, request),
        }
    }

    fn check_upgrade(&self, request: &Request<'_>) -> Result<Option<Upgrade>, Refusal> {
        let upgrade = Upgrade::from_request(request)?;
        // Another site's page can also make a browser send what changes something, with its user's cookies.
        if upgrade.is_some() || !matches!(request.method(), "GET" | "HEAD" | "OPTIONS") {
            self.shared.rules.origins.check(request)?;
        }
        Ok(upgrade)
    }

    /// Answers a request that is just HTTP.
    fn respond(&mut self, id: ConnId, head: &[u8], request: &Request<'_>, asked: Asked<'_>) {
        if matches!(asked, Asked::First) && self.awaits_body(id, head, request) {
            return;
        }
        self.shared.metrics.requests.add(1);
        if let Some(response) = self.preflight(id, request) {
            return self.reply(id, request, &response);
        }
        let (body, has_waited, until) = match asked {
            Asked::WithBody(body) => (body, false, None),
            Asked::Again { until, has_waited } => (&b""[..], has_waited, until),
            Asked::Told(_) | Asked::Listed(_) | Asked::Surveyed => (&b""[..], false, None),
            Asked::First | Asked::Admitted => (&b""[..], false, None),
        };
        // Whoever asks while connections are being closed is answered with what there is.
        let is_hurried = !self.accepts();
        let has_waited = has_waited || is_hurried;
        let Some(peer) = get(&mut self.peers, id) else { return };
        let (transport, client) = (&peer.transport, peer.client.as_deref());
        let shared = &mut self.shared;
        let expires = Tick::NEVER;
        let told = if let Asked::Told(outcome) = asked { Some(outcome) } else { None };
        let roster = if let Asked::Listed(roster) = asked { Some(roster) } else { None };
        let is_surveyed = matches!(asked, Asked::Surveyed);
        let found = self.surveys.found.take().filter(|_| is_surveyed);
        if is_surveyed && found.is_none() {
            let refusal = Refusal::Unavailable("the look through the server has taken too long");
            return self.reply(id, request, &refusal.into());
        }
        let (is_admin, reader) = (peer.is_admin, Identity::default());
        let mut exchange = Exchange {
            id,
            transport,
            client,
            request,
            body,
            has_waited,
            told,
            roster,
            found,
            is_admin,
            reader,
            expires,
            shared,
        };
        exchange.shared.take_asked();
        let reply = self.handler.http(&mut exchange);
        let (expires, reader) = (exchange.expires, exchange.reader);
        let opens = self.shared.take_asked().filter(|_| !has_waited);
        if let Some(room) = opens {
            return self.park_until_open(id, head, request, room);
        }
        match reply {
            Reply::Now(response) if is_hurried && matches!(asked, Asked::Again { .. }) => {
                let response = response.header("retry-after", self.retry_after());
                self.reply(id, request, &response);
            }
            Reply::Now(response) => self.reply(id, request, &response),
            Reply::Wait { .. } if is_hurried => {
                let response = Response::new(204).header("retry-after", self.retry_after());
                self.reply(id, request, &response);
            }
            Reply::Wait { .. } if has_waited => self.reply(id, request, &Response::new(204)),
            Reply::Wait { room, time } => {
                let time = time.min(self.shared.rules.limits.poll_wait_max);
                let until = until.unwrap_or_else(|| self.now.after(time));
                self.park(id, request, Parked { head: head.into(), room, until, why: Why::News });
            }
            Reply::Pending(_) => {
                // The answer comes before, be it that there is none.
                let until = self.now.after(2 * self.shared.rules.limits.backplane_publish_deadline);
                let Some(peer) = get(&mut self.peers, id) else { return };
                let (head, room) = (head.into(), String::new());
                peer.conn.park(Parked { head, room, until, why: Why::Answer });
                self.enter_phase(id);
            }
            Reply::Events { room, .. } if !has_waited && self.shared.rooms.is_opening(&room) => {
                self.park_until_open(id, head, request, room);
            }
            Reply::Events { room, start } => self.stream(id, request, (&room, start), (expires, reader)),
            Reply::Survey(survey) => self.begin_survey(id, head, request, *survey),
        }
    }

    /// Whether the request's body is to be read first; also where it has been refused.
    fn awaits_body(&mut self, id: ConnId, head: &[u8], request: &Request<'_>) -> bool {
        let framing = match Framing::of(request, self.shared.rules.limits.body_bytes_max) {
            Ok(framing) => framing,
            Err(refusal) => {
                self.refuse(id, &refusal.into());
                return true;
            }
        };
        let Some(peer) = get(&mut self.peers, id) else { return true };
        let awaits = peer.conn.expect_body(head, framing);
        if awaits {
            if request.has_token("expect", "100-continue") && request.is_http_1_1() {
                // RFC 9110 §10.1.1: it is told to go on before it sends a long body.
                peer.outbound.push_http(|out| out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n"));
                peer.queue_flush(&mut self.owing);
            }
            self.enter_phase(id);
        }
        awaits
    }

    /// Keeps a request until a room is open.
    fn park_until_open(&mut self, id: ConnId, head: &[u8], request: &Request<'_>, room: String) {
        let until = self.now.after(self.shared.rules.limits.admission_deadline);
        self.park(id, request, Parked { head: head.into(), room, until, why: Why::Opening });
    }

    /// Keeps a request until there is news in a room.
    fn park(&mut self, id: ConnId, request: &Request<'_>, parked: Parked) {
        match self.shared.rooms.listen(&parked.room, id) {
            Ok(()) => {}
            Err(error) => return self.reply(id, request, &Response::from(error)),
        }
        let Some(peer) = get(&mut self.peers, id) else { return };
        peer.conn.park(parked);
        self.enter_phase(id);
    }

    /// Answers with a room's events, until the client goes or its proof expires.
    fn stream(
        &mut self,
        id: ConnId,
        request: &Request<'_>,
        (room, start): (&str, Start),
        (expires, reader): (Tick, Identity),
    ) {
        let head = Response::new(200)
            .header("content-type", "text/event-stream")
            .header("cache-control", "no-store")
            .header("x-accel-buffering", "no");
        let head = self.expose(id, request, &head).unwrap_or(head);
        if request.method() == "HEAD" {
            return self.send_response(id, &head, true, true);
        }
        let join = Join { start, encoding: Encoding::Events, ..Join::default() };
        let (membership, joined) = match self.shared.rooms.join(room, id, &join, None) {
            Ok(joined) => joined,
            Err(error) => return self.reply(id, request, &Response::from(error)),
        };
        let Some(peer) = get(&mut self.peers, id) else { return };
        peer.memberships.reserve_exact(1);
        peer.memberships.push(membership);
        peer.lagging |= joined.is_behind;
        peer.conn.stream(reader);
        peer.expires = expires;
        peer.outbound.push_http(|out| {
            head.write_endless_head(out);
            out.extend_from_slice(joined.first_event().as_bytes());
        });
        peer.queue_flush(&mut self.owing);
        self.enter_phase(id);
        self.keep_up(id);
    }

    /// Answers with a response and ends the connection after it.
    pub(super) fn refuse(&mut self, id: ConnId, response: &Response) {
        self.note_refusal(id, None, response.status());
        self.send_response(id, response, false, true);
    }

    pub(super) fn send_response(&mut self, id: ConnId, response: &Response, bodiless: bool, is_last: bool) {
        // Who is answered by a server that is about to end is to ask another one the next time.
        let is_last = is_last || self.shared.is_draining || self.shared.rooms.is_held();
        let Some(peer) = get(&mut self.peers, id) else { return };
        peer.outbound.push_http(|out| response.write(out, bodiless, is_last));
        if is_last {
            peer.conn.hang_up(&mut peer.outbound);
            // What it sent while it waited for a decision is passed over, and its end is seen.
            peer.queue_read(&mut self.readable);
        }
        peer.queue_flush(&mut self.owing);
        self.enter_phase(id);
    }

    fn defer(&mut self, id: ConnId, head: &[u8]) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        peer.conn.defer(head);
        self.enter_phase(id);
    }

    /// The handler has decided about a deferred client: it may come in, or is told why not.
    pub(super) fn decide(&mut self, id: ConnId, refusal: Option<Response>) {
        let Some(head) = get(&mut self.peers, id).and_then(|peer| peer.conn.take_deferred()) else { return };
        match refusal {
            Some(response) => self.refuse(id, &response),
            None => self.answer(id, &head, Asked::Admitted),
        }
        if let Some(peer) = get(&mut self.peers, id) {
            // What came behind the handshake has waited for this.
            peer.queue_read(&mut self.readable);
        }
    }

    /// Asks the handler, and answers 101 with whatever it sent right behind, or its refusal.
    fn open(&mut self, id: ConnId, head: &[u8], request: &Request<'_>, upgrade: &Upgrade) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        let is_admin = peer.is_admin;
        let deflate = upgrade.deflate.filter(|_| self.shared.rules.deflate);
        let mut greeting = Outbound::default();
        let mut ctx = context(peer, &mut self.shared).0;
        ctx.outbound = &mut greeting;
        ctx.deflate = deflate;
        ctx.open = true;
        let mut opening =
            Opening { ctx, request, is_admin, granted: Granted { deflate, ..Granted::default() } };
        opening.ctx.shared.take_asked();
        let opened = self.handler.open(&mut opening);
        let granted = std::mem::take(&mut opening.granted);
        let aftermath = opening.ctx.aftermath();
        let asked = self.shared.take_asked();
        match opened {
            Ok(state) => {
                peer.outbound.push_http(|out| upgrade.write(out, &granted));
                peer.outbound.append(greeting);
                peer.conn.open(deflate);
                peer.state = Some(state);
                let first = self.shared.rules.limits.first_message_deadline;
                peer.first_by = if first.is_zero() { Tick::NEVER } else { self.now.after(first) };
                peer.queue_flush(&mut self.owing);
                self.shared.metrics.opened.add(1);
                self.enter_phase(id);
                self.keep_up(id);
                self.settle(id, aftermath);
            }
            Err(response) => {
                leave_all(peer, &mut self.shared);
                if let Some(room) = asked {
                    // It is asked again when the room is open.
                    self.defer(id, head);
                    return self.shared.wait_for_room(id, room);
                }
                self.note_refusal(id, Some(request), response.status());
                self.send_response(id, &response, false, true);
            }
        }
    }

    /// Ends a connection that has nothing to be told.
    pub(super) fn hang_up(&mut self, id: ConnId) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        leave_all(peer, &mut self.shared);
        peer.conn.hang_up(&mut peer.outbound);
        peer.queue_flush(&mut self.owing);
        self.enter_phase(id);
    }
}
