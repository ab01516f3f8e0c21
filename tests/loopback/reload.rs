//! SIGHUP: the binary reads its configuration anew while connections are open.

use std::path::Path;

use crate::binary::Process;
use crate::client::{Client, closed, connect, get, text, try_connect};

/// A server with a configuration file that is written anew and reloaded.
struct Served {
    folder: tempfile::TempDir,
    server: Process,
}

impl Served {
    fn start(config: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fanline.toml");
        std::fs::write(&path, config).unwrap();
        let args = [&["--config", path.to_str().unwrap(), "--listen", "127.0.0.1:0"], args].concat();
        Self { folder, server: Process::start(&args) }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes another configuration, sends SIGHUP, and returns what the server says of it.
    fn reload(&mut self, config: &str) -> String {
        std::fs::write(self.path().join("fanline.toml"), config).unwrap();
        self.server.signal("-HUP");
        self.server.said("reload: ")
    }

    fn connect(&self, path: &str) -> Client {
        connect(self.server.addr(), path)
    }
}

const A: &str = "[[route]]\npath = '/a'\nmode = 'room'\n";
const B: &str = "[[route]]\npath = '/b'\nmode = 'echo'\n";

#[test]
fn an_open_connection_keeps_its_route_and_a_new_one_gets_the_new_route() {
    let mut served = Served::start(&format!("{A}exit_word = 'exit'\n{B}"), &[]);
    let (mut old, mut echo) = (served.connect("/a"), served.connect("/b"));
    // What was the first route is the second now, and the first one is an echo.
    let said = served.reload(&format!("{B}{A}exit_word = 'quit'\ngreeting = 'hello'\n"));
    assert!(said.ends_with("fanline.toml with 2 routes"), "{said}");
    let mut new = served.connect("/a");
    assert_eq!(text(&mut new), "hello");
    old.send("quit".into()).unwrap();
    assert_eq!((text(&mut old), text(&mut new)), ("quit".into(), "quit".into()), "one room for old and new");
    new.send("exit".into()).unwrap();
    assert_eq!((text(&mut old), text(&mut new)), ("exit".into(), "exit".into()));
    old.send("exit".into()).unwrap();
    assert_eq!(closed(&mut old).unwrap().0, 1000);
    new.send("quit".into()).unwrap();
    assert_eq!(closed(&mut new).unwrap().0, 1000);
    echo.send("still here".into()).unwrap();
    assert_eq!(text(&mut echo), "still here");
    // Its path is gone; the connection is not.
    served.reload(A);
    assert_eq!(try_connect(served.server.addr(), "/b", &[]).err(), Some(404));
    echo.send("and still".into()).unwrap();
    assert_eq!(text(&mut echo), "and still");
}

#[test]
fn limits_origins_and_files_are_read_anew() {
    let mut served = Served::start(A, &[]);
    let addr = served.server.addr();
    let elsewhere = [("origin", "https://app.example")];
    assert_eq!(try_connect(addr, "/a", &elsewhere).err(), Some(403));
    assert!(get(addr, "/static/").starts_with("HTTP/1.1 404 "));
    let mut open = served.connect("/a");
    std::fs::create_dir(served.path().join("public")).unwrap();
    std::fs::write(served.path().join("public/index.html"), "hello").unwrap();
    let rooms = "[[route]]\npath = '/c/{room}'\nmode = 'room'\nhistory = { messages = 0 }\n";
    let said = served.reload(&format!(
        "origins = ['https://app.example']\nstatic = 'public'\n\
         [limits]\nmessage_bytes_max = 5\nrooms_max = 1\n{A}{rooms}"
    ));
    assert!(said.ends_with("with 2 routes"), "{said}");
    assert!(try_connect(addr, "/a", &elsewhere).is_ok());
    assert!(get(addr, "/static/").ends_with("\r\n\r\nhello"));
    assert_eq!(try_connect(addr, "/c/x", &[]).err(), Some(503), "one room is all there may be");
    open.send("123456".into()).unwrap();
    assert_eq!(closed(&mut open).unwrap().0, 1009);
}

#[test]
fn who_may_do_what_is_read_anew_and_who_is_in_stays_in() {
    let mut served = Served::start(A, &[]);
    let addr = served.server.addr();
    let mut open = served.connect("/a");
    let auth = "[auth]\nanonymous = 'refuse'\n[auth.header]\nname = 'x-user'\nfrom = ['127.0.0.1']\n";
    served.reload(&format!("{A}template = '{{user}}: {{text}}'\n{auth}"));
    assert_eq!(try_connect(addr, "/a", &[]).err(), Some(401));
    let mut ann = try_connect(addr, "/a", &[("x-user", "ann")]).unwrap();
    ann.send("hello".into()).unwrap();
    assert_eq!((text(&mut ann), text(&mut open)), ("ann: hello".into(), "ann: hello".into()));
    open.send("and I".into()).unwrap();
    assert_eq!(
        (text(&mut ann), text(&mut open)),
        ("and I".into(), "and I".into()),
        "no template on the old one"
    );
    served.reload(A);
    assert!(try_connect(addr, "/a", &[]).is_ok());
}

#[test]
fn what_needs_a_restart_is_named_and_stays() {
    let mut served = Served::start(A, &["--walk-slice", "7"]);
    let said = served.reload(&format!(
        "listen = ['127.0.0.1:1']\n[limits]\nconnections_max = 1\nwalk_slice = 3\nreceive_buffer = 2048\n{A}"
    ));
    // The address is a flag here, and flags go before the file.
    let want = "with 1 route; only a restart changes limits.connections_max, limits.receive_buffer";
    assert!(said.ends_with(want), "{said}");
    let (_a, mut b) = (served.connect("/a"), served.connect("/a"));
    b.send("two at once".into()).unwrap();
    assert_eq!(text(&mut b), "two at once");
}

#[test]
fn a_bad_file_changes_nothing_and_is_told_why() {
    let mut served = Served::start(&format!("{A}greeting = 'hello'\n"), &[]);
    let mut open = served.connect("/a");
    std::fs::write(served.path().join("fanline.toml"), format!("{A}greeting = 1\n{B}")).unwrap();
    served.server.signal("-HUP");
    let named = served.path().join("fanline.toml");
    let said = served.server.said(named.to_str().unwrap());
    assert!(
        said.ends_with("fanline.toml:4: route.greeting: expected text in quotes, found an integer"),
        "{said}"
    );
    assert_eq!(served.server.said("reload: "), "reload: the configuration stays as it was");
    assert_eq!(text(&mut served.connect("/a")), "hello");
    assert_eq!(try_connect(served.server.addr(), "/b", &[]).err(), Some(404));
    assert_eq!(text(&mut open), "hello");
    open.send("still here".into()).unwrap();
    assert_eq!(text(&mut open), "still here");
    std::fs::remove_file(&named).unwrap();
    served.server.signal("-HUP");
    assert_eq!(served.server.said("reload: "), "reload: the configuration stays as it was");
    assert!(served.reload(&format!("{A}{B}")).ends_with("with 2 routes"));
    assert!(try_connect(served.server.addr(), "/b", &[]).is_ok());
}

#[test]
fn without_a_file_flags_and_variables_are_read_anew_and_nobody_is_hurt() {
    let mut server = Process::start(&["--listen", "127.0.0.1:0"]);
    let mut open = connect(server.addr(), "/echo");
    server.signal("-HUP");
    assert_eq!(server.said("reload: "), "reload: flags and variables with 2 routes");
    open.send("still here".into()).unwrap();
    assert_eq!(text(&mut open), "still here");
}
