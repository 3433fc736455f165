//! `cargo workshop` on small repositories that a test makes: each subcommand, also with wrong input and where something
//! is missing.

mod check;
mod doctor;
mod input;
mod owner;
mod repo;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut trials = check::trials();
    trials.extend(doctor::trials());
    trials.extend(input::trials());
    trials.extend(owner::trials());
    classroom::trial::run(trials)
}
