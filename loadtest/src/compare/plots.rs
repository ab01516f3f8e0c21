//! The plots of the report, as SVG.

use super::outcome::Outcome;
use super::stats::short;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::error::Error;

const SIZE: (u32, u32) = (760, 360);

/// A colour for each peer, by its place in the table of peers.
const COLOURS: [RGBColor; 11] = [
    RGBColor(200, 30, 60),
    RGBColor(240, 150, 160),
    RGBColor(40, 40, 40),
    RGBColor(150, 150, 150),
    RGBColor(31, 119, 180),
    RGBColor(255, 127, 14),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
    RGBColor(227, 119, 194),
    RGBColor(23, 190, 207),
];

/// The peer's colour.
pub(crate) fn colour(peer: &str) -> RGBColor {
    let place = super::peers::PEERS.iter().position(|known| known.name == peer).unwrap_or_default();
    COLOURS[place % COLOURS.len()]
}

/// Named numbers as bars, one below the other, each with its name and its number beside it.
///
/// # Errors
/// When it cannot be drawn.
pub(crate) fn bars(title: &str, bars: &[(&str, f64)]) -> Result<String, Box<dyn Error>> {
    let longest = bars.iter().map(|(_, value)| *value).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let mut svg = String::new();
    {
        let root =
            SVGBackend::with_string(&mut svg, (SIZE.0, 90 + 26 * bars.len() as u32)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 17))
            .margin(10)
            .x_label_area_size(30)
            .build_cartesian_2d(0.0..longest * 1.35, bars.len() as f64..0.0)?;
        chart.configure_mesh().disable_y_mesh().disable_y_axis().draw()?;
        let beside = TextStyle::from(("sans-serif", 13)).pos(Pos::new(HPos::Left, VPos::Center));
        for (place, (name, value)) in bars.iter().enumerate() {
            let (top, bottom) = (place as f64 + 0.15, place as f64 + 0.85);
            let bar = Rectangle::new([(0.0, top), (*value, bottom)], colour(name).filled());
            let words = format!("{name}  {}", short(*value));
            let text = Text::new(words, (value + longest * 0.01, (top + bottom) / 2.0), beside.clone());
            chart.draw_series([bar])?;
            chart.draw_series([text])?;
        }
        root.present()?;
    }
    Ok(svg)
}

/// Latency by percentile, both axes logarithmic: each further step to the right is one nine more.
///
/// # Errors
/// When it cannot be drawn.
pub(crate) fn percentiles(title: &str, lines: &[(&str, Vec<(f64, f64)>)]) -> Result<String, Box<dyn Error>> {
    let points = || lines.iter().flat_map(|(_, line)| line.iter());
    // An axis without an end would never be drawn to its end.
    let low = points().map(|point| point.1).reduce(f64::min).unwrap_or(1.0).max(1e-4);
    let high = points().map(|point| point.1).fold(low * 2.0, f64::max);
    let right = points().map(|point| point.0).fold(100.0, f64::max);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 17))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .build_cartesian_2d((1.0..right).log_scale(), (low * 0.8..high * 1.25).log_scale())?;
        chart
            .configure_mesh()
            .x_label_formatter(&|nines: &f64| format!("{} %", ((1.0 - 1.0 / nines) * 1e8).round() / 1e6))
            .y_desc("ms")
            .x_desc("percentile")
            .draw()?;
        for (name, line) in lines {
            let series = LineSeries::new(line.iter().copied(), colour(name).stroke_width(2));
            chart.draw_series(series)?.label(*name).legend(key(name));
        }
        legend(&mut chart)?;
        root.present()?;
    }
    Ok(svg)
}

fn key(name: &str) -> impl Fn((i32, i32)) -> Rectangle<(i32, i32)> + 'static {
    let colour = colour(name);
    move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled())
}

fn legend<'a, C: CoordTranslate>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, C>,
) -> Result<(), Box<dyn Error>> {
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::UpperRight).border_style(BLACK.mix(0.3));
    labels.background_style(WHITE.mix(0.85)).label_font(("sans-serif", 13));
    labels.draw().map_err(|error| error.to_string().into())
}

/// The line of a peer: its rounds' histograms together, as `1 / (1 - share)` and ms.
pub(crate) fn line(rounds: &[Option<Outcome>]) -> Vec<(f64, f64)> {
    let mut steps: Vec<(f64, u64)> =
        rounds.iter().flatten().flat_map(|outcome| outcome.histogram.iter().copied()).collect();
    steps.sort_by(|one, other| one.0.total_cmp(&other.0));
    let total: u64 = steps.iter().map(|(_, count)| count).sum();
    let mut below = 0;
    let mut line = Vec::new();
    for (upper, count) in steps {
        below += count;
        // The last has nobody above it, and is drawn where half a message would be.
        let above = (total - below) as f64;
        line.push((total as f64 / above.max(0.5), upper.max(1e-4)));
    }
    thin(line)
}

/// At most some hundred points of a line: a plot shows no more.
fn thin(line: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    const STEP: f64 = 1.02;
    let mut kept: Vec<(f64, f64)> = Vec::new();
    let last = line.len().saturating_sub(1);
    for (place, point) in line.into_iter().enumerate() {
        if place == last || kept.last().is_none_or(|before| point.0 >= before.0 * STEP) {
            kept.push(point);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::outcome::canned;
    use super::*;

    #[test]
    fn a_line_has_the_share_below_each_step() {
        let line = line(&[Some(canned(1.0, 0.25)), None, Some(canned(1.0, 0.25))]);
        assert_eq!(line.last(), Some(&(8_000.0, 1.5)));
        let half = line.iter().find(|(nines, _)| (nines - 2.0).abs() < 1e-9);
        assert_eq!(half, Some(&(2.0, 0.25)), "{line:?}");
    }

    #[test]
    fn plots_are_svg_with_a_name_for_every_peer() {
        let bars = bars("CPU", &[("fanline", 1.0), ("bun", 2.0)]).expect("drawn");
        assert!(bars.starts_with("<svg") && bars.contains("fanline") && bars.contains("bun"));
        let lines = [("fanline", line(&[Some(canned(1.0, 0.25))]))];
        let plot = percentiles("latency", &lines).expect("drawn");
        assert!(plot.contains("<polyline") && plot.contains("percentile"));
    }

    #[test]
    fn nothing_measured_is_an_empty_plot() {
        assert!(bars("CPU", &[]).is_ok());
        assert!(percentiles("latency", &[]).is_ok());
    }
}
