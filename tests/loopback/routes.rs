//! The binary's routes, and the options that the tutorials' pages need.

use tungstenite::Message;

use crate::binary::Process;
use crate::client::{closed, connect, exchange, tcp, text, try_connect};

#[test]
fn row_13_rooms_have_any_name_with_and_without_a_slash_at_the_end() {
    let server = Process::start(&["--listen", "127.0.0.1:0"]);
    let mut members = [
        connect(server.addr(), "/chat/%E6%88%BF%E9%97%B4/"),
        connect(server.addr(), "/chat/%E6%88%BF%E9%97%B4"),
        connect(server.addr(), "/chat/%e6%88%bf%e9%97%b4/"),
    ];
    members[1].send("欢迎大哥光临!".into()).unwrap();
    for member in &mut members {
        assert_eq!(text(member), "欢迎大哥光临!");
    }
    for path in ["/chat/%FF", "/chat/..%2Fetc", "/chat/../x", "/chat/%2e%2e/x", "/chat/%zz", "/chat/a%00b"] {
        assert_eq!(try_connect(server.addr(), path, &[]).err(), Some(400), "{path}");
    }
    for path in ["/chat", "/chat/", "/chat/a/b", "/other"] {
        assert_eq!(try_connect(server.addr(), path, &[]).err(), Some(404), "{path}");
    }
}

#[test]
fn row_21_text_stays_text_and_binary_stays_binary_for_every_member() {
    let server = Process::start(&["--listen", "127.0.0.1:0"]);
    let (mut a, mut b) = (connect(server.addr(), "/chat/x"), connect(server.addr(), "/chat/x"));
    let file: Vec<u8> = (0..3_000_000u32).map(|i| ((i * 7) >> 3) as u8).collect();
    for message in
        [Message::Text("text".into()), Message::Binary(file.into()), Message::Binary(vec![].into())]
    {
        a.send(message.clone()).unwrap();
        assert_eq!(a.read().unwrap(), message);
        assert_eq!(b.read().unwrap(), message);
    }
}

#[test]
fn row_23_echo_is_an_echo() {
    let server = Process::start(&["--listen", "127.0.0.1:0", "--deflate"]);
    let mut client = connect(server.addr(), "/echo");
    for len in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
        let message = Message::Text("x".repeat(len).into());
        client.send(message.clone()).unwrap();
        assert_eq!(client.read().unwrap(), message);
    }
}

#[test]
fn row_7_pages_of_another_origin_are_refused_unless_they_are_listed() {
    let server = Process::start(&["--listen", "127.0.0.1:0"]);
    let own = format!("http://{}", server.addr());
    assert!(try_connect(server.addr(), "/echo", &[("origin", &own)]).is_ok());
    assert_eq!(try_connect(server.addr(), "/echo", &[("origin", "https://evil.example")]).err(), Some(403));
    let args = ["--listen", "127.0.0.1:0", "--origin", "https://app.example"];
    let server = Process::start(&args);
    assert!(try_connect(server.addr(), "/echo", &[("origin", "https://app.example")]).is_ok());
    assert_eq!(try_connect(server.addr(), "/echo", &[("origin", "https://evil.example")]).err(), Some(403));
    let server = Process::start(&["--listen", "127.0.0.1:0", "--origin", "*"]);
    assert!(try_connect(server.addr(), "/echo", &[("origin", "https://evil.example")]).is_ok());
}

#[test]
fn row_24_of_part_2_a_page_of_a_listed_origin_reads_publishes_and_listens_also_without_websocket() {
    let listed = Process::start(&["--listen", "127.0.0.1:0", "--origin", "https://app.example"]);
    let ask = |line: &str, headers: &str, body: &str| {
        let head = format!("{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", listed.addr());
        let length = body.len();
        exchange(listed.addr(), format!("{head}Content-Length: {length}\r\n{headers}\r\n{body}").as_bytes())
    };
    let app = "Origin: https://app.example\r\n";
    let may_read = "access-control-allow-origin: https://app.example\r\n";
    let asks = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: idempotency-key\r\n";
    let told = ask("OPTIONS /rooms/lobby/messages", &format!("{app}{asks}"), "");
    assert!(told.starts_with("HTTP/1.1 204") && told.contains(may_read), "{told}");
    assert!(
        told.contains("allow-methods: POST") && told.contains("allow-headers: idempotency-key"),
        "{told}"
    );
    let said = ask("POST /rooms/lobby/messages", &format!("{app}Idempotency-Key: 1\r\n"), "hello");
    assert!(said.starts_with("HTTP/1.1 201") && said.contains(may_read), "{said}");
    for path in ["/rooms/lobby/messages", "/rooms/lobby", "/nothing/here"] {
        let read = ask(&format!("GET {path}"), app, "");
        assert!(read.contains(may_read) && read.contains("access-control-allow-credentials: true"), "{read}");
        assert!(
            !ask(&format!("GET {path}"), "Origin: https://evil.example\r\n", "").contains("access-control")
        );
        assert!(!ask(&format!("GET {path}"), "", "").contains("access-control"));
    }
    let head = ask("HEAD /rooms/lobby/events", app, "");
    assert!(head.contains("text/event-stream") && head.contains(may_read), "{head}");
    let mut stream = tcp(listed.addr());
    let events = format!("GET /rooms/lobby/events HTTP/1.1\r\nHost: {}\r\n{app}\r\n", listed.addr());
    std::io::Write::write_all(&mut stream, events.as_bytes()).unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stream)).map(Result::unwrap);
    assert!(lines.by_ref().take_while(|line| !line.is_empty()).any(|line| format!("{line}\r\n") == may_read));
}

#[test]
fn row_12_of_part_2_what_is_for_those_who_run_the_server_is_not_for_pages_of_any_origin() {
    let args = ["--listen", "127.0.0.1:0", "--origin", "*", "--admin-listen", "127.0.0.1:0"];
    let server = Process::start(&args);
    let ask = |addr: std::net::SocketAddr, path: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n");
        exchange(addr, format!("{head}Origin: https://app.example\r\n\r\n").as_bytes())
    };
    assert!(ask(server.addrs[0], "/rooms").contains("access-control-allow-origin: *\r\n"));
    for path in ["/admin/api/status", "/metrics"] {
        let answer = ask(server.addrs[1], path);
        assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("access-control"), "{answer}");
    }
}

#[test]
fn row_12_the_tutorials_paths_lead_where_their_pages_expect() {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/tutorials.toml");
    let server = Process::start(&["--config", config, "--listen", "127.0.0.1:0"]);
    for path in
        ["/", "/chat", "/chat/", "/chat/g1/", "/chatsocket", "/websocket", "/webfin/websocket/", "/xxoo"]
    {
        let (mut a, mut b) = (connect(server.addr(), path), connect(server.addr(), path));
        a.send("hello".into()).unwrap();
        // Some of these routes greet, or send an id; what was sent comes after that.
        let mut heard = text(&mut b);
        if !heard.ends_with("hello") {
            heard = text(&mut b);
        }
        assert!(heard.ends_with("hello"), "{path}: {heard}");
    }
}

#[test]
fn row_5_a_route_can_require_a_subprotocol_and_picks_the_first_of_its_own() {
    let (_file, server) = configured(
        "[[route]]\npath = '/chat/{room}'\nmode = 'room'\n\
         subprotocols = ['superchat', 'chat']\nsubprotocol_required = true\n",
    );
    for (offered, chosen) in [("chat", "chat"), ("other, chat, superchat", "superchat")] {
        let answer =
            crate::sockets::handshake(server.addr(), "/chat/x", &[("Sec-WebSocket-Protocol", offered)]);
        assert!(answer.contains(&format!("sec-websocket-protocol: {chosen}\r\n")), "{answer}");
    }
    assert_eq!(try_connect(server.addr(), "/chat/x", &[]).err(), Some(400));
    assert_eq!(
        try_connect(server.addr(), "/chat/x", &[("sec-websocket-protocol", "other")]).err(),
        Some(400)
    );
}

#[test]
fn row_31_a_route_can_greet_and_row_33_end_on_a_word_after_which_the_member_has_left() {
    let (_file, server) = configured(
        "[[route]]\npath = '/chat/{room}'\nmode = 'room'\ngreeting = '欢迎大哥光临!'\nexit_word = 'exit'\n",
    );
    let (mut a, mut b) = (connect(server.addr(), "/chat/x"), connect(server.addr(), "/chat/x"));
    assert_eq!((text(&mut a), text(&mut b)), ("欢迎大哥光临!".into(), "欢迎大哥光临!".into()));
    a.send("exit".into()).unwrap();
    assert_eq!(closed(&mut a).unwrap().0, 1000);
    b.send("still here".into()).unwrap();
    assert_eq!(text(&mut b), "still here", "the word itself was not passed on");
}

#[test]
fn over_http_a_room_has_the_options_of_the_route_that_leads_to_it_alone() {
    let wide = "[[route]]\npath = '/chat/{room}'\nmode = 'room'\n";
    let own = "[[route]]\npath = '/wall'\nmode = 'room'\nmessage_bytes_max = 3\n";
    let (_file, server) = configured(&format!("{wide}{own}"));
    for (room, status) in [("wall", "413"), ("lobby", "201")] {
        let mut stream = std::net::TcpStream::connect(server.addr()).unwrap();
        let head =
            format!("POST /rooms/{room}/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nlong");
        std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
        let mut answer = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer[9..]), status, "{room}");
    }
}

fn configured(config: &str) -> (tempfile::NamedTempFile, Process) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let server = Process::start(&["--config", file.path().to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    (file, server)
}
