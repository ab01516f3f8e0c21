//! The subprotocol `fanline.v1`: publications as JSON objects with their offsets, and answers to what was sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::outside::Outside;
use super::route::Route;
use super::{Guest, key, may_publish};
use crate::auth::Right;
use crate::{Context, Joined, Message, NotPublished, Published};

/// What a client may say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    /// Publish this text.
    text: Option<String>,
    /// Publish these bytes.
    base64: Option<String>,
    /// Makes the publication safe to be tried again, and asks for an answer.
    id: Option<String>,
    /// Show a new token before the one in use expires.
    token: Option<String>,
}

/// The first thing a client is told.
pub(super) fn joined(room: &str, joined: &Joined) -> String {
    let position = joined.position.to_string();
    json!({ "type": "joined", "room": room, "position": position, "recovered": joined.recovered }).to_string()
}

/// Does what a client asks for, and answers.
pub(super) fn receive(
    ctx: &mut Context<'_>,
    outside: &Outside,
    route: &Route,
    room: &str,
    guest: &mut Guest,
    message: Message<'_>,
) {
    let answer = match message.as_text().and_then(|text| serde_json::from_str::<Said>(text).ok()) {
        Some(said) => {
            let id = said.id.clone();
            let outcome = obey(ctx, outside, route, room, guest, said);
            outcome.unwrap_or_else(|reason| Some(json!({ "type": "error", "id": id, "reason": reason })))
        }
        None => Some(json!({ "type": "error", "reason": "not an object with text, base64 or token" })),
    };
    tell(ctx, answer);
}

fn tell(ctx: &mut Context<'_>, answer: Option<Value>) {
    if let Some(answer) = answer
        && ctx.send(&answer.to_string()).is_err()
    {
        ctx.close(1013, "too slow for the answers").unwrap_or_default();
    }
}

fn obey(
    ctx: &mut Context<'_>,
    outside: &Outside,
    route: &Route,
    room: &str,
    guest: &mut Guest,
    said: Said,
) -> Result<Option<Value>, &'static str> {
    if let Some(token) = &said.token {
        let visitor = outside.refresh(token, ctx.now_ms()).map_err(|refusal| refusal.reason())?;
        if visitor.user() != guest.visitor.user() {
            return Err("the token is somebody else's");
        }
        // It replaces the one before in everything: what it does not allow is not allowed any more.
        visitor.check(Right::Join, room).map_err(|refusal| refusal.reason())?;
        guest.may_publish = may_publish(route, &visitor, room);
        ctx.expire_at(visitor.expires_ms().unwrap_or(u64::MAX));
        guest.visitor = visitor;
        return Ok(Some(json!({ "type": "refreshed" })));
    }
    if !guest.may_publish {
        return Err("this room may only be read");
    }
    let bytes;
    let message = match (&said.text, &said.base64) {
        (Some(text), None) => Message::Text(text),
        (None, Some(encoded)) => {
            bytes = STANDARD.decode(encoded).map_err(|_| "base64 is not what it says it is")?;
            Message::Binary(&bytes)
        }
        (_, _) => return Err("one of text, base64 and token is to be there"),
    };
    let key = match &said.id {
        Some(id) => {
            Some(key::of(&guest.visitor, id, message, ctx.limits()).ok_or("the id is empty or too long")?)
        }
        None => None,
    };
    let filled = route.fill(message, guest.visitor.name(), ctx.now_ms());
    match ctx.publish_for(room, filled.as_message(), key.as_deref(), guest.visitor.name()) {
        Err(NotPublished::Pending(ticket)) => {
            guest.pending.insert(ticket, said.id);
            Ok(None)
        }
        outcome => answer(said.id, outcome),
    }
}

/// Answers what had to come through the backplane first.
pub(super) fn published(ctx: &mut Context<'_>, id: Option<String>, outcome: Result<Published, NotPublished>) {
    let failed = |reason: &str| Some(json!({ "type": "error", "id": id, "reason": reason }));
    let answer = answer(id.clone(), outcome).unwrap_or_else(failed);
    tell(ctx, answer);
}

/// What is said of a publication; an error says why it is none.
fn answer(
    id: Option<String>,
    outcome: Result<Published, NotPublished>,
) -> Result<Option<Value>, &'static str> {
    match outcome {
        Ok(published) => {
            let position = published.position.to_string();
            Ok(id.map(|id| json!({ "type": "ack", "id": id, "position": position })))
        }
        // A member's room has members, and had been opened.
        Err(NotPublished::Unheard | NotPublished::Room(_)) => Err("the room is gone"),
        // What is on its way is waited for: here it has taken too long.
        Err(NotPublished::Pending(_)) => Err(NotPublished::Away.reason()),
        Err(why) => Err(why.reason()),
    }
}
