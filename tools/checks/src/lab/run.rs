//! A run of the learner's program, from its start to its end.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use classroom::Session;
use nix::sys::signal::Signal;

use super::{GLANCE, Lab, Process, Trace};
use crate::{Cause, Failure, Result, Stop, causes};

/// More processes than any check needs.
const MANY: usize = 200;
/// More bytes than any check makes a program print.
const FLOOD: usize = 1 << 20;

/// A run that has not ended yet.
pub struct Running<'a> {
    /// Where it runs.
    pub lab: &'a Lab,
    pub(super) did: String,
    pub(super) command: Vec<OsString>,
    /// All that stands behind `run`: options, and the command.
    pub(super) args: Vec<OsString>,
    pub(super) session: Session,
    pub(super) note: PathBuf,
    pub(super) glanced: Instant,
    /// The processes and their parents, when there were most.
    pub(super) family: BTreeMap<u32, u32>,
    /// Whether an ordinary user has started it.
    pub(super) learner: bool,
    /// Whether it can be repeated as it is: `run` with these arguments, on a fresh host.
    pub(super) plain: bool,
    /// Whether a signal was sent.
    pub signalled: Cell<bool>,
}

impl<'a> Running<'a> {
    /// Sends a line.
    pub fn say(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes());
    }

    /// Sends bytes. Whether they were read shows in what comes back.
    pub fn send(&mut self, bytes: &[u8]) {
        _ = self.session.send(bytes);
    }

    /// The runner's number on the host.
    pub fn runner(&self) -> u32 {
        let pid = fs::read_to_string(&self.note).ok().and_then(|pid| pid.trim().parse().ok());
        pid.unwrap_or(0)
    }

    /// The number on the host of the process that the container is there for.
    pub fn inside(&self) -> Option<u32> {
        let list = self.lab.processes();
        let is_it = |args: &[String]| self.command.iter().eq(args.iter().map(OsStr::new));
        let parent = |pid: u32| list.iter().find(|process| process.pid == pid).map(|it| it.parent);
        let line = |pid| std::iter::successors(Some(pid), |pid| parent(*pid));
        let runner = self.runner();
        let ours = |process: &Process| line(process.pid).any(|pid| pid == runner);
        // What a shell is about to start has the shell's own arguments for a moment.
        let mut found: Vec<&Process> = list.iter().filter(|process| is_it(&process.args)).collect();
        if found.iter().any(|process| ours(process)) {
            found.retain(|process| ours(process));
        }
        found.first().map(|process| process.pid)
    }

    /// Sends a signal to the runner.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let number = self.runner();
        self.signalled.set(true);
        if number != 0 {
            self.lab.host.run(&format!("kill -{} {number}", signal as i32))?;
        }
        Ok(())
    }

    /// Reads stdout until this comes; returns what came before it.
    pub fn until(&mut self, pattern: &str) -> Result<String> {
        let end = Instant::now() + self.lab.deadline;
        loop {
            if let Some(text) = self.session.seen(pattern) {
                return Ok(text[..text.len() - pattern.len()].to_string());
            }
            if self.session.is_over() {
                let done = self.done();
                let expected = format!("the command runs and prints {:?}", pattern.trim_end());
                return Err(done.wrong(expected, done.summary(), causes::why_not_run(&done)));
            }
            self.glance(end)?;
        }
    }

    /// Waits for the end, with the end of the input.
    pub fn end(mut self) -> Result<Done<'a>> {
        self.session.close();
        let end = Instant::now() + self.lab.deadline;
        while !self.session.is_over() {
            self.glance(end)?;
        }
        Ok(self.done())
    }

    /// Waits for the end of the runner; what it has left in the background may still hold stdout.
    pub fn exit(mut self) -> Result<Done<'a>> {
        let end = Instant::now() + self.lab.deadline;
        while self.session.status().is_none() {
            self.glance(end)?;
        }
        Ok(self.done())
    }

    /// What has come of it so far.
    pub fn done(&self) -> Done<'a> {
        let status = self.session.status();
        Done {
            lab: self.lab,
            did: self.did.clone(),
            command: texts(&self.command),
            args: texts(&self.args),
            learner: self.learner,
            plain: self.plain,
            signalled: self.signalled.get(),
            stdout: String::from_utf8_lossy(self.session.stdout()).into_owned(),
            bytes: self.session.stdout().to_vec(),
            stderr: String::from_utf8_lossy(self.session.stderr()).into_owned(),
            status: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
        }
    }

    /// Takes in what has come in the meantime.
    pub fn catch_up(&mut self) {
        while self.session.poll(Duration::ZERO) {}
    }

    /// A failure of a run that is still going on.
    pub fn wrong(&self, expected: &str, got: &str, cause: impl Into<Cause>) -> Stop {
        self.done().wrong(expected, got, cause)
    }

    /// Takes in what comes next, or sees that the program has gone wild.
    fn glance(&mut self, end: Instant) -> Result<()> {
        self.session.poll(GLANCE);
        if self.glanced.elapsed() < GLANCE {
            return Ok(());
        }
        self.glanced = Instant::now();
        let family = self.lab.family();
        let count = self.lab.threads(&family);
        // When they meet the wall, they may all end at once.
        if family.len() > self.family.len() {
            self.family = family;
        }
        let (got, cause) = if count > MANY || self.lab.host.fence().hits().processes {
            let got = format!("{count} processes, and ever more (they have been stopped)");
            (got, causes::many(self.lab, &self.family))
        } else if self.session.stdout().len() + self.session.stderr().len() > FLOOD {
            ("it prints without end (it has been stopped)".into(), "a loop that has no end".into())
        } else if Instant::now() > end {
            let seconds = self.lab.deadline.as_secs();
            let got = format!("it still runs after {seconds} seconds (it has been stopped)");
            (got, causes::hang(self))
        } else {
            return Ok(());
        };
        let done = self.done();
        let cause = causes::better(&done, &cause).unwrap_or(cause);
        Err(Stop::Wrong(Box::new(done.failure("it ends".into(), got, cause))))
    }

    /// What it says, and how it has ended.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }
}

/// A run that has ended.
#[derive(Clone)]
pub struct Done<'a> {
    /// Where it ran.
    pub lab: &'a Lab,
    did: String,
    /// The words of the command.
    pub command: Vec<String>,
    /// All that stands behind `run`: options, and the command.
    pub args: Vec<String>,
    /// Whether an ordinary user has started it.
    pub learner: bool,
    plain: bool,
    /// Whether a signal was sent to it.
    pub signalled: bool,
    /// What it wrote to stdout.
    pub stdout: String,
    /// The same, byte by byte.
    pub bytes: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: String,
    /// Its exit status, unless a signal ended it.
    pub status: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Done<'_> {
    /// A failure of this run.
    pub fn wrong(
        &self,
        expected: impl Into<String>,
        got: impl Into<String>,
        cause: impl Into<Cause>,
    ) -> Stop {
        let cause = cause.into();
        let cause = causes::better(self, &cause).unwrap_or(cause);
        Stop::Wrong(Box::new(self.failure(expected.into(), got.into(), cause)))
    }

    /// The words of the command, without the options before it: all of ours have a value.
    pub fn words(&self) -> &[String] {
        let mut words = &self.command[..];
        while let [option, _, rest @ ..] = words {
            if !option.starts_with("--") {
                break;
            }
            words = if option.contains('=') { &words[1..] } else { rest };
        }
        words
    }

    /// Why the command did not run, or not as it should.
    pub fn why_not_run(&self) -> Cause {
        causes::why_not_run(self)
    }

    /// Why the command did not run, if that is known.
    pub fn why(&self) -> Option<Cause> {
        causes::why(self)
    }

    /// Its system calls: it is run once more, on a fresh host.
    pub fn trace(&self) -> Trace {
        if self.plain { self.lab.trace(&self.args, self.learner) } else { Trace::default() }
    }

    fn failure(&self, expected: String, mut got: String, cause: Cause) -> Failure {
        let words = excerpt(&self.stderr);
        if !words.is_empty() && !got.contains(&words) {
            got += &format!("\nIt says: {words}");
        }
        Failure { did: self.did.clone(), expected, got, cause }
    }

    /// How it ended, in words.
    pub fn ending(&self) -> String {
        match (self.status, self.signal) {
            (Some(status), _) => format!("exit status {status}"),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None) => "still running".into(),
        }
    }

    /// What came of it, in words.
    pub fn summary(&self) -> String {
        match self.stdout.trim_end() {
            "" => format!("no output, {}", self.ending()),
            text => format!("{}, {}", shortened(text), self.ending()),
        }
    }
}

/// A container that is being held: its command has said that it is ready, and waits for a line.
pub struct Held<'a> {
    /// What the script printed before.
    pub before: String,
    /// The runner's number on the host.
    pub runner: u32,
    /// The command's number on the host.
    pub command: u32,
    /// The run.
    pub running: Running<'a>,
}

impl<'a> Held<'a> {
    /// Lets it go on to its end.
    pub fn release(mut self) -> Result<Done<'a>> {
        self.running.say("go on");
        self.running.end()
    }

    /// A failure of what was seen while it was held.
    pub fn wrong(&self, expected: &str, got: &str, cause: impl Into<Cause>) -> Stop {
        self.running.wrong(expected, got, cause)
    }

    /// Whether the command is in another namespace than the host; if not, why not.
    ///
    /// # Errors
    /// The cause, as a sentence.
    pub fn apart(&self, kind: &str, flag: &str) -> Result<(), String> {
        causes::together(self, kind, flag).map_or(Ok(()), Err)
    }

    /// Why it is not apart, or else another cause.
    pub fn why_together(&self, kind: &str, flag: &str, otherwise: &str) -> String {
        self.apart(kind, flag).err().unwrap_or_else(|| otherwise.into())
    }
}

fn texts(words: &[OsString]) -> Vec<String> {
    words.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// What a program says on stderr, without the line that every run prints.
pub fn excerpt(stderr: &str) -> String {
    let lines =
        stderr.lines().filter(|line| !line.starts_with("Running ") && !line.trim().is_empty());
    let lines: Vec<&str> = lines.take(4).map(|line| line.get(..200).unwrap_or(line)).collect();
    lines.join("\n         ")
}

/// A text in quotation marks, cut if it is long.
pub fn shortened(text: &str) -> String {
    const LONG: usize = 300;
    let mut short: String = text.chars().take(LONG).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("\"{}\"", short.replace('\n', "\\n").replace('\t', " "))
}
