//! Embedding: a server in a thread of the test, its handler, and handles in other threads.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use fanline::{
    Admission, Builder, ConnId, Context, Handle, HandleError, Handler, Join, Keep, Limits, Message, Opening,
    Position, Refusal, Request, Response, Server, Start,
};

use crate::client::{closed, connect, text, try_connect};

/// Joins everybody to a room and tells each its id.
struct Lobby;

impl Handler for Lobby {
    type State = ();

    fn admit(&mut self, id: ConnId, request: &Request<'_>) -> Admission {
        let Some(door) = request.path().strip_prefix("/door/") else { return Admission::Now };
        let handle = DOOR.with_borrow(|handle| handle.clone().unwrap());
        // Asks somebody else, as an application asks its database, and does not wait for the answer.
        let is_friend = door == "friend";
        std::thread::spawn(move || match is_friend {
            true => handle.admit(id),
            false => handle.refuse(id, Refusal::Forbidden("strangers stay outside").into()),
        });
        Admission::Later
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<(), Response> {
        opening.join("lobby").unwrap();
        let id = opening.id().to_bits().to_string();
        let about = format!(
            "{id} {} {} {}",
            opening.request().path(),
            opening.request().header("x-test").unwrap_or("-"),
            opening.request().cookie("session").unwrap_or("-"),
        );
        assert!(opening.peer_addr().unwrap().ip().is_loopback());
        assert!(opening.add_header("x-answer", "yes") && !opening.add_header("connection", "close"));
        opening.send(&about).unwrap();
        Ok(())
    }

    fn message(&mut self, _state: &mut (), ctx: &mut Context<'_>, message: Message<'_>) {
        ctx.send(message).unwrap();
    }
}

std::thread_local! {
    static DOOR: std::cell::RefCell<Option<Handle>> = const { std::cell::RefCell::new(None) };
}

struct Running {
    addr: SocketAddr,
    handle: Handle,
    thread: JoinHandle<std::io::Result<()>>,
}

impl Running {
    fn start(builder: Builder) -> Self {
        let server = builder.listen("127.0.0.1:0").unwrap().bind(Lobby).unwrap();
        let (addr, handle) = (server.local_addrs()[0], server.handle());
        let door = handle.clone();
        let thread = std::thread::spawn(move || {
            DOOR.set(Some(door));
            server.run()
        });
        Self { addr, handle, thread }
    }

    fn stop(self) {
        self.handle.shutdown();
        self.thread.join().unwrap().unwrap();
        assert_eq!(self.handle.publish("lobby", "anyone?"), Err(HandleError::Stopped));
        assert_eq!(self.handle.metrics().opened.get(), self.handle.metrics().ended.get());
    }
}

#[test]
fn row_27_other_threads_publish_send_and_close_through_a_handle() {
    let server = Running::start(Server::builder());
    let (mut a, mut b) = (connect(server.addr, "/a"), connect(server.addr, "/b"));
    let id_of = |greeting: String| ConnId::from_bits(greeting.split(' ').next().unwrap().parse().unwrap());
    let (id_a, _id_b) = (id_of(text(&mut a)), id_of(text(&mut b)));
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let handle = server.handle.clone();
            std::thread::spawn(move || {
                for i in 0..100 {
                    handle.publish("lobby", format!("{thread} {i}")).unwrap();
                }
            })
        })
        .collect();
    let heard: Vec<String> = (0..400).map(|_| text(&mut a)).collect();
    assert_eq!(heard, (0..400).map(|_| text(&mut b)).collect::<Vec<_>>(), "one order for all");
    for thread in 0..4 {
        let of_one: Vec<_> = heard.iter().filter(|text| text.starts_with(&format!("{thread} "))).collect();
        assert_eq!(
            of_one,
            (0..100).map(|i| format!("{thread} {i}")).collect::<Vec<_>>().iter().collect::<Vec<_>>()
        );
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    server.handle.send(id_a, "only you").unwrap();
    assert_eq!(text(&mut a), "only you");
    assert!(matches!(server.handle.close(id_a, 1006, ""), Err(HandleError::InvalidClose(_))));
    server.handle.close(id_a, 4002, "enough").unwrap();
    assert_eq!(closed(&mut a), Some((4002, "enough".into())));
    server.handle.send(id_a, "gone").unwrap();
    server.handle.publish("lobby", "for those who stay").unwrap();
    assert_eq!(text(&mut b), "for those who stay");
    server.stop();
}

/// Sends who comes what there was last, or what came since.
struct Prices;

impl Handler for Prices {
    type State = ();

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<(), Response> {
        let since = opening.request().query_value("since").map(|since| since.parse().unwrap());
        let start = since.map_or(Start::Last(10), |position| Start::Since { position, or_last: 0 });
        let joined = opening.join_as("prices", &Join { start, ..Join::default() }).unwrap();
        opening.send(&format!("{} {}", joined.position, joined.recovered)).unwrap();
        Ok(())
    }

    fn message(&mut self, _state: &mut (), ctx: &mut Context<'_>, message: Message<'_>) {
        ctx.send(message).unwrap();
    }
}

#[test]
fn row_43_what_a_handle_publishes_before_anybody_has_come_is_there_for_who_comes_and_for_who_comes_back() {
    let server = Server::builder().listen("127.0.0.1:0").unwrap().bind(Prices).unwrap();
    let (addr, handle) = (server.local_addrs()[0], server.handle());
    handle.publish("prices", "nobody keeps this").unwrap();
    let keep = Keep { messages: 10, bytes: 1 << 16, age: Duration::from_secs(600) };
    handle.keep("prices", keep).unwrap();
    handle.publish("prices", "12.5").unwrap();
    handle.publish("prices", "12.6").unwrap();
    let thread = std::thread::spawn(move || server.run());
    let mut late = connect(addr, "/");
    let greeting = text(&mut late);
    let (position, recovered) = greeting.split_once(' ').unwrap();
    let position: Position = position.parse().unwrap();
    assert_eq!((position.offset, recovered), (0, "true"));
    assert_eq!([text(&mut late), text(&mut late)], ["12.5", "12.6"]);
    drop(late);
    handle.publish("prices", "12.7").unwrap();
    let mut again = connect(addr, &format!("/?since={}:2", position.epoch));
    assert_eq!([text(&mut again), text(&mut again)], [format!("{}:2 true", position.epoch), "12.7".into()]);
    drop(again);
    handle.shutdown();
    thread.join().unwrap().unwrap();
    assert_eq!(handle.keep("prices", keep), Err(HandleError::Stopped));
}

#[test]
fn row_8_the_handler_sees_path_headers_and_cookies() {
    let server = Running::start(Server::builder());
    let headers = [("x-test", "value"), ("cookie", "a=1; session=abc; b=2")];
    let mut client = try_connect(server.addr, "/p%C3%A4th", &headers).unwrap();
    assert!(text(&mut client).ends_with(" /päth value abc"));
    server.stop();
}

#[test]
fn row_30_somebody_else_decides_later() {
    let server = Running::start(Server::builder());
    let mut friend = connect(server.addr, "/door/friend");
    assert!(text(&mut friend).contains("/door/friend"));
    assert_eq!(try_connect(server.addr, "/door/stranger", &[]).err(), Some(403));
    server.stop();
}

#[test]
fn shutting_down_closes_everyone_with_1001_and_run_returns() {
    let server = Running::start(Server::builder());
    let mut clients: Vec<_> = (0..50).map(|i| connect(server.addr, &format!("/{i}"))).collect();
    server.handle.shutdown();
    for client in &mut clients {
        assert_eq!(closed(client).unwrap().0, 1001);
    }
    server.stop();
}

#[test]
fn the_inbox_is_bounded_by_number_and_by_bytes() {
    let limits = Limits { inbox_messages_max: 3, inbox_bytes_max: 1000, ..Limits::default() };
    // Not run: nothing is taken out.
    let server = Server::builder().listen("127.0.0.1:0").unwrap().limits(limits).bind(Lobby).unwrap();
    let handle = server.handle();
    assert_eq!(handle.publish("lobby", vec![0; 1001]), Err(HandleError::Full));
    for _ in 0..3 {
        assert_eq!(handle.publish("lobby", "x"), Ok(()));
    }
    assert_eq!(handle.publish("lobby", "x"), Err(HandleError::Full));
    drop(server);
    assert_eq!(handle.publish("lobby", "x"), Err(HandleError::Stopped));
}

#[test]
fn limits_that_contradict_each_other_and_addresses_in_use_are_errors_of_bind() {
    let limits = Limits { outbound_bytes_low: 2, outbound_bytes_high: 1, ..Limits::default() };
    let error = Server::builder().limits(limits).bind(Lobby).err().unwrap();
    assert!(error.to_string().contains("outbound_bytes_low"), "{error}");
    let first = Server::builder().listen("127.0.0.1:0").unwrap().bind(Lobby).unwrap();
    let addr = first.local_addrs()[0];
    let error = Server::builder().listen(addr).unwrap().bind(Lobby).err().unwrap();
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
}
