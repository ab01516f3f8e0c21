//! The opening handshake that must not succeed: RFC 6455 §4.2.1 and §4.4, RFC 9112 heads.

use super::answer::{Answer, ask_row};
use super::case::{Case, Outcome, fail, skip};
use super::script::{expect_message, still_lives};
use super::target::Target;
use crate::client::frame::{Frame, TEXT};
use crate::client::head::Response;
use crate::client::request::Request;
use crate::client::wire::Feed;

type Row = (&'static str, fn(Request) -> Request, Answer);

const KEY: &str = "Sec-WebSocket-Key";
const VERSION: &str = "Sec-WebSocket-Version";
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

/// Requests that ask for a WebSocket wrongly.
const UPGRADES: &[Row] = &[
    ("s4_2_1_method_post_is_refused", |r| r.method("POST"), Answer::Refused(&[405])),
    ("s4_2_1_method_put_is_refused", |r| r.method("PUT"), Answer::Refused(&[405])),
    ("s4_2_1_method_delete_is_refused", |r| r.method("DELETE"), Answer::Refused(&[405])),
    ("s4_2_1_method_options_is_refused", |r| r.method("OPTIONS"), Answer::NotSwitched(&[405])),
    (
        "rfc9110_s9_1_method_get_in_lower_case_is_another_method",
        |r| r.method("get"),
        Answer::Refused(&[400, 405]),
    ),
    ("s4_2_1_http_1_0_is_refused", |r| r.version("HTTP/1.0"), Answer::NotSwitched(&[400, 426])),
    ("rfc9112_s2_3_version_http_2_0_is_refused", |r| r.version("HTTP/2.0"), Answer::Any(&[400])),
    ("rfc9112_s2_3_version_in_lower_case_is_refused", |r| r.version("http/1.1"), Answer::Any(&[400])),
    ("s4_2_1_missing_upgrade_is_not_switched", |r| r.without("Upgrade"), Answer::NotSwitched(&[426])),
    ("s4_2_1_upgrade_to_h2c_is_not_switched", |r| r.set("Upgrade", "h2c"), Answer::NotSwitched(&[400, 426])),
    (
        "s4_2_1_upgrade_to_websocketx_is_not_switched",
        |r| r.set("Upgrade", "websocketx"),
        Answer::NotSwitched(&[400, 426]),
    ),
    ("s4_2_1_empty_upgrade_is_not_switched", |r| r.set("Upgrade", ""), Answer::NotSwitched(&[400, 426])),
    (
        "s4_2_1_missing_connection_is_not_switched",
        |r| r.without("Connection"),
        Answer::NotSwitched(&[400, 426]),
    ),
    (
        "s4_2_1_connection_without_upgrade_is_not_switched",
        |r| r.set("Connection", "keep-alive"),
        Answer::NotSwitched(&[400, 426]),
    ),
    (
        "s4_2_1_connection_of_a_longer_word_is_not_switched",
        |r| r.set("Connection", "no-upgrade"),
        Answer::NotSwitched(&[400, 426]),
    ),
    ("s4_2_1_a_plain_get_is_not_switched", plain, Answer::NotSwitched(&[426])),
    ("s4_2_1_missing_key_is_400", |r| r.without(KEY), Answer::Refused(&[400])),
    ("s4_2_1_empty_key_is_400", |r| r.set(KEY, ""), Answer::Refused(&[400])),
    ("s4_2_1_key_of_15_bytes_is_400", |r| r.set(KEY, "AAAAAAAAAAAAAAAAAAAA"), Answer::Refused(&[400])),
    ("s4_2_1_key_of_17_bytes_is_400", |r| r.set(KEY, "AAAAAAAAAAAAAAAAAAAAAAA="), Answer::Refused(&[400])),
    ("s4_2_1_key_of_one_character_is_400", |r| r.set(KEY, "A"), Answer::Refused(&[400])),
    ("s4_2_1_key_without_padding_is_400", |r| r.set(KEY, "dGhlIHNhbXBsZSBub25jZQ"), Answer::Refused(&[400])),
    (
        "s4_2_1_key_outside_the_alphabet_is_400",
        |r| r.set(KEY, "dGhlIHNhbXBsZSBub25j*Q=="),
        Answer::Refused(&[400]),
    ),
    (
        "s4_2_1_key_in_the_url_alphabet_is_400",
        |r| r.set(KEY, "-_-_-_-_-_-_-_-_-_-_-w=="),
        Answer::Refused(&[400]),
    ),
    (
        "s4_2_1_key_with_a_space_inside_is_400",
        |r| r.set(KEY, "dGhlIHNhbXBs ZSBub25jZQ=="),
        Answer::Refused(&[400]),
    ),
    ("s11_3_1_two_keys_are_400", |r| r.add(KEY, "dGhlIHNhbXBsZSBub25jZQ=="), Answer::Refused(&[400])),
    ("s4_4_missing_version_is_refused", |r| r.without(VERSION), Answer::Refused(&[400, 426])),
    ("s4_4_empty_version_is_refused", |r| r.set(VERSION, ""), Answer::Refused(&[400, 426])),
    ("s4_4_version_0_is_426_and_names_13", |r| r.set(VERSION, "0"), Answer::VersionRefused),
    ("s4_4_version_7_is_426_and_names_13", |r| r.set(VERSION, "7"), Answer::VersionRefused),
    ("s4_4_version_8_is_426_and_names_13", |r| r.set(VERSION, "8"), Answer::VersionKnownOrRefused),
    ("s4_4_version_12_is_426_and_names_13", |r| r.set(VERSION, "12"), Answer::VersionRefused),
    ("s4_4_version_14_is_426_and_names_13", |r| r.set(VERSION, "14"), Answer::VersionRefused),
    ("s4_4_version_255_is_426_and_names_13", |r| r.set(VERSION, "255"), Answer::VersionRefused),
    ("s4_3_version_256_is_refused", |r| r.set(VERSION, "256"), Answer::Refused(&[400, 426])),
    ("s4_3_version_with_a_leading_zero_is_refused", |r| r.set(VERSION, "013"), Answer::Refused(&[400, 426])),
    ("s4_3_version_of_letters_is_refused", |r| r.set(VERSION, "thirteen"), Answer::Refused(&[400, 426])),
    ("s4_3_version_with_a_sign_is_refused", |r| r.set(VERSION, "+13"), Answer::Refused(&[400, 426])),
    ("s4_3_a_list_of_versions_is_refused", |r| r.set(VERSION, "13, 8"), Answer::Refused(&[400, 426])),
    ("s11_3_5_two_versions_are_refused", |r| r.add(VERSION, "8"), Answer::Refused(&[400, 426])),
    (
        "s9_1_an_extension_without_a_name_fails",
        |r| r.set(EXTENSIONS, "; a=1"),
        Answer::RefusedWhereRead(&[400]),
    ),
    (
        "s9_1_a_parameter_without_a_name_fails",
        |r| r.set(EXTENSIONS, "x-a; =1"),
        Answer::RefusedWhereRead(&[400]),
    ),
    ("s9_1_an_empty_parameter_fails", |r| r.set(EXTENSIONS, "x-a;; b"), Answer::RefusedWhereRead(&[400])),
    (
        "s9_1_an_unfinished_quoted_value_fails",
        |r| r.set(EXTENSIONS, "x-a; b=\"c"),
        Answer::RefusedWhereRead(&[400]),
    ),
    ("s9_1_a_space_inside_a_name_fails", |r| r.set(EXTENSIONS, "x a"), Answer::RefusedWhereRead(&[400])),
    (
        "s9_1_a_quoted_value_that_is_no_token_fails",
        |r| r.set(EXTENSIONS, "x-a; b=\"c d\""),
        Answer::RefusedWhereRead(&[400]),
    ),
];

/// Heads that are wrong as HTTP, and limits on heads.
const HEADS: &[Row] = &[
    ("rfc9112_s3_2_missing_host_is_400", |r| r.without("Host"), Answer::Exactly(400)),
    ("rfc9112_s3_2_two_hosts_are_400", |r| r.add("Host", "example.org"), Answer::Exactly(400)),
    ("rfc9112_s3_2_a_host_with_a_space_is_400", |r| r.set("Host", "a b"), Answer::Exactly(400)),
    ("rfc9112_s3_2_a_host_with_a_path_is_400", |r| r.set("Host", "example.org/x"), Answer::Exactly(400)),
    ("rfc9112_s5_1_space_before_the_colon_is_400", |r| r.line("X-Field : value"), Answer::Exactly(400)),
    ("rfc9112_s5_1_tab_before_the_colon_is_400", |r| r.line("X-Field\t: value"), Answer::Exactly(400)),
    (
        "rfc9112_s5_1_space_before_the_colon_of_upgrade_is_400",
        |r| r.without("Upgrade").line("Upgrade : websocket"),
        Answer::Exactly(400),
    ),
    (
        "rfc9112_s5_2_obs_fold_is_400_or_unfolded",
        |r| r.line("X-Field: a").line(" b"),
        Answer::OpensOrExactly(400),
    ),
    (
        "rfc9112_s5_2_obs_fold_with_a_tab_is_400_or_unfolded",
        |r| r.line("X-Field: a").line("\tb"),
        Answer::OpensOrExactly(400),
    ),
    (
        "rfc9112_s2_2_whitespace_before_the_first_field_is_rejected_or_skipped",
        |r| r.first_line(" X-Field: a"),
        Answer::OpensOr(&[400]),
    ),
    ("rfc9112_s5_an_empty_field_name_is_400", |r| r.line(": value"), Answer::Any(&[400])),
    ("rfc9112_s5_a_field_name_with_brackets_is_400", |r| r.line("X(Field): value"), Answer::Any(&[400])),
    ("rfc9112_s5_a_line_without_a_colon_is_400", |r| r.line("nonsense"), Answer::Any(&[400])),
    (
        "rfc9110_s5_5_nul_in_a_value_is_rejected_or_replaced",
        |r| r.line(b"X-Field: a\0b".as_slice()),
        Answer::OpensOr(&[400]),
    ),
    (
        "rfc9110_s5_5_bare_cr_in_a_value_is_rejected_or_replaced",
        |r| r.line("X-Field: a\rb"),
        Answer::OpensOr(&[400]),
    ),
    (
        "rfc9112_s3_a_space_in_the_target_is_400",
        |r| r.target(|path| format!("{path} x")),
        Answer::Any(&[400]),
    ),
    ("rfc9112_s3_a_target_without_a_slash_is_400", |r| r.target(|_| "echo".to_owned()), Answer::Any(&[400])),
    ("rfc9112_s3_an_empty_target_is_400", |r| r.target(|_| String::new()), Answer::Any(&[400])),
    (
        "rfc9112_s3_a_control_character_in_the_target_is_400",
        |r| r.target(|path| format!("{path}\u{1}")),
        Answer::Any(&[400]),
    ),
    ("rfc9112_s3_a_method_with_a_control_character_is_400", |r| r.method("G\u{1}T"), Answer::Any(&[400])),
    (
        "rfc9112_s3_a_request_line_of_one_word_is_400",
        |_| Request::upgrade("", "").method("NONSENSE").without("Host"),
        Answer::Any(&[400]),
    ),
    (
        "rfc9110_s5_4_a_field_of_256_kib_is_431",
        |r| r.add("X-Long", &"v".repeat(256 * 1024)),
        Answer::Any(&[431]),
    ),
    (
        "rfc9110_s5_4_five_thousand_fields_are_431",
        |r| (0..5000).fold(r, |r, index| r.add(&format!("X-Field-{index}"), "value")),
        Answer::Any(&[431]),
    ),
    (
        "rfc9112_s3_a_target_of_256_kib_is_431",
        |r| r.target(|path| format!("{path}?{}", "q".repeat(256 * 1024))),
        Answer::Any(&[431]),
    ),
    ("s10_2_a_foreign_origin_is_403", |r| r.set("Origin", "http://example.org"), Answer::Any(&[403])),
    (
        "s10_2_an_origin_that_extends_the_host_is_403",
        |r| {
            let host = r.host();
            r.set("Origin", &format!("http://{host}.example.org"))
        },
        Answer::Any(&[403]),
    ),
    (
        "s10_2_an_origin_of_another_port_is_403",
        |r| r.set("Origin", "http://127.0.0.1:1"),
        Answer::Any(&[403]),
    ),
    ("s10_2_a_cookie_without_an_origin_is_403", |r| r.add("Cookie", "session=1"), Answer::Any(&[403])),
    ("s10_2_origin_null_is_403", |r| r.set("Origin", "null"), Answer::Any(&[403])),
];

fn plain(request: Request) -> Request {
    request.without("Upgrade").without("Connection").without(KEY).without(VERSION)
}

/// The group's cases.
pub(super) fn cases() -> Vec<Case> {
    let rows = UPGRADES.iter().chain(HEADS);
    let mut cases: Vec<Case> = rows.map(|&(name, change, answer)| ask_row(name, change, answer)).collect();
    cases.extend([
        Case::new("s4_2_1_a_refusal_leaves_other_connections_alone", others_live),
        Case::new("rfc9112_s2_2_a_head_cut_short_by_fin_is_ended", half_a_head),
        Case::new("rfc9112_s2_2_bytes_that_are_no_http_open_nothing", not_http),
        Case::new("s10_2_an_origin_on_another_scheme_or_host_never_crashes_the_server", bad_origins),
    ]);
    cases
}

fn others_live(target: &Target) -> Outcome {
    let mut bystander = target.open()?;
    let (_, response) = target.ask(&target.request().without(KEY))?;
    if response.status == 101 {
        return fail("a request without a key was switched");
    }
    bystander.send(&Frame::text("unharmed"))?;
    expect_message(&mut bystander, TEXT, b"unharmed")
}

fn half_a_head(target: &Target) -> Outcome {
    let mut wire = target.wire()?;
    let head = target.request().encode();
    wire.send(&head[..head.len() - 2], Feed::Whole)?;
    wire.finish_sending();
    match Response::read(&mut wire)? {
        Some(response) if response.status == 101 => fail("an unfinished head was switched"),
        Some(_) | None => Ok(()),
    }
}

fn not_http(target: &Target) -> Outcome {
    let mut wire = target.wire()?;
    wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", Feed::Whole)?;
    match Response::read(&mut wire) {
        Ok(Some(response)) if response.status < 400 => {
            fail(format!("status {} for a TLS hello", response.status))
        }
        Ok(_) => Ok(()),
        Err(broken) if target.strict => Err(broken.into()),
        Err(_) => skip("the server waits for more, which RFC 9112 leaves to it"),
    }
}

fn bad_origins(target: &Target) -> Outcome {
    for origin in ["", "http://", "://", "http://[::1", "\u{7f}", "http://a:99999", "file:///x", "a b c"] {
        let mut wire = target.wire()?;
        wire.send(&target.request().set("Origin", origin).encode(), Feed::Whole)?;
        match Response::read(&mut wire)? {
            Some(response) if response.status >= 500 => {
                return fail(format!("status {} for Origin {origin:?}", response.status));
            }
            Some(_) | None => {}
        }
    }
    still_lives(&mut target.open()?)
}
