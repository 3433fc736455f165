//! The checks as a test program of `my-container`: one test per step.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;

use classroom::Error;
use classroom::error::Attempt;
use classroom::root::Root;
use classroom::root::sudo;
use classroom::root::typed;
use classroom::root::variables;
use classroom::trial;
use steps::Step;

use crate::Bench;
use crate::Check;
use crate::Failure;
use crate::Verdict;
use crate::holding_at;

/// Runs the tests of this program.
pub fn main(program: &'static Path) -> ExitCode {
    let test = |step: Step| trial::trial(format!("step_{step}"), move || look(step, program));
    trial::run(Step::all().map(test).collect())
}

/// The checks that hold at this step, up to the first that fails.
fn look(step: Step, program: &Path) -> classroom::Result<()> {
    let mut bench = Bench::new(program);
    for check in holding_at(step) {
        match bench.run_unless_outgrown(check) {
            None | Some(Verdict::Passed) => {}
            Some(Verdict::Failed(failure)) => return Err(Error::Failed(report(check, &failure))),
            Some(Verdict::NeedsRoot(_)) => return as_root(step),
            Some(Verdict::Impossible(why)) => return Err(Error::Missing(why)),
        }
    }
    Ok(())
}

fn report(check: &Check, failure: &Failure) -> String {
    let parts = failure.parts(check);
    let parts: String = parts.iter().map(|(word, text)| format!("{word:>10}  {text}\n")).collect();
    format!("step {}, {}:\n{parts}", check.from, check.title)
}

/// The same test once more, by root. (Only this one: what works without root is to be seen without root.)
fn as_root(step: Step) -> classroom::Result<()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _lock = ONE_AT_A_TIME.lock();
    let mut again = sudo(&variables(&["CI", "ROOTFS"]), ["--exact", &format!("step_{step}")]);
    let line = typed(&again);
    if let Root::Cannot(why) = Root::here() {
        return Err(Error::NeedsRoot(format!("it needs root, and {why}. By hand: {line}")));
    }
    eprintln!("+ {line}");
    let done = again.output().attempt("run sudo")?;
    if done.status.success() {
        return Ok(());
    }
    Err(Error::Failed(String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned()))
}
