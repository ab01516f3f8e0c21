//! One measurement in the shape that all modes share: the room's deliveries, and the bystander beside them.

use super::run::Numbers;
use super::{Load, Server, print};
use crate::modes::Limits;
use crate::modes::report::{Kind, Late, Report, Words};
use crate::modes::verdict::{Evidence, LOST, Verdict};
use std::collections::BTreeMap;

impl Numbers {
    /// What other programs get.
    pub(super) fn into_report(self, server: &Server, load: &Load, limits: Limits) -> Report {
        let errors = self.errors();
        let late = Late {
            planned: self.late.count(),
            count: self.late.count_above(print::LATE),
            max: self.late.max(),
        };
        let count = self.fan_out.count();
        let evidence = Evidence { count, kind: Kind::Planned, late, load: self.usage.load, errors: &errors };
        Report {
            words: Words { mode: "bystander", one: "delivery", rated: "messages" },
            url: server.origin.clone(),
            options: serde_json::to_value(load).unwrap_or_default(),
            warm_up: load.warm_up,
            connections: load.members as usize + 1,
            count,
            rate_asked: Some(load.rate),
            count_per_rated: f64::from(load.members),
            verdict: Verdict::new(&evidence, &limits),
            latency: self.fan_out,
            kind: Kind::Planned,
            late,
            usage: self.usage,
            bystander: Some(self.echo),
            own: None,
            errors,
        }
    }

    fn errors(&self) -> BTreeMap<String, u64> {
        let mut errors = self.endings.clone();
        for faults in [self.room_faults, self.echo_faults] {
            let kinds = [
                (LOST, faults.lost),
                ("doubled", faults.doubled),
                ("swapped", faults.swapped),
                ("altered", faults.altered),
            ];
            for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
                *errors.entry(kind.to_owned()).or_default() += count;
            }
        }
        errors
    }
}
