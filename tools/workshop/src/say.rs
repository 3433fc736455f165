//! Output for people: in colour on a terminal (and where NO_COLOR allows it), plain everywhere else.

use std::env;
use std::io::ErrorKind;
use std::io::IsTerminal;
use std::io::Write;
use std::io::stderr;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

pub const BOLD: &str = "\x1b[1m";
pub const RED: &str = "\x1b[1;31m";
pub const GREEN: &str = "\x1b[32m";
pub const YELLOW: &str = "\x1b[33m";
pub const DIM: &str = "\x1b[2m";
pub const RESET: &str = "\x1b[0m";

/// Whether something that was to be printed could not be.
static LOST: AtomicBool = AtomicBool::new(false);

/// Prints text on stdout. A reader who has left (`| head`) is no reason to complain; a full disk is.
pub fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(err) if err.kind() != ErrorKind::BrokenPipe => {
            LOST.store(true, Ordering::Relaxed);
            error(&format!("cannot write what there is to say: {err}"));
        }
        _ => {}
    }
}

/// Whether stderr is a terminal on which a line can be written over.
pub fn can_overwrite() -> bool {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    stderr().is_terminal()
        && env::var_os("TERM").is_some_and(|term| term != "dumb")
        && !is_set("NO_COLOR")
}

/// What this program ends with, if it would end with this status.
pub fn status(status: ExitCode) -> ExitCode {
    if LOST.load(Ordering::Relaxed) { ExitCode::from(2) } else { status }
}

/// Prints one line about what went wrong on stderr.
pub fn error(message: &str) {
    _ = writeln!(anstream::stderr(), "{RED}cargo workshop:{RESET} {message}");
}

/// Prints one line about what is going on on stderr, so that stdout stays clean for pipes.
pub fn note(message: &str) {
    _ = writeln!(anstream::stderr(), "{message}");
}

/// Lines of at most 88 characters, broken at spaces.
pub fn wrap(line: &str) -> Vec<String> {
    const WIDTH: usize = 88;
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
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
