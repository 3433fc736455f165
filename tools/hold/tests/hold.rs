//! Step 10's column of the table, and each case on the step that introduces it: one test per case and step.

use std::process::ExitCode;

use classroom::Error;
use classroom::Result;
use classroom::trial;
use hold::Case;
use hold::Decision;
use hold::Failure;
use hold::Outcome;
use hold::Runner;

fn main() -> ExitCode {
    if hold::helper::called() {
        return ExitCode::SUCCESS;
    }
    let mut trials = Vec::new();
    for case in hold::CASES.iter().copied().flatten() {
        let introduced = (case.decision == Decision::Held && case.since < 10).then_some(case.since);
        for step in introduced.into_iter().chain([10]) {
            let name = format!("step{step:02}::{}::{}", case.group.replace(' ', "_"), case.name);
            trials.push(trial::trial(name, move || test(case, step)));
        }
    }
    trials.push(trial::trial("step10::soak", || {
        judge(hold::soak::soak(200, |line| println!("{line}")), Decision::Held, "all is as before")
    }));
    trial::run_as_root(trials, |name| name.starts_with("step10"), hold::lab::prepare)
}

fn test(case: &Case, step: u8) -> Result<()> {
    let outcome = Runner::find(&step.to_string()).and_then(|runner| case.try_on(&runner));
    judge(outcome, case.decision, case.says)
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
