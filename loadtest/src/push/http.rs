//! Requests to a room and what answers them: publishing, and polls with their pages.

use crate::client::Broken;
use crate::client::head::Response;
use crate::reactor::{Message, split};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Messages on a page, at most: what a poll may find.
const PAGE: usize = 1_000;

/// For one answer before the run.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes a server's bytes as they come and gives out whole responses.
#[derive(Default)]
pub(super) struct ResponseReader {
    partial: Vec<u8>,
}

impl ResponseReader {
    /// Takes the next bytes, however they are cut; `sink` gets each status with its body.
    ///
    /// # Errors
    /// What is no response, or has no length.
    pub(super) fn feed(&mut self, bytes: &[u8], mut sink: impl FnMut(u16, &[u8])) -> Result<(), Broken> {
        self.partial.extend_from_slice(bytes);
        let mut rest = &self.partial[..];
        while let Some((response, head)) = head_in(rest)? {
            let length = match response.field("content-length").map(str::parse::<usize>) {
                Some(Ok(length)) => length,
                None if response.status == 204 => 0,
                _ => return Err(Broken::new("a response without a length")),
            };
            let Some(body) = rest.get(head..head + length) else { break };
            sink(response.status, body);
            rest = &rest[head + length..];
        }
        let read = self.partial.len() - rest.len();
        self.partial.drain(..read);
        Ok(())
    }
}

/// The response whose head is whole, and how long that is.
pub(super) fn head_in(bytes: &[u8]) -> Result<Option<(Response, usize)>, Broken> {
    match bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        Some(at) => Ok(Some((Response::parse(&bytes[..at + 4])?, at + 4))),
        None => Ok(None),
    }
}

/// The answer to a poll.
#[derive(Deserialize)]
pub(super) struct Page {
    /// Where the next poll starts.
    pub(super) position: String,
    recovered: bool,
    /// Whether there is more to be had at once.
    pub(super) more: bool,
    messages: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    text: Option<String>,
    base64: Option<String>,
}

impl Page {
    /// Reads a page and gives out its messages.
    ///
    /// # Errors
    /// What is no page, or says that something is missing.
    pub(super) fn read(body: &[u8], mut sink: impl FnMut(Message<'_>)) -> Result<Self, Broken> {
        let page: Self = serde_json::from_slice(body).map_err(|error| Broken(format!("a page: {error}")))?;
        if !page.recovered {
            return Err(Broken::new("a page from which something is missing"));
        }
        for entry in &page.messages {
            match (&entry.text, &entry.base64) {
                (Some(text), _) => sink(Message::Text(text.as_bytes())),
                (None, Some(base64)) => {
                    let bytes = STANDARD.decode(base64).map_err(|_| Broken::new("base64 that is none"))?;
                    sink(Message::Binary(&bytes));
                }
                // A notice of the server's own.
                (None, None) => {}
            }
        }
        Ok(page)
    }
}

/// A room's address over plain HTTP, which follows from its WebSocket's.
pub(crate) struct Room {
    authority: String,
    path: String,
}

impl Room {
    /// The room at the end of a `ws://` address.
    ///
    /// # Errors
    /// In words, when it is no such address or names no room.
    pub(crate) fn at(url: &str) -> Result<Self, String> {
        let (authority, path) = split(url)?;
        let path = path.split('?').next().unwrap_or_default().trim_end_matches('/');
        match path.rsplit_once('/') {
            Some((_, room)) if !room.is_empty() => {
                Ok(Self { authority: authority.to_owned(), path: format!("/rooms/{room}") })
            }
            _ => Err(format!("{url}: no room is named at the end of it")),
        }
    }

    /// The head of a request that publishes a message of so many bytes.
    pub(super) fn post(&self, size: usize, is_text: bool) -> Vec<u8> {
        let kind = if is_text { "text/plain" } else { "application/octet-stream" };
        let Self { authority, path } = self;
        format!(
            "POST {path}/messages HTTP/1.1\r\nHost: {authority}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n"
        )
        .into_bytes()
    }

    /// A request for what came after `since`, which waits so many seconds for it.
    pub(super) fn poll(&self, since: &str, wait: u64) -> Vec<u8> {
        let Self { authority, path } = self;
        let wait = if wait == 0 { String::new() } else { format!("&wait={wait}") };
        format!("GET {path}/messages?since={since}&limit={PAGE}{wait} HTTP/1.1\r\nHost: {authority}\r\n\r\n")
            .into_bytes()
    }

    /// A request for events after `since`.
    pub(super) fn events(&self, since: &str) -> Vec<u8> {
        let Self { authority, path } = self;
        format!(
            "GET {path}/events?since={since} HTTP/1.1\r\nHost: {authority}\r\nAccept: text/event-stream\r\n\r\n"
        )
        .into_bytes()
    }

    /// Publishes a first message and tells its position, from which all subscribers start: nobody is early or late.
    ///
    /// # Errors
    /// In words, when the server does not take it.
    pub(crate) fn begin(&self) -> Result<String, String> {
        #[derive(Deserialize)]
        struct Published {
            position: Option<String>,
        }
        let failed = |error: std::io::Error| format!("{}: {error}", self.authority);
        let mut stream = TcpStream::connect(&self.authority).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.write_all(&[&self.post(5, true)[..], b"begin"].concat()).map_err(failed)?;
        let (mut reader, mut answer) = (ResponseReader::default(), None);
        while answer.is_none() {
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).map_err(failed)?;
            let take = |status: u16, body: &[u8]| answer = Some((status, body.to_vec()));
            reader.feed(&bytes[..read], take).map_err(|broken| broken.to_string())?;
            if read == 0 && answer.is_none() {
                return Err(format!("{}: closed without an answer", self.authority));
            }
        }
        let (status, body) = answer.unwrap_or_default();
        let published = serde_json::from_slice::<Published>(&body).ok();
        published
            .and_then(|published| published.position)
            .ok_or_else(|| format!("a first message in {} was answered {status}", self.path))
    }
}
