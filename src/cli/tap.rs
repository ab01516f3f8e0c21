//! `fanline tap`: what is published in a room, line by line.

use std::io::{BufRead, BufReader, ErrorKind};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ArgMatches;
use serde_json::{Value, json};

use super::Failure;
use super::client::{Client, encode_room};
use super::show::{json_line, plain, print};

/// A server-sent event (HTML §9.2.6).
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    id: String,
    kind: String,
    data: Option<String>,
}

impl Event {
    /// Takes a line in; whether the event is whole.
    fn take(&mut self, line: &str) -> bool {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = value.to_owned(),
            "event" => self.kind = value.to_owned(),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            _ => {}
        }
        line.is_empty()
    }

    /// What is said of it: a publication, or something that the reader has to know.
    fn show(&self, is_json: bool) -> Option<String> {
        let data = self.data.as_deref()?;
        let decoded = || STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        if is_json {
            let object: Value = match self.kind.as_str() {
                "" => json!({ "position": self.id, "text": data }),
                "text-base64" => json!({ "position": self.id, "text": decoded() }),
                "binary" => json!({ "position": self.id, "base64": data }),
                kind => json!({ "position": self.id, kind: serde_json::from_str::<Value>(data).ok() }),
            };
            return Some(json_line(&object));
        }
        let said = match self.kind.as_str() {
            "" => plain(data),
            "text-base64" => plain(&decoded().unwrap_or_default()),
            "binary" => format!("({} bytes)", STANDARD.decode(data).map_or(0, |bytes| bytes.len())),
            kind => format!("({} {})", plain(kind), plain(data)),
        };
        Some(format!("{}  {said}\n", plain(&self.id)))
    }
}

/// Follows a room until enough has come, or the server ends it.
pub(super) fn follow(client: &Client, args: &ArgMatches) -> Result<(), Failure> {
    let room = args.get_one::<String>("room").cloned().unwrap_or_default();
    let last = args.get_one::<u32>("last").map_or(String::new(), |last| format!("?last={last}"));
    let (count, is_json) = (args.get_one::<u32>("count").copied(), args.get_flag("json"));
    let nowhere = || format!("there is no room `{}`; `fanline rooms` lists those there are", plain(&room));
    let events = client.follow(&format!("rooms/{}/tap{last}", encode_room(&room)));
    let mut lines = BufReader::new(events.map_err(|failure| failure.of_what(nowhere()))?);
    let (mut event, mut line, mut seen) = (Event::default(), Vec::new(), 0);
    while count.is_none_or(|count| seen < count) {
        line.clear();
        match lines.read_until(b'\n', &mut line) {
            Ok(0) => {
                let why = "it ends, the tap was too slow for the room, or somebody has kicked it";
                return Err(Failure(format!("the server has ended the tap: {why}")));
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(Failure("the server has gone silent".to_owned()));
            }
            Err(error) => return Err(error.into()),
        }
        let text = String::from_utf8_lossy(&line);
        if event.take(text.trim_end_matches('\n')) {
            let whole = std::mem::take(&mut event);
            if let Some(said) = whole.show(is_json) {
                print(&said)?;
                seen += 1;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lines: &str, is_json: bool) -> Vec<String> {
        let mut event = Event::default();
        let mut said = Vec::new();
        for line in lines.split('\n') {
            if event.take(line) {
                said.extend(std::mem::take(&mut event).show(is_json));
            }
        }
        said
    }

    #[test]
    fn what_somebody_has_published_does_nothing_to_a_terminal_in_json_either() {
        for is_json in [false, true] {
            let said = shown("id: 1:1\ndata: a\u{9b}2J\u{7f}\u{202e}b\u{1}房\n\n", is_json).remove(0);
            assert!(!said.trim_end().contains(|c: char| c.is_control() || c == '\u{202e}'), "{said:?}");
            assert!(said.contains('房'), "{said}");
        }
        let said = shown("id: 1:1\ndata: a\u{9b}2J\u{7f}\u{202e}b\n\n", true).remove(0);
        let value: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(value["text"], "a\u{9b}2J\u{7f}\u{202e}b", "it says the same");
    }

    #[test]
    fn events_as_lines_and_as_json() {
        let events = "retry: 2000\nid: 3:1\n\n:\n\nid: 3:2\ndata: one\ndata: two\n\n\
                      id: 3:3\nevent: binary\ndata: AP8=\n\nid: 3:4\nevent: text-base64\ndata: YQ1i\n\n\
                      event: notice\ndata: {\"skipped\":3}\n\n";
        assert_eq!(
            shown(events, false),
            ["3:2  one\\u{a}two\n", "3:3  (2 bytes)\n", "3:4  a\\u{d}b\n", "  (notice {\"skipped\":3})\n"]
        );
        let json: Vec<Value> =
            shown(events, true).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            json,
            [
                json!({ "position": "3:2", "text": "one\ntwo" }),
                json!({ "position": "3:3", "base64": "AP8=" }),
                json!({ "position": "3:4", "text": "a\rb" }),
                json!({ "position": "", "notice": { "skipped": 3 } }),
            ]
        );
    }
}
