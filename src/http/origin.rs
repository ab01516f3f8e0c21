//! Which pages may open a connection: the origin check, RFC 6455 §10.2 and RFC 6454.

use super::head::{Request, split_port};
use super::response::Refusal;

/// Whose pages may connect. Clients that are not browsers send no `Origin` and are not held up by any of these, unless
/// they send a cookie: what proves who somebody is wherever a browser goes is taken only with the page that it is at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OriginPolicy {
    /// Pages served under the very host and port that the connection asks for.
    #[default]
    Same,
    /// Those, and pages of these origins, each written `https://example.org` or with a port.
    Listed(Vec<String>),
    /// Pages from anywhere.
    Any,
}

impl OriginPolicy {
    /// Checks the `Origin` of a handshake.
    ///
    /// # Errors
    /// [`Refusal::OriginNotAllowed`]; [`Refusal::Forbidden`] for a cookie without an origin.
    pub fn check(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let mut origins = request.header_values("origin");
        let allowed = match (self, origins.next(), origins.next()) {
            (OriginPolicy::Any, _, _) => true,
            (_, None, _) if request.header_values("cookie").next().is_some() => {
                return Err(Refusal::Forbidden("who shows a cookie has to say its origin, too"));
            }
            (_, None, _) => true,
            (OriginPolicy::Same, Some(origin), None) => is_same(origin, request),
            (OriginPolicy::Listed(listed), Some(origin), None) => {
                is_same(origin, request)
                    || listed.iter().any(|entry| entry.as_bytes().eq_ignore_ascii_case(origin))
            }
            (_, Some(_), Some(_)) => false,
        };
        if allowed { Ok(()) } else { Err(Refusal::OriginNotAllowed) }
    }
}

/// Host and port are compared whole, never by prefix or suffix. The scheme is not: behind a proxy that ends TLS the
/// server cannot know it, so a missing port in `Host` stands for the default port of the origin's scheme.
fn is_same(origin: &[u8], request: &Request<'_>) -> bool {
    let Ok(origin) = std::str::from_utf8(origin) else { return false };
    let (Some((scheme, authority)), Some(host)) = (origin.split_once("://"), request.host()) else {
        return false;
    };
    let default = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return false,
    };
    let (origin_host, origin_port) = split_port(authority);
    let (host, port) = split_port(host);
    !host.is_empty()
        && origin_host.eq_ignore_ascii_case(host)
        && origin_port.unwrap_or(default) == port.unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn check(policy: &OriginPolicy, host: &str, origins: &[&str]) -> bool {
        let origins: String = origins.iter().map(|origin| format!("Origin: {origin}\r\n")).collect();
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{origins}\r\n");
        policy.check(&Request::parse(head.as_bytes(), &Limits::default()).unwrap()).is_ok()
    }

    #[test]
    fn row_12_of_part_2_a_cookie_without_an_origin_is_taken_only_where_any_origin_is() {
        let listed = OriginPolicy::Listed(vec!["https://app.example".into()]);
        for (policy, headers, want) in [
            (&OriginPolicy::Same, "", true),
            (&OriginPolicy::Same, "Cookie: session=1\r\n", false),
            (&OriginPolicy::Same, "Cookie: session=1\r\nOrigin: http://example.org\r\n", true),
            (&listed, "Cookie: session=1\r\n", false),
            (&listed, "Cookie: session=1\r\nOrigin: https://app.example\r\n", true),
            (&OriginPolicy::Any, "Cookie: session=1\r\n", true),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: example.org\r\n{headers}\r\n");
            let checked = policy.check(&Request::parse(head.as_bytes(), &Limits::default()).unwrap());
            assert_eq!(checked.is_ok(), want, "{policy:?} {headers}");
            assert!(checked.is_ok() || checked.unwrap_err().status() == 403);
        }
    }

    #[test]
    fn s10_2_same_origin_is_exact() {
        let rows: &[(&str, &[&str], bool)] = &[
            ("example.org", &[], true),
            ("example.org", &["http://example.org"], true),
            ("example.org", &["https://example.org"], true),
            ("EXAMPLE.org", &["http://example.ORG"], true),
            ("example.org:8080", &["http://example.org:8080"], true),
            ("example.org:443", &["https://example.org"], true),
            ("[::1]:8080", &["http://[::1]:8080"], true),
            ("[::1]", &["http://[::1]"], true),
            ("example.org:8080", &["http://example.org"], false),
            ("example.org:8080", &["http://example.org:8081"], false),
            ("example.org", &["http://example.org.evil.net"], false),
            ("example.org", &["http://evilexample.org"], false),
            ("example.org", &["http://evil.net/example.org"], false),
            ("example.org", &["http://evil.net@example.org"], false),
            ("example.org", &["null"], false),
            ("example.org", &["file://"], false),
            ("example.org", &[""], false),
            ("example.org", &["http://example.org", "http://evil.net"], false),
        ];
        for (host, origins, want) in rows {
            assert_eq!(check(&OriginPolicy::Same, host, origins), *want, "{host} {origins:?}");
        }
    }

    #[test]
    fn s10_2_lists_are_exact_too_and_any_is_any() {
        let listed = OriginPolicy::Listed(vec!["https://app.example".into()]);
        assert!(check(&listed, "ws.example", &["https://app.example"]));
        assert!(check(&listed, "ws.example", &["https://ws.example"]));
        assert!(!check(&listed, "ws.example", &["http://app.example"]));
        assert!(!check(&listed, "ws.example", &["https://app.example.net"]));
        assert!(!check(&listed, "ws.example", &["https://evil.example"]));
        assert!(check(&OriginPolicy::Any, "ws.example", &["null"]));
    }
}
