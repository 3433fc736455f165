//! The picture: a bar for each step, stacked on the step before, and everything else beside them. It is SVG, written
//! line by line: rectangles, lines and words.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::starts::Starts;
use crate::stats::digits;
use crate::subjects::Kind;

const WIDTH: f64 = 960.0;
/// Of a row, in pixels.
const ROW: f64 = 24.0;
/// Between two groups of rows.
const GAP: f64 = 14.0;
const ABOVE: f64 = 76.0;
const BELOW: f64 = 76.0;
const LABELS: f64 = 190.0;
const VALUES: f64 = 150.0;

const INK: &str = "#222B36";
const FAINT: &str = "#6B7684";
const LINE: &str = "#DDE2E8";
const BEFORE: &str = "#B9CFE4";
const ADDED: &str = "#1F6FB2";
const STATIC: &str = "#2E8B74";
const FLOOR: &str = "#9AA3AE";
const PEER: &str = "#D08C3C";

const NOTES: [&str; 2] = [
    "Blue: a step; light what the one before took, dark what it adds. Green: linked statically. Grey: the floor, a C \
     program for the same namespaces and mounts. Orange: other runners.",
    "Medians of starts back to back; the thin lines hold the middle half of them. To repeat: cargo bench -p bench -- \
     --save",
];

/// A picture as it grows.
struct Svg(String);

impl Svg {
    /// A rectangle by its left, right, top and bottom.
    fn rectangle(&mut self, x: (f64, f64), y: (f64, f64), color: &str) {
        let (width, height) = (x.1 - x.0, y.1 - y.0);
        self.0 += &format!(
            "<rect x=\"{:.0}\" y=\"{:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" fill=\"{color}\"/>\n",
            x.0, y.0
        );
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), color: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.0 += &format!(
            "<line x1=\"{x1:.0}\" y1=\"{y1:.0}\" x2=\"{x2:.0}\" y2=\"{y2:.0}\" stroke=\"{color}\"/>\n"
        );
    }

    /// Words around a height, from (`start`), around (`middle`) or up to (`end`) a place.
    fn words(&mut self, at: (f64, f64), anchor: &str, size: f64, color: &str, words: &str) {
        let words = words.replace('&', "&amp;").replace('<', "&lt;");
        self.0 += &format!(
            "<text x=\"{:.0}\" y=\"{:.0}\" dy=\"0.5ex\" text-anchor=\"{anchor}\" font-family=\"sans-serif\" \
             font-size=\"{size}\" fill=\"{color}\">{words}</text>\n",
            at.0, at.1
        );
    }
}

/// Writes the starts back to back as SVG: the waiting for the kernel's grace periods in lone ones hides what the steps
/// add.
pub fn draw(starts: &Starts, file: &Path) -> anyhow::Result<()> {
    fs::write(file, paint(starts)).with_context(|| format!("cannot write {file:?}"))
}

fn paint(starts: &Starts) -> String {
    // The slowest peer would push everything else to the left: twice the slowest step is as far as it goes.
    let slowest = |kind: fn(Kind) -> bool| {
        let rows = starts.rows.iter().filter(|row| kind(row.subject.kind));
        rows.map(|row| row.back_to_back.quartiles().1).fold(0.0, f64::max)
    };
    let end = slowest(|_| true).min(2.0 * slowest(|kind| kind != Kind::Peer)) * 1.02;
    let x = |milliseconds: f64| LABELS + (WIDTH - LABELS - VALUES) * milliseconds.min(end) / end;
    let groups =
        starts.rows.windows(2).filter(|two| two[0].subject.kind != two[1].subject.kind).count();
    let bottom = ABOVE + starts.rows.len() as f64 * ROW + groups as f64 * GAP;
    let height = bottom + BELOW;

    let mut svg = Svg(format!(
        "<svg width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n"
    ));
    svg.rectangle((0.0, WIDTH), (0.0, height), "#FFFFFF");
    let title = "How long does it take to start /bin/true, and what does each step add?";
    svg.words((16.0, 24.0), "start", 16.0, INK, title);
    svg.words((16.0, 48.0), "start", 10.5, FAINT, &starts.conditions);
    let mut tick = 0.0;
    while tick < end {
        svg.line((x(tick), ABOVE), (x(tick), bottom + 6.0), LINE);
        svg.words((x(tick), bottom + 14.0), "middle", 9.7, FAINT, &format!("{tick} ms"));
        tick += if end > 12.0 { 5.0 } else { 1.0 };
    }
    svg.line((x(0.0), bottom), (x(end), bottom), LINE);
    if let Some(floor) = starts.rows.iter().find(|row| row.subject.name == "the floor") {
        let at = x(floor.back_to_back.median());
        svg.line((at, ABOVE), (at, bottom), FAINT);
    }

    let (mut top, mut last) = (ABOVE, None);
    for row in &starts.rows {
        let kind = row.subject.kind;
        let (median, (low, high)) = (row.back_to_back.median(), row.back_to_back.quartiles());
        // The kind and the median of the row above.
        let before = last
            .filter(|(above, _)| *above == kind && kind == Kind::Step)
            .map(|(_, median): (_, f64)| median);
        top += if last.is_some_and(|(above, _)| above != kind) { GAP } else { 0.0 };
        let bar = (top + 3.5, top + 20.5);
        let color = match kind {
            Kind::Step | Kind::Mine => ADDED,
            Kind::Static => STATIC,
            Kind::Floor => FLOOR,
            Kind::Peer => PEER,
        };
        svg.rectangle((x(0.0), x(median)), bar, color);
        if let Some(before) = before {
            svg.rectangle((x(0.0), x(before.min(median))), bar, BEFORE);
        }
        let middle = top + ROW / 2.0;
        if low < end {
            svg.line((x(low), middle), (x(high), middle), INK);
        }
        svg.words((LABELS - 8.0, middle), "end", 11.3, INK, &row.subject.name);
        let mut value = format!("{} ms", digits(median));
        if let Some(before) = before {
            let sign = if median < before { '−' } else { '+' };
            value += &format!("  ({sign}{})", digits((median - before).abs()));
        }
        if median > end {
            value = format!("→ {value}");
        }
        svg.words((x(high.max(median)) + 8.0, middle), "start", 10.5, INK, &value);
        top += ROW;
        last = Some((kind, median));
    }
    for (line, note) in [0.0, 18.0].into_iter().zip(NOTES) {
        svg.words((16.0, height - 34.0 + line), "start", 9.7, FAINT, note);
    }
    svg.0 + "</svg>\n"
}
