//! What the delivery ledger knows, as JSON; times are in microseconds.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::Snapshot;
use crate::ledger::slow::SlowTurn;
use crate::ledger::snapshot::{Outcomes, Quantiles, Stages};

/// Everything that the ledger knows.
pub(super) fn snapshot(snapshot: &Snapshot) -> Value {
    let lately = &snapshot.lately;
    let classes = snapshot.classes.iter().map(|class| {
        let stages = stages(&class.stages);
        json!({ "class": &*class.name, "stages": stages })
    });
    let rooms = snapshot.rooms.iter().map(|room| {
        json!({
            "room": &*room.name,
            "class": &*room.class,
            "members": room.members,
            "deliveries_per_second": room.rate,
            "stages": stages(&room.stages),
        })
    });
    json!({
        "on": snapshot.is_on,
        "bytes": snapshot.bytes,
        "outcomes": outcomes(&snapshot.outcomes),
        // Of a part of the time this would mean nothing: what ends in it may have been owed before.
        "waiting": snapshot.outcomes.waiting(),
        "all": stages(&snapshot.all),
        "lately": {
            "span_ms": lately.span.as_millis() as u64,
            "until_ms": lately.until.as_millis() as u64,
            "stages": stages(&lately.stages),
            "outcomes": outcomes(&lately.outcomes),
        },
        "classes": classes.collect::<Vec<_>>(),
        "rooms": rooms.collect::<Vec<_>>(),
        "loop": health(snapshot),
    })
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}

fn quantiles(of: &Quantiles) -> Value {
    json!({
        "count": of.count,
        "mean_us": micros(of.mean),
        "p50_us": micros(of.p50),
        "p90_us": micros(of.p90),
        "p99_us": micros(of.p99),
        "p999_us": micros(of.p999),
        "max_us": micros(of.max),
    })
}

fn stages(of: &Stages) -> Value {
    json!({
        "ingest": quantiles(&of.ingest),
        "waiting": quantiles(&of.waiting),
        "send": quantiles(&of.send),
        "total": quantiles(&of.total),
    })
}

fn outcomes(of: &Outcomes) -> Value {
    let ends = of.ends().map(|(name, count)| (name.to_owned(), json!(count)));
    Map::from_iter([("owed".to_owned(), json!(of.owed))].into_iter().chain(ends)).into()
}

fn health(snapshot: &Snapshot) -> Value {
    let of = &snapshot.health;
    let counts = snapshot.slow_counts.iter().filter(|known| known.count > 0);
    let counts = counts
        .map(|known| json!({ "cause": known.cause.name(), "route": &*known.route, "count": known.count }));
    let longest = of.longest.map(|longest| {
        json!({ "conn": longest.conn.short(), "took_us": micros(longest.took), "calls": longest.calls })
    });
    json!({
        "turn": quantiles(&of.turn),
        "handling": quantiles(&of.handling),
        "delay": quantiles(&of.delay),
        "answer": quantiles(&of.answer),
        "lag_us": micros(of.lag),
        "longest": longest,
        "overruns": of.overruns,
        "overruns_by": counts.collect::<Vec<_>>(),
        "slow_turns": snapshot.slow_turns.iter().map(slow_turn).collect::<Vec<_>>(),
        "accept_backlog": of.accept_backlog,
        "accepting": of.is_accepting,
    })
}

/// A turn above `turn_budget`: whose input took the longest is told in any case, and `cause` says whether that was it.
fn slow_turn(turn: &SlowTurn) -> Value {
    let longest = turn.longest.as_ref();
    json!({
        "at_ms": turn.at_ms,
        "took_us": micros(turn.took),
        "cause": turn.cause.name(),
        "conn": longest.map(|handling| handling.conn.short()),
        "input_us": longest.map(|handling| micros(handling.took)),
        "input_calls": longest.map(|handling| handling.calls),
        "route": turn.whose.route,
        "user": turn.whose.user.as_deref(),
        "address": turn.whose.address,
        "reads": turn.reads,
        "calls": turn.did.calls,
        "deliveries": turn.did.deliveries,
        "accepted": turn.did.accepts,
        "held_up": turn.held_up,
    })
}
