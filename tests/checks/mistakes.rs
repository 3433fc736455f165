//! The checker is checked: typical mistakes (mistakes.txt), each a small change to one of the ten steps. `cargo
//! workshop check` has to stop at the right check, and the cause that it prints has to name the mistake.
//!
//!     cargo test -p checks-tests --test mistakes -- --nocapture       prints what a learner reads of each
//!     cargo test -p checks-tests --test mistakes chdir-forgotten      only those whose name contains this

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use checks::Bench;
use checks::Verdict;
use checks::holding_at;
use classroom::Error;
use classroom::Result;
use classroom::trial;
use steps::Change;
use steps::Step;
use steps::Steps;
use steps::Variant;
use steps::repository;

/// A typical mistake.
struct Mistake {
    name: &'static str,
    /// The step that it is made in.
    step: Step,
    /// What to replace in its main.rs, each exactly once.
    edits: Vec<(String, String)>,
    /// The check that has to stop it; or two, where it is up to chance which one comes first.
    checks: Vec<&'static str>,
    /// What the cause has to mention.
    causes: Vec<&'static str>,
}

static MISTAKES: LazyLock<Vec<Mistake>> = LazyLock::new(|| {
    let mut mistakes = Vec::new();
    for text in include_str!("mistakes.txt").split("\n\n").filter(|text| text.starts_with('[')) {
        mistakes.push(
            parse(text).unwrap_or_else(|| panic!("mistakes.txt: this is no mistake:\n{text}")),
        );
    }
    mistakes
});

fn parse(text: &'static str) -> Option<Mistake> {
    let (head, body) = text.split_once('\n')?;
    let (name, rest) = head.strip_prefix('[')?.split_once("] step ")?;
    let (step, checks) = rest.split_once(", check ")?;
    let (step, checks) = (step.parse().ok()?, checks.split(" or ").collect());
    let mut mistake = Mistake { name, step, edits: Vec::new(), checks, causes: Vec::new() };
    // The lines of an edit, before and after.
    let (mut from, mut to): (Vec<&str>, Vec<&str>) = Default::default();
    for line in body.lines().chain(["~"]) {
        let begins = line == "~" || line.starts_with('-') && !to.is_empty();
        if begins && !from.is_empty() {
            mistake.edits.push((from.join("\n"), to.join("\n")));
            (from, to) = Default::default();
        }
        match (line.strip_prefix('-'), line.strip_prefix('+'), line.strip_prefix("cause: ")) {
            (Some(line), ..) => from.push(line),
            (_, Some(line), _) => to.push(line),
            (.., Some(cause)) => mistake.causes.push(cause),
            _ if line == "~" => {}
            _ => return None,
        }
    }
    Some(mistake)
}

impl Mistake {
    /// The source with the mistake in it; or which line of the reference step is not there any more.
    fn source(&self, steps: &Steps) -> Result<String> {
        let mut text = steps.source(self.step).map_err(|err| Error::Failed(format!("{err:#}")))?;
        for (from, to) in &self.edits {
            if text.matches(from).count() != 1 {
                return Err(Error::Failed(format!(
                    "step {} has not exactly one {from:?}",
                    self.step
                )));
            }
            text = text.replacen(from, to, 1);
        }
        Ok(text)
    }

    /// Whether it is found, and named.
    fn is_named(&self) -> Result<()> {
        let program = PROGRAMS[self.name].as_ref().map_err(Error::clone)?;
        let mut bench = Bench::new(program);
        for check in holding_at(self.step) {
            let failure = match bench.run(check) {
                Verdict::Passed => continue,
                Verdict::Failed(failure) => failure,
                Verdict::NeedsRoot(failure) => return Err(Error::NeedsRoot(failure.got)),
                Verdict::Impossible(why) => return Err(Error::Missing(why)),
            };
            let (got, cause) = (failure.got, failure.cause.text);
            let report = format!(
                "{} (step {}): {}\n    got: {got}\n    cause: {cause}",
                self.name, self.step, check.name
            );
            if trial::is_asked("--nocapture") {
                println!("{report}\n");
            }
            let named = self.checks.contains(&check.name)
                && self.causes.iter().all(|part| cause.contains(part));
            let (checks, causes) = (&self.checks, &self.causes);
            let wrong =
                || Error::Failed(format!("{report}\n    instead of: {checks:?}, {causes:?}"));
            return named.then_some(()).ok_or_else(wrong);
        }
        Err(Error::Failed("no check fails".into()))
    }
}

/// The programs with the mistakes in them, built at the first call, or why one cannot be.
static PROGRAMS: LazyLock<BTreeMap<&str, Result<PathBuf>>> = LazyLock::new(|| {
    let steps = Steps::find(repository()).unwrap();
    let (mut programs, mut names, mut variants) = (BTreeMap::new(), Vec::new(), Vec::new());
    for mistake in &*MISTAKES {
        match mistake.source(&steps) {
            Ok(main) => {
                let (package, change) = (mistake.name.to_string(), Change::Main(main));
                variants.push(Variant { package, step: mistake.step, change });
                names.push(mistake.name);
            }
            Err(stale) => _ = programs.insert(mistake.name, Err(stale)),
        }
    }
    let built =
        steps.variants("mistakes", &variants).unwrap_or_else(|err| panic!("the mistakes: {err:#}"));
    programs.extend(names.into_iter().zip(built.programs.into_iter().map(Ok)));
    programs
});

fn main() -> ExitCode {
    trial::run(
        MISTAKES.iter().map(|mistake| trial::trial(mistake.name, || mistake.is_named())).collect(),
    )
}
