//! The admin API: what is looked at, and what is done.

use serde_json::{Value, json};
use tracing::info;

use super::super::{App, api};
use super::json;
use crate::engine::survey::{Findings, Mark, Order, Subject, Survey};
use crate::log::Kind;
use crate::{CloseCode, CloseReason, Exchange, Refusal, Reply, Request, Response, Start, Visitor};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked<'p> {
    Status,
    Rooms,
    Room(&'p str),
    Members(&'p str),
    Messages(&'p str),
    Tap(&'p str),
    Peers,
    Peer(&'p str),
    Kick,
    Drain,
}

impl<'p> Asked<'p> {
    /// Reads what follows `/admin/`; a room's name may have slashes inside.
    fn of(path: &'p str) -> Option<Self> {
        let path = path.strip_prefix("api/")?;
        if let Some(rest) = path.strip_prefix("rooms/") {
            return Some(match rest.rsplit_once('/') {
                Some((room, "peers")) => Asked::Members(room),
                Some((room, "messages")) => Asked::Messages(room),
                Some((room, "tap")) => Asked::Tap(room),
                _ => Asked::Room(rest),
            });
        }
        match path {
            "status" => Some(Asked::Status),
            "rooms" => Some(Asked::Rooms),
            "peers" => Some(Asked::Peers),
            "kick" => Some(Asked::Kick),
            "drain" => Some(Asked::Drain),
            path => path.strip_prefix("peers/").map(Asked::Peer),
        }
    }

    /// The methods it is asked with.
    fn methods(self) -> &'static str {
        match self {
            Asked::Kick | Asked::Drain => "POST",
            Asked::Messages(_) => "GET, HEAD, POST",
            _ => "GET, HEAD",
        }
    }
}

impl App {
    pub(super) fn admin_api(&mut self, exchange: &mut Exchange<'_>, path: &str) -> Result<Reply, Refusal> {
        let unknown = || if path == "api/live" { Refusal::UpgradeRequired } else { Refusal::NotFound };
        let asked = Asked::of(path).ok_or_else(unknown)?;
        let request = exchange.request();
        let methods = asked.methods();
        if !methods.split(", ").any(|method| method == request.method()) {
            return Err(Refusal::MethodNotAllowed(methods));
        }
        if let Some(found) = exchange.findings() {
            if asked == Asked::Kick {
                note(exchange, "kick", None, found.closed as u64);
            }
            return found_by(asked, &found);
        }
        match asked {
            Asked::Status => {
                let (vitals, snapshot) = (exchange.vitals(), exchange.ledger());
                let mut status = json::status(&vitals, &snapshot, exchange.metrics());
                status["limits"] = json::limits(exchange.limits());
                Ok(fresh(&status))
            }
            Asked::Rooms => rooms(exchange),
            Asked::Room(room) => {
                self.open_room(exchange, room)?;
                let info = exchange.rooms().info(room).ok_or(Refusal::NotFound)?;
                Ok(fresh(&json::room(&info)))
            }
            Asked::Members(room) => {
                exchange.rooms().info(room).ok_or(Refusal::NotFound)?;
                survey(exchange, Subject::Members(room.to_owned()), None)
            }
            Asked::Messages(room) => {
                if let Some(outcome) = exchange.outcome() {
                    return api::published(exchange, api::Target::Messages(room), outcome);
                }
                let route = if self.is_guest { None } else { Some(self.route_of(room)?) };
                let visitor = Visitor::default();
                match request.method() {
                    "POST" => {
                        let posted = api::post(exchange, room, route, &visitor)?;
                        note(exchange, "publish", Some(room), 1);
                        Ok(posted)
                    }
                    _ => api::messages(exchange, room, route, &visitor),
                }
            }
            Asked::Tap(room) => {
                self.open_room(exchange, room)?;
                exchange.rooms().info(room).ok_or(Refusal::NotFound)?;
                let start = api::start_of(request, Start::Now)?;
                Ok(Reply::Events { room: room.to_owned(), start })
            }
            Asked::Peers => survey(exchange, whose(request)?.unwrap_or(Subject::Everyone), None),
            Asked::Peer(id) => survey(exchange, one(id)?, None),
            Asked::Kick => kick(exchange),
            Asked::Drain => {
                let connections = exchange.vitals().connections as u64;
                note(exchange, "drain", None, connections);
                exchange.drain();
                Ok(Response::json(202, &json!({ "draining": true })).into())
            }
        }
    }

    /// A room may be on other nodes alone: then it is opened here first.
    fn open_room(&self, exchange: &mut Exchange<'_>, room: &str) -> Result<(), Refusal> {
        if exchange.is_shared()
            && let Ok(route) = self.route_of(room)
        {
            api::prepare(exchange, room, route)?;
        }
        match exchange.is_opening(room) {
            true => Err(api::OPENING),
            false => Ok(()),
        }
    }
}

/// Says in the log who has done what, and to how many.
fn note(exchange: &mut Exchange<'_>, action: &str, room: Option<&str>, count: u64) {
    // Publishing may be what a program does all day, and hides no kick.
    let kind = if action == "publish" { Kind::AdminPublish } else { Kind::Admin };
    if exchange.admits(kind) {
        let address = exchange.client_addr().map_or_else(|| "unix".to_owned(), |ip| ip.to_string());
        info!(action, room, count, address, "the operator has acted");
    }
}

/// An answer that is true for this moment only.
fn fresh(value: &Value) -> Reply {
    Response::json(200, value).header("cache-control", "no-store").into()
}

fn rooms(exchange: &mut Exchange<'_>) -> Result<Reply, Refusal> {
    let request = exchange.request();
    let prefix = request.query_value("prefix").unwrap_or_default();
    if request.query_value("sort").is_some_and(|sort| sort != "name") {
        return survey(exchange, Subject::Rooms(prefix.into_owned()), None);
    }
    let (limit, after) = (api::limit(exchange)?, request.query_value("after").unwrap_or_default());
    let names: Vec<_> = exchange.rooms().names(&prefix, &after).take(limit + 1).cloned().collect();
    let next = names.get(limit).and(names.get(limit.saturating_sub(1))).map(|name| &**name);
    let infos = names.iter().take(limit).filter_map(|name| exchange.rooms().info(name));
    let rooms: Vec<Value> = infos.map(|info| json::room(&info)).collect();
    let total = exchange.vitals().rooms;
    Ok(fresh(&json!({ "rooms": rooms, "next": next, "total": prefix.is_empty().then_some(total) })))
}

/// Whose connections are meant, where the query says.
fn whose(request: &Request<'_>) -> Result<Option<Subject>, Refusal> {
    let value = |name| request.query_value(name).map(|value| value.into_owned());
    let mut meant = [
        value("id").map(|id| one(&id)),
        value("user").map(|user| Ok(Subject::User(user))),
        value("token").map(|token| Ok(Subject::Token(token))),
        value("room").map(|room| Ok(Subject::Members(room))),
    ]
    .into_iter()
    .flatten();
    match (meant.next(), meant.next()) {
        (first, None) => first.transpose(),
        (_, Some(_)) => {
            Err(Refusal::Malformed("one of id, user, token and room says whose connections are meant"))
        }
    }
}

fn one(id: &str) -> Result<Subject, Refusal> {
    id.parse()
        .map(Subject::One)
        .map_err(|_| Refusal::Malformed("an id is two numbers with a dot, such as 17.4"))
}

fn kick(exchange: &mut Exchange<'_>) -> Result<Reply, Refusal> {
    let request = exchange.request();
    let meant = whose(request)?.ok_or(Refusal::Malformed("id, user, token or room says whom to kick"))?;
    let code = match request.query_value("code") {
        None => CloseCode::POLICY,
        Some(code) => code.parse().ok().and_then(|code| CloseCode::new(code).ok()).ok_or(
            Refusal::Malformed("code is one that a server may send: 1000 to 1014 but a few, 3000 to 4999"),
        )?,
    };
    let reason = request.query_value("reason").unwrap_or("closed by the operator".into());
    let reason =
        CloseReason::new(code, &reason).map_err(|_| Refusal::Malformed("reason is longer than 123 bytes"))?;
    survey(exchange, meant, Some(reason))
}

/// Has connections or rooms looked through, as the query says.
fn survey(exchange: &Exchange<'_>, subject: Subject, close: Option<CloseReason>) -> Result<Reply, Refusal> {
    let request = exchange.request();
    let sort = request.query_value("sort").unwrap_or("id".into());
    let are_rooms = matches!(subject, Subject::Rooms(_));
    let order = match (&*sort, are_rooms) {
        ("id", false) => Order::Slot,
        ("lag", _) => Order::Lag,
        ("delay", false) => Order::Delay,
        ("bytes", _) => Order::Bytes,
        ("age", false) => Order::Age,
        ("members", true) => Order::Members,
        ("publications", true) => Order::Publications,
        (_, true) => {
            return Err(Refusal::Malformed("rooms are sorted by name, members, publications, lag or bytes"));
        }
        (_, false) => {
            return Err(Refusal::Malformed("connections are sorted by id, lag, delay, bytes or age"));
        }
    };
    let after = match request.query_value("after") {
        None => None,
        Some(text) => {
            let mark: Mark = text.parse().map_err(|_| Refusal::Malformed("after is the `next` of a page"))?;
            Some(mark)
        }
    };
    // Who is closed is told of, but not page by page: that is done once.
    let (limit, after) = (api::limit(exchange)?, after.filter(|_| close.is_none()));
    Ok(Reply::Survey(Box::new(Survey { subject, order, after, limit, close })))
}

/// Tells what has been found.
fn found_by(asked: Asked<'_>, found: &Findings) -> Result<Reply, Refusal> {
    let next = found.next.map(|next| next.to_string());
    let peers = || found.peers.iter().map(json::peer).collect::<Vec<_>>();
    let value = match asked {
        Asked::Rooms => {
            let rooms: Vec<Value> = found.rooms.iter().map(json::room).collect();
            json!({ "rooms": rooms, "next": next, "total": found.matched })
        }
        Asked::Peer(_) => found.peers.first().map(json::peer).ok_or(Refusal::NotFound)?,
        Asked::Kick => json!({ "closed": found.closed }),
        _ => json!({ "peers": peers(), "next": next, "total": found.is_whole.then_some(found.matched) }),
    };
    Ok(fresh(&value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_path_asks_for_what() {
        let rows = [
            ("api/status", Some(Asked::Status)),
            ("api/rooms", Some(Asked::Rooms)),
            ("api/rooms/lobby", Some(Asked::Room("lobby"))),
            ("api/rooms/a/b/peers", Some(Asked::Members("a/b"))),
            ("api/rooms/lobby/messages", Some(Asked::Messages("lobby"))),
            ("api/rooms/房间/tap", Some(Asked::Tap("房间"))),
            ("api/peers", Some(Asked::Peers)),
            ("api/peers/1.2", Some(Asked::Peer("1.2"))),
            ("api/kick", Some(Asked::Kick)),
            ("api/drain", Some(Asked::Drain)),
            ("api/", None),
            ("api", None),
            ("peers", None),
            ("api/peersy", None),
        ];
        for (path, want) in rows {
            assert_eq!(Asked::of(path), want, "{path}");
        }
    }
}
