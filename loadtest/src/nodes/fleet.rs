//! The processes of a run: a Redis of its own, and nodes that share their rooms through it.

use crate::launch::{Launched, locate_binary};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long Redis and the nodes may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// A Redis that keeps nothing on disk and ends with this value.
struct Redis {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Redis {
    fn start() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let port = free_port()?;
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string(), "--dir"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("redis-server (Debian's package of that name): {error}"))?;
        let redis = Self { child, port, _folder: folder };
        wait_until("Redis", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())?;
        Ok(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Either call fails only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nodes that are ready, and the Redis between them.
pub(super) struct Fleet {
    nodes: Vec<Launched>,
    redis: Option<Redis>,
}

impl Fleet {
    /// One process that shares nothing.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn alone() -> Result<Self, String> {
        let node = Launched::start(&[]).map_err(|error| error.to_string())?;
        Ok(Self { nodes: vec![node], redis: None })
    }

    /// So many nodes on this Redis, or on one of their own; with `one_port` the kernel gives each connection to one of them.
    ///
    /// # Errors
    /// When a process cannot be started, or does not get ready.
    pub(super) fn start(count: usize, redis_url: Option<&str>, one_port: bool) -> Result<Self, String> {
        let redis = if redis_url.is_none() { Some(Redis::start()?) } else { None };
        let url = match (redis_url, &redis) {
            (None, Some(redis)) => format!("redis://127.0.0.1:{}", redis.port),
            (url, _) => url.unwrap_or_default().to_owned(),
        };
        let port = if one_port { free_port()? } else { 0 };
        let mut fleet = Self { nodes: Vec::new(), redis };
        for _ in 0..count {
            let mut command = Command::new(locate_binary().map_err(|error| error.to_string())?);
            command.args(["--listen", &format!("127.0.0.1:{port}"), "--backplane-url", &url]);
            if one_port {
                command.arg("--reuse-port");
            }
            fleet.nodes.push(Launched::spawn(command).map_err(|error| error.to_string())?);
        }
        // Where they share a port, each request is answered by any of them: some in a row are by all, as good as surely.
        let requests = if one_port { 16 * count } else { 1 };
        for node in &fleet.nodes {
            wait_until("a node", || (0..requests).all(|_| is_ready(&node.url("/readyz"))))?;
        }
        Ok(fleet)
    }

    /// The addresses of a path, one for each node.
    pub(super) fn urls(&self, path: &str) -> Vec<String> {
        self.nodes.iter().map(|node| node.url(path)).collect()
    }

    /// The processes of the nodes, and after them Redis, if it is ours.
    pub(super) fn processes(&self) -> Vec<u32> {
        self.nodes.iter().map(Launched::pid).chain(self.redis.iter().map(|redis| redis.child.id())).collect()
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    listener.local_addr().map(|addr| addr.port()).map_err(|error| error.to_string())
}

fn wait_until(who: &str, mut is_there: impl FnMut() -> bool) -> Result<(), String> {
    let begun = Instant::now();
    while !is_there() {
        if begun.elapsed() > PATIENCE {
            return Err(format!("{who} does not get ready"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Whether a node says at this address that it is ready.
fn is_ready(url: &str) -> bool {
    let Some((authority, path)) = url.strip_prefix("ws://").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    let ask = || {
        let mut stream = TcpStream::connect(authority)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
