//! A session as a picture of a terminal, SVG: for README, where a code host shows no more of a session than its text.
//!
//! It brings its own background, so that it can be read on a light page and on a dark one.

use crate::book::html::escape;
use crate::session::prompt;

/// Of a letter, in pixels: its size, and what it takes with the widest of the usual fonts.
const SIZE: usize = 14;
const LETTER: f64 = 8.5;
/// From a line to the next.
const LINE: usize = 20;
/// Around the whole.
const MARGIN: usize = 16;

const BACKGROUND: &str = "#161b22";
const FRAME: &str = "#6e7681";
const OUTPUT: &str = "#c9d1d9";
const TYPED: &str = "#ffffff";
const PROMPT: &str = "#7ee787";
/// Of the second terminal: what is behind its lines, and its prompt.
const HOST: &str = "#352a12";
const HOST_PROMPT: &str = "#f0b72f";

/// Draws a `console` block.
pub fn draw(block: &[String]) -> String {
    let lines = block.get(1..block.len().max(2) - 1).unwrap_or_default();
    let columns = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
    let width = (columns as f64 * LETTER) as usize + 2 * MARGIN;
    let height = lines.len() * LINE + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" fill=\"{OUTPUT}\" font-size=\"{SIZE}\" \
         font-family=\"ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace\">\n\
         <rect x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"8\" fill=\"{BACKGROUND}\" stroke=\"{FRAME}\"/>\n",
        width - 1,
        height - 1,
    );
    let mut host = false;
    for (number, line) in lines.iter().enumerate() {
        let top = MARGIN + number * LINE;
        let (prompt, rest) = line.split_at(prompt().find(line).map_or(0, |found| found.end()));
        host = if prompt.is_empty() { host } else { prompt.starts_with("host") };
        if host {
            let width = width - 2;
            svg += &format!(
                "<rect x=\"1\" y=\"{top}\" width=\"{width}\" height=\"{LINE}\" fill=\"{HOST}\"/>\n"
            );
        }
        svg += &format!("<text xml:space=\"preserve\" x=\"{MARGIN}\" y=\"{}\">", top + 15);
        if prompt.is_empty() {
            svg += &escape(rest);
        } else {
            let color = if host { HOST_PROMPT } else { PROMPT };
            svg += &format!("<tspan fill=\"{color}\">{prompt}</tspan>");
            svg +=
                &format!("<tspan fill=\"{TYPED}\" font-weight=\"bold\">{}</tspan>", escape(rest));
        }
        svg += "</text>\n";
    }
    svg + "</svg>\n"
}
