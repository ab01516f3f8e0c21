//! The opening handshake that succeeds: RFC 6455 §4.2.2 on RFC 9112 heads.

use super::answer::{Answer, ask_row};
use super::case::Case;
use crate::client::request::Request;

type Row = (&'static str, fn(Request) -> Request, Answer);

/// Requests that differ from the shortest one and open all the same.
const ROWS: &[Row] = &[
    ("s4_2_1_the_shortest_request_opens", |request| request, Answer::Opens),
    (
        "s4_2_2_the_sample_key_gives_the_sample_accept",
        |r| r.with_key("dGhlIHNhbXBsZSBub25jZQ=="),
        Answer::Opens,
    ),
    (
        "s4_2_2_a_key_with_plus_and_slash_is_hashed_as_written",
        |r| r.with_key("+/+/+/+/+/+/+/+/+/+/+w=="),
        Answer::Opens,
    ),
    ("s4_2_1_field_names_in_lower_case", |r| r.names(<[u8]>::make_ascii_lowercase), Answer::Opens),
    ("s4_2_1_field_names_in_upper_case", |r| r.names(<[u8]>::make_ascii_uppercase), Answer::Opens),
    ("s4_2_1_upgrade_value_in_mixed_case", |r| r.set("Upgrade", "WebSocket"), Answer::Opens),
    ("s4_2_1_upgrade_value_in_upper_case", |r| r.set("Upgrade", "WEBSOCKET"), Answer::Opens),
    ("s4_2_1_connection_value_in_lower_case", |r| r.set("Connection", "upgrade"), Answer::Opens),
    ("s4_2_1_connection_value_in_upper_case", |r| r.set("Connection", "UPGRADE"), Answer::Opens),
    (
        "s4_2_1_connection_lists_keep_alive_and_upgrade",
        |r| r.set("Connection", "keep-alive, Upgrade"),
        Answer::Opens,
    ),
    ("s4_2_1_connection_lists_upgrade_first", |r| r.set("Connection", "Upgrade,keep-alive"), Answer::Opens),
    (
        "s4_2_1_connection_in_two_fields",
        |r| r.set("Connection", "keep-alive").add("Connection", "Upgrade"),
        Answer::Opens,
    ),
    (
        "rfc9110_s5_6_1_connection_list_with_empty_members",
        |r| r.set("Connection", ", ,Upgrade ,"),
        Answer::Opens,
    ),
    (
        "rfc9112_s5_1_no_space_after_the_colon",
        |r| r.without("Upgrade").line("Upgrade:websocket"),
        Answer::Opens,
    ),
    (
        "rfc9112_s5_1_tabs_around_a_value",
        |r| r.without("Upgrade").line("Upgrade:\t websocket \t"),
        Answer::Opens,
    ),
    ("rfc9112_s5_1_spaces_around_the_version", |r| r.set("Sec-WebSocket-Version", "  13  "), Answer::Opens),
    (
        "rfc9112_s5_1_spaces_after_the_key",
        |r| {
            r.with_key("dGhlIHNhbXBsZSBub25jZQ==")
                .without("Sec-WebSocket-Key")
                .line("Sec-WebSocket-Key:   dGhlIHNhbXBsZSBub25jZQ==   ")
        },
        Answer::Opens,
    ),
    (
        "s4_1_a_query_belongs_to_the_resource_name",
        |r| r.target(|path| format!("{path}?a=1&b=%20")),
        Answer::Opens,
    ),
    (
        "rfc9112_s3_2_2_the_target_in_absolute_form",
        |r| {
            let host = r.host();
            r.target(|path| format!("http://{host}{path}"))
        },
        Answer::Opens,
    ),
    (
        "s4_1_unknown_fields_are_ignored",
        |r| r.add("X-Unknown", "a, b; c=\"d\"").add("DNT", "1"),
        Answer::Opens,
    ),
    (
        "s4_1_cookies_cache_and_pragma_are_allowed",
        |r| {
            // A client that shows a cookie is a browser, and says at which page.
            same_origin(r)
                .add("Cookie", "a=1; b=2")
                .add("Pragma", "no-cache")
                .add("Cache-Control", "no-cache")
        },
        Answer::Opens,
    ),
    ("s4_1_an_empty_field_value_is_allowed", |r| r.line("X-Empty:"), Answer::Opens),
    ("s4_1_a_browser_sends_all_of_this", browser, Answer::Opens),
    (
        "s9_1_an_unknown_extension_is_ignored",
        |r| r.set("Sec-WebSocket-Extensions", "x-unknown; a=1"),
        Answer::OpensPlain,
    ),
    (
        "s9_1_an_unknown_extension_with_a_quoted_value_is_ignored",
        |r| r.set("Sec-WebSocket-Extensions", "x-unknown; a=\"token\", x-other"),
        Answer::OpensPlain,
    ),
    (
        "s9_1_unknown_extensions_in_two_fields_are_ignored",
        |r| r.add("Sec-WebSocket-Extensions", "x-one").add("Sec-WebSocket-Extensions", "x-two; b"),
        Answer::OpensPlain,
    ),
    ("s4_2_2_no_extension_is_agreed_unasked", |r| r, Answer::OpensPlain),
    ("s4_2_2_no_subprotocol_is_chosen_unasked", |r| r, Answer::OpensWithProtocolOf(&[])),
    (
        "s4_2_2_the_chosen_subprotocol_was_offered",
        |r| r.set("Sec-WebSocket-Protocol", "chat, superchat"),
        Answer::OpensWithProtocolOf(&["chat", "superchat"]),
    ),
    (
        "s4_2_2_subprotocols_in_two_fields",
        |r| r.add("Sec-WebSocket-Protocol", "chat").add("Sec-WebSocket-Protocol", "x.y-z"),
        Answer::OpensWithProtocolOf(&["chat", "x.y-z"]),
    ),
    ("rfc9112_s2_2_an_empty_line_before_the_request_line", |r| r.prefix(b"\r\n"), Answer::OpensOr(&[400])),
    ("rfc9112_s2_2_lines_that_end_in_a_bare_lf", |r| r.line_end(b"\n"), Answer::OpensOr(&[400])),
    (
        "rfc9110_s5_5_a_field_value_of_obs_text",
        |r| r.line(b"X-Text: caf\xe9 \xff".as_slice()),
        Answer::OpensOr(&[400]),
    ),
    (
        "rfc9110_s7_8_upgrade_lists_another_protocol_too",
        |r| r.set("Upgrade", "websocket, h2c"),
        Answer::OpensOr(&[426]),
    ),
    ("rfc6454_s7_an_origin_equal_to_the_host", same_origin, Answer::OpensOr(&[403])),
    (
        "rfc9110_s5_4_fifty_fields_are_few",
        |r| (0..50).fold(r, |r, index| r.add(&format!("X-Field-{index}"), "value")),
        Answer::OpensOr(&[431]),
    ),
    (
        "rfc9110_s5_4_a_field_of_4_kib_is_short",
        |r| r.add("X-Long", &"v".repeat(4096)),
        Answer::OpensOr(&[431]),
    ),
];

fn browser(request: Request) -> Request {
    request
        .set("Connection", "keep-alive, Upgrade")
        .add("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
        .add("Accept", "*/*")
        .add("Accept-Language", "de,en-US;q=0.7,en;q=0.3")
        .add("Accept-Encoding", "gzip, deflate, br, zstd")
        .add("Sec-WebSocket-Extensions", "x-not-known")
        .add("Sec-Fetch-Dest", "empty")
        .add("Sec-Fetch-Mode", "websocket")
        .add("Pragma", "no-cache")
}

/// As a page that the server itself has served.
fn same_origin(request: Request) -> Request {
    let host = request.host();
    request.set("Origin", &format!("http://{host}"))
}

/// The group's cases.
pub(super) fn cases() -> Vec<Case> {
    let rows = ROWS.iter().map(|&(name, change, answer)| ask_row(name, change, answer));
    rows.chain(super::handshake_feeds::cases()).collect()
}
