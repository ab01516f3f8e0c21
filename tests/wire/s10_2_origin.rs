//! Which pages may connect, RFC 6455 §10.2.

use fanline::OriginPolicy;
use fanline::engine::Rules;

use crate::http::{ask, read_answer};
use crate::wire_transport::{Recorder, Served};

fn status(origins: OriginPolicy, host: &str, origin: Option<&str>) -> u16 {
    let mut served = Served::new(Recorder::default(), Rules { origins, ..Rules::default() });
    let ask = origin.into_iter().fold(ask().with("Host", host), |ask, origin| ask.and("Origin", origin));
    served.send(&ask.bytes());
    let (answer, _) = read_answer(&served.received());
    match answer.status {
        403 => {
            assert_eq!(answer.body, "{\"error\":\"this origin may not connect here\"}\n");
            assert!(served.calls().is_empty() && served.is_ended());
            assert_eq!(served.metrics.refused_403.get(), 1);
        }
        _ => assert_eq!(served.calls().len(), 1),
    }
    answer.status
}

#[test]
fn row_7_s10_2_same_origin_or_none_by_default_and_403_otherwise() {
    let rows = [
        (None, 101),
        (Some("http://example.org:8080"), 101),
        (Some("https://EXAMPLE.org:8080"), 101),
        (Some("http://example.org"), 403),
        (Some("http://example.org:80800"), 403),
        (Some("http://example.org:8080.evil.net"), 403),
        (Some("http://evil-example.org:8080"), 403),
        (Some("http://sub.example.org:8080"), 403),
        (Some("null"), 403),
        (Some(""), 403),
        (Some("file://"), 403),
    ];
    for (origin, want) in rows {
        assert_eq!(status(OriginPolicy::Same, "example.org:8080", origin), want, "{origin:?}");
    }
}

#[test]
fn row_7_s10_2_a_list_of_origins_and_any_origin_are_to_be_had() {
    let listed = OriginPolicy::Listed(vec!["https://app.example".into()]);
    assert_eq!(status(listed.clone(), "ws.example", Some("https://app.example")), 101);
    assert_eq!(status(listed.clone(), "ws.example", Some("https://app.example:444")), 403);
    assert_eq!(status(listed, "ws.example", Some("https://other.example")), 403);
    assert_eq!(status(OriginPolicy::Any, "ws.example", Some("https://other.example")), 101);
    assert_eq!(status(OriginPolicy::Any, "ws.example", Some("null")), 101);
}
