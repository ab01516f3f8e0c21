//! From OpenMetrics to the text format that came before it, whose names of families differ.

use std::collections::HashMap;

/// The same in the older format: there a counter's family is called like its samples, `_total` and all, and information is
/// a gauge; units and the end mark are not known.
pub(super) fn from_openmetrics(text: &str) -> String {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let types: HashMap<&str, &str> = types.collect();
    let mut out = String::with_capacity(text.len() + 1024);
    for line in text.lines() {
        let described = ["# HELP ", "# TYPE "].into_iter().find_map(|kind| {
            let (name, rest) = line.strip_prefix(kind)?.split_once(' ')?;
            Some((kind, name, rest))
        });
        let Some((kind, name, rest)) = described else {
            if !line.starts_with('#') {
                out.extend([line, "\n"]);
            }
            continue;
        };
        let (suffix, known_as) = match types.get(name).copied() {
            Some("counter") => ("_total", "counter"),
            Some("info") => ("_info", "gauge"),
            Some("unknown") | None => ("", "untyped"),
            Some(known) => ("", known),
        };
        let rest = if kind == "# TYPE " { known_as } else { rest };
        out.extend([kind, name, suffix, " ", rest, "\n"]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_renamed_and_samples_are_not() {
        let openmetrics = "# HELP a_b Some.\n# TYPE a_b counter\na_b_total{x=\"y z\"} 1\n\
                           # HELP t_seconds Time.\n# TYPE t_seconds gauge\n# UNIT t_seconds seconds\nt_seconds 2.5\n\
                           # HELP i What.\n# TYPE i info\ni_info{v=\"1\"} 1\n# EOF\n";
        let plain = "# HELP a_b_total Some.\n# TYPE a_b_total counter\na_b_total{x=\"y z\"} 1\n\
                     # HELP t_seconds Time.\n# TYPE t_seconds gauge\nt_seconds 2.5\n\
                     # HELP i_info What.\n# TYPE i_info gauge\ni_info{v=\"1\"} 1\n";
        assert_eq!(from_openmetrics(openmetrics), plain);
    }
}
