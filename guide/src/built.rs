//! The programs that sessions run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::bail;
use anyhow::ensure;
use regex::Regex;

use crate::quote;
use crate::steps::Steps;

/// The programs, as far as they are built: each is built when it is needed.
#[derive(Default)]
pub struct Built {
    /// A folder in which everything is built already.
    pub folder: Option<PathBuf>,
    programs: RefCell<BTreeMap<String, PathBuf>>,
}

impl Built {
    /// What is built already, and where: cargo is not called then.
    pub fn here(folder: PathBuf) -> Built {
        Built { folder: Some(folder), ..Built::default() }
    }

    /// The program of a step, by the step's name.
    ///
    /// # Errors
    /// If it does not compile.
    pub fn step(&self, name: &str) -> anyhow::Result<PathBuf> {
        if let Some(folder) = &self.folder {
            return Ok(folder.join(name));
        }
        if let Some(known) = self.programs.borrow().get(name) {
            return Ok(known.clone());
        }
        let mut cargo = cargo();
        cargo.args([
            "build",
            "--quiet",
            "--message-format=json-render-diagnostics",
            "--package",
            name,
        ]);
        let program = executable(&mut cargo, name)?;
        self.programs.borrow_mut().insert(name.to_string(), program.clone());
        Ok(program)
    }

    /// The program of a step with a solution applied: `exercises/05-hostname.patch`.
    ///
    /// # Errors
    /// If the patch does not apply, or the result does not compile.
    pub fn solution(
        &self,
        root: &Path,
        steps: &Steps,
        step: u32,
        solution: &str,
    ) -> anyhow::Result<PathBuf> {
        let key = format!("{step:02}-{solution}");
        if let Some(folder) = &self.folder {
            return Ok(folder.join(key));
        }
        if let Some(known) = self.programs.borrow().get(&key) {
            return Ok(known.clone());
        }
        let name = steps.name(step)?;
        let place = root.join("target/guide").join(&key);
        let failed = || format!("cannot make {}", place.display());
        _ = fs::remove_dir_all(&place);
        let crate_folder = place.join("steps").join(&name);
        fs::create_dir_all(crate_folder.join("src")).with_context(failed)?;
        // A workspace with this one step in it, and without the step's tests.
        let workspace = fs::read_to_string(root.join("Cargo.toml")).with_context(failed)?;
        let members = Regex::new(r"(?s)^((?:default-)?members = )\[.*?\]").expect("well-formed");
        let lines = workspace.split("\n\n").map(|part| {
            let part = part
                .lines()
                .filter(|line| !line.contains("path = \""))
                .collect::<Vec<_>>()
                .join("\n");
            let part = part.replace("\ndefault-members", "\nmembers-");
            part.lines()
                .filter(|line| !line.starts_with("members-"))
                .map(|line| {
                    members.replace(line, format!("$1[\"steps/{name}\"]")).into_owned() + "\n"
                })
                .collect::<String>()
        });
        fs::write(place.join("Cargo.toml"), lines.collect::<Vec<_>>().join("\n"))
            .with_context(failed)?;
        fs::copy(root.join("Cargo.lock"), place.join("Cargo.lock")).with_context(failed)?;
        fs::copy(steps.main(step)?, crate_folder.join("src/main.rs")).with_context(failed)?;
        fs::copy(steps.folder(step)?.join("Cargo.toml"), crate_folder.join("Cargo.toml"))
            .with_context(failed)?;
        let mut apply = quote::git();
        // A folder that git ignores: for git it is in no repository.
        apply.current_dir(&place).env("GIT_CEILING_DIRECTORIES", place.parent().unwrap_or(root));
        let applied = apply
            .args(["apply", "--"])
            .arg(quote::patch(&root.canonicalize()?, step, solution))
            .output();
        let applied = applied.context("cannot run git")?;
        let error = String::from_utf8_lossy(&applied.stderr);
        ensure!(
            applied.status.success(),
            "exercises/{key}.patch does not apply to {name}: {}",
            error.trim()
        );
        let manifest = fs::read_to_string(crate_folder.join("Cargo.toml")).with_context(failed)?;
        let tests = manifest.find("[dev-dependencies]").unwrap_or(manifest.len());
        fs::write(crate_folder.join("Cargo.toml"), &manifest[..tests]).with_context(failed)?;
        let mut cargo = cargo();
        cargo.args(["build", "--quiet", "--offline", "--message-format=json-render-diagnostics"]);
        cargo.arg("--manifest-path").arg(place.join("Cargo.toml"));
        cargo.arg("--target-dir").arg(root.join("target/guide/built"));
        let program =
            executable(&mut cargo, &name).with_context(|| format!("exercises/{key}.patch"))?;
        // The next solution of this step is built in the same place.
        let kept = place.join(&name);
        fs::copy(&program, &kept).with_context(failed)?;
        self.programs.borrow_mut().insert(key, kept.clone());
        Ok(kept)
    }
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Builds, and returns the program that comes of it.
fn executable(cargo: &mut Command, name: &str) -> anyhow::Result<PathBuf> {
    let output = cargo.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("{name} does not compile:\n{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let found = Regex::new(r#""executable":"([^"]+)""#).expect("the expression is well-formed");
    let program = found.captures_iter(&text).map(|found| PathBuf::from(&found[1])).last();
    program.with_context(|| format!("cargo has built {name}, and does not say where"))
}
