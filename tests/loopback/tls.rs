//! `wss`: rustls on the other side, with certificates made for the test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fanline::app::{App, Route};
use fanline::{Handle, Limits, Server};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use tungstenite::{Message, WebSocket};

use crate::binary::{Process, refused};

type Secure = StreamOwned<ClientConnection, TcpStream>;

/// A server whose certificate can be changed.
struct Secured {
    plain: SocketAddr,
    addr: SocketAddr,
    handle: Handle,
    thread: JoinHandle<std::io::Result<()>>,
    folder: tempfile::TempDir,
    roots: RootCertStore,
}

/// Writes a new certificate and its key; says what a client has to trust.
pub fn write_pair(folder: &Path) -> CertificateDer<'static> {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), pair.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    pair.cert.der().clone()
}

impl Secured {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(write_pair(folder.path())).unwrap();
        let server = Server::builder()
            .limits(Limits { head_deadline: Duration::from_millis(500), ..Limits::default() })
            .listen("127.0.0.1:0")
            .unwrap()
            .listen_tls("127.0.0.1:0")
            .unwrap()
            .tls(folder.path().join("cert.pem"), folder.path().join("key.pem"))
            .bind(App::new(Route::defaults()))
            .unwrap();
        let (plain, addr, handle) = (server.local_addrs()[0], server.local_addrs()[1], server.handle());
        let thread = std::thread::spawn(move || server.run());
        Self { plain, addr, handle, thread, folder, roots }
    }

    fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        builder.with_root_certificates(self.roots.clone()).with_no_client_auth()
    }

    fn secure(&self, config: &Arc<ClientConfig>) -> Result<Secure, String> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = ClientConnection::new(config.clone(), name).unwrap();
        let mut tcp = TcpStream::connect(self.addr).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp).map_err(|error| error.to_string())?;
        }
        Ok(StreamOwned::new(tls, tcp))
    }

    fn open(&self, config: &Arc<ClientConfig>, path: &str) -> WebSocket<Secure> {
        let stream = self.secure(config).unwrap();
        let (socket, answer) = tungstenite::client(format!("wss://localhost{path}"), stream).unwrap();
        assert_eq!(answer.status(), 101);
        socket
    }

    fn stop(self) {
        self.handle.shutdown();
        self.thread.join().unwrap().unwrap();
    }
}

fn all() -> [&'static SupportedProtocolVersion; 2] {
    [&rustls::version::TLS12, &rustls::version::TLS13]
}

#[test]
fn row_61_an_echo_over_both_versions_of_tls_short_long_and_many_at_once() {
    let secured = Secured::start();
    for version in all() {
        let config = Arc::new(secured.client(&[version]));
        let mut socket = secured.open(&config, "/echo");
        for len in [0, 1, 125, 16 << 10, (16 << 10) + 1, 70_000, 3 << 20] {
            let message = Message::binary(vec![len as u8; len]);
            socket.send(message.clone()).unwrap();
            assert_eq!(socket.read().unwrap(), message, "{len} bytes");
        }
        for i in 0..200 {
            socket.write(Message::text(format!("{i} {}", "x".repeat(i)))).unwrap();
        }
        socket.flush().unwrap();
        for i in 0..200 {
            assert_eq!(socket.read().unwrap().into_text().unwrap(), format!("{i} {}", "x".repeat(i)));
        }
        socket.close(None).unwrap();
        assert!(socket.read().unwrap().is_close());
        // The end is said in TLS, too, so that nobody takes a connection cut short for one that has ended.
        assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)));
    }
    secured.stop();
}

#[test]
fn row_61_a_reader_that_is_slow_gets_everything_and_rooms_span_both_kinds_of_listeners() {
    let secured = Secured::start();
    let config = Arc::new(secured.client(&all()));
    let mut slow = secured.open(&config, "/chat/both");
    let plain = TcpStream::connect(secured.plain).unwrap();
    let (mut publisher, _) = tungstenite::client(format!("ws://{}/chat/both", secured.plain), plain).unwrap();
    let texts: Vec<String> = (0..30).map(|i| format!("{i} {}", "x".repeat(100_000))).collect();
    for text in &texts {
        publisher.send(Message::text(text.clone())).unwrap();
        assert_eq!(publisher.read().unwrap().into_text().unwrap(), *text);
    }
    for text in &texts {
        assert_eq!(slow.read().unwrap().into_text().unwrap(), *text);
    }
    secured.stop();
}

#[test]
fn row_61_a_session_is_resumed_and_only_http_1_1_is_agreed_to() {
    let secured = Secured::start();
    for version in all() {
        let config = Arc::new(secured.client(&[version]));
        let mut first = secured.open(&config, "/echo");
        // The tickets of TLS 1.3 come with the first data.
        first.send(Message::text("x")).unwrap();
        first.read().unwrap();
        assert_eq!(first.get_ref().conn.handshake_kind(), Some(HandshakeKind::Full));
        let second = secured.open(&config, "/echo");
        assert_eq!(second.get_ref().conn.handshake_kind(), Some(HandshakeKind::Resumed), "{version:?}");
    }
    let mut config = secured.client(&all());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = secured.secure(&Arc::new(config.clone())).unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    config.alpn_protocols = vec![b"h2".to_vec()];
    assert!(secured.secure(&Arc::new(config)).is_err());
    secured.stop();
}

#[test]
fn row_61_a_new_certificate_serves_new_connections_and_a_bad_one_changes_nothing() {
    let mut secured = Secured::start();
    let old = Arc::new(secured.client(&all()));
    let mut open = secured.open(&old, "/echo");
    std::thread::sleep(Duration::from_millis(1100));
    let key = std::fs::read(secured.folder.path().join("key.pem")).unwrap();
    let new = write_pair(secured.folder.path());
    let new_key = std::fs::read(secured.folder.path().join("key.pem")).unwrap();
    // The key of the old certificate beside the new one: no pair.
    std::fs::write(secured.folder.path().join("key.pem"), key).unwrap();
    assert!(secured.secure(&Arc::new(secured.client(&all()))).is_ok(), "the old pair is kept");
    std::thread::sleep(Duration::from_millis(1100));
    std::fs::write(secured.folder.path().join("key.pem"), new_key).unwrap();
    assert!(secured.secure(&Arc::new(secured.client(&all()))).is_err(), "it is not trusted yet");
    secured.roots.add(new).unwrap();
    assert!(secured.secure(&Arc::new(secured.client(&all()))).is_ok());
    open.send(Message::text("still here")).unwrap();
    assert_eq!(open.read().unwrap().into_text().unwrap(), "still here");
    secured.stop();
}

#[test]
fn row_61_the_binary_takes_a_new_pair_on_sighup_and_says_why_it_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(write_pair(folder.path())).unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let any = "127.0.0.1:0";
    let args = ["--listen", any, "--tls-listen", any, "--tls-cert", &cert, "--tls-key", &key];
    let mut server = Process::start(&args);
    let addr = server.addrs[1];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&all()).unwrap();
    let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
    let open = || {
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(config.clone(), name).unwrap();
        let stream = StreamOwned::new(tls, TcpStream::connect(addr).unwrap());
        tungstenite::client("wss://localhost/echo", stream).map(drop).map_err(|error| error.to_string())
    };
    open().unwrap();
    std::fs::write(&cert, "no certificate").unwrap();
    server.signal("-HUP");
    let complaint = server.said("the certificate in use is kept: ");
    assert!(complaint.contains("cert.pem: no certificate in it"), "{complaint}");
    open().unwrap();
    let (code, said) = refused(&["--tls-listen", any, "--tls-cert", &cert]);
    assert!(code == Some(2) && said.contains("tls needs a certificate and a key"), "{said}");
}

#[test]
fn what_is_no_tls_and_who_never_finishes_the_handshake_costs_nobody_else_anything() {
    let secured = Secured::start();
    let mut plain = TcpStream::connect(secured.addr).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    plain.write_all(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut rest = Vec::new();
    // An alert, and the end.
    plain.read_to_end(&mut rest).unwrap_or_default();
    assert!(rest.first().is_none_or(|kind| *kind == 0x15), "{rest:?}");
    let begun = Instant::now();
    let mut silent = TcpStream::connect(secured.addr).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    silent.write_all(&[0x16, 3, 1, 2, 0]).unwrap();
    assert_eq!(silent.read(&mut [0; 16]).unwrap_or_default(), 0);
    assert!(begun.elapsed() < Duration::from_secs(10));
    let config = Arc::new(secured.client(&all()));
    let mut socket = secured.open(&config, "/echo");
    socket.send(Message::text("served")).unwrap();
    assert_eq!(socket.read().unwrap().into_text().unwrap(), "served");
    secured.stop();
}
