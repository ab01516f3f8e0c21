//! What a limit is counted in, and how it is written.

/// What a limit is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes; written as `65536`, `64KiB` or `16MiB`.
    Bytes,
    /// A number of things; written in digits.
    Count,
    /// Time; written as `250ms`, `10s` or `2m`, kept in whole milliseconds.
    Time,
}

impl Unit {
    /// Reads a number that is written in this unit: a plain number, bytes, or milliseconds.
    pub fn parse(self, text: &str) -> Option<u64> {
        let units: &[(&str, u64)] = match self {
            Unit::Count => &[("", 1)],
            Unit::Bytes => &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1), ("", 1)],
            Unit::Time => &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)],
        };
        parse_scaled(text.trim(), units)
    }

    /// Writes a number the way [`Unit::parse`] reads it.
    pub fn show(self, value: u64) -> String {
        match self {
            Unit::Count => value.to_string(),
            Unit::Bytes => show_scaled(value, &[("MiB", 1 << 20), ("KiB", 1 << 10)], ""),
            Unit::Time => show_scaled(value, &[("s", 1000)], "ms"),
        }
    }

    /// What is accepted, in words.
    pub fn words(self) -> &'static str {
        match self {
            Unit::Bytes => "bytes, such as 65536, 64KiB or 16MiB",
            Unit::Count => "a whole number",
            Unit::Time => "a time, such as 250ms, 10s or 2m",
        }
    }
}

fn show_scaled(value: u64, units: &[(&str, u64)], plain: &str) -> String {
    match units.iter().find(|(_, scale)| value >= *scale && value.is_multiple_of(*scale)) {
        Some((unit, scale)) => format!("{}{unit}", value / scale),
        None => format!("{value}{plain}"),
    }
}

fn parse_scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let (_, scale) = units.iter().find(|(unit, _)| *unit == text[digits.len()..].trim_start())?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Anything past 2^53 is a mistake, and keeps every later sum far from overflow.
    digits.parse::<u64>().ok()?.checked_mul(*scale).filter(|value| *value <= 1 << 53)
}
