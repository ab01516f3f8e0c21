//! Clients for the tests: tungstenite, which shares no code with the server, and bare sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// How long any single answer may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub type Client = WebSocket<TcpStream>;

/// Opens a TCP connection whose reads do not last for ever.
pub fn tcp(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Opens a WebSocket.
pub fn connect(addr: SocketAddr, path: &str) -> Client {
    try_connect(addr, path, &[]).unwrap()
}

/// Opens a WebSocket with further headers, or says which status refused it. Who shows a cookie does as a browser does, and
/// says at which page it is.
pub fn try_connect(addr: SocketAddr, path: &str, headers: &[(&'static str, &str)]) -> Result<Client, u16> {
    let mut request = format!("ws://{addr}{path}").into_client_request().unwrap();
    if headers.iter().any(|(name, _)| *name == "cookie") {
        request.headers_mut().insert("origin", format!("http://{addr}").parse().unwrap());
    }
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match tungstenite::client(request, tcp(addr)) {
        Ok((client, _)) => Ok(client),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
            Err(response.status().as_u16())
        }
        Err(error) => panic!("{path}: {error}"),
    }
}

/// Looks again and again until it is so.
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < 2 * PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The next message. A signal to another test of this process may interrupt a read that has a time limit.
fn read(client: &mut Client) -> tungstenite::Result<Message> {
    loop {
        match client.read() {
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// The next text.
pub fn text(client: &mut Client) -> String {
    match read(client).unwrap() {
        Message::Text(text) => text.to_string(),
        other => panic!("not a text: {other:?}"),
    }
}

/// Reads to the end: the code and the reason of the Close on the way.
pub fn closed(client: &mut Client) -> Option<(u16, String)> {
    let mut close = None;
    loop {
        match read(client) {
            Ok(Message::Close(frame)) => {
                close = frame.map(|frame| (frame.code.into(), frame.reason.to_string()))
            }
            Ok(_) => {}
            Err(_) => return close,
        }
    }
}

/// Sends bytes on a fresh connection and reads until the server ends it.
pub fn exchange(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = tcp(addr);
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A plain request that asks for the connection to be closed after the answer.
pub fn get(addr: SocketAddr, path: &str) -> String {
    exchange(addr, format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").as_bytes())
}
