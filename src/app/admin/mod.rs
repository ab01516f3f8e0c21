//! For those who run the server: an API under `/admin/api/`, and a page at `/admin` that shows what it says.
//!
//! It is served by listeners of its own, or, where there are none, on the others to whoever shows the token. With
//! neither it is nowhere.

mod api;
mod json;
mod ledger;
mod live;

use std::net::IpAddr;

use super::{App, Place};
use crate::auth::{Anonymous, Gate, StaticToken};
use crate::{Exchange, Opening, OriginPolicy, Refusal, Reply, Request, Response, exposition};
pub(super) use live::tell;

const PAGE: &str = include_str!("page.html");

/// Where the admin API is, and for whom.
#[derive(Clone, Debug, Default)]
pub struct Admin {
    /// Whether it has listeners of its own; then it is nowhere else.
    has_listener: bool,
    /// Knows the token, where there is one.
    gate: Option<Gate>,
}

/// How somebody has come, and what it has shown.
struct Caller<'r> {
    request: &'r Request<'r>,
    is_upgrade: bool,
    is_admin: bool,
    now_ms: u64,
    hop: crate::Hop,
}

impl Admin {
    /// Below this everything is the admin API's.
    const PREFIX: &'static str = "/admin";

    /// With listeners of its own or without, and with the token that it asks for.
    pub fn new(has_listener: bool, token: Option<StaticToken>) -> Self {
        let gate = |token| Gate { tokens: vec![token], anonymous: Anonymous::Refuse, ..Gate::default() };
        Self { has_listener, gate: token.map(gate) }
    }

    /// Whether it is served where this request has come in.
    fn is_here(&self, is_admin: bool) -> bool {
        is_admin || (!self.has_listener && self.gate.is_some())
    }

    /// What follows `/admin` in a path, where it is served here.
    fn path<'p>(&self, path: &'p str, is_admin: bool) -> Option<&'p str> {
        let rest = path.strip_prefix(Self::PREFIX).filter(|_| self.is_here(is_admin))?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/').trim_end_matches('/'))
    }

    /// Lets in whoever may look and act.
    ///
    /// # Errors
    /// [`Refusal::Unauthorized`] without the token where there is one; [`Refusal::OriginNotAllowed`] and, without a token,
    /// [`Refusal::Forbidden`] for a page of another site that has made a browser ask here.
    fn check(&self, caller: &Caller<'_>, token: Option<&str>) -> Result<(), Refusal> {
        // What the other routes let in from elsewhere has no business here.
        if caller.is_upgrade || !matches!(caller.request.method(), "GET" | "HEAD") {
            OriginPolicy::Same.check(caller.request)?;
        }
        // What only reads comes without an origin, and takes a place all the same (Fetch Metadata §2.4).
        if matches!(caller.request.header("sec-fetch-site"), Some("cross-site" | "same-site")) {
            return Err(Refusal::OriginNotAllowed);
        }
        match (&self.gate, token) {
            (Some(gate), Some(token)) => gate.refresh(token, caller.now_ms).map(drop),
            (Some(gate), None) => gate.visitor(caller.request, caller.hop, caller.now_ms).map(drop),
            (None, _) if !caller.is_admin => Err(Refusal::NotFound),
            (None, _) if is_own_name(caller.request.host()) => Ok(()),
            (None, _) => Err(Refusal::Forbidden(
                "without a token this is to be asked for by its address, not by a name that somebody else may have made up",
            )),
        }
    }
}

/// Whether a host is an address, or this machine: any other name could be another site's, which its owner lets point
/// here, and then its pages would be of the same origin.
fn is_own_name(host: Option<&str>) -> bool {
    let Some(host) = host else { return true };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.parse::<IpAddr>().is_ok() || bare.eq_ignore_ascii_case("localhost")
}

impl App {
    /// Answers what concerns those who run the server; `None` for what is anybody's.
    pub(super) fn admin(&mut self, exchange: &mut Exchange<'_>) -> Option<Reply> {
        let (request, is_admin) = (exchange.request(), exchange.is_admin());
        let Some(path) = self.admin.path(request.path(), is_admin) else {
            return if is_admin { self.beside(exchange) } else { None };
        };
        if path.is_empty() {
            // It holds nothing by itself, and asks for the token where one is needed.
            return Some(match request.method() {
                "GET" | "HEAD" => super::page(request, PAGE).into(),
                _ => Refusal::MethodNotAllowed("GET, HEAD").into(),
            });
        }
        let (now_ms, hop) = (exchange.now_ms(), exchange.hop());
        let caller = Caller { request, is_upgrade: false, is_admin, now_ms, hop };
        let checked = self.admin.check(&caller, None);
        Some(checked.and_then(|()| self.admin_api(exchange, path)).unwrap_or_else(Reply::from))
    }

    /// Answers what a listener of its own has besides, or has not: `None` for what is the same everywhere.
    fn beside(&self, exchange: &mut Exchange<'_>) -> Option<Reply> {
        let (request, now_ms, hop) = (exchange.request(), exchange.now_ms(), exchange.hop());
        let caller = Caller { request, is_upgrade: false, is_admin: true, now_ms, hop };
        let is_read = matches!(request.method(), "GET" | "HEAD");
        match request.path() {
            "/healthz" | "/readyz" => None,
            "/" | "/metrics" if !is_read => Some(Refusal::MethodNotAllowed("GET, HEAD").into()),
            "/" => Some(Response::new(302).header("location", Admin::PREFIX).into()),
            "/metrics" => Some(match self.admin.check(&caller, None) {
                Ok(()) => exposition::answer(exchange).into(),
                Err(refusal) => refusal.into(),
            }),
            _ => Some(Refusal::NotFound.into()),
        }
    }

    /// Opens the WebSocket of the page; `None` where another is meant.
    pub(super) fn open_admin(&mut self, opening: &mut Opening<'_>) -> Result<Option<Place>, Refusal> {
        let (request, is_admin) = (opening.request(), opening.is_admin());
        match self.admin.path(request.path(), is_admin) {
            Some("api/live") => {}
            Some(_) => return Err(Refusal::NotFound),
            None if is_admin => return Err(Refusal::NotFound),
            None => return Ok(None),
        }
        // A browser's WebSocket has no header of its own choice but this one, and a token in an address is written down
        // in many places.
        let shown = request.subprotocols().find_map(live::token_in);
        let (now_ms, hop) = (opening.now_ms(), opening.hop());
        let caller = Caller { request, is_upgrade: true, is_admin, now_ms, hop };
        self.admin.check(&caller, shown.as_deref())?;
        opening.choose_subprotocol(&[live::SUBPROTOCOL]);
        Ok(Some(live::place(opening.now_ms())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is_served() {
        let token = || Some(StaticToken::from_text(b"0123456789abcdef", "admin", None));
        let rows = [
            (false, None, [false, true]),
            (false, token(), [true, true]),
            (true, None, [false, true]),
            (true, token(), [false, true]),
        ];
        for (has_listener, token, want) in rows {
            let admin = Admin::new(has_listener, token);
            assert_eq!([false, true].map(|is_admin| admin.is_here(is_admin)), want, "{has_listener}");
        }
        let admin = Admin::new(true, None);
        let rows = [
            ("/admin", Some("")),
            ("/admin/", Some("")),
            ("/admin/api/rooms/a/", Some("api/rooms/a")),
            ("/administrator", None),
            ("/", None),
        ];
        for (path, want) in rows {
            assert_eq!(admin.path(path, true), want, "{path}");
            assert_eq!(admin.path(path, false), None, "{path}");
        }
    }

    #[test]
    fn a_name_that_somebody_else_could_have_made_up_is_not_this_machines() {
        for host in ["127.0.0.1:9001", "[::1]:9001", "localhost", "LOCALHOST:1", "10.0.0.7"] {
            assert!(is_own_name(Some(host)), "{host}");
        }
        assert!(is_own_name(None));
        for host in ["evil.example:9001", "localhost.evil.example", "127.0.0.1.evil.example", "", "a:b"] {
            assert!(!is_own_name(Some(host)), "{host}");
        }
    }
}
