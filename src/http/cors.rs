//! What a browser lets pages of other origins send and read over HTTP: CORS, Fetch §3.3.

use super::head::Request;
use super::origin::OriginPolicy;
use super::response::Response;

/// Headers of answers that such a page may read beside those that it always may.
const EXPOSED: &str = "etag, retry-after, www-authenticate";

/// Seconds for which a browser need not ask again whether such a page may send something.
const REMEMBERED: &str = "600";

impl OriginPolicy {
    /// Adds to an answer what lets a page of another origin read it, where its origin is listed, with its user's cookies,
    /// or where any is let in, without them.
    pub fn expose(&self, request: &Request<'_>, response: Response) -> Response {
        let Some(origin) = request.header("origin") else { return response };
        match self {
            OriginPolicy::Same => response,
            OriginPolicy::Any => response
                .header("access-control-allow-origin", "*")
                .header("access-control-expose-headers", EXPOSED),
            OriginPolicy::Listed(_) if self.check(request).is_ok() => response
                .header("access-control-allow-origin", origin.to_owned())
                .header("access-control-allow-credentials", "true")
                .header("access-control-expose-headers", EXPOSED)
                .header("vary", "origin"),
            OriginPolicy::Listed(_) => response,
        }
    }

    /// Answers a browser that asks whether a page of another origin may send something (Fetch §3.3.2); `None` where it
    /// does not ask, or may not. What comes then is decided upon by itself.
    pub fn preflight(&self, request: &Request<'_>) -> Option<Response> {
        let method =
            request.header("access-control-request-method").filter(|_| request.method() == "OPTIONS")?;
        if *self == OriginPolicy::Same || request.header("origin").is_none() || self.check(request).is_err() {
            return None;
        }
        let headers = request.header("access-control-request-headers").unwrap_or_default();
        Some(
            Response::new(204)
                .header("access-control-allow-methods", method.to_owned())
                .header("access-control-allow-headers", headers.to_owned())
                .header("access-control-max-age", REMEMBERED),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    /// The head of an empty answer to such a request, or of what answers the question before it.
    fn answer(policy: &OriginPolicy, line: &str, headers: &str) -> String {
        let head = format!("{line} HTTP/1.1\r\nHost: push.example\r\n{headers}\r\n");
        let limits = Limits::default();
        let request = Request::parse(head.as_bytes(), &limits).unwrap();
        let response = policy.preflight(&request).unwrap_or_else(|| Response::new(200));
        let mut out = Vec::new();
        policy.expose(&request, response).write(&mut out, false, true);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_pages_that_may_connect_may_read() {
        let listed = OriginPolicy::Listed(vec!["https://app.example".into()]);
        let app = "Origin: https://app.example\r\n";
        let shared = answer(&listed, "GET /", app);
        assert!(shared.contains("access-control-allow-origin: https://app.example\r\n"), "{shared}");
        assert!(
            shared.contains("allow-credentials: true\r\n") && shared.contains("vary: origin\r\n"),
            "{shared}"
        );
        let shared = answer(&OriginPolicy::Any, "GET /", app);
        assert!(shared.contains("access-control-allow-origin: *\r\n"), "{shared}");
        assert!(!shared.contains("credentials"), "cookies stay with the pages that are listed: {shared}");
        for (policy, origin) in [
            (&listed, "Origin: https://evil.example\r\n"),
            (&listed, "Origin: https://app.example.evil.net\r\n"),
            (&listed, "Origin: null\r\n"),
            (&listed, "Origin: https://app.example\r\nOrigin: https://evil.example\r\n"),
            (&listed, ""),
            (&OriginPolicy::Same, app),
            (&OriginPolicy::Any, ""),
        ] {
            let shared = answer(policy, "GET /", origin);
            assert!(!shared.contains("access-control"), "{policy:?} {origin}: {shared}");
        }
    }

    #[test]
    fn a_browser_is_told_before_what_such_a_page_may_send() {
        let listed = OriginPolicy::Listed(vec!["https://app.example".into()]);
        let asks =
            "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: idempotency-key\r\n";
        let told =
            answer(&listed, "OPTIONS /rooms/a/messages", &format!("Origin: https://app.example\r\n{asks}"));
        assert!(told.starts_with("HTTP/1.1 204 ") && told.contains("allow-methods: POST\r\n"), "{told}");
        assert!(told.contains("allow-headers: idempotency-key\r\n"), "{told}");
        for (policy, line, headers) in [
            (&listed, "OPTIONS /", format!("Origin: https://evil.example\r\n{asks}")),
            (&listed, "OPTIONS /", asks.to_owned()),
            (&listed, "OPTIONS /", "Origin: https://app.example\r\n".to_owned()),
            (&listed, "GET /", format!("Origin: https://app.example\r\n{asks}")),
            (&OriginPolicy::Same, "OPTIONS /", format!("Origin: https://app.example\r\n{asks}")),
        ] {
            assert!(
                answer(policy, line, &headers).starts_with("HTTP/1.1 200 "),
                "{policy:?} {line} {headers}"
            );
        }
    }
}
