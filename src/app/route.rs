//! Which path leads to what.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::time;
use crate::backplane::channels::Dialect;
use crate::{Keep, Lag, Limits, Message, Refusal};

/// One row of the route table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The paths it serves.
    pub pattern: Pattern,
    /// What happens to a message.
    pub mode: Mode,
    /// The room, where the pattern names none; the path without its outer slashes, where this is empty too.
    pub room: Option<String>,
    /// Sent to everyone who connects.
    pub greeting: Option<String>,
    /// A text that ends the connection with 1000.
    pub exit_word: Option<String>,
    /// The subprotocols it speaks, the preferred first.
    pub subprotocols: Vec<String>,
    /// Whether a client has to offer one of them.
    pub subprotocol_required: bool,
    /// How much history its rooms keep.
    pub keep: Keep,
    /// How many publications a newcomer is sent that does not say where it starts.
    pub replay: usize,
    /// Whether its members are sent what they publish themselves.
    pub echo: bool,
    /// What happens to members that are slow.
    pub lag: Lag,
    /// Whether its members are sent compressed messages, where permessage-deflate was agreed with them.
    pub compress: bool,
    /// Whether its members only read, and what they are sent is published over HTTP.
    pub read_only: bool,
    /// Whether its members are listed.
    pub presence: Listing,
    /// Whether the first thing a client is sent is a new id of its own, as Tornado's chat does.
    pub uid: bool,
    /// What a text becomes when it is published, with `{user}`, `{time}` and `{text}` filled in.
    pub template: Option<String>,
    /// The longest message.
    pub message_bytes_max: Option<usize>,
    /// How many messages one connection may send in which time.
    pub rate: Option<Rate>,
    /// How its rooms are spoken of on a Channels layer, where they are shared through one.
    pub channels: Option<Arc<Dialect>>,
}

/// Whether a room's members are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// They are only counted.
    #[default]
    Off,
    /// Who asks is told.
    On,
    /// The others are told, too, when somebody comes or goes.
    Announced,
}

/// So many in such a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many; as many may come at once.
    pub messages: u32,
    /// In which time.
    pub per: Duration,
}

/// A message as it is published.
#[derive(Debug)]
pub enum Filled<'m> {
    /// No template has changed it.
    AsItCame(Message<'m>),
    /// The template with everything filled in.
    Text(String),
}

impl Filled<'_> {
    /// The message.
    pub fn as_message(&self) -> Message<'_> {
        match self {
            Filled::AsItCame(message) => *message,
            Filled::Text(text) => Message::Text(text),
        }
    }
}

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It goes back to its sender.
    Echo,
    /// It goes to every member of the room.
    Room,
}

impl Route {
    /// A route without options.
    pub fn new(pattern: Pattern, mode: Mode) -> Self {
        Self {
            pattern,
            mode,
            room: None,
            greeting: None,
            exit_word: None,
            subprotocols: Vec::new(),
            subprotocol_required: false,
            keep: match mode {
                Mode::Echo => Keep::default(),
                Mode::Room => Self::KEEP,
            },
            replay: 0,
            echo: true,
            lag: Lag::Close,
            compress: false,
            read_only: false,
            presence: Listing::Off,
            uid: false,
            template: None,
            message_bytes_max: None,
            rate: None,
            channels: None,
        }
    }

    /// What a room keeps unless told otherwise: enough for a reader whose network was away for a moment.
    pub const KEEP: Keep = Keep { messages: 100, bytes: 64 << 10, age: Duration::from_secs(300) };

    /// Whether a room of this name belongs to this route.
    pub fn leads_to(&self, room: &str) -> bool {
        self.mode == Mode::Room && !room.is_empty() && (self.pattern.has_room() || self.fixed_room() == room)
    }

    /// How a room is spoken of on a Channels layer, where it is shared through one.
    ///
    /// # Errors
    /// The refusal of a room whose name does not do in that of a group.
    pub fn dialect_of(&self, room: &str) -> Result<Option<&Arc<Dialect>>, Refusal> {
        match &self.channels {
            Some(dialect) if dialect.group_of(room).is_none() => Err(Refusal::Malformed(
                "this name does not do in that of a Channels group: ASCII letters, digits, hyphens, underscores, periods",
            )),
            dialect => Ok(dialect.as_ref()),
        }
    }

    /// How long a message may be here.
    pub(super) fn bytes_max(&self, limits: &Limits) -> usize {
        let own = self.message_bytes_max.unwrap_or(usize::MAX);
        if self.channels.is_some() { own.min(limits.channels_message_bytes_max) } else { own }
    }

    /// The room of a route whose path names none.
    pub fn fixed_room(&self) -> String {
        self.room.clone().unwrap_or_else(|| self.pattern.to_room())
    }

    /// What a message becomes when it is published here.
    pub fn fill<'m>(&self, message: Message<'m>, user: Option<&str>, now_ms: u64) -> Filled<'m> {
        let (Some(mut rest), Message::Text(text)) = (self.template.as_deref(), message) else {
            return Filled::AsItCame(message);
        };
        let mut filled = String::with_capacity(rest.len() + text.len());
        // Piece by piece, so that what was filled in is not filled in again.
        while let Some(at) = rest.find('{') {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            let value = |rest: &str| match rest {
                _ if rest.starts_with("{user}") => Some((6, user.unwrap_or("anonymous").to_owned())),
                _ if rest.starts_with("{time}") => Some((6, time::date_and_time(now_ms))),
                _ if rest.starts_with("{text}") => Some((6, text.to_owned())),
                _ => None,
            };
            let (len, value) = value(rest).unwrap_or((1, "{".to_owned()));
            filled.push_str(&value);
            rest = &rest[len..];
        }
        filled.push_str(rest);
        Filled::Text(filled)
    }

    /// The routes of a server that was told nothing: `/echo` and `/chat/{room}`.
    pub fn defaults() -> Vec<Route> {
        let echo = Pattern { segments: vec![Segment::Literal("echo".into())] };
        let chat = Pattern { segments: vec![Segment::Literal("chat".into()), Segment::Room] };
        vec![Route::new(echo, Mode::Echo), Route::new(chat, Mode::Room)]
    }

    /// The room that a path leads to, where the pattern captured `captured` from it.
    pub(super) fn room_for(&self, captured: &str) -> String {
        match captured {
            "" => self.fixed_room(),
            captured => captured.to_owned(),
        }
    }
}

/// A path whose segments are literal, but for at most one `{room}`. A slash at the end makes no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Room,
}

/// A pattern that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPattern(String);

impl fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a path such as /echo or /chat/{{room}}", self.0)
    }
}

impl std::error::Error for InvalidPattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Literal(literal) => write!(f, "/{literal}")?,
                Segment::Room => f.write_str("/{room}")?,
            }
        }
        if self.segments.is_empty() { f.write_str("/") } else { Ok(()) }
    }
}

impl Pattern {
    /// Reads a pattern such as `/chat/{room}`.
    ///
    /// # Errors
    /// [`InvalidPattern`], where it does not begin with a slash, names two rooms, or has an empty segment.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let invalid = || InvalidPattern(text.to_owned());
        let segments: Vec<Segment> = segments(text).ok_or_else(invalid)?.map(Segment::parse).collect();
        let rooms = segments.iter().filter(|segment| **segment == Segment::Room).count();
        let is_odd = |segment: &Segment| match segment {
            Segment::Literal(text) => text.is_empty() || text.contains(['{', '}', '?', '#']),
            Segment::Room => false,
        };
        if rooms > 1 || segments.iter().any(is_odd) { Err(invalid()) } else { Ok(Self { segments }) }
    }

    /// The pattern of `/` alone.
    pub fn root() -> Self {
        Self { segments: Vec::new() }
    }

    /// Whether every path that `other` serves is served by this pattern, too.
    pub fn covers(&self, other: &Pattern) -> bool {
        let covers = |(own, others): (&Segment, &Segment)| own == others || *own == Segment::Room;
        self.segments.len() == other.segments.len() && self.segments.iter().zip(&other.segments).all(covers)
    }

    /// Whether the path names the room.
    pub fn has_room(&self) -> bool {
        self.segments.contains(&Segment::Room)
    }

    /// The path as the name of a room, without the slashes at its ends; `root` for `/`.
    fn to_room(&self) -> String {
        let literals = self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(literal) => Some(literal.as_str()),
            Segment::Room => None,
        });
        let room = literals.collect::<Vec<_>>().join("/");
        if room.is_empty() { "root".to_owned() } else { room }
    }

    /// Whether the pattern serves a decoded path, and what it captures as the room; empty where it names none.
    pub fn matches(&self, path: &str) -> Option<String> {
        let mut captured = "";
        let mut found = segments(path)?;
        for segment in &self.segments {
            let text = found.next()?;
            match segment {
                Segment::Literal(literal) if literal == text => {}
                Segment::Room if !text.is_empty() => captured = text,
                Segment::Literal(_) | Segment::Room => return None,
            }
        }
        found.next().is_none().then(|| captured.to_owned())
    }
}

impl Segment {
    fn parse(text: &str) -> Self {
        match text {
            "{room}" => Segment::Room,
            literal => Segment::Literal(literal.to_owned()),
        }
    }
}

/// The segments of a path; none for `/`.
fn segments(path: &str) -> Option<impl Iterator<Item = &str>> {
    let inner = path.strip_prefix('/')?;
    let segments = inner.strip_suffix('/').unwrap_or(inner).split('/');
    Some(segments.skip(usize::from(inner.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_13_paths_and_the_rooms_they_lead_to() {
        let rows: &[(&str, &str, Option<&str>)] = &[
            ("/echo", "/echo", Some("")),
            ("/echo", "/echo/", Some("")),
            ("/echo/", "/echo", Some("")),
            ("/echo", "/echoes", None),
            ("/echo", "/echo/more", None),
            ("/chat/{room}", "/chat/lobby", Some("lobby")),
            ("/chat/{room}", "/chat/房间/", Some("房间")),
            ("/chat/{room}", "/chat/", None),
            ("/chat/{room}", "/chat//", None),
            ("/chat/{room}", "/chat/a/b", None),
            ("/{room}/ws", "/x/ws", Some("x")),
            ("/", "/", Some("")),
            ("/", "/x", None),
        ];
        for (pattern, path, want) in rows {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(path).as_deref(), *want, "{pattern} {path}");
        }
    }

    #[test]
    fn row_47_a_template_is_filled_in_once() {
        let chat = Pattern::parse("/chat/{room}").unwrap();
        let template = Some("{user}-{time}-说:{text}{?}".to_owned());
        let route = Route { template, ..Route::new(chat, Mode::Room) };
        let filled = route.fill("你好 {user}".into(), Some("小明{text}"), 1_763_719_200_000);
        assert_eq!(
            filled.as_message().as_text().unwrap(),
            "小明{text}-2025-11-21 10:00:00-说:你好 {user}{?}"
        );
        let filled = route.fill("x".into(), None, 0);
        assert!(filled.as_message().as_text().unwrap().starts_with("anonymous-1970-01-01 00:00:00-"));
        let bytes = Message::Binary(b"x");
        assert_eq!(route.fill(bytes, None, 0).as_message(), bytes);
    }

    #[test]
    fn the_route_that_a_room_belongs_to() {
        let rows = [
            ("/chat/{room}", "lobby", true),
            ("/websocket", "websocket", true),
            ("/websocket", "x", false),
            ("/a/b/", "a/b", true),
            ("/", "root", true),
        ];
        for (pattern, room, want) in rows {
            let route = Route::new(Pattern::parse(pattern).unwrap(), Mode::Room);
            assert_eq!(route.leads_to(room), want, "{pattern} {room}");
        }
        assert!(!Route::new(Pattern::parse("/{room}").unwrap(), Mode::Echo).leads_to("x"));
    }

    #[test]
    fn which_pattern_leaves_another_nothing() {
        let rows = [
            ("/chat/{room}", "/chat/lobby", true),
            ("/chat/{room}", "/chat/{room}/", true),
            ("/chat/lobby", "/chat/{room}", false),
            ("/{room}", "/chat/lobby", false),
            ("/{room}/ws", "/x/{room}", false),
            ("/", "/", true),
        ];
        for (one, other, want) in rows {
            let (one, other) = (Pattern::parse(one).unwrap(), Pattern::parse(other).unwrap());
            assert_eq!(one.covers(&other), want, "{one} {other}");
            assert_eq!(Pattern::parse(&one.to_string()).unwrap(), one);
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for text in ["", "chat", "//", "/a//b", "/{room}/{room}", "/{name}", "/a?b"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
