//! The checks as a test program of `my-container`: one test per step.

use std::path::Path;
use std::process::ExitCode;

use classroom::root::{is_root, variables};
use classroom::{Error, Result, trial};
use steps::Step;

use crate::{Bench, Check, Failure, Verdict, holding_at};

/// Runs the tests of this program: by root, if the program makes a cgroup.
pub fn main(program: &'static Path) -> ExitCode {
    let test = |step: Step| trial::trial(format!("step_{step}"), move || look(step, program));
    let trials = Step::all().map(test).collect();
    if is_root() || !matches!(look(Step::new(1), program), Err(Error::NeedsRoot(_))) {
        return trial::run(trials);
    }
    trial::run_as_root(trials, |_| true, || Ok(variables(&["CI", "ROOTFS"])))
}

/// The checks that hold at this step, up to the first that fails.
fn look(step: Step, program: &Path) -> Result<()> {
    let mut bench = Bench::new(program);
    for check in holding_at(step) {
        match bench.run_unless_outgrown(check) {
            None | Some(Verdict::Passed) => {}
            Some(Verdict::Failed(failure)) => {
                return Err(Error::Failed(report(check, &failure, step)));
            }
            Some(Verdict::NeedsRoot(failure)) => return Err(Error::NeedsRoot(failure.got)),
            Some(Verdict::Impossible(why)) => return Err(Error::Missing(why)),
        }
    }
    Ok(())
}

fn report(check: &'static Check, failure: &Failure, at: Step) -> String {
    let parts = failure.parts(failure.about(check, at), at);
    let indented =
        |text: &str| text.lines().map(str::trim_start).collect::<Vec<_>>().join("\n            ");
    let parts: String =
        parts.iter().map(|(word, text)| format!("{word:>10}  {}\n", indented(text))).collect();
    format!("step {at}: it {} (since step {}):\n{parts}", check.title, check.from)
}
