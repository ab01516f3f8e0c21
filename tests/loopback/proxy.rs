//! What proxies say of clients, PROXY headers and Unix sockets, with the other side played by the test.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fanline::{
    Address, Builder, Context, Exchange, Handle, Handler, Limits, Message, Networks, Opening, Reply,
    Response, Server,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::binary::{Process, refused};
use crate::client::PATIENCE;

/// Tells everybody whom it takes them for, over HTTP and over WebSocket, when they come and later.
struct Mirror;

impl Handler for Mirror {
    type State = ();

    fn http(&mut self, exchange: &mut Exchange<'_>) -> Reply {
        Response::text(200, &format!("{:?} {}", exchange.client_addr(), exchange.peer_addr().is_some()))
            .into()
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<(), Response> {
        let client = format!("{:?}", opening.client_addr());
        opening.send(&client).map_err(|error| Response::text(500, &error.to_string()))
    }

    fn message(&mut self, _state: &mut (), ctx: &mut Context<'_>, _message: Message<'_>) {
        let client = format!("{:?}", ctx.client_addr());
        ctx.send(&client).unwrap();
    }
}

struct Running {
    addr: SocketAddr,
    handle: Handle,
    thread: JoinHandle<std::io::Result<()>>,
}

impl Running {
    fn start(builder: Builder) -> Self {
        let server = builder.bind(Mirror).unwrap();
        let addr = server.local_addrs().first().copied().unwrap_or(([127, 0, 0, 1], 0).into());
        let handle = server.handle();
        Self { addr, handle, thread: std::thread::spawn(move || server.run()) }
    }

    fn trusting(trusted: &[&str]) -> Builder {
        Server::builder().trusted_proxies(Networks::parse(trusted).unwrap())
    }

    fn tcp(&self) -> TcpStream {
        crate::client::tcp(self.addr)
    }

    fn stop(self) {
        self.handle.shutdown();
        self.thread.join().unwrap().unwrap();
    }
}

const ASK: &str = "GET / HTTP/1.1\r\nHost: x\r\n";

/// The body's first line, of one answer.
fn answer(stream: &mut impl Read) -> String {
    let mut text = String::new();
    let mut bytes = [0; 1024];
    while !text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.ends_with('\n')) {
        match stream.read(&mut bytes) {
            Ok(len) if len > 0 => text.push_str(std::str::from_utf8(&bytes[..len]).unwrap()),
            end => panic!("{end:?} after {text:?}"),
        }
    }
    text.lines().last().unwrap().to_owned()
}

/// Whether the server ends the connection without a word, within a moment.
fn is_dropped(stream: &mut impl Read) -> bool {
    match stream.read(&mut [0; 16]) {
        Ok(len) => len == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn asked(running: &Running, before: &[u8], lines: &str) -> String {
    let mut stream = running.tcp();
    stream.write_all(&[before, format!("{ASK}{lines}\r\n").as_bytes()].concat()).unwrap();
    answer(&mut stream)
}

/// A header of version 2 for a client at 192.0.2.1 and a port of 4660.
fn v2(command: u8) -> Vec<u8> {
    let addresses = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20 | command, 0x11, 0, 12], &addresses].concat()
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n";

#[test]
fn row_14_of_part_2_nobodys_word_counts_by_default() {
    let running = Running::start(Server::builder().listen("127.0.0.1:0").unwrap());
    for lines in ["", "X-Forwarded-For: 1.1.1.1\r\n", "Forwarded: for=1.1.1.1\r\n", "X-Real-IP: 1.1.1.1\r\n"]
    {
        assert_eq!(asked(&running, b"", lines), "Some(127.0.0.1) true", "{lines}");
    }
    running.stop();
}

#[test]
fn row_14_of_part_2_a_trusted_proxy_names_the_client_of_each_request_and_of_a_websocket() {
    let builder = Running::trusting(&["127.0.0.0/8", "10.0.0.0/8"]);
    let running = Running::start(builder.listen("127.0.0.1:0").unwrap());
    let mut stream = running.tcp();
    // One connection of the proxy carries requests of several clients.
    let rows = [
        ("X-Forwarded-For: 1.1.1.1\r\n", "Some(1.1.1.1)"),
        ("X-Forwarded-For: 9.9.9.9\r\nx-forwarded-for: 2.2.2.2, 10.0.0.2\r\n", "Some(2.2.2.2)"),
        ("Forwarded: for=1.1.1.1\r\n", "Some(127.0.0.1)"),
        ("X-Forwarded-For: 3.3.3.3, nobody\r\n", "Some(127.0.0.1)"),
    ];
    for (lines, want) in rows {
        stream.write_all(format!("{ASK}{lines}\r\n").as_bytes()).unwrap();
        assert_eq!(answer(&mut stream), format!("{want} true"), "{lines}");
    }
    let mut socket =
        crate::client::try_connect(running.addr, "/", &[("X-Forwarded-For", "9.9.9.9, 1.1.1.1")]).unwrap();
    assert_eq!(crate::client::text(&mut socket), "Some(1.1.1.1)");
    socket.send("and later".into()).unwrap();
    assert_eq!(crate::client::text(&mut socket), "Some(1.1.1.1)");
    running.stop();
}

#[test]
fn row_14_of_part_2_where_a_trusted_proxy_names_nobody_a_client_cannot_name_itself() {
    let builder = Running::trusting(&["127.0.0.0/8"]);
    let running = Running::start(builder.listen_proxied("127.0.0.1:0").unwrap());
    for header in [v2(0), b"PROXY UNKNOWN\r\n".to_vec()] {
        assert_eq!(asked(&running, &header, "X-Forwarded-For: 1.1.1.1\r\n"), "Some(127.0.0.1) true");
    }
    running.stop();
}

#[test]
fn row_14_of_part_2_a_proxy_header_names_the_client_however_it_is_cut() {
    let running = Running::start(Server::builder().listen_proxied("127.0.0.1:0").unwrap());
    let rows = [
        (V1.to_vec(), "Some(192.0.2.1) true"),
        (v2(1), "Some(192.0.2.1) true"),
        (v2(0), "Some(127.0.0.1) true"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "Some(127.0.0.1) true"),
    ];
    for (header, want) in rows {
        // The listener itself says that proxies reach it; what X-Forwarded-For says is another matter.
        assert_eq!(asked(&running, &header, "X-Forwarded-For: 1.1.1.1\r\n"), want);
        let mut stream = running.tcp();
        stream.set_nodelay(true).unwrap();
        for byte in &header {
            stream.write_all(&[*byte]).unwrap();
        }
        // More than is read at a time comes with the last of it.
        let long = format!("{ASK}X: {}\r\n\r\n", "x".repeat(5000));
        stream.write_all(long.as_bytes()).unwrap();
        assert_eq!(answer(&mut stream), want);
        let glued = [&header[..], long.as_bytes()].concat();
        for cut in [1, header.len() - 1, header.len(), header.len() + 1, 300] {
            let mut stream = running.tcp();
            stream.write_all(&glued[..cut]).unwrap();
            std::thread::sleep(Duration::from_millis(5));
            stream.write_all(&glued[cut..]).unwrap();
            assert_eq!(answer(&mut stream), want, "cut at {cut}");
        }
    }
    assert_eq!(running.handle.metrics().proxies_refused.get(), 0);
    running.stop();
}

#[test]
fn row_14_of_part_2_without_a_good_header_a_connection_is_dropped_at_once_or_at_the_deadline() {
    let with_deadline = |head_deadline| {
        let limits = Limits { head_deadline, ..Limits::default() };
        Running::start(Server::builder().limits(limits).listen_proxied("127.0.0.1:0").unwrap())
    };
    // The deadline lies beyond the patience of who waits: what ends here ends for another reason.
    let running = with_deadline(3 * PATIENCE);
    let long = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"[..], &[0; 300]].concat();
    let bad: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 4660\r\n",
        b"PROXY TCP4 nobody 10.0.0.1 1 1\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x00",
        &long,
    ];
    for bytes in bad {
        let mut stream = running.tcp();
        stream.write_all(bytes).unwrap();
        assert!(is_dropped(&mut stream), "{bytes:?}");
    }
    assert_eq!(running.handle.metrics().proxies_refused.get(), bad.len() as u64);
    running.stop();
    let running = with_deadline(Duration::from_millis(500));
    for bytes in [&b""[..], b"PROX", &V1[..V1.len() - 1], &v2(1)[..20]] {
        let begun = Instant::now();
        let mut stream = running.tcp();
        stream.write_all(bytes).unwrap();
        assert!(is_dropped(&mut stream), "{bytes:?}");
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(400) && took < PATIENCE, "{bytes:?} took {took:?}");
    }
    running.stop();
}

#[test]
fn row_14_of_part_2_headers_are_taken_only_from_trusted_peers_where_any_are_named_and_then_chained() {
    let elsewhere = Running::trusting(&["10.0.0.0/8"]).listen_proxied("127.0.0.1:0").unwrap();
    let running = Running::start(elsewhere);
    let mut stream = running.tcp();
    // It may be gone before anything is sent.
    stream.write_all(V1).unwrap_or_default();
    assert!(is_dropped(&mut stream));
    assert_eq!(running.handle.metrics().proxies_refused.get(), 1);
    running.stop();
    let here = Running::trusting(&["127.0.0.1", "192.0.2.0/24"]).listen_proxied("127.0.0.1:0").unwrap();
    let running = Running::start(here);
    // Behind the proxy that sends the header stands another of ours, which writes X-Forwarded-For.
    assert_eq!(asked(&running, V1, "X-Forwarded-For: 9.9.9.9, 1.1.1.1\r\n"), "Some(1.1.1.1) true");
    assert_eq!(asked(&running, V1, ""), "Some(192.0.2.1) true");
    let stranger = b"PROXY TCP4 198.51.100.1 10.0.0.1 4660 80\r\n";
    assert_eq!(asked(&running, stranger, "X-Forwarded-For: 1.1.1.1\r\n"), "Some(198.51.100.1) true");
    running.stop();
}

#[test]
fn row_14_of_part_2_a_proxy_header_is_never_read_elsewhere() {
    let running = Running::start(Running::trusting(&["127.0.0.1"]).listen("127.0.0.1:0").unwrap());
    let mut stream = running.tcp();
    stream.write_all(&[V1, format!("{ASK}\r\n").as_bytes()].concat()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
    running.stop();
}

#[test]
fn row_14_of_part_2_the_header_comes_before_tls() {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let builder = Server::builder().tls(&cert, &key).listen_tls_proxied("127.0.0.1:0").unwrap();
    let running = Running::start(builder);
    let mut roots = RootCertStore::empty();
    roots.add(pair.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    for header in [V1.to_vec(), v2(1)] {
        for is_glued in [true, false] {
            let name = ServerName::try_from("localhost").unwrap();
            let mut tls = ClientConnection::new(config.clone(), name).unwrap();
            let mut first = header.clone();
            let mut tcp = running.tcp();
            tcp.set_nodelay(true).unwrap();
            if is_glued {
                // The header and the beginning of the handshake in one segment.
                tls.write_tls(&mut first).unwrap();
            }
            tcp.write_all(&first).unwrap();
            let mut stream = StreamOwned::new(tls, tcp);
            stream.write_all(format!("{ASK}\r\n").as_bytes()).unwrap();
            assert_eq!(answer(&mut stream), "Some(192.0.2.1) true", "glued: {is_glued}");
        }
    }
    // TLS without a header is no good here.
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(config, name).unwrap(), running.tcp());
    assert!(stream.write_all(b"x").is_err());
    running.stop();
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn unix(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn row_23_of_part_2_a_unix_socket_serves_and_its_peers_have_no_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fanline.sock");
    for (trusted, want) in [(&["unix"][..], "Some(1.1.1.1) false"), (&["0.0.0.0/0", "::/0"], "None false")] {
        let running = Running::start(Running::trusting(trusted).listen(path.as_path()).unwrap());
        let mut stream = unix(&path);
        stream.write_all(format!("{ASK}X-Forwarded-For: 1.1.1.1\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(answer(&mut stream), want);
        let (mut socket, _) = tungstenite::client("ws://localhost/", unix(&path)).unwrap();
        assert_eq!(socket.read().unwrap().into_text().unwrap(), "None");
        drop(socket);
        running.stop();
        assert!(!path.exists(), "it is removed in the end");
    }
    let running = Running::start(Server::builder().listen_proxied(path.as_path()).unwrap());
    let mut stream = unix(&path);
    stream.write_all(&[V1, format!("{ASK}\r\n").as_bytes()].concat()).unwrap();
    assert_eq!(answer(&mut stream), "Some(192.0.2.1) false");
    running.stop();
}

#[test]
fn row_23_of_part_2_a_dead_servers_file_is_replaced_and_a_live_ones_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fanline.sock");
    let listen = || Server::builder().listen(&format!("unix:{}", path.display())).unwrap();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "its server is dead");
    let running = Running::start(listen());
    assert_eq!(mode(&path), 0o660);
    let error = listen().bind(Mirror).err().unwrap().to_string();
    assert!(error.contains("another server listens there"), "{error}");
    let mut stream = unix(&path);
    stream.write_all(format!("{ASK}\r\n").as_bytes()).unwrap();
    assert_eq!(answer(&mut stream), "None false", "the first is not disturbed");
    // Somebody else takes its place by force: that one's file stays.
    std::fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    running.stop();
    assert!(path.exists());
    drop(other);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    let error = listen().bind(Mirror).err().unwrap().to_string();
    assert!(error.contains("a file that is no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    let long = folder.path().join("x".repeat(120)).join("fanline.sock");
    assert!(Server::builder().listen(long.as_path()).unwrap().bind(Mirror).is_err());
    assert!(Address::try_from("unix:").is_err() && Address::try_from("unix:/x/").is_err());
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [path], "nothing else is left lying about");
}

#[test]
fn row_23_of_part_2_the_binary_listens_on_a_file_and_says_what_it_listens_for_and_whom_it_trusts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fanline.sock");
    let named = format!("unix:{}", path.display());
    let args = ["--listen", "127.0.0.1:0", "--proxy-listen", "127.0.0.1:0", "--trusted-proxy", "127.0.0.1"];
    let server = Process::start(&args);
    let mut stream = crate::client::tcp(server.addrs[1]);
    stream.write_all(&[V1, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"].concat()).unwrap();
    assert_eq!(answer(&mut stream), "ok");
    drop(server);
    let mut child = crate::binary::fanline(&["--listen", &named, "--unix-mode", "0600"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    assert_eq!(line, format!("listening on http://{named}\n"));
    assert_eq!(mode(&path), 0o600);
    let mut stream = unix(&path);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(answer(&mut stream), "ok");
    let (code, why) = refused(&["--listen", &named]);
    assert!(code == Some(2) && why.contains("another server listens there"), "{why}");
    drop(stream);
    let status = std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(status.success() && child.wait().unwrap().success());
    assert!(!path.exists());
    let (code, why) = refused(&["--trusted-proxy", "10.0.0.0/33"]);
    assert!(code == Some(2) && why.contains("`10.0.0.0/33` is not a network"), "{why}");
}
