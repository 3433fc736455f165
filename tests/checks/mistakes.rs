//! The checker is checked: typical mistakes, each a small change to one of the ten steps. `cargo workshop check` has to stop
//! at the right check, and the cause that it prints has to name the mistake.
//!
//!     cargo test -p checks-tests --test mistakes -- --nocapture     prints what a learner reads of each
//!     MISTAKE=chdir-forgotten cargo test …                    only those whose name contains this

use std::env;
use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use checks::Bench;
use checks::Failure;
use checks::Verdict;
use checks::holding_at;
use steps::Change;
use steps::Step;
use steps::Steps;
use steps::Variant;
use steps::repository;

mod list;
use list::MISTAKES;

/// A typical mistake.
pub struct Mistake {
    name: &'static str,
    /// The step that it is made in.
    step: u8,
    /// What to replace in its main.rs, each exactly once.
    edits: &'static [(&'static str, &'static str)],
    /// The check that has to stop it; or two, where it is up to chance which one comes first.
    check: &'static str,
    /// What the cause has to mention.
    cause: &'static [&'static str],
}

impl Mistake {
    /// The source with the mistake in it; or which line of the reference step is not there any more.
    fn source(&self, steps: &Steps) -> Result<String, String> {
        let mut text = steps.source(Step::new(self.step)).map_err(|err| format!("{err:#}"))?;
        for (from, to) in self.edits {
            if text.matches(from).count() != 1 {
                return Err(format!(
                    "{}: step {} has not exactly one {from:?}",
                    self.name, self.step
                ));
            }
            text = text.replacen(from, to, 1);
        }
        Ok(text)
    }
}

/// The first check that fails.
fn first_failure(program: &Path, step: u8) -> Result<(&'static str, Failure), String> {
    let mut bench = Bench::new(program);
    for check in holding_at(step) {
        match bench.run(check) {
            Verdict::Passed => {}
            Verdict::Failed(failure) => return Ok((check.name, failure)),
            Verdict::Impossible(why) => {
                return Err(format!("{} cannot be made: {why}", check.name));
            }
        }
    }
    Err("no check fails".into())
}

#[test]
fn every_mistake_is_found_and_named() {
    let wanted = env::var("MISTAKE").unwrap_or_default();
    let mistakes: Vec<&Mistake> =
        MISTAKES.iter().filter(|mistake| mistake.name.contains(&wanted)).collect();
    assert!(mistakes.len() >= 25 || !wanted.is_empty());
    let steps = Steps::find(repository()).unwrap();
    let (mut variants, mut stale) = (Vec::new(), Vec::new());
    for mistake in &mistakes {
        match mistake.source(&steps) {
            Ok(main) => variants.push(Variant {
                package: mistake.name.to_string(),
                step: Step::new(mistake.step),
                change: Change::Main(main),
            }),
            Err(why) => stale.push(why),
        }
    }
    assert!(stale.is_empty(), "{stale:#?}");
    let programs = steps.variants("mistakes", &variants).unwrap().programs;

    let queue = Mutex::new(mistakes.iter().zip(programs));
    let wrong = Mutex::new(String::new());
    let work = || {
        loop {
            let Some((mistake, program)) = queue.lock().expect("a thread panicked").next() else {
                return;
            };
            let found = first_failure(&program, mistake.step);
            let report = match &found {
                Ok((check, failure)) => {
                    format!("{check}\n    got: {}\n    cause: {}", failure.got, failure.cause)
                }
                Err(why) => why.clone(),
            };
            println!("{} (step {:02}): {report}\n", mistake.name, mistake.step);
            let right = found.is_ok_and(|(check, failure)| {
                mistake.check.split('|').any(|name| name == check)
                    && mistake.cause.iter().all(|word| failure.cause.contains(word))
            });
            if !right {
                let mut wrong = wrong.lock().expect("a thread panicked");
                write!(
                    wrong,
                    "{} (step {:02}): {report}\n    instead of: {} ",
                    mistake.name, mistake.step, mistake.check
                )
                .expect("a String");
                writeln!(wrong, "{:?}\n", mistake.cause).expect("a String");
            }
        }
    };
    // Some at a time: most of a check is waiting.
    thread::scope(|scope| (0..3).for_each(|_| _ = scope.spawn(work)));
    let wrong = wrong.into_inner().expect("a thread panicked");
    assert!(wrong.is_empty(), "{wrong}");
    println!("{} mistakes, each found and named", mistakes.len());
}
