//! Fanline behind the real nginx and HAProxy, each with the configuration in `examples`: `cargo test --test proxies`.
#![forbid(unsafe_code)]

mod programs;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fanline::app::{App, Route};
use fanline::{
    Closed, Context, Exchange, Handle, Handler, Limits, Message, Networks, Opening, Reply, Response, Server,
};
use programs::{Proxy, Upstream};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};
use tungstenite::WebSocket;
use tungstenite::client::IntoClientRequest;

const PATIENCE: Duration = Duration::from_secs(20);

/// Where the tests' clients connect from: not where the proxies do.
const CLIENT: [u8; 4] = [127, 0, 0, 2];

/// The binary's application, which also says at `/client` whom it takes one for.
struct Shown(App);

impl Handler for Shown {
    type State = <App as Handler>::State;

    fn http(&mut self, exchange: &mut Exchange<'_>) -> Reply {
        match exchange.request().path() {
            "/client" => Response::text(200, &shown(exchange.client_addr())).into(),
            _ => self.0.http(exchange),
        }
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<Self::State, Response> {
        let client = shown(opening.client_addr());
        opening.add_header("x-client", &client);
        self.0.open(opening)
    }

    fn message(&mut self, state: &mut Self::State, ctx: &mut Context<'_>, message: Message<'_>) {
        self.0.message(state, ctx, message);
    }

    fn close(&mut self, state: Self::State, ctx: &mut Context<'_>, closed: &Closed) {
        self.0.close(state, ctx, closed);
    }
}

fn shown(client: Option<std::net::IpAddr>) -> String {
    client.map_or("nobody".to_owned(), |ip| ip.to_string())
}

/// Fanline on every kind of listener, and a certificate for it and for the proxies.
struct Served {
    folder: tempfile::TempDir,
    http: SocketAddr,
    direct: SocketAddr,
    config: Arc<ClientConfig>,
    handle: Handle,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.handle.shutdown();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(std::thread::panicking() || matches!(ended, Ok(Ok(()))), "{ended:?}");
        }
    }
}

impl Served {
    fn start(trusted: &[&str], ping_interval: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let [cert, key, socket] =
            ["cert.pem", "key.pem", "fanline.sock"].map(|name| folder.path().join(name));
        std::fs::write(&cert, pair.cert.pem()).unwrap();
        std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        let limits =
            Limits { ping_interval, shutdown_deadline: Duration::from_millis(500), ..Limits::default() };
        let server = Server::builder()
            .limits(limits)
            .tls(&cert, &key)
            .trusted_proxies(Networks::parse(trusted).unwrap())
            .listen("127.0.0.1:0")
            .unwrap()
            .listen_tls_proxied("127.0.0.1:0")
            .unwrap()
            .listen(socket.as_path())
            .unwrap()
            .bind(Shown(App::new(Route::defaults())))
            .unwrap();
        let (http, direct, handle) = (server.local_addrs()[0], server.local_addrs()[1], server.handle());
        let config = client_config(pair.cert.der().clone());
        let thread = Some(std::thread::spawn(move || server.run()));
        Self { folder, http, direct, config, handle, thread }
    }

    fn upstream(&self) -> Upstream<'static> {
        let http = self.http.to_string();
        Upstream { http, direct: self.direct, send_proxy: "send-proxy-v2", timeout: "75s" }
    }

    fn on_file(&self) -> Upstream<'static> {
        let http = format!("unix:{}", self.folder.path().join("fanline.sock").display());
        Upstream { http, ..self.upstream() }
    }

    fn nginx(&self, upstream: &Upstream<'_>) -> Proxy {
        Proxy::nginx(self.folder.path(), upstream)
    }

    fn haproxy(&self, upstream: &Upstream<'_>) -> Proxy {
        Proxy::haproxy(self.folder.path(), upstream)
    }

    /// Every way through both proxies, by what it is.
    fn ways(&self, nginx: &Proxy, haproxy: &Proxy) -> [(&'static str, Way); 5] {
        let secure = |addr| Way { addr, config: Some(self.config.clone()) };
        let plain = |addr| Way { addr, config: None };
        [
            ("nginx", plain(nginx.plain)),
            ("nginx ending TLS", secure(nginx.tls)),
            ("HAProxy", plain(haproxy.plain)),
            ("HAProxy ending TLS", secure(haproxy.tls)),
            ("HAProxy passing TLS on", secure(haproxy.direct)),
        ]
    }
}

fn client_config(cert: CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(cert).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

type Client = WebSocket<Box<dyn Wire>>;

/// How a client reaches a proxy.
struct Way {
    addr: SocketAddr,
    config: Option<Arc<ClientConfig>>,
}

impl Way {
    fn scheme(&self, name: &str) -> String {
        if self.config.is_some() { format!("{name}s") } else { name.to_owned() }
    }

    fn host(&self) -> String {
        format!("localhost:{}", self.addr.port())
    }

    fn wire(&self) -> Box<dyn Wire> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((CLIENT, 0)).into()).unwrap();
        socket.connect_timeout(&self.addr.into(), PATIENCE).unwrap();
        let tcp = TcpStream::from(socket);
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        match &self.config {
            Some(config) => {
                let name = ServerName::try_from("localhost").unwrap();
                Box::new(StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), tcp))
            }
            None => Box::new(tcp),
        }
    }

    /// Opens a WebSocket; gives whom Fanline takes it for, too, or the status that refused it.
    fn open(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<(Client, String), u16> {
        let url = format!("{}://{}{path}", self.scheme("ws"), self.host());
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tungstenite::client(request, self.wire()) {
            Ok((client, response)) => {
                Ok((client, response.headers()["x-client"].to_str().unwrap().to_owned()))
            }
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                Err(response.status().as_u16())
            }
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Sends a request; the answer is still to come.
    fn ask(&self, line: &str, headers: &str, body: &[u8]) -> Coming {
        let mut wire = self.wire();
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!("{line} HTTP/1.1\r\nHost: {}\r\n{headers}{length}\r\n", self.host());
        wire.write_all(&[head.as_bytes(), body].concat()).unwrap();
        Coming::new(wire)
    }

    /// The whole answer to a request.
    fn answer(&self, line: &str, headers: &str, body: &[u8]) -> String {
        let mut coming = self.ask(line, &format!("{headers}Connection: close\r\n"), body);
        let mut answer = Vec::new();
        // A proxy need not say goodbye in TLS.
        coming.wire.read_to_end(&mut answer).map(drop).unwrap_or_default();
        String::from_utf8(answer).unwrap()
    }

    /// Publishes to a room over HTTP; gives the position.
    fn publish(&self, room: &str, text: &str) -> String {
        let line = format!("POST /rooms/{room}/messages");
        let answer = self.answer(&line, "Content-Type: text/plain\r\n", text.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        answer.split("\"position\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }
}

/// An answer as it comes.
struct Coming {
    wire: Box<dyn Wire>,
    text: String,
}

impl Coming {
    fn new(wire: Box<dyn Wire>) -> Self {
        Self { wire, text: String::new() }
    }

    /// What has come of the body. The bodies here have no CRLF, so these are what proxies put around chunks.
    fn body(&self) -> String {
        let body = self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        match body.contains("\r\n") {
            true => body.split("\r\n").skip(1).step_by(2).collect(),
            false => body.to_owned(),
        }
    }

    /// Reads on until the body has this.
    fn until(&mut self, what: &str) {
        let begun = Instant::now();
        let mut bytes = [0; 1 << 16];
        while !self.body().contains(what) {
            assert!(begun.elapsed() < PATIENCE, "no {what:?} in {:?}", self.text);
            match self.wire.read(&mut bytes) {
                Ok(len) if len > 0 => self.text.push_str(&String::from_utf8_lossy(&bytes[..len])),
                end => panic!("{end:?} where {what:?} was to come, after {:?}", self.text),
            }
        }
    }
}

/// Sends a text and waits until it comes back.
fn echo(client: &mut Client, message: tungstenite::Message) {
    client.send(message.clone()).unwrap();
    loop {
        let back = client.read().unwrap();
        if !back.is_ping() {
            assert!(back == message, "{} bytes", back.len());
            return;
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn row_11_websockets_pass_through_nginx_and_haproxy_also_where_they_end_tls() {
    let served = Served::start(&["127.0.0.1"], MINUTE);
    let (nginx, haproxy) = (served.nginx(&served.upstream()), served.haproxy(&served.upstream()));
    for (name, way) in served.ways(&nginx, &haproxy) {
        let (mut client, _) = way.open("/echo", &[]).unwrap_or_else(|status| panic!("{name}: {status}"));
        for text in ["", "欢迎大哥光临!"] {
            echo(&mut client, text.into());
        }
        let large: Vec<u8> = (0..5_000_000u32).map(|i| (i % 251) as u8).collect();
        echo(&mut client, large.into());
        client.close(None).unwrap();
        // The Close comes back, and then the end.
        while client.read().is_ok() {}
    }
}

#[test]
fn row_14_of_part_2_the_client_is_seen_through_each_proxy_and_what_it_writes_itself_is_not_believed() {
    let served = Served::start(&["127.0.0.1"], MINUTE);
    let (nginx, haproxy) = (served.nginx(&served.upstream()), served.haproxy(&served.upstream()));
    for (name, way) in served.ways(&nginx, &haproxy) {
        for spoofed in ["", "X-Forwarded-For: 9.9.9.9\r\n", "X-Forwarded-For: 9.9.9.9, 127.0.0.1\r\n"] {
            let answer = way.answer("GET /client", spoofed, b"");
            assert!(answer.trim_end().ends_with("127.0.0.2"), "{name}, {spoofed}: {answer}");
        }
        let headers =
            [("x-forwarded-for", "9.9.9.9"), ("forwarded", "for=9.9.9.9"), ("x-real-ip", "9.9.9.9")];
        assert_eq!(way.open("/echo", &headers).unwrap().1, "127.0.0.2", "{name}");
    }
    // Without a word about them, they are the clients.
    let served = Served::start(&[], MINUTE);
    let (nginx, haproxy) = (served.nginx(&served.upstream()), served.haproxy(&served.upstream()));
    for (name, way) in &served.ways(&nginx, &haproxy)[..4] {
        let (_, client) = way.open("/echo", &[("x-forwarded-for", "9.9.9.9")]).unwrap();
        assert_eq!(client, "127.0.0.1", "{name}");
    }
}

#[test]
fn row_14_of_part_2_haproxy_names_the_client_in_both_versions_of_its_header() {
    // The listener is the declaration where nobody is trusted by name.
    for trusted in [&[][..], &["127.0.0.1"]] {
        let served = Served::start(trusted, MINUTE);
        for send_proxy in ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl"] {
            let haproxy = served.haproxy(&Upstream { send_proxy, ..served.upstream() });
            let way = Way { addr: haproxy.direct, config: Some(served.config.clone()) };
            let (mut client, seen) = way.open("/echo", &[("x-forwarded-for", "9.9.9.9")]).unwrap();
            assert_eq!(seen, "127.0.0.2", "{send_proxy}");
            echo(&mut client, "through it".into());
        }
        assert_eq!(served.handle.metrics().proxies_refused.get(), 0);
    }
    // HAProxy without the header, and with it from an address that is not trusted.
    for (trusted, send_proxy) in [(&[][..], ""), (&["10.0.0.0/8"], "send-proxy-v2")] {
        let served = Served::start(trusted, MINUTE);
        let haproxy = served.haproxy(&Upstream { send_proxy, ..served.upstream() });
        let way = Way { addr: haproxy.direct, config: Some(served.config.clone()) };
        let mut wire = way.wire();
        assert!(wire.write_all(b"GET / HTTP/1.1\r\n\r\n").is_err(), "TLS does not even begin");
        assert!(served.handle.metrics().proxies_refused.get() > 0);
    }
}

#[test]
fn row_23_of_part_2_nginx_reaches_fanline_through_a_unix_socket() {
    for (trusted, want) in [(&["unix"][..], "127.0.0.2"), (&["127.0.0.1"], "nobody")] {
        let served = Served::start(trusted, MINUTE);
        let nginx = served.nginx(&served.on_file());
        let way = Way { addr: nginx.tls, config: Some(served.config.clone()) };
        let (mut client, seen) = way.open("/echo", &[("x-forwarded-for", "9.9.9.9")]).unwrap();
        assert_eq!(seen, want);
        echo(&mut client, "through a file".into());
        assert!(way.answer("GET /client", "", b"").trim_end().ends_with(want));
    }
}

#[test]
fn row_24_of_part_2_events_and_long_polls_come_through_without_delay() {
    let served = Served::start(&["127.0.0.1"], MINUTE);
    let (nginx, haproxy) = (served.nginx(&served.upstream()), served.haproxy(&served.upstream()));
    for (room, (name, way)) in served.ways(&nginx, &haproxy).into_iter().enumerate() {
        let first = way.publish(&room.to_string(), "first");
        let mut events = way.ask(&format!("GET /rooms/{room}/events?last=1"), "", b"");
        events.until("data: first\n\n");
        for count in 0..5 {
            let begun = Instant::now();
            way.publish(&room.to_string(), &format!("event {count}"));
            events.until(&format!("data: event {count}\n\n"));
            assert!(begun.elapsed() < Duration::from_secs(5), "{name}: {:?}", begun.elapsed());
        }
        let since = events.body().rsplit("id: ").next().unwrap().lines().next().unwrap().to_owned();
        assert_ne!(since, first);
        let mut poll = way.ask(&format!("GET /rooms/{room}/messages?since={since}&wait=30"), "", b"");
        std::thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        way.publish(&room.to_string(), "what was waited for");
        poll.until("what was waited for");
        assert!(begun.elapsed() < Duration::from_secs(5), "{name}: {:?}", begun.elapsed());
        let large = "x".repeat(900_000);
        way.publish(&room.to_string(), &large);
        events.until(&large);
    }
}

#[test]
fn row_11_of_part_2_pings_keep_a_silent_connection_open_past_the_proxys_patience() {
    for (ping_interval, is_kept) in [(Duration::from_millis(500), true), (MINUTE, false)] {
        let served = Served::start(&["127.0.0.1"], ping_interval);
        let upstream = Upstream { timeout: "2s", ..served.upstream() };
        let (nginx, haproxy) = (served.nginx(&upstream), served.haproxy(&upstream));
        let ways = served.ways(&nginx, &haproxy);
        let watched: Vec<_> = ways
            .iter()
            .map(|(name, way)| {
                let events = way.ask("GET /rooms/quiet/events", "", b"");
                (*name, way.open("/echo", &[]).unwrap().0, events)
            })
            .collect();
        std::thread::scope(|scope| {
            for (name, mut client, mut events) in watched {
                scope.spawn(move || {
                    let begun = Instant::now();
                    // What is read is answered with a Pong; nothing else is sent.
                    let mut pings = 0;
                    while begun.elapsed() < Duration::from_secs(5)
                        && client.read().is_ok_and(|it| it.is_ping())
                    {
                        pings += 1;
                    }
                    assert_eq!(
                        begun.elapsed() >= Duration::from_secs(5),
                        is_kept,
                        "{name}: {:?}",
                        begun.elapsed()
                    );
                    if is_kept {
                        assert!(pings > 5, "{name}: {pings} pings");
                        echo(&mut client, "still here".into());
                        events.until("\n:\n\n:\n");
                    }
                });
            }
        });
    }
}

#[test]
fn row_12_of_part_2_the_page_and_its_origin_are_the_servers_own_where_tls_ends_at_the_proxy() {
    let served = Served::start(&["127.0.0.1"], MINUTE);
    let (nginx, haproxy) = (served.nginx(&served.upstream()), served.haproxy(&served.upstream()));
    for (name, way) in served.ways(&nginx, &haproxy) {
        let page = way.answer("GET /", "", b"");
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{name}: {page}");
        let may_talk_to = format!("{}://{}", way.scheme("ws"), way.host());
        assert!(page.contains(&may_talk_to), "{name}: {may_talk_to} in {page}");
        let own = format!("{}://{}", way.scheme("http"), way.host());
        assert!(way.open("/chat/x", &[("origin", &own)]).is_ok(), "{name}: {own}");
        let others = ["https://evil.example".to_owned(), format!("{own}.evil.example"), format!("{own}0")];
        for other in others {
            assert_eq!(way.open("/chat/x", &[("origin", &other)]).err(), Some(403), "{name}: {other}");
        }
    }
}
