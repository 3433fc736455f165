//! The tree of processes, and beside it a column for each kind of namespace.

use crate::changes::{Mark, Marks};
use crate::draw::heading;
use crate::machine::Kind;
use crate::model::{Cell, Picture, Row, letters};
use crate::paper::{Line, Paper, Style, harmless, head};

/// The columns of namespaces.
struct Matrix {
    kinds: Vec<Kind>,
    gap: usize,
    long: bool,
}

impl Matrix {
    fn new(picture: &Picture, paper: Paper) -> Matrix {
        let time = |row: &Row| {
            !matches!(row.cells[Kind::Time as usize], Cell::Host | Cell::None | Cell::Closed)
        };
        let time = picture.rows.iter().any(time);
        let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Time || time).collect();
        Matrix { kinds, gap: if paper.width >= 110 { 2 } else { 1 }, long: paper.width >= 96 }
    }

    fn heading(&self, kind: Kind) -> &'static str {
        if kind == Kind::Cgroup && !self.long { "cgrp" } else { heading(kind) }
    }

    fn width(&self, kind: Kind) -> usize {
        self.heading(kind).len().max(3)
    }

    fn total(&self) -> usize {
        let widths: usize = self.kinds.iter().map(|kind| self.width(*kind)).sum();
        widths + self.gap * (self.kinds.len() - 1)
    }

    fn headings(&self, line: &mut Line) {
        for (at, kind) in self.kinds.iter().enumerate() {
            if at > 0 {
                line.push(Style::Plain, " ".repeat(self.gap));
            }
            line.push(Style::Heading, format!("{:1$}", self.heading(*kind), self.width(*kind)));
        }
    }

    fn cells(&self, row: &Row, line: &mut Line) {
        for (at, kind) in self.kinds.iter().enumerate() {
            let (style, text) = match row.cells[*kind as usize] {
                _ if row.pid.is_none() => (Style::Plain, String::new()),
                Cell::Host => (Style::Dim, " · ".to_string()),
                Cell::Own(letter) => match letters(letter) {
                    short if short.len() == 1 => (Style::Own(letter), format!("[{short}]")),
                    long => (Style::Own(letter), long),
                },
                Cell::Elsewhere => (Style::Closed, "[?]".to_string()),
                Cell::Closed => (Style::Closed, " ? ".to_string()),
                Cell::None => (Style::Plain, String::new()),
            };
            if at > 0 {
                line.push(Style::Plain, " ".repeat(self.gap));
            }
            let room = self.width(*kind);
            let before = (room - 3) / 2;
            let after = room - before - text.chars().count();
            line.push(Style::Plain, " ".repeat(before));
            line.push(style, text);
            line.push(Style::Plain, " ".repeat(after));
        }
    }
}

fn user(uid: u32) -> String {
    match uid {
        0 => "root".into(),
        65534 => "nobody".into(),
        uid => uid.to_string(),
    }
}

/// The tree of processes, and beside it whose namespaces each of them is in.
pub fn tree(picture: &Picture, marks: &Marks, paper: Paper) -> Vec<Line> {
    let matrix = Matrix::new(picture, paper);
    let number = |row: &Row| row.pid.map_or(String::new(), |pid| pid.to_string());
    let inside = |row: &Row| row.inside.iter().map(|pid| format!("={pid}")).collect::<String>();
    let users = |row: &Row| {
        user(row.user) + &row.user_inside.map_or(String::new(), |uid| format!("={}", user(uid)))
    };
    let widest = |text: &dyn Fn(&Row) -> String| {
        picture
            .rows
            .iter()
            .filter(|row| row.pid.is_some())
            .map(|row| text(row).len())
            .max()
            .unwrap_or(0)
    };
    let numbers = widest(&number);
    let pids = numbers + widest(&inside);
    let users_width = widest(&users).max(4);
    let at_user = 1 + pids.max(3) + 1;
    let at_command = at_user + users_width + 1;
    let at_matrix = paper.width.saturating_sub(matrix.total()).max(at_command + 8);

    let mut above = Line::default();
    above.push(Style::Plain, " ");
    if picture.rows.iter().any(|row| !row.inside.is_empty() || row.user_inside.is_some()) {
        above.push(Style::Dim, "a=b: a outside, b inside");
    }
    let legend = legend(picture, paper);
    above.pad((paper.width.saturating_sub(legend.width())).min(at_matrix));
    above.0.extend(legend.0);
    let mut heading = Line::default();
    heading.push(Style::Plain, " ");
    heading.push(Style::Heading, "PID");
    heading.pad(at_user);
    heading.push(Style::Heading, "user");
    heading.pad(at_command);
    heading.push(Style::Heading, "command");
    heading.pad(at_matrix);
    matrix.headings(&mut heading);
    let mut lines = vec![above, heading];
    for row in &picture.rows {
        let mut line = Line::default();
        let mark = row.pid.and_then(|pid| marks.row(pid, row.started));
        let style = match mark {
            _ if row.ended => Style::Dim,
            Some(Mark::New | Mark::Changed) => Style::New,
            None => Style::Plain,
        };
        line.push(
            style,
            match mark {
                _ if row.ended => "-",
                Some(Mark::New) => "+",
                Some(Mark::Changed) => "*",
                None => " ",
            },
        );
        if row.pid.is_some() {
            line.push(style, format!("{:>numbers$}{}", number(row), inside(row)));
            line.pad(at_user);
            line.push(style, users(row));
        }
        line.pad(at_command);
        let branches = branches(row);
        let room = (at_matrix - at_command - 1).saturating_sub(branches.chars().count());
        line.push(Style::Dim, branches);
        line.push(style, command(row, room));
        line.pad(at_matrix);
        matrix.cells(row, &mut line);
        lines.push(line);
    }
    lines
}

/// As far to the right the tree grows.
const DEEP: usize = 24;

fn branches(row: &Row) -> String {
    let Some((last, before)) = row.branches.split_last() else { return String::new() };
    let mut text: String = before.iter().map(|more| if *more { "│ " } else { "  " }).collect();
    text += if *last { "├ " } else { "└ " };
    // Somebody may nest a hundred shells: the command is to be seen all the same.
    let length = text.chars().count();
    if length > DEEP {
        format!("…{}", text.chars().skip(length + 1 - DEEP).collect::<String>())
    } else {
        text
    }
}

fn command(row: &Row, room: usize) -> String {
    if row.pid.is_none() {
        return head(&format!("… {} more", row.count), room);
    }
    let crowd = if row.count > 1 { format!(" ×{}", row.count) } else { String::new() };
    let end = match (row.zombie, row.ended) {
        (_, true) => " (ended)",
        (true, _) => " (zombie)",
        _ => "",
    };
    let extra = crowd + end;
    let text = harmless(&row.command.join(" "));
    head(&text, room.saturating_sub(extra.chars().count())) + &extra
}

/// What the cells mean. It stands above them.
fn legend(picture: &Picture, paper: Paper) -> Line {
    let mut line = Line::default();
    line.push(Style::Dim, " ·");
    line.push(Style::Plain, " shared with the host  ");
    let letter = picture.containers.first().map_or(0, |first| first.letter);
    line.push(Style::Own(letter), format!("[{}]", letters(letter)));
    if paper.width >= 96 {
        line.push(Style::Plain, format!(" private to container {}", letters(letter)));
    } else {
        line.push(Style::Plain, " private");
    }
    line
}
