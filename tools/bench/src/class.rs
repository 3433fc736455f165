//! The class's own waiting: thirty people, each in front of `cargo build`.

use std::fmt::Write;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use classroom::root::is_root;

use crate::subjects::run;
use crate::{Machine, conditions, progress};

/// Measures in a clone of the last commit: with nothing built, and with a my-container of its own.
pub fn measure(machine: &Machine, smoke: bool) -> anyhow::Result<String> {
    let conditions = conditions();
    if smoke {
        // Built already, where `cargo test` has run.
        let root = machine.root.clone();
        let mut class = Class { machine, root, target: machine.target.clone(), rows: Vec::new() };
        class.cargo("`cargo build`", &["build"])?;
        return Ok(class.report(conditions));
    }
    let root = machine.out.join("class");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {root:?}"))?;
    }
    run(Command::new("git").args(["clone", "--quiet"]).args([&machine.root, &root]))?;
    let target = root.join("target");
    let mut class = Class { machine, root, target, rows: Vec::new() };
    class.machine.cargo().args(["fetch", "--locked"]).status().context("cannot run cargo")?;
    class.cargo("`cargo build` of everything, cold", &["build"])?;
    let steps = machine.steps()?;
    class.edit(&format!("steps/{}", steps[9]))?;
    class.cargo("`cargo build` after an edit of one step", &["build"])?;
    let mut tests = vec!["test"];
    tests.extend(steps.iter().flat_map(|step| ["--package", step]));
    let build: Vec<_> = tests.iter().copied().chain(["--no-run"]).collect();
    class.cargo("building the tests of all ten steps, the first time", &build)?;
    class.cargo("`cargo test` of all ten steps, built", &tests)?;
    // Limits need root, which would have to be asked for.
    let number = if is_root() { "10" } else { "9" };
    run(class.command(&["workshop", "catch-up", number]).stderr(Stdio::null()))?;
    // The first check also builds.
    for what in ["the first", "edit, build and"] {
        class.edit("my-container")?;
        let what = format!("{what} `cargo workshop check {number}`");
        class.cargo(&what, &["workshop", "check", number])?;
    }
    fs::remove_dir_all(&class.root)?;
    Ok(class.report(conditions))
}

struct Class<'a> {
    machine: &'a Machine,
    /// The repository, or its clone
    root: std::path::PathBuf,
    target: std::path::PathBuf,
    rows: Vec<(String, Duration, bool)>,
}

impl Class<'_> {
    fn cargo(&mut self, what: &str, args: &[&str]) -> anyhow::Result<()> {
        progress(what);
        let mut cargo = self.command(args);
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

    fn command(&self, args: &[&str]) -> Command {
        let mut cargo = self.machine.cargo();
        cargo.current_dir(&self.root).args(args);
        cargo.env("CARGO_TARGET_DIR", &self.target).env("ROOTFS", &self.machine.rootfs);
        cargo
    }

    /// What an editor does when it saves, as far as cargo can tell.
    fn edit(&self, package: &str) -> anyhow::Result<()> {
        let file = self.root.join(package).join("src/main.rs");
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
