//! The `[[route]]` tables of a configuration file.

use std::time::Duration;

use serde::Deserialize;

use crate::Keep;
use crate::app::{Listing, Mode, Pattern, Rate, Route};
use crate::limits::Unit;

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum LimitValue {
    Number(u64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteEntry {
    path: String,
    mode: ModeEntry,
    room: Option<String>,
    greeting: Option<String>,
    exit_word: Option<String>,
    #[serde(default)]
    subprotocols: Vec<String>,
    #[serde(default)]
    subprotocol_required: bool,
    history: Option<HistoryEntry>,
    #[serde(default)]
    replay: usize,
    echo: Option<bool>,
    #[serde(default)]
    presence: ListingEntry,
    #[serde(default)]
    uid: bool,
    template: Option<String>,
    message_bytes_max: Option<LimitValue>,
    rate: Option<RateEntry>,
}

/// What a room keeps: each of the three, or what it keeps anyway; `messages = 0` is nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryEntry {
    messages: Option<usize>,
    bytes: Option<LimitValue>,
    age: Option<LimitValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateEntry {
    messages: u32,
    per: LimitValue,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ListingEntry {
    #[default]
    Off,
    On,
    Announced,
}

impl LimitValue {
    fn read(&self, name: &str, unit: Unit) -> Result<u64, String> {
        let text = match self {
            LimitValue::Number(number) => number.to_string(),
            LimitValue::Text(text) => text.clone(),
        };
        unit.parse(&text).ok_or_else(|| format!("route.{name}: `{text}` is not {}", unit.words()))
    }
}

impl HistoryEntry {
    fn into_keep(self) -> Result<Keep, String> {
        let bytes = self.bytes.map(|bytes| bytes.read("history.bytes", Unit::Bytes)).transpose()?;
        let age = self.age.map(|age| age.read("history.age", Unit::Time)).transpose()?;
        Ok(Keep {
            messages: self.messages.unwrap_or(Route::KEEP.messages),
            bytes: bytes.map_or(Route::KEEP.bytes, |bytes| bytes as usize),
            age: age.map_or(Route::KEEP.age, Duration::from_millis),
        })
    }
}

impl RateEntry {
    fn into_rate(self) -> Result<Rate, String> {
        let per = Duration::from_millis(self.per.read("rate.per", Unit::Time)?);
        match self.messages == 0 || per.is_zero() {
            true => Err("route.rate: at least one message, in at least 1ms".to_owned()),
            false => Ok(Rate { messages: self.messages, per }),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ModeEntry {
    Echo,
    Room,
}

impl RouteEntry {
    pub(super) fn into_route(self) -> Result<Route, String> {
        let pattern = Pattern::parse(&self.path).map_err(|error| format!("route.path: {error}"))?;
        let mode = match self.mode {
            ModeEntry::Echo => Mode::Echo,
            ModeEntry::Room => Mode::Room,
        };
        let is_token = |name: &String| crate::http::response::is_header(name, "");
        if let Some(name) = self.subprotocols.iter().find(|name| !is_token(name)) {
            return Err(format!("route.subprotocols: `{name}` is not a token"));
        }
        if self.subprotocol_required && self.subprotocols.is_empty() {
            return Err(format!("route.subprotocol_required: {} has no subprotocols", self.path));
        }
        let bytes_max =
            self.message_bytes_max.map(|max| max.read("message_bytes_max", Unit::Bytes)).transpose()?;
        let plain = Route::new(pattern, mode);
        Ok(Route {
            room: self.room,
            greeting: self.greeting,
            exit_word: self.exit_word,
            subprotocols: self.subprotocols,
            subprotocol_required: self.subprotocol_required,
            keep: self.history.map(HistoryEntry::into_keep).transpose()?.unwrap_or(plain.keep),
            replay: self.replay,
            echo: self.echo.unwrap_or(true),
            presence: match self.presence {
                ListingEntry::Off => Listing::Off,
                ListingEntry::On => Listing::On,
                ListingEntry::Announced => Listing::Announced,
            },
            uid: self.uid,
            template: self.template,
            message_bytes_max: bytes_max.map(|max| max as usize),
            rate: self.rate.map(RateEntry::into_rate).transpose()?,
            ..plain
        })
    }
}
