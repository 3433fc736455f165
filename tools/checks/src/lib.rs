//! What makes each step that step: observations of a running container, and what a failed one means.
//!
//! A check runs a learner's program on the classroom host and looks at it from outside: what the command prints, its
//! exit status, the host's processes, mounts, namespaces, cgroups. It never looks at source code, so that whoever
//! solves a step differently passes. Where an observation is not as it should be, further ones tell why: the cause of a
//! [`Failure`] names the mistake, in terms of the system call.
//!
//! - [`all`] and [`holding_at`]: all the checks, and which of them hold at which step;
//! - [`Bench`]: runs checks on a program;
//! - [`lab`]: what a check has at hand.

use std::fs;
use std::path::{Path, PathBuf};

use classroom::root::is_root;
use classroom::{Error, repository};
use steps::Step;

/// A check: the step that brings it, the function that makes the observation and gives it its name, what the program
/// does if it passes; then what to read, hints, and what to look for in the step.
macro_rules! check {
    (
        $since:literal, $observe:ident, $title:literal,
        read: $man:literal,
        hints: [$($hint:literal),* $(,)?],
        lines: [$($line:literal),*],
        $(until: $until:literal,)?
    ) => {
        crate::Check {
            name: stringify!($observe),
            title: $title,
            from: steps::Step::new($since),
            until: steps::Step::new([$($until,)? steps::STEPS][0]),
            man: $man,
            hints: &[$($hint),*],
            lines: &[$($line),*],
            observe: $observe,
        }
    };
}

pub mod causes;
pub mod lab;
pub mod mine;
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

use causes::Evidence;
use lab::Lab;

/// One observation.
pub struct Check {
    /// A short name, for the table and for tests.
    pub name: &'static str,
    /// What the program does if this check passes: "passes the exit status on".
    pub title: &'static str,
    /// The step that brings it.
    pub from: Step,
    /// The last step at which it holds: 10, unless a later step changes the observation on purpose.
    pub until: Step,
    /// Manual pages to read.
    pub man: &'static str,
    /// Hints, each one telling more than the one before.
    pub hints: &'static [&'static str],
    /// What to look for among the lines that the reference step adds: the last hint.
    pub lines: &'static [&'static str],
    /// Makes the observation.
    pub observe: fn(&Lab) -> Result<()>,
}

/// Why a check has not passed.
#[derive(Debug)]
pub enum Stop {
    /// The observation was made, and is not as it should be.
    Wrong(Box<Failure>),
    /// It could not be made.
    Host(Error),
}

impl From<Error> for Stop {
    fn from(err: Error) -> Stop {
        Stop::Host(err)
    }
}

/// What comes of an observation.
pub type Result<T, E = Stop> = std::result::Result<T, E>;

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
    pub cause: Cause,
}

/// Why an observation is not as it should be, probably.
#[derive(Clone, Debug)]
pub struct Cause {
    /// The mistake, in terms of the system call.
    pub text: String,
    /// The check that is about it, if it is another one than the one that has failed.
    pub about: Option<&'static str>,
    /// Whether it is none: started by root, the program might pass.
    pub needs_root: bool,
    /// How well it is known.
    pub evidence: Evidence,
    /// Others that are as well known: a mistake in the table of causes.
    pub rivals: Vec<String>,
}

impl Cause {
    /// A cause that another check is about.
    pub fn about(check: &'static str, text: impl Into<String>) -> Cause {
        Cause { about: Some(check), ..text.into().into() }
    }
}

impl<T: Into<String>> From<T> for Cause {
    fn from(text: T) -> Cause {
        let (about, evidence) = (None, Evidence::Observed);
        Cause { text: text.into(), about, needs_root: false, evidence, rivals: Vec::new() }
    }
}

impl Failure {
    /// The check that is about what went wrong, in a program that is at this step: its hints and pages help. It is the
    /// one that the cause names. But what was not broken a step earlier belongs to this step.
    pub fn about(&self, failed: &'static Check, at: Step) -> &'static Check {
        let named = self.cause.about.and_then(|name| all().find(|check| check.name == name));
        let first = all().find(|check| check.from == at).unwrap_or(failed);
        match named {
            Some(check) if check.from <= at => check,
            _ if failed.from < at => first,
            _ => failed,
        }
    }

    /// The parts of a report for the person in front of the screen: a word, and a text.
    /// `about` is the check that helps, `at` the step that the program is at.
    pub fn parts(&self, about: &Check, at: Step) -> [(&'static str, String); 6] {
        [
            ("did", self.did.clone()),
            ("expected", self.expected.clone()),
            ("got", self.got.clone()),
            ("cause", self.cause.text.clone()),
            ("read", about.man.to_string()),
            ("guide", guide(about.from.max(at))),
        ]
    }
}

/// The section of the guide about a step: `workshop.md#step-05-…`, as GitHub makes links of headings.
pub fn guide(step: Step) -> String {
    let text = fs::read_to_string(repository().join("workshop.md")).unwrap_or_default();
    let mut headings = text.lines().filter_map(|line| line.strip_prefix("## "));
    let Some(heading) = headings.find(|line| line.starts_with(&format!("Step {step}"))) else {
        return format!("workshop.md, step {step}");
    };
    let kept = heading.to_lowercase().replace(' ', "-");
    let kept: String = kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect();
    format!("workshop.md#{kept}")
}

/// What came of a check.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The observation is as it should be.
    Passed,
    /// It is not.
    Failed(Failure),
    /// It is not, but perhaps only because this is not root.
    NeedsRoot(Failure),
    /// This machine cannot make the observation; why, and the cure.
    Impossible(String),
}

/// All checks, in the order of the steps.
pub fn all() -> impl Iterator<Item = &'static Check> {
    [
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
    ]
    .into_iter()
    .flatten()
}

/// The checks that the steps up to this one have brought, and that still hold at it.
pub fn holding_at(step: Step) -> impl Iterator<Item = &'static Check> {
    all().filter(move |check| (check.from..=check.until).contains(&step))
}

/// Runs checks on one program: on a classroom host, and after a failed check on a new one.
pub struct Bench {
    program: PathBuf,
    lab: Option<Lab>,
    has_strace: bool,
}

impl Bench {
    /// A bench for this program.
    pub fn new(program: &Path) -> Bench {
        Bench { program: program.to_path_buf(), lab: None, has_strace: true }
    }

    /// The same, on which there is no strace(1), wherever it is.
    pub fn without_strace(program: &Path) -> Bench {
        Bench { has_strace: false, ..Bench::new(program) }
    }

    /// Runs one check. It always ends: whatever hangs, forks or prints without end is stopped.
    pub fn run(&mut self, check: &Check) -> Verdict {
        let lab = self.lab.take().map_or_else(|| Lab::new(&self.program), Ok);
        let lab = match lab {
            Ok(lab) => lab,
            Err(why) => return Verdict::Impossible(why.to_string()),
        };
        if !self.has_strace {
            lab.hide_strace();
        }
        lab.begin(check.name);
        let seen = (check.observe)(&lab);
        if let Some(failure) = causes::lost(&lab) {
            return Verdict::Failed(failure);
        }
        match seen {
            Ok(()) => {
                // What a check has left behind must not be blamed on the next one.
                self.lab = lab.is_clean().then_some(lab);
                Verdict::Passed
            }
            Err(Stop::Wrong(failure)) if failure.cause.needs_root && !is_root() => {
                Verdict::NeedsRoot(*failure)
            }
            Err(Stop::Wrong(failure)) => Verdict::Failed(*failure),
            Err(Stop::Host(why)) => Verdict::Impossible(why.to_string()),
        }
    }

    /// Runs one check. None if the program is a step further, where this one does not hold any more on purpose.
    pub fn run_unless_outgrown(&mut self, check: &Check) -> Option<Verdict> {
        let verdict = self.run(check);
        let next = all().find(|next| next.from > check.until);
        let outgrown = matches!(verdict, Verdict::Failed(_))
            && next
                .is_some_and(|next| self.is_at_last() || matches!(self.run(next), Verdict::Passed));
        (!outgrown).then_some(verdict)
    }

    /// Whether the program takes the option that the last step brings: then it is there, whatever else is wrong with
    /// it.
    fn is_at_last(&mut self) -> bool {
        let Ok(lab) = Lab::new(&self.program) else { return false };
        lab.run(&["--pids-limit", "7", "true"])
            .is_ok_and(|done| matches!(done.status, Some(0 | 125)))
    }
}

#[cfg(test)]
mod tests {
    use steps::Steps;

    use super::*;

    /// The last hint shows lines of the reference step: there have to be some.
    #[test]
    fn the_last_hint_finds_its_lines() {
        let steps = Steps::find(repository()).unwrap();
        let mut missing = Vec::new();
        for check in all() {
            let source = steps.source(check.from).unwrap();
            for pattern in check.lines.iter().filter(|pattern| !source.contains(*pattern)) {
                missing.push(format!(
                    "{}: step {} has no line with {pattern}",
                    check.name, check.from
                ));
            }
        }
        assert!(missing.is_empty(), "{missing:#?}");
    }
}
