//! A result in words and tables.

use super::report::{Kind, Report};
use crate::measure::{CpuShare, latency_table, milliseconds};

/// An idle core cannot be told from one that waits for the server below this.
const BUSY: f64 = 0.97;

/// A server that does less than this share of what was asked did not keep up.
const KEPT_UP: f64 = 0.98;

/// All that there is to say.
pub(super) fn report(report: &Report) -> String {
    let name = format!("{}, {}", report.words.one, from(report.kind));
    let mut rows = vec![(name.as_str(), &report.latency)];
    rows.extend(report.bystander.as_ref().map(|echo| ("bystander's echo, from plan", echo)));
    let mut lines = vec![String::new(), latency_table(&rows).to_string(), rate(report)];
    if report.rate_asked.is_some_and(|asked| report.rate_achieved() < asked * KEPT_UP) {
        lines.push(
            "less came than was asked: where that lasts, the latencies are those of a growing queue"
                .to_owned(),
        );
    }
    lines.extend(plan(report));
    lines.push(format!("load: {} of a core", share(report.usage.load)));
    if report.kind == Kind::Service && report.usage.load.used >= BUSY {
        lines.push("the load was the slower side: its rate says nothing about the server".to_owned());
    }
    lines.push(server(report));
    lines.extend(report.own.as_ref().map(|own| own.beside(report)));
    lines.extend(report.errors.iter().map(|(kind, count)| format!("error: {count} {kind}")));
    lines.push(format!("verdict: {}", report.verdict));
    lines.join("\n")
}

fn from(kind: Kind) -> &'static str {
    match kind {
        Kind::Planned => "from plan",
        Kind::Service => "service time",
    }
}

fn rate(report: &Report) -> String {
    let rated = report.words.rated;
    let asked = match report.rate_asked {
        Some(rate) => format!("{rate:.1} {rated} a second asked, "),
        None => "closed loop: latencies are service times; ".to_owned(),
    };
    let (achieved, count, seconds) = (report.rate_achieved(), report.count, report.usage.seconds);
    let each = count as f64 / seconds;
    let also = if report.count_per_rated == 1.0 { String::new() } else { format!(", {each:.0} a second") };
    format!(
        "{asked}{achieved:.1} {rated} a second achieved ({count} × {} in {seconds:.2} s{also})",
        report.words.one
    )
}

fn plan(report: &Report) -> Option<String> {
    let late = report.late;
    (report.kind == Kind::Planned).then(|| {
        let longest = milliseconds(late.max);
        format!(
            "{} of {} sent over 1 ms after their plan (longest {longest:.3} ms)",
            late.count, late.planned
        )
    })
}

fn server(report: &Report) -> String {
    let Some((server, each)) = report.usage.server.zip(report.cpu_us_per_count()) else {
        return "server: its process is not known (--pid)".to_owned();
    };
    let used = server.cpu_seconds / report.usage.seconds;
    format!(
        "server: {} of a core, {:.3} s of processor time, {each:.3} µs per {}; {:.1} MiB resident",
        share(CpuShare { used, waited: server.waited }),
        server.cpu_seconds,
        report.words.one,
        server.resident as f64 / f64::from(1 << 20)
    )
}

fn share(share: CpuShare) -> String {
    let waited =
        share.waited.map_or(String::new(), |waited| format!(" (waited for it {:.1} %)", waited * 100.0));
    format!("{:.1} %{waited}", share.used * 100.0)
}
