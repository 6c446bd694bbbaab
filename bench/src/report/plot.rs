//! Plots as SVG: lines with their points, over axes that are logarithmic or not.

use std::fmt::Write as _;

use super::table::{Row, is_ours};

/// A name, and its points.
pub type Line = (String, Vec<(f64, f64)>);

/// One plot.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// What the horizontal axis is.
    pub x: String,
    /// What the vertical axis is.
    pub y: String,
    /// How the two are divided.
    pub scales: (Scale, Scale),
    /// What is drawn.
    pub lines: Vec<Line>,
}

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From 0, evenly.
    Linear,
    /// The same quotient everywhere the same distance.
    Logarithmic,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
/// Left of the axes, right of them (for the names), above, below.
const MARGINS: (f64, f64, f64, f64) = (70.0, 160.0, 40.0, 50.0);
/// Colours that people who see few of them tell apart (Okabe and Ito); dashed the second time.
const COLOURS: [&str; 5] = ["#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2"];
/// Those of ours, whose lines are thicker, too.
const OURS: [&str; 2] = ["#d55e00", "#cc79a7"];

/// All of them, one below the other, as one document.
pub fn svg(plots: &[Plot]) -> String {
    let height = HEIGHT * plots.len() as f64;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (index, plot) in plots.iter().enumerate() {
        let _ = writeln!(text, "<g transform=\"translate(0 {})\">", HEIGHT * index as f64);
        plot.draw(&mut text);
        text.push_str("</g>\n");
    }
    text.push_str("</svg>\n");
    text
}

/// More ticks than that are not read.
const TICKS: usize = 9;

/// One axis: from values to the page.
struct Axis {
    low: f64,
    high: f64,
    scale: Scale,
    from: f64,
    to: f64,
}

/// The next of 1, 2, 5, 10, 20, .. that is no more than the value, or no less.
fn round(value: f64, up: bool) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let near = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * decade);
    // A value that is one of them, but for rounding, is its own.
    let found = if up {
        near.into_iter().find(|tick| *tick >= value * (1.0 - 1e-9))
    } else {
        near.into_iter().rev().find(|tick| *tick <= value * (1.0 + 1e-9))
    };
    found.unwrap_or(value)
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>, scale: Scale, from: f64, to: f64) -> Self {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = match scale {
            _ if !low.is_finite() => (1.0, 10.0),
            Scale::Logarithmic if low == high => (round(low, false), 2.0 * round(high, true)),
            Scale::Logarithmic => (round(low, false), round(high, true)),
            Scale::Linear => (0.0, high * 1.05),
        };
        Self { low, high, scale, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Logarithmic => (value / self.low).log10() / (self.high / self.low).log10(),
            Scale::Linear => (value - self.low) / (self.high - self.low),
        };
        self.from + part * (self.to - self.from)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.scale == Scale::Linear {
            // What is counted here comes in whole numbers.
            let step = round(self.high / TICKS as f64, true).max(1.0);
            return (0..=(self.high / step) as u32).map(|tick| f64::from(tick) * step).collect();
        }
        let mut ticks = vec![self.low];
        while ticks[ticks.len() - 1] < self.high * (1.0 - 1e-9) {
            ticks.push(round(ticks[ticks.len() - 1] * 1.5, true));
        }
        if ticks.len() > TICKS {
            ticks.retain(|tick| (tick.log10() - tick.log10().round()).abs() < 1e-9);
        }
        ticks
    }
}

fn label(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", value / 1e6),
        value if value >= 1e3 => format!("{}k", value / 1e3),
        value => format!("{}", (value * 1e6).round() / 1e6),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

impl Plot {
    /// Of these, without points.
    pub fn new(title: impl Into<String>, x: impl Into<String>, y: impl Into<String>, names: &[&str]) -> Self {
        let lines = names.iter().map(|name| ((*name).to_owned(), Vec::new())).collect();
        Self { title: title.into(), x: x.into(), y: y.into(), scales: (Scale::Logarithmic, Scale::Logarithmic), lines }
    }

    /// The same with other scales.
    #[must_use]
    pub fn scaled(self, x: Scale, y: Scale) -> Self {
        Self { scales: (x, y), ..self }
    }

    /// One more point for each of those who have a figure in the row.
    pub fn add(&mut self, x: f64, row: &Row) {
        for (line, cell) in self.lines.iter_mut().zip(&row.cells) {
            line.1.extend(cell.map(|cell| (x, cell.value.value)));
        }
    }

    fn draw(&self, text: &mut String) {
        let (left, right, top, bottom) = MARGINS;
        // Nothing that a logarithm has no place for.
        let placed = |value: f64, scale| value.is_finite() && (value > 0.0 || scale == Scale::Linear);
        let shown = |point: &&(f64, f64)| placed(point.0, self.scales.0) && placed(point.1, self.scales.1);
        let points = || self.lines.iter().flat_map(|(_, points)| points.iter().filter(shown));
        let x = Axis::new(points().map(|point| point.0), self.scales.0, left, WIDTH - right);
        let y = Axis::new(points().map(|point| point.1), self.scales.1, HEIGHT - bottom, top);
        let (middle, centre) = ((left + WIDTH - right) / 2.0, (top + HEIGHT - bottom) / 2.0);
        let _ = writeln!(text, "<text x=\"{left}\" y=\"24\" font-size=\"15\">{}</text>", escaped(&self.title));
        let _ = writeln!(text, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>", HEIGHT - 14.0, escaped(&self.x));
        let turned = format!("transform=\"translate(16 {centre}) rotate(-90)\" text-anchor=\"middle\"");
        let _ = writeln!(text, "<text {turned}>{}</text>", escaped(&self.y));
        for tick in x.ticks() {
            let at = x.place(tick);
            let _ = writeln!(text, "<path d=\"M{at:.1} {top}V{}\" stroke=\"#ddd\"/>", HEIGHT - bottom);
            let _ = writeln!(text, "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>", HEIGHT - bottom + 16.0, label(tick));
        }
        for tick in y.ticks() {
            let at = y.place(tick);
            let _ = writeln!(text, "<path d=\"M{left} {at:.1}H{}\" stroke=\"#ddd\"/>", WIDTH - right);
            let _ = writeln!(text, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", left - 6.0, at + 4.0, label(tick));
        }
        let (mut ours, mut others) = (0, 0);
        for (index, (name, points)) in self.lines.iter().enumerate() {
            let (colours, before, width) = if is_ours(name) { (&OURS[..], &mut ours, 3) } else { (&COLOURS[..], &mut others, 2) };
            let colour = colours[*before % colours.len()];
            let dash = if *before < colours.len() { "" } else { " stroke-dasharray=\"6 3\"" };
            *before += 1;
            let places: Vec<String> =
                points.iter().filter(shown).map(|point| format!("{:.1},{:.1}", x.place(point.0), y.place(point.1))).collect();
            let _ = writeln!(
                text,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"{dash}/>",
                places.join(" ")
            );
            for place in &places {
                let (x, y) = place.split_once(',').unwrap_or_default();
                let _ = writeln!(text, "<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{colour}\"/>");
            }
            let line = top + 12.0 + 18.0 * index as f64;
            let from = WIDTH - right + 12.0;
            let _ = writeln!(text, "<path d=\"M{from} {line}h24\" stroke=\"{colour}\" stroke-width=\"{width}\"{dash}/>");
            let _ = writeln!(text, "<text x=\"{}\" y=\"{}\">{}</text>", from + 30.0, line + 4.0, escaped(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_where_they_belong() {
        let axis = |values: [f64; 2], scale| Axis::new(values.into_iter(), scale, 0.0, 300.0);
        let decades = axis([10.0, 10_000.0], Scale::Logarithmic);
        assert_eq!((decades.low, decades.high), (10.0, 10_000.0));
        assert_eq!(decades.ticks(), [10.0, 100.0, 1000.0, 10_000.0]);
        assert!((decades.place(100.0) - 100.0).abs() < 1e-9);
        // A narrow range has the numbers between two decades, too.
        let narrow = axis([5.4, 13.0], Scale::Logarithmic);
        assert_eq!(narrow.ticks(), [5.0, 10.0, 20.0]);
        let linear = axis([40_000.0, 100_000.0], Scale::Linear);
        assert_eq!(linear.ticks(), [0.0, 20_000.0, 40_000.0, 60_000.0, 80_000.0, 100_000.0]);
        assert!((linear.place(105_000.0) - 300.0).abs() < 1e-9);
        assert_eq!(axis([1.0, 2.0], Scale::Linear).ticks(), [0.0, 1.0, 2.0]);
    }

    #[test]
    fn every_line_is_drawn_and_named() {
        let lines =
            vec![("a<b".to_owned(), vec![(1.0, 2.0), (10.0, 0.0), (50.0, f64::INFINITY), (100.0, 3.0)]), ("c".to_owned(), Vec::new())];
        let plot = Plot { title: "t".into(), x: "x".into(), y: "y".into(), scales: (Scale::Logarithmic, Scale::Logarithmic), lines };
        let text = svg(&[plot.clone(), plot]);
        assert_eq!(text.matches("<polyline").count(), 4);
        assert!(text.contains("a&lt;b") && !text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}
