//! Who a visitor is, and what it may do in which room.
//!
//! The first of these that a request has decides: a bearer token, the query's `token`, a token in a cookie, the signed
//! cookie, the header of a trusted proxy. One that is there and not good is 401; only who shows nothing is anonymous.

mod claims;
mod cookie;
mod header;
mod jwt;
mod pass;
mod provider;
mod rights;
mod secret;
mod token;

use std::borrow::Cow;
use std::sync::Arc;

use crate::http::head::Request;
use crate::http::response::Refusal;
use crate::id::Identity;
use crate::proxy::networks::Hop;
pub use cookie::SignedCookie;
pub use header::TrustedHeader;
pub use jwt::{InvalidKey, Jwt, JwtKey, JwtRules};
pub use pass::Pass;
pub use rights::{Access, Grant, InvalidRoomPattern, Right, Rights, RoomPattern};
pub use secret::{Secret, WeakSecret};
pub use token::StaticToken;

/// The longest name of a user, in bytes.
pub const USER_BYTES_MAX: usize = 256;

/// The longest token that is looked at, in bytes. What a message brings can be far longer, and hashing takes its time.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;

/// Whether this can be a user's name: not empty, not too long, and without control characters, which would let one
/// name look like another's somewhere.
pub fn is_user(name: &str) -> bool {
    !name.is_empty() && name.len() <= USER_BYTES_MAX && !name.chars().any(char::is_control)
}

/// What happens to who shows no proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anonymous {
    /// It is let in, and has the rights that the grants give to everybody.
    #[default]
    Allow,
    /// It is let in, and may join at most.
    Read,
    /// It is told 401.
    Refuse,
}

/// Tells who sends a request, and what that one may do. The default one lets everybody do everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// The signed cookie that names a user.
    pub cookie: Option<SignedCookie>,
    /// The JSON Web Tokens that are accepted.
    pub jwt: Option<Jwt>,
    /// The header in which a proxy names a user.
    pub header: Option<TrustedHeader>,
    /// The tokens of machines.
    pub tokens: Vec<StaticToken>,
    /// What happens to who shows no proof.
    pub anonymous: Anonymous,
    /// Who may do what; without any, everybody who is let in may do everything.
    pub grants: Arc<[Grant]>,
}

/// What a good proof says.
#[derive(Debug, PartialEq, Eq)]
struct Proof {
    user: Arc<str>,
    expires_ms: Option<u64>,
    /// Rights that it brings, in the place of the grants.
    own: Option<Arc<[Access]>>,
    /// What the token calls itself (RFC 7519 §4.1.7).
    token_id: Option<Arc<str>>,
}

/// Somebody who sends a request.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    user: Option<Arc<str>>,
    expires_ms: Option<u64>,
    token_id: Option<Arc<str>>,
    scope: Scope,
    /// It could have shown a proof, and has not.
    could_prove: bool,
}

/// Where a visitor's rights come from.
#[derive(Clone, Debug, Default)]
enum Scope {
    #[default]
    Everything,
    /// From the grants to its name, or to everybody.
    Granted(Arc<[Grant]>),
    /// From the token it has shown.
    Own(Arc<[Access]>),
    /// As the scope in here, and only to join.
    Read(Box<Scope>),
}

impl Scope {
    fn allows(&self, user: Option<&str>, right: Right, room: &str) -> bool {
        match self {
            Scope::Everything => true,
            Scope::Granted(grants) => grants.iter().any(|grant| grant.allows(user, right, room)),
            Scope::Own(own) => own.iter().any(|access| access.allows(right, room)),
            Scope::Read(scope) => right == Right::Join && scope.allows(user, right, room),
        }
    }
}

impl Gate {
    /// Who sends this request. It is the direct peer that the trusted header is believed from, or not.
    ///
    /// # Errors
    /// [`Refusal::Unauthorized`] where a proof is needed and missing, or given and not good.
    pub fn visitor(&self, request: &Request<'_>, peer: Hop, now_ms: u64) -> Result<Visitor, Refusal> {
        if let Some(token) = self.token(request)? {
            return self.proof_of(&token, now_ms).map(|proof| self.admit(proof));
        }
        if let Some(cookie) = &self.cookie
            && let Some(value) = request.cookie(cookie.name())
        {
            return cookie.check(value, now_ms).map(|proof| self.admit(proof));
        }
        if let Some(header) = &self.header
            && let Some(user) = header.user(request, peer)?
        {
            return Ok(self.admit(Proof { user, expires_ms: None, own: None, token_id: None }));
        }
        self.anonymous()
    }

    /// Who shows this token, on a connection that is open already.
    ///
    /// # Errors
    /// As [`Gate::visitor`].
    pub fn refresh(&self, token: &str, now_ms: u64) -> Result<Visitor, Refusal> {
        match self.knows_tokens() {
            true => self.proof_of(token, now_ms).map(|proof| self.admit(proof)),
            false => Err(Refusal::Unauthorized("no tokens are known here")),
        }
    }

    fn knows_tokens(&self) -> bool {
        self.jwt.is_some() || !self.tokens.is_empty()
    }

    /// The token that a request shows, in one of three places; where no tokens are known, there is none.
    fn token<'r>(&self, request: &'r Request<'_>) -> Result<Option<Cow<'r, str>>, Refusal> {
        if !self.knows_tokens() {
            return Ok(None);
        }
        if let Some(token) = bearer(request)? {
            return Ok(Some(token.into()));
        }
        if let Some(token) = request.query_value("token") {
            return Ok(Some(token));
        }
        let cookie = self.jwt.as_ref().and_then(Jwt::cookie);
        Ok(cookie.and_then(|name| request.cookie(name)).map(Cow::from))
    }

    fn proof_of(&self, token: &str, now_ms: u64) -> Result<Proof, Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::Unauthorized("the token is not known"));
        }
        match (token::find(&self.tokens, token), &self.jwt) {
            (Some(proof), _) => Ok(proof),
            (None, Some(jwt)) => jwt.check(token, now_ms),
            (None, None) => Err(Refusal::Unauthorized("the token is not known")),
        }
    }

    fn admit(&self, proof: Proof) -> Visitor {
        let scope = proof.own.map_or_else(|| self.scope(), Scope::Own);
        let Proof { user, expires_ms, token_id, .. } = proof;
        Visitor { user: Some(user), expires_ms, token_id, scope, could_prove: false }
    }

    fn scope(&self) -> Scope {
        if self.grants.is_empty() { Scope::Everything } else { Scope::Granted(self.grants.clone()) }
    }

    fn anonymous(&self) -> Result<Visitor, Refusal> {
        let could_prove = self.knows_tokens() || self.cookie.is_some() || self.header.is_some();
        let visitor = |scope| Visitor { scope, could_prove, ..Visitor::default() };
        match self.anonymous {
            Anonymous::Allow => Ok(visitor(self.scope())),
            Anonymous::Read => Ok(visitor(Scope::Read(Box::new(self.scope())))),
            Anonymous::Refuse => Err(Refusal::Unauthorized("one has to say who one is here")),
        }
    }
}

/// The token of `Authorization: Bearer …` (RFC 6750 §2.1). Another scheme is somebody else's, such as a proxy's.
fn bearer<'r>(request: &'r Request<'_>) -> Result<Option<&'r str>, Refusal> {
    let mut values = request.header_values("authorization");
    let Some(value) = values.next() else { return Ok(None) };
    let bad = Refusal::Unauthorized("the Authorization header cannot be read");
    let text = std::str::from_utf8(value).ok().filter(|_| values.next().is_none()).ok_or(bad)?;
    let (scheme, token) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    match token.trim() {
        "" => Err(bad),
        token => Ok(Some(token)),
    }
}

impl Visitor {
    /// The user's name; `None` for an anonymous one.
    pub fn user(&self) -> Option<&Arc<str>> {
        self.user.as_ref()
    }

    /// The user's name as text.
    pub fn name(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Until when the proof is good, in milliseconds since 1970.
    pub fn expires_ms(&self) -> Option<u64> {
        self.expires_ms
    }

    /// Whose connection it is that this one opens.
    pub fn identity(&self) -> Identity {
        Identity { user: self.user.clone(), token: self.token_id.clone() }
    }

    /// Whether this one may do this in this room.
    ///
    /// # Errors
    /// [`Refusal::Unauthorized`] for an anonymous one whom a name could help, [`Refusal::Forbidden`] for a user.
    pub fn check(&self, right: Right, room: &str) -> Result<(), Refusal> {
        if self.scope.allows(self.user.as_deref(), right, room) {
            return Ok(());
        }
        let why = match right {
            Right::Join => "this room may not be joined",
            Right::Publish if self.scope.allows(self.user.as_deref(), Right::Join, room) => {
                "this room may only be read"
            }
            Right::Publish => "nothing may be published in this room",
            Right::Presence => "who is in this room may not be asked",
        };
        Err(if self.could_prove { Refusal::Unauthorized(why) } else { Refusal::Forbidden(why) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    const NOW: u64 = 1_763_719_200_000;
    const PROXY: &str = "10.0.0.1:1";

    fn secret(byte: u8) -> Secret {
        Secret::new(&[byte; 32]).unwrap()
    }

    fn session() -> SignedCookie {
        SignedCookie::new("session", vec![secret(1)]).unwrap()
    }

    fn access(rooms: &[&str], rights: &[Right]) -> Access {
        let rooms = rooms.iter().map(|room| RoomPattern::parse(room).unwrap()).collect();
        Access { rooms, rights: rights.iter().copied().collect() }
    }

    fn grant(users: &[&str], rooms: &[&str], rights: &[Right]) -> Grant {
        Grant { users: users.iter().map(|user| (*user).to_owned()).collect(), access: access(rooms, rights) }
    }

    /// Every proof at once, with a static token of its own rights.
    fn gate() -> Gate {
        let own = Some(vec![access(&["builds"], &[Right::Publish])]);
        Gate {
            cookie: Some(session()),
            jwt: Some(Jwt::new(
                vec![JwtKey::hs256(&secret(2))],
                JwtRules { cookie: Some("jwt".into()), ..JwtRules::default() },
            )),
            header: Some(TrustedHeader::new("x-user", &["10.0.0.0/8".into()]).unwrap()),
            tokens: vec![
                StaticToken::from_text(b"builder-token", "builder", own),
                StaticToken::from_text(b"printer-token", "printer", None),
            ],
            ..Gate::default()
        }
    }

    fn jwt(user: &str, expires: u64) -> String {
        super::jwt::tests::hs256(&secret(2), &serde_json::json!({ "sub": user, "exp": expires }))
    }

    fn ask(gate: &Gate, target: &str, lines: &str, peer: &str) -> Result<Visitor, Refusal> {
        let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
        let limits = Limits::default();
        let request = Request::parse(head.as_bytes(), &limits).unwrap();
        gate.visitor(&request, peer.parse().ok().into(), NOW)
    }

    /// The user's name, a dash for an anonymous one, or the status.
    fn who(gate: &Gate, target: &str, lines: &str, peer: &str) -> String {
        match ask(gate, target, lines, peer) {
            Ok(visitor) => visitor.user().map_or("-".to_owned(), |user| user.to_string()),
            Err(refusal) => refusal.status().to_string(),
        }
    }

    #[test]
    fn row_46_the_first_proof_decides_and_a_bad_one_is_never_anonymous() {
        let seconds = NOW / 1000 + 60;
        let good_jwt = jwt("jot", seconds);
        let good_cookie = session().value_for("cookie", seconds).unwrap();
        let old_cookie = session().value_for("cookie", NOW / 1000).unwrap();
        let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
        let cookie = |name: &str, value: &str| format!("Cookie: other=1; {name}={value}\r\n");
        let header = "X-User: proxied\r\n";
        let rows: &[(&str, String, &str)] = &[
            ("", String::new(), "-"),
            ("", bearer("builder-token"), "builder"),
            ("", bearer(&good_jwt), "jot"),
            ("", bearer("nonsense"), "401"),
            ("", "Authorization: bearer\t\r\n".into(), "401"),
            ("", "Authorization: Bearer\tnonsense\r\n".into(), "401"),
            ("", "Authorization: bEARER  printer-token \r\n".into(), "printer"),
            ("", "Authorization: Bearer\r\n".into(), "401"),
            ("", "Authorization: Bearer \r\n".into(), "401"),
            ("", "Authorization: Basic bWFyeTpwYXNz\r\n".into(), "-"),
            ("", bearer("builder-token") + &bearer("printer-token"), "401"),
            ("token=printer-token", String::new(), "printer"),
            ("a=b&token=%70rinter-token", String::new(), "printer"),
            ("token=", String::new(), "401"),
            ("token=nonsense", cookie("session", &good_cookie), "401"),
            ("token=nonsense", bearer("builder-token"), "builder"),
            ("", cookie("jwt", &good_jwt), "jot"),
            ("", cookie("jwt", "nonsense") + header, "401"),
            ("", cookie("jwt", &good_jwt) + &cookie("session", "nonsense"), "jot"),
            ("", cookie("session", &good_cookie), "cookie"),
            ("", cookie("session", &old_cookie), "401"),
            ("", cookie("session", "") + header, "401"),
            ("", cookie("session", &good_cookie) + header, "cookie"),
            ("", header.to_owned(), "proxied"),
            ("", "X-User: a\r\nX-User: b\r\n".into(), "401"),
        ];
        for (query, lines, want) in rows {
            assert_eq!(who(&gate(), &format!("/?{query}"), lines, PROXY), *want, "{query} {lines}");
        }
        assert_eq!(who(&gate(), "/", header, "192.0.2.1:1"), "-", "anybody's header is not looked at");
    }

    #[test]
    fn what_no_proof_is_known_for_is_not_looked_at() {
        let lines = "Authorization: Bearer x\r\nCookie: session=x\r\nX-User: mary\r\n";
        assert_eq!(who(&Gate::default(), "/?token=x", lines, PROXY), "-");
        let refusal = Gate::default().refresh("x", NOW).unwrap_err();
        assert_eq!(refusal, Refusal::Unauthorized("no tokens are known here"));
    }

    #[test]
    fn row_48_who_shows_nothing_is_let_in_or_may_read_or_is_told_401() {
        let rows = [
            (Anonymous::Allow, Some([true, true, true])),
            (Anonymous::Read, Some([true, false, false])),
            (Anonymous::Refuse, None),
        ];
        for (anonymous, want) in rows {
            let gate = Gate { anonymous, ..gate() };
            let may = ask(&gate, "/", "", PROXY)
                .map(|visitor| Right::ALL.map(|right| visitor.check(right, "lobby").is_ok()));
            assert_eq!(may.ok(), want, "{anonymous:?}");
            assert_eq!(who(&gate, "/?token=printer-token", "", PROXY), "printer");
        }
    }

    #[test]
    fn grants_say_who_may_do_what_and_a_tokens_own_rights_replace_them() {
        let grants = Arc::from([
            grant(&["*"], &["news.*"], &[Right::Join]),
            grant(&["printer", "proxied"], &["lobby"], &[Right::Join, Right::Publish]),
        ]);
        let gate = Gate { grants, ..gate() };
        let rows: &[(&str, &str, &str, Right, u16)] = &[
            ("", "", "news.sport", Right::Join, 200),
            ("", "", "news.sport", Right::Publish, 401),
            ("", "", "lobby", Right::Join, 401),
            ("token=printer-token", "", "news.sport", Right::Join, 200),
            ("token=printer-token", "", "lobby", Right::Publish, 200),
            ("token=printer-token", "", "lobby", Right::Presence, 403),
            ("token=printer-token", "", "builds", Right::Publish, 403),
            ("", "X-User: proxied\r\n", "lobby", Right::Publish, 200),
            ("", "X-User: other\r\n", "lobby", Right::Publish, 403),
            ("token=builder-token", "", "builds", Right::Publish, 200),
            ("token=builder-token", "", "builds", Right::Join, 403),
            ("token=builder-token", "", "news.sport", Right::Join, 403),
        ];
        for (query, lines, room, right, want) in rows {
            let visitor = ask(&gate, &format!("/?{query}"), lines, PROXY).unwrap();
            let status = visitor.check(*right, room).map_or_else(Refusal::status, |()| 200);
            assert_eq!(status, *want, "{query} {lines} {room} {right:?}");
        }
        let read = Gate { anonymous: Anonymous::Read, ..gate };
        let nobody = ask(&read, "/", "", PROXY).unwrap();
        assert!(
            nobody.check(Right::Join, "news.sport").is_ok() && nobody.check(Right::Join, "lobby").is_err()
        );
    }

    #[test]
    fn only_who_may_read_a_room_is_told_that_it_may_be_read() {
        let grants = Arc::from([grant(&["printer"], &["news.*"], &[Right::Join])]);
        let gate = Gate { grants, ..gate() };
        let printer = ask(&gate, "/?token=printer-token", "", PROXY).unwrap();
        let why = |room| match printer.check(Right::Publish, room) {
            Err(Refusal::Forbidden(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(why("news.sport"), "this room may only be read");
        assert_eq!(why("lobby"), "nothing may be published in this room");
    }

    #[test]
    fn who_cannot_prove_anything_is_told_403() {
        let grants = Arc::from([grant(&["*"], &["lobby"], &[Right::Join])]);
        let gate = Gate { grants, ..Gate::default() };
        let nobody = ask(&gate, "/", "", PROXY).unwrap();
        assert_eq!(nobody.check(Right::Publish, "lobby").map_err(Refusal::status), Err(403));
    }

    #[test]
    fn a_token_is_refreshed_by_another_and_by_nothing_else() {
        let gate = gate();
        let seconds = NOW / 1000 + 60;
        let visitor = gate.refresh(&jwt("jot", seconds), NOW).unwrap();
        assert_eq!(visitor.user().map(|user| &**user), Some("jot"));
        assert_eq!(visitor.expires_ms(), Some((seconds + 10) * 1000), "with the leeway");
        assert!(gate.refresh("printer-token", NOW).unwrap().expires_ms().is_none());
        let cookie = session().value_for("cookie", seconds).unwrap();
        let claims = serde_json::json!({ "sub": "jot", "exp": seconds, "more": "x".repeat(TOKEN_BYTES_MAX) });
        let long = super::jwt::tests::hs256(&secret(2), &claims);
        for token in ["", "nonsense", &cookie, &long] {
            assert_eq!(gate.refresh(token, NOW).map(drop).map_err(Refusal::status), Err(401), "{token}");
        }
    }

    #[test]
    fn nothing_secret_shows_when_a_gate_is_printed() {
        let shown = format!("{:?}", gate());
        // The secrets are bytes 1 and 2, thirty-two times over.
        for secret in ["1, 1, 1", "2, 2, 2", "\\u{1}", "builder-token"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
