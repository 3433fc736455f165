//! The checker is checked: other ways to do what a step does (right.txt), each as right as the step itself. No check
//! refuses them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use checks::{Bench, Verdict, holding_at};
use checks_tests::{Edited, build};
use classroom::{Error, Result, trial};

static SOLUTIONS: LazyLock<Vec<Edited>> = LazyLock::new(|| Edited::all(include_str!("right.txt")));

/// Built at the first use.
static PROGRAMS: LazyLock<BTreeMap<&str, Result<PathBuf>>> =
    LazyLock::new(|| build("right", &SOLUTIONS));

fn passes(solution: &Edited) -> Result<()> {
    let program = PROGRAMS[solution.name].as_ref().map_err(Error::clone)?;
    let mut bench = Bench::new(program);
    for check in holding_at(solution.step) {
        match bench.run(check) {
            Verdict::Passed => {}
            Verdict::Failed(failure) => {
                return Err(Error::Failed(format!("{} refuses it: {failure:#?}", check.name)));
            }
            Verdict::NeedsRoot(failure) => return Err(Error::NeedsRoot(failure.got)),
            Verdict::Impossible(why) => return Err(Error::Missing(why)),
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    trial::run(SOLUTIONS.iter().map(|it| trial::trial(it.name, || passes(it))).collect())
}
