//! What is agreed on compression, RFC 6455 §9.1 and RFC 7692 §5 and §7.1.

use fanline::engine::Rules;

use crate::deflate::compressed;
use crate::frames::{TEXT, server_close};
use crate::http::{Answer, ask, read_answer};
use crate::wire_transport::{Recorder, Served};

const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

fn negotiate(deflate: bool, offers: &[&str]) -> (Answer, Served<Recorder>) {
    let mut served = Served::new(Recorder::default(), Rules { deflate, ..Rules::default() });
    let ask = offers.iter().fold(ask(), |ask, offer| ask.and("Sec-WebSocket-Extensions", offer));
    served.send(&ask.bytes());
    (read_answer(&served.received()).0, served)
}

/// The one answer to offers, or none; the connection opens in any case.
fn agreed(offers: &[&str]) -> Option<String> {
    let (answer, _) = negotiate(true, offers);
    assert_eq!(answer.status, 101, "{offers:?}");
    let all = answer.all("sec-websocket-extensions");
    assert!(all.len() <= 1, "§11.3.2: {all:?}");
    all.first().map(|value| (*value).to_owned())
}

#[test]
fn row_6_rfc7692_s7_1_offers_that_are_accepted() {
    let window = |bits: u8| format!("{PLAIN}; server_max_window_bits={bits}");
    let rows = [
        ("permessage-deflate", PLAIN.to_owned()),
        ("permessage-deflate; client_max_window_bits", PLAIN.into()),
        ("permessage-deflate; client_max_window_bits=8", PLAIN.into()),
        ("permessage-deflate; client_max_window_bits=15", PLAIN.into()),
        ("permessage-deflate; server_no_context_takeover", PLAIN.into()),
        ("permessage-deflate; client_no_context_takeover", PLAIN.into()),
        ("permessage-deflate; server_max_window_bits=9", window(9)),
        ("permessage-deflate ; server_max_window_bits = \"15\"", window(15)),
        ("PERMESSAGE-DEFLATE; Server_Max_Window_Bits=10", window(10)),
    ];
    for (offer, want) in rows {
        assert_eq!(agreed(&[offer]), Some(want), "{offer}");
    }
}

#[test]
fn row_6_rfc7692_s7_1_offers_that_are_declined_while_the_connection_opens() {
    for offer in [
        "permessage-deflate; unknown",
        "permessage-deflate; unknown=1",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=1e1",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=\"08\"",
        "x-webkit-deflate-frame",
        "permessage-bzip2",
        "",
    ] {
        assert_eq!(agreed(&[offer]), None, "{offer}");
    }
}

#[test]
fn rfc7692_s7_1_2_1_a_window_of_256_bytes_cannot_be_kept_to_and_is_declined() {
    assert_eq!(agreed(&["permessage-deflate; server_max_window_bits=8"]), None);
}

#[test]
fn rfc7692_s5_the_first_offer_that_can_be_served_is_taken() {
    let ten = format!("{PLAIN}; server_max_window_bits=10");
    let offers =
        "permessage-deflate; unknown, permessage-deflate; server_max_window_bits=10, permessage-deflate";
    assert_eq!(agreed(&[offers]), Some(ten));
    assert_eq!(
        agreed(&["other, permessage-deflate, permessage-deflate; server_max_window_bits=9"]),
        Some(PLAIN.into())
    );
}

#[test]
fn s9_1_offers_may_be_split_over_several_lines() {
    assert_eq!(agreed(&["foo; x=1, bar", "permessage-deflate"]), Some(PLAIN.into()));
    assert_eq!(agreed(&["foo", "bar; baz=2"]), None);
}

#[test]
fn s9_1_a_header_that_does_not_follow_the_grammar_is_400() {
    for malformed in [
        "permessage-deflate;",
        "permessage-deflate; =x",
        "permessage-deflate; a=",
        "permessage-deflate; a=\"\"",
        "permessage-deflate; a=\"b c\"",
        "permessage-deflate; a=\"b",
        "permessage deflate",
        "permessage-deflate; a b",
        "@",
    ] {
        for deflate in [true, false] {
            let (answer, served) = negotiate(deflate, &[malformed]);
            assert_eq!(answer.status, 400, "{malformed}");
            assert!(served.is_ended() && served.calls().is_empty(), "{malformed}");
        }
    }
    assert_eq!(negotiate(true, &["permessage-deflate", "("]).0.status, 400, "on a later line");
}

#[test]
fn row_6_s9_where_compression_is_off_an_offer_is_ignored() {
    let (answer, mut served) = negotiate(false, &["permessage-deflate; client_max_window_bits"]);
    assert_eq!(answer.status, 101);
    assert!(answer.all("sec-websocket-extensions").is_empty());
    served.send(&compressed(TEXT, [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]).bytes());
    assert_eq!(served.received(), server_close(1002, "reserved bit set"), "RSV1 has no meaning then");
}

#[test]
fn s9_no_extension_is_named_that_was_not_offered() {
    assert_eq!(agreed(&[]), None);
    assert_eq!(agreed(&["permessage-foo"]), None);
    // RFC 7692 §7.1.2.2: this parameter may be answered only where the client said it knows it; it never is.
    for offer in ["permessage-deflate", "permessage-deflate; client_max_window_bits=10"] {
        assert!(!agreed(&[offer]).unwrap().contains("client_max_window_bits"));
    }
}
