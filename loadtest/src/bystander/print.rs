//! The numbers in words and tables.

use super::Load;
use super::run::Numbers;
use crate::measure::{Cores, CpuShare, Faults, latency_table};
use std::time::Duration;

/// A message sent later than this after its plan is told.
pub(super) const LATE: Duration = Duration::from_millis(1);

/// What is about to be measured, and where.
pub(super) fn setting(load: &Load, cores: Option<Cores>, ours: bool) -> String {
    let place = match (cores, ours) {
        (Some(Cores { server, load }), _) => {
            format!("the server is kept to core {server} and the load to core {load}")
        }
        (None, true) => "server and load share the machine as the kernel likes".to_owned(),
        (None, false) => "the server runs as it was started".to_owned(),
    };
    format!(
        "{} members of one room get {} messages of {} B a second, all from one of them; a bystander has {} messages a second \
         echoed. Open loop: every latency counts from the planned time. {} s after {} s of warm-up; {place}.",
        load.members, load.rate, load.size, load.echo_rate, load.seconds, load.warm_up
    )
}

/// One measurement.
pub(super) fn numbers(numbers: &Numbers) -> String {
    let rows = [("bystander's echo", &numbers.echo), ("fan-out to a member", &numbers.fan_out)];
    format!("\n{}\n{}", latency_table(&rows), footing(numbers))
}

/// What a table of latencies is worth: whether all came, and who was busy.
pub(super) fn footing(numbers: &Numbers) -> String {
    let (came, due) = numbers.deliveries;
    let late = numbers.late.count_above(LATE);
    let server = numbers.server_cpu.map_or("unknown".to_owned(), share);
    let mut lines = vec![
        format!(
            "deliveries: {came} of {due}, each compared with what was sent: {}",
            faults(&numbers.room_faults)
        ),
        format!("echoes: {}", faults(&numbers.echo_faults)),
        format!(
            "of a core: load {}, server {server}; {late} of {} messages were sent over 1 ms after their plan (longest {:.3} ms)",
            share(numbers.own_cpu),
            numbers.late.count(),
            numbers.late.max().as_secs_f64() * 1e3
        ),
    ];
    if numbers.is_disturbed() {
        lines.push(
            "disturbed: other work held the cores, and the longer latencies are its doing as well".to_owned(),
        );
    }
    lines.extend(numbers.endings.iter().map(|(words, count)| format!("{count} connections {words}")));
    lines.join("\n")
}

fn faults(faults: &Faults) -> String {
    if faults.total() == 0 {
        return "all came once, in order, unaltered".to_owned();
    }
    let Faults { lost, doubled, swapped, altered } = faults;
    format!("{lost} lost, {doubled} doubled, {swapped} swapped, {altered} altered")
}

fn share(share: CpuShare) -> String {
    let waited =
        share.waited.map_or(String::new(), |waited| format!(" (waited for it {:.1} %)", waited * 100.0));
    format!("{:.0} %{waited}", share.used * 100.0)
}
