//! One `fanline` process, its members, and requests to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// How long anything may take that is to happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Node {
    child: Child,
    pub addr: SocketAddr,
}

impl Node {
    /// Starts one; publications are given up after a second, so that tests of it are short.
    pub fn start(url: &str, args: &[&str]) -> Self {
        Self::at(0, url, args)
    }

    /// Starts one at this port.
    pub fn at(port: u16, url: &str, args: &[&str]) -> Self {
        let is_patient = args.contains(&"--backplane-publish-deadline");
        let mut child = Command::new(env!("CARGO_BIN_EXE_fanline"))
            .args(["--listen", &format!("127.0.0.1:{port}"), "--backplane-url", url])
            .args(["--backplane-retry-max", "500ms"])
            .args(args)
            .args(if is_patient { &[][..] } else { &["--backplane-publish-deadline", "1s"] })
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().rsplit('/').next().unwrap().parse().unwrap();
        Self { child, addr }
    }

    /// Starts one and waits until it is ready.
    pub fn ready(url: &str, args: &[&str]) -> Self {
        let node = Self::start(url, args);
        node.wait_until(200);
        node
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// How long it takes until the node says that it is ready, or that it is not.
    pub fn wait_until(&self, status: u16) -> Duration {
        let begun = Instant::now();
        while self.get("/readyz").0 != status {
            assert!(begun.elapsed() < PATIENCE, "it never says {status}");
            std::thread::sleep(Duration::from_millis(20));
        }
        begun.elapsed()
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        self.request("GET", path, "", "")
    }

    /// Publishes a text under a key of its own.
    pub fn post(&self, room: &str, text: &str) -> (u16, String) {
        let key = format!("Idempotency-Key: {text}\r\n");
        self.request("POST", &format!("/rooms/{room}/messages"), &key, text)
    }

    /// Publishes a text until it is published.
    pub fn insist(&self, room: &str, text: &str) {
        let begun = Instant::now();
        while !matches!(self.post(room, text).0, 200 | 201) {
            assert!(begun.elapsed() < PATIENCE, "{text} is never published");
        }
    }

    pub fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (addr, len) = (self.addr, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Type: text/plain\r\n\
             Content-Length: {len}\r\n{headers}\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
    }

    /// Opens a WebSocket, with a subprotocol where one is named.
    pub fn connect(&self, path: &str, subprotocol: Option<&'static str>) -> WebSocket<TcpStream> {
        self.try_connect(path, subprotocol).unwrap()
    }

    pub fn try_connect(
        &self,
        path: &str,
        subprotocol: Option<&'static str>,
    ) -> Result<WebSocket<TcpStream>, u16> {
        let mut request = format!("ws://{}{path}", self.addr).into_client_request().unwrap();
        if let Some(subprotocol) = subprotocol {
            request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().unwrap());
        }
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match tungstenite::client(request, stream) {
            Ok((client, _)) => Ok(client),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                Err(response.status().as_u16())
            }
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// A member that notes what it gets, until it gets `end` or is closed.
    pub fn member(&self, path: &str, subprotocol: Option<&'static str>) -> JoinHandle<Heard> {
        let mut client = self.connect(path, subprotocol);
        std::thread::spawn(move || {
            let mut heard = Heard::default();
            loop {
                match client.read() {
                    Ok(Message::Text(text)) => {
                        heard.texts.push(text.to_string());
                        if text.contains("end") {
                            return heard;
                        }
                    }
                    Ok(Message::Close(frame)) => heard.closed = frame.map(|frame| frame.code.into()),
                    Ok(_) => {}
                    Err(error) => {
                        heard.error = Some(error.to_string());
                        return heard;
                    }
                }
            }
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// What a member got.
#[derive(Debug, Default)]
pub struct Heard {
    pub texts: Vec<String>,
    pub closed: Option<u16>,
    pub error: Option<String>,
}

/// The texts of messages in JSON, and everything else by its type.
pub fn told(texts: &[String]) -> Vec<String> {
    let values = texts.iter().map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap());
    let word = |value: serde_json::Value| {
        let text = value["text"].as_str().or(value["type"].as_str());
        text.unwrap().to_owned()
    };
    values.map(word).collect()
}

/// The next text.
pub fn text(client: &mut WebSocket<TcpStream>) -> String {
    match client.read().unwrap() {
        Message::Text(text) => text.to_string(),
        other => panic!("not a text: {other:?}"),
    }
}
