//! A run as a picture: bytes over time.

use super::figures::{Figures, Sample};
use std::fmt::Write as _;

/// What is drawn, in which colour, and its height at a moment.
type Line = (&'static str, &'static str, fn(&Sample) -> f64);

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 40.0;

/// An SVG of what the origin sent and what the machines have, over time.
#[must_use]
pub fn svg(figures: &Figures, title: &str) -> String {
    let seconds = figures.makespan.max(figures.bound).max(1e-9);
    let most = figures.copies.max(1.0) * 1.05;
    let x = |at: f64| LEFT + at / seconds * (WIDTH - LEFT - 20.0);
    let y = |share: f64| HEIGHT - 50.0 - share / most * (HEIGHT - 50.0 - TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{LEFT}\" y=\"22\" font-size=\"14\">{}</text>\n",
        escaped(title)
    );
    axes(&mut svg, seconds, most, &x, &y);
    let bound = x(figures.bound);
    let (top, bottom) = (y(most), y(0.0));
    let _ = write!(
        svg,
        "<line x1=\"{bound:.1}\" y1=\"{top:.1}\" x2=\"{bound:.1}\" y2=\"{bottom:.1}\" stroke=\"#999\" stroke-dasharray=\"4 3\"/>\n\
         <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#777\" text-anchor=\"end\">bound</text>\n",
        bound - 4.0,
        top + 12.0
    );
    let lines: [Line; 3] = [
        ("copies from the origin", "#c0392b", |sample| sample.origin),
        ("held by a machine, mean", "#2471a3", |sample| sample.mean),
        ("held by the slowest", "#27ae60", |sample| sample.least),
    ];
    for (place, (name, colour, value)) in lines.iter().enumerate() {
        let points: Vec<String> = figures
            .samples
            .iter()
            .filter(|sample| sample.seconds <= seconds)
            .map(|sample| format!("{:.1},{:.1}", x(sample.seconds), y(value(sample))))
            .collect();
        let at = TOP + 24.0 + 18.0 * place as f64;
        let _ = write!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>\n\
             <line x1=\"{:.1}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\">{name}</text>\n",
            points.join(" "),
            LEFT + 14.0,
            LEFT + 40.0,
            LEFT + 46.0,
            at + 4.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn axes(svg: &mut String, seconds: f64, most: f64, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) {
    let (left, right, top, bottom) = (x(0.0), x(seconds), y(most), y(0.0));
    let _ = writeln!(svg, "<path d=\"M{left:.1} {top:.1} V{bottom:.1} H{right:.1}\" fill=\"none\" stroke=\"black\"/>");
    let step = step_of(seconds);
    let mut at = 0.0;
    while at <= seconds {
        let _ = writeln!(
            svg,
            "<line x1=\"{0:.1}\" y1=\"{bottom:.1}\" x2=\"{0:.1}\" y2=\"{1:.1}\" stroke=\"black\"/>\
             <text x=\"{0:.1}\" y=\"{2:.1}\" text-anchor=\"middle\">{3}</text>",
            x(at),
            bottom + 5.0,
            bottom + 18.0,
            (at * 1000.0).round() / 1000.0
        );
        at += step;
    }
    let _ = writeln!(svg, "<text x=\"{right:.1}\" y=\"{:.1}\" text-anchor=\"end\">seconds</text>", bottom + 36.0);
    let step = step_of(most);
    let mut share = 0.0;
    while share <= most {
        let _ = writeln!(
            svg,
            "<line x1=\"{:.1}\" y1=\"{1:.1}\" x2=\"{left:.1}\" y2=\"{1:.1}\" stroke=\"black\"/>\
             <text x=\"{2:.1}\" y=\"{3:.1}\" text-anchor=\"end\">{4}</text>",
            left - 5.0,
            y(share),
            left - 8.0,
            y(share) + 4.0,
            (share * 100.0).round() / 100.0
        );
        share += step;
    }
    let _ = writeln!(svg, "<text x=\"8\" y=\"{:.1}\">copies</text>", top - 6.0);
}

/// A round step that divides the axis into five to ten.
fn step_of(whole: f64) -> f64 {
    let power = 10_f64.powf((whole / 5.0).log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|factor| factor * power).rfind(|step| whole / step >= 5.0).unwrap_or(power)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
