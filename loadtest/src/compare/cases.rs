//! What is compared, and how good Fanline must be: one table.

/// What is looked at in a round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Metric {
    /// The server's processor time for one message, delivery or handshake, in µs.
    Cpu,
    /// The median latency, in ms.
    P50,
    /// The bystander's median latency, in ms.
    BystanderP50,
    /// The bystander's 99th percentile, in ms.
    BystanderP99,
    /// The server's own memory for one idle connection, in bytes.
    OwnBytes,
}

impl Metric {
    /// Its name and unit.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Cpu => "CPU, µs",
            Self::P50 => "p50, ms",
            Self::BystanderP50 => "bystander p50, ms",
            Self::BystanderP99 => "bystander p99, ms",
            Self::OwnBytes => "own memory, bytes",
        }
    }
}

/// What Fanline must reach.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Goal {
    /// At most so much of what this peer needs; with infinity, the ratio is only shown.
    Ratio(Metric, &'static str, f64),
    /// At most so much.
    Most(Metric, f64),
}

/// One case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) title: &'static str,
    /// The mode of the load.
    pub(crate) mode: &'static str,
    /// The server's route.
    pub(crate) path: &'static str,
    /// What the mode is told besides address, seconds and file.
    pub(crate) options: &'static [&'static str],
    /// What is looked at; the first is the case's own.
    pub(crate) metrics: &'static [Metric],
    /// What must be reached.
    pub(crate) goals: &'static [Goal],
}

/// Stands in the options for the address of the server's echo.
pub(crate) const ECHO: &str = "{echo}";

/// What the ledger may cost: 3 % of processor time.
const LEDGER: f64 = 1.03;

const ROOM: &str = "/chat/compare";

use Goal::{Most, Ratio};
use Metric::{BystanderP50, BystanderP99, Cpu, OwnBytes, P50};

/// The table of the numbers.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "echo-32",
        title: "echo, 64 connections × 32 B, one in flight: CPU per message",
        mode: "echo",
        path: "/echo",
        options: &["--connections", "64", "--size", "32", "--window", "1"],
        metrics: &[Cpu],
        goals: &[Ratio(Cpu, "bare", 1.03), Ratio(Cpu, "unmeasured", LEDGER)],
    },
    Case {
        name: "echo-125",
        title: "echo, 64 × 125 B, 32 in flight: CPU per message",
        mode: "echo",
        path: "/echo",
        options: &["--connections", "64", "--size", "125", "--window", "32"],
        metrics: &[Cpu],
        goals: &[Ratio(Cpu, "bare", 1.12), Ratio(Cpu, "bun", 0.6)],
    },
    Case {
        name: "echo-16k",
        title: "echo, 16 × 16 KiB, one in flight: CPU per message",
        mode: "echo",
        path: "/echo",
        options: &["--connections", "16", "--size", "16384", "--window", "1"],
        metrics: &[Cpu],
        goals: &[Ratio(Cpu, "bare", 1.10)],
    },
    Case {
        name: "echo-1m",
        title: "echo, 4 × 1 MiB, one in flight: CPU per message",
        mode: "echo",
        path: "/echo",
        options: &["--connections", "4", "--size", "1048576", "--window", "1"],
        metrics: &[Cpu],
        goals: &[Ratio(Cpu, "bare", 1.10)],
    },
    Case {
        name: "fanout-1",
        title: "fan-out 1,000 × 64 B, closed loop, window 1: CPU per delivery",
        mode: "fanout",
        path: ROOM,
        options: &["--subscribers", "1000", "--publishers", "1", "--size", "64", "--window", "1"],
        metrics: &[Cpu],
        goals: &[
            Ratio(Cpu, "bare", 1.03),
            Ratio(Cpu, "bun", 0.95),
            Ratio(Cpu, "unmeasured", LEDGER),
            // What readiness buys: shown, without a bound.
            Ratio(Cpu, "threads", f64::INFINITY),
        ],
    },
    Case {
        name: "fanout-8",
        title: "fan-out 1,000 × 64 B, window 8: CPU per delivery",
        mode: "fanout",
        path: ROOM,
        options: &["--subscribers", "1000", "--publishers", "1", "--size", "64", "--window", "8"],
        metrics: &[Cpu],
        goals: &[
            Ratio(Cpu, "bare", 0.55),
            // No more than Bun's share of bare.
            Ratio(Cpu, "bun", 1.0),
            Ratio(Cpu, "unmeasured", LEDGER),
            Ratio(Cpu, "threads", f64::INFINITY),
        ],
    },
    Case {
        name: "bystander",
        title: "bystander echo beside 10 messages/s to 8,000 members",
        mode: "fanout",
        path: ROOM,
        options: &["--subscribers", "8000", "--size", "64", "--rate", "10", "--bystander", ECHO],
        metrics: &[BystanderP50, BystanderP99, Cpu],
        goals: &[Ratio(BystanderP50, "bun", 0.1), Ratio(BystanderP99, "bun", 0.1)],
    },
    Case {
        name: "open-400",
        title: "open loop at 400 messages/s to 1,000: p50",
        mode: "fanout",
        path: ROOM,
        options: &["--subscribers", "1000", "--publishers", "1", "--size", "64", "--rate", "400"],
        metrics: &[P50, Cpu],
        goals: &[Ratio(P50, "bun", 0.8)],
    },
    Case {
        name: "connect",
        title: "handshakes: CPU per connection",
        mode: "connect",
        path: "/echo",
        options: &["--concurrency", "64"],
        metrics: &[Cpu],
        goals: &[Ratio(Cpu, "bare", 1.05)],
    },
    Case {
        name: "idle",
        title: "idle: own memory per plain connection at 10,000",
        mode: "idle",
        path: "/echo",
        options: &["--connections", "10000"],
        metrics: &[OwnBytes],
        goals: &[Most(OwnBytes, 256.0)],
    },
];

impl Case {
    /// Whether the mode takes `--seconds`.
    pub(crate) fn is_timed(&self) -> bool {
        self.mode != "idle"
    }

    /// Whether the case needs an echo, which not every peer has.
    pub(crate) fn needs_echo(&self) -> bool {
        self.path == "/echo" || self.options.contains(&ECHO)
    }
}

impl Goal {
    /// What is looked at.
    #[cfg(test)]
    pub(crate) fn metric(self) -> Metric {
        match self {
            Ratio(metric, ..) | Most(metric, _) => metric,
        }
    }

    /// Whom it compares with.
    pub(crate) fn peer(self) -> Option<&'static str> {
        match self {
            Ratio(_, peer, _) => Some(peer),
            Most(..) => None,
        }
    }

    /// As in "at most 1.03 × bare".
    pub(crate) fn words(self) -> String {
        match self {
            Ratio(metric, peer, most) if most.is_infinite() => format!("{}: beside {peer}", metric.words()),
            Ratio(metric, peer, most) => format!("{}: ≤ {most} × {peer}", metric.words()),
            Most(metric, most) => format!("{}: ≤ {most}", metric.words()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::peers::PEERS;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_case_has_a_name_of_its_own_and_goals_that_can_be_judged() {
        let names: BTreeSet<&str> = CASES.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), CASES.len());
        for case in CASES {
            assert!(!case.goals.is_empty(), "{}", case.name);
            for goal in case.goals {
                assert!(case.metrics.contains(&goal.metric()), "{}", case.name);
                if let Some(peer) = goal.peer() {
                    assert!(PEERS.iter().any(|known| known.name == peer), "{}: {peer}", case.name);
                }
            }
        }
    }

    #[test]
    fn a_goal_can_be_read() {
        assert_eq!(Ratio(Cpu, "bare", 1.03).words(), "CPU, µs: ≤ 1.03 × bare");
        assert_eq!(Most(OwnBytes, 256.0).words(), "own memory, bytes: ≤ 256");
    }
}
