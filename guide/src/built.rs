//! The programs that sessions run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use anyhow::Context;
use anyhow::bail;
use regex::Regex;

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
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
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
