//! `cargo workshop doctor` as it starts the steps.

use std::fs;

use classroom::Result;
use classroom::trial::Trial;
use classroom::trials;

use crate::repo::Repo;
use crate::repo::Said;

pub fn trials() -> Vec<Trial> {
    trials![
        a_relative_root_filesystem_counts_from_where_the_caller_is,
        a_runner_of_ones_own_is_named,
    ]
}

/// A repository whose steps only tell what they are given.
fn repo(runner: &str) -> Repo {
    let repo = Repo::with_program("");
    repo.script("scripts/run-step.sh", runner);
    repo
}

fn a_relative_root_filesystem_counts_from_where_the_caller_is() -> Result<()> {
    let repo = repo("echo \"$ROOTFS\" >>said; echo it runs");
    fs::create_dir(repo.path("sub")).unwrap();
    let mut doctor = repo.command(&["doctor"]);
    let said = Said::by(doctor.env("ROOTFS", "../other").current_dir(repo.path("sub")));
    let expected = format!("{}/sub/../other", repo.dir.path().display());
    assert!(repo.read("said").lines().all(|line| line == expected), "{said:?}");
    Ok(())
}

/// It goes before ours, and knows nothing of root filesystems and sudo.
fn a_runner_of_ones_own_is_named() -> Result<()> {
    let repo = repo("echo it runs");
    let words = "has a runner of its own";
    let mut doctor = repo.command(&["doctor"]);
    let said = Said::by(doctor.env_remove("WORKSHOP_RUNNER"));
    assert!(said.stderr.contains(words), "{said:?}");
    let said = Said::by(doctor.env("WORKSHOP_RUNNER", "run-step.sh"));
    assert!(!said.stderr.contains(words), "{said:?}");
    Ok(())
}
