//! What has come to a client and is not read yet, taken apart as it becomes whole: answers, frames, events.

#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
}

/// An answer to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// One of the events that are sent by a server.
#[derive(Debug)]
pub struct Event(pub String);

impl Event {
    /// The values of all fields of this name.
    pub fn field(&self, name: &str) -> Vec<&str> {
        self.0.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
    }
}

impl Inbox {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether everything has arrived whole.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn answer(&mut self) -> Option<Answer> {
        let at = self.bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8(self.bytes[..at].to_vec()).unwrap();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let len: usize = match head.to_ascii_lowercase().split_once("content-length: ") {
            Some((_, rest)) => rest.split("\r\n").next().unwrap().parse().unwrap(),
            None => 0,
        };
        let body = String::from_utf8(self.bytes.get(at + 4..at + 4 + len)?.to_vec()).unwrap();
        self.bytes.drain(..at + 4 + len);
        Some(Answer { status, head, body })
    }

    pub fn event(&mut self) -> Option<Event> {
        let at = self.bytes.windows(2).position(|window| window == b"\n\n")?;
        let rest = self.bytes.split_off(at + 2);
        let mut taken = std::mem::replace(&mut self.bytes, rest);
        taken.truncate(at);
        Some(Event(String::from_utf8(taken).unwrap()))
    }

    /// The first byte of a server's frame, and its payload.
    pub fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (len, start) = match *self.bytes.get(1)? {
            126 => (usize::from(u16::from_be_bytes([*self.bytes.get(2)?, *self.bytes.get(3)?])), 4),
            127 => (u64::from_be_bytes(self.bytes.get(2..10)?.try_into().unwrap()) as usize, 10),
            len => (usize::from(len), 2),
        };
        let payload = self.bytes.get(start..start + len)?.to_vec();
        let first = self.bytes[0];
        self.bytes.drain(..start + len);
        Some((first, payload))
    }
}

/// The code in the payload of a Close; one without is 1005.
pub fn close_code(payload: &[u8]) -> u16 {
    payload.first_chunk::<2>().map_or(1005, |code| u16::from_be_bytes(*code))
}
