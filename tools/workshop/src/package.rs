//! `cargo workshop look` and `cargo workshop guide`: crates of their own, as their dependencies are none that a learner
//! should have to build who does not use them.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Context;

use crate::repo::Repo;
use crate::say;

/// Builds and runs it, in place of this process, and where the caller stands.
pub fn run(repo: &Repo, package: &str, args: &[OsString]) -> anyhow::Result<ExitCode> {
    // Beside this program: the target folder may be elsewhere.
    if !env::current_exe().is_ok_and(|me| me.with_file_name(package).exists()) {
        say::note(&format!("building {package}, this once"));
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--quiet", "--manifest-path"]).arg(repo.root().join("Cargo.toml"));
    let err = cargo.args(["--package", package, "--"]).args(args).exec();
    Err(err).context("cannot run cargo")
}
