//! Running commands: to their end, line by line through pipes, or on a terminal.
//!
//! Waits are for events; only [`until`] looks again and again. Every wait has the same generous [`DEADLINE`], and panics after it with
//! what it waited for and all that had come until then.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

/// How long a wait may last: far more than a loaded machine, or one that is emulated, needs.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its standard output; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
    /// Its exit status as a shell has it: 128 + n after signal n.
    pub status: i32,
}

/// Runs a command to its end, with nothing to read (unless the caller has set its stdin).
///
/// # Panics
/// If it cannot be started, or does not end before the deadline.
#[track_caller]
pub fn output(command: &mut Command) -> Output {
    let mut session = Session::start(command);
    session.close();
    session.finish()
}

enum Event {
    Out(Vec<u8>),
    Err(Vec<u8>),
    /// One of the two streams has ended.
    Closed,
    Ended(ExitStatus),
}

/// A command that runs, and that one talks to.
///
/// What it runs on the host is killed with the host at the latest.
pub struct Session {
    name: String,
    pid: i32,
    /// What one writes to: a pipe, or the master side of a terminal.
    input: Option<File>,
    terminal: Option<File>,
    events: Receiver<Event>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// How much of stdout the caller has seen.
    seen: usize,
    /// The streams that have not ended.
    open: usize,
    status: Option<ExitStatus>,
}

impl Session {
    /// Starts a command whose stdin, stdout and stderr are pipes.
    ///
    /// # Panics
    /// If it cannot be started.
    #[track_caller]
    pub fn start(command: &mut Command) -> Session {
        let name = format!("{command:?}");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(command, &name);
        let pid = child.id() as i32;
        let (sender, events) = channel();
        let input = child.stdin.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let stderr = child.stderr.take().expect("stderr is a pipe");
        relay(stdout, Event::Out, &sender);
        relay(stderr, Event::Err, &sender);
        reap(child, sender);
        Session { name, pid, input, terminal: None, events, open: 2, ..Session::empty() }
    }

    /// Starts a command on a new terminal of 24 lines and 80 columns. stdout and stderr both go to
    /// it. (That it is the *controlling* terminal is up to the command: see
    /// [`Host::terminal`](crate::Host::terminal).)
    ///
    /// # Panics
    /// If it cannot be started.
    #[track_caller]
    pub fn on_terminal(command: &mut Command) -> Session {
        let name = format!("{command:?}");
        let (master, slave) = open_terminal().expect("cannot open a pseudo-terminal");
        let clone = |file: &File| file.try_clone().expect("cannot duplicate a terminal");
        command.stdin(clone(&slave)).stdout(clone(&slave)).stderr(clone(&slave));
        let child = spawn(command, &name);
        // The command must hold the only copies, or the terminal never hangs up.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let pid = child.id() as i32;
        let (sender, events) = channel();
        relay(clone(&master), Event::Out, &sender);
        reap(child, sender);
        let (input, terminal) = (Some(master), Some(slave));
        let session = Session { name, pid, input, terminal, events, open: 1, ..Session::empty() };
        session.resize(24, 80);
        session
    }

    fn empty() -> Session {
        Session {
            name: String::new(),
            pid: 0,
            input: None,
            terminal: None,
            events: channel().1,
            stdout: Vec::new(),
            stderr: Vec::new(),
            seen: 0,
            open: 0,
            status: None,
        }
    }

    /// Sends bytes: `"exit\n"`, or on a terminal also `"\x03"` (Ctrl-C), `"\x04"` (Ctrl-D),
    /// `"\x1a"` (Ctrl-Z).
    ///
    /// # Panics
    /// If the command no longer reads.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let input = self.input.as_mut().expect("the input has been closed");
        if let Err(err) = input.write_all(bytes.as_ref()) {
            panic!("cannot write to {}: {err}\n{}", self.name, self.so_far());
        }
    }

    /// Closes its input: it reads an end of file. (On a terminal this hangs up.)
    pub fn close(&mut self) {
        self.input = None;
    }

    /// Reads stdout until `pattern` comes, and returns all that came since the last call, with it.
    ///
    /// # Panics
    /// If the command ends, or the deadline passes, without it.
    #[track_caller]
    pub fn wait_for(&mut self, pattern: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let new = &self.stdout[self.seen..];
            if let Some(at) = find(new, pattern.as_bytes()) {
                let text = String::from_utf8_lossy(&new[..at + pattern.len()]).into_owned();
                self.seen += at + pattern.len();
                return text;
            }
            self.next(end, &format!("{pattern:?} on stdout"));
        }
    }

    /// Reads stderr until `pattern` comes, and returns all of stderr so far.
    ///
    /// # Panics
    /// As [`wait_for`](Session::wait_for).
    #[track_caller]
    pub fn wait_for_err(&mut self, pattern: &str) -> String {
        let end = Instant::now() + DEADLINE;
        while find(&self.stderr, pattern.as_bytes()).is_none() {
            self.next(end, &format!("{pattern:?} on stderr"));
        }
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Takes in what comes within `wait`, and returns whether anything came: for whoever waits for
    /// something else than [`wait_for`](Session::wait_for) knows.
    pub fn poll(&mut self, wait: Duration) -> bool {
        let event = self.events.recv_timeout(wait);
        event.map(|event| self.take(event)).is_ok()
    }

    /// Takes in all that has been written to the terminal so far, however late the thread is that
    /// reads it: an escape sequence goes the same way, and comes last.
    ///
    /// # Panics
    /// If it does not come before the deadline.
    #[track_caller]
    pub fn catch_up(&mut self) {
        const MARK: &[u8] = b"\x1b[4711z";
        let Some(terminal) = &mut self.terminal else { return };
        if terminal.write_all(MARK).is_err() {
            return; // it has hung up
        }
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(at) = find(&self.stdout[self.seen..], MARK) {
                let at = self.seen + at;
                self.stdout.drain(at..at + MARK.len());
                return;
            }
            if self.open == 0 || self.terminal.is_none() {
                return;
            }
            self.next(end, "all of its output");
        }
    }

    /// All of stdout so far, also what [`wait_for`](Session::wait_for) has returned.
    pub fn stdout(&self) -> &[u8] {
        &self.stdout
    }

    /// Whether the process that was started has ended.
    pub fn ended(&self) -> bool {
        self.status.is_some()
    }

    /// The file of the terminal, `/dev/pts/3`, if this session has one.
    pub fn terminal(&self) -> Option<PathBuf> {
        let fd = self.terminal.as_ref()?.as_raw_fd();
        std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()
    }

    /// To a shell that reads its commands from a pipe: sends a command, returns what it prints.
    ///
    /// # Panics
    /// If the shell ends before the command has.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> String {
        const MARK: &str = "\u{1}asked\u{1}\n";
        self.send(format!("{command}\nprintf '\\001asked\\001\\n'\n"));
        let text = self.wait_for(MARK);
        text[..text.len() - MARK.len()].to_string()
    }

    /// Gives the terminal another size; its foreground process gets SIGWINCH.
    ///
    /// # Panics
    /// If this is no terminal.
    #[track_caller]
    pub fn resize(&self, rows: u16, columns: u16) {
        let terminal = self.terminal.as_ref().expect("this session has no terminal");
        let stdin = terminal.try_clone().expect("cannot duplicate the terminal");
        let (rows, columns) = (rows.to_string(), columns.to_string());
        let mut stty = Command::new("stty");
        stty.args(["rows", &rows, "cols", &columns]).stdin(stdin);
        assert!(stty.status().is_ok_and(|status| status.success()), "{stty:?} failed");
    }

    /// Closes the input of a command on pipes, and waits until it has ended and both of its
    /// streams are closed (also by what it left in the background).
    ///
    /// # Panics
    /// If that does not happen before the deadline.
    #[track_caller]
    pub fn finish(&mut self) -> Output {
        if self.terminal.take().is_none() {
            self.close();
        }
        self.outcome()
    }

    /// As [`finish`](Session::finish), but its input stays open: it has to end for another reason.
    ///
    /// # Panics
    /// If that does not happen before the deadline.
    #[track_caller]
    pub fn outcome(&mut self) -> Output {
        let end = Instant::now() + DEADLINE;
        while self.status.is_none() || self.open > 0 {
            self.next(end, "its end");
        }
        let status = self.status.expect("it has ended");
        Output {
            stdout: String::from_utf8_lossy(&self.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&self.stderr).into_owned(),
            status: status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1),
        }
    }

    /// Kills the process that was started (for a command on a host that is only `nsenter`: what runs
    /// on the host goes on) without waiting for it.
    pub fn kill(&self) {
        use nix::sys::signal::{Signal, kill};
        _ = kill(nix::unistd::Pid::from_raw(self.pid), Signal::SIGKILL);
    }

    /// Takes in one event, or panics.
    #[track_caller]
    fn next(&mut self, end: Instant, awaited: &str) {
        match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(event) => self.take(event),
            Err(why) => {
                let why = match why {
                    RecvTimeoutError::Timeout => format!("{} seconds passed", DEADLINE.as_secs()),
                    RecvTimeoutError::Disconnected => "it ended".to_string(),
                };
                panic!("waited for {awaited} of {}, but {why}\n{}", self.name, self.so_far());
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Out(bytes) => self.stdout.extend(bytes),
            Event::Err(bytes) => self.stderr.extend(bytes),
            Event::Closed => self.open -= 1,
            Event::Ended(status) => {
                self.status = Some(status);
                self.terminal = None; // now only what the command left behind holds it
            }
        }
    }

    fn so_far(&self) -> String {
        let (out, err) =
            (String::from_utf8_lossy(&self.stdout), String::from_utf8_lossy(&self.stderr));
        format!("stdout so far:\n{out}\nstderr so far:\n{err}\nstatus: {:?}", self.status)
    }
}

/// The two sides of a new terminal. (openpty(3) would leave them open in everything that is started
/// meanwhile.)
fn open_terminal() -> std::io::Result<(File, File)> {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let mut slave = File::options();
    slave.read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits());
    let slave = slave.open(ptsname_r(&master)?)?;
    Ok((File::from(OwnedFd::from(master)), slave))
}

#[track_caller]
fn spawn(command: &mut Command, name: &str) -> Child {
    command.spawn().unwrap_or_else(|err| panic!("cannot run {name}: {err}"))
}

/// Sends on what a stream brings. A terminal that nobody holds any more reads as EIO.
fn relay(mut from: impl Read + Send + 'static, kind: fn(Vec<u8>) -> Event, to: &Sender<Event>) {
    let to = to.clone();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if to.send(kind(buffer[..length].to_vec())).is_err() {
                return;
            }
        }
        _ = to.send(Event::Closed);
    });
}

fn reap(mut child: Child, to: Sender<Event>) {
    thread::spawn(move || {
        if let Ok(status) = child.wait() {
            _ = to.send(Event::Ended(status));
        }
    });
}

/// Waits until `done` is true. Only for what gives no event to wait for (a file in /proc, say).
///
/// # Panics
/// With `what` if that takes longer than the [`DEADLINE`].
#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < end, "waited {} seconds until {what}", DEADLINE.as_secs());
        thread::sleep(Duration::from_millis(5));
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len().max(1)).position(|window| window == needle)
}
