//! The WebSocket of the live page: it asks once a second, and is told how the server is.
//!
//! A page that nobody looks at asks for nothing, and one that is slow asks less often: so this costs no timer and no
//! queue.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::{Allowance, Guest, Mode, Pattern, Place, Rate, Route};
use super::json;
use crate::{Context, Visitor};

/// What the page speaks.
pub(super) const SUBPROTOCOL: &str = "fanline.admin";

/// What the subprotocol begins with in which a browser shows the token, in base64 for addresses without padding.
const BEARER: &str = "bearer.";

/// How often one may ask.
const RATE: Rate = Rate { messages: 10, per: Duration::from_secs(1) };

static ROUTE: LazyLock<Arc<Route>> = LazyLock::new(|| Arc::new(Route::new(Pattern::root(), Mode::Echo)));

/// The token that a subprotocol shows, if it is one that does.
pub(super) fn token_in(subprotocol: &str) -> Option<String> {
    let encoded = subprotocol.strip_prefix(BEARER)?;
    String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

/// What is kept of the page's connection.
pub(super) fn place(now_ms: u64) -> Place {
    let guest = Guest {
        visitor: Visitor::default(),
        is_json: false,
        is_admin: true,
        may_publish: false,
        allowance: Allowance { milli: u64::MAX, at_ms: now_ms },
        pending: HashMap::new(),
    };
    Place { route: ROUTE.clone(), room: None, guest: Some(Box::new(guest)) }
}

/// Answers the page, whatever it has said.
pub(in crate::app) fn tell(ctx: &mut Context<'_>, guest: &mut Guest) {
    if !guest.allowance.take(RATE, ctx.now_ms()) {
        return ctx.close(1008, "asked more often than ten times a second").unwrap_or_default();
    }
    let (vitals, snapshot) = (ctx.vitals(), ctx.ledger());
    let status = json::status(&vitals, &snapshot, ctx.metrics());
    if ctx.send(&status.to_string()).is_err() {
        ctx.close(1013, "too slow").unwrap_or_default();
    }
}
