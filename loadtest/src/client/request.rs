//! Request heads that may be wrong on purpose, RFC 6455 §4.1 on RFC 9112.

use super::head::random_key;

/// An upgrade request, correct until one of its methods makes it otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: String,
    target: String,
    version: String,
    lines: Vec<Vec<u8>>,
    line_end: &'static [u8],
    prefix: &'static [u8],
    key: String,
}

impl Request {
    /// The shortest correct upgrade request of §4.1.
    pub(crate) fn upgrade(host: &str, target: &str) -> Request {
        let key = random_key();
        Request {
            method: "GET".to_owned(),
            target: target.to_owned(),
            version: "HTTP/1.1".to_owned(),
            lines: Vec::new(),
            line_end: b"\r\n",
            prefix: b"",
            key: key.clone(),
        }
        .set("Host", host)
        .set("Upgrade", "websocket")
        .set("Connection", "Upgrade")
        .set("Sec-WebSocket-Key", &key)
        .set("Sec-WebSocket-Version", "13")
    }

    /// The key that a correct answer hashes.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The value of `Host`, for other fields that repeat it.
    pub(crate) fn host(&self) -> String {
        let line = self.lines.iter().find(|line| is_field(line, "Host"));
        let value = line.map(|line| String::from_utf8_lossy(&line["Host:".len()..]).trim().to_owned());
        value.unwrap_or_default()
    }

    /// The same request with another method.
    pub(crate) fn method(mut self, method: &str) -> Request {
        self.method = method.to_owned();
        self
    }

    /// The same request with another request target.
    pub(crate) fn target(mut self, change: impl FnOnce(&str) -> String) -> Request {
        self.target = change(&self.target);
        self
    }

    /// The same request with another HTTP version.
    pub(crate) fn version(mut self, version: &str) -> Request {
        self.version = version.to_owned();
        self
    }

    /// The same request with other bytes at the end of each line.
    pub(crate) fn line_end(mut self, bytes: &'static [u8]) -> Request {
        self.line_end = bytes;
        self
    }

    /// The same request with bytes in front of the request line.
    pub(crate) fn prefix(mut self, bytes: &'static [u8]) -> Request {
        self.prefix = bytes;
        self
    }

    /// The same request without a field.
    pub(crate) fn without(mut self, name: &str) -> Request {
        self.lines.retain(|line| !is_field(line, name));
        self
    }

    /// The same request with one field of this name, in its old place if it had one.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Request {
        let line = format!("{name}: {value}").into_bytes();
        match self.lines.iter().position(|line| is_field(line, name)) {
            Some(place) => self.lines[place] = line,
            None => self.lines.push(line),
        }
        self
    }

    /// The same request with another key, which it expects to be hashed.
    pub(crate) fn with_key(mut self, key: &str) -> Request {
        self.key = key.to_owned();
        self.set("Sec-WebSocket-Key", key)
    }

    /// The same request with one more field, also of a name it has.
    pub(crate) fn add(self, name: &str, value: &str) -> Request {
        self.line(format!("{name}: {value}"))
    }

    /// The same request with one more line, raw.
    pub(crate) fn line(mut self, line: impl Into<Vec<u8>>) -> Request {
        self.lines.push(line.into());
        self
    }

    /// The same request with a raw line before all fields.
    pub(crate) fn first_line(mut self, line: impl Into<Vec<u8>>) -> Request {
        self.lines.insert(0, line.into());
        self
    }

    /// The same request with its field names changed.
    pub(crate) fn names(mut self, change: fn(&mut [u8])) -> Request {
        for line in &mut self.lines {
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            change(&mut line[..colon]);
        }
        self
    }

    /// The bytes on the wire.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.prefix.to_vec();
        out.extend_from_slice(format!("{} {} {}", self.method, self.target, self.version).as_bytes());
        out.extend_from_slice(self.line_end);
        for line in &self.lines {
            out.extend_from_slice(line);
            out.extend_from_slice(self.line_end);
        }
        out.extend_from_slice(self.line_end);
        out
    }
}

fn is_field(line: &[u8], name: &str) -> bool {
    line.len() > name.len()
        && line[name.len()] == b':'
        && line[..name.len()].eq_ignore_ascii_case(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_changes_one_thing_at_a_time() {
        let request =
            Request::upgrade("h:1", "/echo").set("upgrade", "h2c").without("Connection").line("bad");
        let text = String::from_utf8(request.encode()).unwrap();
        assert!(text.starts_with("GET /echo HTTP/1.1\r\nHost: h:1\r\nupgrade: h2c\r\nSec-WebSocket-Key: "));
        assert!(text.ends_with("\r\nSec-WebSocket-Version: 13\r\nbad\r\n\r\n"));
        assert_eq!(request.host(), "h:1");
    }
}
