//! The rooms over plain HTTP: history, polls, events, publishing.

use std::time::Duration;

use serde_json::{Value, json};

use super::route::{Filled, Route};
use super::{App, key, presence};
use crate::auth::{Right, Visitor};
use crate::{Exchange, Message, NotPublished, Position, Published, Refusal, Reply, Request, Response, Start};

/// Entries on a page, unless the request says otherwise.
const PAGE: usize = 100;

/// Said where opening a shared room has taken too long.
pub(super) const OPENING: Refusal = Refusal::Unavailable("the room could not be opened in time");

/// What is asked of which room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'p> {
    List,
    Info(&'p str),
    Messages(&'p str),
    Events(&'p str),
    Presence(&'p str),
}

impl<'p> Target<'p> {
    /// Reads `/rooms`, `/rooms/<room>`, or one of the three below that; a room's name may have slashes inside.
    fn of(path: &'p str) -> Option<Self> {
        let Some(rest) = path.strip_prefix("/rooms/") else {
            return (path == "/rooms").then_some(Target::List);
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let target = match rest.rsplit_once('/') {
            Some((room, "messages")) => Target::Messages(room),
            Some((room, "events")) => Target::Events(room),
            Some((room, "presence")) => Target::Presence(room),
            _ => Target::Info(rest),
        };
        Some(target)
    }
}

/// Where a reader starts, as `since` and `last` in a query say, or the header in which a browser repeats an event's id.
pub(super) fn start_of(request: &Request<'_>, otherwise: Start) -> Result<Start, Refusal> {
    let last = number(request, "last")?;
    let since = match request.header("last-event-id").filter(|id| !id.is_empty()) {
        Some(id) => Some(id.into()),
        None => request.query_value("since"),
    };
    let Some(since) = since else { return Ok(last.map_or(otherwise, Start::Last)) };
    let position: Position = since.parse().map_err(|_| Refusal::Malformed("since is not epoch:offset"))?;
    Ok(Start::Since { position, or_last: last.unwrap_or(0) })
}

fn number(request: &Request<'_>, name: &str) -> Result<Option<usize>, Refusal> {
    let Some(text) = request.query_value(name) else { return Ok(None) };
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten();
    number.map(Some).ok_or(Refusal::Malformed("last, limit and wait are whole numbers"))
}

pub(super) fn limit(exchange: &Exchange<'_>) -> Result<usize, Refusal> {
    let limit = number(exchange.request(), "limit")?.unwrap_or(PAGE);
    let max = exchange.limits().page_entries_max;
    if limit == 0 { Err(Refusal::Malformed("limit is at least 1")) } else { Ok(limit.min(max)) }
}

impl App {
    /// Answers what concerns rooms; `None` for any other path.
    pub(super) fn rooms(&mut self, exchange: &mut Exchange<'_>) -> Option<Reply> {
        let target = Target::of(exchange.request().path())?;
        Some(self.answer(exchange, target).unwrap_or_else(Reply::from))
    }

    fn answer(&mut self, exchange: &mut Exchange<'_>, target: Target<'_>) -> Result<Reply, Refusal> {
        if let Some(outcome) = exchange.outcome() {
            return published(exchange, target, outcome);
        }
        let request = exchange.request();
        let visitor = self.outside.visitor(request, exchange.hop(), exchange.now_ms())?;
        let is_read = matches!(request.method(), "GET" | "HEAD");
        match (target, is_read) {
            (Target::List, true) => list(exchange, &visitor),
            (Target::Info(room), true) => presence::info(exchange, room, self.route_of(room).ok(), &visitor),
            (Target::Presence(room), true) => presence::users(exchange, room, &visitor),
            (Target::Messages(room), true) => messages(exchange, room, Some(self.route_of(room)?), &visitor),
            (Target::Events(room), true) => {
                let route = self.route_of(room)?;
                visitor.check(Right::Join, room)?;
                let start = start_of(request, Start::Now)?;
                prepare(exchange, room, route)?;
                if let Some(expires_ms) = visitor.expires_ms() {
                    exchange.expire_at(expires_ms);
                }
                exchange.identify(visitor.identity());
                Ok(Reply::Events { room: room.to_owned(), start })
            }
            (Target::Messages(room), false) if request.method() == "POST" => {
                let route = self.route_of(room)?;
                visitor.check(Right::Publish, room)?;
                post(exchange, room, Some(route), &visitor)
            }
            (Target::Messages(_), false) => Err(Refusal::MethodNotAllowed("GET, HEAD, POST")),
            (Target::List | Target::Info(_) | Target::Presence(_) | Target::Events(_), false) => {
                Err(Refusal::MethodNotAllowed("GET, HEAD"))
            }
        }
    }

    /// The route whose options a room has: the first that leads to it, and rather one that leads to no other.
    pub(super) fn route_of(&self, room: &str) -> Result<&Route, Refusal> {
        let leading = || self.routes.iter().filter(|route| route.leads_to(room));
        let own = leading().find(|route| !route.pattern.has_room());
        own.or_else(|| leading().next()).map(|route| &**route).ok_or(Refusal::NotFound)
    }
}

/// Makes the room if there is none of this name, and gives it what its route says of it.
pub(super) fn prepare(exchange: &mut Exchange<'_>, room: &str, route: &Route) -> Result<(), Refusal> {
    if let Some(dialect) = route.dialect_of(room)? {
        exchange.speak(room, dialect);
    }
    exchange.keep(room, route.keep).map_err(|_| Refusal::Unavailable("the room cannot be opened"))?;
    exchange.rooms().set_lag(room, route.lag);
    exchange.classify(room, &route.pattern.to_string());
    Ok(())
}

fn list(exchange: &mut Exchange<'_>, visitor: &Visitor) -> Result<Reply, Refusal> {
    let request = exchange.request();
    let (limit, max) = (limit(exchange)?, exchange.limits().page_entries_max);
    let prefix = request.query_value("prefix").unwrap_or_default();
    let after = request.query_value("after").unwrap_or_default();
    // Names that the visitor may not see are looked at, too: the search is bounded all the same.
    let names: Vec<_> = exchange.rooms().names(&prefix, &after).take(max + 1).cloned().collect();
    let is_cut = names.len() > max;
    let mut seen = names.iter().take(max).filter(|name| visitor.check(Right::Join, name).is_ok());
    let page: Vec<_> = seen.by_ref().take(limit).collect();
    let more = is_cut || seen.next().is_some();
    let next = more.then(|| page.last().map_or_else(|| names[max - 1].clone(), |name| (*name).clone()));
    let rooms: Vec<Value> =
        page.iter().filter_map(|name| presence::room_json(exchange, name, None)).collect();
    Ok(Response::json(200, &json!({ "rooms": rooms, "next": next.as_deref() })).into())
}

/// A page of history, or what has come since; with `wait`, the answer may take until something comes.
pub(super) fn messages(
    exchange: &mut Exchange<'_>,
    room: &str,
    route: Option<&Route>,
    visitor: &Visitor,
) -> Result<Reply, Refusal> {
    visitor.check(Right::Join, room)?;
    let request = exchange.request();
    let (limit, wait) = (limit(exchange)?, number(request, "wait")?.unwrap_or(0));
    let start = start_of(request, Start::Last(limit))?;
    if route.is_some_and(|route| route.keep.is_nothing()) {
        return Err(Refusal::Malformed("this room keeps no history to be asked for"));
    }
    if let Some(route) = route.filter(|_| wait > 0 || exchange.is_shared()) {
        prepare(exchange, room, route)?;
    }
    if exchange.is_opening(room) {
        return Err(OPENING);
    }
    let bytes_max = exchange.limits().page_bytes_max;
    let may_wait = wait > 0 && !exchange.has_waited();
    let log = exchange.rooms().log(room).ok_or(Refusal::NotFound)?;
    let (from, recovered) = log.place(start, crate::Encoding::Raw);
    if may_wait && recovered && from == log.head() {
        return Ok(Reply::Wait { room: room.to_owned(), time: Duration::from_secs(wait as u64) });
    }
    let (mut body, mut count, mut last) =
        (Vec::new(), 0, Position { offset: from.offset(), ..log.position() });
    for publication in log.history(from).take(limit) {
        let json = publication.to_json();
        if count > 0 && body.len() + json.len() > bytes_max {
            break;
        }
        if count > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&json);
        (count, last) = (count + 1, publication.position);
    }
    let more = last.offset < log.position().offset;
    let mut page =
        format!("{{\"position\":\"{last}\",\"recovered\":{recovered},\"more\":{more},\"messages\":[")
            .into_bytes();
    page.append(&mut body);
    page.extend_from_slice(b"]}\n");
    let response = Response::new(200).header("content-type", "application/json");
    Ok(response.header("cache-control", "no-store").body(page).into())
}

/// Publishes a request's body.
pub(super) fn post(
    exchange: &mut Exchange<'_>,
    room: &str,
    route: Option<&Route>,
    visitor: &Visitor,
) -> Result<Reply, Refusal> {
    let request = exchange.request();
    let body = exchange.body();
    if route.is_some_and(|route| body.len() > route.bytes_max(exchange.limits())) {
        return Err(Refusal::BodyTooLarge);
    }
    let message = match is_text(request.header("content-type")) {
        true => Message::Text(
            std::str::from_utf8(body)
                .map_err(|_| Refusal::Malformed("the body is said to be text and is not UTF-8"))?,
        ),
        false => Message::Binary(body),
    };
    let key = match request.header("idempotency-key") {
        Some(id) => Some(
            key::of(visitor, id, message, exchange.limits())
                .ok_or(Refusal::Malformed("Idempotency-Key is empty or too long"))?,
        ),
        None => None,
    };
    let filled = match route {
        Some(route) => {
            prepare(exchange, room, route)?;
            route.fill(message, visitor.name(), exchange.now_ms())
        }
        None => Filled::AsItCame(message),
    };
    let outcome = exchange.publish_for(room, filled.as_message(), key.as_deref(), visitor.name());
    published(exchange, Target::Messages(room), outcome)
}

/// Says what has become of what a request has published, or that it is not known yet.
pub(super) fn published(
    exchange: &mut Exchange<'_>,
    target: Target<'_>,
    outcome: Result<Published, NotPublished>,
) -> Result<Reply, Refusal> {
    let Target::Messages(room) = target else {
        // A question has been asked, and there is no answer.
        return Err(Refusal::Unavailable(outcome.err().unwrap_or(NotPublished::Away).reason()));
    };
    let members = exchange.rooms().members(room);
    match outcome {
        Err(NotPublished::Pending(ticket)) => Ok(Reply::Pending(ticket)),
        Ok(published) => {
            let status = if published.repeated { 200 } else { 201 };
            let position = published.position.to_string();
            Ok(Response::json(status, &json!({ "position": position, "members": members })).into())
        }
        // Not a fault of anybody's: it is published as far as that can be.
        Err(NotPublished::Unheard) => {
            Ok(Response::json(202, &json!({ "position": null, "members": members })).into())
        }
        Err(why) => Err(Refusal::Unavailable(why.reason())),
    }
}

/// Whether a body of this type is a text message: `text/…`, JSON and the like; without a type, bytes.
fn is_text(content_type: Option<&str>) -> bool {
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let suffix = essence.rsplit(['/', '+']).next().unwrap_or_default();
    // What curl says unless told otherwise, of a body given on its command line.
    essence.starts_with("text/") || matches!(suffix, "json" | "xml" | "x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_path_asks_what_of_which_room() {
        let rows = [
            ("/rooms", Some(Target::List)),
            ("/rooms/lobby", Some(Target::Info("lobby"))),
            ("/rooms/lobby/", Some(Target::Info("lobby"))),
            ("/rooms/lobby/messages", Some(Target::Messages("lobby"))),
            ("/rooms/a/b/events", Some(Target::Events("a/b"))),
            ("/rooms/a/b", Some(Target::Info("a/b"))),
            ("/rooms/房间/presence", Some(Target::Presence("房间"))),
            ("/roomsy", None),
            ("/chat/rooms", None),
        ];
        for (path, want) in rows {
            assert_eq!(Target::of(path), want, "{path}");
        }
    }

    #[test]
    fn which_bodies_are_text() {
        for text in
            ["text/plain", "text/plain; charset=utf-8", "application/json", "Application/Problem+JSON"]
        {
            assert!(is_text(Some(text)), "{text}");
        }
        for bytes in ["application/octet-stream", "image/png", ""] {
            assert!(!is_text(Some(bytes)), "{bytes}");
        }
        assert!(!is_text(None));
    }
}
