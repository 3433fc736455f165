//! What a check has at hand: the learner's program on a classroom host, and views of it from outside.
//!
//! Everything ends: a run has a deadline, and whoever forks or prints without end is stopped earlier. The classroom
//! host goes afterwards, and with it every process and mount.
//!
//! - [`Lab`]: starting the program;
//! - [`Running`], [`Done`] and [`Held`]: a run, from its start to its end;
//! - `look`: what is to be seen of it from the host: processes, namespaces, mounts;
//! - `why`: why it did not start, in terms of the system call.

mod look;
mod run;
mod why;

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use classroom::Cgroups;
use classroom::Host;
use classroom::Session;
use classroom::root::quoted;

use crate::Failure;
use crate::Result;
use crate::Stop;

pub use look::Process;
pub use look::points;
pub use run::Done;
pub use run::Held;
pub use run::Running;
pub use run::excerpt;
pub use run::shortened;
pub use why::NOT_ROOT_INSIDE;
pub use why::PROC_ON_HOST;
pub use why::denied;
pub use why::why_no_map;

/// How long a program may take for what takes milliseconds: so many times what it took to make the host, within limits.
/// A machine that is loaded, or emulated, is slow in both.
const PATIENCE: u32 = 100;
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(60);
/// How often to look whether it forks without end, or whether what should happen has happened.
const GLANCE: Duration = Duration::from_millis(20);

/// A file that the lab puts into the root filesystem.
pub const NULL: &str = "/workshop/rootfs/dev/null";

/// A learner's program on a classroom host.
pub struct Lab {
    /// The host.
    pub host: Host,
    deadline: Duration,
    /// How many mounts there were in the beginning.
    mounts: usize,
    soiled: Cell<bool>,
    // Below the host: fields are dropped in this order.
    seen: Seen,
    /// Where the program makes its cgroups, if this is root.
    _cgroups: Option<Cgroups>,
}

impl Lab {
    /// A fresh host with this program on it.
    ///
    /// # Errors
    /// As [`Host::start`].
    pub fn new(program: &Path) -> classroom::Result<Lab> {
        let start = Instant::now();
        let host = Host::start(program)?;
        // Without them (an ordinary user, a container) the program has to say itself what it cannot do.
        let cgroups = Cgroups::on(&host).ok();
        let deadline = (start.elapsed() * PATIENCE).clamp(SHORTEST, LONGEST);
        let (soiled, seen) = (Cell::new(false), Seen::default());
        let mut lab = Lab { host, deadline, mounts: 0, soiled, seen, _cgroups: cgroups };
        // Alpine's shell cannot start anything in the background without it, and steps 05 and 06 have no /dev yet.
        let null = lab.host.path(NULL);
        if !null.exists() {
            _ = fs::write(null, "");
        }
        lab.mounts = lab.mounts().len();
        Ok(lab)
    }

    /// Says that the host will not be as it was, although the check passes.
    pub fn soil(&self) {
        self.soiled.set(true);
    }

    /// Whether the next check may use this host.
    pub fn is_clean(&self) -> bool {
        !self.soiled.get() && self.processes().len() == 1 && self.mounts().len() == self.mounts
    }

    /// The program's path on the host.
    pub fn program(&self) -> String {
        format!("/workshop/{}", self.host.program())
    }

    /// Runs `program run ARGS` to its end.
    ///
    /// # Errors
    /// If it has no end.
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Done> {
        self.start(args)?.end()
    }

    /// Starts `program run ARGS`.
    ///
    /// # Errors
    /// If this machine cannot start anything any more.
    pub fn start<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Running<'_>> {
        let mut argv = vec![OsString::from(self.program()), "run".into()];
        argv.extend(args.iter().map(|arg| arg.as_ref().to_os_string()));
        self.start_as(None, &argv)
    }

    /// Starts any command line on the host; shows it as `shown`, or as it is.
    ///
    /// # Errors
    /// As [`start`](Lab::start).
    pub fn start_as<S: AsRef<OsStr>>(
        &self,
        shown: Option<&str>,
        argv: &[S],
    ) -> Result<Running<'_>> {
        self.spawn(shown, argv, false)
    }

    /// Starts a command line on the host as an ordinary user.
    ///
    /// # Errors
    /// As [`start`](Lab::start).
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
        let did = shown.map_or_else(|| line(argv), String::from);
        let session = match Session::start(&mut command) {
            Ok(session) => session,
            Err(err) => {
                let got = format!("it cannot be started: {err}");
                let cause = "this machine is out of processes or memory".into();
                return Err(Stop::Wrong(Failure { did, expected: "it starts".into(), got, cause }));
            }
        };
        let command = argv.iter().skip(2).map(|arg| arg.as_ref().to_os_string()).collect();
        Ok(Running {
            lab: self,
            did,
            command,
            session,
            note: self.host.path(&note),
            glanced: Instant::now(),
        })
    }

    /// Starts a container that stays until [`Held::release`]: `sh -c 'SCRIPT; echo ready; read line'`.
    ///
    /// # Errors
    /// If it does not get that far.
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
                why::UNSEEN,
            ));
        };
        crate::step10::remember_all(self, command);
        Ok(Held { before, runner, command, running })
    }

    /// Whether the program has taken the host's root away from it.
    pub fn is_lost(&self) -> Option<Failure> {
        if self.host.path("/workshop").is_dir() {
            return None;
        }
        Some(Failure {
            did: format!("{} run echo hello", self.host.program()),
            expected: "the host keeps its root directory and its mounts".into(),
            got: "the host's own root directory was exchanged for the root filesystem".into(),
            cause: why::LOST.into(),
        })
    }

    /// Waits until something is the case. False if it is not until the deadline.
    pub fn wait_until(&self, mut is: impl FnMut() -> bool) -> bool {
        let end = Instant::now() + self.deadline / 4;
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

    /// Remembers a cgroup that this lab has caused, to be removed with it.
    pub fn remember(&self, cgroup: PathBuf) {
        self.seen.0.borrow_mut().insert(cgroup);
    }
}

/// A command line as a person in /workshop would type it.
fn line<S: AsRef<OsStr>>(argv: &[S]) -> String {
    let words = argv.iter().map(|arg| arg.as_ref().to_string_lossy());
    let words = words.map(|word| quoted(word.trim_start_matches("/workshop/")));
    words.collect::<Vec<_>>().join(" ")
}

/// Cgroups that a command was seen in. They are removed when the host is gone, and with it their processes: a program
/// may have made them where the host has none of its own.
#[derive(Default)]
struct Seen(RefCell<BTreeSet<PathBuf>>);

impl Drop for Seen {
    fn drop(&mut self) {
        for dir in self.0.borrow().iter() {
            // EBUSY until the kernel has buried the last process.
            for _ in 0..100 {
                if fs::remove_dir(dir).is_ok() || !dir.is_dir() {
                    break;
                }
                thread::sleep(GLANCE);
            }
        }
    }
}
