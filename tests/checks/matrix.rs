//! The checker is checked: all checks on all ten steps. A check fails on the steps before its own, and passes from
//! there on, as long as it holds. One that passes everywhere would prove nothing.
//!
//!     cargo test -p checks-tests --test matrix -- --nocapture     prints a table

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use checks::{Bench, Verdict};
use classroom::{Error, Result, trial};
use steps::{Step, Steps, repository};

static PROGRAMS: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    let steps = Steps::find(repository()).and_then(|steps| steps.programs(Step::all()));
    steps.unwrap_or_else(|err| panic!("{err:#}"))
});

fn main() -> ExitCode {
    trial::run(
        Step::all().map(|step| trial::trial(format!("step{step}"), move || column(step))).collect(),
    )
}

/// All checks on one step.
fn column(step: Step) -> Result<()> {
    let mut bench = Bench::new(&PROGRAMS[usize::from(step.number()) - 1]);
    let (mut letters, mut wrong) = (String::new(), String::new());
    let mut from = Step::new(1);
    for check in checks::all() {
        let expected = (check.from..=check.until).contains(&step);
        let verdict = bench.run(check);
        let passed = match verdict {
            Verdict::Passed => true,
            Verdict::Failed(_) => false,
            Verdict::NeedsRoot(_) => return Err(Error::NeedsRoot("some steps need root".into())),
            Verdict::Impossible(why) => return Err(Error::Missing(why)),
        };
        if passed != expected {
            wrong += &format!("{} on step {step}: {verdict:#?}\n", check.name);
        }
        if check.from != from {
            from = check.from;
            letters.push(' ');
        }
        letters.push(if passed { '+' } else { '.' });
    }
    if trial::is_asked("--nocapture") {
        println!("step {step}  {letters}");
    }
    if wrong.is_empty() { Ok(()) } else { Err(Error::Failed(wrong)) }
}
