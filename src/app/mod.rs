//! The binary's own application: an ordinary [`Handler`] with a table of routes, a chat page and a health check.

mod route;

use std::sync::Arc;

use crate::{Context, Handler, Message, Opening, Refusal, Request, Response};
pub use route::{InvalidPattern, Mode, Pattern, Route};

const PAGE: &str = include_str!("page.html");

/// Echo and chat rooms, by path.
pub struct App {
    routes: Vec<Route>,
}

/// What the application keeps of a connection: its route, and its room where the route has rooms.
pub struct Place {
    route: u16,
    room: Option<Arc<str>>,
}

impl App {
    /// An application with these routes; the first that matches a path serves it.
    pub fn new(routes: Vec<Route>) -> Self {
        Self { routes }
    }

    /// The first route for a path, and the room it leads to.
    fn find(&self, path: &str) -> Option<(u16, &Route, String)> {
        self.routes
            .iter()
            .zip(0..)
            .find_map(|(route, number)| route.pattern.matches(path).map(|captured| (number, route, captured)))
            .map(|(number, route, captured)| (number, route, route.room_for(&captured, path)))
    }
}

impl Handler for App {
    type State = Place;

    fn http(&mut self, request: &Request<'_>) -> Response {
        let is_get = matches!(request.method(), "GET" | "HEAD");
        match request.path() {
            _ if !is_get => Refusal::MethodNotAllowed.into(),
            "/" => page(request),
            "/healthz" => Response::text(200, "ok"),
            path if self.find(path).is_some() => Refusal::UpgradeRequired.into(),
            _ => Refusal::NotFound.into(),
        }
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<Place, Response> {
        let (number, route, room) = self.find(opening.request().path()).ok_or(Refusal::NotFound)?;
        let preferred: Vec<&str> = route.subprotocols.iter().map(String::as_str).collect();
        if opening.choose_subprotocol(&preferred).is_none() && route.subprotocol_required {
            return Err(Refusal::Malformed("none of the subprotocols of this path is offered").into());
        }
        let room = match route.mode {
            Mode::Echo => None,
            Mode::Room => {
                opening.join(&room).map_err(|_| Refusal::Unavailable("the room cannot be joined"))?;
                Some(room.into())
            }
        };
        if let Some(greeting) = &route.greeting {
            opening.send(greeting).map_err(|_| Refusal::Unavailable("the greeting does not fit"))?;
        }
        Ok(Place { route: number, room })
    }

    fn message(&mut self, place: &mut Place, ctx: &mut Context<'_>, message: Message<'_>) {
        let exit_word = self.routes[usize::from(place.route)].exit_word.as_deref();
        if exit_word.is_some() && exit_word == message.as_text() {
            ctx.close(1000, "").unwrap_or_default();
            return;
        }
        match &place.room {
            Some(room) => drop(ctx.publish(room, message)),
            None if ctx.send(message).is_err() => {
                ctx.close(1013, "too slow for the echo").unwrap_or_default()
            }
            None => {}
        }
    }
}

/// The chat page. It needs nothing from anywhere else, and its policy says so.
fn page(request: &Request<'_>) -> Response {
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
        .body(PAGE)
}
