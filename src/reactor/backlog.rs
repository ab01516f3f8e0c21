//! How many connections wait at the listeners, completed by the kernel and not accepted yet: proc(5), `/proc/net/tcp`.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Reactor;
use super::listener::Listener;
use crate::engine::handler::Handler;

/// What the kernel's tables said last, and when.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    read_at: Option<Instant>,
    waiting: usize,
}

impl Backlog {
    /// How often the tables are looked at, in a server that has something to do.
    const INTERVAL: Duration = Duration::from_secs(1);

    /// Listening sockets stand first in a table, before all connections: this much of it has a hundred of them, and the
    /// rest is not even made by the kernel.
    const LOOKED_AT: u64 = 16 << 10;

    /// How many wait at these ports, looked up at most once in a while.
    fn look(&mut self, addrs: &[SocketAddr], now: Instant) -> usize {
        if self.read_at.is_none_or(|at| now >= at + Self::INTERVAL) {
            self.read_at = Some(now);
            let tables = [("/proc/net/tcp", false), ("/proc/net/tcp6", true)];
            let wanted = tables.into_iter().filter(|(_, v6)| addrs.iter().any(|addr| addr.is_ipv6() == *v6));
            self.waiting = wanted.map(|(path, v6)| waiting(&head_of(path), addrs, v6)).sum();
        }
        self.waiting
    }
}

/// The beginning of a table; nothing where there is none, as outside Linux.
fn head_of(path: &str) -> String {
    let mut head = Vec::new();
    let file = File::open(path).map(|file| file.take(Backlog::LOOKED_AT));
    file.and_then(|mut file| file.read_to_end(&mut head)).unwrap_or_default();
    String::from_utf8_lossy(&head).into_owned()
}

/// Adds up the queues of the sockets that listen on these ports: of one that listens, the receive queue is how many
/// wait to be accepted.
fn waiting(table: &str, addrs: &[SocketAddr], v6: bool) -> usize {
    const LISTEN: &str = "0A";
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().take(5).collect();
        let &[_, local, _, LISTEN, queues] = fields.as_slice() else { return None };
        let port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
        let is_ours = addrs.iter().any(|addr| addr.port() == port && addr.is_ipv6() == v6);
        usize::from_str_radix(queues.split(':').nth(1)?, 16).ok().filter(|_| is_ours)
    };
    table.lines().filter_map(of_line).sum()
}

impl<H: Handler> Reactor<H> {
    /// Notes how the listeners are.
    pub(super) fn look_at_door(&mut self, now: Instant) {
        let is_deaf = self.listeners.iter().any(Listener::is_pausing);
        let waiting = self.backlog.look(&self.addrs, now);
        self.engine.set_door(waiting, is_deaf);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn who_waits_at_a_listener_is_counted_and_nobody_else() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let addrs = [listener.local_addr().unwrap()];
        let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(addrs[0]).unwrap()).collect();
        let _stranger = TcpStream::connect(other.local_addr().unwrap()).unwrap();
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        assert_eq!(backlog.look(&addrs, now), 3);
        let accepted: Vec<_> = clients.iter().map(|_| listener.accept().unwrap()).collect();
        assert_eq!(backlog.look(&addrs, now), 3, "it was looked up a moment ago");
        assert_eq!(backlog.look(&addrs, now + Backlog::INTERVAL), 0, "{} accepted", accepted.len());
    }
}
