//! `cargo workshop`: checks, diffs and everything else around the ten steps.

mod catch_up;
mod changes;
mod check;
mod diff;
mod doctor;
mod owner;
mod package;
mod repo;
mod runner;
mod say;
mod status;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use repo::{Repo, Step};

/// Checks your container step by step, and helps along the way.
///
/// Exit status: 0 if all is well, 1 if something is not there yet, 2 for wrong usage or where the command could not do
/// its work.
#[derive(Parser)]
#[command(name = "workshop", bin_name = "cargo workshop", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Build my-container and check it against step N
    Check(check::Args),
    /// Show what step N adds to the step before it
    Diff {
        /// The step
        #[arg(value_name = "N")]
        step: Step,
        /// Compare with this step instead of the one before
        #[arg(value_name = "M")]
        other: Option<Step>,
        /// Show Cargo.toml as well, not only main.rs
        #[arg(long)]
        all: bool,
    },
    /// Show where your program differs from step N
    Compare {
        /// The step; without it, the one that your program resembles most
        #[arg(value_name = "N")]
        step: Option<Step>,
    },
    /// Put step N into my-container; what you wrote is saved first
    CatchUp {
        /// The step
        #[arg(value_name = "N")]
        step: Step,
    },
    /// Say whether this machine can do the workshop, and what to do if not
    Doctor {
        /// Remove what earlier runs have left behind (mounts, cgroups), and nothing else
        #[arg(long)]
        fix: bool,
    },
    /// Draw the containers that run right now, and what each process shares with the host (`look --help`: how)
    #[command(disable_help_flag = true)]
    Look {
        #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// For those who write the guide: renew and check what workshop.md quotes
    #[command(disable_help_flag = true)]
    Guide {
        #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

/// Whether it is root's on purpose.
fn is_for_root(task: &Option<Task>) -> bool {
    match task {
        Some(Task::Check(args)) => args.is_for_root(),
        Some(Task::Doctor { fix }) => *fix,
        _ => false,
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mine =
        |repo: &Repo| if is_for_root(&cli.command) { Ok(()) } else { owner::step_down(repo) };
    let found = Repo::find().and_then(|repo| mine(&repo).map(|()| repo));
    let done = found.and_then(|repo| match cli.command {
        None => status::show(&repo),
        Some(Task::Check(args)) => {
            doctor::can_check(&repo).and_then(|()| check::check(&repo, &args))
        }
        Some(Task::Diff { step, other, all }) => diff::steps(&repo, step, other, all),
        Some(Task::Compare { step }) => diff::compare(&repo, step),
        Some(Task::CatchUp { step }) => catch_up::catch_up(&repo, step),
        Some(Task::Doctor { fix }) => {
            if let Some(what) = runner::of_ones_own().filter(|_| !fix) {
                say::note(&say::wrap(what).join("\n"));
            }
            doctor::doctor(&repo, fix)
        }
        Some(Task::Guide { args }) => package::run(&repo, "guide", &args),
        Some(Task::Look { args }) => package::run(&repo, "look", &args),
    });
    done.unwrap_or_else(|err| {
        say::error(&format!("{err:#}"));
        ExitCode::from(2)
    })
}
