//! Somebody's own application, with what those who run it need beside it.

use super::{Admin, App, Place};
use crate::{
    Admission, Closed, ConnId, Context, Exchange, Handler, Identity, Message, NotPublished, Opening,
    Published, Reply, Request, Response, Ticket,
};

/// An application with the admin API and its page beside it, so that `fanline top`, `peers`, `kick` and all the others
/// work with it, too.
///
/// They are at the listeners that [`Builder::listen_admin`](crate::Builder::listen_admin) adds, with `/metrics`,
/// `/healthz` and `/readyz`, and nothing of the application's; the other listeners are the application's alone. What it says
/// in [`Handler::route`] and [`Handler::identity`] is what they call its connections by.
///
/// ```
/// # use fanline::{Context, Handler, Message, Opening, Response};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type State = ();
/// #     fn open(&mut self, _: &mut Opening<'_>) -> Result<(), Response> { Ok(()) }
/// #     fn message(&mut self, _: &mut (), ctx: &mut Context<'_>, m: Message<'_>) { ctx.send(m).ok(); }
/// # }
/// use fanline::Server;
/// use fanline::app::Administered;
///
/// let server = Server::builder().listen("127.0.0.1:0")?.listen_admin("127.0.0.1:0")?;
/// let server = server.bind(Administered::new(Echo))?;
/// assert_eq!(server.listeners().iter().filter(|listen| listen.is_admin).count(), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Administered<H> {
    handler: H,
    desk: App,
}

/// What is kept of a connection: the application's own, or that of the live page.
pub struct Seat<S>(Whose<S>);

enum Whose<S> {
    Client(S),
    Operator(Box<Place>),
}

impl<H> Administered<H> {
    /// With the admin API at listeners of its own, for whoever can reach them.
    pub fn new(handler: H) -> Self {
        let desk = App { is_guest: true, ..App::new(Vec::new()) };
        Self { handler, desk }.with_admin(Admin::new(true, None))
    }

    /// Says where the admin API is instead, and which token it asks for.
    pub fn with_admin(mut self, admin: Admin) -> Self {
        self.desk = self.desk.with_admin(admin);
        self
    }

    /// The application, such as for [`Server::on_hangup`](crate::Server::on_hangup).
    pub fn handler_mut(&mut self) -> &mut H {
        &mut self.handler
    }
}

impl<H: Handler> Handler for Administered<H> {
    type State = Seat<H::State>;

    fn http(&mut self, exchange: &mut Exchange<'_>) -> Reply {
        match self.desk.admin(exchange) {
            Some(reply) => reply,
            None if exchange.is_admin() => self.desk.health(exchange),
            None => self.handler.http(exchange),
        }
    }

    fn admit(&mut self, id: ConnId, request: &Request<'_>) -> Admission {
        self.handler.admit(id, request)
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<Self::State, Response> {
        Ok(Seat(match self.desk.open_admin(opening)? {
            Some(place) => Whose::Operator(Box::new(place)),
            None => Whose::Client(self.handler.open(opening)?),
        }))
    }

    fn message(&mut self, state: &mut Self::State, ctx: &mut Context<'_>, message: Message<'_>) {
        match &mut state.0 {
            Whose::Client(state) => self.handler.message(state, ctx, message),
            Whose::Operator(place) => self.desk.message(place, ctx, message),
        }
    }

    fn published(
        &mut self,
        state: &mut Self::State,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        outcome: Result<Published, NotPublished>,
    ) {
        match &mut state.0 {
            Whose::Client(state) => self.handler.published(state, ctx, ticket, outcome),
            // It publishes nothing.
            Whose::Operator(_) => {}
        }
    }

    fn identity(&self, state: &Self::State) -> Identity {
        match &state.0 {
            Whose::Client(state) => self.handler.identity(state),
            Whose::Operator(place) => self.desk.identity(place),
        }
    }

    fn route(&self, state: &Self::State) -> Option<String> {
        match &state.0 {
            Whose::Client(state) => self.handler.route(state),
            Whose::Operator(place) => self.desk.route(place),
        }
    }

    fn close(&mut self, state: Self::State, ctx: &mut Context<'_>, closed: &Closed) {
        match state.0 {
            Whose::Client(state) => self.handler.close(state, ctx, closed),
            Whose::Operator(place) => self.desk.close(*place, ctx, closed),
        }
    }
}
