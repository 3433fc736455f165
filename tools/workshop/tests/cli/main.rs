//! `cargo workshop` on small repositories that a test makes: each subcommand, also with wrong input and where something
//! is missing.

mod check;
mod doctor;
mod input;
mod owner;
mod repo;

use std::process::ExitCode;

use classroom::root::variables;
use classroom::trial::run_as_root;

fn main() -> ExitCode {
    let owner: Vec<_> = owner::trials().iter().map(|trial| trial.name().to_string()).collect();
    let mut trials = check::trials();
    trials.extend(doctor::trials());
    trials.extend(input::trials());
    trials.extend(owner::trials());
    let needs_root = |name: &str| owner.iter().any(|one| one == name);
    run_as_root(trials, needs_root, || Ok(variables(&["CI", "PATH"])))
}
