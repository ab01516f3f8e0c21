//! The machine and the moment, for the report.

use std::fs;
use std::process::Command;

/// Facts with their names.
pub(crate) fn facts() -> Vec<(&'static str, String)> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    // Not what this process may use: it has kept itself to one.
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    vec![
        ("processor", processor(&cpuinfo)),
        ("cores", cores.to_string()),
        ("kernel", fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()),
        ("date", says("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("commit", commit()),
    ]
}

fn processor(cpuinfo: &str) -> String {
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, model)| model.trim()).to_owned()
}

fn commit() -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let commit = says("git", &["-C", root, "rev-parse", "--short=12", "HEAD"]);
    let is_changed = !says("git", &["-C", root, "status", "--porcelain"]).is_empty();
    format!("{commit}{}", if is_changed { " with changes" } else { "" })
}

/// What a program prints, or nothing.
fn says(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_has_a_name() {
        assert_eq!(processor("flags : x\nmodel name\t: A Processor\n"), "A Processor");
        assert_eq!(processor(""), "unknown");
        assert!(facts().iter().any(|(name, value)| *name == "kernel" && !value.is_empty()));
    }
}
