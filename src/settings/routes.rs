//! The `[[route]]` tables of a configuration file.

use std::sync::Arc;
use std::time::Duration;

use super::file::{Item, Source, Table};
use crate::app::{Listing, Mode, Pattern, Rate, Route};
use crate::backplane::Protocol;
use crate::backplane::channels::Dialect;
use crate::limits::{Limits, Unit};
use crate::{Keep, Lag};

/// The keys that mean nothing where there is no room.
const ROOM_KEYS: &[&str] = &[
    "room",
    "history",
    "replay",
    "echo",
    "lag",
    "compress",
    "read_only",
    "presence",
    "template",
    "channels",
];

/// Reads all routes, and what is wrong between them.
pub(super) fn read(
    source: &Source<'_>,
    tables: Vec<Table<'_, '_>>,
    limits: &Limits,
    protocol: Protocol,
) -> Vec<Route> {
    let routes = tables.into_iter().filter_map(|table| read_one(table, limits, protocol));
    let routes: Vec<Item<Route>> = routes.collect();
    for (count, route) in routes.iter().enumerate() {
        for earlier in &routes[..count] {
            compare(source, earlier, route);
        }
    }
    routes.into_iter().map(|route| route.value).collect()
}

/// Two routes that want the same: the earlier one gets it.
fn compare(source: &Source<'_>, earlier: &Item<Route>, later: &Item<Route>) {
    let (one, other) = (&earlier.value, &later.value);
    let line = source.line(earlier.at);
    if one.pattern == other.pattern {
        let what = format!("`{}` has a route on line {line} already", other.pattern);
        source.wrong(later.at, "route.path", what);
    } else if one.pattern.covers(&other.pattern) {
        let what = format!(
            "`{}` is never reached: `{}` on line {line} takes all its paths",
            other.pattern, one.pattern
        );
        source.wrong(later.at, "route.path", what);
    }
    let has_one_room = |route: &Route| route.mode == Mode::Room && !route.pattern.has_room();
    let share = has_one_room(one) && has_one_room(other) && one.fixed_room() == other.fixed_room();
    if share && one.keep != other.keep {
        let what = format!("the room `{}` keeps another history on line {line}", other.fixed_room());
        source.wrong(later.at, "route.history", what);
    }
}

/// Reads one route; `None` where it has no usable path or mode. Every key is looked at in any case.
fn read_one(mut table: Table<'_, '_>, limits: &Limits, protocol: Protocol) -> Option<Item<Route>> {
    let at = table.at();
    let path = table.text("path");
    if path.is_none() && !table.has_had("path") {
        table.wrong(at, "path", "is missing");
    }
    let modes = [("room", Mode::Room), ("echo", Mode::Echo)];
    let mode = table.choice("mode", &modes);
    if mode.is_none() && !table.has_had("mode") {
        table.wrong(at, "mode", "is missing: \"room\" or \"echo\"");
    }
    if matches!(mode, Some(Item { value: Mode::Echo, .. })) {
        for key in ROOM_KEYS {
            if let Some(at) = table.find(key) {
                table.wrong(at, key, "means nothing on a route of mode \"echo\", which has no room");
            }
        }
    }
    let pattern = path.and_then(|path| read_path(&table, path));
    let has_room = pattern.as_ref().is_some_and(|pattern| pattern.value.has_room());
    let plain = Route::new(
        pattern.as_ref().map_or(Pattern::root(), |pattern| pattern.value.clone()),
        mode.as_ref().map_or(Mode::Room, |mode| mode.value),
    );
    let keep = read_history(&mut table).unwrap_or(plain.keep);
    let room_at = table.find("room").unwrap_or(at);
    let subprotocols = read_subprotocols(&mut table);
    let route = Route {
        room: read_room(&mut table, has_room, limits),
        greeting: filled(&mut table, "greeting"),
        exit_word: filled(&mut table, "exit_word"),
        subprotocol_required: read_required(&mut table, &subprotocols),
        subprotocols,
        replay: read_replay(&mut table, keep),
        keep,
        echo: table.flag("echo").is_none_or(|echo| echo.value),
        lag: read_lag(&mut table),
        compress: table.flag("compress").is_some_and(|compress| compress.value),
        read_only: table.flag("read_only").is_some_and(|read_only| read_only.value),
        presence: read_presence(&mut table),
        uid: table.flag("uid").is_some_and(|uid| uid.value),
        template: read_template(&mut table),
        message_bytes_max: read_bytes_max(&mut table, limits),
        rate: read_rate(&mut table),
        channels: read_channels(&mut table, has_room, protocol).map(Arc::new),
        ..plain
    };
    if protocol == Protocol::Channels && route.mode == Mode::Room && !has_room && pattern.is_some() {
        let (room, dialect) = (route.fixed_room(), route.channels.clone().unwrap_or_default());
        if dialect.group_of(&room).is_none() {
            table.wrong(room_at, "room", format!("`{room}` does not do in a group's name: {NAMES}"));
        }
    }
    table.finish();
    mode?;
    pattern.map(|pattern| Item { value: route, at: pattern.at })
}

fn read_path(table: &Table<'_, '_>, path: Item<String>) -> Option<Item<Pattern>> {
    match Pattern::parse(&path.value) {
        Ok(_) if path.value.split('/').any(|segment| matches!(segment, "." | "..")) => {
            table.wrong(path.at, "path", format!("`{}` has a dot segment, which no request has", path.value));
            None
        }
        Ok(_) if path.value.contains('%') => {
            let what = format!("`{}` is matched decoded: write the characters themselves", path.value);
            table.wrong(path.at, "path", what);
            None
        }
        Ok(pattern) => Some(Item { value: pattern, at: path.at }),
        Err(error) => {
            table.wrong(path.at, "path", error.to_string());
            None
        }
    }
}

/// A text that is to have something in it.
fn filled(table: &mut Table<'_, '_>, key: &'static str) -> Option<String> {
    let text = table.text(key)?;
    if text.value.is_empty() {
        table.wrong(text.at, key, "is empty");
    }
    Some(text.value)
}

fn read_room(table: &mut Table<'_, '_>, has_room: bool, limits: &Limits) -> Option<String> {
    let room = table.text("room")?;
    let what = match room.value.len() {
        _ if has_room => "is never used: the path names the room".to_owned(),
        0 => "is empty".to_owned(),
        len if len > limits.room_name_bytes_max => {
            format!("has {len} bytes, more than room_name_bytes_max")
        }
        _ => return Some(room.value),
    };
    table.wrong(room.at, "room", what);
    None
}

fn read_subprotocols(table: &mut Table<'_, '_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in table.texts("subprotocols").unwrap_or_default() {
        if !crate::http::response::is_header(&name.value, "") {
            table.wrong(name.at, "subprotocols", format!("`{}` is not a token", name.value));
        } else if names.contains(&name.value) {
            table.wrong(name.at, "subprotocols", format!("`{}` stands there twice", name.value));
        }
        names.push(name.value);
    }
    names
}

fn read_required(table: &mut Table<'_, '_>, subprotocols: &[String]) -> bool {
    let Some(required) = table.flag("subprotocol_required") else { return false };
    if required.value && subprotocols.is_empty() {
        table.wrong(required.at, "subprotocol_required", "there are no subprotocols to require");
    }
    required.value
}

/// What a room keeps: each of the three, or what it keeps anyway; `messages = 0` is nothing.
fn read_history(table: &mut Table<'_, '_>) -> Option<Keep> {
    let mut history = table.table("history")?;
    let messages = history.amount("messages", Unit::Count);
    let bytes = history.amount("bytes", Unit::Bytes);
    let age = history.amount("age", Unit::Time);
    history.finish();
    Some(Keep {
        messages: messages.map_or(Route::KEEP.messages, |messages| messages.value as usize),
        bytes: bytes.map_or(Route::KEEP.bytes, |bytes| bytes.value as usize),
        age: age.map_or(Route::KEEP.age, |age| Duration::from_millis(age.value)),
    })
}

fn read_replay(table: &mut Table<'_, '_>, keep: Keep) -> usize {
    let Some(replay) = table.amount("replay", Unit::Count) else { return 0 };
    if keep.is_nothing() && replay.value > 0 {
        table.wrong(replay.at, "replay", "there is no history to replay");
    } else if replay.value as usize > keep.messages {
        let what = format!("{} is more than the {} that history keeps", replay.value, keep.messages);
        table.wrong(replay.at, "replay", what);
    }
    replay.value as usize
}

fn read_presence(table: &mut Table<'_, '_>) -> Listing {
    let choices = [("off", Listing::Off), ("on", Listing::On), ("announced", Listing::Announced)];
    table.choice("presence", &choices).map_or(Listing::Off, |presence| presence.value)
}

fn read_lag(table: &mut Table<'_, '_>) -> Lag {
    let choices = [("close", Lag::Close), ("skip", Lag::Skip), ("latest", Lag::Latest)];
    table.choice("lag", &choices).map_or(Lag::Close, |lag| lag.value)
}

fn read_template(table: &mut Table<'_, '_>) -> Option<String> {
    let template = table.text("template")?;
    if !template.value.contains("{text}") {
        table.wrong(template.at, "template", "has no {text}, so that what is said would be lost");
    }
    Some(template.value)
}

/// What Channels takes as a name.
const NAMES: &str = "Channels takes fewer than 100 ASCII letters, digits, hyphens, underscores and periods";

/// How a route's rooms are spoken of on a Channels layer.
fn read_channels(table: &mut Table<'_, '_>, has_room: bool, protocol: Protocol) -> Option<Dialect> {
    let mut channels = table.table("channels")?;
    if protocol == Protocol::Nodes {
        table.wrong(channels.at(), "channels", "means nothing without backplane.layer = \"channels\"");
    }
    let (plain, kind_at) = (Dialect::default(), channels.find("type"));
    let dialect = Dialect {
        group: read_group(&mut channels, has_room).unwrap_or(plain.group),
        kind: filled(&mut channels, "type").unwrap_or(plain.kind),
        field: read_field(&mut channels, "field").unwrap_or(plain.field),
        is_object: channels.flag("json").is_some_and(|json| json.value),
        text: read_field(&mut channels, "text"),
        send_to: read_send_to(&mut channels),
    };
    if dialect.kind.starts_with(['.', '_'])
        && let Some(at) = kind_at
    {
        channels.wrong(at, "type", format!("`{}` begins as no method that Channels calls may", dialect.kind));
    }
    channels.finish();
    Some(dialect)
}

fn read_group(channels: &mut Table<'_, '_>, has_room: bool) -> Option<String> {
    let group = channels.text("group")?;
    if !Dialect::is_name(&group.value.replace(Dialect::ROOM, "x")) {
        channels.wrong(group.at, "group", format!("`{}` does not do: {NAMES}", group.value));
    } else if has_room && !group.value.contains(Dialect::ROOM) {
        channels.wrong(group.at, "group", "has no {room}, so that all rooms of this path would be one group");
    }
    Some(group.value)
}

fn read_field(channels: &mut Table<'_, '_>, key: &'static str) -> Option<String> {
    let at = channels.find(key);
    let field = filled(channels, key)?;
    if let Some(at) = at.filter(|_| matches!(field.as_str(), "type" | "__asgi_channel__")) {
        channels.wrong(at, key, format!("`{field}` is the layer's own"));
    }
    Some(field)
}

fn read_send_to(channels: &mut Table<'_, '_>) -> Option<String> {
    let channel = channels.text("send_to")?;
    if !Dialect::is_name(&channel.value) {
        channels.wrong(channel.at, "send_to", format!("`{}` is no worker's channel: {NAMES}", channel.value));
    }
    Some(channel.value)
}

fn read_bytes_max(table: &mut Table<'_, '_>, limits: &Limits) -> Option<usize> {
    let bytes_max = table.amount("message_bytes_max", Unit::Bytes)?;
    if bytes_max.value as usize > limits.message_bytes_max {
        table.wrong(
            bytes_max.at,
            "message_bytes_max",
            format!(
                "is above limits.message_bytes_max, {}",
                Unit::Bytes.show(limits.message_bytes_max as u64)
            ),
        );
    }
    Some(bytes_max.value as usize)
}

fn read_rate(table: &mut Table<'_, '_>) -> Option<Rate> {
    let mut rate = table.table("rate")?;
    let (messages, per) = (rate.amount("messages", Unit::Count), rate.amount("per", Unit::Time));
    for (key, value) in [("messages", &messages), ("per", &per)] {
        match value {
            Some(Item { value: 0, at }) => rate.wrong(*at, key, "is 0, which allows nothing"),
            Some(_) => {}
            None if rate.has_had(key) => {}
            None => rate.wrong(rate.at(), key, "is missing: a rate is so many messages per a time"),
        }
    }
    if let Some(Item { at, .. }) = messages.as_ref().filter(|messages| messages.value > u64::from(u32::MAX)) {
        rate.wrong(*at, "messages", format!("is above {}", u32::MAX));
    }
    rate.finish();
    Some(Rate { messages: messages?.value as u32, per: Duration::from_millis(per?.value) })
}
