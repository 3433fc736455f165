//! Plain `cargo workshop`: what there is, with an example each, and where the learner stands.

use std::fmt::Write;
use std::process::ExitCode;

use crate::repo::{Repo, STEPS};
use crate::say;
use crate::say::{BOLD, RESET};

const COMMANDS: &[(&str, &str)] = &[
    (
        "check",
        "how far your program is, and what is missing (check 5: up to step 05; --hint, --watch)",
    ),
    ("diff 5", "what step 05 adds to step 04 (diff 5 3: to step 03; --all: Cargo.toml too)"),
    ("compare 5", "where your program differs from step 05"),
    ("catch-up 5", "put step 05 into my-container; yours is saved first"),
    ("look", "who is where: the containers that run right now, drawn live (--once: once)"),
    ("doctor", "can this machine do the workshop? (--fix: remove what earlier runs have left)"),
];

/// Prints the list of subcommands.
pub fn show(repo: &Repo) -> anyhow::Result<ExitCode> {
    let mut text =
        format!("{BOLD}Containers in ten steps{RESET}: type yours in my-container/src/main.rs\n\n");
    for (command, meaning) in COMMANDS {
        writeln!(text, "  {BOLD}cargo workshop {command:<12}{RESET} {meaning}")?;
    }
    writeln!(text, "\n{}", standing(repo))?;
    say::print(&text);
    Ok(ExitCode::SUCCESS)
}

/// One line on how far the learner is.
fn standing(repo: &Repo) -> String {
    let progress =
        repo.state().ok().and_then(|state| std::fs::read_to_string(state.join("progress")).ok());
    if let Some(number) = progress.and_then(|text| text.trim().parse::<u8>().ok()) {
        let next = if number < STEPS {
            format!("next is step {:02}", number + 1)
        } else {
            "that is all of them".into()
        };
        return format!(
            "Steps that your program passed at the last check: {number} of {STEPS}; {next}."
        );
    }
    match repo.my_main() {
        Ok(_) => "Your program has not been checked yet: cargo workshop check".into(),
        Err(err) => format!("{err:#}"),
    }
}
