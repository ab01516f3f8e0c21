//! Requests written, and responses read, without the library's help.

/// The key of RFC 6455 §1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What answers it.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A request in the making.
#[derive(Clone)]
pub struct Ask {
    request_line: String,
    fields: Vec<(String, String)>,
}

/// A handshake that is right in every way.
pub fn ask() -> Ask {
    let fields = [
        ("Host", "server.example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
    ];
    get("/chat").with_fields(&fields)
}

/// A plain request without any field.
pub fn get(target: &str) -> Ask {
    Ask { request_line: format!("GET {target} HTTP/1.1"), fields: Vec::new() }
}

impl Ask {
    pub fn line(mut self, request_line: &str) -> Self {
        self.request_line = request_line.into();
        self
    }

    pub fn target(self, target: &str) -> Self {
        self.line(&format!("GET {target} HTTP/1.1"))
    }

    /// Adds a field, also beside others of the same name.
    pub fn and(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Gives a field this value instead of the one it has.
    pub fn with(self, name: &str, value: &str) -> Self {
        self.without(name).and(name, value)
    }

    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    pub fn with_fields(mut self, fields: &[(&str, &str)]) -> Self {
        self.fields.extend(fields.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        self
    }

    pub fn text(&self) -> String {
        let fields: String = self.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{}\r\n{fields}\r\n", self.request_line)
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.text().into_bytes()
    }
}

/// A response, as read.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    fields: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The values of all fields with this name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = self.fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of the one field with this name.
    pub fn one(&self, name: &str) -> &str {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name} in {self:?}");
        all[0]
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }
}

/// Reads one response, with its body, and says what follows it.
pub fn read_answer(bytes: &[u8]) -> (Answer, &[u8]) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let status_line = lines.next().unwrap();
    let (version, status) = (&status_line[..9], status_line[9..12].parse().unwrap());
    assert_eq!(version, "HTTP/1.1 ");
    let fields = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut answer = Answer { status, fields, body: String::new() };
    // RFC 9112 §6: a 101 has no body and no length; everything else says how long it is.
    let len = if status == 101 { 0 } else { answer.one("content-length").parse().unwrap() };
    answer.body = String::from_utf8(bytes[end..end + len].to_vec()).unwrap();
    (answer, &bytes[end + len..])
}
