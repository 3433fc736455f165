//! Test programs of our own (`harness = false`), because a test that cannot run here is to count as *ignored*, with its
//! reason, and not as passed: only when it runs does it know.

use std::env;
use std::io::{Write, stderr};
use std::process::ExitCode;

use clap::Parser;
pub use libtest_mimic::Trial;
use libtest_mimic::{Arguments, Completion, Failed};

use crate::root::{Variables, become_root, is_root};
use crate::{Error, Result};

/// The trials of a test program, by the names of their functions: `trials![one, two]`. A function returns a
/// [`Result`](crate::Result), or panics.
#[macro_export]
macro_rules! trials {
    ($($test:path),* $(,)?) => { vec![$($crate::trial::trial(stringify!($test), $test)),*] };
}

/// A test. Where it cannot run, it is ignored; with `CI=true` it fails instead.
pub fn trial(name: impl Into<String>, test: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || match test() {
        Ok(()) => Ok(Completion::Completed),
        Err(Error::Failed(why)) => Err(why.into()),
        Err(Error::NeedsRoot(why) | Error::Missing(why)) => ignored(&why),
        Err(Error::NotApplicable(why)) => Ok(Completion::ignored_with(why)),
    })
}

fn ignored(why: &str) -> std::result::Result<Completion, Failed> {
    if strict() {
        return Err(format!("it cannot run here, and with CI=true it has to: {why}").into());
    }
    Ok(Completion::ignored_with(why))
}

/// Whether this program was called with this option: `--nocapture` asks for what is only worth reading now and then.
pub fn is_asked(option: &str) -> bool {
    env::args().any(|argument| argument == option)
}

/// Whether everything has to run: with `CI=true`.
pub fn strict() -> bool {
    env::var_os("CI").is_some_and(|ci| ci == "true")
}

/// What cargo's own harness understands: more than one name to look for.
#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
    /// More of them
    filters: Vec<String>,
}

/// The arguments of this program, and the trials that they ask for.
fn asked_for(mut trials: Vec<Trial>) -> (Arguments, Vec<Trial>) {
    let Cli { mut arguments, mut filters } = Cli::parse();
    if !filters.is_empty() {
        filters.extend(arguments.filter.take());
        let is = |trial: &Trial, filter: &String| {
            if arguments.exact { trial.name() == filter } else { trial.name().contains(filter) }
        };
        trials.retain(|trial| filters.iter().any(|filter| is(trial, filter)));
    }
    (arguments, trials)
}

/// Runs the tests that the arguments of this program ask for.
pub fn run(trials: Vec<Trial>) -> ExitCode {
    let (arguments, trials) = asked_for(trials);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The same where some of the tests need root, by their names. The program starts itself again with sudo if it has to;
/// before that it `prepare`s what is not to be made by root, and says which variables it gives on. Where root cannot be
/// had, those tests are ignored, and a line tells how they are run.
pub fn run_as_root(
    trials: Vec<Trial>,
    needs_root: impl Fn(&str) -> bool,
    prepare: impl FnOnce() -> Result<Variables>,
) -> ExitCode {
    let (mut arguments, trials) = asked_for(trials);
    let (ours, others): (Vec<Trial>, Vec<Trial>) =
        trials.into_iter().partition(|trial| needs_root(trial.name()));
    let asked =
        ours.iter().filter(|trial| !arguments.list && !arguments.is_filtered_out(trial)).count();
    let why = match asked > 0 && !is_root() {
        true => prepare()
            .map_err(|err| err.to_string())
            .and_then(|variables| become_root(&variables, env::args_os().skip(1))),
        false => Ok(()),
    };
    let Err(why) = why else {
        return libtest_mimic::run(&arguments, others.into_iter().chain(ours).collect())
            .exit_code();
    };
    _ = writeln!(stderr(), "\n{asked} tests need root, and {why}");
    // Nobody wants to read the names of them all.
    arguments.quiet |= others.is_empty() && arguments.format.is_none();
    let ignore =
        |trial: Trial| Trial::ignorable_test(trial.name().to_string(), || ignored("it needs root"));
    libtest_mimic::run(&arguments, others.into_iter().chain(ours.into_iter().map(ignore)).collect())
        .exit_code()
}
