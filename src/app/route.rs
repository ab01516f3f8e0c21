//! Which path leads to what.

use std::fmt;

/// One row of the route table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The paths it serves.
    pub pattern: Pattern,
    /// What happens to a message.
    pub mode: Mode,
    /// The room, where the pattern names none; the path itself, where this is empty too.
    pub room: Option<String>,
    /// Sent to everyone who connects.
    pub greeting: Option<String>,
    /// A text that ends the connection with 1000.
    pub exit_word: Option<String>,
    /// The subprotocols it speaks, the preferred first.
    pub subprotocols: Vec<String>,
    /// Whether a client has to offer one of them.
    pub subprotocol_required: bool,
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
        }
    }

    /// The routes of a server that was told nothing: `/echo` and `/chat/{room}`.
    pub fn defaults() -> Vec<Route> {
        let echo = Pattern { segments: vec![Segment::Literal("echo".into())] };
        let chat = Pattern { segments: vec![Segment::Literal("chat".into()), Segment::Room] };
        vec![Route::new(echo, Mode::Echo), Route::new(chat, Mode::Room)]
    }

    /// The room that a path leads to, where the pattern captured `captured` from it.
    pub(super) fn room_for(&self, captured: &str, path: &str) -> String {
        match (&self.room, captured) {
            (Some(room), "") => room.clone(),
            (None, "") => path.to_owned(),
            (_, captured) => captured.to_owned(),
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
    fn what_is_no_pattern() {
        for text in ["", "chat", "//", "/a//b", "/{room}/{room}", "/{name}", "/a?b"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
