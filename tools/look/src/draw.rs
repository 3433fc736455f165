//! From a picture to lines of text.

mod contents;
mod tree;

use crate::changes::Marks;
use crate::details::Details;
use crate::machine::Kind;
use crate::model::{Cell, Picture};
use crate::paper::{Line, Paper, Style, harmless};

use contents::{contents, limits};
use tree::tree;

/// What the two sides of `1000=0` are.
const OUTSIDE_INSIDE: &str = "outside=inside";

/// What stands above a column. (The root directory is not to be taken for the user.)
fn heading(kind: Kind) -> &'static str {
    if kind == Kind::Root { "root/" } else { kind.name() }
}

/// Draws everything. `sudo` is what to type to see more; nothing, if that is what has been done.
pub fn draw(
    picture: &Picture,
    details: &Details,
    marks: &Marks,
    paper: Paper,
    sudo: Option<&str>,
) -> Vec<Line> {
    let mut lines = Vec::new();
    if !picture.rows.is_empty() {
        lines.extend(tree(picture, marks, paper));
        lines.push(Line::default());
    }
    lines.extend(contents(picture, details, marks, paper));
    if !picture.containers.is_empty() {
        lines.push(Line::default());
        lines.extend(limits(picture, details, marks, paper));
    }
    let notes = notes(picture, sudo, paper);
    if !notes.is_empty() {
        lines.push(Line::default());
        lines.extend(notes);
    }
    lines
}

/// The last line of the screen: what the marks mean, and how to get out.
pub fn status(paper: Paper) -> Line {
    let mut line = Line::default();
    line.push(Style::Plain, " ");
    for (mark, what) in [("+", "new"), ("*", "changed"), ("-", "ended")] {
        line.push(Style::New, mark);
        line.push(Style::Dim, format!(" {what}   "));
    }
    line.push(
        Style::Dim,
        if paper.width >= 96 {
            "4 looks a second: what lives shorter is not seen     q or Ctrl-C ends"
        } else {
            "not seen: what lives less than 1/4 s   q: quit"
        },
    );
    line
}

/// What is not in the picture, and why.
fn notes(picture: &Picture, sudo: Option<&str>, paper: Paper) -> Vec<Line> {
    let mut notes = Vec::new();
    let shown = |cell: Cell| picture.rows.iter().any(|row| row.cells.contains(&cell));
    if picture.rows.is_empty() {
        let far = if picture.hidden || picture.closed > 0 { ", as far as you may see" } else { "" };
        notes.push(format!("There is no container here{far}. In another terminal type:"));
        notes.push("cargo run -qp step02_uts -- run sh".into());
    } else if !picture.contained && !shown(Cell::Closed) {
        notes.push("Nothing is isolated here: all of it is shared with the host.".to_string());
    }
    for (list, what, how) in [
        (&picture.folded, "more container", "(--all shows them)"),
        (&picture.services, "service", "fenced in by the system (--all)"),
    ] {
        let all: usize = list.iter().map(|(_, count)| count).sum();
        if all > 0 {
            let plural = if all == 1 { "" } else { "s" };
            notes.push(commas(format!("{all} {what}{plural} {how}: "), list, paper));
        }
    }
    notes.extend(match (shown(Cell::Closed), shown(Cell::Elsewhere)) {
        (true, true) => Some("? may be either, [?] is private: more is not for you to see.".into()),
        (true, false) => Some("? may be either: it is not for you to see.".into()),
        (false, true) => Some("[?] is private: more is not for you to see.".into()),
        (false, false) => None,
    });
    let missing = match picture.closed {
        _ if picture.hidden => "/proc hides other people's processes.".to_string(),
        0 => String::new(),
        1 => "1 process is not for you to look into.".into(),
        more => format!("{more} processes are not for you to look into."),
    };
    match sudo {
        _ if missing.is_empty() => {}
        // There is somebody who is more root than root: on another machine, if this is a container.
        None => notes.push(missing),
        Some(sudo) if 12 + missing.len() + sudo.len() < paper.width => {
            notes.push(format!("{missing} Root may: {sudo}"));
        }
        Some(sudo) => notes.extend([format!("{missing} Root may:"), sudo.to_string()]),
    }
    if !picture.astray.is_empty() {
        let kinds: Vec<&str> = picture.astray.iter().map(|kind| kind.name()).collect();
        notes.push("Here, the host's means: what look itself is in. PID 1 is elsewhere:".into());
        notes.push(kinds.join(" "));
    }
    let line = |note| Line(vec![(Style::Plain, format!(" {note}"))]);
    notes.into_iter().map(line).collect()
}

/// As many of the names as there is room for.
fn commas(mut text: String, names: &[(String, usize)], paper: Paper) -> String {
    for (at, (name, count)) in names.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        let times = if *count == 1 { String::new() } else { format!(" ×{count}") };
        let name = harmless(name) + &times;
        if text.chars().count() + comma.len() + name.chars().count() + 5 > paper.width {
            return text + comma + "…";
        }
        text += comma;
        text += &name;
    }
    text
}
