//! Small plots as SVG, by hand: bars, and lines over a logarithmic axis. They are read
//! on dark and on light pages, so nothing has a background.

use std::fmt::Write;

const WIDTH: f64 = 780.0;
const BAR: f64 = 22.0;
const LABEL: f64 = 350.0;
const RIGHT: f64 = 90.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 48.0;
const COLOURS: [&str; 12] = [
    "#3572b0", "#c8553d", "#3c8d5a", "#8a5fb0", "#b08a2e", "#5b6770", "#2aa5a0", "#d4739a",
    "#8fb03a", "#6b4a2f", "#e08a3c", "#4a4fb0",
];

/// Horizontal bars, each with a name, a value and what is written behind it.
pub fn bars(title: &str, bars: &[(String, f64, String)]) -> String {
    let most = bars
        .iter()
        .map(|(_, value, _)| *value)
        .fold(f64::MIN_POSITIVE, f64::max);
    let height = MARGIN + BAR * bars.len() as f64;
    let mut out = head(title, height);
    for (place, (name, value, words)) in bars.iter().enumerate() {
        let y = 34.0 + BAR * place as f64;
        let length = value / most * (WIDTH - LABEL - RIGHT);
        let _ = write!(
            out,
            r#"<text x="{:.0}" y="{:.0}" text-anchor="end">{}</text>"#,
            LABEL - 8.0,
            y + 14.0,
            escaped(name)
        );
        let _ = write!(
            out,
            r#"<rect x="{LABEL}" y="{:.0}" width="{length:.1}" height="{:.0}" fill="{}"/>"#,
            y + 3.0,
            BAR - 7.0,
            COLOURS[0]
        );
        let _ = writeln!(
            out,
            r#"<text x="{:.1}" y="{:.0}">{}</text>"#,
            LABEL + length + 6.0,
            y + 14.0,
            escaped(words)
        );
    }
    out.push_str("</svg>\n");
    out
}

/// A curve with its name.
pub type Curve = (String, Vec<(f64, f64)>);

/// Curves over two logarithmic axes.
pub fn curves(title: &str, across: &str, up: &str, curves: &[Curve]) -> String {
    let points = || curves.iter().flat_map(|(_, points)| points);
    let (left, right) = decades(points().map(|(x, _)| *x));
    let (low, high) = decades(points().map(|(_, y)| *y));
    let place = |value: f64, from: f64, to: f64| (value.log10() - from) / (to - from);
    let x = |value: f64| MARGIN + place(value, left, right) * (WIDTH - 2.0 * MARGIN);
    let y = |value: f64| HEIGHT - MARGIN - place(value, low, high) * (HEIGHT - 2.5 * MARGIN);
    let mut out = head(title, HEIGHT + 18.0 * curves.len() as f64);
    for decade in left as i32..=right as i32 {
        let at = x(10_f64.powi(decade));
        let label = number(10_f64.powi(decade));
        let _ = writeln!(
            out,
            r##"<line x1="{at:.1}" x2="{at:.1}" y1="{:.1}" y2="{:.1}" stroke="#888" stroke-opacity="0.3"/><text x="{at:.1}" y="{:.1}" text-anchor="middle">{label}</text>"##,
            y(10_f64.powf(low)),
            y(10_f64.powf(high)),
            HEIGHT - MARGIN + 16.0
        );
    }
    for decade in low as i32..=high as i32 {
        let at = y(10_f64.powi(decade));
        let label = number(10_f64.powi(decade));
        let _ = writeln!(
            out,
            r##"<line x1="{:.1}" x2="{:.1}" y1="{at:.1}" y2="{at:.1}" stroke="#888" stroke-opacity="0.3"/><text x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"##,
            MARGIN,
            WIDTH - MARGIN,
            MARGIN - 6.0,
            at + 4.0
        );
    }
    let _ = writeln!(
        out,
        r#"<text x="{:.0}" y="{:.0}" text-anchor="middle">{}</text><text x="{MARGIN}" y="40">{}</text>"#,
        WIDTH / 2.0,
        HEIGHT - 8.0,
        escaped(across),
        escaped(up)
    );
    for (number, (name, points)) in curves.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let line: Vec<String> = points
            .iter()
            .map(|(across, up)| format!("{:.1},{:.1}", x(*across), y(*up)))
            .collect();
        let _ = writeln!(
            out,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
            line.join(" ")
        );
        for point in &line {
            if let Some((cx, cy)) = point.split_once(',') {
                let _ = write!(
                    out,
                    r#"<circle cx="{cx}" cy="{cy}" r="3" fill="{colour}"/>"#
                );
            }
        }
        let below = HEIGHT + 12.0 + 18.0 * number as f64;
        let _ = writeln!(
            out,
            r#"<rect x="{MARGIN}" y="{:.0}" width="12" height="3" fill="{colour}"/><text x="{:.0}" y="{below:.0}">{}</text>"#,
            below - 5.0,
            MARGIN + 20.0,
            escaped(name)
        );
    }
    out.push_str("</svg>\n");
    out
}

fn head(title: &str, height: f64) -> String {
    let title = escaped(title);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" fill="#777" role="img" aria-label="{title}">
<text x="8" y="18" font-size="14" font-weight="bold">{title}</text>
"##
    )
}

/// Whole powers of ten around all values.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let logs: Vec<f64> = values
        .filter(|value| *value > 0.0)
        .map(f64::log10)
        .collect();
    let least = logs.iter().copied().fold(f64::INFINITY, f64::min).floor();
    let most = logs
        .iter()
        .copied()
        .fold(f64::NEG_INFINITY, f64::max)
        .ceil();
    if logs.is_empty() {
        (0.0, 1.0)
    } else {
        (least, most.max(least + 1.0))
    }
}

fn number(value: f64) -> String {
    if value >= 1.0 {
        format!("{value:.0}")
    } else {
        format!("{value}")
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::{bars, curves, decades};

    #[test]
    fn axes_are_whole_decades_around_the_values() {
        assert_eq!(decades([3.0, 40.0].into_iter()), (0.0, 2.0));
        assert_eq!(decades([100.0].into_iter()), (2.0, 3.0));
        assert_eq!(decades([0.0].into_iter()), (0.0, 1.0));
    }

    #[test]
    fn names_cannot_break_a_plot() {
        let name = "a<b & \"c\"".to_owned();
        for plot in [
            bars("t", &[(name.clone(), 1.0, name.clone())]),
            curves("t", "x", "y", &[(name.clone(), vec![(1.0, 1.0)])]),
        ] {
            assert!(plot.contains("a&lt;b &amp; &quot;c&quot;"), "{plot}");
        }
    }
}
