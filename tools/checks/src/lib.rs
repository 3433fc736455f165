//! What makes each step that step: observations of a running container, and what a failed one means.
//!
//! A check runs a learner's program on the classroom host and looks at it from outside: what the command prints, its exit
//! status, the host's processes, mounts, namespaces, cgroups. It never looks at source code, so that whoever solves a step
//! differently passes. Where an observation is not as it should be, further ones tell why: the cause of a [`Failure`]
//! names the mistake, in terms of the system call.
//!
//! - [`CHECKS`] and [`holding_at`]: all the checks, and which of them hold at which step;
//! - [`Bench`]: runs checks on a program;
//! - [`lab`]: what a check has at hand.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::path::Path;
use std::path::PathBuf;

pub mod lab;
mod step01;
mod step02;
mod step03;
mod step04;
mod step05;
mod step06;
mod step07;
mod step08;
mod step09;
mod step10;

use lab::Lab;

/// One observation.
pub struct Check {
    /// A short name, for the table and for tests.
    pub name: &'static str,
    /// What the program does if this check passes: "passes the exit status on".
    pub title: &'static str,
    /// The step that brings it.
    pub from: u8,
    /// The last step at which it holds: 10, unless a later step changes the observation on purpose.
    pub until: u8,
    /// Manual pages to read.
    pub man: &'static str,
    /// Hints, each one telling more than the one before.
    pub hints: &'static [&'static str],
    /// What to look for among the lines that the reference step adds: the last hint.
    pub lines: &'static [&'static str],
    /// Makes the observation.
    pub observe: fn(&Lab) -> Result<(), Failure>,
}

/// An observation that was not as it should be.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was done: a command line, as a person would type it.
    pub did: String,
    /// What should have come of it.
    pub expected: String,
    /// What came of it.
    pub got: String,
    /// Why, probably.
    pub cause: String,
}

impl Failure {
    /// The parts of a report for the person in front of the screen: a word, and a text.
    pub fn parts(&self, check: &Check) -> Vec<(&'static str, String)> {
        vec![
            ("did", self.did.clone()),
            ("expected", self.expected.clone()),
            ("got", self.got.clone()),
            ("cause", self.cause.clone()),
            ("read", check.man.to_string()),
            ("guide", guide(check.from)),
        ]
    }
}

/// The section of the guide about a step: `workshop.md#step-05-…`, as GitHub makes links of headings.
pub fn guide(step: u8) -> String {
    let text =
        std::fs::read_to_string(classroom::repository().join("workshop.md")).unwrap_or_default();
    let start = format!("Step {step:02}");
    let heading = text
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .find(|line| line.starts_with(&start));
    let Some(heading) = heading else { return format!("workshop.md, step {step:02}") };
    let kept = heading.to_lowercase().replace(' ', "-");
    let kept: String = kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect();
    format!("workshop.md#{kept}")
}

/// For the tests of `my-container`: panics with a report if a check that holds at this step fails on this program.
///
/// # Panics
/// With the report of the first check that fails.
#[track_caller]
pub fn assert_step(step: u8, program: &Path) {
    let mut bench = Bench::new(program);
    for check in holding_at(step) {
        match bench.run(check) {
            Verdict::Passed => {}
            Verdict::Failed(_) if bench.has_outgrown(check) => {}
            Verdict::Impossible(why) => {
                let missing = classroom::Missing { why, by_nature: step == 10 };
                return classroom::need::skip(&missing, &format!("step10_cgroups::{}", check.name));
            }
            Verdict::Failed(failure) => {
                let parts = failure.parts(check);
                let report: String =
                    parts.iter().map(|(word, text)| format!("{word:>10}  {text}\n")).collect();
                panic!("step {:02}, {}:\n{report}", check.from, check.title);
            }
        }
    }
}

/// What came of a check.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The observation is as it should be.
    Passed,
    /// It is not.
    Failed(Failure),
    /// This machine cannot make the observation; why, and the cure.
    Impossible(String),
}

/// All checks, in the order of the steps.
pub const CHECKS: [&[Check]; 10] = [
    step01::CHECKS,
    step02::CHECKS,
    step03::CHECKS,
    step04::CHECKS,
    step05::CHECKS,
    step06::CHECKS,
    step07::CHECKS,
    step08::CHECKS,
    step09::CHECKS,
    step10::CHECKS,
];

/// The checks that the steps up to this one have brought, and that still hold at it.
pub fn holding_at(step: u8) -> impl Iterator<Item = &'static Check> {
    CHECKS.into_iter().flatten().filter(move |check| (check.from..=check.until).contains(&step))
}

/// Runs checks on one program: on a classroom host, and after a failed check on a new one.
pub struct Bench {
    program: PathBuf,
    lab: Option<Lab>,
}

impl Bench {
    /// A bench for this program.
    pub fn new(program: &Path) -> Bench {
        Bench { program: program.to_path_buf(), lab: None }
    }

    /// Runs one check. It always ends: whatever hangs, forks or prints without end is stopped.
    pub fn run(&mut self, check: &Check) -> Verdict {
        let lab = match self.lab.take() {
            Some(lab) => lab,
            // The classroom host panics where a test should end.
            None => match catch_unwind(|| Lab::new(&self.program)) {
                Ok(Ok(lab)) => lab,
                Ok(Err(missing)) => return Verdict::Impossible(missing.why),
                Err(panic) => return Verdict::Impossible(message(&*panic)),
            },
        };
        let result = catch_unwind(AssertUnwindSafe(|| {
            let result = (check.observe)(&lab);
            (result, lab.is_clean())
        }));
        if let Some(failure) = lab.is_lost() {
            return Verdict::Failed(failure);
        }
        match result {
            Ok((Ok(()), is_clean)) => {
                // What a check has left behind must not be blamed on the next one.
                self.lab = is_clean.then_some(lab);
                Verdict::Passed
            }
            Ok((Err(failure), _)) => Verdict::Failed(failure),
            Err(panic) => Verdict::Impossible(message(&*panic)),
        }
    }

    /// Whether the program is a step further, where this check does not hold any more on purpose.
    pub fn has_outgrown(&mut self, check: &Check) -> bool {
        let next = CHECKS.get(usize::from(check.until)).and_then(|checks| checks.first());
        next.is_some_and(|next| matches!(self.run(next), Verdict::Passed))
    }
}

/// What a panic says.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or(panic.downcast_ref::<&str>().map(|text| text.to_string())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use steps::Step;
    use steps::Steps;

    use super::*;

    /// The last hint shows lines of the reference step: there have to be some.
    #[test]
    fn the_last_hint_finds_its_lines() {
        let steps = Steps::find(steps::repository()).unwrap();
        let mut missing = Vec::new();
        for check in CHECKS.into_iter().flatten() {
            let source = steps.source(Step::new(check.from)).unwrap();
            for pattern in check.lines {
                if !source.contains(pattern) {
                    missing.push(format!(
                        "{}: step {} has no line with {pattern}",
                        check.name, check.from
                    ));
                }
            }
        }
        assert!(missing.is_empty(), "{missing:#?}");
    }
}
