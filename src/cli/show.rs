//! How numbers, times, names and tables are shown.

use std::io::{ErrorKind, Write};

use serde_json::Value;

use super::Failure;

/// Prints to stdout. Who has read enough, such as `head`, has not failed.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        printed => Ok(printed?),
    }
}

/// A text that cannot do anything to a terminal: somebody else may have written it.
pub(super) fn plain(text: &str) -> String {
    let plain = |c: char| match c {
        c if c.is_control() || is_invisible(c) => c.escape_unicode().collect::<String>(),
        c => c.to_string(),
    };
    text.chars().map(plain).collect()
}

/// JSON on a line of its own. What could do something to a terminal is escaped, which JSON allows in all its texts.
pub(super) fn json_line(value: &Value) -> String {
    let mut line = String::new();
    for c in value.to_string().chars() {
        match c {
            c if c.is_control() || is_invisible(c) => line += &format!("\\u{:04x}", u32::from(c)),
            c => line.push(c),
        }
    }
    line + "\n"
}

/// What changes the direction of what stands around it, or is not seen at all. The live page has the same list.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

/// A text of JSON; a dash where there is none.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".to_owned(), plain)
}

/// A number of JSON; 0 where there is none.
pub(super) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// Bytes in the unit that leaves at most four digits.
pub(super) fn bytes(bytes: u64) -> String {
    let mut scaled = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if scaled < 1000.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{scaled:.1} {unit}") };
        }
        scaled /= 1024.0;
    }
    format!("{scaled:.1} TiB")
}

/// Milliseconds in the two units that say the most.
pub(super) fn time(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{}.{} s", seconds, ms % 1000 / 100),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Microseconds as a reader takes them in.
pub(super) fn micros(us: u64) -> String {
    match us {
        0..1000 => format!("{us} µs"),
        1000..1_000_000 => format!("{:.1} ms", us as f64 / 1000.0),
        _ => format!("{:.1} s", us as f64 / 1_000_000.0),
    }
}

/// A column: its title, and whether it holds numbers, which stand to the right.
#[derive(Clone, Copy)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) is_number: bool,
}

pub(super) const fn words(title: &'static str) -> Column {
    Column { title, is_number: false }
}

pub(super) const fn figures(title: &'static str) -> Column {
    Column { title, is_number: true }
}

/// Rows under their titles, each column as wide as what stands in it; long texts are cut.
pub(super) fn table(columns: &[Column], rows: &[Vec<String>]) -> String {
    const WIDTH_MAX: usize = 40;
    let cut = |text: &str| match text.chars().count() {
        len if len > WIDTH_MAX => text.chars().take(WIDTH_MAX - 1).chain(['…']).collect(),
        _ => text.to_owned(),
    };
    let titles: Vec<String> = columns.iter().map(|column| column.title.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(titles)
        .chain(rows.iter().map(|row| row.iter().map(|cell| cut(cell)).collect()))
        .collect();
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let cells = row.iter().zip(columns).zip(&widths).map(|((cell, column), width)| {
            let pad = " ".repeat(width - cell.chars().count());
            if column.is_number { format!("{pad}{cell}") } else { format!("{cell}{pad}") }
        });
        out += cells.collect::<Vec<_>>().join("  ").trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_wrote_does_nothing_to_a_terminal() {
        assert_eq!(plain("房间 a\u{1b}[2Jb\n"), "房间 a\\u{1b}[2Jb\\u{a}");
        assert_eq!(plain("a\u{202e}b\u{61c}c\u{2028}d"), "a\\u{202e}b\\u{61c}c\\u{2028}d");
    }

    #[test]
    fn amounts_in_the_unit_that_says_them_best() {
        let rows =
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3.0 TiB")];
        for (count, want) in rows {
            assert_eq!(bytes(count), want);
        }
        let rows =
            [(0, "0 ms"), (1234, "1.2 s"), (61_000, "1m 01s"), (3_723_000, "1h 02m"), (90_000_000, "1d 01h")];
        for (ms, want) in rows {
            assert_eq!(time(ms), want);
        }
        let rows = [(7, "7 µs"), (1500, "1.5 ms"), (2_500_000, "2.5 s")];
        for (us, want) in rows {
            assert_eq!(micros(us), want);
        }
    }

    #[test]
    fn a_table_aligns_words_left_and_numbers_right() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["lobby".to_owned(), "12345678".to_owned()]];
        let shown = table(&[words("ROOM"), figures("MEMBERS")], &rows);
        assert_eq!(shown, "ROOM    MEMBERS\na             1\nlobby  12345678\n");
        let long = table(&[words("ROOM")], &[vec!["x".repeat(50)]]);
        assert_eq!(long.lines().last().unwrap().chars().count(), 40);
    }
}
