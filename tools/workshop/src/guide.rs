//! `cargo workshop guide`: a crate of its own, as its dependencies are none that a learner should have to build.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::process::ExitCode;

use anyhow::Context;

use crate::repo::Repo;

/// Builds and runs it, in place of this process.
pub fn run(repo: &Repo, args: &[OsString]) -> anyhow::Result<ExitCode> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(repo.root()).args(["run", "--quiet", "--package", "guide", "--"]).args(args);
    let err = cargo.exec();
    Err(err).context("cannot run cargo")
}
