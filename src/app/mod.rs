//! The binary's own application: an ordinary [`Handler`] with a table of routes, rooms over HTTP, and a chat page.

mod admin;
mod administered;
mod api;
mod envelope;
mod files;
mod key;
mod outside;
mod presence;
mod route;
mod time;

use std::collections::HashMap;
use std::sync::Arc;

use crate::auth::{Gate, Right, Visitor};
use crate::record::Oracle;
use crate::{
    Context, Encoding, Exchange, Handler, Identity, Join, Joined, Message, NotPublished, Opening, Presence,
    Published, Refusal, Reply, Request, Response, Start, Ticket, exposition,
};
pub use admin::Admin;
pub use administered::{Administered, Seat};
pub use files::Files;
use outside::Outside;
pub use route::{Filled, InvalidPattern, Listing, Mode, Pattern, Rate, Route};

const PAGE: &str = include_str!("page.html");

/// The subprotocol in which publications come as JSON objects with their offsets.
pub const SUBPROTOCOL: &str = "fanline.v1";

/// Echo and chat rooms, by path.
pub struct App {
    routes: Vec<Arc<Route>>,
    outside: Outside,
    files: Option<Files>,
    shows_metrics: bool,
    admin: Admin,
    /// Whether the rooms are another application's, and are not for this one to say how they are kept.
    is_guest: bool,
}

/// What the application keeps of a connection: its route, its room where the route has rooms, and the rest only where
/// there is any.
pub struct Place {
    /// Its own, whatever the table becomes.
    route: Arc<Route>,
    room: Option<Arc<str>>,
    guest: Option<Box<Guest>>,
}

/// What is special about a connection.
struct Guest {
    visitor: Visitor,
    /// It speaks [`SUBPROTOCOL`].
    is_json: bool,
    /// It is the live page of those who run the server.
    is_admin: bool,
    may_publish: bool,
    allowance: Allowance,
    /// What it is yet to be told of: the publications that other nodes have to do with, and the ids it gave them.
    pending: HashMap<Ticket, Option<String>>,
}

/// How many messages may come now, in thousandths, and when that was.
#[derive(Clone, Copy, Debug, Default)]
struct Allowance {
    milli: u64,
    at_ms: u64,
}

impl Allowance {
    /// Takes one message, if the rate allows it.
    fn take(&mut self, rate: Rate, now_ms: u64) -> bool {
        let per_ms = rate.per.as_millis().max(1) as u64;
        let earned =
            now_ms.saturating_sub(self.at_ms).saturating_mul(u64::from(rate.messages) * 1000) / per_ms;
        self.milli = self.milli.saturating_add(earned).min(u64::from(rate.messages) * 1000);
        self.at_ms = now_ms;
        let may = self.milli >= 1000;
        self.milli -= if may { 1000 } else { 0 };
        may
    }
}

impl App {
    /// An application with these routes, open to everybody; the first that matches a path serves it.
    pub fn new(routes: Vec<Route>) -> Self {
        let routes = routes.into_iter().map(Arc::new).collect();
        let (outside, admin) = (Outside::default(), Admin::default());
        Self { routes, outside, files: None, shows_metrics: false, admin, is_guest: false }
    }

    /// Serves the files of a folder at `/static/`.
    pub fn with_files(mut self, files: Option<Files>) -> Self {
        self.files = files;
        self
    }

    /// Shows what is measured, at `/metrics`, to everybody.
    pub fn with_metrics(mut self, shows_metrics: bool) -> Self {
        self.shows_metrics = shows_metrics;
        self
    }

    /// Says who may do what.
    pub fn with_gate(mut self, gate: Gate) -> Self {
        self.outside.has_gate = gate != Gate::default();
        self.outside.gate = gate;
        self
    }

    /// Says who answers what only the outside knows. Where it is a recording, `has_gate` says whether there was a gate,
    /// whose decisions it has.
    pub fn with_oracle(mut self, oracle: Oracle, has_gate: bool) -> Self {
        (self.outside.oracle, self.outside.has_gate) = (oracle, has_gate);
        self
    }

    /// Says where those who run the server can look inside, and who may.
    pub fn with_admin(mut self, admin: Admin) -> Self {
        self.admin = admin;
        self
    }

    /// Whether the loop turns, and whether somebody new is to be sent here.
    fn health(&self, exchange: &mut Exchange<'_>) -> Reply {
        let unready = match exchange.request().path() {
            "/readyz" => self.outside.unready(exchange),
            _ => None,
        };
        match unready {
            Some(why) => Refusal::Unavailable(why).into(),
            None => Response::text(200, "ok").into(),
        }
    }

    /// The first route for a path, and the room it leads to.
    fn find(&self, path: &str) -> Option<(&Arc<Route>, String)> {
        let mut matching = self.routes.iter().map(|route| (route, route.pattern.matches(path)));
        matching.find_map(|(route, captured)| captured.map(|captured| (route, route.room_for(&captured))))
    }

    /// Joins the room of a route, from where the request says.
    fn join(
        &self,
        opening: &mut Opening<'_>,
        (route, room): (&Route, &str),
        visitor: &Visitor,
        encoding: Encoding,
    ) -> Result<Joined, Response> {
        visitor.check(Right::Join, room)?;
        let replay = if route.replay == 0 { Start::Now } else { Start::Last(route.replay) };
        let start = api::start_of(opening.request(), replay)?;
        let presence = match (route.presence, visitor.user()) {
            (Listing::On, Some(user)) => Presence::Listed(user.clone()),
            (Listing::Announced, Some(user)) => Presence::Announced(user.clone()),
            (Listing::Off, _) | (_, None) => Presence::Hidden,
        };
        let (is_quiet, is_compressed) = (!route.echo, route.compress);
        let join = Join { start, encoding, is_quiet, is_compressed, presence };
        let unavailable = |_| Refusal::Unavailable("the room cannot be joined");
        if let Some(dialect) = route.dialect_of(room)? {
            opening.speak(room, dialect);
        }
        opening.keep(room, route.keep).map_err(unavailable)?;
        opening.set_lag(room, route.lag);
        opening.classify(room, &route.pattern.to_string());
        let joined = opening.join_as(room, &join).map_err(unavailable)?;
        // A reader of raw messages cannot be told later that something is missing.
        if !joined.recovered && encoding == Encoding::Raw {
            return Err(Refusal::Gone.into());
        }
        Ok(joined)
    }
}

impl Handler for App {
    type State = Place;

    fn http(&mut self, exchange: &mut Exchange<'_>) -> Reply {
        if let Some(reply) = self.admin(exchange) {
            return reply;
        }
        if let Some(reply) = self.rooms(exchange) {
            return reply;
        }
        let request = exchange.request();
        let is_get = matches!(request.method(), "GET" | "HEAD");
        match request.path() {
            _ if !is_get => Refusal::MethodNotAllowed("GET, HEAD").into(),
            "/" => page(request, PAGE).into(),
            "/healthz" | "/readyz" => self.health(exchange),
            "/metrics" if self.shows_metrics => {
                let text = self.outside.oracle.ask(|| exposition::text(exchange));
                exposition::answer_with(exchange, text).into()
            }
            path => match (path.strip_prefix(files::PREFIX), &self.files) {
                (Some(path), Some(files)) => {
                    files.serve(request, path, exchange.limits().static_bytes_max).into()
                }
                (Some(_), None) | (None, _) if self.find(path).is_some() => Refusal::UpgradeRequired.into(),
                (Some(_), None) | (None, _) => Refusal::NotFound.into(),
            },
        }
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<Place, Response> {
        if let Some(place) = self.open_admin(opening)? {
            return Ok(place);
        }
        let request = opening.request();
        let (route, room) = self.find(request.path()).ok_or(Refusal::NotFound)?;
        let visitor = self.outside.visitor(request, opening.hop(), opening.now_ms())?;
        let mut preferred: Vec<&str> = route.subprotocols.iter().map(String::as_str).collect();
        if route.mode == Mode::Room {
            preferred.push(SUBPROTOCOL);
        }
        let chosen = opening.choose_subprotocol(&preferred);
        if chosen.is_none() && route.subprotocol_required {
            return Err(Refusal::Malformed("none of the subprotocols of this path is offered").into());
        }
        let is_json = chosen == Some(SUBPROTOCOL);
        let full = |_| Refusal::Unavailable("the greeting does not fit");
        if route.uid {
            opening.send(&self.outside.uid()).map_err(full)?;
        }
        let room = match route.mode {
            Mode::Echo => None,
            Mode::Room => {
                let encoding = if is_json { Encoding::Json } else { Encoding::Raw };
                let joined = self.join(opening, (route, &room), &visitor, encoding)?;
                opening.add_header("fanline-position", &joined.position.to_string());
                if is_json {
                    opening.send(&envelope::joined(&room, &joined)).map_err(full)?;
                }
                Some(Arc::from(room))
            }
        };
        if let Some(greeting) = &route.greeting {
            opening.send(greeting).map_err(full)?;
        }
        if let Some(expires_ms) = visitor.expires_ms() {
            opening.expire_at(expires_ms);
        }
        let may_publish = room.as_deref().is_none_or(|room| may_publish(route, &visitor, room));
        // Who has a name is to be found by it, though nothing else about it may be special.
        let is_plain = !is_json && may_publish && route.rate.is_none() && visitor.identity().is_nobody();
        let allowance = Allowance { milli: u64::MAX, at_ms: opening.now_ms() };
        let guest = (!is_plain).then(|| {
            Box::new({
                let pending = HashMap::new();
                Guest { visitor, is_json, is_admin: false, may_publish, allowance, pending }
            })
        });
        Ok(Place { route: route.clone(), room, guest })
    }

    fn message(&mut self, place: &mut Place, ctx: &mut Context<'_>, message: Message<'_>) {
        let route = &place.route;
        if message.len() > route.bytes_max(ctx.limits()) {
            return ctx.close(1009, "longer than messages here may be").unwrap_or_default();
        }
        if let (Some(rate), Some(guest)) = (route.rate, &mut place.guest)
            && !guest.allowance.take(rate, ctx.now_ms())
        {
            return ctx.close(1008, "more messages than are allowed here").unwrap_or_default();
        }
        if route.exit_word.is_some() && route.exit_word.as_deref() == message.as_text() {
            return ctx.close(1000, "").unwrap_or_default();
        }
        let Some(room) = &place.room else {
            if let Some(guest) = place.guest.as_mut().filter(|guest| guest.is_admin) {
                return admin::tell(ctx, guest);
            }
            if ctx.send(message).is_err() {
                ctx.close(1013, "too slow for the echo").unwrap_or_default();
            }
            return;
        };
        match &mut place.guest {
            None => publish(ctx, route, room, None, message),
            Some(guest) if guest.is_json => {
                envelope::receive(ctx, &self.outside, route, room, guest, message);
            }
            Some(guest) if guest.may_publish => publish(ctx, route, room, Some(&guest.visitor), message),
            Some(_) => ctx.close(1008, "this room may only be read").unwrap_or_default(),
        }
    }

    fn identity(&self, place: &Place) -> Identity {
        place.guest.as_ref().map_or_else(Identity::default, |guest| guest.visitor.identity())
    }

    fn route(&self, place: &Place) -> Option<String> {
        let is_admin = place.guest.as_ref().is_some_and(|guest| guest.is_admin);
        Some(if is_admin { "/admin/api/live".to_owned() } else { place.route.pattern.to_string() })
    }

    fn published(
        &mut self,
        place: &mut Place,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        outcome: Result<Published, NotPublished>,
    ) {
        if let Some(guest) = &mut place.guest
            && let Some(id) = guest.pending.remove(&ticket)
        {
            envelope::published(ctx, id, outcome);
        }
    }
}

/// Whether a member may publish in the room it has joined.
fn may_publish(route: &Route, visitor: &Visitor, room: &str) -> bool {
    !route.read_only && visitor.check(Right::Publish, room).is_ok()
}

fn publish(
    ctx: &mut Context<'_>,
    route: &Route,
    room: &str,
    visitor: Option<&Visitor>,
    message: Message<'_>,
) {
    let user = visitor.and_then(Visitor::name);
    let filled = route.fill(message, user, ctx.now_ms());
    match &route.channels {
        // Whoever sends plain messages is not told what has become of them; a worker is told who does.
        Some(dialect) if dialect.send_to.is_some() => {
            let _ = ctx.publish_for(room, filled.as_message(), None, user);
        }
        Some(_) | None => {
            ctx.publish(room, filled.as_message());
        }
    }
}

/// A page. It needs nothing from anywhere else, and its policy says so.
fn page(request: &Request<'_>, text: &'static str) -> Response {
    let is_plain =
        |host: &&str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-[]".contains(&byte));
    let sockets = match request.host().filter(is_plain) {
        Some(host) => format!(" ws://{host} wss://{host}"),
        None => String::new(),
    };
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; \
         connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    Response::new(200)
        .header("content-type", "text/html; charset=utf-8")
        .header("content-security-policy", policy)
        .header("x-content-type-options", "nosniff")
        .header("referrer-policy", "no-referrer")
        .header("cache-control", "no-cache")
        .body(text)
}
