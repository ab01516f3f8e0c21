//! Negotiating permessage-deflate: RFC 7692 §5 and §7.1.

use super::agreed::{self, Agreed};
use super::case::{Case, Fault, Outcome, fail, skip};
use super::script::{expect_message, still_lives};
use super::target::{Target, check_switch};
use crate::client::frame::{Frame, RSV1, TEXT};
use crate::client::request::Request;
use crate::client::socket::Socket;

const FIELD: &str = "Sec-WebSocket-Extensions";

type Valid = (&'static str, &'static str, fn(&Agreed) -> bool);

/// Offers that a server may accept, and what its answer must then say.
const VALID: &[Valid] = &[
    ("the_bare_name", "permessage-deflate", hints_nothing),
    ("server_no_context_takeover", "permessage-deflate; server_no_context_takeover", |a| {
        a.server_no_context_takeover
    }),
    ("client_no_context_takeover", "permessage-deflate; client_no_context_takeover", hints_nothing),
    (
        "both_without_takeover",
        "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
        |a| a.server_no_context_takeover,
    ),
    ("client_max_window_bits_without_a_value", "permessage-deflate; client_max_window_bits", |_| true),
    ("client_max_window_bits_8", "permessage-deflate; client_max_window_bits=8", |_| true),
    ("client_max_window_bits_9", "permessage-deflate; client_max_window_bits=9", |_| true),
    ("client_max_window_bits_10", "permessage-deflate; client_max_window_bits=10", |_| true),
    ("client_max_window_bits_11", "permessage-deflate; client_max_window_bits=11", |_| true),
    ("client_max_window_bits_12", "permessage-deflate; client_max_window_bits=12", |_| true),
    ("client_max_window_bits_13", "permessage-deflate; client_max_window_bits=13", |_| true),
    ("client_max_window_bits_14", "permessage-deflate; client_max_window_bits=14", |_| true),
    ("client_max_window_bits_15", "permessage-deflate; client_max_window_bits=15", |_| true),
    ("server_max_window_bits_9", "permessage-deflate; server_max_window_bits=9", |a| within(a, 9)),
    ("server_max_window_bits_10", "permessage-deflate; server_max_window_bits=10", |a| within(a, 10)),
    ("server_max_window_bits_11", "permessage-deflate; server_max_window_bits=11", |a| within(a, 11)),
    ("server_max_window_bits_12", "permessage-deflate; server_max_window_bits=12", |a| within(a, 12)),
    ("server_max_window_bits_13", "permessage-deflate; server_max_window_bits=13", |a| within(a, 13)),
    ("server_max_window_bits_14", "permessage-deflate; server_max_window_bits=14", |a| within(a, 14)),
    ("server_max_window_bits_15", "permessage-deflate; server_max_window_bits=15", |a| within(a, 15)),
    ("a_quoted_value", "permessage-deflate; server_max_window_bits=\"10\"", |a| within(a, 10)),
    (
        "all_four_parameters",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12; client_max_window_bits=11",
        |a| a.server_no_context_takeover && within(a, 12),
    ),
    ("no_spaces", "permessage-deflate;server_no_context_takeover;server_max_window_bits=12", |a| {
        a.server_no_context_takeover && within(a, 12)
    }),
    ("much_space", "permessage-deflate  ;  server_no_context_takeover\t; server_max_window_bits=12", |a| {
        a.server_no_context_takeover && within(a, 12)
    }),
    ("an_unknown_extension_before_it", "x-unknown; a=1, permessage-deflate", hints_nothing),
    ("an_unknown_extension_behind_it", "permessage-deflate, x-unknown", hints_nothing),
    (
        "several_offers",
        "permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate; client_max_window_bits, permessage-deflate",
        |_| true,
    ),
];

/// Offers that a server must decline, §7.1: unknown parameters, bad values, and repetitions.
const INVALID: &[(&str, &str)] = &[
    ("an_unknown_parameter", "x_unknown"),
    ("an_unknown_parameter_with_a_value", "x_unknown=1"),
    (
        "an_unknown_parameter_among_known_ones",
        "client_no_context_takeover; x_unknown; server_no_context_takeover",
    ),
    ("server_max_window_bits_without_a_value", "server_max_window_bits"),
    ("server_max_window_bits_0", "server_max_window_bits=0"),
    ("server_max_window_bits_7", "server_max_window_bits=7"),
    ("server_max_window_bits_16", "server_max_window_bits=16"),
    ("server_max_window_bits_with_a_leading_zero", "server_max_window_bits=09"),
    ("server_max_window_bits_of_letters", "server_max_window_bits=ten"),
    ("server_max_window_bits_with_a_sign", "server_max_window_bits=+10"),
    ("server_max_window_bits_beyond_all_integers", "server_max_window_bits=99999999999999999999"),
    ("server_max_window_bits_twice", "server_max_window_bits=10; server_max_window_bits=10"),
    ("client_max_window_bits_0", "client_max_window_bits=0"),
    ("client_max_window_bits_7", "client_max_window_bits=7"),
    ("client_max_window_bits_16", "client_max_window_bits=16"),
    ("client_max_window_bits_with_a_leading_zero", "client_max_window_bits=010"),
    ("client_max_window_bits_of_letters", "client_max_window_bits=ten"),
    ("client_max_window_bits_twice", "client_max_window_bits; client_max_window_bits=10"),
    ("server_no_context_takeover_with_a_value", "server_no_context_takeover=1"),
    ("server_no_context_takeover_twice", "server_no_context_takeover; server_no_context_takeover"),
    ("client_no_context_takeover_with_a_value", "client_no_context_takeover=true"),
    ("client_no_context_takeover_twice", "client_no_context_takeover; client_no_context_takeover"),
];

/// §7.1.2.2: a server may limit the client's window only if the client offered that.
fn hints_nothing(agreed: &Agreed) -> bool {
    agreed.client_max_window_bits.is_none()
}

/// §7.1.2.1: the answer repeats the parameter, with the same value or a smaller one.
fn within(agreed: &Agreed, bits: u8) -> bool {
    agreed.server_max_window_bits.is_some_and(|answered| answered <= bits)
}

/// The group's cases.
pub(super) fn cases() -> Vec<Case> {
    let valid = VALID.iter().map(|&(name, offer, holds)| {
        Case::new(format!("rfc7692_s7_1_an_offer_of_{name}"), move |target| accepts(target, offer, holds))
    });
    let invalid = INVALID.iter().flat_map(|&(name, parameters)| {
        [
            Case::new(format!("rfc7692_s7_1_{name}_declines_the_offer"), move |target| {
                declines(target, &format!("permessage-deflate; {parameters}"))
            }),
            Case::new(format!("rfc7692_s7_1_{name}_declines_that_offer_only"), move |target| {
                takes_the_next(target, &format!("permessage-deflate; {parameters}"))
            }),
        ]
    });
    let others = [
        Case::new("rfc7692_s7_1_2_1_a_server_window_of_8_bits_is_kept_or_declined", smallest_window),
        Case::new("rfc7692_s5_two_fields_are_one_list", two_fields),
        Case::new("rfc7692_s5_the_name_alone_counts_not_its_beginning", |target| {
            declines(target, "permessage-deflate2, x-permessage-deflate, permessage")
        }),
        Case::new("rfc7692_s7_1_a_declined_offer_leaves_rsv1_forbidden", declined_means_declined),
        Case::new("rfc7692_s5_webkits_old_name_is_another_extension", |target| {
            declines(target, "x-webkit-deflate-frame")
        }),
    ];
    valid.chain(invalid).chain(others).collect()
}

fn accepts(target: &Target, offer: &str, holds: fn(&Agreed) -> bool) -> Outcome {
    let (mut socket, agreed) = target.open_deflate(offer)?;
    if !holds(&agreed) {
        return fail(format!("{offer} was answered with {agreed:?}"));
    }
    if agreed.client_max_window_bits.is_some() && !offer.contains("client_max_window_bits") {
        return fail(format!("client_max_window_bits was answered to {offer}"));
    }
    let mut deflater = agreed.deflater();
    for text in ["a compressed message", "a compressed message, and once more a compressed message"] {
        socket.send(&Frame::text(deflater.message(text.as_bytes())).rsv(RSV1))?;
        expect_message(&mut socket, TEXT, text.as_bytes())?;
    }
    still_lives(&mut socket)
}

/// zlib has no window of 8 bits: most servers cannot keep to one, and so decline.
fn smallest_window(target: &Target) -> Outcome {
    let offer = "permessage-deflate; server_max_window_bits=8";
    match accepts(target, offer, |agreed| within(agreed, 8)) {
        Err(Fault::Skipped(_)) => declines(target, offer),
        outcome => outcome,
    }
}

/// §7.1: the offer is declined; the connection opens without the extension.
fn declines(target: &Target, offer: &str) -> Outcome {
    let request = target.request().set(FIELD, offer);
    let (wire, response) = target.ask(&request)?;
    check_switch(&request, &response)?;
    if agreed::names_any(&response) {
        return fail(format!("the server agreed to {offer}"));
    }
    still_lives(&mut Socket::new(wire, None))
}

fn takes_the_next(target: &Target, offer: &str) -> Outcome {
    if !target.deflates {
        return skip("the server does not negotiate permessage-deflate");
    }
    let request = target.request().set(FIELD, &format!("{offer}, permessage-deflate"));
    agrees_to_the_bare_name(target, &request)
}

fn two_fields(target: &Target) -> Outcome {
    if !target.deflates {
        return skip("the server does not negotiate permessage-deflate");
    }
    let request = target.request().add(FIELD, "x-unknown").add(FIELD, "permessage-deflate");
    agrees_to_the_bare_name(target, &request)
}

fn agrees_to_the_bare_name(target: &Target, request: &Request) -> Outcome {
    let (wire, response) = target.ask(request)?;
    check_switch(request, &response)?;
    match agreed::read(&response)? {
        None => fail("the second offer was declined too"),
        Some(agreed) if !hints_nothing(&agreed) => {
            fail(format!("the bare name was answered with {agreed:?}"))
        }
        Some(agreed) => {
            let mut socket = Socket::new(wire, Some(agreed.inflater()));
            socket.send(&Frame::text(agreed.deflater().message(b"hello")).rsv(RSV1))?;
            expect_message(&mut socket, TEXT, b"hello")
        }
    }
}

fn declined_means_declined(target: &Target) -> Outcome {
    let request = target.request().set(FIELD, "permessage-deflate; x_unknown");
    let (wire, response) = target.ask(&request)?;
    check_switch(&request, &response)?;
    let mut socket = Socket::new(wire, None);
    socket.send(&Frame::text([0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]).rsv(RSV1))?;
    super::script::expect_failure(target, &mut socket, super::script::PROTOCOL, &[])
}
