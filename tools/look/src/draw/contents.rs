//! The table of what is in the namespaces, and the limits.

use crate::cgroup::{Controller, Limit};
use crate::changes::Marks;
use crate::details::{Contents, Details, Value};
use crate::draw::{OUTSIDE_INSIDE, heading};
use crate::machine::Kind;
use crate::model::{Letter, Picture, letters};
use crate::paper::{Line, Paper, Style, harmless, head, list, tail};

/// A column of the table of what is inside: the kind, what is shown of it, its width, and from which width of the
/// paper on it is there.
struct Column {
    kind: Kind,
    what: &'static str,
    width: usize,
}

fn columns(paper: Paper) -> Vec<Column> {
    let room = |narrow: usize, wide: usize| if paper.width >= 96 { wide } else { narrow };
    let mut columns = vec![
        Column { kind: Kind::Uts, what: "hostname", width: room(11, 14) },
        Column { kind: Kind::Pid, what: "processes", width: 9 },
        Column { kind: Kind::Root, what: "directory", width: room(16, 22) },
        Column { kind: Kind::Mnt, what: "mounts", width: 6 },
        Column { kind: Kind::Ipc, what: "queues", width: 6 },
        Column { kind: Kind::Net, what: "interfaces", width: room(11, 14) },
        Column { kind: Kind::User, what: OUTSIDE_INSIDE, width: 14 },
    ];
    if paper.width < 96 {
        columns.retain(|column| column.kind != Kind::Ipc);
    }
    let spare = paper.width.saturating_sub(110) / 3;
    for column in &mut columns {
        if matches!(column.kind, Kind::Root | Kind::Net | Kind::User) {
            column.width += spare;
        }
    }
    columns
}

/// What is in the namespaces.
pub fn contents(picture: &Picture, details: &Details, marks: &Marks, paper: Paper) -> Vec<Line> {
    const LABEL: usize = 6;
    let columns = columns(paper);
    let mut lines = vec![Line::default(), Line::default()];
    lines[0].pad(LABEL + 1);
    lines[1].pad(LABEL + 1);
    for column in &columns {
        lines[0].push(Style::Heading, format!("{:1$} ", heading(column.kind), column.width));
        lines[1].push(Style::Dim, format!("{:1$} ", column.what, column.width));
    }
    let host = (None, &details.host);
    let shown = |letter: &Letter| picture.containers.iter().any(|one| one.letter == *letter);
    let rows = details.containers.iter().filter(|(letter, _)| shown(letter));
    let rows = rows.map(|(letter, contents)| (Some(*letter), contents));
    for (letter, contents) in [host].into_iter().chain(rows) {
        let mut line = Line::default();
        line.push(Style::Plain, " ");
        match letter {
            Some(letter) => line.push(Style::Own(letter), format!("[{}]", letters(letter))),
            None => line.push(Style::Plain, "host"),
        }
        line.pad(LABEL + 1);
        for column in &columns {
            let of_host = letter.is_some().then_some(&details.host);
            let (mut style, text) = value(contents, of_host, column);
            let changed = marks.value(letter, column.kind);
            let text = if changed { format!("{text}*") } else { text };
            if changed {
                style = Style::New;
            }
            let blank = (column.width + 1).saturating_sub(text.chars().count());
            line.push(style, text);
            line.push(Style::Plain, " ".repeat(blank));
        }
        lines.push(line);
    }
    lines
}

fn value(contents: &Contents, host: Option<&Contents>, column: &Column) -> (Style, String) {
    let value = &contents[column.kind as usize];
    // What only looks like the host's is said not to be: a copy of the hostname, another `lo`, another list of mounts.
    let own = match column.kind {
        Kind::Uts if host.is_some_and(|host| host[Kind::Uts as usize] == *value) => " too",
        Kind::Net | Kind::Mnt if host.is_some() => " own",
        _ => "",
    };
    let room = column.width - own.len();
    match value {
        Value::Shared => (Style::Dim, "host's".into()),
        Value::Of(letter) => (Style::Own(*letter), format!("[{}]", letters(*letter))),
        Value::Closed => (Style::Closed, "?".into()),
        Value::Names(names) => {
            let names: Vec<String> = names.iter().map(|name| harmless(name)).collect();
            (Style::Plain, list(&names, room) + own)
        }
        Value::Text(text) if column.kind == Kind::Root => {
            (Style::Plain, tail(&harmless(text), room))
        }
        // In quotes: a host may be called `host`.
        Value::Text(text) if column.kind == Kind::Uts => {
            (Style::Plain, format!("\"{}\"{own}", head(&harmless(text), room - 2)))
        }
        Value::Text(text) => (Style::Plain, head(&harmless(text), room) + own),
    }
}

/// The limits, as bars.
pub fn limits(picture: &Picture, details: &Details, marks: &Marks, paper: Paper) -> Vec<Line> {
    let mut lines = Vec::new();
    let shown = |letter: Letter| picture.containers.iter().any(|one| one.letter == letter);
    for limits in details.limits.iter().filter(|limits| shown(limits.letter)) {
        for (at, limit) in limits.limits.iter().flatten().enumerate() {
            let mut line = Line::default();
            line.push(Style::Plain, " ");
            if at == 0 {
                line.push(Style::Own(limits.letter), format!("[{}]", letters(limits.letter)));
            }
            line.pad(7);
            line.push(Style::Heading, if at == 0 { Kind::Cgroup.name() } else { "" });
            line.pad(14);
            line.push(Style::Plain, format!("{:7}", limit.controller.name()));
            bar(limit, limits.letter, marks, paper, &mut line);
            lines.push(line);
        }
    }
    let none = lines.is_empty();
    let mut say = |style: Style, text: &str| {
        let mut line = Line::default();
        line.push(Style::Plain, " ");
        if let [one] = &picture.containers[..] {
            line.push(Style::Own(one.letter), format!("[{}]", letters(one.letter)));
        }
        line.pad(7);
        line.push(Style::Heading, format!("{} ", Kind::Cgroup.name()));
        line.push(style, text);
        lines.push(line);
    };
    if details.limits.iter().any(|one| shown(one.letter) && one.limits.is_none()) {
        say(Style::Closed, "? there is no way from here to its limits");
    } else if none {
        say(Style::Plain, "no limits but the host's");
    }
    lines
}

fn bar(limit: &Limit, letter: Letter, marks: &Marks, paper: Paper, line: &mut Line) {
    let width = if paper.width >= 96 { 40 } else { 20 };
    let now = match limit.controller {
        Controller::Cpu => marks.cpu(letter),
        _ => limit.now,
    };
    let full = now.is_some_and(|now| now >= limit.most);
    let style = if full { Style::Alarm } else { Style::Plain };
    if let Some(now) = now {
        // Whatever is used shows, and only what is full looks full.
        let fill = |amount: u64| {
            let filled = (amount as u128 * width as u128).div_ceil(limit.most.max(1) as u128);
            if amount >= limit.most { width } else { (filled as usize).min(width - 1) }
        };
        let filled = fill(now);
        let peak = fill(limit.peak.unwrap_or(0)).max(filled);
        line.push(style, "█".repeat(filled));
        line.push(Style::Plain, "▒".repeat(peak - filled));
        line.push(Style::Dim, "░".repeat(width - peak));
        line.push(Style::Plain, " ");
    }
    let number = |amount: u64| match limit.controller {
        Controller::Pids => amount,
        Controller::Memory => amount.div_ceil(1 << 20),
        Controller::Cpu => amount / 10,
    };
    let unit = match limit.controller {
        // (There is not always room for a word that says little more.)
        Controller::Pids if paper.width < 96 => "",
        Controller::Pids => " processes",
        Controller::Memory => " MB",
        Controller::Cpu => " % of a CPU",
    };
    let most = format!("{}{unit}", number(limit.most));
    line.push(
        style,
        match now {
            Some(now) => format!("{} of {most}", number(now)),
            None => format!("at most {most}"),
        },
    );
    let peak = limit.peak.filter(|peak| now.is_some_and(|now| number(*peak) > number(now)));
    if let Some(peak) = peak {
        line.push(Style::Plain, format!(" (peak {})", number(peak)));
    }
    if limit.met > 0 {
        let met = match limit.controller {
            Controller::Cpu => format!("  held back {} times", limit.met),
            _ => format!("  limit met {} times", limit.met),
        };
        let style = if marks.limit(letter, limit.controller) { Style::Alarm } else { Style::Plain };
        line.push(style, met.replace(" 1 times", " once"));
    }
    if limit.killed > 0 {
        line.push(Style::Alarm, format!("  killed {}", limit.killed));
    }
}
