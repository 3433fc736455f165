//! The picture: a bar for each step, stacked on the step before, and everything else beside them.

use std::path::Path;

use anyhow::Context;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::starts::{Row, Starts};
use crate::stats::digits;
use crate::subjects::Kind;

const WIDTH: u32 = 960;
/// Of a row, in pixels.
const ROW: u32 = 24;
/// Between two groups of rows.
const GAP: f64 = 0.6;
const ABOVE: u32 = 76;
const BELOW: u32 = 76;
const LABELS: u32 = 190;

const INK: RGBColor = RGBColor(0x22, 0x2b, 0x36);
const FAINT: RGBColor = RGBColor(0x6b, 0x76, 0x84);
const LINE: RGBColor = RGBColor(0xdd, 0xe2, 0xe8);
const BEFORE: RGBColor = RGBColor(0xb9, 0xcf, 0xe4);
const ADDED: RGBColor = RGBColor(0x1f, 0x6f, 0xb2);
const STATIC: RGBColor = RGBColor(0x2e, 0x8b, 0x74);
const FLOOR: RGBColor = RGBColor(0x9a, 0xa3, 0xae);
const PEER: RGBColor = RGBColor(0xd0, 0x8c, 0x3c);

/// A bar: where it stands, and what came before it, if it is a step.
struct Bar<'a> {
    row: &'a Row,
    top: f64,
    before: Option<f64>,
}

/// Writes the starts back to back as SVG: the waiting for the kernel's grace periods in lone ones hides what the steps add.
pub fn draw(starts: &Starts, file: &Path) -> anyhow::Result<()> {
    paint(starts, file)
        .map_err(|err| anyhow::anyhow!("{err}"))
        .with_context(|| format!("cannot draw {file:?}"))
}

fn bars(starts: &Starts) -> Vec<Bar<'_>> {
    let mut bars: Vec<Bar> = Vec::new();
    for row in &starts.rows {
        let last = bars.last();
        let same = last.is_some_and(|last| last.row.subject.kind == row.subject.kind);
        let top = last.map_or(0.0, |last| last.top + if same { 1.0 } else { 1.0 + GAP });
        let step = row.subject.kind == Kind::Step;
        let before = if !step {
            None
        } else {
            Some(last.filter(|_| same).map_or(0.0, |last| last.row.back_to_back.median()))
        };
        bars.push(Bar { row, top, before });
    }
    bars
}

fn paint(starts: &Starts, file: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let bars = bars(starts);
    let rows = bars.last().map_or(0.0, |bar| bar.top) + 1.0;
    let height = ABOVE + BELOW + (rows * f64::from(ROW)) as u32;
    // The slowest peer would push everything else to the left: twice the slowest step is as far as it goes.
    let slowest = |kind: fn(Kind) -> bool| {
        let rows = starts.rows.iter().filter(|row| kind(row.subject.kind));
        rows.map(|row| row.back_to_back.quartiles().1).fold(0.0, f64::max)
    };
    let end = slowest(|_| true).min(2.0 * slowest(|kind| kind != Kind::Peer)) * 1.02;

    let root = SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let text = |size: u32, color: &RGBColor, h: HPos, v: VPos| {
        ("sans-serif", size).into_font().color(color).pos(Pos::new(h, v))
    };
    let title = text(20, &INK, HPos::Left, VPos::Center);
    root.draw_text(
        "How long does it take to start /bin/true, and what does each step add?",
        &title,
        (16, 24),
    )?;
    let small = text(13, &FAINT, HPos::Left, VPos::Center);
    root.draw_text(&starts.conditions, &small, (16, 48))?;

    let mut chart = ChartBuilder::on(&root)
        .margin_top(ABOVE)
        .margin_bottom(BELOW - 22)
        .margin_right(150)
        .margin_left(LABELS)
        .x_label_area_size(22)
        .build_cartesian_2d(0.0..end, rows..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .bold_line_style(LINE)
        .axis_style(LINE)
        .x_labels(10)
        .x_label_formatter(&|ms| format!("{ms} ms"))
        .label_style(text(12, &FAINT, HPos::Center, VPos::Top))
        .draw()?;

    if let Some(floor) = starts.rows.iter().find(|row| row.subject.name == "the floor") {
        let at = floor.back_to_back.median();
        let line = PathElement::new([(at, 0.0), (at, rows)], FAINT.stroke_width(1));
        chart.plotting_area().draw(&line)?;
    }
    for bar in &bars {
        let (median, (low, high)) =
            (bar.row.back_to_back.median(), bar.row.back_to_back.quartiles());
        let (top, bottom) = (bar.top + 0.14, bar.top + 0.86);
        let rectangle = |from: f64, to: f64, color: RGBColor| {
            let to = to.min(end);
            chart.plotting_area().draw(&Rectangle::new([(from, top), (to, bottom)], color.filled()))
        };
        match (bar.row.subject.kind, bar.before) {
            (_, Some(before)) => {
                rectangle(0.0, before.min(median), BEFORE)?;
                rectangle(before.min(median), median, ADDED)?;
            }
            (Kind::Static, _) => rectangle(0.0, median, STATIC)?,
            (Kind::Floor, _) => rectangle(0.0, median, FLOOR)?,
            (Kind::Mine, _) => rectangle(0.0, median, ADDED)?,
            _ => rectangle(0.0, median, PEER)?,
        }
        let middle = bar.top + 0.5;
        if low < end {
            let spread = [(low, middle), (high.min(end), middle)];
            chart.plotting_area().draw(&PathElement::new(spread, INK.stroke_width(1)))?;
        }
        let (_, y) = chart.backend_coord(&(0.0, middle));
        let label = text(14, &INK, HPos::Right, VPos::Center);
        root.draw_text(&bar.row.subject.name, &label, (LABELS as i32 - 8, y))?;
        let (x, _) = chart.backend_coord(&(high.max(median).min(end), middle));
        let mut value = format!("{} ms", digits(median));
        if let Some(before) = bar.before.filter(|before| *before > 0.0) {
            let sign = if median < before { '−' } else { '+' };
            value += &format!("  ({sign}{})", digits((median - before).abs()));
        }
        if median > end {
            value = format!("→ {value}");
        }
        root.draw_text(&value, &text(13, &INK, HPos::Left, VPos::Center), (x + 8, y))?;
    }
    let notes = [
        "Blue: a step; light what the one before took, dark what it adds. Green: linked statically. Grey: the floor, \
         a C program for the same namespaces and mounts. Orange: other runners.",
        "Medians of starts back to back; the thin lines hold the middle half of them. \
         To repeat: cargo bench -p bench -- --save",
    ];
    for (line, note) in (0..).zip(notes) {
        let place = (16, (height - 34) as i32 + 18 * line);
        root.draw_text(note, &text(12, &FAINT, HPos::Left, VPos::Center), place)?;
    }
    root.present()?;
    Ok(())
}
