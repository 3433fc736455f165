//! The terminal: taken, and given back as it was, however it ends.

use std::io;
use std::io::{IsTerminal, Write};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::flag;
use signal_hook::low_level::emulate_default_handler;

/// Another screen than the shell's, no cursor, no line breaks of the terminal's own.
const TAKE: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const GIVE_BACK: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// All at once, on terminals that can: no half-drawn picture. Others do not mind.
const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";

/// How the keyboard was set. Also the panic's handler gets at it.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal, as long as it is ours.
pub struct Screen {
    signals: Vec<(i32, Arc<AtomicBool>)>,
    shown: Vec<String>,
    size: (usize, usize),
}

/// Why a wait is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// It is time to look again, if only because the terminal has another size.
    Time,
    /// Ctrl-C, or q.
    Enough,
    /// Somebody wants us to end.
    Signal(i32),
}

/// Whether a picture can be drawn on stdout again and again: a terminal, and not a dumb one.
pub fn can_move() -> bool {
    let term = std::env::var("TERM").unwrap_or_default();
    io::stdout().is_terminal() && !term.is_empty() && term != "dumb"
}

/// The terminal's columns and lines, if stdout is one.
pub fn size() -> Option<(usize, usize)> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

impl Screen {
    /// Takes the terminal.
    pub fn take() -> anyhow::Result<Screen> {
        let mut signals = Vec::new();
        for signal in [SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH] {
            let flag = Arc::new(AtomicBool::new(false));
            flag::register(signal, flag.clone()).context("cannot handle signals")?;
            signals.push((signal, flag));
        }
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            give_back();
            usual(what);
        }));
        let screen = Screen { signals, shown: Vec::new(), size: size().unwrap_or((80, 24)) };
        take();
        Ok(screen)
    }

    /// Columns and lines.
    pub fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Shows these lines, and writes no more than what is different.
    pub fn show(&mut self, lines: &[String]) {
        let mut text = String::from(BEGIN);
        let rows = self.size.1;
        for at in 0..rows {
            let (new, old) = (lines.get(at), self.shown.get(at));
            if new != old {
                // Cleared first: after the last column, the cursor is still on it.
                let new = new.map_or("", |line| line);
                text += &format!("\x1b[{};1H\x1b[K{new}", at + 1);
            }
        }
        if text.len() > BEGIN.len() {
            text += END;
            write(&text);
        }
        self.shown = lines.iter().take(rows).cloned().collect();
    }

    /// Waits so long, or until something happens.
    pub fn wait(&mut self, time: Duration) -> Event {
        let end = Instant::now() + time;
        loop {
            if let Some(event) = self.signal() {
                return event;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Event::Time;
            }
            let stdin = io::stdin();
            let mut keyboard = [PollFd::new(&stdin, PollFlags::IN)];
            let keyboard = if stdin.is_terminal() { &mut keyboard[..] } else { &mut [] };
            let timeout =
                Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            // A signal ends it, too.
            let ready = poll(keyboard, Some(&timeout)).unwrap_or(0);
            if ready > 0 {
                let mut keys = [0; 64];
                match rustix::io::read(&stdin, &mut keys) {
                    Ok(length) if keys[..length].contains(&b'q') => return Event::Enough,
                    Ok(1..) | Err(Errno::AGAIN | Errno::INTR) => {}
                    Ok(0) | Err(_) => return Event::Signal(SIGHUP), // the terminal is gone
                }
            }
        }
    }

    fn signal(&mut self) -> Option<Event> {
        let has = |signal: i32| {
            let mut flags = self.signals.iter();
            flags.any(|(known, flag)| *known == signal && flag.swap(false, Ordering::Relaxed))
        };
        for signal in [SIGTERM, SIGHUP, SIGQUIT] {
            if has(signal) {
                return Some(Event::Signal(signal));
            }
        }
        if has(SIGINT) {
            return Some(Event::Enough);
        }
        let mut again = has(SIGWINCH);
        if has(SIGTSTP) {
            give_back();
            _ = emulate_default_handler(SIGTSTP); // here it stops, until somebody types `fg`
            has(SIGCONT);
            take();
            again = true;
        }
        if has(SIGCONT) {
            take(); // somebody has stopped us without asking
            again = true;
        }
        if again {
            self.size = size().unwrap_or(self.size);
            self.shown.clear();
            write("\x1b[2J");
            return Some(Event::Time);
        }
        None
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() {
    // Keys are read one by one, and not shown; Ctrl-C and Ctrl-Z stay what they are.
    if let Ok(mut termios) = tcgetattr(io::stdin()) {
        if let Ok(mut before) = BEFORE.lock() {
            before.get_or_insert_with(|| termios.clone());
        }
        termios.local_modes -= LocalModes::ECHO | LocalModes::ICANON;
        _ = tcsetattr(io::stdin(), OptionalActions::Now, &termios);
    }
    write(TAKE);
}

fn give_back() {
    if let Some(termios) = BEFORE.lock().ok().and_then(|mut before| before.take()) {
        _ = tcsetattr(io::stdin(), OptionalActions::Now, &termios);
    }
    write(GIVE_BACK);
}

/// A terminal that is gone is no reason to complain: we end soon.
fn write(text: &str) {
    let mut out = io::stdout().lock();
    _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
