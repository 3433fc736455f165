//! Step 10's column of the table, and each case on the step that introduces it: one test per case and step.

use hold::{Case, Decision, Failure, Outcome, Runner};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    if hold::helper::called() {
        return;
    }
    let mut trials = Vec::new();
    for case in hold::CASES.iter().copied().flatten() {
        let steps = if case.decision == Decision::Held && case.since < 10 {
            vec![case.since, 10]
        } else {
            vec![10]
        };
        for step in steps {
            let name = format!("step{step:02}::{}::{}", case.group.replace(' ', "_"), case.name);
            trials.push(Trial::test(name.clone(), move || test(case, step, &name)));
        }
    }
    trials.push(Trial::test("step10::soak", || {
        let outcome = hold::soak::soak(200, |line| println!("{line}"));
        judge(outcome, Decision::Held, "all is as before", "step10::soak")
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn test(case: &Case, step: u8, name: &str) -> Result<(), Failed> {
    let outcome = Runner::find(&step.to_string()).and_then(|runner| case.try_on(&runner));
    judge(outcome, case.decision, case.says, name)
}

fn judge(outcome: Outcome, decision: Decision, says: &str, name: &str) -> Result<(), Failed> {
    let fits = decision.fits(&outcome);
    match (outcome, decision) {
        (Err(Failure::Missing(why, by_nature)), _) => {
            if std::env::var_os("CI").is_some_and(|ci| ci == "true") && !by_nature {
                return Err(format!("cannot run here, and with CI=true it has to: {why}").into());
            }
            eprintln!("SKIPPED {name}: {why}");
            Ok(())
        }
        (Err(Failure::NotApplicable(why)), _) => {
            eprintln!("SKIPPED {name}: {why}");
            Ok(())
        }
        _ if fits => Ok(()),
        (Err(Failure::NotHeld(why)), _) => Err(format!("{says}: {why}").into()),
        (Ok(()), Decision::Open(place)) => {
            Err(format!("step 10 holds this now ({says}): say so here, and in: {place}").into())
        }
        (Ok(()), Decision::Held) => Ok(()),
    }
}
