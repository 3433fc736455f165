//! The class's own waiting: thirty people, each in front of `cargo build`.

use std::fmt::Write;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;

use crate::{Machine, conditions, progress};

/// Measures in a target directory of its own, so that yours stays as warm as it is.
pub fn measure(machine: &Machine, smoke: bool) -> anyhow::Result<String> {
    let conditions = conditions();
    if smoke {
        // Built already, where `cargo test` has run.
        let mut class = Class { machine, target: machine.target.clone(), rows: Vec::new() };
        class.cargo("`cargo build`", &["build"])?;
        return Ok(class.report(conditions));
    }
    let target = machine.target.join("bench-class");
    if target.exists() {
        fs::remove_dir_all(&target).with_context(|| format!("cannot remove {target:?}"))?;
    }
    let mut class = Class { machine, target, rows: Vec::new() };
    let step = machine.steps()?[9].clone();
    class.machine.cargo().args(["fetch", "--locked"]).status().context("cannot run cargo")?;
    class.cargo("`cargo build` of everything, cold", &["build"])?;
    class.edit(&step)?;
    class.cargo("`cargo build` after an edit of one step", &["build"])?;
    let steps = machine.steps()?;
    let mut tests = vec!["test"];
    tests.extend(steps.iter().flat_map(|step| ["--package", step]));
    let build: Vec<_> = tests.iter().copied().chain(["--no-run"]).collect();
    class.cargo("building the tests of all ten steps, the first time", &build)?;
    class.cargo("`cargo test` of all ten steps, built", &tests)?;
    class.edit(&step)?;
    let check = ["test", "--package", &step, "--test", &step];
    class.cargo("edit, build and check one step", &check)?;
    fs::remove_dir_all(&class.target)?;
    Ok(class.report(conditions))
}

struct Class<'a> {
    machine: &'a Machine,
    target: std::path::PathBuf,
    rows: Vec<(String, Duration, bool)>,
}

impl Class<'_> {
    fn cargo(&mut self, what: &str, args: &[&str]) -> anyhow::Result<()> {
        progress(what);
        let mut cargo: Command = self.machine.cargo();
        cargo.args(args).env("CARGO_TARGET_DIR", &self.target);
        let begin = Instant::now();
        let output = cargo.stdin(Stdio::null()).output().context("cannot run cargo")?;
        let success = output.status.success();
        self.rows.push((what.to_string(), begin.elapsed(), success));
        if !success {
            eprint!("{}", String::from_utf8_lossy(&output.stdout));
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// What an editor does when it saves, as far as cargo can tell.
    fn edit(&self, step: &str) -> anyhow::Result<()> {
        let file = self.machine.root.join("steps").join(step).join("src/main.rs");
        File::options()
            .append(true)
            .open(&file)
            .and_then(|file| file.set_modified(SystemTime::now()))
            .with_context(|| format!("cannot touch {file:?}"))
    }

    fn report(&self, conditions: String) -> String {
        let mut text = format!(
            "## The class's own waiting\n\n{conditions}. Dependencies are downloaded already.\n\n\
             | | seconds |\n|---|---|\n"
        );
        for (what, time, success) in &self.rows {
            let failed = if *success { "" } else { " (failed)" };
            _ = writeln!(text, "| {what} | {:.1}{failed} |", time.as_secs_f64());
        }
        text
    }
}
