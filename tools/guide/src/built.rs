//! The programs that sessions run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

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
    programs: Mutex<BTreeMap<String, PathBuf>>,
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
        let mut programs = self.programs.lock().ok().context("another session has failed")?;
        if let Some(known) = programs.get(name) {
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
        programs.insert(name.to_string(), program.clone());
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
        let mut programs = self.programs.lock().ok().context("another session has failed")?;
        if let Some(known) = programs.get(&key) {
            return Ok(known.clone());
        }
        let name = steps.name(step)?;
        // A workspace with this one step in it, and without the step's tests.
        let place = root.join("target/guide").join(&key);
        let failed = || format!("cannot make {}", place.display());
        let patch = quote::patch(&root.canonicalize().with_context(failed)?, step, solution);
        let mut made_of = String::new();
        for file in [&root.join("Cargo.toml"), &root.join("Cargo.lock"), &steps.main(step)?, &patch]
        {
            let text = fs::read_to_string(file);
            made_of += &text.with_context(|| format!("cannot read {}", file.display()))?;
        }
        let (kept, label) = (place.join(&name), place.join("made-of"));
        if kept.exists() && fs::read_to_string(&label).is_ok_and(|label| label == made_of) {
            programs.insert(key, kept.clone());
            return Ok(kept);
        }
        _ = fs::remove_dir_all(&place);
        let folder = place.join("steps").join(&name);
        fs::create_dir_all(folder.join("src")).with_context(failed)?;
        for file in ["Cargo.toml", "Cargo.lock"] {
            fs::copy(root.join(file), place.join(file)).with_context(failed)?;
        }
        for file in ["Cargo.toml", "src/main.rs"] {
            fs::copy(steps.folder(step)?.join(file), folder.join(file)).with_context(failed)?;
        }
        // For git this folder is in no repository, or it would take the repository's root for the patch's.
        let mut git = quote::git();
        git.current_dir(&place)
            .env("GIT_CEILING_DIRECTORIES", root.join("target/guide").canonicalize()?);
        let applied = git.args(["apply", "--"]).arg(patch).output().context("cannot run git")?;
        let error = String::from_utf8_lossy(&applied.stderr);
        ensure!(
            applied.status.success(),
            "exercises/{key}.patch does not apply to {name}: {}",
            error.trim()
        );
        let edit = |file: &Path, edit: &dyn Fn(&str) -> String| {
            fs::read_to_string(file)
                .and_then(|text| fs::write(file, edit(&text)))
                .with_context(failed)
        };
        edit(&place.join("Cargo.toml"), &|text| {
            let shared = text.find("[workspace.package]").unwrap_or(0);
            let lines = text[shared..].lines().filter(|line| !line.contains("path = \""));
            let head = format!("[workspace]\nresolver = \"3\"\nmembers = [\"steps/{name}\"]\n\n");
            head + &lines.map(|line| format!("{line}\n")).collect::<String>()
        })?;
        edit(&folder.join("Cargo.toml"), &|text| {
            text[..text.find("[dev-dependencies]").unwrap_or(text.len())].to_string()
        })?;
        let mut cargo = cargo();
        cargo.args(["build", "--quiet", "--offline", "--message-format=json-render-diagnostics"]);
        cargo.arg("--manifest-path").arg(place.join("Cargo.toml"));
        cargo.arg("--target-dir").arg(root.join("target/guide/built"));
        let program =
            executable(&mut cargo, &name).with_context(|| format!("exercises/{key}.patch"))?;
        // The next solution of this step is built in the same place.
        fs::copy(&program, &kept).and_then(|_| fs::write(&label, made_of)).with_context(failed)?;
        programs.insert(key, kept.clone());
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
