//! The checker is checked: typical mistakes (mistakes.txt), each a small change to one of the ten steps. `cargo
//! workshop check` has to stop at the right check, and the cause that it prints has to name the mistake.
//!
//!     cargo test -p checks-tests --test mistakes -- --nocapture       prints what a learner reads of each
//!     cargo test -p checks-tests --test mistakes chdir-forgotten      only those whose name contains this

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use checks::{Bench, Verdict, holding_at};
use checks_tests::{Edited, build};
use classroom::root::is_root;
use classroom::{Error, Result, trial};

static MISTAKES: LazyLock<Vec<Edited>> =
    LazyLock::new(|| Edited::all(include_str!("mistakes.txt")));

/// Built at the first use.
static PROGRAMS: LazyLock<BTreeMap<&str, Result<PathBuf>>> =
    LazyLock::new(|| build("mistakes", &MISTAKES));

/// Whether it is found, and named.
fn is_named(mistake: &Edited) -> Result<()> {
    let program = PROGRAMS[mistake.name].as_ref().map_err(Error::clone)?;
    if mistake.words("only") == ["root"] && !is_root() {
        return Err(Error::NeedsRoot("only root can see it".into()));
    }
    is_named_on(Bench::new(program), mistake, &mistake.words("cause"))?;
    match &mistake.words("said")[..] {
        [] => Ok(()),
        causes => is_named_on(Bench::without_strace(program), mistake, causes),
    }
}

fn is_named_on(mut bench: Bench, mistake: &Edited, causes: &[&str]) -> Result<()> {
    for check in holding_at(mistake.step) {
        let failure = match bench.run(check) {
            Verdict::Passed => continue,
            Verdict::Failed(failure) => failure,
            Verdict::NeedsRoot(failure) => return Err(Error::NeedsRoot(failure.got)),
            Verdict::Impossible(why) => return Err(Error::Missing(why)),
        };
        let about = failure.about(check, mistake.step).name;
        let (got, cause) = (failure.got, failure.cause);
        let report = format!(
            "{} (step {}): {} (about: {about})\n    got: {got}\n    cause: {}",
            mistake.name, mistake.step, check.name, cause.text
        );
        if trial::is_asked("--nocapture") {
            println!("{report}\n");
        }
        if !cause.rivals.is_empty() {
            let rivals = cause.rivals.join("\n    or: ");
            return Err(Error::Failed(format!("{report}\n    or: {rivals}")));
        }
        let [checks, abouts] = ["check", "about"].map(|word| mistake.words(word));
        let named = checks.iter().flat_map(|names| names.split(" or ")).any(|it| it == check.name)
            && abouts.iter().all(|names| names.split(" or ").any(|it| it == about))
            && mistake.words("got").iter().all(|part| got.contains(part))
            && causes.iter().all(|part| cause.text.contains(part));
        let wrong = || {
            Error::Failed(format!("{report}\n    instead of: {checks:?}, {abouts:?}, {causes:?}"))
        };
        return named.then_some(()).ok_or_else(wrong);
    }
    Err(Error::Failed("no check fails".into()))
}

fn main() -> ExitCode {
    trial::run(MISTAKES.iter().map(|it| trial::trial(it.name, || is_named(it))).collect())
}
