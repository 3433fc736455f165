//! What the container holds against: faults, hostile programs and misuse.
//!
//! - [`CASES`]: the cases, by group, each with what is decided for step 10: it holds, or who closes
//!   the hole (an exercise, or the guide's list of what is missing);
//! - [`lab`]: the classroom host on which one case meets one [`Runner`]: a step of the workshop,
//!   or bubblewrap, crun, runc;
//! - [`helper`]: what runs on that host as a program: it starts and kills runners fast;
//! - [`soak`]: ten thousand containers, and all is as before.
//!
//! `cargo run -p hold` prints the table of all cases and runners side by side; `cargo test -p hold` is
//! step 10's column (and each case on the step that introduces it) as tests. A case that step 10 does
//! *not* hold is a test as well: it fails as soon as the hole is closed, so that the table stays honest.
//! `cargo run -p hold -- --soak 10000` runs the soak; a short one is among the tests.

pub mod helper;
pub mod lab;
pub mod soak;

mod cases;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use cases::CASES;
pub use lab::{Lab, Runner};

/// What one case is about.
pub struct Case {
    /// status, streams, signals, processes, file system, limits or privilege.
    pub group: &'static str,
    /// The name of the function, which is the name of the test.
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
            Err(Failure::NotApplicable(_) | Failure::Missing(..)) => true,
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
    /// This machine lacks something that the trial needs; `true`: only root can ever have it.
    Missing(String, bool),
}

/// How a trial ended.
pub type Outcome = Result<(), Failure>;

impl Case {
    /// Tries the case on a fresh classroom host, if this is not an earlier step than the one that is to
    /// hold it. A panic (a wait that took too long) is a failure.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub fn try_on(&self, runner: &Runner) -> Outcome {
        if let Some(step) = runner.step().filter(|step| *step < self.since) {
            return Err(Failure::NotApplicable(format!("step {step}: comes in {}", self.since)));
        }
        self.try_anyway(runner)
    }

    /// The same on any step: what it comes to where it cannot hold shows that the trial can fail.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub fn try_anyway(&self, runner: &Runner) -> Outcome {
        let trial = || {
            let lab = Lab::new(runner)?;
            let outcome = catch_unwind(AssertUnwindSafe(|| (self.run)(&lab)));
            let outcome = outcome.unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
            if !matches!(outcome, Err(Failure::NotApplicable(_) | Failure::Missing(..))) {
                outcome.and(lab.nothing_is_left())
            } else {
                outcome
            }
        };
        catch_unwind(AssertUnwindSafe(trial)).unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Failure {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or(panic.downcast_ref::<&str>().map(ToString::to_string));
    Failure::NotHeld(text.unwrap_or_else(|| "it panicked".into()))
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
pub fn same<T: PartialEq<U> + std::fmt::Debug, U: std::fmt::Debug>(
    what: &str,
    got: T,
    want: U,
) -> Outcome {
    hold(got == want, || format!("{what}: {got:?} instead of {want:?}"))
}

/// The case makes no sense here.
///
/// # Errors
/// Always: [`Failure::NotApplicable`].
pub fn not_applicable<T>(why: &str) -> Result<T, Failure> {
    Err(Failure::NotApplicable(why.to_string()))
}
