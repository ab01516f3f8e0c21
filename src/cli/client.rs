//! An HTTP client for one server: a request, its answer, and the connection is over.
//!
//! It asks as HTTP/1.0, so that an answer ends with its connection and nobody on the way takes it into chunks.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::Failure;
use super::show::plain;

/// How long an answer may take; a look through the server takes a minute at most.
const PATIENCE: Duration = Duration::from_secs(70);

/// The longest answer.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// What is left as it is in a part of an address: RFC 3986 §2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as a part of an address.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A room's name as a part of a path: a slash in it stays one, since an encoded one could be read either way.
pub(super) fn encode_room(name: &str) -> String {
    name.split('/').map(encode).collect::<Vec<_>>().join("/")
}

/// Where the admin API is, and what it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    target: Target,
    token: Option<String>,
    patience: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Tcp { host: String },
    Unix(PathBuf),
}

trait Socket: Read + Write {}

impl<S: Read + Write> Socket for S {}

impl Client {
    pub(super) fn new(url: &str, token: Option<String>) -> Result<Self, Failure> {
        let is_token = |token: &String| token.bytes().all(|byte| byte.is_ascii_graphic());
        if !token.as_ref().is_none_or(is_token) {
            return Err(Failure("the admin token has characters that no token has".to_owned()));
        }
        let wrong = |why: &str| Failure(format!("`{url}` is not where an admin API can be: {why}"));
        if let Some(path) = url.strip_prefix("unix:") {
            return Ok(Self { target: Target::Unix(path.into()), token, patience: PATIENCE });
        }
        if url.starts_with("https://") {
            return Err(wrong(
                "TLS is not spoken here; go through a tunnel, such as ssh -L 9001:127.0.0.1:9001 HOST",
            ));
        }
        let rest = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        match rest.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok() => {
                Ok(Self { target: Target::Tcp { host: rest.to_owned() }, token, patience: PATIENCE })
            }
            Some(_) | None => Err(wrong("it is http://HOST:PORT or unix:PATH")),
        }
    }

    /// The same, and an answer may take this long.
    pub(super) fn with_patience(&self, patience: Duration) -> Self {
        Self { patience, ..self.clone() }
    }

    fn shown(&self) -> String {
        match &self.target {
            Target::Tcp { host } => format!("http://{host}"),
            Target::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// What is at a path below `/admin/api/`.
    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json(self.request("GET", path, b"")?)
    }

    /// What comes of a request that changes something, with a text.
    pub(super) fn post(&self, path: &str, text: &[u8]) -> Result<Value, Failure> {
        self.json(self.request("POST", path, text)?)
    }

    /// An answer that goes on.
    pub(super) fn follow(&self, path: &str) -> Result<impl Read + use<>, Failure> {
        self.request("GET", path, b"")
    }

    fn json(&self, answer: impl Read) -> Result<Value, Failure> {
        let parsed = serde_json::from_reader(BufReader::new(answer.take(ANSWER_BYTES_MAX)));
        parsed.map_err(|error| {
            Failure(format!("{} does not answer as an admin API does: {error}", self.shown()))
        })
    }

    /// Sends a request; what follows the head of its answer.
    fn request(&self, method: &str, path: &str, body: &[u8]) -> Result<Box<dyn Read>, Failure> {
        let mut socket = self.connect().map_err(|error| self.unreachable(&error))?;
        let host = match &self.target {
            Target::Tcp { host } => host,
            Target::Unix(_) => "localhost",
        };
        let mut head = format!("{method} /admin/api/{path} HTTP/1.0\r\nHost: {host}\r\n");
        if let Some(token) = &self.token {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        if method == "POST" {
            head += &format!("Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        let sent = socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(body));
        sent.map_err(|error| self.unreachable(&error))?;
        let (status, begun) = read_head(&mut socket).map_err(|error| self.unreachable(&error))?;
        let answer: Box<dyn Read> = Box::new(std::io::Cursor::new(begun).chain(socket));
        match status {
            200..=299 => Ok(answer),
            status => Err(self.refused(status, answer)),
        }
    }

    fn connect(&self) -> std::io::Result<Box<dyn Socket>> {
        match &self.target {
            Target::Tcp { host } => {
                let mut last = ErrorKind::AddrNotAvailable.into();
                for addr in host.to_socket_addrs()? {
                    match TcpStream::connect_timeout(&addr, self.patience) {
                        Ok(stream) => {
                            stream.set_read_timeout(Some(self.patience))?;
                            stream.set_write_timeout(Some(self.patience))?;
                            return Ok(Box::new(stream));
                        }
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
            Target::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(self.patience))?;
                stream.set_write_timeout(Some(self.patience))?;
                Ok(Box::new(stream))
            }
        }
    }

    fn unreachable(&self, error: &std::io::Error) -> Failure {
        let what = match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "there is no answer".to_owned(),
            _ => error.to_string(),
        };
        Failure(format!(
            "the admin API at {} cannot be reached: {what}\nDoes the server run, and with an admin listener \
             (--admin-listen 127.0.0.1:9001)? --admin or FANLINE_ADMIN names another address.",
            self.shown()
        ))
    }

    /// What an answer means that is none.
    fn refused(&self, status: u16, answer: impl Read) -> Failure {
        let said: Option<Value> = serde_json::from_reader(BufReader::new(answer.take(1 << 16))).ok();
        let why = said.as_ref().and_then(|said| said["error"].as_str()).unwrap_or("it does not say why");
        Failure(match (status, &self.token) {
            (401, None) => format!(
                "{} asks for the admin token: set FANLINE_ADMIN_TOKEN, or name its file with --token-file",
                self.shown()
            ),
            (401, Some(_)) => format!("{} does not know this admin token", self.shown()),
            (404, _) => "there is none".to_owned(),
            (503, _) => format!("not now: {}; try again", plain(why)),
            (status, _) => format!("{} refuses with {status}: {}", self.shown(), plain(why)),
        })
    }
}

impl Failure {
    /// Says what there is none of, where that is what is wrong.
    pub(super) fn of_what(self, what: String) -> Failure {
        if self.0 == "there is none" { Failure(what) } else { self }
    }
}

/// Reads to the end of the head: the status, and what has come behind it.
fn read_head(socket: &mut impl Read) -> std::io::Result<(u16, Vec<u8>)> {
    const HEAD_BYTES_MAX: usize = 64 << 10;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let len = socket.read(&mut buffer)?;
        if len == 0 || bytes.len() > HEAD_BYTES_MAX {
            return Err(std::io::Error::other("what answers does not speak HTTP"));
        }
        bytes.extend_from_slice(&buffer[..len]);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&bytes) {
            Ok(httparse::Status::Complete(head)) => {
                let status = response.code.unwrap_or_default();
                return Ok((status, bytes.split_off(head)));
            }
            Ok(httparse::Status::Partial) => {}
            Err(_) => return Err(std::io::Error::other("what answers does not speak HTTP")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_admin_api_can_be() {
        for url in [
            "http://127.0.0.1:9001",
            "http://127.0.0.1:9001/",
            "127.0.0.1:9001",
            "http://[::1]:1",
            "unix:/run/a",
        ] {
            assert!(Client::new(url, None).is_ok(), "{url}");
        }
        for url in ["", "http://host", "https://host:1", "http://host:1/path:2", "http://:1", "host:99999"] {
            let Failure(why) = Client::new(url, None).unwrap_err();
            assert!(why.contains("http://HOST:PORT") || why.contains("ssh -L"), "{why}");
        }
        assert!(Client::new("unix:/a", Some("two words".into())).is_err());
    }

    #[test]
    fn who_watches_is_not_kept_waiting_by_a_server_that_hangs() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = silent.local_addr().unwrap().to_string();
        let client = Client::new(&url, None).unwrap().with_patience(Duration::from_millis(50));
        let Failure(why) = client.get("status").unwrap_err();
        assert!(why.contains("there is no answer"), "{why}");
    }

    #[test]
    fn what_a_server_says_of_a_refusal_does_nothing_to_a_terminal() {
        let client = Client::new("127.0.0.1:1", None).unwrap();
        for status in [400, 503] {
            let Failure(why) = client.refused(status, &br#"{"error":"no \u001b[2J"}"#[..]);
            assert!(why.contains("no \\u{1b}[2J"), "{status}: {why}");
        }
    }

    #[test]
    fn a_head_is_read_however_it_is_cut_and_what_follows_is_kept() {
        struct Pieces<'a>(&'a [u8], usize);
        impl Read for Pieces<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                let len = self.1.min(self.0.len());
                buffer[..len].copy_from_slice(&self.0[..len]);
                self.0 = &self.0[len..];
                Ok(len)
            }
        }
        let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}";
        for size in 1..=answer.len() {
            let mut pieces = Pieces(answer, size);
            let (status, mut rest) = read_head(&mut pieces).unwrap();
            pieces.read_to_end(&mut rest).unwrap();
            assert_eq!((status, rest.as_slice()), (404, &b"{}"[..]), "in pieces of {size}");
        }
        assert!(read_head(&mut Pieces(b"SSH-2.0-x\r\n", 99)).is_err());
        assert!(read_head(&mut Pieces(b"HTTP/1.1 200 OK\r\n", 99)).is_err(), "it ends before the head does");
    }
}
