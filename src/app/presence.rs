//! What is known of a room, and who is in it, over plain HTTP; over all nodes, where there are several.

use serde_json::{Value, json};

use super::api::{OPENING, limit, prepare};
use super::route::Route;
use crate::auth::{Right, Visitor};
use crate::{Census, Exchange, Refusal, Reply, Response, Roster};

/// What is known of a room: with what all nodes say of it, and as far as they have said it otherwise.
pub(super) fn room_json(exchange: &mut Exchange<'_>, room: &str, census: Option<Census>) -> Option<Value> {
    let info = exchange.rooms().info(room)?;
    let mut known = json!({
        "room": &*info.name,
        "members": info.members,
        "users": info.users,
        "position": info.position.to_string(),
        "history": info.history,
        "skipped": info.skipped,
    });
    if exchange.lists_together() {
        let census = census.unwrap_or(info.census);
        known["members"] = json!(info.members + census.members);
        known["users"] = json!(census.users.max(info.users));
        known["nodes"] = json!(census.nodes);
    }
    Some(known)
}

/// Answers with what is known of a room.
pub(super) fn info(
    exchange: &mut Exchange<'_>,
    room: &str,
    route: Option<&Route>,
    visitor: &Visitor,
) -> Result<Reply, Refusal> {
    visitor.check(Right::Join, room)?;
    if let Some(route) = route.filter(|_| exchange.is_shared()) {
        // It may be on other nodes alone.
        prepare(exchange, room, route)?;
    }
    if exchange.is_opening(room) {
        return Err(OPENING);
    }
    let census = exchange.roster().map(|roster| roster.census);
    if census.is_none()
        && let Some(ticket) = exchange.ask_who(room, "", 0)
    {
        return Ok(Reply::Pending(ticket));
    }
    let info = room_json(exchange, room, census).ok_or(Refusal::NotFound)?;
    Ok(Response::json(200, &info).into())
}

/// Answers with a page of the users of a room.
pub(super) fn users(exchange: &mut Exchange<'_>, room: &str, visitor: &Visitor) -> Result<Reply, Refusal> {
    visitor.check(Right::Presence, room)?;
    let after = exchange.request().query_value("after");
    let (limit, after) = (limit(exchange)?, after.as_deref());
    if exchange.lists_together() {
        // A part of the list would be taken for the whole.
        return match exchange.roster() {
            Some(roster) => page_of(exchange, room, roster, limit),
            None => exchange
                .ask_who(room, after.unwrap_or_default(), limit)
                .map(Reply::Pending)
                .ok_or(Refusal::Unavailable("the backplane does not answer")),
        };
    }
    let members = exchange.rooms().info(room).ok_or(Refusal::NotFound)?.members;
    let users: Vec<(String, u64)> = exchange.rooms().roll(room).map_or_else(Vec::new, |roll| {
        let users = roll.users(after).take(limit + 1);
        users.map(|(user, connections)| (user.to_owned(), u64::from(connections))).collect()
    });
    Ok(page(room, members, &users, limit).into())
}

fn page_of(exchange: &mut Exchange<'_>, room: &str, roster: &Roster, limit: usize) -> Result<Reply, Refusal> {
    let info = exchange.rooms().info(room);
    if info.is_none() && !roster.is_known {
        return Err(Refusal::NotFound);
    }
    let members = info.map_or(0, |info| info.members) + roster.census.members;
    Ok(page(room, members, &roster.users, limit).into())
}

/// One page; a user more than it takes says that there is a next one.
fn page(room: &str, members: usize, users: &[(String, u64)], limit: usize) -> Response {
    let shown = &users[..users.len().min(limit)];
    let next = shown.last().filter(|_| users.len() > limit).map(|(user, _)| user);
    let entry = |(user, connections): &(String, u64)| json!({ "user": user, "connections": connections });
    let users: Vec<Value> = shown.iter().map(entry).collect();
    Response::json(200, &json!({ "room": room, "members": members, "users": users, "next": next }))
}
