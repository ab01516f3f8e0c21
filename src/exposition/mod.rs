//! Everything that is measured, as text that Prometheus reads: OpenMetrics 1.0, or its own older format.
//!
//! An answer's size is bounded: labels are the stages, the outcomes, and the classes of rooms, of which there are at most
//! `ledger_classes_max`. Rooms and users are no labels, nor are connections but for one, whose input made a turn slow a
//! moment ago; the ledger's snapshot has the busiest of them.

mod collect;
mod counters;
mod plain;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::engine::Exchange;
use crate::http::response::{Refusal, Response};
use collect::Collected;

/// What an answer in OpenMetrics says that it is; a scraper that is told less reads it as the older format.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What an answer in the older format says that it is.
pub const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers a request with everything that is measured, in the form that it accepts: OpenMetrics where it names that, and
/// otherwise the older text, which every scraper reads and a person, too.
///
/// ```
/// use fanline::{Exchange, Handler, Opening, Refusal, Reply, Response, exposition};
///
/// struct Measured;
///
/// impl Handler for Measured {
///     # type State = ();
///     # fn open(&mut self, _: &mut Opening<'_>) -> Result<(), Response> { Ok(()) }
///     # fn message(&mut self, _: &mut (), _: &mut fanline::Context<'_>, _: fanline::Message<'_>) {}
///     fn http(&mut self, exchange: &mut Exchange<'_>) -> Reply {
///         match exchange.request().path() {
///             "/metrics" => exposition::answer(exchange).into(),
///             _ => Refusal::NotFound.into(),
///         }
///     }
/// }
/// ```
pub fn answer(exchange: &mut Exchange<'_>) -> Response {
    let text = text(exchange);
    answer_with(exchange, text)
}

/// Answers with a text that [`text`] has given.
pub(crate) fn answer_with(exchange: &Exchange<'_>, text: Option<String>) -> Response {
    let accept = exchange.request().header("accept").unwrap_or_default();
    let is_openmetrics = accept.contains("application/openmetrics-text");
    let Some(text) = text else {
        return Refusal::Unavailable("the metrics cannot be written").into();
    };
    let (content_type, body) =
        if is_openmetrics { (OPENMETRICS, text) } else { (PLAIN, plain::from_openmetrics(&text)) };
    Response::new(200).header("content-type", content_type).header("cache-control", "no-store").body(body)
}

/// What is measured, as OpenMetrics; `None` where it cannot be written.
pub(crate) fn text(exchange: &mut Exchange<'_>) -> Option<String> {
    let mut registry = Registry::with_prefix("fanline");
    registry.register_collector(Box::new(Collected::of(exchange)));
    let mut text = String::new();
    encode(&mut text, &registry).ok().map(|()| text)
}
