//! Plots as SVG: lines over axes that are logarithmic or not.

use std::fmt::Write as _;

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
    /// Whether the horizontal axis is logarithmic; the vertical one always is.
    pub logarithmic: bool,
    /// What is drawn.
    pub lines: Vec<Line>,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
/// Left of the axes, right of them (for the names), above, below.
const MARGINS: (f64, f64, f64, f64) = (70.0, 160.0, 40.0, 50.0);
/// Colours that people who see few of them tell apart (Okabe and Ito), then dashed.
const COLOURS: [&str; 7] = ["#000000", "#e69f00", "#56b4e9", "#009e73", "#d55e00", "#0072b2", "#cc79a7"];

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

/// One axis: from values to the page.
struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>, logarithmic: bool, from: f64, to: f64) -> Self {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = match (low.is_finite(), logarithmic) {
            (false, _) => (1.0, 10.0),
            (true, true) => (10_f64.powf(low.log10().floor()), 10_f64.powf((high.log10() + 1e-9).ceil().max(low.log10().floor() + 1.0))),
            (true, false) => (0.0, high * 1.05),
        };
        Self { low, high, logarithmic, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let part = if self.logarithmic {
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + part * (self.to - self.from)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let decades = (self.high / self.low).log10().round() as i32;
            return (0..=decades).map(|decade| self.low * 10_f64.powi(decade)).collect();
        }
        let step = 10_f64.powf((self.high / 5.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| step * times).find(|step| self.high / step <= 8.0).unwrap_or(step);
        (0..=(self.high / step) as u32).map(|tick| f64::from(tick) * step).collect()
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
    fn draw(&self, text: &mut String) {
        let (left, right, top, bottom) = MARGINS;
        // Nothing that a logarithm has no place for.
        let shown = |point: &&(f64, f64)| point.1 > 0.0 && (point.0 > 0.0 || !self.logarithmic);
        let points = || self.lines.iter().flat_map(|(_, points)| points.iter().filter(shown));
        let x = Axis::new(points().map(|point| point.0), self.logarithmic, left, WIDTH - right);
        let y = Axis::new(points().map(|point| point.1), true, HEIGHT - bottom, top);
        let _ = writeln!(text, "<text x=\"{left}\" y=\"22\" font-size=\"15\">{}</text>", escaped(&self.title));
        let _ = writeln!(text, "<text x=\"{left}\" y=\"{}\">{}</text>", HEIGHT - 12.0, escaped(&self.x));
        let _ = writeln!(text, "<text transform=\"translate(16 {}) rotate(-90)\">{}</text>", HEIGHT - bottom, escaped(&self.y));
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
        for (index, (name, points)) in self.lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let dash = if index < COLOURS.len() { "" } else { " stroke-dasharray=\"6 3\"" };
            let places: Vec<String> =
                points.iter().filter(shown).map(|point| format!("{:.1},{:.1}", x.place(point.0), y.place(point.1))).collect();
            let _ =
                writeln!(text, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>", places.join(" "));
            let line = top + 12.0 + 18.0 * index as f64;
            let from = WIDTH - right + 12.0;
            let _ = writeln!(text, "<path d=\"M{from} {line}h24\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>");
            let _ = writeln!(text, "<text x=\"{}\" y=\"{}\">{}</text>", from + 30.0, line + 4.0, escaped(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_where_they_belong() {
        let axis = Axis::new([20.0, 5000.0].into_iter(), true, 0.0, 300.0);
        assert_eq!((axis.low, axis.high), (10.0, 10_000.0));
        assert_eq!(axis.ticks(), [10.0, 100.0, 1000.0, 10_000.0]);
        assert!((axis.place(100.0) - 100.0).abs() < 1e-9);
        let axis = Axis::new([40_000.0, 100_000.0].into_iter(), false, 0.0, 105.0);
        assert_eq!(axis.ticks(), [0.0, 20_000.0, 40_000.0, 60_000.0, 80_000.0, 100_000.0]);
        assert!((axis.place(40_000.0) - 40.0).abs() < 1e-9);
    }

    #[test]
    fn every_line_is_drawn_and_named() {
        let lines = vec![("a<b".to_owned(), vec![(1.0, 2.0), (10.0, 0.0), (100.0, 3.0)]), ("c".to_owned(), Vec::new())];
        let plot = Plot { title: "t".into(), x: "x".into(), y: "y".into(), logarithmic: true, lines };
        let text = svg(&[plot.clone(), plot]);
        assert_eq!(text.matches("<polyline").count(), 4);
        assert!(text.contains("a&lt;b") && !text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}
