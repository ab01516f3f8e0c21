//! What is known of the server, its rooms and its connections, as JSON.

use serde_json::{Map, Value, json};

use super::ledger;
use crate::engine::survey::PeerInfo;
use crate::engine::vitals::Vitals;
use crate::metrics::memory::Class;
use crate::room::rooms::RoomInfo;
use crate::{Hop, Limits, Metrics, Snapshot};

/// How the server is, without looking for anything: as cheap with fifteen thousand connections as with one.
pub(super) fn status(vitals: &Vitals, snapshot: &Snapshot, metrics: &Metrics) -> Value {
    let classes = Class::ALL.map(|class| (class.name().to_owned(), json!(metrics.memory.get(class))));
    let counters = metrics.all().into_iter().map(|(name, count)| (name.to_owned(), json!(count)));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "now_ms": vitals.now_ms,
        "started_ms": vitals.started_ms,
        "uptime_ms": vitals.now_ms - vitals.started_ms,
        "draining": vitals.is_draining,
        "ready": vitals.unready.is_none(),
        "unready": vitals.unready,
        "connections": vitals.connections,
        "websockets": metrics.opened.get() - metrics.ended.get(),
        "rooms": vitals.rooms,
        "memory": {
            "budget_bytes": vitals.memory_budget,
            "used_bytes": metrics.memory.total(),
            "classes": Map::from_iter(classes),
        },
        "counters": Map::from_iter(counters),
        "ledger": ledger::snapshot(snapshot),
    })
}

/// Every limit, as it is written.
pub(super) fn limits(limits: &Limits) -> Value {
    Map::from_iter(Limits::TABLE.iter().map(|limit| (limit.name.to_owned(), json!(limit.show(limits)))))
        .into()
}

pub(super) fn room(info: &RoomInfo) -> Value {
    json!({
        "room": &*info.name,
        "members": info.members,
        "users": info.users,
        "position": info.position.to_string(),
        "publications": info.position.offset,
        "history": info.history,
        "skipped": info.skipped,
        "lagging": info.lagging,
        "backlog_bytes": info.backlog,
        "log_bytes": info.log_bytes,
    })
}

pub(super) fn peer(info: &PeerInfo) -> Value {
    let address = match (info.client, info.hop) {
        (Some(client), _) => Some(client.to_string()),
        (None, Hop::Ip(ip)) => Some(ip.to_string()),
        (None, Hop::Unix) => Some("unix".to_owned()),
        (None, Hop::Unknown) => None,
    };
    let (rooms, rooms_total) = &info.rooms;
    json!({
        "id": info.id.short(),
        "address": address,
        "user": info.identity.user.as_deref(),
        "token": info.identity.token.as_deref(),
        "route": info.route,
        "rooms": rooms.iter().map(|room| &**room).collect::<Vec<_>>(),
        "rooms_total": rooms_total,
        "phase": format!("{:?}", info.stage).to_lowercase(),
        "owed_bytes": info.owed,
        "lag": info.lag,
        "delay_ms": info.delay.as_millis() as u64,
        "age_ms": info.age.as_millis() as u64,
        "admin": info.is_admin,
    })
}
