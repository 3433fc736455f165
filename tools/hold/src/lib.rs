//! What the container holds against: faults, hostile programs and misuse.
//!
//! - [`CASES`]: the cases, by group, each with what is decided for step 10: it holds, or who closes
//!   the hole (an exercise, or the guide's list of what is missing);
//! - [`lab`]: the classroom host on which one case meets one [`Runner`]: a step of the workshop, step 10
//!   with all locks (the exercise of that name), or bubblewrap, crun, runc;
//! - [`faults`]: every system call fails once;
//! - [`helper`]: what runs on that host as a program: it starts and kills runners fast;
//! - [`soak`]: ten thousand containers, and all is as before.
//!
//! `cargo run -p hold` prints the table of all cases and runners side by side; `cargo test -p hold` is
//! step 10's column, the locks' (and each case on the step that introduces it) as tests. A case that step 10 does
//! *not* hold is a test as well: it fails as soon as the hole is closed, so that the table stays honest. With all locks
//! every case is held, or cannot apply.
//! `cargo run -p hold -- --soak 10000` runs the soak; a short one is among the tests.

pub mod faults;
pub mod helper;
pub mod lab;
pub mod soak;

mod cases;

use std::fmt::Debug;

use classroom::Error;
use classroom::root::is_root;

pub use cases::CASES;
pub use lab::{Lab, Runner};

/// What one case is about.
pub struct Case {
    /// status, streams, signals, processes, file system, limits, privilege or faults.
    pub group: &'static str,
    /// The name of the test.
    pub name: &'static str,
    /// What holds, in one line.
    pub says: &'static str,
    /// The first step that holds it; where none does, the first for which it makes sense.
    pub since: u8,
    /// What is decided for step 10.
    pub decision: Decision,
    /// The trial itself.
    pub run: fn(&Lab) -> Outcome,
}

/// What is decided for step 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It holds.
    Held,
    /// It does not hold; this is where the workshop says so, and how to close it.
    Open(&'static str),
}

impl Decision {
    /// Whether the outcome on step 10 is what has been decided. What cannot be tried here fits.
    pub fn fits(self, outcome: &Outcome) -> bool {
        match outcome {
            Ok(()) => self == Decision::Held,
            Err(Failure::NotHeld(_)) => self != Decision::Held,
            Err(Failure::NotApplicable(_) | Failure::Missing(_)) => true,
        }
    }
}

/// How a trial ended, if not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The runner does not hold it.
    NotHeld(String),
    /// The case makes no sense for this runner, or this kernel forbids it to everybody.
    NotApplicable(String),
    /// This machine, or this user, lacks something that the trial needs.
    Missing(Error),
}

impl From<Error> for Failure {
    fn from(err: Error) -> Failure {
        match err {
            Error::Failed(why) => Failure::NotHeld(why),
            missing => Failure::Missing(missing),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Failure::NotHeld(why) | Failure::NotApplicable(why) => f.write_str(why),
            Failure::Missing(err) => write!(f, "{err}"),
        }
    }
}

/// What comes of a part of a trial.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// How a trial ended.
pub type Outcome = Result<()>;

impl Case {
    /// What is decided for a runner of ours: with all locks, everything holds.
    pub fn decision(&self, runner: &Runner) -> Decision {
        if runner.has_locks() { Decision::Held } else { self.decision }
    }

    /// Tries the case on a fresh classroom host, if this is not an earlier step than the one that is to
    /// hold it.
    pub fn try_on(&self, runner: &Runner) -> Outcome {
        if let Some(step) = runner.step().filter(|step| *step < self.since) {
            return Err(Failure::NotApplicable(format!("step {step}: comes in {}", self.since)));
        }
        self.try_anyway(runner)
    }

    /// The same on any step: what it comes to where it cannot hold shows that the trial can fail.
    pub fn try_anyway(&self, runner: &Runner) -> Outcome {
        let lab = Lab::new(runner)?;
        match (self.run)(&lab) {
            Err(failure @ (Failure::NotApplicable(_) | Failure::Missing(_))) => Err(failure),
            outcome => outcome.and(lab.nothing_is_left()),
        }
    }
}

/// Holds if `yes`; `why` says what came instead.
///
/// # Errors
/// [`Failure::NotHeld`].
pub fn hold(yes: bool, why: impl FnOnce() -> String) -> Outcome {
    if yes { Ok(()) } else { Err(Failure::NotHeld(why())) }
}

/// Holds if `got` is `want`.
///
/// # Errors
/// [`Failure::NotHeld`].
pub fn same<T: PartialEq<U> + Debug, U: Debug>(what: &str, got: T, want: U) -> Outcome {
    hold(got == want, || format!("{what}: {got:?} instead of {want:?}"))
}

/// For cases in which root does something first, or starts the container.
///
/// # Errors
/// [`Failure::Missing`] where this is not root.
pub fn only_root(why: &str) -> Outcome {
    if is_root() { Ok(()) } else { Err(Failure::Missing(Error::NeedsRoot(why.into()))) }
}

/// The case makes no sense here.
///
/// # Errors
/// Always: [`Failure::NotApplicable`].
pub fn not_applicable<T>(why: &str) -> Result<T> {
    Err(Failure::NotApplicable(why.to_string()))
}
