//! Output for people: in colour on a terminal (and where NO_COLOR allows it), plain everywhere else.

use std::env;
use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};
use std::process::exit;

use rustix::termios::tcgetwinsize;

pub const BOLD: &str = "\x1b[1m";
pub const RED: &str = "\x1b[1;31m";
pub const GREEN: &str = "\x1b[32m";
pub const YELLOW: &str = "\x1b[33m";
pub const DIM: &str = "\x1b[2m";
pub const RESET: &str = "\x1b[0m";

/// Prints text on stdout. A reader who has left (`| head`) is no reason to complain; a disk that is full is, and ends
/// the program.
pub fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(err) if err.kind() != ErrorKind::BrokenPipe => {
            error(&format!("cannot write to stdout: {err}"));
            exit(2);
        }
        _ => {}
    }
}

/// Whether lines on stderr may be overwritten: on a terminal that can do it, for somebody who has asked for nothing
/// plainer (NO_COLOR; an editor's shell has TERM=dumb).
pub fn may_overwrite() -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    stderr().is_terminal() && !dumb && !set("NO_COLOR")
}

/// Prints one line about what went wrong on stderr.
pub fn error(message: &str) {
    _ = writeln!(anstream::stderr(), "{RED}cargo workshop:{RESET} {message}");
}

/// Prints one line about what is going on on stderr, so that stdout stays clean for pipes.
pub fn note(message: &str) {
    _ = writeln!(anstream::stderr(), "{message}");
}

/// How many characters a line may have: as many as the terminal has columns, but no more than one likes to read.
pub fn width() -> usize {
    const COMFORTABLE: usize = 100;
    let columns = tcgetwinsize(stdout()).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { COMFORTABLE } else { columns.clamp(40, COMFORTABLE) }
}

/// Lines that leave room for a margin, broken at spaces.
pub fn wrap(line: &str) -> Vec<String> {
    const MARGIN: usize = 12;
    let width = width() - MARGIN;
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_string());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
