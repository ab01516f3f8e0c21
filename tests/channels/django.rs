//! Processes of the real thing: an application of Channels' tutorial in Daphne, its workers, and the layer alone.

use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::WebSocket;
use tungstenite::client::IntoClientRequest;

use super::node::PATIENCE;
use super::redis::Redis;

/// Ends with the test, whatever comes of it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

fn here(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/channels").join(name)
}

/// Where Redis is, as Python writes it.
fn place(redis: &Redis) -> String {
    format!("unix://{}", redis.socket().display())
}

/// Python with `tests/channels/requirements.txt`.
fn python() -> Command {
    let python = std::env::var("CHANNELS_PYTHON").unwrap_or("python3".into());
    let mut command = Command::new(python);
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(here("site"));
    command
}

/// The chat of the tutorial, in Daphne.
pub struct Site {
    _process: Process,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Site {
    pub fn start(redis: &Redis) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("daphne.sock");
        let mut command = python();
        command.args(["-m", "daphne", "-v", "0", "-u"]).arg(&socket).arg("asgi:application");
        let process = Process(command.env("REDIS", place(redis)).spawn().unwrap());
        let site = Self { _process: process, socket, _folder: folder };
        let begun = Instant::now();
        while UnixStream::connect(&site.socket).is_err() {
            assert!(begun.elapsed() < 3 * PATIENCE, "Daphne does not start (is CHANNELS_PYTHON set?)");
            std::thread::sleep(Duration::from_millis(50));
        }
        site
    }

    fn stream(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A WebSocket to the application itself.
    pub fn connect(&self, room: &str) -> WebSocket<UnixStream> {
        let request = format!("ws://localhost/ws/chat/{room}/").into_client_request().unwrap();
        tungstenite::client(request, self.stream()).unwrap().0
    }

    /// Asks for a page; its status line.
    pub fn get(&self, path: &str) -> String {
        let mut stream = self.stream();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        BufReader::new(stream).lines().next().unwrap().unwrap()
    }
}

/// A worker on a channel, until it is dropped.
pub struct Worker {
    _process: Process,
}

impl Worker {
    pub fn start(redis: &Redis, channel: &str) -> Self {
        let mut command = python();
        command.args(["manage.py", "runworker", channel]).env("REDIS", place(redis));
        let process = Process(command.stderr(Stdio::null()).spawn().unwrap());
        Self { _process: process }
    }
}

/// The layer alone, as `channels_redis` has it.
pub struct Layer {
    _process: Process,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Layer {
    pub fn start(redis: &Redis) -> Self {
        Self::with(redis, &json!({}))
    }

    /// With more in its `CONFIG` than where Redis is.
    pub fn with(redis: &Redis, config: &Value) -> Self {
        let mut command = python();
        command.arg(here("layer.py")).args([place(redis), config.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { _process: Process(child), input, output: BufReader::new(output).lines() }
    }

    /// Calls a function of `layer.py`.
    pub fn call(&mut self, call: Value) -> Value {
        writeln!(self.input, "{call}").unwrap();
        let answer = self.output.next().expect("an answer (is CHANNELS_PYTHON set?)").unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    /// A channel of its own in a group.
    pub fn join(&mut self, group: &str) -> String {
        self.call(json!(["join", group])).as_str().unwrap().to_owned()
    }

    pub fn group_send(&mut self, group: &str, message: Value) {
        self.call(json!(["group_send", group, message]));
    }

    pub fn receive(&mut self, channel: &str) -> Value {
        self.call(json!(["receive", channel]))
    }
}
