//! Text in colours, and what it is drawn on.

use std::fmt::Write;

use crate::model::Letter;

/// How a piece of text looks, where there are colours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Style {
    Plain,
    Heading,
    Dim,
    Own(Letter),
    Closed,
    New,
    Alarm,
}

impl Style {
    /// What switches it on: SGR, console_codes(4).
    fn code(self) -> &'static str {
        // Black on a light colour: seen from the last row, and by who does not see red.
        const OWN: [&str; 6] = ["30;42", "30;43", "30;46", "30;45", "37;44", "30;47"];
        match self {
            Style::Plain => "",
            Style::Heading => "1",
            Style::Dim => "2",
            Style::Own(letter) => OWN[letter % OWN.len()],
            Style::Closed => "33",
            Style::New => "1;33",
            Style::Alarm => "1;31",
        }
    }
}

/// A line: pieces of text, each in its style.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Line(pub Vec<(Style, String)>);

impl Line {
    pub fn push(&mut self, style: Style, text: impl Into<String>) {
        self.0.push((style, text.into()));
    }

    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// Blanks up to a column.
    pub fn pad(&mut self, column: usize) {
        let width = self.width();
        if width < column {
            self.push(Style::Plain, " ".repeat(column - width));
        }
    }

    /// The text, at most so wide.
    pub fn paint(&self, paper: Paper) -> String {
        let mut text = String::new();
        let mut left = paper.width;
        for (style, piece) in &self.0 {
            let piece: String = piece.chars().take(left).map(|c| paper.glyph(c)).collect();
            left -= piece.chars().count();
            if paper.colour && *style != Style::Plain && !piece.is_empty() {
                _ = write!(text, "\x1b[{}m{piece}\x1b[m", style.code());
            } else {
                text += &piece;
            }
        }
        if paper.colour { text } else { text.trim_end().to_string() }
    }
}

/// What is drawn on.
#[derive(Clone, Copy, Debug)]
pub struct Paper {
    /// In columns.
    pub width: usize,
    pub colour: bool,
    /// Whether it shows more than ASCII.
    pub unicode: bool,
}

impl Paper {
    fn glyph(self, c: char) -> char {
        if self.unicode {
            return c;
        }
        match c {
            '·' => '.',
            '│' => '|',
            '├' => '|',
            '└' => '`',
            '█' => '#',
            '▒' => '+',
            '░' => '-',
            '…' => '~',
            '×' => 'x',
            c if c.is_ascii() => c,
            _ => '?',
        }
    }
}

/// Text of somebody else's: nothing in it moves the cursor, and every character takes one column.
pub fn harmless(text: &str) -> String {
    let narrow = |c: char| (' '..='~').contains(&c) || ('\u{a1}'..='\u{24f}').contains(&c);
    text.chars().map(|c| if narrow(c) && c != '\u{ad}' { c } else { '\u{fffd}' }).collect()
}

/// As much of a text as there is room for, from its beginning.
pub fn head(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_string();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

/// The same from its end, as whole names of a path if one of them fits.
pub fn tail(text: &str, room: usize) -> String {
    let length = text.chars().count();
    if length <= room {
        return text.to_string();
    }
    let end: String = text.chars().skip(length + 1 - room.max(1)).collect();
    format!("…{}", end.find('/').map_or(&*end, |at| &end[at..]))
}

/// As many of the names as there is room for, and how many more there are.
pub fn list(names: &[String], room: usize) -> String {
    for shown in (0..=names.len()).rev() {
        let mut text = names[..shown].join(" ");
        if shown < names.len() {
            let space = if shown == 0 { "" } else { " " };
            _ = write!(text, "{space}+{}", names.len() - shown);
        }
        if text.chars().count() <= room {
            return text;
        }
    }
    "…".into()
}
