//! The files of a folder, and the configuration file, over the real binary.

use std::os::unix::fs::symlink;

use crate::binary::{Process, fanline, refused};
use crate::client::{exchange, get};

#[test]
fn row_60_files_of_a_folder_are_served_with_an_etag_and_nothing_outside_it_is() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("static");
    std::fs::create_dir_all(folder.join("js")).unwrap();
    std::fs::write(outer.path().join("secret"), "secret").unwrap();
    std::fs::write(folder.join("index.html"), "<h1>hello</h1>").unwrap();
    std::fs::write(folder.join("js/jquery.js"), "x".repeat(3000)).unwrap();
    symlink("../secret", folder.join("link")).unwrap();
    symlink("..", folder.join("up")).unwrap();
    let folder = folder.to_str().unwrap();
    let server =
        Process::start(&["--listen", "127.0.0.1:0", "--static", folder, "--static-bytes-max", "3000"]);
    let ask = |line: &str, headers: &str| {
        exchange(
            server.addr(),
            format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").as_bytes(),
        )
    };
    let (index, script) = (get(server.addr(), "/static/"), get(server.addr(), "/static/js/jquery.js"));
    assert!(index.starts_with("HTTP/1.1 200 OK\r\n") && index.ends_with("\r\n\r\n<h1>hello</h1>"), "{index}");
    assert!(index.contains("content-type: text/html; charset=utf-8\r\n"), "{index}");
    assert!(script.ends_with(&format!("\r\n\r\n{}", "x".repeat(3000))), "{script}");
    assert!(script.contains("content-type: text/javascript; charset=utf-8\r\n"), "{script}");
    assert!(script.contains("x-content-type-options: nosniff\r\n"), "{script}");
    let head = ask("HEAD /static/js/jquery.js", "");
    assert!(head.contains("content-length: 3000\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let tag = script.split("etag: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let known = ask("GET /static/js/jquery.js", &format!("If-None-Match: {tag}\r\n"));
    assert!(known.starts_with("HTTP/1.1 304 ") && known.ends_with("\r\n\r\n"), "{known}");
    let rows = [
        ("GET /static/link", "404"),
        ("GET /static/up/secret", "404"),
        ("GET /static/js", "404"),
        ("GET /static/js/", "404"),
        ("GET /static", "404"),
        ("GET /static//etc/passwd", "404"),
        ("GET /static/nothing", "404"),
        ("GET /static/../secret", "400"),
        ("GET /static/%2e%2e/secret", "400"),
        ("GET /static/..%2fsecret", "400"),
        ("GET /static/js%2fjquery.js", "400"),
        ("GET /static/a%00b", "400"),
        ("POST /static/index.html", "405"),
    ];
    for (line, status) in rows {
        let answer = ask(line, "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {answer}");
        assert!(answer.contains("\r\n\r\n{\"error\":\"") && !answer.contains("secret\n"), "{line}: {answer}");
    }
    std::fs::write(outer.path().join("static/js/jquery.js"), "x".repeat(3001)).unwrap();
    assert!(ask("GET /static/js/jquery.js", "").starts_with("HTTP/1.1 404 "));
    assert!(
        get(Process::start(&["--listen", "127.0.0.1:0"]).addr(), "/static/").starts_with("HTTP/1.1 404 ")
    );
    let (code, said) = refused(&["--listen", "127.0.0.1:0", "--static", "/nowhere/at/all"]);
    assert!(code == Some(2) && said.contains("/nowhere/at/all"), "{said}");
}

#[test]
fn a_file_is_checked_as_a_whole_and_nothing_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fanline.toml");
    let name = path.to_str().unwrap();
    std::fs::create_dir(folder.path().join("public")).unwrap();
    std::fs::write(&path, "static = 'public'\n[[route]]\npath = '/x'\nmode = 'echo'\n").unwrap();
    let checked = fanline(&["check", name]).output().unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success() && checked.stderr.is_empty());
    assert!(said.starts_with(&format!("{name}: ok\nlistens on 127.0.0.1:8080\n")), "{said}");
    assert!(said.contains("\n  /x  echo\n") && said.contains("/public (none)\n"), "{said}");
    std::fs::write(&path, "deflat = true\n\n[[route]]\npath = '/x'\n[limits]\nwalk_slice = -1\n").unwrap();
    let want = [
        format!("{name}:1: deflat: there is no such key; did you mean `deflate`?"),
        format!("{name}:3: route.mode: is missing: \"room\" or \"echo\""),
        format!("{name}:6: limits.walk_slice: `-1` is not a whole number"),
    ];
    for args in [&["check", name][..], &["--config", name]] {
        let (code, said) = refused(args);
        assert_eq!(
            (code, said.lines().collect::<Vec<_>>()),
            (Some(2), want.iter().map(|it| &**it).collect())
        );
    }
    let (code, said) = refused(&["check", "/nowhere/at/all"]);
    assert!(code == Some(2) && said.starts_with("/nowhere/at/all: "), "{said}");
}
