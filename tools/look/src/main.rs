//! `cargo workshop look`: see the library.

use std::io;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Parser, Subcommand};
use look::changes::Changes;
use look::details::details;
use look::draw::{draw, status};
use look::inside::Peeks;
use look::machine::Machine;
use look::model::{Names, Room, picture};
use look::paper::{Line, Paper};
use look::screen::{Event, Screen};
use look::{inside, screen};
use signal_hook::low_level::emulate_default_handler;

/// Draws the containers that run right now, and what each of their processes shares with the host.
///
/// It looks again four times a second, until you press Ctrl-C or q. Whatever is in another namespace than this
/// program is a container, by whatever it was started. In a pipe, and on a terminal that cannot move its cursor, it
/// looks once.
///
/// Exit status: 0; 1 if it cannot look; 2 for wrong usage.
#[derive(Parser)]
#[command(name = "look", bin_name = "cargo workshop look", version, disable_help_subcommand = true)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    /// Look once, print that, and end
    #[arg(long)]
    once: bool,
    /// Show every container, however many they are, and the services that the system has fenced in
    #[arg(long)]
    all: bool,
    #[command(subcommand)]
    hidden: Option<Hidden>,
}

#[derive(Subcommand)]
enum Hidden {
    /// Prints what can only be seen inside: look runs itself for it
    #[command(name = inside::PEEK, hide = true)]
    Peek { pid: i32 },
}

/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(250);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.hidden {
        Some(Hidden::Peek { pid }) => inside::peek(pid).map_err(anyhow::Error::from),
        None if cli.once || !screen::can_move() => once(cli.all),
        None => live(cli.all),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("look: {err:#}");
            ExitCode::FAILURE
        }
    }
}

/// Everything from the machine to lines of text, and what has to be remembered for it.
struct Look {
    machine: Machine,
    names: Names,
    peeks: Peeks,
    changes: Changes,
    start: Instant,
    all: bool,
    sudo: Option<String>,
}

impl Look {
    fn new(all: bool) -> anyhow::Result<Look> {
        Ok(Look {
            machine: Machine::new(Path::new("/"))?,
            names: Names::default(),
            peeks: Peeks::default(),
            changes: Changes::default(),
            start: Instant::now(),
            all,
            sudo: sudo(),
        })
    }

    /// Looks, and draws what there is room for: `lines` lines, and at most so many containers.
    fn look(&mut self, containers: usize, lines: usize, paper: Paper) -> anyhow::Result<Vec<Line>> {
        let now = self.start.elapsed();
        let mut snapshot = self.machine.look()?;
        self.changes.keep_ended(&mut snapshot, now);
        let mut room = Room { containers, rows: usize::MAX, all: self.all };
        let mut picture = picture(&snapshot, &mut self.names, room);
        let details = details(&self.machine, &snapshot, &picture, &mut self.peeks, now);
        let marks = self.changes.mark(&snapshot, &picture, &details, now);
        let sudo = self.sudo.as_deref();
        loop {
            let drawn = draw(&picture, &details, &marks, paper, sudo);
            self.machine.watch(&picture.watched);
            let rows = picture.rows.len().saturating_sub(drawn.len().saturating_sub(lines));
            if drawn.len() <= lines || picture.rows.len() <= ROWS {
                return Ok(drawn);
            }
            let before = (room.containers, room.rows);
            // First those go that concern nobody here, then the last lines of each, then one's own.
            if picture.trees > 1 && (picture.foreign > 0 || rows < ROWS * picture.trees) {
                room.containers = picture.trees - 1;
            } else {
                room.rows = rows.max(ROWS);
            }
            if before == (room.containers, room.rows) {
                return Ok(drawn);
            }
            picture = look::model::picture(&snapshot, &mut self.names, room);
        }
    }
}

/// Nobody is shown with fewer lines.
const ROWS: usize = 5;

/// How many containers are shown; the others are counted.
const CONTAINERS: usize = 10;

fn once(all: bool) -> anyhow::Result<()> {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let width = screen::size().map(|(columns, _)| columns).or(columns).unwrap_or(80);
    let colour = io::stdout().is_terminal() && colour();
    let paper = Paper { width: width.max(NARROW), colour, unicode: unicode() };
    let (containers, lines) = if all { (usize::MAX, usize::MAX) } else { (CONTAINERS, 100) };
    let lines = Look::new(all)?.look(containers, lines, paper)?;
    let text: String = lines.iter().map(|line| line.paint(paper) + "\n").collect();
    // A reader who has left (`| head`) is no reason to complain.
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => {
            Err(err).context("cannot write to stdout")
        }
        _ => Ok(()),
    }
}

/// What is narrower than this is cut off on the right.
const NARROW: usize = 72;

fn live(all: bool) -> anyhow::Result<()> {
    let mut look = Look::new(all)?;
    let mut screen = Screen::take()?;
    loop {
        let (width, height) = screen.size();
        let paper = Paper { width, colour: colour(), unicode: unicode() };
        let wide = Paper { width: width.max(NARROW), ..paper };
        let containers = if all { usize::MAX } else { (height / 8).clamp(1, CONTAINERS) };
        let mut lines = look.look(containers, height.saturating_sub(1), wide)?;
        lines.resize(height.saturating_sub(1), Line::default());
        lines.push(status(paper));
        let lines: Vec<String> = lines.iter().map(|line| line.paint(paper)).collect();
        screen.show(&lines);
        match screen.wait(PAUSE) {
            Event::Time => {}
            Event::Enough => return Ok(()),
            Event::Signal(signal) => {
                drop(screen);
                // Whoever has started us is told how we ended.
                _ = emulate_default_handler(signal);
                return Ok(());
            }
        }
    }
}

/// What to type to see more, for who is not root: this program, as it would be typed here, with sudo.
fn sudo() -> Option<String> {
    if rustix::process::geteuid().is_root() {
        return None;
    }
    let exe = std::env::current_exe().ok()?;
    let here = std::env::current_dir().ok();
    let short = here.and_then(|here| exe.strip_prefix(here).ok().map(Path::to_path_buf));
    let path = match short {
        Some(short) if short.components().count() == 1 => Path::new(".").join(short),
        short => short.unwrap_or(exe),
    };
    Some(format!("sudo {}", path.display()))
}

/// Whether colours are wanted: no-color.org.
fn colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether the locale says that the terminal shows UTF-8: the first of these that is set does, locale(7).
fn unicode() -> bool {
    let set = |name: &&str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    let name = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find(|name| set(name));
    let locale = name.and_then(|name| std::env::var(name).ok()).unwrap_or_default();
    let locale = locale.to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}
