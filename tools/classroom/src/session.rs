//! Running commands: to their end, line by line through pipes, or on a terminal.
//!
//! Waits are for events; only [`until`] looks again and again. Every wait has the same generous [`DEADLINE`], and fails
//! after it with what it waited for and all that had come until then.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::panic::Location;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::Attempt;
use crate::{Error, Result};

/// How long a wait may last: far more than a loaded machine, or one that is emulated, needs.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How many pieces of output may wait to be read. After that a program that prints without end waits for us, as it
/// would for any reader, and does not fill the memory.
const PIECES: usize = 256;

/// What a command left behind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Output {
    /// Its standard output; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
    /// Its exit status as a shell has it: 128 + n after signal n.
    pub status: i32,
}

/// Runs a command to its end, with nothing to read.
#[track_caller]
pub fn output(command: &mut Command) -> Result<Output> {
    Session::start(command)?.finish()
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
    /// The other side, which the command has, too.
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
    pub fn start(command: &mut Command) -> Result<Session> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(command)?;
        let input = child.stdin.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        let out = child.stdout.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        let err = child.stderr.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        Ok(Session::follow(command, child, input, out, err))
    }

    /// Starts a command on a new terminal of 24 lines and 80 columns. stdout and stderr both go to it. (That it is the
    /// *controlling* terminal is up to the command: see [`Host::terminal`](crate::Host::terminal).)
    pub fn on_terminal(command: &mut Command) -> Result<Session> {
        let (master, slave) = open_terminal().attempt("open a pseudo-terminal")?;
        // Before there is anybody with whom the terminal may end.
        set_size(&slave, 24, 80)?;
        let clone = |file: &File| file.try_clone().attempt("duplicate a terminal");
        command.stdin(clone(&slave)?).stdout(clone(&slave)?).stderr(clone(&slave)?);
        let child = spawn(command)?;
        // The command must hold the only copies, or the terminal never hangs up.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let out = Some(clone(&master)?);
        let mut session = Session::follow(command, child, Some(master), out, None);
        session.terminal = Some(slave);
        Ok(session)
    }

    /// Follows what a command says, in threads that end with it.
    fn follow(
        command: &Command,
        child: Child,
        input: Option<File>,
        out: Option<File>,
        err: Option<File>,
    ) -> Session {
        let (sender, events) = sync_channel(PIECES);
        let (name, pid) = (format!("{command:?}"), child.id() as i32);
        let open = [&out, &err].into_iter().flatten().count();
        out.into_iter().for_each(|out| relay(out, Event::Out, &sender));
        err.into_iter().for_each(|err| relay(err, Event::Err, &sender));
        reap(child, sender);
        let (stdout, stderr) = Default::default();
        Session {
            name,
            pid,
            input,
            terminal: None,
            events,
            stdout,
            stderr,
            seen: 0,
            open,
            status: None,
        }
    }

    /// Sends bytes: `"exit\n"`, or on a terminal also `"\x03"` (Ctrl-C), `"\x04"` (Ctrl-D), `"\x1a"` (Ctrl-Z).
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        let sent = match &mut self.input {
            Some(input) => input.write_all(bytes.as_ref()).map_err(|err| err.to_string()),
            None => Err("it has been closed".into()),
        };
        sent.map_err(|err| self.failed(&format!("cannot write to its input: {err}")))
    }

    /// Closes its input: it reads an end of file. (On a terminal this hangs up.)
    pub fn close(&mut self) {
        self.input = None;
    }

    /// Reads stdout until `pattern` comes, and returns all that came since the last call, with it.
    ///
    /// # Errors
    /// If the command ends, or the deadline passes, without it.
    #[track_caller]
    pub fn wait_for(&mut self, pattern: &str) -> Result<String> {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(text) = self.seen(pattern) {
                return Ok(text);
            }
            self.next(end, &format!("{pattern:?} on stdout"))?;
        }
    }

    /// What has come on stdout since the last call, up to and with `pattern`; none if that has not come.
    pub fn seen(&mut self, pattern: &str) -> Option<String> {
        let new = &self.stdout[self.seen..];
        let at = find(new, pattern.as_bytes())? + pattern.len();
        let text = String::from_utf8_lossy(&new[..at]).into_owned();
        self.seen += at;
        Some(text)
    }

    /// Reads stderr until `pattern` comes, and returns all of stderr so far.
    #[track_caller]
    pub fn wait_for_err(&mut self, pattern: &str) -> Result<String> {
        let end = Instant::now() + DEADLINE;
        while find(&self.stderr, pattern.as_bytes()).is_none() {
            self.next(end, &format!("{pattern:?} on stderr"))?;
        }
        Ok(String::from_utf8_lossy(&self.stderr).into_owned())
    }

    /// Takes in what comes within `wait`, and returns whether anything came: for whoever waits for something else than
    /// [`wait_for`](Session::wait_for) knows.
    pub fn poll(&mut self, wait: Duration) -> bool {
        let event = self.events.recv_timeout(wait);
        event.map(|event| self.take(event)).is_ok()
    }

    /// Takes in all that has been written to the terminal so far, however late the thread is that reads it: an escape
    /// sequence goes the same way, and comes last.
    #[track_caller]
    pub fn catch_up(&mut self) -> Result<()> {
        const MARK: &[u8] = b"\x1b[4711z";
        let Some(terminal) = &mut self.terminal else { return Ok(()) };
        if terminal.write_all(MARK).is_err() {
            return Ok(()); // it has hung up
        }
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(at) = find(&self.stdout[self.seen..], MARK) {
                let at = self.seen + at;
                self.stdout.drain(at..at + MARK.len());
                return Ok(());
            }
            if self.open == 0 || self.terminal.is_none() {
                return Ok(());
            }
            self.next(end, "all of its output")?;
        }
    }

    /// All of stdout so far, also what [`wait_for`](Session::wait_for) has returned.
    pub fn stdout(&self) -> &[u8] {
        &self.stdout
    }

    /// All of stderr so far.
    pub fn stderr(&self) -> &[u8] {
        &self.stderr
    }

    /// How the process that was started has ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// Whether it has ended, and nobody holds its streams any more.
    pub fn is_over(&self) -> bool {
        self.status.is_some() && self.open == 0
    }

    /// The file of the terminal, `/dev/pts/3`, if this session has one.
    pub fn terminal(&self) -> Option<PathBuf> {
        let fd = self.terminal.as_ref()?.as_raw_fd();
        std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()
    }

    /// To a shell that reads its commands from a pipe: sends a command, returns what it prints.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> Result<String> {
        const MARK: &str = "\u{1}asked\u{1}\n";
        self.send(format!("{command}\nprintf '\\001asked\\001\\n'\n"))?;
        let text = self.wait_for(MARK)?;
        Ok(text[..text.len() - MARK.len()].to_string())
    }

    /// Gives the terminal another size; its foreground process gets SIGWINCH.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let Some(terminal) = &self.terminal else {
            return Err(Error::Failed("this is no terminal".into()));
        };
        set_size(terminal, rows, columns)
    }

    /// Closes the input of a command on pipes, and waits until it has ended and both of its streams are closed (also by
    /// what it left in the background).
    #[track_caller]
    pub fn finish(&mut self) -> Result<Output> {
        if self.terminal.take().is_none() {
            self.close();
        }
        self.outcome()
    }

    /// As [`finish`](Session::finish), but its input stays open: it has to end for another reason.
    #[track_caller]
    pub fn outcome(&mut self) -> Result<Output> {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.status.filter(|_| self.open == 0) {
                return Ok(Output {
                    stdout: String::from_utf8_lossy(&self.stdout).into_owned(),
                    stderr: String::from_utf8_lossy(&self.stderr).into_owned(),
                    status: status
                        .code()
                        .or(status.signal().map(|signal| 128 + signal))
                        .unwrap_or(-1),
                });
            }
            self.next(end, "its end")?;
        }
    }

    /// Kills the process that was started (for a command on a host that is only `nsenter`: what runs on the host goes
    /// on) without waiting for it.
    pub fn kill(&self) {
        _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
    }

    /// Takes in one event.
    #[track_caller]
    fn next(&mut self, end: Instant, awaited: &str) -> Result<()> {
        let why = match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(event) => {
                self.take(event);
                return Ok(());
            }
            Err(RecvTimeoutError::Timeout) => format!("{} seconds passed", DEADLINE.as_secs()),
            Err(RecvTimeoutError::Disconnected) => "it ended".to_string(),
        };
        Err(self.failed(&format!("waited for {awaited}, but {why}")))
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

    #[track_caller]
    fn failed(&self, what: &str) -> Error {
        let [out, err] = [&self.stdout, &self.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        Error::Failed(format!(
            "{}: {what} ({})\nstdout so far:\n{out}\nstderr so far:\n{err}\nstatus: {:?}",
            self.name,
            Location::caller(),
            self.status
        ))
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

fn set_size(terminal: &File, rows: u16, columns: u16) -> Result<()> {
    let stdin = terminal.try_clone().attempt("duplicate a terminal")?;
    let (rows, columns) = (rows.to_string(), columns.to_string());
    let mut stty = Command::new("stty");
    let done =
        stty.args(["rows", &rows, "cols", &columns]).stdin(stdin).status().attempt("run stty")?;
    if done.success() { Ok(()) } else { Err(Error::Failed(format!("{stty:?} failed"))) }
}

fn spawn(command: &mut Command) -> Result<Child> {
    command.spawn().attempt(&format!("run {command:?}"))
}

/// Sends on what a stream brings. A terminal that nobody holds any more reads as EIO.
fn relay(mut from: File, kind: fn(Vec<u8>) -> Event, to: &SyncSender<Event>) {
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

fn reap(mut child: Child, to: SyncSender<Event>) {
    thread::spawn(move || {
        if let Ok(status) = child.wait() {
            _ = to.send(Event::Ended(status));
        }
    });
}

/// What a look at something says: whether it is so, or why one cannot tell.
pub trait Look {
    /// The answer.
    fn answer(self) -> Result<bool>;
}

impl Look for bool {
    fn answer(self) -> Result<bool> {
        Ok(self)
    }
}

impl Look for Result<bool> {
    fn answer(self) -> Result<bool> {
        self
    }
}

/// Waits until `look` says that it is so. Only for what gives no event to wait for (a file in /proc, say).
///
/// # Errors
/// With `what` if that takes longer than the [`DEADLINE`]; and as `look`.
#[track_caller]
pub fn until<L: Look>(what: &str, mut look: impl FnMut() -> L) -> Result<()> {
    let end = Instant::now() + DEADLINE;
    while !look().answer()? {
        if Instant::now() > end {
            let seconds = DEADLINE.as_secs();
            return Err(Error::Failed(format!(
                "waited {seconds} seconds until {what} ({})",
                Location::caller()
            )));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len().max(1)).position(|window| window == needle)
}
