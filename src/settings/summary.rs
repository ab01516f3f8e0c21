//! What settings make, in a few lines for whoever checks them.

use std::time::Duration;

use super::Settings;
use crate::Lag;
use crate::app::{Listing, Mode, Route};
use crate::http::origin::OriginPolicy;
use crate::limits::{Limits, Unit};

impl Settings {
    /// What these settings make: where is listened, what is where, and what differs from the defaults.
    pub fn summary(&self) -> String {
        let mut lines = vec![format!("listens on {}", self.listen.join(", "))];
        if !self.tls.listen.is_empty() {
            lines.push(format!("listens for wss on {}", self.tls.listen.join(", ")));
        }
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

    /// Everything but listeners and routes that is not as it is by default, a line each.
    fn differences(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match &self.origins {
            OriginPolicy::Same => {}
            OriginPolicy::Any => lines.push("origins = any (the server's own)".to_owned()),
            OriginPolicy::Listed(origins) => {
                lines.push(format!("origins = {} (the server's own)", origins.join(", ")));
            }
        }
        if self.deflate {
            lines.push("deflate = true (false)".to_owned());
        }
        if let Some(folder) = &self.static_folder {
            lines.push(format!("static = {} (none)", folder.display()));
        }
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
            messages(keep.messages as u64),
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
        (!route.subprotocols.is_empty()).then(|| {
            let required = if route.subprotocol_required { " required" } else { "" };
            format!("subprotocols {}{required}", route.subprotocols.join(" "))
        }),
        route.message_bytes_max.map(|max| format!("messages of {} at most", Unit::Bytes.show(max as u64))),
        route.rate.map(|rate| format!("{} per {} at most", messages(rate.messages.into()), time(rate.per))),
    ];
    said.extend(options.into_iter().flatten());
    said
}

fn messages(count: u64) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}

/// In the longest unit that says it exactly.
fn time(time: Duration) -> String {
    match time.as_millis() as u64 {
        ms if ms > 0 && ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        ms if ms > 0 && ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        ms => Unit::Time.show(ms),
    }
}
