//! What an application implements.

use crate::conn::Closed;
use crate::http::head::Request;
use crate::http::response::{Refusal, Response};
use crate::id::{ConnId, Identity};
use crate::room::publish::{NotPublished, Published, Ticket};
use crate::ws::message::Message;

use super::context::Context;
use super::exchange::{Exchange, Reply};
use super::opening::Opening;

/// An application on a server.
///
/// All calls come from the loop's one thread, so a handler needs no locks and must not block: while it runs, nobody
/// else is served. For each connection that opens, the calls are `open` once, `message` in the order in which the
/// messages were sent, and `close` once.
///
/// ```
/// use fanline::{Context, Handler, Message, Opening, Response};
///
/// struct Shout;
///
/// impl Handler for Shout {
///     type State = usize; // messages so far
///
///     fn open(&mut self, _opening: &mut Opening<'_>) -> Result<usize, Response> {
///         Ok(0)
///     }
///
///     fn message(&mut self, count: &mut usize, ctx: &mut Context<'_>, message: Message<'_>) {
///         *count += 1;
///         if let Message::Text(text) = message {
///             ctx.send(&text.to_uppercase()).ok();
///         }
///     }
/// }
/// ```
pub trait Handler {
    /// What the handler keeps of each open connection; `()` for nothing.
    ///
    /// An idle connection keeps nothing of its request, so what is needed later belongs in here.
    type State;

    /// Answers a request that does not ask for WebSocket; 426 unless implemented.
    ///
    /// The connection is kept alive as HTTP/1.1 says. After [`Reply::Wait`] the same request comes again, when there
    /// is news or the time has run out.
    fn http(&mut self, exchange: &mut Exchange<'_>) -> Reply {
        let _ = exchange;
        Refusal::UpgradeRequired.into()
    }

    /// Says whether the decision on a client can be made at once; yes unless implemented.
    ///
    /// After [`Admission::Later`] the client waits, at most `admission_deadline`, for
    /// [`Handle::admit`](crate::Handle::admit) or [`Handle::refuse`](crate::Handle::refuse) with this id. Then `open` is called.
    /// Who comes through a listener for those who run the server is not asked about.
    fn admit(&mut self, id: ConnId, request: &Request<'_>) -> Admission {
        let (_, _) = (id, request);
        Admission::Now
    }

    /// A client wants to open a WebSocket whose handshake is in order.
    ///
    /// What is sent in here follows the handshake's answer. Where rooms are shared with other nodes, it is called again
    /// after an error if a room was to be joined that had to be opened first.
    ///
    /// # Errors
    /// The response that refuses it before 101. Rooms joined in here are left again.
    fn open(&mut self, opening: &mut Opening<'_>) -> Result<Self::State, Response>;

    /// A message has arrived.
    fn message(&mut self, state: &mut Self::State, ctx: &mut Context<'_>, message: Message<'_>);

    /// What has become of something that was published with [`Context::publish_once`], where rooms are shared with other
    /// nodes: its position, or why it was not published. Each [`NotPublished::Pending`] is answered once, unless the
    /// connection ends before.
    fn published(
        &mut self,
        state: &mut Self::State,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        outcome: Result<Published, NotPublished>,
    ) {
        let (_, _, _, _) = (state, ctx, ticket, outcome);
    }

    /// Whose connection it is, for whoever looks through them; nobody's unless implemented. It is asked of many in a turn.
    fn identity(&self, state: &Self::State) -> Identity {
        let _ = state;
        Identity::default()
    }

    /// Where the application has put the connection, such as a path, for whoever looks at it; nowhere unless implemented.
    fn route(&self, state: &Self::State) -> Option<String> {
        let _ = state;
        None
    }

    /// The connection has ended and has left its rooms; sending to it is an error now.
    fn close(&mut self, state: Self::State, ctx: &mut Context<'_>, closed: &Closed) {
        let (_, _, _) = (state, ctx, closed);
    }
}

/// The application that serves nothing: every client is told 404.
impl Handler for () {
    type State = std::convert::Infallible;

    fn http(&mut self, _exchange: &mut Exchange<'_>) -> Reply {
        Refusal::NotFound.into()
    }

    fn open(&mut self, _opening: &mut Opening<'_>) -> Result<Self::State, Response> {
        Err(Refusal::NotFound.into())
    }

    fn message(&mut self, state: &mut Self::State, _ctx: &mut Context<'_>, _message: Message<'_>) {
        match *state {}
    }
}

/// Whether a client is decided about now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Call `open` at once.
    Now,
    /// Wait for a [`Handle`](crate::Handle) to decide.
    Later,
}
