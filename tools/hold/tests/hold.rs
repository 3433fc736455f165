//! Step 10's column of the table, with all locks and without, and each case on the step that introduces it: one test
//! per case and runner.

use std::process::ExitCode;

use classroom::trial::Trial;
use classroom::{Error, Result, trial};
use hold::lab::LOCKS;
use hold::{Case, Decision, Failure, Outcome, Runner};

fn main() -> ExitCode {
    if hold::helper::called() {
        return ExitCode::SUCCESS;
    }
    let mut trials = Vec::new();
    for case in hold::CASES.iter().copied().flatten() {
        let introduced = (case.decision == Decision::Held && case.since < 10).then_some(case.since);
        // What fails is another in each step.
        let between = if case.group == "faults" { case.since + 1..10 } else { 0..0 };
        for step in introduced.into_iter().chain(between).chain([10]) {
            trials.push(test(case, &format!("step{step:02}")));
        }
        trials.push(test(case, LOCKS));
    }
    trials.push(soak("step10"));
    trials.push(soak(LOCKS));
    let needs_root = |name: &str| name.starts_with("step10") || name.starts_with(LOCKS);
    trial::run_as_root(trials, needs_root, hold::lab::prepare)
}

fn test(case: &'static Case, runner: &str) -> Trial {
    let name = format!("{runner}::{}::{}", case.group.replace(' ', "_"), case.name);
    let runner = runner.to_string();
    trial::trial(name, move || {
        let runner = Runner::find(&runner).map_err(|err| Error::Missing(err.to_string()))?;
        judge(case.try_on(&runner), case.decision(&runner), case.says)
    })
}

fn soak(runner: &'static str) -> Trial {
    trial::trial(format!("{runner}::soak"), move || {
        let runner = Runner::find(runner).map_err(|err| Error::Missing(err.to_string()))?;
        let outcome = hold::soak::soak(&runner, 200, |line| println!("{line}"));
        judge(outcome, Decision::Held, "all is as before")
    })
}

fn judge(outcome: Outcome, decision: Decision, says: &str) -> Result<()> {
    match (outcome, decision) {
        (Err(Failure::Missing(missing)), _) => Err(missing),
        (Ok(()), Decision::Open(place)) => Err(Error::Failed(format!(
            "step 10 holds this now ({says}): say so here, and in: {place}"
        ))),
        (Err(Failure::NotHeld(why)), Decision::Held) => {
            Err(Error::Failed(format!("{says}: {why}")))
        }
        (Err(Failure::NotApplicable(why)), _) => Err(Error::NotApplicable(why)),
        (Ok(()), Decision::Held) | (Err(Failure::NotHeld(_)), Decision::Open(_)) => Ok(()),
    }
}
