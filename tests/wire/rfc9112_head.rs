//! The head of a request, RFC 9112 §2 to §6.

use fanline::http::head::Request;
use fanline::{Limits, Refusal};

use crate::feed::{Row, Seen, Start, row};
use crate::http::{ask, get};

fn head(text: &str) -> Row {
    row(text, text).gives(Seen::Head(text.into()))
}

#[test]
fn row_2_rfc9112_s2_1_a_head_is_found_however_it_is_cut() {
    Start::head().check(&[head(&ask().text()), head("GET / HTTP/1.1\r\n\r\n"), head("x\r\n\r\n")]);
}

#[test]
fn rfc9112_s2_2_empty_lines_before_a_request_are_passed_over() {
    let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let rows = [1, 2, 3, 20].map(|lines| {
        let bytes = ["\r\n".repeat(lines).as_str(), request].concat();
        row(&format!("{lines} empty lines"), bytes).gives(Seen::Head(request.into()))
    });
    Start::head().check(&rows);
    Start::head().head_bytes_max(request.len()).check(&rows);
}

#[test]
fn rfc9112_s2_2_a_line_that_ends_without_cr_is_400() {
    let rows = [
        "\n",
        "\r\n\n",
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\r\nHost: h\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\n",
        "GET / HTTP/1.1\n\nmore",
    ]
    .map(|text| row(text, text).gives(Seen::BadHead(400)));
    Start::head().check(&rows);
}

#[test]
fn rfc9112_s3_a_head_is_at_most_head_bytes_max_long() {
    let fits = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(300 - 18));
    assert_eq!(fits.len(), 300);
    let long = fits.replace("GET ", "GET  ");
    let rows = [
        head(&fits),
        row("one byte over", long).gives(Seen::BadHead(431)),
        row("without an end", vec![b'x'; 301]).gives(Seen::BadHead(431)),
        row("with an end far off", [vec![b'x'; 1000], b"\r\n\r\n".to_vec()].concat())
            .gives(Seen::BadHead(431)),
        row("not yet over", vec![b'x'; 300]).unfinished(),
    ];
    Start::head().head_bytes_max(300).check(&rows);
}

#[test]
fn rfc9112_s3_what_is_wrong_past_head_bytes_max_does_not_matter() {
    let rows =
        [row("a bare LF, far off", [vec![b'x'; 400], b"\n".to_vec()].concat()).gives(Seen::BadHead(431))];
    Start::head().head_bytes_max(300).check(&rows);
}

fn parse(text: &str) -> Result<String, Refusal> {
    Request::parse(text.as_bytes(), &Limits::default()).map(|request| request.path().to_owned())
}

#[test]
fn rfc9112_s3_request_lines_that_are_none_are_400() {
    for line in [
        "",
        "GET",
        "GET /",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / HTTP/0.9",
        "GET / http/1.1",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "G(T / HTTP/1.1",
        "GET / /HTTP/1.1",
        "GET /\u{1} HTTP/1.1",
        "GET * HTTP/1.1",
        "GET example.org:80 HTTP/1.1",
        "\u{16}\u{3}\u{1}",
    ] {
        let refusal = parse(&format!("{line}\r\nHost: h\r\n\r\n")).map_err(Refusal::status);
        assert_eq!(refusal, Err(400), "{line:?}");
    }
}

#[test]
fn rfc9112_s5_fields_that_are_none_are_400() {
    for field in [
        "no colon",
        ": no name",
        "Na me: x",
        "Name : x",
        " Name: x",
        "Name: x\r\n folded",
        "Name: a\u{0}b",
        "Name: a\rb",
        "Content-Length: x",
        "Content-Length: -1",
        "Content-Length: 1, 1",
        "Content-Length:",
        "Content-Length: 0\r\nContent-Length: 0",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Host: again",
    ] {
        let refusal =
            parse(&format!("GET / HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n")).map_err(Refusal::status);
        assert_eq!(refusal, Err(400), "{field:?}");
    }
}

#[test]
fn rfc9112_s3_2_a_host_has_to_be_one() {
    for host in ["a b", "a/b", "a\"b", "<x>", "h?x", "h#x", "user@h", "h\u{e9}"] {
        let refusal = parse(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).map_err(Refusal::status);
        assert_eq!(refusal, Err(400), "{host}");
    }
    for host in ["example.org", "example.org:80", "[::1]:8080", "127.0.0.1", "xn--fiq228c.example", ""] {
        assert_eq!(parse(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), Ok("/".into()), "{host}");
    }
}

#[test]
fn rfc6585_s5_more_fields_than_headers_max_are_431() {
    let limits = Limits { headers_max: 5, ..Limits::default() };
    for (more, want) in [(4, None), (5, Some(431))] {
        let fields: Vec<(&str, &str)> = vec![("X", "y"); more];
        let text = get("/").and("Host", "h").with_fields(&fields).text();
        let refusal = Request::parse(text.as_bytes(), &limits).err().map(Refusal::status);
        assert_eq!(refusal, want, "{more} fields beside Host");
    }
}

#[test]
fn row_13_s3_paths_are_decoded_once() {
    let rows = [
        ("/", "/"),
        ("/a%20b", "/a b"),
        ("/%25zz", "/%zz"),
        ("/%E6%88%BF", "/房"),
        ("/a?b=%FF", "/a"),
        ("http://h", "/"),
        ("http://h?x", "/"),
        ("/a//b/", "/a//b/"),
        ("/...", "/..."),
    ];
    for (target, path) in rows {
        assert_eq!(parse(&get(target).and("Host", "h").text()), Ok(path.into()), "{target}");
    }
}
