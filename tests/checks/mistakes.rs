//! The checker is checked: typical mistakes, each a small change to one of the ten steps. `cargo workshop check` has to stop
//! at the right check, and the cause that it prints has to name the mistake.
//!
//!     cargo test -p checks-tests --test mistakes -- --nocapture     prints what a learner reads of each
//!     MISTAKE=chdir-forgotten cargo test …                    only those whose name contains this

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use checks::Bench;
use checks::Failure;
use checks::Verdict;
use checks::holding_at;
use classroom::repository;

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

fn source(step: u8) -> String {
    let steps = fs::read_dir(repository().join("steps")).expect("no steps");
    let prefix = format!("step{step:02}_");
    let folder =
        steps.flatten().find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    fs::read_to_string(folder.expect("no such step").path().join("src/main.rs"))
        .expect("no main.rs")
}

impl Mistake {
    /// The source with the mistake in it; or which line of the reference step is not there any more.
    fn source(&self) -> Result<String, String> {
        let mut text = source(self.step);
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

/// One crate with a program per mistake, so that the dependencies are built once.
fn build(mistakes: &[&Mistake]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mistakes");
    _ = fs::remove_dir_all(folder.join("src"));
    fs::create_dir_all(folder.join("src/bin")).expect("cannot make a folder");
    let root = fs::read_to_string(repository().join("Cargo.toml")).expect("no Cargo.toml");
    let step = fs::read_dir(repository().join("steps"))
        .expect("no steps")
        .flatten()
        .map(|entry| entry.path())
        .max();
    let step =
        fs::read_to_string(step.expect("no step").join("Cargo.toml")).expect("no Cargo.toml");
    // The workspace's versions, the last step's dependencies; nothing to debug, so that it builds quickly.
    let part = |text: &str, from: &str, to: &str| {
        let start = text.find(from).unwrap_or_else(|| panic!("no {from}"));
        let end = text[start..].find(to).map_or(text.len(), |end| start + end);
        text[start..end].to_string()
    };
    let versions = part(&root, "[workspace.dependencies]", "\n[workspace.lints");
    let versions: String = versions
        .lines()
        .filter(|line| !line.contains("path ="))
        .map(|line| format!("{line}\n"))
        .collect();
    let manifest = format!(
        "[package]\nname = \"mistakes\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [profile.dev]\ndebug = false\n\n{versions}\n{}",
        part(&step, "[dependencies]", "[dev-dependencies]")
    );
    fs::write(folder.join("Cargo.toml"), manifest).expect("cannot write");
    fs::copy(repository().join("Cargo.lock"), folder.join("Cargo.lock")).expect("no Cargo.lock");
    for mistake in mistakes {
        let source = mistake.source().expect("it has been looked at before");
        fs::write(folder.join(format!("src/bin/{}.rs", mistake.name)), source)
            .expect("cannot write");
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--offline", "--bins"]).current_dir(&folder);
    cargo.env("CARGO_TARGET_DIR", folder.join("target")).env("RUSTFLAGS", "-Awarnings");
    assert!(cargo.status().expect("cannot run cargo").success(), "the mistakes do not compile");
    folder.join("target/debug")
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
    let stale: Vec<String> = mistakes.iter().filter_map(|mistake| mistake.source().err()).collect();
    assert!(stale.is_empty(), "{stale:#?}");
    let programs = build(&mistakes);

    let queue = Mutex::new(mistakes.iter());
    let wrong = Mutex::new(String::new());
    let work = || {
        loop {
            let Some(mistake) = queue.lock().expect("a thread panicked").next() else { return };
            let found = first_failure(&programs.join(mistake.name), mistake.step);
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
