//! What a check has at hand: the learner's program on a classroom host, and views of it from outside.
//!
//! Everything ends: a run has a deadline, and whoever forks or prints without end is stopped earlier. The classroom
//! host goes afterwards, and with it every process and mount.
//!
//! - [`Lab`]: starting the program;
//! - [`Running`], [`Done`] and [`Held`]: a run, from its start to its end;
//! - [`Early`]: one that is held before it has said a word;
//! - `look`: what is to be seen of it from the host: processes, namespaces, mounts;
//! - [`Trace`]: its system calls.

mod early;
mod look;
mod run;
mod trace;

use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use classroom::root::quoted;
use classroom::{Error, Host, Session};
use nix::sys::statvfs::statvfs;

use crate::{Failure, Result, Stop, causes};

pub use early::Early;
pub use look::{Mount, Process, points, signals};
pub use run::{Done, Held, Running, excerpt, shortened};
pub use trace::{Call, Trace};

/// How long a program may take for what takes milliseconds: so many times what it took to make the host, within limits.
/// A machine that is loaded, or emulated, is slow in both.
const PATIENCE: u32 = 100;
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(60);
/// How often to look whether it forks without end, or whether what should happen has happened.
const GLANCE: Duration = Duration::from_millis(20);

/// What strace(1) writes of a run in which it has had its hand.
const INJECTED: &str = "/tmp/injected";

/// A file that the lab puts into the root filesystem.
pub const NULL: &str = "/workshop/rootfs/dev/null";

/// A learner's program on a classroom host.
pub struct Lab {
    /// The host.
    pub host: Host,
    program: PathBuf,
    deadline: Duration,
    /// The mounts that there were in the beginning.
    mounts: Vec<Mount>,
    soiled: Cell<bool>,
    /// The name of the check that is being made.
    check: Cell<&'static str>,
    strace: OnceCell<bool>,
}

impl Lab {
    /// A fresh host with this program on it.
    ///
    /// # Errors
    /// As [`Host::start`]; and where there is no wall around it: what has not been seen yet may fork without end.
    pub fn new(program: &Path) -> classroom::Result<Lab> {
        let start = Instant::now();
        let host = Host::start(program)?;
        if let Some(why) = host.fence().missing() {
            return Err(Error::Missing(format!(
                "what a program that forks without end does to this machine cannot be limited here: {why}. Check as an \
                 ordinary user, for whom the kernel has a limit of its own (root is not bound by it)"
            )));
        }
        let deadline = (start.elapsed() * PATIENCE).clamp(SHORTEST, LONGEST);
        let (program, soiled, check) = (program.to_path_buf(), Cell::new(false), Cell::new(""));
        let mut lab = Lab {
            host,
            program,
            deadline,
            mounts: Vec::new(),
            soiled,
            check,
            strace: OnceCell::new(),
        };
        // Alpine's shell cannot start anything in the background without it, and steps 05 and 06 have no /dev yet.
        let null = lab.host.path(NULL);
        if !null.exists() {
            _ = fs::write(null, "");
        }
        lab.mounts = lab.mounts();
        Ok(lab)
    }

    /// Says which check comes now.
    pub(crate) fn begin(&self, check: &'static str) {
        self.check.set(check);
    }

    /// The name of the check that is being made.
    pub(crate) fn check(&self) -> &'static str {
        self.check.get()
    }

    /// Says that the host will not be as it was, although the check passes.
    pub fn soil(&self) {
        self.soiled.set(true);
    }

    /// Whether the next check may use this host.
    pub fn is_clean(&self) -> bool {
        !self.soiled.get() && self.processes().len() == 1 && self.mounts() == self.mounts
    }

    /// The program's path on the host.
    pub fn program(&self) -> String {
        format!("/workshop/{}", self.host.program())
    }

    /// Runs `program run ARGS` to its end.
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Done<'_>> {
        self.start(args)?.end()
    }

    /// Starts `program run ARGS`.
    pub fn start<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Running<'_>> {
        let mut argv = vec![OsString::from(self.program()), "run".into()];
        argv.extend(args.iter().map(|arg| arg.as_ref().to_os_string()));
        self.start_as(None, &argv)
    }

    /// Starts any command line on the host; shows it as `shown`, or as it is.
    pub fn start_as<S: AsRef<OsStr>>(
        &self,
        shown: Option<&str>,
        argv: &[S],
    ) -> Result<Running<'_>> {
        self.spawn(shown, argv, false)
    }

    /// Starts a command line on the host as an ordinary user.
    pub fn start_as_learner<S: AsRef<OsStr>>(&self, argv: &[S]) -> Result<Running<'_>> {
        self.spawn(None, argv, true)
    }

    fn spawn<S: AsRef<OsStr>>(
        &self,
        shown: Option<&str>,
        argv: &[S],
        learner: bool,
    ) -> Result<Running<'_>> {
        // The shell says which process becomes the program: nsenter(1) forks.
        let note = format!("/tmp/runner-{}", self.host.processes().len());
        _ = fs::remove_file(self.host.path(&note));
        let script = format!("echo $$ >{note}; exec \"$@\"");
        let mut all: Vec<&OsStr> = ["sh", "-c", &script, "sh"].map(OsStr::new).to_vec();
        all.extend(argv.iter().map(AsRef::as_ref));
        let mut command = if learner { self.host.learner(&all) } else { self.host.command(&all) };
        let did = shown.map_or_else(|| line(argv, learner), String::from);
        let session = match Session::start(&mut command) {
            Ok(session) => session,
            Err(err) => {
                let got = format!("it cannot be started: {err}");
                let cause = "this machine is out of processes or memory".into();
                let failure = Failure { did, expected: "it starts".into(), got, cause };
                return Err(Stop::Wrong(Box::new(failure)));
            }
        };
        let args: Vec<OsString> = argv.iter().skip(2).map(|arg| arg.as_ref().into()).collect();
        let first = argv.first().map(AsRef::as_ref);
        let plain = first == Some(OsStr::new(&self.program())) && argv.len() > 2;
        Ok(Running {
            lab: self,
            did,
            command: args.clone(),
            args,
            session,
            note: self.host.path(&note),
            glanced: Instant::now(),
            family: BTreeMap::new(),
            learner,
            plain: plain && !self.soiled.get(),
            signalled: Cell::new(false),
        })
    }

    /// Whether there is strace(1), and it works.
    pub fn has_strace(&self) -> bool {
        let works = || {
            let tried = self.host.run("strace -o /dev/null true");
            tried.is_ok_and(|tried| tried.status == 0)
        };
        *self.strace.get_or_init(works)
    }

    /// As on a machine without strace(1).
    pub(crate) fn hide_strace(&self) {
        _ = self.strace.set(false);
    }

    /// Runs `program run ARGS`, in which one system call takes its time, if something here can do that.
    pub fn run_slowed(&self, call: &str, args: &[&str]) -> Result<Done<'_>> {
        if !self.has_strace() {
            return self.run(args);
        }
        // Longer than all that may come before it, on this machine.
        let delay = (self.deadline / 40).as_micros();
        self.run_injected(&format!("{call}:delay_enter={delay}"), &[], args)
    }

    /// Runs `program run ARGS`, in which a system call fails with EIO: each process's first of this name, or its
    /// second, … Returns also what strace(1), which has to be there, has written of all calls of this name.
    pub fn run_failing(
        &self,
        call: &str,
        number: usize,
        args: &[&str],
    ) -> Result<(Done<'_>, String)> {
        let done = self.run_injected(&format!("{call}:error=EIO:when={number}"), &[], args)?;
        Ok((done, self.host.read(INJECTED)?))
    }

    /// Runs `program run COMMAND`, a path, whose execve(2) fails with EAGAIN. (strace(1) has to be there.)
    pub fn run_without_room(&self, command: &str) -> Result<Done<'_>> {
        self.run_injected("execve:error=EAGAIN", &["-P", command], &[command])
    }

    fn run_injected(&self, what: &str, only: &[&str], args: &[&str]) -> Result<Done<'_>> {
        let call = what.split(':').next().unwrap_or_default();
        let (trace, inject) = (format!("trace={call}"), format!("inject={what}"));
        let program = self.program();
        let strace = ["strace", "-f", "-q", "-o", INJECTED, "-e", &trace, "-e", &inject];
        let shown = self.typed(&[&["run"], args].concat());
        let mut running =
            self.start_as(Some(&shown), &[&strace, only, &[&program, "run"], args].concat())?;
        running.command = args.iter().map(OsString::from).collect();
        running.args = running.command.clone();
        running.plain = true;
        running.end()
    }

    /// The system calls of `program run ARGS`, with nothing to read, on a fresh host. None where there is no strace(1),
    /// or it has no end.
    pub(crate) fn trace(&self, args: &[String], learner: bool) -> Trace {
        const FILE: &str = "/tmp/trace";
        const SECONDS: &str = "5";
        // Not asked here and now: this host may be one on which nothing can be started any more.
        if self.strace.get() == Some(&false) {
            return Trace::default();
        }
        let traced = || -> classroom::Result<Trace> {
            let lab = Lab::new(&self.program)?;
            let calls = trace::CALLS;
            let strace = format!(
                "timeout --kill-after=1 {SECONDS} strace -f -y -s 300 -o {FILE} -e trace={calls}"
            );
            let argv = strace.split(' ').map(String::from);
            let argv = argv.chain([lab.program(), "run".into()]).chain(args.iter().cloned());
            let mut command = if learner { lab.host.learner(argv) } else { lab.host.command(argv) };
            classroom::output(&mut command)?;
            Ok(Trace::parse(&lab.host.read(FILE)?, &self.program()))
        };
        traced().unwrap_or_default()
    }

    /// Starts a container that stays until [`Held::release`]: `sh -c 'SCRIPT; echo ready; read line'`.
    pub fn hold(&self, options: &[&str], script: &str) -> Result<Held<'_>> {
        let script = format!("{script}echo ready; read line");
        let shell = ["sh", "-c", &script];
        let mut running = self.start(&[options, &shell].concat())?;
        running.command = shell.map(OsString::from).to_vec();
        let before = running.until("ready\n")?;
        let runner = running.runner();
        let Some(command) = running.inside() else {
            return Err(running.wrong(
                "the command runs",
                "it runs, but not as a process of its own",
                causes::UNSEEN,
            ));
        };
        Ok(Held { before, runner, command, running })
    }

    /// Whether the host is still there.
    pub(crate) fn is_alive(&self) -> bool {
        self.host.is_alive()
    }

    /// Whether nothing more can be written to the host's files.
    pub(crate) fn is_full(&self) -> bool {
        let state = statvfs(&self.host.path("/"));
        state.is_ok_and(|state| state.blocks_available() == 0 || state.files_available() == 0)
    }

    /// A command line as one would type it.
    pub(crate) fn typed(&self, args: &[&str]) -> String {
        line(&[&[&*self.program()], args].concat(), false)
    }

    /// Waits until something is the case. False if it is not until the deadline.
    pub fn wait_until(&self, is: impl FnMut() -> bool) -> bool {
        self.wait(self.deadline / 4, is)
    }

    /// The same, for what happens at once or not at all.
    pub(crate) fn wait_a_moment(&self, is: impl FnMut() -> bool) -> bool {
        self.wait(GLANCE * 50, is)
    }

    fn wait(&self, patience: Duration, mut is: impl FnMut() -> bool) -> bool {
        let end = Instant::now() + patience;
        loop {
            if is() {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            thread::sleep(GLANCE);
        }
    }
}

/// A command line as one would type it in the repository, and can paste it.
fn line<S: AsRef<OsStr>>(argv: &[S], learner: bool) -> String {
    let words = argv.iter().map(|arg| arg.as_ref().to_string_lossy());
    let words = words.map(|word| match word.strip_prefix("/workshop/") {
        Some("my-container") => "cargo run -qp my-container --".to_string(),
        Some(inside) => quoted(inside),
        None => quoted(&word),
    });
    let line = words.collect::<Vec<_>>().join(" ");
    if learner { format!("WORKSHOP_SUDO=no {line}") } else { line }
}
