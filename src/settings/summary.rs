//! What settings make, in a few lines for whoever checks them.

use std::time::Duration;

use super::{Log, Settings};
use crate::app::{Listing, Mode, Route};
use crate::auth::{Anonymous, Gate};
use crate::backplane::Protocol;
use crate::backplane::channels::Dialect;
use crate::http::origin::OriginPolicy;
use crate::limits::{Limits, Unit};
use crate::{Builder, Lag};

impl Settings {
    /// What these settings make: where is listened, what is where, and what differs from the defaults.
    pub fn summary(&self) -> String {
        let mut lines = Vec::new();
        let listens = [
            ("", &self.listen),
            (" for wss", &self.tls.listen),
            (" behind PROXY headers", &self.proxy_listen),
            (" for wss behind PROXY headers", &self.tls.proxy_listen),
            (" for admins", &self.admin.listen),
        ];
        for (what, addrs) in listens.iter().filter(|(_, addrs)| !addrs.is_empty()) {
            lines.push(format!("listens{what} on {}", addrs.join(", ")));
        }
        lines.extend(self.trust());
        lines.extend(self.shared_admin().map(str::to_owned));
        lines.push("routes".to_owned());
        let shown: Vec<String> = self.routes.iter().map(|route| route.pattern.to_string()).collect();
        let width = shown.iter().map(|path| path.chars().count()).max().unwrap_or(0);
        for (route, path) in self.routes.iter().zip(&shown) {
            let pad = " ".repeat(width - path.chars().count());
            lines.push(format!("  {path}{pad}  {}", describe(route).join(", ")));
        }
        let differences = self.differences();
        if differences.is_empty() {
            lines.push("all else is as it is by default".to_owned());
        } else {
            lines.push("differs from the defaults".to_owned());
            lines.extend(differences.iter().map(|line| format!("  {line}")));
        }
        lines.join("\n")
    }

    /// Whose word counts on which client is behind them; nothing where nobody's does.
    pub fn trust(&self) -> Option<String> {
        let has_headers = !self.proxy_listen.is_empty() || !self.tls.proxy_listen.is_empty();
        match (self.trusted_proxies.is_empty(), has_headers) {
            (true, false) => None,
            (true, true) => Some("trusts the PROXY headers of whoever connects there".to_owned()),
            (false, false) => Some(format!("trusts X-Forwarded-For from {}", self.trusted_proxies)),
            (false, true) => {
                Some(format!("trusts X-Forwarded-For and PROXY headers from {}", self.trusted_proxies))
            }
        }
    }

    /// What surprises who looks inside where processes share their ports; nothing where each can be reached by itself.
    pub fn shared_admin(&self) -> Option<&'static str> {
        let is_shared = |addr: &String| !addr.starts_with("unix:") && !addr.ends_with(":0");
        (self.reuse_port && self.admin.listen.iter().any(is_shared)).then_some(
            "reuse_port is for the admin listener, too: who asks there reaches one of the processes and cannot say \
             which; give each a port or a Unix socket of its own",
        )
    }

    /// Everything but listeners and routes that is not as it is by default, a line each.
    pub fn differences(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match &self.origins {
            OriginPolicy::Same => {}
            OriginPolicy::Any => lines.push("origins = any (the server's own)".to_owned()),
            OriginPolicy::Listed(origins) => {
                lines.push(format!("origins = {} (the server's own)", origins.join(", ")));
            }
        }
        if self.unix_mode != Builder::UNIX_MODE {
            lines.push(format!("unix_mode = {:04o} ({:04o})", self.unix_mode, Builder::UNIX_MODE));
        }
        if self.deflate {
            lines.push("deflate = true (false)".to_owned());
        }
        if !self.ledger {
            lines.push("ledger = false (true)".to_owned());
        }
        if self.metrics {
            lines.push("metrics = true (false)".to_owned());
        }
        let (log, usual) = (self.log, Log::default());
        if log.format != usual.format {
            lines.push(format!("log = {} ({})", log.format.name(), usual.format.name()));
        }
        if log.level != usual.level {
            lines.push(format!("log_level = {} ({})", log.level, usual.level));
        }
        if self.reuse_port {
            lines.push("reuse_port = true (false)".to_owned());
        }
        if let Some(path) = &self.takeover {
            lines.push(format!("takeover = {} (none)", path.display()));
        }
        if let Some(folder) = &self.static_folder {
            lines.push(format!("static = {} (none)", folder.display()));
        }
        if let Some(backplane) = &self.backplane {
            let layer = match backplane.protocol {
                Protocol::Nodes => "",
                Protocol::Channels => " as a Channels layer",
            };
            lines.push(format!(
                "backplane = {}{layer}, keys begin with {} (none)",
                backplane.url, backplane.prefix
            ));
        }
        if self.admin.token.is_some() {
            lines.push("admin = with a token (none)".to_owned());
        }
        lines.extend(describe_gate(&self.gate));
        let defaults = Limits::default();
        for limit in Limits::TABLE {
            let (is, was) = (limit.show(&self.limits), limit.show(&defaults));
            if is != was {
                lines.push(format!("limits.{} = {is} ({was})", limit.name));
            }
        }
        lines
    }
}

/// Who is known how, and what happens to the others; nothing where everybody may do everything.
fn describe_gate(gate: &Gate) -> Option<String> {
    let said = [
        gate.cookie.as_ref().map(|_| "a signed cookie".to_owned()),
        gate.jwt.as_ref().map(|_| "JSON Web Tokens".to_owned()),
        gate.header.as_ref().map(|_| "a proxy's header".to_owned()),
        (!gate.tokens.is_empty()).then(|| count(gate.tokens.len() as u64, "token")),
        (!gate.grants.is_empty()).then(|| count(gate.grants.len() as u64, "grant")),
        match gate.anonymous {
            Anonymous::Allow => None,
            Anonymous::Read => Some("without a proof one may only read".to_owned()),
            Anonymous::Refuse => Some("without a proof one is refused".to_owned()),
        },
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    (!said.is_empty()).then(|| format!("auth = {} (none)", said.join(", ")))
}

/// A route's mode, and each of its options that says more than the mode does.
fn describe(route: &Route) -> Vec<String> {
    let mut said = vec![match route.mode {
        Mode::Echo => "echo".to_owned(),
        Mode::Room if route.pattern.has_room() => "rooms".to_owned(),
        Mode::Room => format!("room `{}`", route.fixed_room()),
    }];
    let keep = route.keep;
    match route.mode {
        Mode::Room if keep.is_nothing() => said.push("no history".to_owned()),
        Mode::Room => said.push(format!(
            "history of {}, {}, {}",
            count(keep.messages as u64, "message"),
            Unit::Bytes.show(keep.bytes as u64),
            time(keep.age)
        )),
        Mode::Echo => {}
    }
    let options = [
        (route.replay > 0).then(|| format!("replays {}", route.replay)),
        (!route.echo).then(|| "not back to the sender".to_owned()),
        match route.lag {
            Lag::Close => None,
            Lag::Skip => Some("slow members skip and are told".to_owned()),
            Lag::Latest => Some("slow members go on with the newest".to_owned()),
        },
        route.compress.then(|| "compressed".to_owned()),
        route.read_only.then(|| "members only read".to_owned()),
        match route.presence {
            Listing::Off => None,
            Listing::On => Some("presence".to_owned()),
            Listing::Announced => Some("presence announced".to_owned()),
        },
        route.uid.then(|| "an id first".to_owned()),
        route.greeting.as_ref().map(|greeting| format!("greets `{greeting}`")),
        route.exit_word.as_ref().map(|word| format!("ends on `{word}`")),
        route.template.as_ref().map(|template| format!("as `{template}`")),
        route.channels.as_deref().map(describe_dialect),
        (!route.subprotocols.is_empty()).then(|| {
            let required = if route.subprotocol_required { " required" } else { "" };
            format!("subprotocols {}{required}", route.subprotocols.join(" "))
        }),
        route.message_bytes_max.map(|max| format!("messages of {} at most", Unit::Bytes.show(max as u64))),
        route
            .rate
            .map(|rate| format!("{} per {} at most", count(rate.messages.into(), "message"), time(rate.per))),
    ];
    said.extend(options.into_iter().flatten());
    said
}

fn describe_dialect(dialect: &Dialect) -> String {
    let to = match &dialect.send_to {
        Some(channel) => format!(", sends to the worker `{channel}`"),
        None => String::new(),
    };
    format!("the group `{}` with `{}`{to}", dialect.group, dialect.kind)
}

fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// In the longest unit that says it exactly.
fn time(time: Duration) -> String {
    match time.as_millis() as u64 {
        ms if ms > 0 && ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        ms if ms > 0 && ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        ms => Unit::Time.show(ms),
    }
}
