//! One process takes the place of another: what may go wrong on the way, and what other threads publish meanwhile.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use fanline::{
    Context, Exchange, Handle, HandleError, Handler, Limits, Message, Opening, Reply, Response, Server,
};

use crate::binary::{Process, refused};
use crate::client::{connect, get};

fn is_served(addr: SocketAddr) -> bool {
    get(addr, "/healthz").starts_with("HTTP/1.1 200 ")
}

#[test]
fn row_20_of_part_2_who_cannot_be_asked_itself_takes_over_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("takeover"), folder.path().join("link"));
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let first = Process::start(&["--listen", "127.0.0.1:0", "--takeover", path.to_str().unwrap()]);
    let addr = first.addr().to_string();
    let (code, said) = refused(&["--listen", &addr, "--takeover", link.to_str().unwrap()]);
    assert!(code == Some(2) && said.contains("a file that is no socket"), "{code:?} {said}");
    assert!(is_served(first.addr()), "the first goes on");
    let names: Vec<_> = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing is left behind: {names:?}");
}

#[test]
fn a_server_goes_on_when_nobody_reads_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("takeover");
    let mut server = Process::start(&["--listen", "127.0.0.1:0", "--takeover", path.to_str().unwrap()]);
    server.listen_no_more();
    UnixStream::connect(&path).unwrap().write_all(b"nonsense, and a farewell").unwrap();
    assert!(is_served(server.addr()));
    server.signal("-HUP");
    assert!(is_served(server.addr()) && is_served(server.addr()));
    assert_eq!(server.end("-TERM"), Some(0));
}

/// Joins everybody to one room, and says over HTTP how far its log has come.
struct Lobby;

impl Handler for Lobby {
    type State = ();

    fn http(&mut self, exchange: &mut Exchange<'_>) -> Reply {
        let head = exchange.rooms().log("lobby").map_or(0, |log| log.position().offset);
        Response::text(200, &format!("head {head}")).into()
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<(), Response> {
        opening.join("lobby").map(drop).map_err(Response::from)
    }

    fn message(&mut self, _state: &mut (), _ctx: &mut Context<'_>, _message: Message<'_>) {}
}

fn run(addr: SocketAddr, path: &Path) -> (SocketAddr, Handle, JoinHandle<std::io::Result<()>>) {
    let limits = Limits { drain_duration: Duration::from_secs(1), ..Limits::default() };
    let builder = Server::builder().listen(addr).unwrap().takeover(path).limits(limits);
    let server = builder.bind(Lobby).unwrap();
    let (addr, handle) = (server.local_addrs()[0], server.handle());
    (addr, handle, std::thread::spawn(move || server.run()))
}

#[test]
fn row_20_of_part_2_what_a_handle_has_taken_is_published_by_the_one_process_or_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("takeover");
    let (addr, old, ending) = run(([127, 0, 0, 1], 0).into(), &path);
    let member = connect(addr, "/");
    let (send, next) = mpsc::channel::<Handle>();
    let publishing = std::thread::spawn(move || {
        let (mut handle, mut count) = (old, 0);
        let mut last = None;
        while last.is_none_or(|last| count < last) {
            match handle.publish("lobby", "x") {
                Ok(()) => count += 1,
                Err(HandleError::Full) => std::thread::yield_now(),
                Err(error) => {
                    assert_eq!(error, HandleError::Stopped);
                    handle = next.recv_timeout(Duration::from_secs(10)).unwrap();
                    last = Some(count + 100);
                }
            }
        }
        count
    });
    std::thread::sleep(Duration::from_millis(50));
    let (_, new, running) = run(addr, &path);
    drop(member);
    // Where nobody is, nothing is published.
    let member = connect(addr, "/");
    send.send(new.clone()).unwrap();
    let count = publishing.join().unwrap();
    ending.join().unwrap().unwrap();
    // What has been taken is published in the next turn.
    let head = (0..50).map(|_| get(addr, "/")).find(|answer| {
        std::thread::sleep(Duration::from_millis(20));
        answer.ends_with(&format!("head {count}\n"))
    });
    assert!(head.is_some(), "{count} have been taken, and {}", get(addr, "/"));
    drop(member);
    new.shutdown();
    running.join().unwrap().unwrap();
}
