//! What a process holds on to, from `/proc`: memory, descriptors, threads, and sockets whose other side has gone.

use super::process::Memory;
use serde::Serialize;
use std::fs;

/// The state of a socket whose peer has closed and whose owner has not, as `/proc/net/tcp` writes it.
const CLOSE_WAIT: &str = "08";

/// What a server holds at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Debug)]
pub(crate) struct Holdings {
    /// Resident bytes.
    pub(crate) resident: u64,
    /// Open descriptors.
    pub(crate) descriptors: usize,
    /// Threads.
    pub(crate) threads: usize,
    /// Sockets on the server's port in CLOSE_WAIT.
    pub(crate) close_wait: usize,
}

impl Holdings {
    /// Looks at a process, and at the sockets of a port.
    ///
    /// # Errors
    /// When the process is not there, or is not ours to look at.
    pub(crate) fn of(pid: u32, port: u16) -> Result<Self, String> {
        let resident = Memory::of(pid)?.resident;
        Ok(Self {
            resident,
            descriptors: entries(&format!("/proc/{pid}/fd"))?,
            threads: entries(&format!("/proc/{pid}/task"))?,
            close_wait: ["/proc/net/tcp", "/proc/net/tcp6"]
                .into_iter()
                .filter_map(|path| fs::read_to_string(path).ok())
                .map(|table| count_close_wait(&table, port))
                .sum(),
        })
    }
}

/// Resident bytes as the kernel counts them in passing: quick to read, and some pages off.
///
/// # Errors
/// When the process is not there.
pub(crate) fn resident_roughly(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/statm");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages
        .map(|pages| pages * rustix::param::page_size() as u64)
        .ok_or_else(|| format!("{path} tells no memory"))
}

fn entries(path: &str) -> Result<usize, String> {
    fs::read_dir(path).map(Iterator::count).map_err(|error| format!("{path}: {error}"))
}

/// The second field is the local address, `0100007F:1F90`; the fourth is the state.
fn count_close_wait(table: &str, port: u16) -> usize {
    let port = format!(":{port:04X}");
    let is_left = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().take(4).collect();
        matches!(fields[..], [_, local, _, CLOSE_WAIT] if local.ends_with(&port))
    };
    table.lines().filter(is_left).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    #[test]
    fn descriptors_and_half_closed_sockets_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let before = Holdings::of(std::process::id(), address.port()).expect("we are there");
        assert!(before.threads > 0 && before.close_wait == 0);
        drop(TcpStream::connect(address).expect("connected"));
        let (accepted, _) = listener.accept().expect("a connection");
        let end = Instant::now() + Duration::from_secs(5);
        let mut now = before;
        while now.close_wait == 0 && Instant::now() < end {
            now = Holdings::of(std::process::id(), address.port()).expect("we are there");
        }
        assert_eq!(now.close_wait, 1);
        drop(accepted);
        assert!(resident_roughly(std::process::id()).is_ok_and(|bytes| bytes > 0));
        assert!(Holdings::of(u32::MAX, 1).is_err());
    }

    #[test]
    fn a_line_of_the_table_of_sockets_is_read_by_port_and_state() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
                     0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
                     1: 0100007F:1F90 0100007F:C001 08 00000000:00000000\n\
                     2: 0100007F:1F91 0100007F:C002 08 00000000:00000000\n";
        assert_eq!(count_close_wait(table, 8080), 1);
    }
}
