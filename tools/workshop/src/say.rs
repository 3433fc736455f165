//! Output for people: in colour on a terminal (and where NO_COLOR allows it), plain everywhere else.

use std::io::Write;
use std::io::stdout;

use rustix::termios::tcgetwinsize;

pub const BOLD: &str = "\x1b[1m";
pub const RED: &str = "\x1b[1;31m";
pub const GREEN: &str = "\x1b[32m";
pub const YELLOW: &str = "\x1b[33m";
pub const DIM: &str = "\x1b[2m";
pub const RESET: &str = "\x1b[0m";

/// Prints text on stdout. A reader who has left (`| head`) is no reason to complain.
pub fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
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
